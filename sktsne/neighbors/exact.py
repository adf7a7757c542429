"""The exact search: all pairs, by products where the metric is one, and by scikit-learn's searches otherwise.

A new row's neighbors do not depend on the other rows of a batch, to the last bit. This takes some care where values
are rounded products: then a few more candidates than needed are found, their distances computed pair by pair, and the
nearest chosen by distance and then by index. If the last candidate is, but for rounding, no farther than the last
neighbor, the distances of the row to all rows decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import contextmanager
from functools import cached_property
from numbers import Integral
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn import config_context
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from .._caching import Caching
from .._checks import check_number, check_type
from .._process import sklearn_on_threads
from ..known_rows import KnownRows
from ..parallel import Workers
from .contract import NeighborGraph, as_rows, check_distances, raise_for_distance
from .metrics import Metric, errors_that_name, resolve, traits_of
from .selection import Nearest, in_order
from .spaces import CountSpace, DirectSpace, Space, space_of

# Candidates in addition to the neighbors.
SPARE = 8
# Up to this many columns a tree beats matrix products. For 20,000 rows the tree takes a fourth of their time with 3
# columns, at most their time with 6, and two to four times as long with 10; scikit-learn chooses the tree up to 15.
TREE_FEATURES = 6
SKLEARN_TREE_FEATURES = 15
# Up to this many terms of all distances, a matrix of them costs nothing, and they are scikit-learn's to the last bit.
FEW_TERMS, FEW_ROWS = 2**25, 1000
# Rows and columns of a block of pairs, and the most terms in one. Ctrl-C has to wait for a block to end.
BLOCK, LEAST_BLOCK, LEAST_BLOCKS, TERMS_OF_BLOCK = 1024, 64, 4, 2**32
STRIP = 8  # blocks beside one another that share their rows
# From this many columns on, the products of half of the pairs and copies of them take less time than those of all.
COLUMNS_TO_TRANSPOSE = 128
# Pairs times columns in one call of scikit-learn. Fewer rows than the least make calls slower that search a tree or
# prepare all rows.
TERMS_AT_ONCE = 2**26
LEAST_ROWS_OF_TREE, MOST_ROWS = 128, 512
DISTANCES_AT_ONCE = 2**22  # of a given matrix
# Products do not rank the neighbors of a row that are all within so many times their rounding.
UNRESOLVED = 100.0


@contextmanager
def computing(metric: Metric, params: dict[str, Any] | None) -> Any:
    """Have libraries use the calling threads only, skip their checks of finite values, and name the metric in errors."""
    with errors_that_name(metric, params), sklearn_on_threads(1):
        yield


def unchecked(function: Callable[[int, int], Any]) -> Callable[[int, int], Any]:
    """Return a function without scikit-learn's checks of its rows, a setting of each thread."""

    def call(start: int, stop: int) -> Any:
        with config_context(assume_finite=True):
            return function(start, stop)

    return call


