"""The clustered search: approximate nearest neighbors from an inverted file index, with a recall of at least 0.99.

k-means divides the rows into *lists*, one for each center. The neighbors of a row are searched only in the lists whose
centers are nearest to the row, its *probes*. For each list, a matrix product, in float32 where float32 is accurate
enough, gives the values of all pairs of a row that probes the list and a member of the list. `Nearest` keeps the k
nearest candidates of each row, and finally the distances of these candidates are computed in float64.

The number of probes is measured: the exact neighbors of a sample of rows are found by brute force, and the number of
probes is the smallest one with which the sample has the wanted recall, the fraction of exact neighbors that are found.

Every row has probes of its own. If all members of a list shared the probes of the list's center, choosing probes would
cost nothing, but on MNIST the recall would be 0.92, where it is 0.99 with probes for each row.

Ranking all centers for every row would take a large part of the time for millions of rows. Therefore the list of a row
is found by way of means of centers (`assigned_lists`), and only the lists near to this list are ranked to find the
probes of the row. The recall is measured with this restriction. For new rows, which have no list, all centers are
ranked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from .._kept import Scratch
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

# The recall that the sample must have. It is above the promised 0.99, so that all rows together have 0.99 although the
# sample is small. On MNIST the 10-NN accuracy of the map is 0.9759 with this recall and with exact neighbors, 0.9755
# with a recall of 0.995, 0.9751 with 0.99, and 0.9746 with 0.98.
RECALL = 0.996
SAMPLE_ROWS = 1000
STANDARD_ERRORS = 2.0  # number of standard errors by which the recall of the sample must exceed RECALL
TIE_TOLERANCE = 1e-6  # relative difference of distances up to which two neighbors count as equally near

# n rows have LISTS_FACTOR · n**LISTS_EXPONENT lists, but at least MIN_LISTS_FACTOR · √n. With more lists the probes of
# a row hold fewer rows that are not its neighbors, but ranking the lists takes more time, and so do the products with a
# member of a smaller list. For 1,000,000 images of digits and k = 91, twice as many lists took 9 % more time.
LISTS_FACTOR, LISTS_EXPONENT, MIN_LISTS_FACTOR = 0.07, 0.8, 2.0
ROWS_PER_LIST = 32  # the number of rows, on average, of which k-means computes a center
ITERATIONS = 4  # of k-means
SEED = 0  # of the sample and of k-means, so that a search has the same result each time
# If the probes of a row hold a larger fraction of all rows than this, brute force is faster.
MAX_PROBED = 0.4
# The largest number of coordinates of all centers together. Sparse rows with many columns would exceed it, because
# centers are dense; they are searched by brute force.
MAX_CENTER_VALUES = 2**26

# The largest and the smallest number of rows in a block of rows, and the largest number of members of a list in a block
# of values.
ROWS_AT_ONCE, MIN_ROWS, MEMBERS_AT_ONCE = 4096, 256, 2048
# The bound on the cost of a block of rows: the number of pairs times the cost of a pair. Without a bound Ctrl-C would
# have to wait long for a block to end. Values that are computed pair by pair take longer, so their bound is lower.
COST_AT_ONCE = 2**34
DIRECT_COST_AT_ONCE, MIN_DIRECT_ROWS = 2**28, 32
ROWS_TO_RERANK = 16  # the number of new rows in a block whose neighbors are searched again by differences
SCORED_AT_ONCE = 512  # the number of rows whose scores are computed at a time and stay in the cache
# The number of means or centers with which a row is compared on a level, and the number of members of a mean; see
# `assigned_lists`. The probes of 200,000 images of digits in 3,482 lists hold 3 % more rows than if a row were in the
# list of the nearest of all centers, and 8 % more rows with half of NEAR_A_MEAN or twice PER_MEAN.
NEAR_A_MEAN, PER_MEAN = 512, 4
CENTERS_AT_ONCE = 128  # the number of centers whose scores for all centers are computed at a time
# Rows that are ambiguous in float32 are searched again in float64. If a larger fraction of the sample than this is
# ambiguous, the whole search is in float64.
MAX_AMBIGUOUS = 0.02


class ClusteredSearch(ExactSearch):
    """Search for approximate nearest neighbors: at least 99 % of the exact ones, on average over the rows.

    Where lists would not save time, as for noise in many columns, the search is exact.

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
        if isinstance(self.metric, str) and k < space.n // 4:
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
        """Whether a tree finds the neighbors: where there are no lists, and the exact search would use a tree."""
        return self._lists is None and super()._uses_tree

    def _fit_in_lists(self, lists: Lists, workers: Workers) -> NeighborGraph:
        """Return the nearest neighbors of all rows among the members of their probes."""
        space, n, k = self._space, self._space.n, self._n_neighbors
        indices, distances = np.empty((n, k), dtype=np.int32), np.empty((n, k))
        right = self._right_operand()

        def block(start: int, stop: int) -> None:
            rows = lists.members[start:stop]
            points = space.points[rows]
            nearest = Nearest(rows, n, k, self._dtype)
            coordinates = as_float32(space.coordinates(points))
            probes = lists.index.probes_of_members(coordinates, lists.of_rows[rows], k + 1)
            self._search(points, nearest, probes, right, lists.of_rows[rows])
            graph = graph_of_candidates(space, *nearest.found(Workers()), rows, points, Workers())
            indices[rows], distances[rows] = graph

        workers.run_blocks(skip_sklearn_checks(block), n, self._rows_at_once(n))
        return NeighborGraph(indices, distances)

    def _rows_at_once(self, n_rows: int) -> int:
        """Return the number of rows in a block when ``n_rows`` rows are searched."""
        assert self._lists is not None
        most, least = (DIRECT_COST_AT_ONCE, MIN_DIRECT_ROWS) if self._space.direct else (COST_AT_ONCE, MIN_ROWS)
        fits = int(most / (self._lists.index.n_probed * self._space.pair_cost))
        return max(least, min(ROWS_AT_ONCE, fits, -(-n_rows // MIN_BLOCKS)))

    def _search(
        self,
        points: Any,
        nearest: Nearest,
        probes: tuple[NDArray[np.int32], NDArray[np.int32]],
        right: Any,
        first: NDArray[np.int32] | None = None,
    ) -> None:
        """Offer to each point, by ``nearest``, the members of the lists that the point probes.

        Parameters
        ----------
        points : {ndarray, csr_array} of shape (m, n_columns)
            The points.
        nearest : Nearest
            The selection of candidates, with a row for each point.
        probes : tuple of two ndarrays of shape (n_probes,), int32
            Pairs of a row of ``points`` and a list, as `ListIndex.probes` returns them.
        right : {ndarray, csr_array}
            The rows of the fit, as `_right_operand` returns them.
        first : ndarray of shape (m,), int32, default=None
            The list of each point. Its members are offered before all others, because most neighbors are among them
            and `Nearest` then rejects other candidates sooner.
        """
        lists, space = self._lists, self._space
        assert lists is not None
        left = space.operand(points, True, self._dtype)
        parts = [probes]
        if first is not None:
            others = probes[1] != first[probes[0]]
            parts = [(np.arange(len(first), dtype=np.int32), first), (probes[0][others], probes[1][others])]
        for part in parts:
            offer_members(space, nearest, left, right, lists.members, lists.bounds, part)

    @cached_property
    def _right(self) -> Any:
        """What `_right_operand` returns, kept from the first search for new rows on, because it is a copy of X."""
        return self._right_operand()

    def _right_operand(self) -> Any:
        """Return the rows of the fit in the order of the lists, as right operands."""
        assert self._lists is not None
        return self._space.operand(self._space.points[self._lists.members], False, self._dtype)

    def _rerank_ambiguous(self, graph: NeighborGraph, dtype: Any, workers: Workers) -> NeighborGraph:
        """Search the neighbors of ambiguous rows again, in float64 or by differences; change and return the graph."""
        space, points = self._space, self._space.points
        if dtype == np.float64:
            return rerank_ambiguous(space, graph, np.arange(space.n, dtype=np.int32), points, workers)
        rows = np.flatnonzero(are_ambiguous(space, graph.distances[:, -1], points)).astype(np.int32)
        if len(rows):
            some = points[rows]
            found = brute_force_candidates(space, some, rows, self._n_neighbors, workers)
            in_float64 = graph_of_candidates(space, *found, rows, some, workers)
            graph.indices[rows], graph.distances[rows] = rerank_ambiguous(space, in_float64, rows, some, workers)
        return graph

    def _candidates(
        self, points: Any, n_candidates: int, workers: Workers
    ) -> tuple[NDArray[np.floating], NDArray[np.int32]]:
        """Return the values and the indices of the nearest members of the probes of new points, in any order."""
        lists, m = self._lists, points.shape[0]
        if lists is None:
            return super()._candidates(points, n_candidates, workers)
        values, indices = np.empty((m, n_candidates), self._dtype), np.empty((m, n_candidates), dtype=np.int32)
        counts, right = np.empty(m, dtype=np.int32), self._right

        def block(start: int, stop: int) -> None:
            part = points[start:stop]
            nearest = Nearest(no_own_index(stop - start), self._space.n, n_candidates, self._dtype)
            probes = lists.index.probes(self._space.coordinates(part), lists.index.exact_scores, n_candidates)
            self._search(part, nearest, probes, right)
            values[start:stop], indices[start:stop], counts[start:stop] = nearest.found(Workers())

        workers.run_blocks(skip_sklearn_checks(block), m, self._rows_at_once(m))
        check_counts(counts, n_candidates)
        return values, indices

    def _reranked(
        self, points: Any, farthest: NDArray[np.float64], workers: Workers
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return the sorted distances and the indices of the nearest members of the probes, by differences."""
        lists, space, k = self._lists, self._space, self._n_neighbors
        if lists is None:
            return super()._reranked(points, farthest, workers)
        distances, indices = np.empty((len(farthest), k)), np.empty((len(farthest), k), dtype=np.int32)

        wanted = min(space.n, k + EXTRA_CANDIDATES)

        def block(start: int, stop: int) -> None:
            for row in range(start, stop):
                point = points[row : row + 1]
                _, probed = lists.index.probes(space.coordinates(point), lists.index.exact_scores, wanted)
                members = [lists.members[lists.bounds[i] : lists.bounds[i + 1]] for i in probed]
                distances[row], indices[row] = nearest_among(space, point, -1, np.concatenate(members), k)

        workers.run_blocks(block, len(farthest), ROWS_TO_RERANK)
        return distances, indices


def offer_members(
    space: Any,
    nearest: Nearest,
    left: Any,
    right: Any,
    members: NDArray[np.int32],
    bounds: NDArray[np.intp],
    probes: tuple[NDArray[np.int32], NDArray[np.int32]],
) -> None:
    """Offer to each row the members of the lists that the row probes.

    Parameters
    ----------
    space : Space
        The space whose operands ``left`` and ``right`` are.
    nearest : Nearest
        The selection of candidates, with a row for each row of ``left``.
    left : ndarray, csr_array or operand of the space
        The rows, as left operands.
    right : ndarray, csr_array or operand of the space
        The members of the lists, list by list, as right operands.
    members : ndarray of shape (n_members,), int32
        The numbers of the members among the candidates of ``nearest``.
    bounds : ndarray of shape (n_lists + 1,)
        List i has the members ``bounds[i]`` to ``bounds[i + 1]``.
    probes : tuple of two ndarrays of shape (n_probes,), int32
        Pairs of a row of ``left`` and a list.
    """
    rows, probed = probes
    # NumPy sorts 16-bit integers by radix sort, in a fraction of the time.
    order = np.argsort(probed.astype(np.uint16) if len(bounds) <= 2**16 else probed, kind="stable")
    rows, ends = rows[order], np.searchsorted(probed[order], np.arange(len(bounds)))
    if space.products:
        nearest.offer_lists(left, right, members, bounds, rows, ends)
        return
    for number in np.flatnonzero(np.diff(ends)):
        some = rows[ends[number] : ends[number + 1]]
        those = left[some]
        for start in range(bounds[number], bounds[number + 1], MEMBERS_AT_ONCE):
            block = slice(start, min(start + MEMBERS_AT_ONCE, bounds[number + 1]))
            nearest.offer(space.values(those, right[block]), members[block], some)


def as_float32(X: Any) -> Any:
    """Return coordinates in float32."""
    return X.astype(np.float32)


def are_ambiguous(space: Any, farthest: NDArray[np.float64], points: Any) -> NDArray[np.bool_]:
    """Return for each point whether its neighbors are ambiguous in float32, from the distance of the last neighbor."""
    bound = AMBIGUOUS_WITHIN * space.rounding(points, np.float32)
    ambiguous: NDArray[np.bool_] = (farthest > 0.0) & (space.to_squared(farthest) <= bound)
    return ambiguous


class Lists:
    """The rows of a fit, divided into one list for each center: rows that are near to the center.

    ``members`` holds the indices of the rows list by list; list i has ``members[bounds[i] : bounds[i + 1]]``. ``index``
    is the `ListIndex` of the lists.

    Parameters
    ----------
    centers : ndarray of shape (n_lists, n_columns), float32
        The centers.
    of_rows : ndarray of shape (n,), int32
        The list of each row.
    """

    def __init__(self, centers: NDArray[np.float32], of_rows: NDArray[np.int32]) -> None:
        self.of_rows = of_rows
        self.members = np.argsort(of_rows, kind="stable").astype(np.int32)
        sizes = np.bincount(of_rows, minlength=len(centers))
        self.bounds = np.concatenate([[0], np.cumsum(sizes)])
        self.index = ListIndex(centers, sizes)


class ListIndex:
    """The centers and the sizes of lists, which are enough to choose the lists that a row probes.

    Parameters
    ----------
    centers : ndarray of shape (n_lists, n_columns), float32
        The centers.
    sizes : ndarray of shape (n_lists,)
        The number of members of each list.
    """

    def __init__(self, centers: NDArray[np.float32], sizes: NDArray[np.intp]) -> None:
        self.centers, self.sizes = centers, sizes
        self.n_probes = 1  # the number of lists that a row probes
        self.n_probed = 1.0  # the number of members of these lists, on average over the rows
        # The number of lists that are ranked for the members of a list: those whose centers are nearest to its center.
        self.n_near = len(centers)

    def scores(self, X: Any) -> NDArray[np.floating]:
        """Return scores of shape (n_rows, n_lists); the lower a score, the nearer is the center of the list."""
        return _scores(X, self.centers)

    def exact_scores(self, X: Any) -> NDArray[np.floating]:
        """Return distances to the centers as scores, computed so that no row's scores depend on the other rows."""
        if issparse(X):  # SciPy multiplies sparse rows one by one
            return self.scores(X)
        everything = np.tile(np.arange(len(self.centers), dtype=np.int32), (len(X), 1))
        return pair_distances(np.ascontiguousarray(X), self.centers, everything, Workers())

    def probes_of_members(
        self, X: Any, of_rows: NDArray[np.int32], wanted: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the lists to search for rows of the fit, as `probes` does, but rank only the lists near to their own.

        These are the ``n_near`` lists whose centers are nearest to the center of the row's own list.

        Parameters
        ----------
        X : {ndarray, csr_array} of shape (n_rows, n_columns), float32
            The coordinates of the rows.
        of_rows : ndarray of shape (n_rows,), int32
            The list of each row, in ascending order.
        wanted : int
            The least number of members that the lists of a row must have together.
        """
        n_rows, n_lists = len(of_rows), len(self.centers)
        if issparse(X):  # copies of centers, which are dense, would take longer than the products
            return self.probes(X, self.scores, wanted)
        nearest = Nearest(no_own_index(n_rows), n_lists, self.n_probes, np.float32)
        numbers, starts = np.unique(of_rows, return_index=True)
        # The nearest lists come first, so that `Nearest` rejects most of the others at once.
        order = [min(2 * self.n_probes, self.n_near) - 1, self.n_near - 1]
        near = np.argpartition(self.scores(self.centers[numbers]), order, axis=1)[:, : self.n_near].astype(np.int32)
        scratch = Scratch()
        for i, rows in enumerate(np.split(np.arange(n_rows, dtype=np.int32), starts[1:])):
            some, step = X[rows], max(SCORED_AT_ONCE, SCORED_AT_ONCE**2 // len(rows))
            for first in range(0, self.n_near, step):
                lists = near[i, first : first + step]
                nearest.offer(_scores(some, self.centers[lists], scratch), lists, rows)
        probes = nearest.found(Workers())[1]
        enough = self.sizes[probes].sum(axis=1) >= wanted
        rows, found = np.repeat(np.flatnonzero(enough), self.n_probes), probes[enough].ravel()
        if not enough.all():
            short = np.flatnonzero(~enough)
            others, more = self.probes(X[short], self.scores, wanted)
            rows, found = np.concatenate([rows, short[others]]), np.concatenate([found, more])
        return rows.astype(np.int32), found

    def probes(
        self, X: Any, scores: Callable[[Any], NDArray[np.floating]], wanted: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the lists to search for each row, as an array of rows and an array of their lists.

        Parameters
        ----------
        X : {ndarray, csr_array} of shape (n_rows, n_columns)
            The coordinates of the rows; see `Space.coordinates`.
        scores : callable
            `scores` or `exact_scores`. The lists with the lowest scores are searched.
        wanted : int
            The least number of members that the lists of a row must have together. A row whose ``n_probes`` lists
            have fewer members gets more lists.
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


def _scores(X: Any, centers: NDArray[np.float32], scratch: Scratch | None = None) -> NDArray[np.floating]:
    """Return |c|²/2 − x·c for each row x and center c, which ranks the centers as |x − c|² does.

    Those of dense rows in float32 are in the memory of ``scratch``, if there is one.
    """
    if scratch is None or issparse(X) or X.dtype != np.float32:
        scores: NDArray[np.floating] = X @ centers.T
    else:
        scores = np.matmul(X, centers.T, out=scratch(len(X), len(centers)))
    np.subtract(0.5 * np.einsum("ij,ij->i", centers, centers), scores, out=scores)
    return scores


def assigned_lists(
    coordinates: Any, n: int, centers: NDArray[np.float32], workers: Workers, rounding: float = 0.0
) -> NDArray[np.int32]:
    """Return a list for each row, whose center is rarely farther from the row than the nearest of all centers.

    Above the centers, which must be in spatial order, are levels of ever fewer means of successive centers. Each row is
    compared with all means of the highest level. On the next levels it is compared only with the `NEAR_A_MEAN` means or
    centers that are nearest to the mean to which the row came on the level above.

    Parameters
    ----------
    coordinates : callable
        ``coordinates(rows)`` returns the coordinates of some rows.
    n : int
        The number of rows.
    centers : ndarray of shape (n_lists, n_columns), float32
        The centers.
    workers : Workers
        The threads to use.
    rounding : float, default=0.0
        The relative rounding error of scores within which the first of several centers counts as the nearest. With a
        bound on the error of products, equal rows are in the same list, also if different calls assign them.
    """
    levels, assigned = [centers], np.zeros(n, dtype=np.int32)
    # With fewer centers, a level would save no time. For sparse rows, copies of centers, which are dense, would take
    # longer than the products.
    while len(levels[0]) > 3 * NEAR_A_MEAN and not issparse(coordinates(np.arange(1))):
        firsts = np.arange(0, len(levels[0]), PER_MEAN)
        counts = np.diff(firsts, append=len(levels[0]))
        levels.insert(0, as_float32(np.add.reduceat(levels[0], firsts, axis=0) / counts[:, None]))
    near = np.arange(len(levels[0]), dtype=np.int32)[None]
    for number, level in enumerate(levels):
        if number:
            near = _nearest_centers(levels[number - 1], level, NEAR_A_MEAN, workers)
        assigned = _nearest_among(coordinates, assigned, near, level, workers, rounding)
    return assigned


def _nearest_centers(
    X: NDArray[np.float32], centers: NDArray[np.float32], n: int, workers: Workers
) -> NDArray[np.int32]:
    """Return the n centers that are nearest to each row of X, in ascending order of their numbers."""
    near = np.empty((len(X), n), dtype=np.int32)

    def block(start: int, stop: int) -> None:
        order = np.argpartition(_scores(X[start:stop], centers), n - 1, axis=1)[:, :n]
        near[start:stop] = np.sort(order, axis=1)

    workers.run_blocks(block, len(X), CENTERS_AT_ONCE)
    return near


def _nearest_among(
    coordinates: Any,
    groups: NDArray[np.int32],
    near: NDArray[np.int32],
    centers: NDArray[np.float32],
    workers: Workers,
    rounding: float,
) -> NDArray[np.int32]:
    """Return for each row the nearest of the centers ``near[group]``, where ``groups`` has the group of each row."""
    order, nearest, scratch = np.argsort(groups, kind="stable"), np.empty_like(groups), Scratch()

    def block(start: int, stop: int) -> None:
        rows = order[start:stop]
        X, ends = coordinates(rows), np.flatnonzero(np.diff(groups[rows])) + 1
        for first, end in zip([0, *ends], [*ends, len(rows)], strict=True):
            some = near[groups[rows[first]]]
            part = centers if len(some) == len(centers) else centers[some]  # no copy of all centers
            nearest[rows[first:end]] = some[_first_of_nearest(X[first:end], part, rounding, scratch)]

    workers.run_blocks(block, len(groups), SCORED_AT_ONCE)
    return nearest


class Draws(NamedTuple):
    """The random choices from which lists are built.

    Parameters
    ----------
    sample : ndarray of shape (n_sample,), int32
        The rows, in ascending order, whose recall is measured.
    of_centers : ndarray of shape (n_rows,)
        The rows, in ascending order, of which k-means computes the centers.
    first : ndarray of shape (n_lists,)
        The places in ``of_centers`` of the rows at which the centers start.
    """

    sample: NDArray[np.int32]
    of_centers: NDArray[np.intp]
    first: NDArray[np.intp]


def draw(n: int, n_lists: int) -> Draws:
    """Return the random choices from which lists of n rows are built, the same ones each time."""
    rng = np.random.default_rng(SEED)
    sample = np.sort(rng.choice(n, min(n, SAMPLE_ROWS), replace=False)).astype(np.int32)
    of_centers = np.sort(rng.choice(n, min(n, ROWS_PER_LIST * n_lists), replace=False))
    return Draws(sample, of_centers, np.sort(rng.choice(len(of_centers), n_lists, replace=False)))


def _first_of_nearest(X: Any, centers: NDArray[np.float32], rounding: float, scratch: Scratch) -> NDArray[np.intp]:
    """Return for each row the first of the centers that are nearest to it, up to a relative rounding error."""
    scores = _scores(X, centers, scratch)
    best: NDArray[np.intp] = np.argmin(scores, axis=1)
    if rounding > 0.0:
        lengths = np.linalg.norm(X, axis=1) + np.linalg.norm(centers[best], axis=1)
        highest = scores[np.arange(len(best)), best] + rounding * lengths**2
        best = np.argmax(scores <= highest[:, None], axis=1)
    return best


def k_means(X: Any, first: NDArray[np.intp], workers: Workers) -> NDArray[np.float32]:
    """Return centers in spatial order, of the coordinates of rows in float32; ``first`` has the rows to start at."""
    n_rows, n_lists, start = X.shape[0], len(first), X[first]
    centers: NDArray[np.float32] = np.ascontiguousarray(start.toarray() if issparse(start) else start)
    centers = centers[_spatial_order(centers)]
    for _ in range(ITERATIONS):
        assigned = assigned_lists(lambda rows: X[rows], n_rows, centers, workers)
        belongs = csr_array((np.ones(n_rows, np.float32), assigned, np.arange(n_rows + 1)), shape=(n_rows, n_lists))
        sums, counts = belongs.T @ X, np.bincount(assigned, minlength=n_lists)
        sums = sums.toarray() if issparse(sums) else sums
        centers[counts > 0] = sums[counts > 0] / counts[counts > 0, None]
    return centers[_spatial_order(centers)]


def _spatial_order(centers: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return an order of the centers in which centers that are near each other follow each other.

    The rows of a block, which are members of successive lists, then share most of their probes, so that the matrix
    products are larger. The order halves the centers again and again at the median of their widest coordinate.
    """
    parts = [np.arange(len(centers))]
    while len(parts[0]) > 2:
        halves = []
        for part in parts:
            widest = centers[part, np.argmax(np.var(centers[part], axis=0))]
            part = part[np.argsort(widest, kind="stable")]
            halves += [part[: len(part) // 2], part[len(part) // 2 :]]
        parts = halves
    return np.concatenate(parts)


def count_lists(n: int) -> int:
    """Return the number of lists of n rows."""
    return int(max(LISTS_FACTOR * n**LISTS_EXPONENT, MIN_LISTS_FACTOR * n**0.5))


def build_lists(space: Any, n_neighbors: int, workers: Workers) -> tuple[Lists | None, Any]:
    """Return the lists of the rows of a space, and the dtype in which values must be computed.

    The lists are None where brute force would be faster.
    """
    n, k = space.n, n_neighbors
    n_lists = count_lists(n)
    sample, of_centers, first = draw(n, n_lists)
    points = space.points[sample]
    # 2k neighbors are found, because any of several neighbors at the distance of the k-th one is right.
    for dtype in (np.float32, np.float64) if space.faster_in_float32 else (np.float64,):
        values, indices, _ = brute_force_candidates(space, points, sample, min(n - 1, 2 * k), workers, dtype)
        distances = space.distances(values, points, indices, workers)
        if dtype == np.float64 or suffices_in_float32(space, points, distances, k):
            break
    if n_lists * space.n_columns > MAX_CENTER_VALUES:
        return None, dtype
    centers = k_means(as_float32(space.coordinates(space.points[of_centers])), first, workers)
    of_rows = assigned_lists(lambda rows: as_float32(space.coordinates(space.points[rows])), n, centers, workers)
    lists = Lists(centers, of_rows)
    measure(lists.index, as_float32(space.coordinates(points)), of_rows[sample], distances, of_rows[indices], k)
    return (lists if lists.index.n_probed <= MAX_PROBED * n else None), dtype


def suffices_in_float32(space: Any, points: Any, distances: NDArray[np.float64], k: int) -> bool:
    """Return whether float32 resolves the k nearest of the neighbors of a sample, whose distances are given."""
    farthest = np.partition(distances, k - 1, axis=1)[:, k - 1]
    return bool(np.mean(are_ambiguous(space, farthest, points)) <= MAX_AMBIGUOUS)


def measure(
    index: ListIndex,
    X: Any,
    own: NDArray[np.int32],
    distances: NDArray[np.float64],
    of_neighbors: NDArray[np.int32],
    k: int,
) -> None:
    """Set the numbers of lists to rank and to search that give the sample enough recall at the least cost.

    The cost is the number of centers and of members of lists with which a row is compared. The fewer lists are ranked,
    the more of them must be searched, so half as many lists are ranked as long as the cost falls.

    Parameters
    ----------
    index : ListIndex
        The index of the lists, whose attributes are set.
    X : {ndarray, csr_array} of shape (n_sample, n_columns), float32
        The coordinates of the sample.
    own : ndarray of shape (n_sample,), int32
        The list of each row of the sample.
    distances : ndarray of shape (n_sample, n_neighbors), float64
        The distances of at least k exact neighbors of each row of the sample. Any k neighbors that are no farther than
        the k-th nearest must be found.
    of_neighbors : ndarray of shape (n_sample, n_neighbors), int32
        The lists of these neighbors.
    k : int
        The number of neighbors.
    """
    farthest = np.partition(distances, k - 1, axis=1)[:, k - 1]
    of_neighbors = np.where(distances <= farthest[:, None] * (1.0 + TIE_TOLERANCE), of_neighbors, -1)
    n_lists, between = len(index.centers), index.scores(index.centers[own])
    order = np.argsort(index.scores(X), axis=1, kind="stable").astype(np.int32)
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(n_lists, dtype=np.int32)[None], axis=1)
    places, n_near, least = np.take_along_axis(places, of_neighbors, axis=1), n_lists, np.inf
    while n_near > 0:
        ranked = np.zeros(order.shape, dtype=bool)
        np.put_along_axis(ranked, np.argpartition(between, n_near - 1, axis=1)[:, :n_near], True, axis=1)
        ranked = np.take_along_axis(ranked, order, axis=1)
        ranks = np.cumsum(ranked, axis=1, dtype=np.int32) - 1
        found = (of_neighbors >= 0) & np.take_along_axis(ranked, places, axis=1)
        of_found = np.where(found, np.take_along_axis(ranks, places, axis=1), n_lists)
        n_probes = _probes_needed(np.sort(of_found, axis=1)[:, :k], n_near)
        n_probed = float((index.sizes[order] * (ranked & (ranks < n_probes))).sum(axis=1).mean())
        if n_near + n_probed >= least or (n_probes == n_near < n_lists):
            break
        index.n_near, index.n_probes, index.n_probed, least = n_near, n_probes, n_probed, n_near + n_probed
        n_near = 0 if issparse(X) else n_near // 2


def _probes_needed(ranks: NDArray[np.intp], n_lists: int) -> int:
    """Return the smallest number of probes with which the recall of the sample is high enough.

    ``ranks`` of shape (n_sample, k) has, for each exact neighbor of a sample row, the rank of the neighbor's list among
    all lists, ordered by their scores for the row. With n_probes probes a neighbor is found if its rank is below.
    """
    for n_probes in range(1, n_lists):
        recall = np.mean(ranks < n_probes, axis=1)
        if recall.mean() - STANDARD_ERRORS * recall.std() / np.sqrt(len(ranks)) >= RECALL:
            return n_probes
    return n_lists
