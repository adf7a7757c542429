"""Brute-force search: the k nearest neighbors, or all distances, from blocks of pairs of rows.

The rows of the fit are points of a space (:mod:`.spaces`), which computes a *value* for each pair of a block. Values
order the pairs of a row as distances do; in a Euclidean space they are squared distances, and one matrix product gives
all values of a block. The search for all rows of the fit has three steps:

1. All blocks of values are offered to `Nearest`, which keeps the k nearest candidates of every row. The distances of
   these candidates follow from their values.
2. Ambiguous rows, whose neighbors may be in a wrong order because the values were rounded, are searched again by
   differences of coordinates, which are accurate.
3. Rows with more than k duplicates get different duplicates as neighbors.

In all functions ``own`` holds the index in the fit of each query point, or -1 for a point that is not in the fit, so
that no row is its own neighbor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn import config_context
from sklearn.metrics import pairwise_distances

from ..known_rows import KnownRows
from ..parallel import Workers
from .contract import NeighborGraph, check_distances, raise_for_distance, raise_without_distances
from .metrics import Metric
from .selection import Nearest, cyclic_offsets, sort_neighbors
from .spaces import direct_space_of

# The largest and the smallest number of rows, and of columns, of a block of pairs. The largest number is not a power of
# two, because transposing a block of such a size takes four times as long.
MAX_BLOCK, MIN_BLOCK = 992, 32
# The bounds on the cost of a block: the number of its pairs times the cost of a pair, for products and for metrics that
# are computed pair by pair. Without a bound Ctrl-C would have to wait long for a block to end.
MAX_PRODUCT_COST, MAX_DIRECT_COST = 2**32, 2**26
MAX_CALLS = 2**14  # the largest number of pairs in a block whose metric is a Python function
# The least number of blocks into which some query points, and all rows of the fit, are divided. With several blocks all
# threads have work, and the blocks need memory in proportion to the number of neighbors that are found.
MIN_BLOCKS, MIN_BLOCKS_OF_FIT = 4, 8
BLOCKS_PER_STRIP = 8  # blocks beside one another that use the same left operand
# From this many columns on, computing half of the blocks and transposing them is faster than computing all blocks.
COLUMNS_TO_TRANSPOSE = 128
# Up to this many rows, all distances equal those of scikit-learn to the last bit.
FEW_ROWS = 1000
# A row is ambiguous if the square of its k-th distance is at most this multiple of the rounding error of products.
AMBIGUOUS_WITHIN = 100.0
ROWS_TO_RERANK = 128  # the largest number of ambiguous rows in a block
DISTANCES_AT_ONCE = 2**22  # entries of a given distance matrix that are copied to float64 at a time


def skip_sklearn_checks(function: Callable[[int, int], Any]) -> Callable[[int, int], Any]:
    """Return the function wrapped so that scikit-learn does not check the rows for NaN and infinity again.

    scikit-learn keeps this setting for each thread separately, so the wrapper sets it in the thread that it runs in.
    """

    def call(start: int, stop: int) -> Any:
        with config_context(assume_finite=True):
            return function(start, stop)

    return call


def _block_size(space: Any) -> int:
    """Return the number of rows, and of columns, of a block of pairs."""
    if space.calls_python:
        return MIN_BLOCK
    most = MAX_DIRECT_COST if space.direct else MAX_PRODUCT_COST
    fits = min(MAX_BLOCK, math.isqrt(most // space.pair_cost), space.n // MIN_BLOCKS_OF_FIT)
    return int(max(MIN_BLOCK, fits - fits % MIN_BLOCK))


def brute_force_graph(space: Any, n_neighbors: int, workers: Workers, dtype: Any = np.float64) -> NeighborGraph:
    """Return the nearest neighbors of all rows of a space, from the values of all pairs, computed in ``dtype``.

    Where a value is expensive, as for rows with many columns, only the blocks on and above the diagonal are computed.
    Each is offered to its rows, and its transpose to its columns.
    """
    n, size = space.n, _block_size(space)
    own, points = np.arange(n, dtype=np.int32), space.points
    nearest = Nearest(own, n, n_neighbors, dtype)
    blocks = [own[first : first + size] for first in range(0, n, size)]
    locks = [Lock() for _ in blocks]
    transpose = issparse(points) or space.direct or space.n_columns >= COLUMNS_TO_TRANSPOSE
    numbers = range(len(blocks))
    strips = [
        (i, numbers[j : j + BLOCKS_PER_STRIP])
        for i in numbers
        for j in numbers[i if transpose else 0 :: BLOCKS_PER_STRIP]
    ]

    def operand(number: int, left: bool) -> Any:
        return space.operand(points[number * size : (number + 1) * size], left, dtype)

    def fill(start: int, stop: int) -> None:
        for i, strip in strips[start:stop]:
            rows = operand(i, left=True)
            for j in strip:
                values = space.values(rows, operand(j, left=False))
                with locks[i]:
                    nearest.offer(values, blocks[j], blocks[i])
                if transpose and i != j:
                    values = np.ascontiguousarray(values.T)
                    with locks[j]:
                        nearest.offer(values, blocks[i], blocks[j])

    threads = Workers() if space.calls_python else workers  # a Python function runs in one thread at a time
    threads.run_blocks(skip_sklearn_checks(fill), len(strips), 1)
    graph = graph_of_candidates(space, *nearest.found(workers), own, points, workers)
    if dtype == np.float64:
        graph = rerank_ambiguous(space, graph, own, points, workers)
    return spread_duplicates(graph, points)


def brute_force_candidates(
    space: Any, points: Any, own: NDArray[np.int32], n_neighbors: int, workers: Workers, dtype: Any = np.float64
) -> tuple[NDArray[np.floating], NDArray[np.int32], NDArray[np.int32]]:
    """Return the values, indices and counts of the nearest rows of the fit to query points, as `Nearest.found` does."""
    m, size = len(own), _block_size(space)
    values, indices = np.empty((m, n_neighbors), dtype), np.empty((m, n_neighbors), dtype=np.int32)
    counts = np.empty(m, dtype=np.int32)

    def block(start: int, stop: int) -> None:
        rows = space.operand(points[start:stop], True, dtype)
        nearest = Nearest(own[start:stop], space.n, n_neighbors, dtype)
        for first in range(0, space.n, size):
            columns = np.arange(first, min(first + size, space.n), dtype=np.int32)
            others = space.operand(space.points[first : first + size], False, dtype)
            nearest.offer(space.values(rows, others), columns)
        values[start:stop], indices[start:stop], counts[start:stop] = nearest.found(Workers())

    n_rows = max(MIN_BLOCK, min(size, -(-m // MIN_BLOCKS)))
    if space.direct:
        fits = MAX_CALLS if space.calls_python else MAX_DIRECT_COST // space.pair_cost
        n_rows = max(1, min(n_rows, fits // space.n))
    workers.run_blocks(skip_sklearn_checks(block), m, n_rows)
    check_counts(counts, n_neighbors, own)
    return values, indices, counts


def check_counts(counts: NDArray[np.int32], n_neighbors: int, own: NDArray[np.int32] | None = None) -> None:
    """Raise the error of a NaN distance if `Nearest` found fewer than ``n_neighbors`` candidates for a row.

    `Nearest` leaves out NaN only, so a lack of candidates means that the metric returned NaN.
    """
    if (short := np.flatnonzero(counts < n_neighbors)).size:
        row = int(short[0])
        number = -1 if own is None else int(own[row])
        if number < 0:
            raise_for_distance(math.nan, row, 0)
        raise_without_distances(number, 2)


def rerank_ambiguous(
    space: Any, graph: NeighborGraph, own: NDArray[np.int32], points: Any, workers: Workers
) -> NeighborGraph:
    """Search the neighbors of ambiguous rows again by differences of coordinates; change the graph and return it.

    A product in float64 has a rounding error in proportion to the squared lengths of the rows. Where the neighbors of a
    row are within `AMBIGUOUS_WITHIN` times that error, the products may have ranked them in a wrong order.
    """
    if not space.rounds:
        return graph
    farthest = graph.distances[:, -1]
    rounding = AMBIGUOUS_WITHIN * space.rounding(points, within=farthest)
    rows = np.flatnonzero((farthest > 0.0) & (space.to_squared(farthest) <= rounding))
    k, size = graph.indices.shape[1], _block_size(space)
    if issparse(points):
        some = points[rows]
        found = nearest_by_differences(space, some, own[rows], farthest[rows], k, workers)
        graph.distances[rows], graph.indices[rows] = found
        return graph

    # For dense rows, differences from all rows take less time than first choosing the rows that may be neighbors.
    def block(start: int, stop: int) -> None:
        some = rows[start:stop]
        nearest = Nearest(own[some], space.n, k, np.float64)
        for first in range(0, space.n, size):
            columns = np.arange(first, min(first + size, space.n), dtype=np.int32)
            pairs = np.ascontiguousarray(np.broadcast_to(columns, (len(some), len(columns))))
            nearest.offer(space.exact_distances(points[some], pairs, Workers()), columns)
        values, places, _ = nearest.found(Workers())
        distances, indices = values.astype(np.float64, order="C"), np.ascontiguousarray(places)
        sort_neighbors(distances, indices, own[some], space.n, Workers())
        graph.indices[some], graph.distances[some] = indices, distances

    workers.run_blocks(skip_sklearn_checks(block), len(rows), max(1, min(size, -(-len(rows) // MIN_BLOCKS))))
    return graph


def nearest_by_differences(
    space: Any, points: Any, own: NDArray[np.int32], farthest: NDArray[np.float64], n_neighbors: int, workers: Workers
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return the sorted distances and the indices of the nearest rows of the fit, computed by differences.

    First, products select all rows of the fit that may be neighbors, because their squared distance exceeds the square
    of ``farthest`` by no more than the rounding error. Then differences of coordinates decide among these rows.

    Parameters
    ----------
    space : Space
        The space, whose values are rounded products.
    points : {ndarray, csr_array} of shape (m, n_columns)
        The query points.
    own : ndarray of shape (m,), int32
        The index of each point in the fit, or -1.
    farthest : ndarray of shape (m,), float64
        For each point an upper bound, exact but for rounding, on the distance of its last neighbor.
    n_neighbors : int
        The number of neighbors.
    workers : Workers
        The threads to use.
    """
    m, size = len(own), _block_size(space)
    distances, indices = np.empty((m, n_neighbors)), np.empty((m, n_neighbors), dtype=np.int32)
    limits = space.to_squared(farthest) + 2.0 * space.rounding(points, within=farthest)

    def block(start: int, stop: int) -> None:
        left, pairs = space.operand(points[start:stop]), []
        for first in range(0, space.n, size):
            right = space.operand(space.points[first : first + size], False)
            beyond = space.squared_values(space.values(left, right)) > limits[start:stop, None]
            row, column = np.nonzero(~beyond)
            pairs.append((row, (column + first).astype(np.int32)))
        of_rows, others = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        ends = np.cumsum(np.bincount(of_rows, minlength=stop - start))
        others = others[np.argsort(of_rows, kind="stable")]
        for number, columns in enumerate(np.split(others, ends[:-1]), start):
            point, columns = points[number : number + 1], columns[columns != own[number]]
            distances[number], indices[number] = nearest_among(space, point, own[number], columns, n_neighbors)

    workers.run_blocks(block, m, max(1, min(ROWS_TO_RERANK, -(-m // MIN_BLOCKS))))
    return distances, indices


def nearest_among(
    space: Any, point: Any, own: Any, columns: NDArray[np.int32], n_neighbors: int
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return the sorted distances and the indices of the rows nearest to one point, among the rows ``columns``.

    Differences of coordinates decide; rows at equal distances are ranked as in `Nearest`.
    """
    found = space.exact_distances(point, columns[None], Workers())[0]
    near = np.flatnonzero(found <= np.partition(found, n_neighbors - 1)[n_neighbors - 1])
    near = near[np.lexsort((cyclic_offsets(columns[near], own, space.n), found[near]))[:n_neighbors]]
    return found[near], columns[near]


def graph_of_candidates(
    space: Any,
    values: NDArray[np.floating],
    indices: NDArray[np.int32],
    counts: NDArray[np.int32],
    own: NDArray[np.int32],
    points: Any,
    workers: Workers,
) -> NeighborGraph:
    """Return the graph, sorted by distance, of the candidates that `Nearest` found for query points."""
    check_counts(counts, indices.shape[1], own)
    indices = np.ascontiguousarray(indices)
    distances = space.distances(values, points, indices, workers)
    check_distances(distances, indices)
    sort_neighbors(distances, indices, own, space.n, workers)
    return NeighborGraph(indices, distances)


def spread_duplicates(graph: NeighborGraph, points: Any) -> NeighborGraph:
    """Give rows with more than k duplicates the k duplicates that follow them; change the graph and return it.

    All duplicates are at distance 0, so any k of them are right neighbors. But if all duplicates had the same k
    neighbors, the other duplicates would be neighbors of no row, and nothing would attract them in the map.
    """
    rows, following = following_duplicates(graph.distances, points)
    graph.indices[rows] = following
    return graph


def following_duplicates(distances: NDArray[np.floating], points: Any) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows that have more than k duplicates, and for each of them the k duplicates that follow it.

    ``distances`` of shape (n, k) has the sorted distances of the neighbors of each point.
    """
    k = distances.shape[1]
    rows = np.flatnonzero(distances[:, -1] == 0.0)
    if len(rows) <= k:
        return rows[:0], np.empty((0, k), dtype=np.intp)
    groups = KnownRows(points[rows]).groups
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups)[groups[order]]
    first = np.searchsorted(groups[order], groups[order])
    place = np.arange(len(rows)) - first
    many = sizes > k
    following = first[many, None] + (place[many, None] + np.arange(1, k + 1)) % sizes[many, None]
    return rows[order[many]], rows[order[following]]


def nearest_of_matrix(distances: NDArray[np.floating], n_neighbors: int, workers: Workers) -> NeighborGraph:
    """Return the nearest neighbors of rows from the matrix of all distances, of shape (n, n)."""
    n = len(distances)
    own = np.arange(n, dtype=np.int32)
    nearest = Nearest(own, n, n_neighbors, np.float64)
    size = max(1, DISTANCES_AT_ONCE // n)
    for first in range(0, n, size):
        nearest.offer(distances[first : first + size].astype(np.float64, order="C"), own, own[first : first + size])
    values, indices, counts = nearest.found(workers)
    if counts.min() < n_neighbors:
        check_distances(distances)
    smallest, indices = values.astype(np.float64, order="C"), np.ascontiguousarray(indices)
    sort_neighbors(smallest, indices, own, n, workers)
    return NeighborGraph(indices, smallest)


def distances_of_all(X: Any, metric: Metric, params: dict[str, Any], workers: Workers) -> NDArray[np.float64]:
    """Return the distances of all pairs of rows, float64 of shape (n, n), under the result of `resolve`.

    For at most `FEW_ROWS` rows the distances equal those of scikit-learn to the last bit.
    """
    space = direct_space_of(X, metric, params)
    # pairwise_distances calls a Python function once for each pair, where blocks would call it twice.
    if space.direct and (space.calls_python or space.n <= FEW_ROWS):
        found = pairwise_distances(space.points, metric=space.metric, **space.params)
        distances = np.array(found, dtype=np.float64)
    else:
        distances = np.empty((space.n, space.n))
        columns, everything = space.operand(space.points, left=False), np.arange(space.n, dtype=np.int32)

        def fill(start: int, stop: int) -> None:
            points = space.points[start:stop]
            indices = np.broadcast_to(everything, (stop - start, space.n))
            values = space.values(space.operand(points), columns)
            distances[start:stop] = space.distances(values, points, indices, Workers())

        workers.run_blocks(skip_sklearn_checks(fill), space.n, max(1, _block_size(space) ** 2 // space.n))
    np.fill_diagonal(distances, 0.0)  # some metrics give a row of zeros a distance above 0 from itself
    check_distances(distances)
    return distances


def sorted_by_distance(distances: NDArray[np.float64], n_neighbors: int | None = None) -> NeighborGraph:
    """Return the nearest rows of the fit from a matrix of distances; at equal distances the lower index is first."""
    indices = np.argsort(distances, axis=1, kind="stable")[:, :n_neighbors]
    return NeighborGraph(np.ascontiguousarray(indices), np.take_along_axis(distances, indices, 1))