class Searching(Caching):
    """What the searches in rows share: a metric, the space of the rows, and the neighbors of new ones.

    Parameters
    ----------
    n_neighbors : int
        The number of neighbors.
    metric : str or callable, default="euclidean"
        A metric of :mod:`sklearn.neighbors`.
    metric_params : dict, default=None
        Further arguments of the metric.
    """

    def __init__(
        self, n_neighbors: int, metric: Metric = "euclidean", metric_params: dict[str, Any] | None = None
    ) -> None:
        check_number("n_neighbors", n_neighbors, Integral, 1)
        self._n_neighbors, self._given = n_neighbors, (metric, metric_params)

    _least_rows = 2

    def prepare(self, X: Any) -> Any:
        """Keep the rows of a fit, and return them."""
        X = as_rows("X", X)
        if X.shape[0] < self._least_rows:
            raise ValueError(f"X has shape {X.shape}, must have at least {self._least_rows} rows.")
        check_number("n_neighbors", self._n_neighbors, Integral, 1, max(1, X.shape[0] - 1))
        self.__dict__ = self.__getstate__()  # without what was cached of an earlier fit
        self._X = X
        with errors_that_name(*self._given):
            self._metric, self._params = resolve(X, *self._given)
            if isinstance(self._metric, str) and self._metric == "precomputed":
                raise ValueError("metric == 'precomputed', must be one of rows: GivenDistances takes distances.")
        return X

    @cached_property
    def _space(self) -> Any:
        return space_of(self._X, self._metric, self._params)

    def neighbors_of(self, rows: Any, workers: Workers) -> NeighborGraph:
        """Return the nearest rows of the fit; see :class:`NeighborSearch`."""
        check_type("workers", workers, Workers)
        if not hasattr(self, "_metric"):
            raise ValueError("fit must come before neighbors_of.")
        rows = as_rows("rows", rows, like=self._X)
        with computing(*self._given):
            points = self._space.points_of(rows)
            graph = self.nearest_of(points, workers)
        check_distances(graph.distances, graph.indices)
        return graph

    def _candidates(
        self, points: Any, n_candidates: int, workers: Workers
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return values and indices of the nearest rows of the fit, those at equal values by index."""
        raise NotImplementedError

    # The type of the values of candidates.
    _dtype: Any = np.float64

    def _all_candidates(self, point: Any) -> NDArray[np.int32]:
        """Return, for a row, the numbers of all rows among which neighbors are sought."""
        return np.arange(self._space.n, dtype=np.int32)

    def nearest_of(self, points: Any, workers: Workers) -> NeighborGraph:
        space, k = self._space, self._n_neighbors
        spare = SPARE if space.rounds else 0
        values, indices = self._candidates(points, min(space.n, k + spare), workers)
        indices = np.ascontiguousarray(indices)
        distances = space.exactly(points, indices, workers) if space.rounds else np.ascontiguousarray(values)
        in_order(distances, indices, np.full(len(indices), -1, dtype=np.int32), space.n, workers)
        if space.rounds and indices.shape[1] < space.n:
            gap = space.squared(distances[:, -1]) - space.squared(distances[:, k - 1])
            for row in np.flatnonzero(gap <= space.rounding(points, self._dtype)):
                every = self._all_candidates(points[row : row + 1])
                found = space.exactly(points[row : row + 1], every[None], workers)[0]
                nearest = np.lexsort((every, found))[:k]
                distances[row, :k], indices[row, :k] = found[nearest], every[nearest]
        return NeighborGraph(np.ascontiguousarray(indices[:, :k]), np.ascontiguousarray(distances[:, :k]))


class ExactSearch(Searching):
    """Finds the nearest neighbors, exactly.

    Parameters
    ----------
    n_neighbors : int
        The number of neighbors.
    metric : str or callable, default="euclidean"
        A metric of :mod:`sklearn.neighbors`.
    metric_params : dict, default=None
        Further arguments of the metric.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.neighbors import ExactSearch
    >>> from sktsne.parallel import Workers
    >>> search = ExactSearch(n_neighbors=2)
    >>> search.fit(np.array([[0.0], [1.0], [3.0], [7.0]]), Workers()).distances.tolist()
    [[1.0, 3.0], [1.0, 2.0], [2.0, 3.0], [4.0, 6.0]]
    >>> search.neighbors_of(np.array([[6.0]]), Workers()).indices.tolist()
    [[3, 2]]
    """

    def fit(self, X: Any, workers: Workers) -> NeighborGraph:
        """Return the nearest neighbors of all rows; see :class:`NeighborSearch`."""
        check_type("workers", workers, Workers)
        X = self.prepare(X)
        with computing(*self._given):
            n, n_columns = map(int, X.shape)
            if n <= FEW_ROWS and n * n * n_columns <= FEW_TERMS and not issparse(X):
                return nearest_of_matrix(distances_of_all(X, self._metric, self._params, workers), self._n_neighbors)
            if self._by_sklearn:
                return self._fit_by_sklearn(workers)
            return neighbors_of_all(self._space, self._n_neighbors, workers)

    @cached_property
    def _by_sklearn(self) -> bool:
        """Whether scikit-learn searches: in a tree for few columns, and for metrics that are no products."""
        if self._metric == "euclidean" and not issparse(self._X):
            return bool(self._X.shape[1] <= TREE_FEATURES)
        return isinstance(self._space, DirectSpace)

    def _fit_by_sklearn(self, workers: Workers) -> NeighborGraph:
        points, k = self._sklearn_points(self._X), self._n_neighbors
        distances, indices = self._kneighbors(points, k + 1, workers)  # the row itself is usually the nearest
        others = indices != np.arange(len(indices))[:, None]
        others[others.all(axis=1), -1] = False  # duplicates have displaced the row itself
        if np.count_nonzero(others) != len(others) * k:  # NaN has the search find a row several times
            check_distances(distances, indices)
        distances, indices = distances[others].reshape(-1, k), indices[others].reshape(-1, k)
        check_distances(distances, indices)
        return in_turn(NeighborGraph(indices, distances), self._X)

    def _sklearn_points(self, rows: Any) -> Any:
        return DirectSpace(rows, self._metric, self._params).points

    @cached_property
    def _index(self) -> NearestNeighbors:
        params, metric = dict(self._params), self._metric
        algorithm = "auto" if traits_of(metric).tree else "brute"
        search = NearestNeighbors(
            algorithm="kd_tree" if metric == "euclidean" else algorithm,
            metric=metric,
            p=params.pop("p", 2),  # a separate argument of scikit-learn's
            metric_params=params or None,
            n_jobs=1,
        )
        return search.fit(self._sklearn_points(self._X))

    def _kneighbors(
        self, points: Any, n_neighbors: int, workers: Workers
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return what scikit-learn finds, by blocks of rows.

        Between blocks Ctrl-C is heard. And which of two equally distant neighbors is kept does not depend on the number
        of threads; with scikit-learn's own threads, which divide the candidates, it would.
        """
        index, n = self._index, points.shape[0]
        distances, indices = np.empty((n, n_neighbors)), np.empty((n, n_neighbors), dtype=np.int32)

        def block(start: int, stop: int) -> None:
            distances[start:stop], indices[start:stop] = index.kneighbors(points[start:stop], n_neighbors)

        several = workers if traits_of(self._metric).threads else Workers()
        several.run_blocks(unchecked(block), n, _rows_at_once(self._X))
        return distances, indices

    def nearest_of(self, points: Any, workers: Workers) -> NeighborGraph:
        if not self._by_sklearn:
            return super().nearest_of(points, workers)
        n, k = self._X.shape[0], self._n_neighbors
        distances, indices = self._kneighbors(points, min(n, k + 1), workers)
        order = np.lexsort((indices, distances), axis=1)
        distances, indices = np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1)
        if indices.shape[1] < n:
            for row in np.flatnonzero(distances[:, k] <= distances[:, k - 1]):  # which of equals a search keeps is open
                found, every = self._kneighbors(points[row : row + 1], n, Workers())
                nearest = np.lexsort((every[0], found[0]))[:k]
                distances[row, :k], indices[row, :k] = found[0, nearest], every[0, nearest]
        return NeighborGraph(np.ascontiguousarray(indices[:, :k]), np.ascontiguousarray(distances[:, :k]))

    def _candidates(
        self, points: Any, n_candidates: int, workers: Workers
    ) -> tuple[NDArray[np.floating], NDArray[np.int32]]:
        own = np.full(points.shape[0], -1, dtype=np.int32)
        return nearest_in_all(self._space, points, own, n_candidates, workers)[:2]


