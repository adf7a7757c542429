"""The nearest of many candidates, row by row, and the distances of chosen pairs: loops with compiled twins.

Of candidates at equal values, row i prefers those that follow it: the candidate j with the least (j − i) mod n. So rows
at equal distances are neighbors of one another in turn, and none of many equal rows is left out by all the others.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import choose
from ..parallel import Workers

# Places for candidates beyond the nearest, more than the 32 that the compiled loop looks at together. Reducing a full
# row takes time in proportion to all of its places.
BUFFER_SIZE = 96
NUMBERS_AT_ONCE = 2**18  # of differences of rows, which stay in the cache
SORT_COST = 32  # elementary operations for each candidate that is put in order


def cyclic_offsets(indices: NDArray[np.int32], own: Any, n: int) -> NDArray[np.int64]:
    """Return how far candidates follow a row, which decides among equals; -1 is before all."""
    following: NDArray[np.int64] = np.subtract(indices, own, dtype=np.int64)
    return np.where(following >= 0, following, following + n)


def no_own_index(n: int) -> NDArray[np.int32]:
    """Return the numbers of rows that are none of the candidates."""
    return np.full(n, -1, dtype=np.int32)


def offer_reference(
    values: NDArray[np.floating],
    columns: NDArray[np.int32],
    rows: NDArray[np.int32],
    own: NDArray[np.int32],
    n: int,
    k: int,
    best: NDArray[np.floating],
    indices: NDArray[np.int32],
    counts: NDArray[np.int32],
    limits: NDArray[np.floating],
) -> None:
    """Offer to each of ``rows`` the candidates ``columns`` with their values, a row of ``values`` each."""
    for i, row in enumerate(rows):
        offered = (columns != own[row]) & ~np.isnan(values[i])
        candidates = np.concatenate([best[row, : counts[row]], values[i, offered]])
        places = np.concatenate([indices[row, : counts[row]], columns[offered]])
        first = np.lexsort((cyclic_offsets(places, own[row], n), candidates))[:k]
        counts[row] = len(first)
        best[row, : len(first)], indices[row, : len(first)] = candidates[first], places[first]


def select_nearest_reference(
    best: NDArray[np.floating],
    indices: NDArray[np.int32],
    counts: NDArray[np.int32],
    own: NDArray[np.int32],
    n: int,
    k: int,
    start: int,
    stop: int,
) -> None:
    """Bring the first k candidates of rows ``start`` to ``stop`` to the front, and forget the others."""
    for row in range(start, stop):
        count = counts[row]
        first = np.lexsort((cyclic_offsets(indices[row, :count], own[row], n), best[row, :count]))[:k]
        best[row, : len(first)], indices[row, : len(first)] = best[row, first], indices[row, first]
        counts[row] = len(first)


def sort_neighbors_reference(
    distances: NDArray[np.float64],
    indices: NDArray[np.int32],
    own: NDArray[np.int32],
    n: int,
    start: int,
    stop: int,
) -> None:
    """Sort the neighbors of rows ``start`` to ``stop`` by their distances, and those at equal distances in turn."""
    rows = slice(start, stop)
    order = np.lexsort((cyclic_offsets(indices[rows], own[rows, None], n), distances[rows]), axis=1)
    distances[rows] = np.take_along_axis(distances[rows], order, 1)
    indices[rows] = np.take_along_axis(indices[rows], order, 1)


def pair_distances_reference(
    new: NDArray[np.floating],
    X: NDArray[np.floating],
    indices: NDArray[np.int32],
    distances: NDArray[np.float64],
    start: int,
    stop: int,
) -> None:
    """Fill rows ``start`` to ``stop`` of ``distances``: from rows of ``new`` to the rows ``indices`` of ``X``."""
    step = max(1, NUMBERS_AT_ONCE // max(1, indices.shape[1] * X.shape[1]))
    for first in range(start, stop, step):
        rows = slice(first, min(first + step, stop))
        difference = new[rows, None].astype(np.float64) - X[indices[rows]]
        distances[rows] = np.sqrt(np.einsum("ijk,ijk->ij", difference, difference))


def _c_type(dtype: Any) -> str:
    return "float" if dtype == np.float32 else "double"


class Nearest:
    """The k nearest candidates of each row, among those that have been offered.

    Parameters
    ----------
    own : ndarray of shape (n_rows,), int32
        The number of each row among the candidates, which is none of its neighbors; -1 for a row that is not there.
    n : int
        The number of candidates.
    k : int
        The number of neighbors.
    dtype : type
        The floating type of the values, by which candidates are compared.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.neighbors.selection import Nearest
    >>> from sktsne.parallel import Workers
    >>> nearest = Nearest(np.array([0, 1], dtype=np.int32), 4, 2, np.float64)
    >>> nearest.offer(np.array([[0.0, 3.0, 1.0, 2.0], [3.0, 0.0, 5.0, 5.0]]), np.arange(4, dtype=np.int32))
    >>> np.sort(nearest.found(Workers())[1], axis=1).tolist()
    [[2, 3], [0, 2]]
    """

    def __init__(self, own: NDArray[np.int32], n: int, k: int, dtype: Any) -> None:
        self._own, self._n, self._k = own, n, k
        self._best = np.empty((len(own), k + BUFFER_SIZE), dtype=dtype)
        self._indices = np.empty(self._best.shape, dtype=np.int32)
        self._counts = np.zeros(len(own), dtype=np.int32)
        self._limits = np.full(len(own), np.inf, dtype=dtype)
        self._rows = np.arange(len(own), dtype=np.int32)
        self._offer = choose("neighbors", "offer", offer_reference, _c_type(dtype))
        self._select = choose("neighbors", "select_nearest", select_nearest_reference, _c_type(dtype))

    def offer(
        self, values: NDArray[np.floating], columns: NDArray[np.int32], rows: NDArray[np.int32] | None = None
    ) -> None:
        """Offer candidates to rows, by default to all: ``values`` has a row for each, and a column for each candidate.

        A pair must not be offered twice. NaN is no value.
        """
        rows = self._rows if rows is None else rows
        self._offer(
            values, columns, rows, self._own, self._n, self._k, self._best, self._indices, self._counts, self._limits
        )

    def found(self, workers: Workers) -> tuple[NDArray[np.floating], NDArray[np.int32], NDArray[np.int32]]:
        """Return values and indices of the nearest, in no order, and how many each row has, at most k."""
        run = partial(self._select, self._best, self._indices, self._counts, self._own, self._n, self._k)
        workers.run(run, len(self._own), SORT_COST * self._k)
        return self._best[:, : self._k], self._indices[:, : self._k], self._counts


def sort_neighbors(
    distances: NDArray[np.float64], indices: NDArray[np.int32], own: NDArray[np.int32], n: int, workers: Workers
) -> None:
    """Sort neighbors in place, from near to far, and those at equal distances as `Nearest` does."""
    routine = choose("neighbors", "sort_neighbors", sort_neighbors_reference)
    workers.run(partial(routine, distances, indices, own, n), len(own), SORT_COST * indices.shape[1])


def pair_distances(
    new: NDArray[np.floating], X: NDArray[np.floating], indices: NDArray[np.int32], workers: Workers
) -> NDArray[np.float64]:
    """Return the Euclidean distances from rows of ``new`` to the rows ``indices`` of X, by differences.

    They have the shape of ``indices``. The distance of a pair depends on nothing else, to the last bit.
    """
    distances = np.empty(indices.shape)
    routine = choose("neighbors", "pair_distances", pair_distances_reference, _c_type(new.dtype), _c_type(X.dtype))
    workers.run(partial(routine, new, X, indices, distances), len(new), indices.shape[1] * X.shape[1])
    return distances
