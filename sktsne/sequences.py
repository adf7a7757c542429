"""Sequences of maps: one map for each of several sets of rows, such as years or batches, that can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import clone

from ._anchored import check_strength, fit_anchored
from ._base import BaseEmbedding
from ._checks import check_counted
from ._keys import in_common, read_keys
from ._pipeline import fit_earlier_steps, last_step

# A set of which at least this fraction of the rows has places is fitted without early exaggeration, which would pull
# the map together and only then let it return to the places.
MOST = 0.5
# With this strength, rows of t-SNE maps of five sets of 600 digits with more and more noise moved a fifth as far from
# map to map as in maps of their own, and the costs were 3.5 % higher on average, 2.6 % with 0. In another sequence, two
# groups that became one in the data became one in the map; with ten times the strength, they stayed apart.
STRENGTH = 0.001


def fit_sequence(estimator: Any, Xs: Any, *, keys: Any = None, strength: float | str = "auto") -> list[Any]:
    """Return a fitted estimator for each of several sets of rows, whose maps keep the places of common rows.

    The first set is fitted as ``estimator`` says. In each later set, the rows that were in the set before start at
    their places in its map, and are held near them by targets; new rows start where most of their neighbors are.
    If at least half of a set's rows have places, there is no early exaggeration. See :doc:`/guide/sequences`.

    Parameters
    ----------
    estimator : TSNE, SNE or Pipeline
        The estimator, or a pipeline that ends with it, of which a clone is fitted to each set. It is not changed.
    Xs : sequence of {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
        The sets, at least one. They may differ in their columns. With ``metric="precomputed"`` or
        ``affinities="precomputed"``, the distances or affinities of each set's rows.
    keys : sequence of array-like of shape (n_samples,), default=None
        For each set, labels that name its rows: numbers, texts or any other labels that can be hashed, different for
        all rows of a set. By default all sets have the same rows in the same order.
    strength : float or "auto", default="auto"
        How firmly rows are held at their places in the map before, as ``target_strength`` of ``fit``: with 0 the rows
        only start at these places, and with ``numpy.inf`` they keep them. "auto" is 0.001 for t-SNE, and 0.1 for SNE,
        whose maps are about a tenth as wide.

    Returns
    -------
    maps : list of TSNE, SNE or Pipeline
        The fitted estimators, with the parameters of ``estimator``. Each map is ``embedding_``, in the order of the
        rows of its set.

    Raises
    ------
    TypeError
        If ``estimator``, ``Xs`` or ``strength`` is of another kind, or a label cannot be hashed.
    ValueError
        If there are no sets; if the labels of a set are not as many as its rows, or not all different; if a set has no
        row in common with the set before; or if ``anchors`` is an array, and the sets do not have the same rows in the
        same order.

    See Also
    --------
    sktsne.growth.extend : Adds rows to the map of rows that do not change.
    sktsne.plotting.plot_sequence : Draws the maps side by side.

    Notes
    -----
    New rows are not placed by ``transform`` of the map before, because the rows of that map are those of another set:
    they may have changed, or have other columns.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE
    >>> from sktsne.sequences import fit_sequence
    >>> X = load_iris().data
    >>> noise = np.random.default_rng(0).normal(scale=0.1, size=X.shape)
    >>> before, after = fit_sequence(TSNE(random_state=0), [X, X + noise])
    >>> moves = np.linalg.norm(after.embedding_ - before.embedding_, axis=1)
    >>> bool(moves.mean() < 0.1 * before.embedding_.std())
    True
    """
    check_strength(strength)
    _check_ends_with_embedding(estimator)
    Xs = _as_list(Xs)
    names = read_keys(keys, [_count_rows(f"Xs[{k}]", X) for k, X in enumerate(Xs)], "Xs")
    pairs = [in_common(before, after) for before, after in pairwise(names)]
    for k, (places, _) in enumerate(pairs, start=1):
        if len(places) == 0:
            raise ValueError(f"Xs[{k}] must have rows in common with Xs[{k - 1}], and keys names none in both.")
    anchors = last_step(estimator).anchors
    if not (anchors is None or isinstance(anchors, str)) and any(list(name) != list(names[0]) for name in names):
        raise ValueError(
            "anchors is an array with an entry for each row of a set, must be None or 'pca' for sets with other rows."
        )
    maps = [clone(estimator).fit(Xs[0])]
    for X, (before, after) in zip(Xs[1:], pairs, strict=True):
        maps.append(_fit_next(clone(estimator), X, last_step(maps[-1]).embedding_[before], after, strength))
    return maps


def _check_ends_with_embedding(estimator: Any) -> None:
    """Raise a TypeError unless an estimator is a `TSNE` or `SNE`, or a pipeline whose last step is one."""
    if not isinstance(last_step(estimator), BaseEmbedding) or isinstance(estimator, type):
        raise TypeError(
            f"estimator == {estimator!r}, must be a TSNE or SNE of sktsne, or a pipeline that ends with one."
        )


def _as_list(Xs: Any) -> list[Any]:
    """Return the sets as a list; raise a TypeError or ValueError unless there is a sequence with at least one set."""
    is_one = issparse(Xs) or hasattr(Xs, "columns") or (isinstance(Xs, np.ndarray) and Xs.ndim < 3)
    if is_one or isinstance(Xs, Mapping | str) or not isinstance(Xs, Iterable):
        raise TypeError(f"Xs is a {type(Xs).__name__}, must be a list of sets of rows.")
    sets = list(Xs)
    if not sets:
        raise ValueError("Xs == [], must hold at least one set of rows.")
    return sets


def _count_rows(name: str, X: Any) -> int:
    """Return the number of rows of a set; raise a TypeError for what has none."""
    check_counted(name, X)
    return int(X.shape[0] if hasattr(X, "shape") else len(X))


def _fit_next(
    estimator: Any, X: Any, places: NDArray[np.floating], rows: NDArray[np.intp], strength: float | str
) -> Any:
    """Fit an estimator to a set of which some rows have places in the map before, and return it."""
    n = _count_rows("X", X)
    X = fit_earlier_steps(estimator, X)
    targets = np.full((n, places.shape[1]), np.nan)
    targets[rows] = places
    # With targets, new rows start near their neighbors; an array would be the start of another set.
    changes: dict[str, Any] = {"init": "random"}
    if len(rows) >= MOST * n:
        changes["early_exaggeration_iter"] = 0
    fit_anchored(last_step(estimator), X, targets, strength, STRENGTH, changes)
    return estimator
