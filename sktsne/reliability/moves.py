r"""Rows that move: their neighbors, and the springs by which their neighbors hold them.

Row x_i moves to x' = x_i ± λ v along each of the first principal axes v of the rows. λ is a multiple of the distance of
its neighbors along the axis, sqrt(Σ_j p_{j|i} (t_j − t_i)²), where t are the principal components. Distances of a moved
row follow from those of the row:

    |x' − x_j|² = |x_i − x_j|² + λ² ∓ 2 λ (t_j − t_i)

Its springs are p_{j|x'} + p_{x'|j}. p_{j|x'} is computed as for a row of the fit. The other rows keep their bandwidths:
log p̃ = a_j − β_j δ² is the line through the probabilities of row j, for distances δ up to that of its farthest
neighbor, and x' takes the place of x_i in the distribution of row j:

    p_{x'|j} = p̃_{x'|j} / (1 − p̃_{i|j} + p̃_{x'|j})

The neighbors of a moved row are searched among its candidates: the neighbors of row i, the rows that have i as a
neighbor, and the nearest neighbors of the neighbors of row i. With affinities of all pairs, all rows are candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.utils import check_random_state

from .._native import choose
from .._sparse import symmetrize
from ..affinities import Perplexity
from ..initialization import principal_components
from ..parallel import Workers

NEAREST = 10  # the number of neighbors of each neighbor that are candidates
# The numbers of pairs of a row and a candidate that are held at a time, together and by each thread.
PAIRS_AT_ONCE, PAIRS_OF_THREAD = 2**22, 2**18
NEGLIGIBLE = 1e-6  # springs below this are left out; the springs of a row sum to about 2
STARTS = 2  # the number of likeliest neighbors that are told of each moved row


def gather_candidates_reference(
    indices: NDArray[np.integer],
    indptr: NDArray[np.integer],
    neighbors: NDArray[np.int32],
    n_nearest: int,
    rows: NDArray[np.int64],
    candidates: NDArray[np.int32],
    counts: NDArray[np.int32],
) -> None:
    """Fill ``candidates`` and ``counts`` with the different candidates of each row, and the rest with the row.

    ``indices`` and ``indptr`` are those of a symmetric CSR matrix, whose entries in a row are candidates. For a positive
    ``n_nearest``, the ``neighbors`` (n, k) of the row and the first ``n_nearest`` neighbors of each of them are, too.
    """
    for b, i in enumerate(rows):
        found = [indices[indptr[i] : indptr[i + 1]]]
        if n_nearest > 0:
            found += [np.column_stack([neighbors[i], neighbors[neighbors[i], :n_nearest]]).ravel()]
        every = np.concatenate(found)
        every = every[np.sort(np.unique(every, return_index=True)[1])]
        every = every[every != i]
        counts[b] = len(every)
        candidates[b] = i
        candidates[b, : len(every)] = every


def _moved_squares(
    squares: NDArray[np.float64],
    candidates: NDArray[np.int32],
    rows: NDArray[np.int64],
    components: NDArray[np.float64],
    lengths: NDArray[np.float64],
    move: int,
) -> NDArray[np.float64]:
    """Return the squared distances of a row of a block after its even or odd ``move``, against or along an axis."""
    axis = move // 2
    length = lengths[rows, axis] * (1.0 if move % 2 else -1.0)
    toward = components[candidates, axis] - components[rows, axis]
    return np.maximum(squares + length * (length - 2.0 * toward), 0.0)


def select_moved_reference(
    squares: NDArray[np.float64],
    candidates: NDArray[np.int32],
    counts: NDArray[np.int32],
    rows: NDArray[np.int64],
    components: NDArray[np.float64],
    lengths: NDArray[np.float64],
    nearest: NDArray[np.int32],
    distances: NDArray[np.float64],
) -> None:
    """Fill ``nearest`` and ``distances`` with the places and squared distances of the nearest candidates of moves.

    ``squares`` (b, c) are the squared distances of ``rows`` to their ``candidates``, of which row b has ``counts[b]``.
    ``components`` (n, n_axes) are principal components, and ``lengths`` (n, n_axes) how far a row moves along each axis.
    The results have the shape (b, 2 n_axes, k), in any order.
    """
    k = nearest.shape[2]
    for b, count in enumerate(counts):
        for move in range(nearest.shape[1]):
            moved = _moved_squares(squares[b, :count], candidates[b, :count], rows[b], components, lengths, move)
            nearest[b, move] = np.argpartition(moved, k - 1)[:k]
            distances[b, move] = moved[nearest[b, move]]


def moved_springs_reference(
    squares: NDArray[np.float64],
    candidates: NDArray[np.int32],
    counts: NDArray[np.int32],
    rows: NDArray[np.int64],
    components: NDArray[np.float64],
    lengths: NDArray[np.float64],
    nearest: NDArray[np.int32],
    probabilities: NDArray[np.float64],
    lines: NDArray[np.float64],
    reach: NDArray[np.float64],
    least: float,
    springs: NDArray[np.float64],
    indices: NDArray[np.int32],
    numbers: NDArray[np.int64],
) -> None:
    """Fill ``springs`` and ``indices`` with the springs of each move, and ``numbers`` with how many there are of it.

    ``probabilities`` are the p_{j|x'} of the ``nearest`` candidates. ``lines`` (n, n_lines, 2) has a_j and β_j of each
    line of row j, and ``reach`` the squared distance at which its lines end. Springs that are not above ``least`` are
    left out. The other parameters are those of `select_moved_reference`.
    """

    def given(distances: NDArray[np.float64], j: NDArray[np.int32]) -> NDArray[np.float64]:
        p = np.mean(np.exp(lines[j, :, 0] - lines[j, :, 1] * distances[:, None]), axis=1)
        return np.where(distances <= reach[j], p, 0.0)

    total, n_moves = 0, nearest.shape[1]
    for b, count in enumerate(counts):
        j = candidates[b, :count]
        rest = 1.0 - given(squares[b, :count], j)
        for move in range(n_moves):
            p = given(_moved_squares(squares[b, :count], j, rows[b], components, lengths, move), j)
            p[p > 0.0] /= (rest + p)[p > 0.0]
            p[nearest[b, move]] += probabilities[b, move]
            there = np.flatnonzero(p > least)
            part = slice(total, total + len(there))
            springs[part], indices[part] = p[there], j[there]
            numbers[b * n_moves + move] = len(there)
            total += len(there)


class MovedRows(NamedTuple):
    """Rows that move, in a block.

    Parameters
    ----------
    own : ndarray of shape (m,), int64
        The row of the fit that moves, for each of m moves.
    springs : csr_array of shape (m, n), float64
        The springs of the moved rows.
    likeliest : ndarray of shape (m, 2), int32
        The rows of the fit with the largest p_{j|x'}.
    """

    own: NDArray[np.int64]
    springs: csr_array
    likeliest: NDArray[np.int32]


class Moves:
    """The moves of the rows of a fit.

    Parameters
    ----------
    embedder : TSNE or SNE
        The fitted estimator.
    space : Space
        The space of the rows, whose distances are Euclidean distances of points.
    n_directions : int
        The number of principal axes.
    step : float
        How far a row moves along an axis, divided by the distance of its neighbors along the axis.
    workers : Workers
        The threads to use.
    """

    def __init__(self, embedder: Any, space: Any, n_directions: int, step: float, workers: Workers) -> None:
        self._space, self._rule, self._workers = space, embedder._affinity_rule, workers
        self._pattern = symmetrize(csr_array(embedder.affinities_), workers)
        n, every = space.n, not issparse(embedder.affinities_)
        k = n - 1 if every else self._rule.count_neighbors(n)
        self._neighbors, distances, self._n_nearest = np.zeros((n, k), np.int32), np.empty((n, k)), 0
        parts = self._parts()
        workers.run_blocks(lambda start, stop: self._find_neighbors(distances, parts[start]), len(parts), 1)
        if not every:
            self._n_nearest = min(NEAREST, k)
        self._lines = self._lines_of(distances)
        # Rounding may change the distance of the farthest neighbor.
        self._reach = np.full(n, np.inf) if every else distances[:, -1] ** 2 * (1.0 + 1e-9)
        n_axes = min(n_directions, *space.points.shape)
        components = principal_components(space.points, n_axes, check_random_state(0))
        self._components = np.ascontiguousarray(components, dtype=np.float64)
        P, neighbors = self._rule.probabilities(distances, workers), self._neighbors
        spreads = [np.einsum("ij,ij->i", P, (t[neighbors] - t[:, None]) ** 2) for t in self._components.T]
        self._lengths = step * np.sqrt(np.stack(spreads, axis=1))

    def _parts(self) -> list[NDArray[np.int64]]:
        """Return the rows in parts of at most `PAIRS_OF_THREAD` candidates, or of one row."""
        n, k = self._neighbors.shape
        most = np.minimum(n - 1, np.diff(self._pattern.indptr).astype(np.int64) + k * (1 + self._n_nearest))
        order = np.argsort(most, kind="stable")  # so that the rows of a part have similar numbers of candidates
        parts, start = [], 0
        while start < n:
            stop = min(n, start + max(1, PAIRS_OF_THREAD // most[order[start]]))
            stop = min(n, start + max(1, PAIRS_OF_THREAD // most[order[stop - 1]]))
            parts.append(order[start:stop])
            start = stop
        return parts

    def _candidates(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        """Return the candidates of rows, their numbers, and their squared distances."""
        indices, indptr = self._pattern.indices, self._pattern.indptr
        width = np.diff(indptr)[rows].max() + self._neighbors.shape[1] * (1 + self._n_nearest)
        candidates = np.empty((len(rows), min(width, len(self._neighbors))), np.int32)
        counts = np.empty(len(rows), np.int32)
        gather = choose("moves", "gather_candidates", gather_candidates_reference, f"{indices.dtype}_t")
        gather(indices, indptr, self._neighbors, self._n_nearest, rows, candidates, counts)
        candidates = np.ascontiguousarray(candidates[:, : counts.max()])
        distances = self._space.exact_distances(self._space.points[rows], candidates, Workers())
        return candidates, counts, np.square(distances, out=distances)

    def _find_neighbors(self, distances: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
        """Fill in the neighbors of rows, the nearest of their candidates, and their distances, the smallest first."""
        candidates, counts, squares = self._candidates(rows)
        squares[np.arange(squares.shape[1]) >= counts[:, None]] = np.inf
        nearest = np.argsort(squares, axis=1)[:, : distances.shape[1]]
        self._neighbors[rows] = np.take_along_axis(candidates, nearest, axis=1)
        distances[rows] = np.sqrt(np.take_along_axis(squares, nearest, axis=1))

    def _lines_of(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a_j and β_j of the lines through the probabilities of each row, shape (n, n_lines, 2)."""
        several = isinstance(self._rule, Perplexity)  # the mean of several Gaussians has a line for each of them
        rules = [Perplexity([p]) for p in self._rule.perplexities] if several else [self._rule]
        lines = np.empty((len(distances), len(rules), 2))
        least, i = np.finfo(np.float64).smallest_normal, np.arange(len(distances))
        for line, rule in enumerate(rules):
            P = rule.probabilities(distances, self._workers)
            last = np.count_nonzero(least <= P, axis=1) - 1
            with np.errstate(divide="ignore", invalid="ignore"):
                fall = np.log(P[:, 0] / P[i, last]) / (distances[i, last] ** 2 - distances[:, 0] ** 2)
            lines[:, line, 1] = np.where(np.isfinite(fall), fall, 0.0)
            lines[:, line, 0] = np.log(P[:, 0]) + lines[:, line, 1] * distances[:, 0] ** 2
        return lines

    def __iter__(self) -> Iterator[MovedRows]:
        """Yield all moves, two along each axis for each row, in blocks of rows."""
        parts = self._parts()
        at_once = PAIRS_AT_ONCE // PAIRS_OF_THREAD
        for first in range(0, len(parts), at_once):
            some = parts[first : first + at_once]
            found = self._workers.run_blocks(lambda start, stop, some=some: self._moved(some[start]), len(some), 1)
            own, numbers, springs, indices, likeliest = map(np.concatenate, zip(*found, strict=True))
            indptr = np.concatenate([[0], np.cumsum(numbers)])
            yield MovedRows(
                own, csr_array((springs, indices, indptr), shape=(len(own), len(self._neighbors))), likeliest
            )

    def _moved(self, rows: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        """Return the moves of rows: the rows, their numbers of springs, the springs, the other rows, the likeliest."""
        candidates, counts, squares = self._candidates(rows)
        n_moves, k = 2 * self._lengths.shape[1], self._neighbors.shape[1]
        nearest, distances = np.empty((len(rows), n_moves, k), np.int32), np.empty((len(rows), n_moves, k))
        common = squares, candidates, counts, rows, self._components, self._lengths
        choose("moves", "select_moved", select_moved_reference)(*common, nearest, distances)
        probabilities = self._rule.probabilities(np.sqrt(distances, out=distances).reshape(-1, k), Workers())
        most = n_moves * int(counts.sum())
        springs, indices, numbers = np.empty(most), np.empty(most, np.int32), np.empty(len(rows) * n_moves, np.int64)
        choose("moves", "moved_springs", moved_springs_reference)(
            *common, nearest, probabilities.reshape(nearest.shape), self._lines, self._reach,
            NEGLIGIBLE, springs, indices, numbers,
        )  # fmt: skip
        order = np.argpartition(-probabilities, min(STARTS, k - 1), axis=1)[:, :STARTS]
        first = np.take_along_axis(nearest.reshape(-1, k), order, axis=1)
        likeliest = np.take_along_axis(candidates, first.reshape(len(rows), -1), axis=1).reshape(first.shape)
        total = int(numbers.sum())
        return np.repeat(rows, n_moves), numbers, springs[:total].copy(), indices[:total].copy(), likeliest
