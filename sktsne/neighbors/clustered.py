"""The clustered search: neighbors are sought in lists of rows that are near one another, as many as the recall needs.

The rows are divided into lists by k-means, and a row's neighbors are sought in the lists whose centers are nearest to
it, its probes. For each list one matrix product in float32 gives the values of all rows that probe it with its members,
and a compiled selection offers them to the rows. How many probes the recall needs is measured on a sample of the rows,
which are compared with all others. The distances are computed by differences in the end, in float64.

Each row has its own probes: with those of its list, which would save the search for them, the recall of MNIST is 0.92
where it is 0.99 with the rows' own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from ..parallel import Workers
from .all_pairs import (
    AMBIGUOUS_WITHIN,
    MIN_BLOCKS,
    brute_force_candidates,
    brute_force_graph,
    check_counts,
    graph_of_candidates,
    nearest_among,
    rerank_ambiguous,
    skip_sklearn_checks,
    spread_duplicates,
)
from .contract import NeighborGraph
from .exact import EXTRA_CANDIDATES, ExactSearch
from .selection import Nearest, no_own_index, pair_distances

# The recall that the sample must have: so that of all rows exceeds the promised 0.99 by far. On MNIST, the map's 10-NN
# accuracy is 0.9759 as with all neighbors, 0.9755 at 0.995, 0.9751 at 0.99 and 0.9746 at 0.98.
RECALL = 0.996
SAMPLE_ROWS = 1000
STANDARD_ERRORS = 2.0  # standard errors by which the sample's recall must exceed RECALL
TIE_TOLERANCE = 1e-6  # relative differences of distances up to which neighbors are equally near

# There are LISTS_FACTOR · n**LISTS_EXPONENT lists, and at least MIN_LISTS_FACTOR · √n: more of them have fewer members that are probed in
# vain, and take more time to rank. Their centers are means of some ROWS_PER_LIST rows each.
LISTS_FACTOR, LISTS_EXPONENT, MIN_LISTS_FACTOR = 0.07, 0.8, 2.0
ROWS_PER_LIST = 32
ITERATIONS = 4
SEED = 0
# Probes that have a larger part of the rows than this take longer than all pairs do.
MAX_PROBED = 0.4
# The bound on the numbers of all centers together, which sparse rows with many columns exceed.
MAX_CENTER_VALUES = 2**26

ROWS_AT_ONCE, MIN_ROWS, MEMBERS_AT_ONCE = 4096, 256, 2048
COST_AT_ONCE = 2**34  # pairs times columns of a block of rows: Ctrl-C has to wait for one to end
DIRECT_COST_AT_ONCE, MIN_DIRECT_ROWS = 2**28, 32  # the same where values are not products, which take longer
ROWS_TO_RERANK = 16  # of a block, one after the other
SCORED_AT_ONCE = 512  # rows, whose scores for all lists stay in the cache
# Float32 does not rank the neighbors of a row that are all within so many times its rounding: they are sought again in
# float64. Where more than a part of the sample has such neighbors, the whole search is in float64.
MAX_AMBIGUOUS = 0.02


class ClusteredSearch(ExactSearch):
    """Finds at least 99 % of the nearest neighbors, on average over the rows.

    Where lists would not save time, as for noise in many columns, all pairs are compared.

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
    >>> from sktsne.neighbors import ClusteredSearch
    >>> from sktsne.parallel import Workers
    >>> X = np.random.default_rng(0).normal(size=(2000, 3))
    >>> search = ClusteredSearch(n_neighbors=10)
    >>> search.fit(X, Workers()).indices.shape
    (2000, 10)
    >>> search.neighbors_of(X[:5] + 1e-9, Workers()).indices[:, 0]
    array([0, 1, 2, 3, 4], dtype=int32)
    """

    _lists: Lists | None = None

    def _graph(self, workers: Workers) -> NeighborGraph:
        space, k = self._space, self._n_neighbors
        self._lists, self._dtype = None, np.float64
        dtype: Any = np.float64
        if isinstance(self._metric, str) and k < space.n // 4:
            self._lists, dtype = build_lists(space, k, workers)
        if self._lists is not None:
            self._dtype = dtype
            graph = self._fit_in_lists(self._lists, workers)
        elif dtype == np.float64:
            return super()._graph(workers)
        else:
            graph = brute_force_graph(space, k, workers, dtype)
        return spread_duplicates(self._rerank_ambiguous(graph, dtype, workers), space.points)

    @property
    def _uses_tree(self) -> bool:
        return self._lists is None and super()._uses_tree

    def _fit_in_lists(self, lists: Lists, workers: Workers) -> NeighborGraph:
        space, n, k = self._space, self._space.n, self._n_neighbors
        indices, distances = np.empty((n, k), dtype=np.int32), np.empty((n, k))

        def block(start: int, stop: int) -> None:
            rows = lists.members[start:stop]
            points = space.points[rows]
            nearest = Nearest(rows, n, k, self._dtype)
            probes = lists.probes(as_float32(space.coordinates(points)), lists.scores, k + 1)
            self._search(points, nearest, probes, lists.of_rows[rows])
            graph = graph_of_candidates(space, *nearest.found(Workers()), rows, points, Workers())
            indices[rows], distances[rows] = graph

        workers.run_blocks(skip_sklearn_checks(block), n, self._rows_at_once(n))
        return NeighborGraph(indices, distances)

    def _rows_at_once(self, n_rows: int) -> int:
        """Return how many rows, of so many in all, a block has."""
        assert self._lists is not None
        most, least = (DIRECT_COST_AT_ONCE, MIN_DIRECT_ROWS) if self._space.direct else (COST_AT_ONCE, MIN_ROWS)
        fits = int(most / (self._lists.n_probed * self._space.pair_cost))
        return max(least, min(ROWS_AT_ONCE, fits, -(-n_rows // MIN_BLOCKS)))

    def _search(
        self,
        points: Any,
        nearest: Nearest,
        probes: tuple[NDArray[np.int32], NDArray[np.int32]],
        first: NDArray[np.int32] | None = None,
    ) -> None:
        """Offer points the members of their probes, those of the list ``first`` of each before others."""
        lists, space = self._lists, self._space
        assert lists is not None
        left = space.operand(points, True, self._dtype)
        parts = [probes]
        if first is not None:
            others = probes[1] != first[probes[0]]
            parts = [(np.arange(len(first), dtype=np.int32), first), (probes[0][others], probes[1][others])]
        for rows, probed in parts:
            # Short integers are sorted by their digits, in a fraction of the time.
            order = np.argsort(probed.astype(np.uint16) if len(lists.centers) < 2**16 else probed, kind="stable")
            rows, ends = rows[order], np.searchsorted(probed[order], np.arange(len(lists.centers) + 1))
            for number in np.flatnonzero(np.diff(ends)):
                some = rows[ends[number] : ends[number + 1]]
                those = left[some]
                for start in range(lists.bounds[number], lists.bounds[number + 1], MEMBERS_AT_ONCE):
                    members = slice(start, min(start + MEMBERS_AT_ONCE, lists.bounds[number + 1]))
                    nearest.offer(space.values(those, self._right[members]), lists.members[members], some)

    @cached_property
    def _right(self) -> Any:
        """The rows of the fit in the order of the lists, as right operands."""
        assert self._lists is not None
        return self._space.operand(self._space.points[self._lists.members], False, self._dtype)

    def _rerank_ambiguous(self, graph: NeighborGraph, dtype: Any, workers: Workers) -> NeighborGraph:
        """Return the graph with neighbors in float64 of the rows whose neighbors ``dtype`` does not rank."""
        space, points = self._space, self._space.points
        if dtype == np.float64:
            return rerank_ambiguous(space, graph, np.arange(space.n, dtype=np.int32), points, workers)
        rows = np.flatnonzero(_ambiguous(space, graph.distances[:, -1], points)).astype(np.int32)
        if len(rows):
            some = points[rows]
            found = brute_force_candidates(space, some, rows, self._n_neighbors, workers)
            again = rerank_ambiguous(
                space, graph_of_candidates(space, *found, rows, some, workers), rows, some, workers
            )
            graph.indices[rows], graph.distances[rows] = again
        return graph

    def _candidates(
        self, points: Any, n_candidates: int, workers: Workers
    ) -> tuple[NDArray[np.floating], NDArray[np.int32]]:
        lists, m = self._lists, points.shape[0]
        if lists is None:
            return super()._candidates(points, n_candidates, workers)
        values, indices = np.empty((m, n_candidates), self._dtype), np.empty((m, n_candidates), dtype=np.int32)
        counts = np.empty(m, dtype=np.int32)

        def block(start: int, stop: int) -> None:
            part = points[start:stop]
            nearest = Nearest(no_own_index(stop - start), self._space.n, n_candidates, self._dtype)
            probes = lists.probes(self._space.coordinates(part), lists.exact_scores, n_candidates)
            self._search(part, nearest, probes)
            values[start:stop], indices[start:stop], counts[start:stop] = nearest.found(Workers())

        workers.run_blocks(skip_sklearn_checks(block), m, self._rows_at_once(m))
        check_counts(counts, n_candidates)
        return values, indices

    def _reranked(
        self, points: Any, farthest: NDArray[np.float64], workers: Workers
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return distances and indices of the nearest in the lists that are probed, by differences."""
        lists, space, k = self._lists, self._space, self._n_neighbors
        if lists is None:
            return super()._reranked(points, farthest, workers)
        distances, indices = np.empty((len(farthest), k)), np.empty((len(farthest), k), dtype=np.int32)

        def block(start: int, stop: int) -> None:
            for row in range(start, stop):
                point = points[row : row + 1]
                probed = lists.probes(space.coordinates(point), lists.exact_scores, min(space.n, k + EXTRA_CANDIDATES))[
                    1
                ]
                members = [lists.members[lists.bounds[i] : lists.bounds[i + 1]] for i in probed]
                distances[row], indices[row] = nearest_among(space, point, -1, np.concatenate(members), k)

        workers.run_blocks(block, len(farthest), ROWS_TO_RERANK)
        return distances, indices


