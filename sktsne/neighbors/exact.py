"""The exact search: brute force, or a tree of scikit-learn for rows with few columns; and the search for new rows.

The neighbors of a new row do not depend, to the last bit, on the other rows of its batch. Where values are products,
whose rounding depends on the batch, the search for new rows therefore has three steps:

1. A few more candidates than neighbors are found by their values.
2. The distances of the candidates are computed pair by pair, and the nearest k candidates are the neighbors. At equal
   distances the lower index is nearer.
3. If rounding may have kept a nearer row from being a candidate, because the last candidate is hardly farther than the
   k-th neighbor, the row is searched again by differences of coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.neighbors import BallTree, KDTree

from .._caching import Caching
from .._checks import as_floats, check_number, check_type
from .._process import sklearn_on_threads
from ..parallel import Workers
from .all_pairs import (
    DISTANCES_AT_ONCE,
    FEW_ROWS,
    brute_force_candidates,
    brute_force_graph,
    distances_of_all,
    nearest_by_differences,
    nearest_of_matrix,
    skip_sklearn_checks,
    sorted_by_distance,
    spread_duplicates,
)
from .contract import NeighborGraph, as_rows, check_distances
from .metrics import Metric, errors_that_name, resolve, traits_of
from .selection import no_own_index, sort_neighbors
from .spaces import direct_space_of, space_of

EXTRA_CANDIDATES = 8  # the number of candidates of a new row beyond the number of neighbors
# Up to this many columns a tree is faster than matrix products. For 20,000 rows, the tree takes a fourth of the time of
# products with 3 columns, at most their time with 6 columns, and two to four times their time with 10 columns.
TREE_FEATURES = 6
LEAF_SIZE = 30  # the largest number of rows in a leaf of a tree
# The largest numbers of rows and of neighbors in one call of a tree. Ctrl-C takes effect between two calls.
TREE_ROWS_AT_ONCE, TREE_NEIGHBORS_AT_ONCE = 512, 2**19
# If n² · n_columns is at most this number, the matrix of all distances takes little time, and its distances equal those
# of scikit-learn to the last bit.
FEW_TERMS = 2**25


@contextmanager
def calling_libraries(metric: Metric, params: dict[str, Any] | None) -> Iterator[None]:
    """Run the code of other libraries in the calling thread only, and name the metric in the errors that they raise."""
    with errors_that_name(metric, params), sklearn_on_threads(1):
        yield


def uncertain_rows(space: Any, points: Any, distances: NDArray[np.float64], k: int, dtype: Any) -> NDArray[np.intp]:
    """Return the points whose k nearest candidates may not be their neighbors, because values in ``dtype`` are rounded.

    ``distances`` of shape (m, n_candidates) has the sorted distances of the candidates.
    """
    farthest = distances[:, -1]
    gap = space.to_squared(farthest) - space.to_squared(distances[:, k - 1])
    # A row that is no candidate may be nearer than the k-th neighbor, if rounding is as large as this gap.
    return np.flatnonzero(gap <= 2.0 * space.rounding(points, dtype, within=farthest))


class RowSearch(Caching):
    """The base class of searches in rows: checks the arguments, keeps the rows of a fit, and searches for new rows.

    Parameters
    ----------
    n_neighbors : int
        The number of neighbors.
    metric : str or callable, default="euclidean"
        A metric of :mod:`sklearn.neighbors`.
    metric_params : dict, default=None
        Further arguments of the metric.
    weights : ndarray of shape (n,), default=None
        The positive weights with which rows of the fit count in the variances that "seuclidean" and "mahalanobis" take
        from them; by default 1.
    """

    def __init__(
        self,
        n_neighbors: int,
        metric: Metric = "euclidean",
        metric_params: dict[str, Any] | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        check_number("n_neighbors", n_neighbors, Integral, 1)
        self._n_neighbors, self._given, self._weights = int(n_neighbors), (metric, metric_params), weights

    _least_rows = 2  # because a row is not its own neighbor

    def _prepare(self, X: Any) -> None:
        """Check and keep the rows of a fit and the metric."""
        X = as_rows("X", X)
        if X.shape[0] < self._least_rows:
            raise ValueError(f"X has shape {X.shape}, must have at least {self._least_rows} rows.")
        check_number("n_neighbors", self._n_neighbors, Integral, 1, max(1, X.shape[0] - 1))
        if self._weights is not None:
            as_floats("weights", self._weights, X.shape[:1])
        with errors_that_name(*self._given):
            metric, params = resolve(X, *self._given, self._weights)
            if isinstance(metric, str) and metric == "precomputed":
                raise ValueError("metric == 'precomputed', must be a metric of rows; GivenDistances takes distances.")
        self.__dict__ = self.__getstate__()  # removes the cached properties of an earlier fit
        self._X, self.metric, self.params = X, metric, params

    @cached_property
    def _space(self) -> Any:
        return space_of(self._X, self.metric, self.params)

    def fit(self, X: Any, workers: Workers) -> Any:
        """Find the nearest neighbors of all rows, or compute all distances; see :class:`NeighborSearch`."""
        check_type("workers", workers, Workers)
        self._prepare(X)
        with calling_libraries(*self._given):
            return self._graph(workers)

    def _graph(self, workers: Workers) -> Any:
        """Return the result of `fit` for the rows that `_prepare` kept."""
        raise NotImplementedError

    def take_all(self) -> None:
        """Make all rows of the fit neighbors of new rows, where each row of the fit has all others as neighbors."""
        self._n_neighbors = self._X.shape[0]

    def neighbors_of(self, rows: Any, workers: Workers) -> NeighborGraph:
        """Find the rows of the fit that are nearest to new rows; see :class:`NeighborSearch`."""
        check_type("workers", workers, Workers)
        if not hasattr(self, "metric"):
            raise ValueError("The search has no rows: call fit before neighbors_of.")
        rows = as_rows("rows", rows, like=self._X)
        with calling_libraries(*self._given):
            points = self._space.points_of(rows)
            graph = self._nearest_of(points, workers)
        check_distances(graph.distances, graph.indices)
        return graph

    def _candidates(
        self, points: Any, n_candidates: int, workers: Workers
    ) -> tuple[NDArray[np.floating], NDArray[np.int32]]:
        """Return the values and the indices of the nearest rows of the fit, in any order."""
        raise NotImplementedError

    _dtype: Any = np.float64  # of the values that `_candidates` returns

    def _reranked(
        self, points: Any, farthest: NDArray[np.float64], workers: Workers
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return the sorted distances and the indices of the nearest rows, by differences.

        ``farthest`` of shape (m,) is an upper bound, exact but for rounding, on the k-th distance of each point.
        """
        own = no_own_index(points.shape[0])
        return nearest_by_differences(self._space, points, own, farthest, self._n_neighbors, workers)

    def _nearest_of(self, points: Any, workers: Workers) -> NeighborGraph:
        """Return the rows of the fit that are nearest to points, which `Space.points_of` returned for new rows."""
        space, k = self._space, self._n_neighbors
        extra = EXTRA_CANDIDATES if space.rounds else 0
        values, indices = self._candidates(points, min(space.n, k + extra), workers)
        distances = space.exact_distances(points, indices, workers) if space.rounds else np.ascontiguousarray(values)
        sort_neighbors(distances, indices, no_own_index(len(indices)), space.n, workers)
        if space.rounds and indices.shape[1] < space.n:
            rows = uncertain_rows(space, points, distances, k, self._dtype)
            distances[rows, :k], indices[rows, :k] = self._reranked(points[rows], distances[rows, k - 1], workers)
        return NeighborGraph(np.ascontiguousarray(indices[:, :k]), np.ascontiguousarray(distances[:, :k]))


