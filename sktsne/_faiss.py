"""Approximate nearest neighbours by faiss, with as many probes as the recall takes.

The rows are divided into lists by k-means (an inverted file), and a row's neighbours are sought in the lists nearest to
it, its probes. How many it takes is measured: a sample of the rows is searched exactly, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from ._native.parallel import Workers
from .neighbors import NeighborGraph, restore_small_distances

FAISS_METRICS = ("euclidean", "l2", "cosine")

RECALL = 0.98
SAMPLE = 500
ERRORS_ABOVE = 3.0  # how many standard errors the sample's recall must lie above

# On 50 components of MNIST, twice the square root of n lists take the least time from 10,000 to 70,000 rows; more rows
# per centroid, or more iterations, save no probes that are worth their time.
LISTS = 2.0
ROWS_PER_CENTROID = 32
TRAINING_ITERATIONS = 8
SEED = 0
# faiss spends two to three times as long on a pair as the exact search does with its matrix products.
LARGEST_PART = 1 / 3

ROW_COST = 400  # elementary operations for `Workers`: blocks of 250 rows and more
# Below this part of |x|² + |y|² a squared distance suffers from coordinates in float32: by 1e-4 and more.
FLOAT32_ROUNDING = 1e-6
EVERY_DISTANCE = 4.0  # (x - y)² is at most 2 |x|² + 2 |y|²
# Neighbours within this part of |x| are not ranked by float32, nor well enough by the exact search to tell.
UNRESOLVED = 1e-6


def approximate_neighbors(
    X: NDArray[np.float64], n_neighbors: int, metric: str, workers: Workers
) -> NeighborGraph | None:
    """Find at least 98 % of the nearest neighbours.

    Parameters
    ----------
    X : ndarray of shape (n, n_features), float64
        The rows.
    n_neighbors : int
        How many, at most n - 1.
    metric : {"euclidean", "l2", "cosine"}
        The distance.
    workers : Workers
        The threads to use. The result does not depend on them.

    Returns
    -------
    graph : NeighborGraph or None
        Neighbours from near to far, up to rounding; the indices are int32 where they fit. None where the exact search
        is as fast, because the probes would have more than a third of the rows, and where float32, or the lack of a
        direction under "cosine", does not allow this one.

    Raises
    ------
    ImportError
        Without faiss.
    """
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "neighbors == 'faiss' needs faiss, which 'pip install faiss-cpu' gets; without it, neighbors must be "
            f"'auto', 'exact' or a transformer. ({error})"
        ) from error
    if metric == "cosine":
        lengths = np.sqrt(np.einsum("ij,ij->i", X, X))
        if not np.all((lengths > 0.0) & np.isfinite(lengths)):
            return None
        X = X / lengths[:, None]
    n_threads = faiss.omp_get_max_threads()
    try:
        graph = _InvertedFile(faiss, X, n_neighbors, workers).search_all()
    finally:
        faiss.omp_set_num_threads(n_threads)
    if graph is not None and metric == "cosine":  # 1 - cos = |x - y|² / 2 for rows of length one
        np.square(graph.distances, out=graph.distances)
        graph.distances[...] /= 2.0
    return graph


class _InvertedFile:
    """The lists, and the neighbours found so far.

    faiss itself gets one thread and fixed blocks of rows: what its threads and their matrix products find depends on
    how many they are, in the last bits.
    """

    def __init__(self, faiss: Any, X: NDArray[np.float64], n_neighbors: int, workers: Workers) -> None:
        n, n_features = X.shape
        self._faiss, self._workers, self._X = faiss, workers, X
        self._squares = np.einsum("ij,ij->i", X, X)
        self._unit = float(np.ldexp(1.0, np.frexp(max(X.max(), -X.min()))[1]))  # float32 has a short range
        self._rows = np.ascontiguousarray(X / self._unit, dtype=np.float32)
        self._indices = np.empty((n, n_neighbors), dtype=np.int32 if n <= np.iinfo(np.int32).max else np.int64)
        self._distances = np.empty((n, n_neighbors))

        faiss.omp_set_num_threads(1)
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(n_features), n_features, int(LISTS * np.sqrt(n)))
        index.cp.seed = SEED
        index.cp.niter = TRAINING_ITERATIONS
        index.cp.max_points_per_centroid = ROWS_PER_CENTROID
        index.cp.min_points_per_centroid = 1  # no warning on stderr
        index.train(self._rows)
        self._index = index
        self._lists = np.empty(n, dtype=np.int64)
        workers.run(self._assign, n, ROW_COST)
        index.add_core(n, faiss.swig_ptr(self._rows), None, faiss.swig_ptr(self._lists))

    def _assign(self, start: int, stop: int) -> None:
        self._faiss.omp_set_num_threads(1)
        self._lists[start:stop] = self._index.quantizer.search(self._rows[start:stop], 1)[1][:, 0]

    def search_all(self) -> NeighborGraph | None:
        n_probes = self._choose_probes()
        if n_probes is None:
            return None
        # Rows of one list have nearly the same probes, which then stay in the cache.
        self._search(np.argsort(self._lists, kind="stable"), n_probes, FLOAT32_ROUNDING)
        return NeighborGraph(self._indices, self._distances)

    def _choose_probes(self) -> int | None:
        """Return a number of probes that has the recall, to a sixteenth near the least one, or None."""
        n = len(self._X)
        sample = np.sort(np.random.default_rng(SEED).choice(n, min(n, SAMPLE), replace=False))
        radius = self._exact_radius(sample)
        resolved = (radius == 0.0) | (radius >= UNRESOLVED * np.sqrt(self._squares[sample]))

        def is_enough(n_probes: int) -> bool:
            self._search(sample, n_probes, EVERY_DISTANCE)
            # By distances, as the exact search's choice among ties is not the only right one.
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
        """Return the distance from each row of the sample to the last of its neighbours, plus rounding."""
        search = NearestNeighbors(n_neighbors=self._indices.shape[1] + 1, algorithm="brute")  # the row is among them
        with threadpool_limits(1):  # so few rows that threads would share them
            distances, indices = search.fit(self._X).kneighbors(self._X[sample])
        restore_small_distances(self._X, indices, distances, sample, self._squares)
        return np.asarray(distances.max(axis=1) * (1.0 + 1e-6))

    def _search(self, rows: NDArray[np.int64], n_probes: int, inaccurate: float) -> None:
        """Find the neighbours of ``rows``; recompute squared distances below that part of |x|² + |y|²."""

        def block(start: int, stop: int) -> None:
            self._faiss.omp_set_num_threads(1)
            todo, n_lists = rows[start:stop], n_probes
            while len(todo):
                self._search_block(todo, n_lists, inaccurate)
                todo, n_lists = todo[self._indices[todo].min(axis=1) < 0], 2 * n_lists

        self._workers.run(block, len(rows), ROW_COST)

    def _search_block(self, rows: NDArray[np.int64], n_probes: int, inaccurate: float) -> None:
        """Search in so many lists. Where they have too few neighbours, some indices are -1."""
        k = self._indices.shape[1]
        probes = self._faiss.SearchParametersIVF(nprobe=min(n_probes, self._index.nlist))
        squared, indices = self._index.search(self._rows[rows], k + 1, params=probes)
        others = indices != rows[:, None]
        others[others.all(axis=1), -1] = False  # nearer duplicates have displaced the row itself
        indices = indices[others].reshape(-1, k)
        distances = np.sqrt(squared[others].reshape(-1, k), dtype=np.float64) * self._unit
        restore_small_distances(self._X, indices, distances, rows, self._squares, inaccurate)
        self._indices[rows] = indices
        self._distances[rows] = distances