def as_float32(X: Any) -> Any:
    """Return coordinates in float32."""
    return X.astype(np.float32)


def _ambiguous(space: Any, farthest: NDArray[np.float64], points: Any) -> NDArray[np.bool_]:
    """Return for which points float32 does not rank the neighbors well, of which the farthest is that far."""
    bound = AMBIGUOUS_WITHIN * space.rounding(points, np.float32)
    unresolved: NDArray[np.bool_] = (farthest > 0.0) & (space.to_squared(farthest) <= bound)
    return unresolved


class Lists:
    """The rows of a fit, divided by the nearest of some centers.

    Parameters
    ----------
    centers : ndarray of shape (n_lists, n_columns), float32
        The centers.
    of_rows : ndarray of shape (n,), int32
        The list of each row.
    """

    def __init__(self, centers: NDArray[np.float32], of_rows: NDArray[np.int32]) -> None:
        self.centers, self.of_rows = centers, of_rows
        self.members = np.argsort(of_rows, kind="stable").astype(np.int32)
        self.sizes = np.bincount(of_rows, minlength=len(centers))
        self.bounds = np.concatenate([[0], np.cumsum(self.sizes)])
        self.n_probes = 1
        self.n_probed = 1.0  # members of the probes of a row, on average

    def scores(self, X: Any) -> NDArray[np.floating]:
        """Return for rows of coordinates numbers that are the lower the nearer a center is."""
        return _scores(X, self.centers)

    def exact_scores(self, X: Any) -> NDArray[np.floating]:
        """Return such numbers, for each row to the last bit as if it were alone."""
        if issparse(X):
            return self.scores(X)
        everything = np.tile(np.arange(len(self.centers), dtype=np.int32), (len(X), 1))
        return pair_distances(np.ascontiguousarray(X), self.centers, everything, Workers())

    def probes(
        self, X: Any, scores: Callable[[Any], NDArray[np.floating]], wanted: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the lists to be searched for rows of coordinates, as pairs of row and list, by their scores.

        They have at least ``wanted`` members.
        """
        n_lists, n_probes, found = len(self.centers), self.n_probes, []
        rows, columns = np.arange(X.shape[0], dtype=np.int32), np.arange(n_lists, dtype=np.int32)
        while len(rows):
            blocks = range(0, len(rows), SCORED_AT_ONCE)
            parts = []
            for first in blocks:
                part = scores(X[rows[first : first + SCORED_AT_ONCE]])
                nearest = Nearest(no_own_index(len(part)), n_lists, n_probes, part.dtype)
                nearest.offer(part, columns)
                parts.append(nearest.found(Workers())[1])
            lists = np.concatenate(parts)
            enough = self.sizes[lists].sum(axis=1) >= wanted
            found.append((np.repeat(rows[enough], n_probes), lists[enough].ravel()))
            rows, n_probes = rows[~enough], min(2 * n_probes, n_lists)
        return np.concatenate([pair[0] for pair in found]), np.concatenate([pair[1] for pair in found])


def _scores(X: Any, centers: NDArray[np.float32]) -> NDArray[np.floating]:
    scores: NDArray[np.floating] = X @ centers.T
    scores *= -1.0
    scores += 0.5 * np.einsum("ij,ij->i", centers, centers)
    return scores


def _assigned(coordinates: Any, n: int, centers: NDArray[np.float32], workers: Workers) -> NDArray[np.int32]:
    """Return the nearest center of each row; ``coordinates(start, stop)`` returns those of a block of rows."""
    assigned = np.empty(n, dtype=np.int32)

    def block(start: int, stop: int) -> None:
        assigned[start:stop] = np.argmin(_scores(coordinates(start, stop), centers), axis=1)

    workers.run_blocks(block, n, SCORED_AT_ONCE)
    return assigned


def _centers(space: Any, n_lists: int, rng: np.random.Generator, workers: Workers) -> NDArray[np.float32]:
    """Return centers by k-means on a sample of the rows."""
    n_rows = min(space.n, ROWS_PER_LIST * n_lists)
    X = as_float32(space.coordinates(space.points[np.sort(rng.choice(space.n, n_rows, replace=False))]))
    first = X[np.sort(rng.choice(n_rows, n_lists, replace=False))]
    centers: NDArray[np.float32] = np.ascontiguousarray(first.toarray() if issparse(first) else first)
    for _ in range(ITERATIONS):
        assigned = _assigned(lambda start, stop: X[start:stop], n_rows, centers, workers)
        belongs = csr_array((np.ones(n_rows, np.float32), assigned, np.arange(n_rows + 1)), shape=(n_rows, n_lists))
        sums, counts = belongs.T @ X, np.bincount(assigned, minlength=n_lists)
        sums = sums.toarray() if issparse(sums) else sums
        centers[counts > 0] = sums[counts > 0] / counts[counts > 0, None]
    return centers[_spatial_order(centers)]


def _spatial_order(centers: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return an order of centers in which neighbors are near to each other: rows of a block then share their probes."""
    parts = [np.arange(len(centers))]
    while len(parts[0]) > 2:
        halves = []
        for part in parts:
            widest = centers[part, np.argmax(np.var(centers[part], axis=0))]
            part = part[np.argsort(widest, kind="stable")]
            halves += [part[: len(part) // 2], part[len(part) // 2 :]]
        parts = halves
    return np.concatenate(parts)


def build_lists(space: Any, n_neighbors: int, workers: Workers) -> tuple[Lists | None, Any]:
    """Return the lists of a space's rows, and the type of values that ranks neighbors.

    There are no lists where they would not save time.
    """
    n, k = space.n, n_neighbors
    n_lists = int(max(LISTS_FACTOR * n**LISTS_EXPONENT, MIN_LISTS_FACTOR * n**0.5))
    rng = np.random.default_rng(SEED)
    sample = np.sort(rng.choice(n, min(n, SAMPLE_ROWS), replace=False)).astype(np.int32)
    points = space.points[sample]
    # They are twice as many as are wanted, because of neighbors at equal distances any is right.
    for dtype in (np.float32, np.float64) if space.faster_in_float32 else (np.float64,):
        values, indices, _ = brute_force_candidates(space, points, sample, min(n - 1, 2 * k), workers, dtype)
        distances = space.distances(values, points, indices, workers)
        farthest = np.partition(distances, k - 1, axis=1)[:, k - 1]
        if dtype == np.float64 or np.mean(_ambiguous(space, farthest, points)) <= MAX_AMBIGUOUS:
            break
    if n_lists * space.n_columns > MAX_CENTER_VALUES:
        return None, dtype
    centers = _centers(space, n_lists, rng, workers)
    of_rows = _assigned(
        lambda start, stop: as_float32(space.coordinates(space.points[start:stop])), n, centers, workers
    )
    lists = Lists(centers, of_rows)
    order = np.argsort(lists.scores(as_float32(space.coordinates(points))), axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(n_lists)[None], axis=1)
    ranks = np.take_along_axis(ranks, of_rows[indices], axis=1)
    ranks[distances > farthest[:, None] * (1.0 + TIE_TOLERANCE)] = n_lists
    ranks = np.sort(ranks, axis=1)[:, :k]
    probed = np.cumsum(lists.sizes[order], axis=1).mean(axis=0)
    lists.n_probes = _probes_needed(ranks, n_lists)
    lists.n_probed = float(probed[lists.n_probes - 1])
    return (lists if lists.n_probed <= MAX_PROBED * n else None), dtype


def _probes_needed(ranks: NDArray[np.intp], n_lists: int) -> int:
    """Return the least number of probes with the recall, from the ranks of the lists that hold a sample's neighbors."""
    for n_probes in range(1, n_lists):
        recall = np.mean(ranks < n_probes, axis=1)
        if recall.mean() - STANDARD_ERRORS * recall.std() / np.sqrt(len(ranks)) >= RECALL:
            return n_probes
    return n_lists
