r"""Rows that move: their neighbors, and the springs by which their neighbors hold them.

Row x_i moves to x' = x_i ± λ v along each of the first principal axes v of the rows. λ is a multiple of the distance of
its neighbors along the axis, sqrt(Σ_j p_{j|i} (t_j − t_i)²), where t are the principal components. Distances of a moved
row follow from those of the row:

    |x' − x_j|² = |x_i − x_j|² + λ² ∓ 2 λ (t_j − t_i)

Its springs are p_{j|x'} + p_{x'|j}. p_{j|x'} is computed as for a row of the fit. The other rows keep their bandwidths:
log p̃ = a_j − β_j δ² is the line through the probabilities of row j, for distances δ up to that of its farthest
neighbor, and x' takes the place of x_i in the distribution of row j:

    p_{x'|j} = p̃_{x'|j} / (1 − p̃_{i|j} + p̃_{x'|j})

Distances δ of the metric follow from the Euclidean distances of points (:mod:`sktsne.neighbors.spaces`): they are equal
to them, or in proportion to their squares, as for "cosine".

The neighbors of a moved row are searched among its candidates: the rows with which row i has affinities, which are its
neighbors and the rows that have it as a neighbor. For moves of half the distance of the neighbors along an axis, the
candidates hold 99.5 % of the probability of a moved row of MNIST, and at least 96 % for all but 1 % of the moves; for
moves twice as long, 99 % and 93 %.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.utils import check_random_state

from .._checks import as_affinities, as_indices
from .._native import choose
from .._sparse import symmetrize
from ..affinities import Perplexity, probabilities_of
from ..initialization import principal_components
from ..objectives import JointKL
from ..parallel import Workers

# The numbers of pairs of a row and a candidate that are held at a time, together and by each thread.
PAIRS_AT_ONCE, PAIRS_OF_THREAD = 2**20, 2**17
NEGLIGIBLE = 1e-6  # springs below this are left out; the springs of a row sum to about 2
# Distances of these metrics are the squared Euclidean distances of points times a number.
SCALES = {"sqeuclidean": 1.0, "cosine": 0.5, "correlation": 0.5}
STARTS = 2  # the number of likeliest neighbors that are told of each moved row


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
    moved: NDArray[np.float64] = np.maximum(squares + length * (length - 2.0 * toward), 0.0)
    return moved


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
    ``components`` (n, n_axes) are principal components, ``lengths`` (n, n_axes) how far a row moves along each axis.
    The results have the shape (b, 2 n_axes, k), in any order; a row with fewer candidates has infinite distances.
    """
    k = nearest.shape[2]
    nearest[:], distances[:] = 0, np.inf  # what remains of a row with fewer than k candidates
    for b, count in enumerate(counts):
        for move in range(nearest.shape[1]):
            moved = _moved_squares(squares[b, :count], candidates[b, :count], rows[b], components, lengths, move)
            found = np.argsort(moved)[:k]
            nearest[b, move, : len(found)], distances[b, move, : len(found)] = found, moved[found]


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
    scale: float,
    least: float,
    springs: NDArray[np.float64],
    indices: NDArray[np.int32],
    numbers: NDArray[np.int64],
) -> None:
    """Fill ``springs`` and ``indices`` with the springs of each move, and ``numbers`` with how many there are of it.

    ``probabilities`` are the p_{j|x'} of the ``nearest`` candidates. ``lines`` (b, c, n_lines, 2) has a_j and β_j of
    each line of a candidate, and ``reach`` (b, c) the square of the distance at which its lines end. For a positive
    ``scale``, distances are the squared distances of points times ``scale``. Springs that are not above ``least`` are
    left out. The other parameters are those of `select_moved_reference`.
    """

    def given(distances: NDArray[np.float64], b: int) -> NDArray[np.float64]:
        distances, m = (scale * distances) ** 2 if scale > 0.0 else distances, len(distances)
        p = np.mean(np.exp(lines[b, :m, :, 0] - lines[b, :m, :, 1] * distances[:, None]), axis=1)
        return np.where(distances <= reach[b, :m], p, 0.0)

    total, n_moves = 0, nearest.shape[1]
    for b, count in enumerate(counts):
        j = candidates[b, :count]
        rest = 1.0 - given(squares[b, :count], b)
        for move in range(n_moves):
            p = given(_moved_squares(squares[b, :count], j, rows[b], components, lengths, move), b)
            p[p > 0.0] /= (rest + p)[p > 0.0]
            np.add.at(p, nearest[b, move], probabilities[b, move])
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
        self._scale = SCALES.get(str(embedder._search.metric), 0.0)
        given = as_affinities("affinities_", embedder.affinities_)
        if given.shape[0] != space.n:
            raise ValueError(
                f"affinities_ has shape {given.shape}, must have a row for each of the {space.n} rows of X."
            )
        affinities = csr_array(given)
        if not affinities.has_canonical_format:  # a row of compiled loops has at most n candidates
            affinities = affinities.copy()
            affinities.sum_duplicates()
        joint = issubclass(embedder._objective, JointKL)
        self._pattern: Any = affinities if joint else symmetrize(affinities, workers)
        n, every = space.n, not issparse(given)
        self._k = n - 1 if every else self._rule.count_neighbors(n)
        neighbors, distances = np.empty((n, self._k), np.int32), np.empty((n, self._k))
        self._parts = parts = self._divided()

        def find_neighbors(start: int, stop: int) -> None:
            candidates, counts, squares = self._candidates(parts[start])
            squares[np.arange(squares.shape[1]) >= counts[:, None]] = np.inf
            nearest = np.argsort(squares, axis=1)[:, : self._k]
            neighbors[parts[start]] = np.take_along_axis(candidates, nearest, axis=1)
            distances[parts[start]] = self._distances(np.take_along_axis(squares, nearest, axis=1))

        workers.run_blocks(find_neighbors, len(parts), 1)
        self._lines, P = self._lines_of(distances)
        # Rounding may change the distance of the farthest neighbor.
        self._reach = np.full(n, np.inf) if every else distances[:, -1] ** 2 * (1.0 + 1e-9)
        n_axes = min(n_directions, *space.points.shape)
        components = principal_components(space.points, n_axes, check_random_state(0))
        self._components = np.ascontiguousarray(components, dtype=np.float64)
        spreads = [np.einsum("ij,ij->i", P, (t[neighbors] - t[:, None]) ** 2) for t in self._components.T]
        self._lengths = step * np.sqrt(np.stack(spreads, axis=1))

    def _divided(self) -> list[NDArray[np.int64]]:
        """Return the rows in parts of at most `PAIRS_OF_THREAD` candidates, or of one row."""
        counts = np.diff(self._pattern.indptr)
        order = np.argsort(counts, kind="stable").astype(np.int64)  # so that little of a part is filled up
        parts, start = [], 0
        while start < len(order):
            stop = min(len(order), start + max(1, PAIRS_OF_THREAD // max(1, counts[order[start]])))
            stop = start + max(1, min(stop - start, PAIRS_OF_THREAD // max(1, counts[order[stop - 1]])))
            parts.append(order[start:stop])
            start = stop
        return parts

    def _candidates(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        """Return the candidates of rows, filled up with the row itself, their numbers, and their squared distances."""
        first, counts = self._pattern.indptr[rows], np.diff(self._pattern.indptr)[rows].astype(np.int32)
        width = max(self._k, int(counts.max()))
        there = np.arange(width) < counts[:, None]
        places = np.where(there, first[:, None] + np.arange(width), 0)
        candidates = np.where(there, self._pattern.indices[places], rows[:, None]).astype(np.int32)
        # Compiled loops rely on the indices, which the user may have changed since the fit.
        as_indices("indices of affinities_", candidates, candidates.shape, self._space.n)
        distances = self._space.exact_distances(self._space.points[rows], candidates, Workers())
        return candidates, counts, distances / self._scale if self._scale else np.square(distances, out=distances)

    def _distances(self, squares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return distances from the squared distances of points, in place."""
        return np.multiply(squares, self._scale, out=squares) if self._scale else np.sqrt(squares, out=squares)

    def _lines_of(self, distances: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a_j and β_j of the lines through the probabilities of each row, (n, n_lines, 2), and these, (n, k)."""
        several = isinstance(self._rule, Perplexity)  # the mean of several Gaussians has a line for each of them
        rules = [Perplexity([p]) for p in self._rule.perplexities] if several else [self._rule]
        lines, total = np.empty((len(distances), len(rules), 2)), np.zeros_like(distances)
        least, i = np.finfo(np.float64).smallest_normal, np.arange(len(distances))
        for line, rule in enumerate(rules):
            P = probabilities_of(rule, distances, self._workers)
            total += P
            last = np.count_nonzero(least <= P, axis=1) - 1
            with np.errstate(divide="ignore", invalid="ignore"):
                fall = np.log(P[:, 0] / P[i, last]) / (distances[i, last] ** 2 - distances[:, 0] ** 2)
                lines[:, line, 1] = np.where(np.isfinite(fall), fall, 0.0)
                lines[:, line, 0] = np.log(P[:, 0]) + lines[:, line, 1] * distances[:, 0] ** 2
        return lines, total / len(rules)

    def __iter__(self) -> Iterator[MovedRows]:
        """Yield all moves, two along each axis for each row, in blocks of rows."""
        parts = self._parts
        at_once = PAIRS_AT_ONCE // PAIRS_OF_THREAD
        for first in range(0, len(parts), at_once):
            some = parts[first : first + at_once]
            found = self._workers.run_blocks(partial(self._moved, some), len(some), 1)
            own, numbers, springs, indices, likeliest = map(np.concatenate, zip(*found, strict=True))
            indptr = np.concatenate([[0], np.cumsum(numbers)])
            yield MovedRows(own, csr_array((springs, indices, indptr), shape=(len(own), self._space.n)), likeliest)

    def _moved(self, parts: list[NDArray[np.int64]], start: int, stop: int) -> tuple[NDArray[Any], ...]:
        """Return the moves of a part: rows, numbers of springs, springs, the rows at their ends, and the likeliest."""
        rows = parts[start]
        candidates, counts, squares = self._candidates(rows)
        n_moves, k = 2 * self._lengths.shape[1], self._k
        nearest, distances = np.empty((len(rows), n_moves, k), np.int32), np.empty((len(rows), n_moves, k))
        common = squares, candidates, counts, rows, self._components, self._lengths
        choose("moves", "select_moved", select_moved_reference)(*common, nearest, distances)
        probabilities = probabilities_of(self._rule, self._distances(distances).reshape(-1, k), Workers())
        most = n_moves * int(counts.sum())
        springs, indices, numbers = np.empty(most), np.empty(most, np.int32), np.empty(len(rows) * n_moves, np.int64)
        choose("moves", "moved_springs", moved_springs_reference)(
            *common, nearest, probabilities.reshape(nearest.shape), self._lines[candidates], self._reach[candidates],
            self._scale, NEGLIGIBLE, springs, indices, numbers,
        )  # fmt: skip
        order = np.argpartition(-probabilities, min(STARTS, k - 1), axis=1)[:, :STARTS]
        first = np.take_along_axis(nearest.reshape(-1, k), order, axis=1)
        likeliest = np.take_along_axis(candidates, first.reshape(len(rows), -1), axis=1).reshape(first.shape)
        total = int(numbers.sum())
        return np.repeat(rows, n_moves), numbers, springs[:total].copy(), indices[:total].copy(), likeliest
