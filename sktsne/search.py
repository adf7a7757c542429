r"""Neighbors of new rows, among those of a fit.

The neighbors of a row do not depend on the other rows of a batch, to the last bit. This takes some care: matrix
products round a row differently in different batches, and of equally distant rows a search may keep any. So a search
finds a few more candidates than needed, computes their distances pair by pair, and chooses the nearest by distance and
then by index. If the last candidate is, but for rounding, no farther than the last neighbor, the search computes the
distances of the row to all rows.
"""

from __future__ import annotations

import math
from functools import cached_property, partial
from hashlib import blake2b
from numbers import Integral
from threading import RLock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn import config_context
from sklearn.metrics import pairwise_distances
from sklearn.preprocessing import normalize

from ._checks import as_csr, as_floats, check_not_negative, check_number, check_type
from ._native import choose
from ._process import call_in_forked_processes, sklearn_on_threads
from .neighbors import (
    BY_PRODUCTS,
    PAIRS_AT_ONCE,
    Conditioning,
    Index,
    Metric,
    NeighborGraph,
    as_rows,
    check_distances,
    check_graph,
    distances_of_all,
    exact_index,
    kneighbors,
    nearest_of_graph,
    needs_one_thread,
    resolve,
    rows_of,
    search_all,
)
from .parallel import Workers

# Candidates in addition to the neighbors.
SPARE = 8
# Bound on the rounding of a squared distance by products, in units of (|x| + |y|)²: sums of 10,000 terms have less.
ROUNDING = 1e-12


class Search(Protocol):
    """The contract of a search for the neighbors of new rows among the rows of the fit.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.parallel import Workers
    >>> from sktsne.neighbors import Conditioning
    >>> from sktsne.search import ExactSearch, Search
    >>> X = np.array([[0.0], [1.0], [3.0], [7.0]])
    >>> search: Search = ExactSearch(X, Conditioning(X, "euclidean"), 2, "euclidean", None)
    >>> search.neighbors_of(np.array([[6.0]]), Workers()).indices
    array([[3, 2]])
    """

    def neighbors_of(self, rows: Any, workers: Workers) -> NeighborGraph:
        """Return the nearest rows of the fit, from near to far. No row's result depends on the other rows."""


class Caching:
    """An object whose cached properties are computed anew after unpickling."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes without cached properties."""
        cached = {name for kind in type(self).__mro__ for name, value in vars(kind).items() if is_cached(value)}
        return {name: value for name, value in self.__dict__.items() if name not in cached}


def is_cached(value: Any) -> bool:
    """Return whether a class's attribute is a cached property."""
    return isinstance(value, cached_property)


def _renew_locks() -> None:
    """Give cached properties new locks; in Python 3.11 they have locks."""
    for kind in Caching.__subclasses__():
        for value in vars(kind).values():
            if is_cached(value) and hasattr(value, "lock"):
                value.lock = RLock()


call_in_forked_processes(_renew_locks)


def pair_distances_reference(
    new: NDArray[np.float64],
    X: NDArray[np.float64],
    indices: NDArray[np.int64],
    distances: NDArray[np.float64],
    start: int,
    stop: int,
) -> None:
    """Fill rows ``start`` to ``stop`` of ``distances``: from rows of ``new`` to the rows ``indices`` of ``X``."""
    step = max(1, PAIRS_AT_ONCE // max(1, indices.shape[1]))
    for first in range(start, stop, step):
        rows = slice(first, min(first + step, stop))
        difference = new[rows, None] - X[indices[rows]]
        distances[rows] = np.sqrt(np.einsum("ijk,ijk->ij", difference, difference))


class KnownRows:
    """Finds the rows of a fit again, by their values.

    A row is known by a hash of 16 bytes. The probability that any two of a million rows share theirs is below 1e-26.

    Parameters
    ----------
    X : ndarray or csr_matrix of shape (n, n_features)
        The rows.
    explicit_zeros : bool, default=False
        Whether a stored zero differs from a missing entry, as in a sparse graph of distances.

    Examples
    --------
    >>> import numpy as np
    >>> known = KnownRows(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> known.find(np.array([[3.0, 4.0], [0.0, 0.0]]))
    (array([ True, False]), array([1]))
    """

    def __init__(self, X: Any, explicit_zeros: bool = False) -> None:
        self._explicit_zeros = explicit_zeros
        self.hashes = _hashes(X, explicit_zeros)
        if len(self.hashes) == 0:
            raise ValueError("X has no rows, must have at least one.")
        self._order = np.argsort(self.hashes, kind="stable")

    @property
    def groups(self) -> NDArray[np.intp]:
        """A number for each row of the fit, which equal rows have in common."""
        ordered = self.hashes[self._order]
        groups = np.empty(len(ordered), dtype=np.intp)
        groups[self._order] = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])
        return groups

    def match(self, X: Any) -> bool:
        """Return whether the rows of X are those of the fit, in the same order."""
        if np.ndim(X) == 2 and np.shape(X)[0] != len(self.hashes):  # no need of hashes
            return False
        return np.array_equal(_hashes(X, self._explicit_zeros), self.hashes)

    def find(self, X: Any) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        """Return which rows are known, and the numbers of these in the fit; of equal rows of the fit, the first."""
        hashes = _hashes(X, self._explicit_zeros)
        ordered = self.hashes[self._order]
        place = np.minimum(np.searchsorted(ordered, hashes), len(ordered) - 1)
        known = ordered[place] == hashes
        return known, self._order[place[known]]


