"""Approximate nearest neighbors by faiss, with as many probes as the recall needs.

The rows are divided into lists by k-means (an inverted file), and a row's neighbors are sought in the lists nearest to
it, its probes. How many probes the recall needs is measured on a sample of the rows, which is searched exactly, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from .neighbors import PAIRS_AT_ONCE, Conditioning, NeighborGraph, exact_index, kneighbors, restore_small_distances
from .parallel import Workers
from .search import Caching

FAISS_METRICS = ("euclidean", "cosine")

RECALL = 0.98
SAMPLE = 500
ERRORS_ABOVE = 3.0  # standard errors by which the sample's recall must exceed RECALL

# On 50 components of MNIST, LISTS · √n lists take the least time from 10,000 to 70,000 rows; more rows per centroid, or
# more iterations, take more time than they save by fewer probes.
LISTS = 2.0
ROWS_PER_CENTROID = 32
TRAINING_ITERATIONS = 8
SEED = 0
# faiss spends two to three times as long on a pair as the exact search does with its matrix products.
LARGEST_PART = 1 / 3

ROWS_AT_ONCE = 256
# Squared distances below this part of |x|² + |y|² have relative errors of 1e-4 and more from coordinates in float32.
FLOAT32_ROUNDING = 1e-6
EVERY_DISTANCE = 4.0  # (x - y)² is at most 2 |x|² + 2 |y|²
# Rows x with all neighbors within this part of |x| count as not found, unless all coincide: neither float32 nor the
# exact search ranks such neighbors reliably.
UNRESOLVED = 1e-6
# The bound on coordinates of new rows, in units of the largest of the fit: rows beyond it are equally far from all.
FLOAT32_RANGE = 1e15
# From 20 rows on faiss turns to matrix products, which round a row differently in another batch.
WITHOUT_PRODUCTS = 16


def approximate_neighbors(
    X: NDArray[np.float64], n_neighbors: int, metric: str, workers: Workers
) -> NeighborGraph | None:
    """Find at least 98 % of the nearest neighbors.

    Parameters
    ----------
    X : ndarray of shape (n, n_features), float64
        The rows.
    n_neighbors : int
        The number of neighbors, at most n - 1.
    metric : {"euclidean", "cosine"}
        The distance.
    workers : Workers
        The threads to use. The result does not depend on their number.

    Returns
    -------
    graph : NeighborGraph or None
        Neighbors from near to far, up to rounding; the indices are int32 where they fit. None where the exact search
        is as fast, because the probes would have more than a third of the rows; also where float32, or a row of
        zeros with "cosine", does not allow the approximate search.

    Raises
    ------
    ImportError
        If faiss is not installed.
    """
    file = _inverted_file(X, n_neighbors, metric, workers)
    return None if file is None else file.graph(metric)


class ApproximateSearch(Caching):
    """Finds neighbors of new rows, with as many probes as the rows of the fit needed.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        The rows of the fit, as given.
    conditioning : Conditioning
        The conditioning of the fit.
    n_neighbors : int
        The number of neighbors.
    metric : {"euclidean", "cosine"}
        The distance.
    """

    def __init__(self, X: NDArray[np.floating], conditioning: Conditioning, n_neighbors: int, metric: str) -> None:
        self._given, self._conditioning = X, conditioning
        self._n_neighbors, self._metric = n_neighbors, metric

    def graph(self, X: NDArray[np.float64], workers: Workers) -> NeighborGraph | None:
        """Return the neighbors of the rows of the fit, in X conditioned; None as in `approximate_neighbors`."""
        file = _inverted_file(X, self._n_neighbors, self._metric, workers)
        if file is None:
            return None
        graph = file.graph(self._metric)
        file.forget_rows()
        self.__dict__["_file"] = file
        return graph

    @cached_property
    def _file(self) -> _InvertedFile:
        X = self._conditioning(self._given)
        file = _inverted_file(X, self._n_neighbors, self._metric, Workers())
        assert file is not None, "the fit had one"
        file.forget_rows()
        return file

    def neighbors_of(self, rows: NDArray[np.floating], workers: Workers) -> NeighborGraph:
        """Return the nearest rows of the fit; see :class:`sktsne.search.Search`."""
        file = self._file
        rows = _directions(self._conditioning(rows), self._metric)
        with _faiss_on_one_thread():
            distances, indices = file.search_others(rows, workers)
        squares = np.einsum("ij,ij->i", rows, rows)
        near = distances**2 <= FLOAT32_ROUNDING * (squares[:, None] + file.squares[indices])
        own, place = np.nonzero(near)
        for first in range(0, len(own), PAIRS_AT_ONCE):
            i, j = own[first : first + PAIRS_AT_ONCE], place[first : first + PAIRS_AT_ONCE]
            others = _directions(self._conditioning(self._given[indices[i, j]]), self._metric)
            distances[i, j] = np.linalg.norm(rows[i] - others, axis=1)
        if self._metric == "cosine":
            distances = np.where(squares[:, None] > 0.0, distances**2 / 2.0, 1.0)  # 1 to a row without a direction
        order = np.lexsort((indices, distances), axis=1)
        return NeighborGraph(np.take_along_axis(indices, order, 1), np.take_along_axis(distances, order, 1))


@contextmanager
def _faiss_on_one_thread() -> Iterator[Any]:
    """Import faiss and set it to one thread; afterwards restore its number of threads."""
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "neighbors == 'faiss' needs faiss, which 'pip install faiss-cpu' gets; without it, neighbors must be "
            f"'auto', 'exact' or a transformer. ({error})"
        ) from error
    n_threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield faiss
    finally:
        faiss.omp_set_num_threads(n_threads)


def _directions(X: NDArray[np.float64], metric: str) -> NDArray[np.float64]:
    """Return rows whose Euclidean distances determine those of the metric."""
    return normalize(X) if metric == "cosine" else X


def _inverted_file(X: NDArray[np.float64], n_neighbors: int, metric: str, workers: Workers) -> _InvertedFile | None:
    """Return the lists, and the neighbors found in them; None as in `approximate_neighbors`."""
    with _faiss_on_one_thread() as faiss:
        if metric == "cosine":
            lengths = np.sqrt(np.einsum("ij,ij->i", X, X))
            if not np.all((lengths > 0.0) & np.isfinite(lengths)):
                return None
        file = _InvertedFile(faiss, _directions(X, metric), n_neighbors, workers)
        return file if file.search_all() else None


class _InvertedFile:
    """The lists, and the neighbors found so far.

    faiss itself gets one thread and fixed blocks of rows, because its matrix products depend on the numbers of threads
    and rows, in the last bits.
    """

    def __init__(self, faiss: Any, X: NDArray[np.float64], n_neighbors: int, workers: Workers) -> None:
        n, n_features = X.shape
        self._faiss, self._workers, self._X = faiss, workers, X
        self.squares = np.einsum("ij,ij->i", X, X)
        self._unit = float(np.ldexp(1.0, np.frexp(max(X.max(), -X.min()))[1]))  # float32 has a short range
        self._rows = np.ascontiguousarray(X / self._unit, dtype=np.float32)
        self._indices = np.empty((n, n_neighbors), dtype=np.int32 if n <= np.iinfo(np.int32).max else np.int64)
        self._distances = np.empty((n, n_neighbors))

        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(n_features), n_features, int(LISTS * np.sqrt(n)))
        index.cp.seed = SEED
        index.cp.niter = TRAINING_ITERATIONS
        index.cp.max_points_per_centroid = ROWS_PER_CENTROID
        index.cp.min_points_per_centroid = 1  # no warning on stderr
        index.train(self._rows)
        self._index = index
        self._lists = np.empty(n, dtype=np.int64)
        workers.run_blocks(self._assign, n, ROWS_AT_ONCE)
        index.add_core(n, faiss.swig_ptr(self._rows), None, faiss.swig_ptr(self._lists))

    def _assign(self, start: int, stop: int) -> None:
        self._faiss.omp_set_num_threads(1)
        self._lists[start:stop] = self._index.quantizer.search(self._rows[start:stop], 1)[1][:, 0]

    def search_all(self) -> bool:
        """Find the neighbors of all rows; return False, without neighbors, if the exact search is as fast."""
        n_probes = self._choose_probes()
        if n_probes is None:
            return False
        # Rows of one list have nearly the same probes, which then stay in the cache.
        self._n_probes = n_probes
        self._search(np.argsort(self._lists, kind="stable"), n_probes, FLOAT32_ROUNDING)
        return True

    def graph(self, metric: str) -> NeighborGraph:
        """Return what has been found."""
        if metric == "cosine":  # 1 - cos = |x - y|² / 2 for rows of length one
            np.square(self._distances, out=self._distances)
            self._distances /= 2.0
        return NeighborGraph(self._indices, self._distances)

    def forget_rows(self) -> None:
        """Keep the lists only, for the search of other rows."""
        self._n_neighbors = self._indices.shape[1]
        del self._X, self._rows, self._indices, self._distances, self._lists, self._workers

    def search_others(
        self, rows: NDArray[np.float64], workers: Workers
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return distances, in float32's precision, and indices."""
        scaled = np.clip(rows / self._unit, -FLOAT32_RANGE, FLOAT32_RANGE).astype(np.float32)
        indices = np.empty((len(rows), self._n_neighbors), dtype=np.int64)
        distances = np.empty(indices.shape)

        def block(start: int, stop: int) -> None:
            self._faiss.omp_set_num_threads(1)
            todo, n_lists = np.arange(start, stop), self._n_probes
            while len(todo):
                probes = self._faiss.SearchParametersIVF(nprobe=min(n_lists, self._index.nlist))
                for first in range(0, len(todo), WITHOUT_PRODUCTS):
                    few = todo[first : first + WITHOUT_PRODUCTS]
                    squared, indices[few] = self._index.search(scaled[few], self._n_neighbors, params=probes)
                    distances[few] = np.sqrt(squared, dtype=np.float64) * self._unit
                todo, n_lists = todo[indices[todo].min(axis=1) < 0], 2 * n_lists

        workers.run_blocks(block, len(rows), ROWS_AT_ONCE)
        return distances, indices

    def _choose_probes(self) -> int | None:
        """Return a number of probes that reaches RECALL, at most a sixteenth above the least one, or None."""
        n = len(self._X)
        sample = np.sort(np.random.default_rng(SEED).choice(n, min(n, SAMPLE), replace=False))
        radius = self._exact_radius(sample)
        resolved = (radius == 0.0) | (radius >= UNRESOLVED * np.sqrt(self.squares[sample]))

        def is_enough(n_probes: int) -> bool:
            self._search(sample, n_probes, EVERY_DISTANCE)
            # Distances are compared, not indices: among ties, other neighbors than the exact search's are right, too.
            recall = resolved * np.mean(self._distances[sample] <= radius[:, None], axis=1)
            return bool(recall.mean() - ERRORS_ABOVE * recall.std() / np.sqrt(len(sample)) >= RECALL)

        limit = int(LARGEST_PART * self._index.nlist)
        low, high = 0, min(8, limit)
        while high == 0 or not is_enough(high):
            if high == limit:
                return None
            low, high = high, min(2 * high, limit)
        while high - low > max(1, high // 16):
            middle = (low + high) // 2
            low, high = (low, middle) if is_enough(middle) else (middle, high)
        return high

    def _exact_radius(self, sample: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the distance from each row of the sample to the last of its neighbors, plus rounding."""
        index = exact_index(self._X, self._indices.shape[1] + 1, "euclidean", {})  # the row itself is the nearest
        distances, indices = kneighbors(index, self._X, self._X[sample], "euclidean", self._workers)
        restore_small_distances(self._X, indices, distances, sample, self.squares)
        return np.asarray(distances.max(axis=1) * (1.0 + 1e-6))

    def _search(self, rows: NDArray[np.int64], n_probes: int, inaccurate: float) -> None:
        """Find the neighbors of ``rows``; recompute squared distances below ``inaccurate`` (|x|² + |y|²)."""

        def block(start: int, stop: int) -> None:
            self._faiss.omp_set_num_threads(1)
            todo, n_lists = rows[start:stop], n_probes
            while len(todo):
                self._search_block(todo, n_lists, inaccurate)
                todo, n_lists = todo[self._indices[todo].min(axis=1) < 0], 2 * n_lists

        self._workers.run_blocks(block, len(rows), ROWS_AT_ONCE)

    def _search_block(self, rows: NDArray[np.int64], n_probes: int, inaccurate: float) -> None:
        """Search ``n_probes`` lists for the neighbors of ``rows``. If these have too few rows, some indices are -1."""
        k = self._indices.shape[1]
        probes = self._faiss.SearchParametersIVF(nprobe=min(n_probes, self._index.nlist))
        squared, indices = self._index.search(self._rows[rows], k + 1, params=probes)
        others = indices != rows[:, None]
        others[others.all(axis=1), -1] = False  # duplicates have displaced the row itself
        indices = indices[others].reshape(-1, k)
        distances = np.sqrt(squared[others].reshape(-1, k), dtype=np.float64) * self._unit
        restore_small_distances(self._X, indices, distances, rows, self.squares, inaccurate)
        self._indices[rows] = indices
        self._distances[rows] = distances
