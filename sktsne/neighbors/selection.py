"""Selection of the k nearest candidates of each row, and distances of given pairs of rows; loops with compiled twins.

A row ranks its candidates by value, and candidates j with equal values by their cyclic offset (j − i) mod n from the
row, which has index i among the n candidates. Rows at equal distances therefore choose different neighbors. If the
lowest index decided, some rows would be neighbors of all others, and other rows would be neighbors of no row.

In all functions ``own`` holds the index i of each row, or -1 for a row that is not a candidate. Such a row prefers the
candidate with the lower index.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._native import c_type, choose
from ..parallel import Workers

# The number of candidates that a row can hold beyond k. The compiled loop needs more than 32, the number of values that
# it examines together. When a row is full it is reduced to about k candidates, in time proportional to its size.
BUFFER_SIZE = 96
NUMBERS_AT_ONCE = 2**18  # the number of differences that are computed at a time, so that they stay in the cache
SORT_COST = 32  # elementary operations to sort one candidate, roughly
# The numbers of rows and of members of a list whose products the compiled loop computes at a time, so that the products
# stay in the cache.
ROWS_PER_PRODUCT, MEMBERS_PER_PRODUCT = 128, 512


def cyclic_offsets(indices: NDArray[np.int32], own: Any, n: int) -> NDArray[np.int64]:
    """Return the cyclic offsets of candidates from a row, which rank candidates with equal values."""
    following: NDArray[np.int64] = np.subtract(indices, own, dtype=np.int64)
    return np.where(following >= 0, following, following + n)


def no_own_index(n: int) -> NDArray[np.int32]:
    """Return ``own`` for n rows that are not among the candidates."""
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
    """Offer the candidates ``columns`` to each of ``rows``, with the values in the corresponding row of ``values``.

    ``best`` and ``indices`` hold the candidates that each row keeps, and ``counts`` their number. A value above the
    row's entry of ``limits`` cannot be among the k nearest; the reference does not use the limits.
    """
    for i, row in enumerate(rows):
        offered = (columns != own[row]) & ~np.isnan(values[i])
        candidates = np.concatenate([best[row, : counts[row]], values[i, offered]])
        places = np.concatenate([indices[row, : counts[row]], columns[offered]])
        first = np.lexsort((cyclic_offsets(places, own[row], n), candidates))[:k]
        counts[row] = len(first)
        best[row, : len(first)], indices[row, : len(first)] = candidates[first], places[first]


def offer_lists_reference(
    left: NDArray[np.floating],
    right: NDArray[np.floating],
    members: NDArray[np.int32],
    bounds: NDArray[np.intp],
    rows: NDArray[np.int32],
    ends: NDArray[np.intp],
    own: NDArray[np.int32],
    n: int,
    k: int,
    best: NDArray[np.floating],
    indices: NDArray[np.int32],
    counts: NDArray[np.int32],
    limits: NDArray[np.floating],
    scratch: NDArray[np.floating],
) -> None:
    """Offer the members of each list to the rows that probe the list, with products of operands as values.

    Entries ``bounds[i]`` to ``bounds[i + 1]`` of ``members`` are the members of list i, and the same rows of ``right``
    are their operands. Entries ``ends[i]`` to ``ends[i + 1]`` of ``rows`` are the rows that probe list i, and ``left``
    has the operand of each row. ``scratch`` is memory for the compiled routine.
    """
    for number in np.flatnonzero(np.diff(ends)):
        some = rows[ends[number] : ends[number + 1]]
        some_members = slice(bounds[number], bounds[number + 1])
        values = left[some] @ right[some_members].T
        offer_reference(values, members[some_members], some, own, n, k, best, indices, counts, limits)


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
    """Move the k nearest candidates of rows ``start`` to ``stop`` to the front, and remove the others."""
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
    """Sort the neighbors of rows ``start`` to ``stop`` by distance, and those at equal distances by cyclic offset."""
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
    """Fill rows ``start`` to ``stop`` of ``distances``, which are from rows of ``new`` to the rows ``indices`` of X."""
    step = max(1, NUMBERS_AT_ONCE // max(1, indices.shape[1] * X.shape[1]))
    for first in range(start, stop, step):
        rows = slice(first, min(first + step, stop))
        difference = new[rows, None].astype(np.float64) - X[indices[rows]]
        distances[rows] = np.sqrt(np.einsum("ijk,ijk->ij", difference, difference))


class Nearest:
    """Keep the k nearest of the candidates that are offered to each row.

    Parameters
    ----------
    own : ndarray of shape (n_rows,), int32
        The index of each row among the candidates, or -1 for a row that is not a candidate. No row keeps itself.
    n : int
        The number of candidates.
    k : int
        The number of neighbors.
    dtype : type
        numpy.float32 or numpy.float64, the dtype of the values.

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
        self._offer = choose("neighbors", "offer", offer_reference, c_type(dtype))
        self._offer_lists = choose("neighbors", "offer_lists", offer_lists_reference, c_type(dtype))
        self._select = choose("neighbors", "select_nearest", select_nearest_reference, c_type(dtype))

    def offer(
        self, values: NDArray[np.floating], columns: NDArray[np.int32], rows: NDArray[np.int32] | None = None
    ) -> None:
        """Offer candidates to rows.

        A pair of a row and a candidate must not be offered twice. A candidate whose value is NaN is left out.

        Parameters
        ----------
        values : ndarray of shape (n_offered_rows, n_columns)
            The values of the pairs, with the dtype of the constructor.
        columns : ndarray of shape (n_columns,), int32
            The candidates.
        rows : ndarray of shape (n_offered_rows,), int32, default=None
            The rows; None stands for all rows.
        """
        rows = self._rows if rows is None else rows
        self._offer(
            values, columns, rows, self._own, self._n, self._k, self._best, self._indices, self._counts, self._limits
        )

    def begin(self, values: NDArray[np.floating]) -> None:
        """Give each row its first candidates, with the indices 0 to k - 1.

        Parameters
        ----------
        values : ndarray of shape (n_rows, k)
            Their values. Infinity stands for a candidate that any other replaces.
        """
        self._best[:, : self._k], self._indices[:, : self._k] = values, np.arange(self._k)
        self._counts[:], self._limits[:] = self._k, values.max(axis=1)

    def offer_lists(
        self,
        left: NDArray[np.floating],
        right: NDArray[np.floating],
        members: NDArray[np.int32],
        bounds: NDArray[np.intp],
        rows: NDArray[np.int32],
        ends: NDArray[np.intp],
    ) -> None:
        """Offer the members of each list to the rows that probe the list; `offer_lists_reference` has the arguments.

        One call offers all lists, because threads that return to Python after each list would wait for its global lock.
        """
        scratch = np.empty(ROWS_PER_PRODUCT * (left.shape[1] + MEMBERS_PER_PRODUCT), dtype=left.dtype)
        self._offer_lists(
            left, right, members, bounds, rows, ends, self._own, self._n, self._k, self._best, self._indices,
            self._counts, self._limits, scratch,
        )  # fmt: skip

    def found(self, workers: Workers) -> tuple[NDArray[np.floating], NDArray[np.int32], NDArray[np.int32]]:
        """Return the values and the indices of the nearest candidates, in any order, and their number for each row.

        A row has k candidates, or fewer if fewer were offered; entries beyond its number are undefined.
        """
        run = partial(self._select, self._best, self._indices, self._counts, self._own, self._n, self._k)
        workers.run(run, len(self._own), SORT_COST * self._k)
        return self._best[:, : self._k], self._indices[:, : self._k], self._counts


