r"""The attraction: the force with which each point pulls its neighbors, a sum over the affinities.

    A_i = Σ_j s_ij a_ij (y_i − y_j)         k_i = Σ_j s_ij a_ij         cross = Σ_i Σ_j −s_ij log w_ij

s are symmetric affinities, sparse or dense; w_ij and a_ij are the weight and the decay of the similarity at the squared
distance r²_ij. −A_i is the force of springs between y_i and all y_j with the spring constants s_ij a_ij. The sum of the
spring constants, k_i, is the stiffness of point i. The caller exaggerates by multiplying A and k, so that the
affinities stay unchanged.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from .._checks import as_affinities, as_floats, is_constant
from .._native import c_type, choose
from ..parallel import Workers
from ..similarities import Similarity, similarity_of
from .contract import check_parts, check_points

REFERENCE_BLOCK = 100_000  # the number of pairs whose terms the references compute at a time, to stay in the cache


def sparse_attraction_reference(
    data: NDArray[np.floating],
    indices: NDArray[np.integer],
    indptr: NDArray[np.integer],
    points: NDArray[np.floating],
    first: int,
    dof: float,
    with_cost: bool,
    force: NDArray[np.float64],
    stiffness: NDArray[np.float64],
    costs: NDArray[np.float64],
    start: int,
    stop: int,
) -> None:
    """Fill rows ``start`` to ``stop`` of ``force``, ``stiffness`` and ``costs`` from affinities in CSR format.

    Row i belongs to the point ``first + i``, and the columns to all points. The cost of a row is its sum of -s log w
    with ``with_cost``, and 0 otherwise.
    """
    similarity = similarity_of(dof)
    entries = slice(indptr[start], indptr[stop])
    rows = np.repeat(np.arange(start, stop), np.diff(indptr[start : stop + 1]))
    differences = points[first + rows] - points[indices[entries]]
    r2 = np.einsum("ij,ij->i", differences, differences)
    pull = data[entries] * similarity.decay(r2)
    stiffness[start:stop] = np.bincount(rows - start, pull, minlength=stop - start)
    for k in range(points.shape[1]):
        force[start:stop, k] = np.bincount(rows - start, pull * differences[:, k], minlength=stop - start)
    cross = data[entries] * similarity.negative_log_weight(r2) if with_cost else np.zeros(len(rows))
    costs[start:stop] = np.bincount(rows - start, cross, minlength=stop - start)


def dense_attraction_reference(
    affinities: NDArray[np.float64],
    coordinates: NDArray[np.float64],
    dof: float,
    with_cost: bool,
    force: NDArray[np.float64],
    stiffness: NDArray[np.float64],
    costs: NDArray[np.float64],
    start: int,
    stop: int,
) -> None:
    """Fill rows ``start`` to ``stop`` of ``force``, ``stiffness`` and ``costs`` from a matrix of affinities.

    The cost of a row is its sum of -s log w with ``with_cost``, and 0 otherwise.
    """
    similarity = similarity_of(dof)
    step = max(1, REFERENCE_BLOCK // coordinates.shape[1])
    for first in range(start, stop, step):
        rows = slice(first, min(first + step, stop))
        differences = coordinates[:, rows, None] - coordinates[:, None, :]
        r2 = np.einsum("kij,kij->ij", differences, differences)
        pull = affinities[rows] * similarity.decay(r2)
        stiffness[rows] = pull.sum(axis=1)
        force[rows] = np.einsum("ij,kij->ik", pull, differences)
        costs[rows] = np.sum(affinities[rows] * similarity.negative_log_weight(r2), axis=1) if with_cost else 0.0


class AffinityRows:
    """Sparse affinities of some points to many, and the attraction that follows from them.

    Parameters
    ----------
    affinities : csr_array of shape (n, n_columns)
        Affinities, finite and not negative.
    similarity : Similarity
        The similarity that gives w and a.
    workers : Workers
        The threads to use.
    dtype : type
        The precision of the arithmetic, numpy.float32 or numpy.float64.
    n_columns : int, default=None
        The number of columns; by default the number of rows.
    """

    def __init__(
        self,
        affinities: csr_array,
        similarity: Similarity,
        workers: Workers,
        dtype: type[np.floating],
        n_columns: int | None = None,
    ) -> None:
        check_parts(similarity, workers)
        affinities = as_affinities("affinities", affinities, n_columns)
        self.n_points, self._n_columns = affinities.shape
        self._dof, self._workers = similarity.dof, workers
        types = c_type(dtype), f"{affinities.indices.dtype}_t"
        routine = choose("attraction", "sparse_attraction", sparse_attraction_reference, *types)
        # Indices that somebody could change after they were checked are copied.
        indices, indptr = (a if is_constant(a) else a.copy() for a in (affinities.indices, affinities.indptr))
        self._run = partial(routine, affinities.data.astype(dtype, copy=False), indices, indptr)
        self._row_cost = 4 * max(1, affinities.nnz // max(1, self.n_points))

    def attract(
        self,
        points: NDArray[np.floating],
        first: int,
        with_cost: bool,
        force: NDArray[np.float64],
        stiffness: NDArray[np.float64],
        costs: NDArray[np.float64],
    ) -> None:
        """Fill ``force`` of shape (n, d), and ``stiffness`` and ``costs`` of shape (n,).

        Point i of these is ``points[first + i]``, and column j of the affinities belongs to ``points[j]``. The points
        have the precision of the arithmetic.
        """
        # Compiled loops check the dtypes of arrays, the numbers of axes and the order in memory, but no lengths.
        wanted = (self.n_points, *points.shape[1:]), (self.n_points,), (self.n_points,)
        if (force.shape, stiffness.shape, costs.shape) != wanted or 0 in points.shape[1:]:
            raise ValueError(
                f"force, stiffness and costs have shapes {force.shape}, {stiffness.shape} and {costs.shape}, must have "
                f"{self.n_points} rows, and force the columns of the points, which have shape {points.shape}."
            )
        if not 0 <= first <= len(points) - self.n_points or len(points) < self._n_columns:
            raise ValueError(
                f"first == {first}, and there are {len(points)} points for affinities of shape "
                f"{(self.n_points, self._n_columns)}."
            )
        run = partial(self._run, points, first, self._dof, with_cost, force, stiffness, costs)
        self._workers.run(run, self.n_points, self._row_cost)


class Attraction:
    """Compute the attraction of an embedding under fixed affinities.

    Parameters
    ----------
    affinities : csr_array or ndarray of shape (n, n), or csr_array of shape (n, m)
        Affinities, finite and not negative. Those of points that pull each other are symmetric with a zero diagonal.
    similarity : Similarity
        The similarity that gives w and a.
    workers : Workers
        The threads to use.
    dtype : type, default=numpy.float64
        The precision of the arithmetic with sparse affinities. float32 halves the memory that every iteration reads.
    fixed : ndarray of shape (m, d), default=None
        Points that pull the n points of the embedding, and do not move themselves. Column j of the affinities belongs
        to fixed point j. By default the points of the embedding pull each other.
    """

    def __init__(
        self,
        affinities: csr_array | NDArray[np.float64],
        similarity: Similarity,
        workers: Workers,
        dtype: type[np.floating] = np.float64,
        fixed: NDArray[np.float64] | None = None,
    ) -> None:
        check_parts(similarity, workers)
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"dtype == {dtype!r}, must be numpy.float32 or numpy.float64.")
        if fixed is not None:
            fixed = check_points(fixed, None)
        self._workers, self._dtype = workers, dtype
        self._rows: AffinityRows | None = None
        if issparse(affinities):
            self._rows = AffinityRows(affinities, similarity, workers, dtype, None if fixed is None else len(fixed))
            self._n = self._rows.n_points
        elif fixed is None:
            routine = choose("attraction", "dense_attraction", dense_attraction_reference)
            affinities = as_affinities("affinities", affinities)
            self._n = len(affinities)
            self._run = partial(routine, affinities)
        else:
            raise TypeError("affinities must be a csr_array where there are fixed points.")
        self._dof = similarity.dof
        self._force = np.empty((0, 0))
        self._stiffness, self.costs = np.empty((2, self._n))
        self._points: NDArray[np.floating] | None = None
        if fixed is not None:
            # The fixed points come first, so that the columns of the affinities are their places.
            self._points = np.concatenate([fixed, np.zeros((self._n, fixed.shape[1]))]).astype(dtype)

    def __call__(
        self, Y: NDArray[np.float64], with_cost: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Return A, k and cross at an embedding; see the formulas in the head of this module.

        Parameters
        ----------
        Y : ndarray of shape (n, d)
            The embedding.
        with_cost : bool, default=False
            Whether to compute the cross entropy.

        Returns
        -------
        force : ndarray of shape (n, d), float64
            A. The next call overwrites this array and the following one.
        stiffness : ndarray of shape (n,), float64
            k.
        cross : float
            The cross entropy, or 0 without ``with_cost``. The attribute ``costs``, an array of shape (n,), holds the
            part of each point.
        """
        Y = as_floats("Y", Y, (self._n, "d" if self._points is None else self._points.shape[1]))
        if Y.shape[1] == 0:
            raise ValueError(f"Y has shape {Y.shape}, must have at least one column.")
        if self._force.shape != Y.shape:
            self._force = np.empty_like(Y)
        if self._rows is None:
            run = partial(
                self._run, np.ascontiguousarray(Y.T), self._dof, with_cost, self._force, self._stiffness, self.costs
            )
            self._workers.run(run, self._n, self._n)
        else:
            points, first = self._points, 0
            if points is None:
                points = Y.astype(self._dtype, copy=False)
            else:
                first = len(points) - self._n
                points[first:] = Y
            self._rows.attract(points, first, with_cost, self._force, self._stiffness, self.costs)
        return self._force, self._stiffness, float(self.costs.sum()) if with_cost else 0.0
