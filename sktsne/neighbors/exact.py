"""The exact search: all pairs by blocks, or scikit-learn's trees for few columns.

A new row's neighbors do not depend on the other rows of a batch, to the last bit. This takes some care where values
are rounded products: then a few more candidates than needed are found, their distances computed pair by pair, and the
nearest chosen by distance and then by index. If the last candidate is, but for rounding, no farther than the last
neighbor, the distances of the row to all rows decide.
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
from .._checks import check_number, check_type
from .._process import sklearn_on_threads
from ..parallel import Workers
from .all_pairs import (
    DISTANCES_AT_ONCE,
    FEW_ROWS,
    distances_of_all,
    in_order_of_rows,
    in_turn,
    nearest_by_differences,
    nearest_in_all,
    nearest_of_matrix,
    neighbors_of_all,
    unchecked,
)
from .contract import NeighborGraph, as_rows, check_distances
from .metrics import Metric, errors_that_name, resolve, traits_of
from .selection import in_order, no_numbers
from .spaces import direct_space_of, space_of

# Candidates in addition to the neighbors.
SPARE = 8
# Up to this many columns a tree beats matrix products. For 20,000 rows the tree takes a fourth of their time with 3
# columns, at most their time with 6, and two to four times as long with 10.
TREE_FEATURES = 6
# Rows in a leaf of a tree.
LEAF_SIZE = 30
# For so many rows and neighbors a tree is searched in one call, between two of which Ctrl-C is heard.
ROWS_IN_TREE, NEIGHBORS_IN_TREE = 512, 2**19
# Up to this many terms of all distances, a matrix of them costs nothing, and they are scikit-learn's to the last bit.
FEW_TERMS = 2**25


@contextmanager
def computing(metric: Metric, params: dict[str, Any] | None) -> Iterator[None]:
    """Have libraries use the calling threads only, and name the metric in their errors."""
    with errors_that_name(metric, params), sklearn_on_threads(1):
        yield


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

    def _prepare(self, X: Any) -> None:
        """Keep the rows of a fit, and the metric."""
        X = as_rows("X", X)
        if X.shape[0] < self._least_rows:
            raise ValueError(f"X has shape {X.shape}, must have at least {self._least_rows} rows.")
        check_number("n_neighbors", self._n_neighbors, Integral, 1, max(1, X.shape[0] - 1))
        with errors_that_name(*self._given):
            metric, params = resolve(X, *self._given)
            if isinstance(metric, str) and metric == "precomputed":
                raise ValueError("metric == 'precomputed', must be one of rows: GivenDistances takes distances.")
        self.__dict__ = self.__getstate__()  # without what was cached of an earlier fit
        self._X, self._metric, self._params = X, metric, params

    @cached_property
    def _space(self) -> Any:
        return space_of(self._X, self._metric, self._params)

    def fit(self, X: Any, workers: Workers) -> Any:
        """Return the nearest neighbors of all rows, or all distances; see :class:`NeighborSearch`."""
        check_type("workers", workers, Workers)
        self._prepare(X)
        with computing(*self._given):
            return self._graph(workers)

    def _graph(self, workers: Workers) -> Any:
        """Return what `fit` does, of the rows that are kept."""
        raise NotImplementedError

    def neighbors_of(self, rows: Any, workers: Workers) -> NeighborGraph:
        """Return the nearest rows of the fit; see :class:`NeighborSearch`."""
        check_type("workers", workers, Workers)
        if not hasattr(self, "_metric"):
            raise ValueError("fit must come before neighbors_of.")
        rows = as_rows("rows", rows, like=self._X)
        with computing(*self._given):
            points = self._space.points_of(rows)
            graph = self._nearest_of(points, workers)
        check_distances(graph.distances, graph.indices)
        return graph

    def _candidates(
        self, points: Any, n_candidates: int, workers: Workers
    ) -> tuple[NDArray[np.floating], NDArray[np.int32]]:
        """Return values and indices of the nearest rows of the fit, in no order."""
        raise NotImplementedError

    # The type of the values of candidates.
    _dtype: Any = np.float64

    def _decided(
        self, points: Any, farthest: NDArray[np.float64], workers: Workers
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return distances and indices of the nearest, by differences, which are no farther than ``farthest``."""
        own = no_numbers(points.shape[0])
        return nearest_by_differences(self._space, points, own, farthest, self._n_neighbors, workers)

    def _nearest_of(self, points: Any, workers: Workers) -> NeighborGraph:
        """Return the nearest rows of the fit to points, which are rows after the map of the space."""
        space, k = self._space, self._n_neighbors
        spare = SPARE if space.rounds else 0
        values, indices = self._candidates(points, min(space.n, k + spare), workers)
        distances = space.exactly(points, indices, workers) if space.rounds else np.ascontiguousarray(values)
        in_order(distances, indices, no_numbers(len(indices)), space.n, workers)
        if space.rounds and indices.shape[1] < space.n:
            farthest = distances[:, -1]
            gap = space.squared(farthest) - space.squared(distances[:, k - 1])
            # Rounding may have put off a row that is near, and put forward the last candidate.
            rows = np.flatnonzero(gap <= 2.0 * space.rounding(points, self._dtype, within=farthest))
            distances[rows, :k], indices[rows, :k] = self._decided(points[rows], distances[rows, k - 1], workers)
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

    def _graph(self, workers: Workers) -> NeighborGraph:
        n, n_columns = map(int, self._X.shape)
        if n <= FEW_ROWS and n * n * n_columns <= FEW_TERMS and not issparse(self._X):
            distances = distances_of_all(self._X, self._metric, self._params, workers)
            return nearest_of_matrix(distances, self._n_neighbors, workers)
        if self._in_tree:
            return self._fit_in_tree(workers)
        return neighbors_of_all(self._space, self._n_neighbors, workers)

    @property
    def _in_tree(self) -> bool:
        few = bool(self._X.shape[1] <= TREE_FEATURES) and not issparse(self._X)
        return few and traits_of(self._metric).tree and self._params.get("p", 2) >= 1  # below, no triangle inequality

    @cached_property
    def _tree(self) -> KDTree | BallTree:
        # Not a NearestNeighbors: tools that record the fits of scikit-learn's estimators would record its fit.
        X = np.asarray(self._X, dtype=np.float64)
        if self._metric == "euclidean":
            return KDTree(X, LEAF_SIZE)
        return BallTree(X, LEAF_SIZE, metric=self._metric, **self._params)

    def _kneighbors(
        self, rows: Any, n_neighbors: int, workers: Workers
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return what the tree finds, those at equal distances by index, by blocks of rows.

        Which of two equally distant neighbors is kept does not depend on the number of threads; with scikit-learn's own
        threads, which divide the candidates, it would.
        """
        tree, n = self._tree, rows.shape[0]
        distances, indices = np.empty((n, n_neighbors)), np.empty((n, n_neighbors), dtype=np.int32)

        def block(start: int, stop: int) -> None:
            some = np.asarray(rows[start:stop], dtype=np.float64)
            distances[start:stop], indices[start:stop] = tree.query(some, n_neighbors)

        workers.run_blocks(unchecked(block), n, max(1, min(ROWS_IN_TREE, NEIGHBORS_IN_TREE // n_neighbors)))
        in_order(distances, indices, no_numbers(n), self._X.shape[0], workers)
        return distances, indices

    def _fit_in_tree(self, workers: Workers) -> NeighborGraph:
        k = self._n_neighbors
        distances, indices = self._kneighbors(self._X, k + 1, workers)  # the row itself is usually the nearest
        others = indices != np.arange(len(indices))[:, None]
        others[others.all(axis=1), -1] = False  # duplicates have displaced the row itself
        distances, indices = distances[others].reshape(-1, k), indices[others].reshape(-1, k)
        check_distances(distances, indices)
        return in_turn(NeighborGraph(indices, distances), self._X)

    def _nearest_of(self, points: Any, workers: Workers) -> NeighborGraph:
        """Return the nearest rows of the fit to points, which are rows after the map of the space."""
        if not self._in_tree:
            return super()._nearest_of(points, workers)
        n, k = self._X.shape[0], self._n_neighbors
        wanted = min(n, k + 1)
        distances, indices = self._kneighbors(points, wanted, workers)
        # Which of equally distant rows a tree keeps is open, until a row that is farther is found.
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
        return nearest_in_all(self._space, points, no_numbers(points.shape[0]), n_candidates, workers)[:2]


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

    def _graph(self, workers: Workers) -> NDArray[np.float64]:
        return distances_of_all(self._X, self._metric, self._params, workers)

    @cached_property
    def _space(self) -> Any:
        return direct_space_of(self._X, self._metric, self._params)

    def _nearest_of(self, points: Any, workers: Workers) -> NeighborGraph:
        """Return all rows of the fit, from near to far."""
        space = self._space
        columns, everything = space.operand(space.points, left=False), np.arange(space.n, dtype=np.int32)[None]
        distances = np.empty((points.shape[0], space.n))
        for i in range(len(distances)):  # one by one, as some products round a row differently in another batch
            point = points[i : i + 1]
            values = space.values(space.operand(point), columns)
            distances[i] = space.distances(values, point, everything, Workers())[0]
        return in_order_of_rows(distances)