def nearest_in_all(
    space: Any, points: Any, own: NDArray[np.int32], n_neighbors: int, workers: Workers
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]]:
    """Return what `Nearest` finds for points whose numbers in the fit are ``own``, or -1, among all rows."""
    m, size = len(own), _block_size(space)
    values, indices = np.empty((m, n_neighbors)), np.empty((m, n_neighbors), dtype=np.int32)
    counts = np.empty(m, dtype=np.int32)

    def block(start: int, stop: int) -> None:
        rows = space.operand(points[start:stop])
        nearest = Nearest(own[start:stop], space.n, n_neighbors, np.float64)
        for first in range(0, space.n, size):
            columns = np.arange(first, min(first + size, space.n), dtype=np.int32)
            nearest.offer(space.values(rows, space.operand(space.points[first : first + size], False)), columns)
        values[start:stop], indices[start:stop], counts[start:stop] = nearest.found(Workers())

    workers.run_blocks(unchecked(block), m, max(LEAST_BLOCK, min(size, -(-m // LEAST_BLOCKS))))
    return values, indices, counts


def _rows_at_once(X: Any) -> int:
    n, p = map(int, X.shape)
    terms = max(1, int(X.nnz) if issparse(X) else n * p)
    return min(max(TERMS_AT_ONCE // terms, LEAST_ROWS_OF_TREE if p <= SKLEARN_TREE_FEATURES else 1), MOST_ROWS)


def _block_size(space: Space) -> int:
    """Return how many rows and columns a block of pairs has."""
    columns = space.points.nnz // space.n if issparse(space.points) else space.n_columns
    fits = math.isqrt(TERMS_OF_BLOCK // max(1, columns))
    return max(LEAST_BLOCK, min(BLOCK, fits - fits % LEAST_BLOCK))


def neighbors_of_all(space: Any, n_neighbors: int, workers: Workers, dtype: Any = np.float64) -> NeighborGraph:
    """Return the nearest neighbors of all rows of a space, from all pairs by blocks of values of ``dtype``.

    Where rows have many columns, each block serves its rows, and transposed its columns.
    """
    n, size = space.n, _block_size(space)
    own, points = np.arange(n, dtype=np.int32), space.points
    nearest = Nearest(own, n, n_neighbors, dtype)
    blocks = [own[first : first + size] for first in range(0, n, size)]
    locks = [Lock() for _ in blocks]
    twice = issparse(points) or space.n_columns >= COLUMNS_TO_TRANSPOSE
    numbers = range(len(blocks))
    strips = [(i, numbers[j : j + STRIP]) for i in numbers for j in numbers[i if twice else 0 :: STRIP]]

    def operand(number: int, left: bool) -> Any:
        return space.operand(points[number * size : (number + 1) * size], left, dtype)

    def fill(start: int, stop: int) -> None:
        for i, strip in strips[start:stop]:
            rows = operand(i, left=True)
            for j in strip:
                values = space.values(rows, operand(j, left=False))
                with locks[i]:
                    nearest.offer(values, blocks[j], blocks[i])
                if twice and i != j:
                    values = np.ascontiguousarray(values.T)
                    with locks[j]:
                        nearest.offer(values, blocks[i], blocks[j])

    workers.run_blocks(unchecked(fill), len(strips), 1)
    graph = finished(space, *nearest.found(workers), own, points, workers)
    return in_turn(resolved(space, graph, own, points, workers) if dtype == np.float64 else graph, points)


def resolved(
    space: Any, graph: NeighborGraph, own: NDArray[np.int32], points: Any, workers: Workers
) -> NeighborGraph:
    """Return the graph of points ``own`` with neighbors by differences, of those whose neighbors float64 does not rank."""
    if not space.rounds:
        return graph
    farthest = graph.distances[:, -1]
    rounding = UNRESOLVED * space.rounding(points, within=farthest)
    rows = np.flatnonzero((farthest > 0.0) & (space.squared(farthest) <= rounding))
    size = _block_size(space)

    def block(start: int, stop: int) -> None:
        some = rows[start:stop]
        nearest = Nearest(own[some], space.n, graph.indices.shape[1], np.float64)
        for first in range(0, space.n, size):
            columns = np.arange(first, min(first + size, space.n), dtype=np.int32)
            pairs = np.ascontiguousarray(np.broadcast_to(columns, (len(some), len(columns))))
            nearest.offer(space.exactly(points[some], pairs, Workers()), columns)
        distances, indices = map(np.ascontiguousarray, nearest.found(Workers())[:2])
        in_order(distances, indices, own[some], space.n, Workers())
        graph.indices[some], graph.distances[some] = indices, distances

    workers.run_blocks(unchecked(block), len(rows), max(1, min(size, -(-len(rows) // LEAST_BLOCKS))))
    return graph


def finished(
    space: Any,
    values: NDArray[np.floating],
    indices: NDArray[np.int32],
    counts: NDArray[np.int32],
    own: NDArray[np.int32],
    points: Any,
    workers: Workers,
) -> NeighborGraph:
    """Return the graph of points ``own`` of a space from what `Nearest` found, with distances, sorted by these."""
    k = indices.shape[1]
    if (short := np.flatnonzero(counts < k)).size:  # only NaN is no candidate
        row = int(own[short[0]])
        raise_for_distance(math.nan, row, 0 if row else 1)
    indices = np.ascontiguousarray(indices)
    distances = space.distances(values, points, indices, workers)
    check_distances(distances, indices)
    in_order(distances, indices, own, space.n, workers)
    return NeighborGraph(indices, distances)


def in_turn(graph: NeighborGraph, points: Any) -> NeighborGraph:
    """Return the graph where rows that equal more others than are wanted have those that follow them.

    Any of the others is right. But if all rows had the same ones, the rest would be nobody's neighbor.
    """
    indices, k = graph.indices, graph.indices.shape[1]
    rows = np.flatnonzero(graph.distances[:, -1] == 0.0)
    if len(rows) <= k:
        return graph
    groups = KnownRows(points[rows]).groups
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups)[groups[order]]
    first = np.searchsorted(groups[order], groups[order])
    place = np.arange(len(rows)) - first
    many = sizes > k
    following = first[many, None] + (place[many, None] + np.arange(1, k + 1)) % sizes[many, None]
    indices[rows[order[many]]] = rows[order[following]]
    return graph


def nearest_of_matrix(distances: NDArray[np.floating], n_neighbors: int) -> NeighborGraph:
    """Return the nearest neighbors of rows of which all distances are given."""
    n = len(distances)
    own = np.arange(n, dtype=np.int32)
    nearest = Nearest(own, n, n_neighbors, np.float64)
    size = max(1, DISTANCES_AT_ONCE // n)
    for first in range(0, n, size):
        nearest.offer(distances[first : first + size].astype(np.float64, order="C"), own, own[first : first + size])
    values, indices, counts = nearest.found(Workers())
    if counts.min() < n_neighbors:
        check_distances(distances)
    graph = NeighborGraph(np.ascontiguousarray(indices), np.ascontiguousarray(values))
    in_order(graph.distances, graph.indices, own, n, Workers())
    return graph


def distances_of_all(X: Any, metric: Metric, params: dict[str, Any], workers: Workers) -> NDArray[np.float64]:
    """Return the distances of all pairs of rows, under a metric and parameters as `resolve` returns them.

    The distances of few rows are scikit-learn's, to the last bit.
    """
    if metric == "euclidean" and not issparse(X):
        # The same metric, computed by differences, not by |x|² + |y|² − 2x·y, so that near pairs keep their digits.
        metric, params = "minkowski", {"p": 2}
    n, space = X.shape[0], space_of(X, metric, params)
    if isinstance(space, CountSpace) or (issparse(X) and not isinstance(space, DirectSpace)):
        distances = _distances_by_products(space, workers)
    else:
        points = DirectSpace(X, metric, params).points
        if callable(metric) or n <= FEW_ROWS:  # computes each pair once
            distances = np.array(pairwise_distances(points, metric=metric, **params), dtype=np.float64)
        else:
            distances = np.empty((n, n))

            def fill(start: int, stop: int) -> None:
                distances[start:stop] = pairwise_distances(points[start:stop], points, metric=metric, **params)

            several = workers if traits_of(metric).threads else Workers()
            several.run_blocks(unchecked(fill), n, _rows_at_once(X))
    np.fill_diagonal(distances, 0.0)  # some metrics are not 0 from a row of zeros to itself
    check_distances(distances)
    return distances


def _distances_by_products(space: Any, workers: Workers) -> NDArray[np.float64]:
    distances = np.empty((space.n, space.n))
    columns, everything = space.operand(space.points, left=False), np.arange(space.n, dtype=np.int32)

    def fill(start: int, stop: int) -> None:
        points = space.points[start:stop]
        indices = np.broadcast_to(everything, (stop - start, space.n))
        values = space.values(space.operand(points), columns)
        distances[start:stop] = space.distances(values, points, indices, Workers())

    workers.run_blocks(unchecked(fill), space.n, _block_size(space))
    return distances


class AllPairs(Searching):
    """Takes every row of the fit for a neighbor.

    Parameters
    ----------
    metric : str or callable, default="euclidean"
        A metric of :mod:`sklearn.metrics`.
    metric_params : dict, default=None
        Further arguments of the metric.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.neighbors import AllPairs
    >>> from sktsne.parallel import Workers
    >>> search = AllPairs()
    >>> search.fit(np.array([[0.0], [1.0], [3.0]]), Workers())
    array([[0., 1., 3.],
           [1., 0., 2.],
           [3., 2., 0.]])
    >>> search.neighbors_of(np.array([[6.0]]), Workers()).indices
    array([[2, 1, 0]])
    """

    _least_rows = 1

    def __init__(self, metric: Metric = "euclidean", metric_params: dict[str, Any] | None = None) -> None:
        super().__init__(1, metric, metric_params)

    def fit(self, X: Any, workers: Workers) -> NDArray[np.float64]:
        """Return all distances; see :class:`NeighborSearch`."""
        check_type("workers", workers, Workers)
        X = self.prepare(X)
        with computing(*self._given):
            return distances_of_all(X, self._metric, self._params, workers)

    @cached_property
    def _space(self) -> Any:
        if self._metric == "euclidean" and not issparse(self._X):
            return DirectSpace(self._X, "minkowski", {"p": 2})  # by differences
        return DirectSpace(self._X, self._metric, self._params)

    def nearest_of(self, points: Any, workers: Workers) -> NeighborGraph:
        # One by one, as a matrix product rounds a row differently in another batch.
        X = self._space.points
        distances = np.concatenate([self._space.values(points[i : i + 1], X) for i in range(points.shape[0])])
        return in_order_of_rows(distances)


def in_order_of_rows(distances: NDArray[np.float64], n_neighbors: int | None = None) -> NeighborGraph:
    """Return the nearest of all rows of the fit, those at equal distances by index."""
    indices = np.argsort(distances, axis=1, kind="stable")[:, :n_neighbors]
    return NeighborGraph(np.ascontiguousarray(indices), np.take_along_axis(distances, indices, 1))