class ExactSearch(RowSearch):
    """Search for the exact nearest neighbors.

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

    def _graph(self, workers: Workers) -> NeighborGraph:
        n, n_columns = map(int, self._X.shape)
        if n <= FEW_ROWS and n * n * n_columns <= FEW_TERMS and not issparse(self._X):
            distances = distances_of_all(self._X, self.metric, self.params, workers)
            return nearest_of_matrix(distances, self._n_neighbors, workers)
        if self._uses_tree:
            return self._fit_in_tree(workers)
        return brute_force_graph(self._space, self._n_neighbors, workers)

    @property
    def _uses_tree(self) -> bool:
        """Whether a tree of scikit-learn finds the neighbors: for dense rows with few columns."""
        few = bool(self._X.shape[1] <= TREE_FEATURES) and not issparse(self._X)
        # With p < 1 "minkowski" does not satisfy the triangle inequality, which trees rely on.
        return few and traits_of(self.metric).tree and self.params.get("p", 2) >= 1

    @cached_property
    def _tree(self) -> KDTree | BallTree:
        # Not a NearestNeighbors: tools that record the fits of scikit-learn's estimators would record its fit.
        X = np.asarray(self._X, dtype=np.float64)
        if self.metric == "euclidean":
            return KDTree(X, LEAF_SIZE)
        return BallTree(X, LEAF_SIZE, metric=self.metric, **self.params)

    def _kneighbors(
        self, rows: Any, n_neighbors: int, workers: Workers
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return the sorted distances and the indices that the tree finds, searched by blocks of rows.

        At equal distances the lower index is first. scikit-learn's own threads are not used, because the neighbor that
        is kept of two at equal distances could then depend on the number of threads.
        """
        tree, n = self._tree, rows.shape[0]
        distances, indices = np.empty((n, n_neighbors)), np.empty((n, n_neighbors), dtype=np.int32)

        def block(start: int, stop: int) -> None:
            some = np.asarray(rows[start:stop], dtype=np.float64)
            distances[start:stop], indices[start:stop] = tree.query(some, n_neighbors)

        workers.run_blocks(
            skip_sklearn_checks(block), n, max(1, min(TREE_ROWS_AT_ONCE, TREE_NEIGHBORS_AT_ONCE // n_neighbors))
        )
        sort_neighbors(distances, indices, no_own_index(n), self._X.shape[0], workers)
        return distances, indices

    def _fit_in_tree(self, workers: Workers) -> NeighborGraph:
        """Return the nearest neighbors of all rows, found in the tree."""
        k = self._n_neighbors
        # A row usually finds itself first. If k + 1 duplicates were found in its place, the last one is left out.
        distances, indices = self._kneighbors(self._X, k + 1, workers)
        others = indices != np.arange(len(indices))[:, None]
        others[others.all(axis=1), -1] = False
        distances, indices = distances[others].reshape(-1, k), indices[others].reshape(-1, k)
        check_distances(distances, indices)
        return spread_duplicates(NeighborGraph(indices, distances), self._X)

    def _nearest_of(self, points: Any, workers: Workers) -> NeighborGraph:
        """Return the rows of the fit that are nearest to points, which `Space.points_of` returned for new rows."""
        if not self._uses_tree:
            return super()._nearest_of(points, workers)
        n, k = self._X.shape[0], self._n_neighbors
        wanted = min(n, k + 1)
        distances, indices = self._kneighbors(points, wanted, workers)
        # A tree keeps any of the rows at the k-th distance. The row with the lowest index is certain only after a row
        # beyond that distance was found, so the search is repeated with twice the number of neighbors.
        rows = np.flatnonzero(distances[:, -1] <= distances[:, k - 1])
        while len(rows) and wanted < n:
            wanted, open_rows = min(n, 2 * wanted), []
            step = max(1, DISTANCES_AT_ONCE // wanted)
            for some in (rows[first : first + step] for first in range(0, len(rows), step)):
                found, every = self._kneighbors(points[some], wanted, workers)
                distances[some, :k], indices[some, :k] = found[:, :k], every[:, :k]
                open_rows.append(some[found[:, -1] <= found[:, k - 1]])
            rows = np.concatenate(open_rows)
        return NeighborGraph(np.ascontiguousarray(indices[:, :k]), np.ascontiguousarray(distances[:, :k]))

    def _candidates(
        self, points: Any, n_candidates: int, workers: Workers
    ) -> tuple[NDArray[np.floating], NDArray[np.int32]]:
        return brute_force_candidates(self._space, points, no_own_index(points.shape[0]), n_candidates, workers)[:2]


class AllPairs(RowSearch):
    """Compute the distances of all pairs of rows, with every row of the fit as a neighbor.

    Parameters
    ----------
    metric : str or callable, default="euclidean"
        A metric of :mod:`sklearn.metrics`.
    metric_params : dict, default=None
        Further arguments of the metric.
    weights : ndarray of shape (n,), default=None
        The positive weights with which rows of the fit count in the variances that "seuclidean" and "mahalanobis" take
        from them; by default 1.

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

    def __init__(
        self,
        metric: Metric = "euclidean",
        metric_params: dict[str, Any] | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        super().__init__(1, metric, metric_params, weights)

    def _graph(self, workers: Workers) -> NDArray[np.float64]:
        return distances_of_all(self._X, self.metric, self.params, workers)

    @cached_property
    def _space(self) -> Any:
        return direct_space_of(self._X, self.metric, self.params)

    def _nearest_of(self, points: Any, workers: Workers) -> NeighborGraph:
        """Return all rows of the fit, sorted by distance, for points that `Space.points_of` returned for new rows."""
        space = self._space
        columns, everything = space.operand(space.points, left=False), np.arange(space.n, dtype=np.int32)[None]
        distances = np.empty((points.shape[0], space.n))
        for i in range(len(distances)):  # one by one, because the rounding of some products depends on the batch
            point = points[i : i + 1]
            values = space.values(space.operand(point), columns)
            distances[i] = space.distances(values, point, everything, Workers())[0]
        return sorted_by_distance(distances)