def sort_neighbors(
    distances: NDArray[np.float64], indices: NDArray[np.int32], own: NDArray[np.int32], n: int, workers: Workers
) -> None:
    """Sort neighbors in place by distance, and those at equal distances by cyclic offset."""
    routine = choose("neighbors", "sort_neighbors", sort_neighbors_reference)
    workers.run(partial(routine, distances, indices, own, n), len(own), SORT_COST * indices.shape[1])


def pair_distances(
    new: NDArray[np.floating], X: NDArray[np.floating], indices: NDArray[np.int32], workers: Workers
) -> NDArray[np.float64]:
    """Return the Euclidean distances from rows of ``new`` to the rows ``indices`` of X, by differences.

    The distance of a pair depends only on its two rows, to the last bit.

    Parameters
    ----------
    new : ndarray of shape (m, n_columns), float32 or float64
        Rows.
    X : ndarray of shape (n, n_columns), float32 or float64
        Rows.
    indices : ndarray of shape (m, k), int32
        The rows of X for each row of ``new``.
    workers : Workers
        The threads to use.

    Returns
    -------
    distances : ndarray of shape (m, k), float64
        The distances.
    """
    distances = np.empty(indices.shape)
    routine = choose("neighbors", "pair_distances", pair_distances_reference, c_type(new.dtype), c_type(X.dtype))
    workers.run(partial(routine, new, X, indices, distances), len(new), indices.shape[1] * X.shape[1])
    return distances
