"""Maps of data that is too large to fit: a random sample is fitted, and all rows are placed in its map block by block.

The rows of the sample are called landmarks. Data can be any object whose rows can be indexed, such as a memory map, or
a Dask array or data frame. This module imports Dask only when it gets a Dask collection.
"""

from __future__ import annotations

from copy import copy
from numbers import Integral
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils.random import sample_without_replacement
from sklearn.utils.validation import check_is_fitted

from ._checks import are_single, as_csr, as_input, check_counted, check_type
from ._collections import blocks_of, is_dask, is_frame, whole_rows
from ._pipeline import fit_earlier_steps, last_step
from .known_rows import KnownRows

ROWS_AT_ONCE = 2**16  # the number of rows of an array that are read and placed at a time


def embed_large(
    estimator: Any, X: Any, n_landmarks: int = 50_000, random_state: Any = None, merge: bool = False
) -> Any:
    """Fit an estimator to a random sample of the rows, and place all rows in its map.

    Parameters
    ----------
    estimator : SNE, TSNE or Pipeline that ends with one
        The estimator. It is fitted in this process, and can place other rows afterwards.
    X : array-like, sparse matrix, Dask array or Dask data frame of shape (n_samples, n_features)
        The rows, which are read block by block.
    n_landmarks : int, default=50_000
        The number of rows to fit. If there are fewer rows, all rows are fitted.
    random_state : int, RandomState instance or None, default=None
        The random numbers that choose the landmarks.
    merge : bool, default=False
        Whether equal landmarks are fitted as one row, whose weight (``sample_weight``) is their number. Fits of many
        equal rows are then faster, and ``embedding_`` has one position for each of the different rows. In a pipeline,
        the earlier steps are fitted to all landmarks, and equal rows of their result are merged.

    Returns
    -------
    positions : ndarray, Dask array or Dask data frame of shape (n_samples, n_components)
        The positions, which are lazy for a Dask collection; see `transform_blocks`. Landmarks have the positions in
        ``embedding_``.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktsne import TSNE
    >>> X, _ = load_digits(return_X_y=True)
    >>> model = TSNE(max_iter=200, random_state=0)
    >>> embed_large(model, X, n_landmarks=500, random_state=0).shape
    (1797, 2)
    >>> model.embedding_.shape
    (500, 2)

    Rows of counts, of which many are equal:

    >>> import numpy as np
    >>> counts = np.random.default_rng(0).poisson(0.5, size=(1000, 4))
    >>> embed_large(model, counts, merge=True).shape
    (1000, 2)
    >>> len(model.embedding_) == len(np.unique(counts, axis=0))
    True
    """
    check_type("merge", merge, bool)
    sample = sample_rows(X, n_landmarks, random_state)
    if merge:
        _fit_merged(estimator, sample)
    else:
        estimator.fit(sample)
    return transform_blocks(estimator, X)


def _fit_merged(estimator: Any, sample: Any) -> None:
    """Fit an estimator to the different rows of a sample, weighted by their numbers."""
    # The earlier steps see all rows, because their means and scales must be those of the sample.
    sample = fit_earlier_steps(estimator, sample)
    _, first, numbers = np.unique(KnownRows(sample).groups, return_index=True, return_counts=True)
    if len(first) == 1:
        raise ValueError("merge == True needs landmarks that differ, and all are equal.")
    order = np.argsort(first)  # the order of the sample
    rows = _take(_indexable(sample), first[order])
    last_step(estimator).fit(rows, sample_weight=numbers[order].astype(np.float64))


def transform_blocks(estimator: Any, X: Any) -> Any:
    """Place rows in the map of a fitted estimator, block by block.

    Every row gets the position that ``estimator.transform`` would give it, because no position depends on other new
    rows. A Dask collection keeps its blocks. Dask places several blocks at a time, so each block is placed by one
    thread unless ``n_jobs`` of the estimator is a number.

    Parameters
    ----------
    estimator : SNE, TSNE or Pipeline that ends with one
        The fitted estimator. Each worker of Dask gets a copy without the affinities.
    X : array-like, sparse matrix, Dask array or Dask data frame of shape (n_samples, n_features)
        The rows.

    Returns
    -------
    positions : ndarray, Dask array or Dask data frame of shape (n_samples, n_components)
        The positions, float32 for float32 ``X`` and float64 otherwise. For a Dask collection they are a lazy Dask
        collection with the same blocks of rows. A data frame keeps its index, and its columns have the names that
        ``get_feature_names_out`` returns.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktsne import TSNE
    >>> X, _ = load_digits(return_X_y=True)
    >>> model = TSNE(max_iter=200, random_state=0).fit(X[:500])
    >>> positions = transform_blocks(model, X)
    >>> bool((positions[:500] == model.embedding_).all())
    True
    """
    check_is_fitted(estimator)
    names = last_step(estimator).get_feature_names_out()
    if not is_dask(X):
        X = _indexable(X)
        rows = (slice(first, first + ROWS_AT_ONCE) for first in range(0, X.shape[0], ROWS_AT_ONCE))
        return np.concatenate([np.asarray(estimator.transform(_take(X, block))) for block in rows])

    import dask

    placing = dask.delayed(_without_affinities(estimator), traverse=False)
    if is_frame(X):
        import pandas as pd

        dtype = _dtype(*X.dtypes)
        meta = pd.DataFrame(np.empty((0, len(names)), dtype), index=X._meta.index, columns=names)
        return X.map_partitions(_place_frame, placing, names, dtype, meta=meta)
    X, dtype, n_components = whole_rows(X), _dtype(X.dtype), len(names)
    meta = np.empty((0, n_components), dtype)
    chunks = (X.chunks[0], (n_components,))
    return X.map_blocks(_place, placing, n_components, dtype, dtype=dtype, chunks=chunks, meta=meta)


