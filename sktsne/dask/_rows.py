"""The rows of a fit on a cluster: ranges of consecutive rows, whose lengths depend on the number of rows only.

The blocks of a Dask collection are checked, and cut and joined to ranges. Everything that follows depends on the ranges
and not on the blocks, so that a map does not depend on them either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn import config_context
from sklearn.utils import check_array

from .._checks import are_single, as_input, errors_that_name_columns
from .._collections import blocks_of, is_dask, is_frame
from ..conditioning import Conditioning
from ..neighbors import Metric
from ._cluster import Cluster

# The number of shards, unless there are fewer rows than LEAST_ROWS for each or more than MOST_ROWS. With more shards,
# the scheduler has more tasks; with fewer, fewer workers have work.
SHARDS, LEAST_ROWS, MOST_ROWS = 8, 2**12, 2**17


def count_shards(n: int) -> int:
    """Return the number of ranges, and of shards, into which n rows are divided."""
    return max(1, min(SHARDS, n // LEAST_ROWS), -(-n // MOST_ROWS))


class Rows(NamedTuple):
    """The rows of a fit, divided into ranges.

    Parameters
    ----------
    ranges : list of Future
        The conditioned rows of each range, C-contiguous ndarrays of shape (length, n_columns). The list is empty as
        soon as `find_neighbors` no longer needs the ranges.
    lengths : list of int
        The number of rows of each range.
    n, n_columns : int
        The shape of all rows together.
    dtype : type
        numpy.float32 if all columns of the user's rows are float32, otherwise numpy.float64.
    chunks : tuple of int
        The numbers of rows of the user's blocks.
    conditioning : Conditioning
        The conditioning of the rows.
    low, high : ndarray of shape (n_columns,)
        The smallest and the largest number in each column of the conditioned rows.
    """

    ranges: list[Any]
    lengths: list[int]
    n: int
    n_columns: int
    dtype: Any
    chunks: tuple[int, ...]
    conditioning: Conditioning
    low: NDArray[np.floating]
    high: NDArray[np.floating]


def as_rows_of(
    cluster: Cluster,
    X: Any,
    metric: Metric,
    rescale: bool,
    admit: Callable[[int, int, Any], None] = lambda n, n_columns, dtype: None,
) -> Rows:
    """Return the rows of a Dask array or data frame as conditioned ranges on the workers of a cluster.

    Parameters
    ----------
    cluster : Cluster
        The cluster.
    X : Dask array or data frame of shape (n, n_features)
        The rows, after `check_collection`.
    metric : str
        The metric.
    rescale : bool
        Whether `Conditioning` may scale the rows.
    admit : callable, optional
        Called with the number of rows, the number of columns and the dtype: before any block is computed, unless the
        lengths of blocks are unknown. An error that it raises ends the work.

    Raises
    ------
    TypeError
        If X has sparse blocks.
    ValueError
        If X is not a matrix of finite numbers with at least two rows and one column, or its blocks do not have the
        lengths that it states.
    """
    blocks, dtype = blocks_of(X), dtype_of(X)
    n_columns = len(X.columns) if is_frame(X) else X.shape[1]
    lengths = (np.nan,) if is_frame(X) else X.chunks[0]
    known = not np.isnan(lengths).any()
    if known:
        _admit(lengths, n_columns, dtype, admit)
    checked_blocks = cluster.compute("checked", checked, blocks, dtype)
    chunks = tuple(asked(cluster, "length", len, checked_blocks))
    if not known:
        _admit(chunks, n_columns, dtype, admit)
    elif chunks != lengths:
        raise ValueError(f"X has blocks of {chunks} rows, and X.chunks states {lengths}: call X.compute_chunk_sizes().")
    n = sum(chunks)
    bounds = [n * number // count_shards(n) for number in range(count_shards(n) + 1)]
    ranges = _joined(cluster, checked_blocks, np.cumsum([0, *chunks]), bounds)
    del checked_blocks
    extremes = asked(cluster, "extremes", _extremes, ranges)
    low, high = np.min([low for low, _ in extremes], axis=0), np.max([high for _, high in extremes], axis=0)
    # All that Conditioning takes from the rows are the extremes of their columns.
    ends = np.stack([low, high])
    conditioning = Conditioning(ends, metric, rescale)
    conditioned = [cluster.run("conditioned", conditioning, rows) for rows in ranges]
    cluster.release(ranges)
    low, high = conditioning(ends)
    return Rows(conditioned, np.diff(bounds).tolist(), n, n_columns, dtype, chunks, conditioning, low, high)


def _admit(lengths: Sequence[float], n_columns: int, dtype: Any, admit: Callable[[int, int, Any], None]) -> None:
    """Raise an error unless there are at least two rows and one column, and the caller admits them."""
    n = int(sum(lengths))
    if n < 2 or n_columns < 1:
        raise ValueError(f"X has shape {(n, n_columns)}, must have at least two rows and one column.")
    admit(n, n_columns, dtype)


def check_collection(X: Any) -> None:
    """Raise an error unless X is a Dask array with a known number of columns or a Dask data frame."""
    if not is_dask(X):
        raise TypeError(f"X has the type {type(X).__name__}, must be a Dask array or a Dask data frame.")
    if not is_frame(X) and np.isnan(X.shape[1]):
        raise ValueError("X has an unknown number of columns: call X.compute_chunk_sizes().")


def dtype_of(X: Any) -> Any:
    """Return float32 if all columns of a collection are float32, otherwise float64."""
    return np.float32 if are_single(X.dtypes if is_frame(X) else [X.dtype]) else np.float64


def checked(block: Any, dtype: Any) -> NDArray[np.floating]:
    """Return the rows of a block after the checks of the estimators."""
    if issparse(block):
        raise TypeError(
            f"X has sparse blocks ({type(block).__name__}), must have dense ones: "
            "X.map_blocks(lambda block: block.toarray())."
        )
    # scikit-learn finds NaN by a sum, which may overflow, and must do so even if the user has set assume_finite.
    quietly = np.errstate(over="ignore", invalid="ignore")
    with config_context(assume_finite=False), quietly, errors_that_name_columns("X", block):
        rows = check_array(as_input("X", block), dtype=dtype, order="C", ensure_min_samples=0, input_name="X")
    return np.asarray(rows)


def _joined(cluster: Cluster, blocks: list[Any], ends: NDArray[np.int64], bounds: list[int]) -> list[Any]:
    """Return the rows ``bounds[i]`` to ``bounds[i + 1]`` for each i, and release the blocks.

    Block j has the rows ``ends[j]`` to ``ends[j + 1]``.
    """
    ranges = []
    for start, stop in pairwise(bounds):
        parts = []
        for block, (first, end) in zip(blocks, pairwise(ends), strict=True):
            low, high = max(start, int(first)) - int(first), min(stop, int(end)) - int(first)
            if low < high:
                whole = high - low == end - first
                parts.append(block if whole else cluster.run("cut", _cut, block, low, high))
        ranges.append(cluster.run("range", concatenated, *parts))
        cluster.release(parts)
    cluster.release(blocks)
    return ranges


def asked(cluster: Cluster, name: str, function: Callable[..., Any], futures: list[Any], *arguments: Any) -> list[Any]:
    """Return in this process what ``function(result, *arguments)`` returns for the result of each future."""
    answers = [cluster.run(name, function, future, *arguments) for future in futures]
    results = cluster.results(answers)
    cluster.release(answers)
    return results


def _cut(block: NDArray[np.floating], start: int, stop: int) -> NDArray[np.floating]:
    """Return a copy of some rows of a block, so that the block need not stay in memory."""
    return block[start:stop].copy()


def concatenated(*parts: NDArray[Any]) -> NDArray[Any]:
    """Return arrays as one array."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _extremes(rows: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the smallest and the largest number in each column."""
    return rows.min(axis=0), rows.max(axis=0)


def _taken(rows: NDArray[Any], places: NDArray[np.intp]) -> NDArray[Any]:
    """Return some rows of a range."""
    return rows[places]


def take(
    cluster: Cluster,
    ranges: list[Any],
    lengths: list[int],
    numbers: NDArray[np.integer],
    join: Callable[..., Any] = concatenated,
    *arguments: Any,
) -> Any:
    """Return the future of some rows of arrays that are divided into ranges.

    Parameters
    ----------
    cluster : Cluster
        The cluster.
    ranges : list of Future
        Arrays with an entry for each row of a range.
    lengths : list of int
        The number of rows of each range.
    numbers : ndarray of shape (n_taken,)
        The numbers of the rows, in ascending order.
    join : callable, default=concatenated
        The function of ``arguments`` and the rows of each range that returns the result.
    """
    bounds = np.cumsum([0, *lengths])
    parts = np.split(numbers, np.searchsorted(numbers, bounds[1:-1]))
    taken = [
        cluster.run("taken", _taken, rows, part - first)
        for rows, part, first in zip(ranges, parts, bounds[:-1], strict=True)
    ]
    result = cluster.run("joined", join, *arguments, *taken)
    cluster.release(taken)
    return result