def _hashes(X: Any, explicit_zeros: bool) -> NDArray[np.bytes_]:
    """Return 16 bytes for each row, the same for rows of the same values."""
    if issparse(X):
        X = csr_array(as_csr("X", X), dtype=np.float64, copy=True)
        X.sum_duplicates()
        if explicit_zeros:
            X.data += 0.0  # turns -0.0 into 0.0
        else:
            X.eliminate_zeros()
        indices = X.indices.astype(np.int64)
        bounds = zip(X.indptr, X.indptr[1:], strict=False)
        rows: Any = (indices[i:j].tobytes() + X.data[i:j].tobytes() for i, j in bounds)
    else:
        rows = as_floats("X", X, ("n", "n_features"), finite=False) + 0.0  # turns -0.0 into 0.0
    digests = b"".join(blake2b(row, digest_size=16).digest() for row in rows)
    return np.frombuffer(digests, dtype="S16")


class ExactSearch(Caching):
    """Finds the nearest neighbors, exactly.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n, n_features)
        The rows of the fit, as given.
    conditioning : Conditioning
        The conditioning of the fit.
    n_neighbors : int
        The number of neighbors.
    metric : str or callable
        A metric of :mod:`sklearn.neighbors`.
    metric_params : dict or None
        Further arguments of the metric.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.parallel import Workers
    >>> from sktsne.neighbors import Conditioning
    >>> from sktsne.search import ExactSearch
    >>> X = np.array([[0.0], [1.0], [3.0], [7.0]])
    >>> search = ExactSearch(X, Conditioning(X, "euclidean"), 2, "euclidean", None)
    >>> search.neighbors_of(np.array([[6.0]]), Workers()).indices
    array([[3, 2]])
    """

    def __init__(
        self, X: Any, conditioning: Conditioning, n_neighbors: int, metric: Metric, metric_params: dict[str, Any] | None
    ) -> None:
        check_type("conditioning", conditioning, Conditioning)
        self._given, self._conditioning, self._n_neighbors = X, conditioning, n_neighbors
        X = as_rows("X", X)
        check_number("n_neighbors", n_neighbors, Integral, 1, X.shape[0])
        self._metric, self._params = resolve(conditioning.scaled(X), metric, metric_params)

    def graph(self, X: Any, workers: Workers) -> NeighborGraph:
        """Return the neighbors of the rows of the fit, which are given conditioned."""
        return search_all(X, self._n_neighbors, self._metric, self._params, workers)

    @cached_property
    def _rows(self) -> Any:
        return self._prepare(as_rows("X", self._given))

    def _prepare(self, rows: Any) -> Any:
        rows = rows_of(self._conditioning(rows), self._metric)
        # Rows scaled to length one have the same cosines, which are then products.
        return normalize(rows) if self._metric == "cosine" else rows

    @cached_property
    def _index(self) -> Index:
        n_candidates = min(self._rows.shape[0], self._n_neighbors + SPARE)
        return exact_index(self._rows, n_candidates, self._metric, self._params)

    @cached_property
    def _longest(self) -> float:
        """The largest length of a row: it bounds the rounding of a product."""
        return math.sqrt(_squares(self._rows).max())

    def neighbors_of(self, rows: Any, workers: Workers) -> NeighborGraph:
        """Return the nearest rows of the fit; see :class:`Search`."""
        check_type("workers", workers, Workers)
        rows, k = self._prepare(_rows_like(self._rows, rows)), self._n_neighbors
        searching = Workers() if needs_one_thread(self._metric) else workers
        distances, indices = kneighbors(self._index, self._rows, rows, self._metric, searching)
        slack: float | NDArray[np.float64] = 0.0
        if self._metric in BY_PRODUCTS and isinstance(self._metric, str):
            distances = self._by_pairs(rows, indices, workers)
            slack = ROUNDING * (np.sqrt(_squares(rows)) + self._longest) ** 2
        order = np.lexsort((indices, distances), axis=1)
        distances, indices = np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1)
        if indices.shape[1] < self._rows.shape[0]:
            power = 2 if self._metric == "euclidean" else 1
            doubtful = np.flatnonzero(distances[:, -1] ** power - distances[:, k - 1] ** power <= slack)
            with sklearn_on_threads(1), config_context(assume_finite=True):
                for row in doubtful:
                    distances[row, :k], indices[row, :k] = self._by_all(rows[row : row + 1], workers)
        check_distances(distances, indices)
        return NeighborGraph(np.ascontiguousarray(indices[:, :k]), np.ascontiguousarray(distances[:, :k]))

    def _by_pairs(self, rows: Any, indices: NDArray[np.int64], workers: Workers) -> NDArray[np.float64]:
        """Return the distances from ``rows`` to the rows ``indices`` of the fit."""
        distances = np.empty(indices.shape)
        if issparse(rows):
            step = max(1, PAIRS_AT_ONCE // indices.shape[1])
            for first in range(0, rows.shape[0], step):
                here = indices[first : first + step]
                own = np.repeat(np.arange(first, first + len(here)), indices.shape[1])
                squared = _squares(rows[own] - self._rows[here.ravel()])
                distances[first : first + step] = np.sqrt(squared).reshape(here.shape)
        else:
            routine = choose("neighbors", "pair_distances", pair_distances_reference)
            run = partial(routine, rows, self._rows, indices.astype(np.int64, copy=False), distances)
            workers.run(run, len(rows), indices.shape[1] * rows.shape[1])
        if self._metric in ("sqeuclidean", "cosine"):
            np.square(distances, out=distances)
        if self._metric == "cosine":  # 1 − cos = |x − y|² / 2, but 1 for a row without a direction
            distances /= 2.0
            here, there = _squares(rows) == 0.0, (_squares(self._rows) == 0.0)[indices]
            distances[here[:, None] | there] = 1.0
        return distances

    def _by_all(self, row: Any, workers: Workers) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return distances and indices of the nearest of all rows to one row."""
        everything = np.arange(self._rows.shape[0])[None]
        if self._metric in BY_PRODUCTS:
            distances = self._by_pairs(row, everything, workers)[0]
        else:
            distances = pairwise_distances(row, self._rows, metric=self._metric, **self._params)[0]
        nearest = np.argsort(distances, kind="stable")[: self._n_neighbors]
        return distances[nearest], nearest


class AllRows:
    """Returns every row of the fit as a neighbor.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n, n_features)
        The rows of the fit, as given.
    conditioning : Conditioning
        The conditioning of the fit.
    metric : str or callable
        A metric of :mod:`sklearn.metrics`.
    metric_params : dict or None
        Further arguments of the metric.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.parallel import Workers
    >>> from sktsne.neighbors import Conditioning
    >>> from sktsne.search import AllRows
    >>> X = np.array([[0.0], [1.0], [3.0], [7.0]])
    >>> search = AllRows(X, Conditioning(X, "euclidean"), "euclidean", None)
    >>> search.neighbors_of(np.array([[6.0]]), Workers()).indices
    array([[3, 2, 1, 0]])
    """

    def __init__(
        self, X: Any, conditioning: Conditioning, metric: Metric, metric_params: dict[str, Any] | None
    ) -> None:
        check_type("conditioning", conditioning, Conditioning)
        self._rows, self._conditioning = X, conditioning
        self._metric, self._params = resolve(conditioning.scaled(as_rows("X", X)), metric, metric_params)

    def distances(self, X: Any, workers: Workers) -> NDArray[np.float64]:
        """Return the distances of all pairs of rows of the fit, which are given conditioned."""
        return distances_of_all(X, self._metric, self._params, workers)

    def neighbors_of(self, rows: Any, workers: Workers) -> NeighborGraph:
        """Return all rows of the fit; see :class:`Search`."""
        X = as_rows("X", self._rows)
        X, rows = (rows_of(self._conditioning(part), self._metric) for part in (X, _rows_like(X, rows)))
        metric, params = self._metric, self._params
        if metric == "euclidean" and not issparse(X):
            metric, params = "minkowski", {"p": 2}  # by differences
        with sklearn_on_threads(1):  # one by one, as a matrix product rounds a row differently in another batch
            parts = [pairwise_distances(rows[i : i + 1], X, metric=metric, **params) for i in range(rows.shape[0])]
        distances = np.concatenate(parts)
        check_distances(distances)
        return _sorted(distances)


class GivenDistances:
    """Finds neighbors by distances that the user computed, to every row of the fit or in a sparse graph.

    Parameters
    ----------
    n_neighbors : int
        The number of neighbors.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.parallel import Workers
    >>> from sktsne.search import GivenDistances
    >>> GivenDistances(n_neighbors=2).neighbors_of(np.array([[6.0, 5.0, 3.0, 1.0]]), Workers()).indices
    array([[3, 2]])
    """

    def __init__(self, n_neighbors: int) -> None:
        check_number("n_neighbors", n_neighbors, Integral, 1)
        self._n_neighbors = n_neighbors

    def neighbors_of(self, rows: Any, workers: Workers) -> NeighborGraph:
        """Return the nearest rows of the fit; see :class:`Search`."""
        rows, k = as_rows("rows", rows), self._n_neighbors
        check_not_negative("rows", rows.data if issparse(rows) else rows)
        if issparse(rows):
            return nearest_of_graph(rows, k, of_others=True)
        if rows.shape[1] < k:
            raise ValueError(f"rows has shape {rows.shape}, must have at least n_neighbors == {k} columns.")
        graph = _sorted(rows)
        return NeighborGraph(np.ascontiguousarray(graph.indices[:, :k]), np.ascontiguousarray(graph.distances[:, :k]))


class TransformerSearch:
    """Finds neighbors by a fitted transformer.

    Parameters
    ----------
    transformer : object
        Its ``transform`` returns a sparse graph of distances to the rows of the fit.
    n_neighbors : int
        The number of neighbors.
    n_samples : int
        The number of rows of the fit.
    largest : float, default=0.0
        The largest distance in the graph of the fit: a new distance is negative by rounding only in proportion to it.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsTransformer
    >>> from sktsne.parallel import Workers
    >>> from sktsne.search import TransformerSearch
    >>> transformer = KNeighborsTransformer(n_neighbors=2).fit(np.array([[0.0], [1.0], [3.0], [7.0]]))
    >>> search = TransformerSearch(transformer, n_neighbors=2, n_samples=4)
    >>> search.neighbors_of(np.array([[6.0]]), Workers()).indices.tolist()
    [[3, 2]]
    """

    def __init__(self, transformer: Any, n_neighbors: int, n_samples: int, largest: float = 0.0) -> None:
        check_number("n_samples", n_samples, Integral, 1)
        check_number("n_neighbors", n_neighbors, Integral, 1, n_samples)
        self._transformer, self._n_neighbors, self._n_samples = transformer, n_neighbors, n_samples
        self._largest = largest

    def neighbors_of(self, rows: Any, workers: Workers) -> NeighborGraph:
        """Return the nearest rows of the fit; see :class:`Search`."""
        if np.ndim(rows) == 0 and not issparse(rows):
            raise ValueError(f"rows == {rows!r}, must be a matrix of shape (n_rows, n_features).")
        if not hasattr(self._transformer, "transform"):
            raise AttributeError(f"neighbors == {self._transformer!r} has no transform, to find neighbors of new rows.")
        with config_context(transform_output="default"):
            graph = self._transformer.transform(rows)
        name = f"neighbors == {self._transformer!r}"
        n_rows = rows.shape[0] if hasattr(rows, "shape") else len(rows)
        graph = check_graph(graph, (n_rows, self._n_samples), f"{name}: transform", self._largest)
        return nearest_of_graph(graph, self._n_neighbors, f"{name}: the graph of transform", of_others=True)


def _rows_like(X: Any, rows: Any) -> Any:
    """Return rows that can be compared with those of the fit; raise a ValueError where they cannot."""
    rows = as_rows("rows", rows, X.shape[1])
    if issparse(rows) != issparse(X):
        raise ValueError(f"rows must be {'sparse' if issparse(X) else 'dense'}, as the rows of the fit are.")
    return rows


def _sorted(distances: NDArray[np.float64]) -> NeighborGraph:
    indices = np.argsort(distances, axis=1, kind="stable")
    return NeighborGraph(indices, np.take_along_axis(distances, indices, 1))


def _squares(X: Any) -> NDArray[np.float64]:
    """Return the squared lengths of rows."""
    if issparse(X):
        return np.asarray(X.multiply(X).sum(axis=1), dtype=np.float64).ravel()
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", X, X)
    return squares