def sample_rows(X: Any, n_rows: int, random_state: Any = None) -> Any:
    """Return a random sample of the rows, in the order of the rows.

    Parameters
    ----------
    X : array-like, sparse matrix, Dask array or Dask data frame of shape (n_samples, n_features)
        The rows, which all have the same probability of being in the sample. Every block of a Dask collection that has
        sampled rows is computed. If the collection does not know its number of rows, all blocks are computed before.
    n_rows : int
        The size of the sample, at least 2. If there are fewer rows, the sample has all rows.
    random_state : int, RandomState instance or None, default=None
        The random numbers that choose the sample.

    Returns
    -------
    sample : array-like, sparse matrix or data frame of shape (n_rows, n_features)
        The sample, which is in memory even for a Dask collection.

    Examples
    --------
    >>> import numpy as np
    >>> sample_rows(np.arange(10).reshape(10, 1), 3, random_state=0).ravel()
    array([2, 4, 8])
    """
    if not isinstance(n_rows, Integral) or isinstance(n_rows, bool) or n_rows < 2:
        raise ValueError(f"The number of landmarks must be an integer of at least 2, got {n_rows!r}.")
    random_state = check_random_state(random_state)
    if not is_dask(X):
        X = _indexable(X)
        return _take(X, _choose(X.shape[0], n_rows, random_state))

    import dask

    blocks = blocks_of(X)
    lengths = (np.nan,) if is_frame(X) else X.chunks[0]
    if np.isnan(lengths).any():
        lengths = dask.compute(*[dask.delayed(len)(block) for block in blocks])
    ends = np.cumsum(lengths)
    chosen = _choose(int(ends[-1]), n_rows, random_state)
    parts = np.split(chosen, np.searchsorted(chosen, ends[:-1]))
    take = dask.delayed(_take)
    taken = dask.compute(
        *[
            take(block, part - (end - length))
            for block, part, end, length in zip(blocks, parts, ends, lengths, strict=True)
            if len(part)
        ]
    )
    if is_frame(X):
        import pandas as pd

        return pd.concat(taken)
    return np.concatenate(taken)


def _choose(n: int, n_rows: int, random_state: np.random.RandomState) -> NDArray[np.int64]:
    """Return the indices of a sample, sorted so that a file is read in its order."""
    if n_rows >= n:
        return np.arange(n)
    return np.sort(sample_without_replacement(n, n_rows, random_state=random_state))


def _indexable(X: Any) -> Any:
    """Return X in a form whose rows can be indexed; raise a TypeError if X does not know its number of rows."""
    if issparse(X):
        as_csr("X", X)  # checks the indices, because SciPy converts and indexes matrices without checking them
        return X.tocsr()
    check_counted("X", X)
    X = as_input("X", X)
    indexable = X if hasattr(X, "shape") else np.asarray(X)
    if len(indexable.shape) == 0:
        raise TypeError(f"X == {X!r}, must be an array or a data frame, not {type(X).__name__}.")
    return indexable


def _take(X: Any, rows: Any) -> Any:
    """Return the rows of X that a slice or an array of indices selects."""
    if hasattr(X, "column_names"):  # a table of pyarrow
        return X.take(np.arange(X.num_rows)[rows])
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def _dtype(*dtypes: Any) -> Any:
    """Return the dtype of the positions of rows whose columns have these dtypes."""
    return np.float32 if are_single(dtypes) else np.float64


def _without_affinities(estimator: Any) -> Any:
    """Return a shallow copy without the affinities, which take most of the memory and are not needed for placement."""
    light = copy(estimator)
    if isinstance(estimator, Pipeline):
        light.steps = [(name, _without_affinities(step)) for name, step in estimator.steps]
    elif hasattr(light, "affinities_"):
        del light.affinities_
    return light


def _place(rows: Any, estimator: Any, n_components: int, dtype: Any) -> NDArray[np.floating]:
    """Return the positions of the rows of a block, which may be empty."""
    if len(rows) == 0:
        return np.empty((0, n_components), dtype)
    with joblib.parallel_config("sequential"):
        return np.asarray(estimator.transform(rows), dtype=dtype)


def _place_frame(rows: Any, estimator: Any, names: Any, dtype: Any) -> Any:
    """Return the positions of the rows of a partition as a data frame with the index of the partition."""
    return type(rows)(_place(rows, estimator, len(names), dtype), index=rows.index, columns=names)
