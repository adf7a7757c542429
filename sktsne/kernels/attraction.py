r"""The attractive force: a sum over the affinities.

    A_i = Σ_j s_ij a_ij (y_i − y_j)         k_i = Σ_j s_ij a_ij         cross = Σ_i Σ_j −s_ij log w_ij

with the symmetric affinities ``s``, sparse or dense, and the similarity's ``w`` and ``a`` at r²_ij. The stiffness
``k_i`` is that of the springs that pull at point i. The caller exaggerates by multiplying ``A`` and ``k``; the
affinities stay as they are.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .._checks import as_affinities, as_floats
from .._native import choose
from ..parallel import Workers
from ..similarities import Similarity, similarity_of
from .contract import check_parts, check_points

# Elements of a temporary array (rows × columns) in the references, so that it fits in the cache.
REFERENCE_BLOCK = 100_000


def sparse_attraction_reference(
    data: NDArray[np.floating],
    indices: NDArray[np.integer],
    indptr: NDArray[np.integer],
    points: NDArray[np.floating],
    dof: float,
    with_cost: bool,
    force: NDArray[np.float64],
    stiffness: NDArray[np.float64],
    costs: NDArray[np.float64],
    start: int,
    stop: int,
) -> None:
    """Fill rows ``start`` to ``stop`` of ``force``, ``stiffness`` and ``costs``: sums of -s log w, or 0."""
    similarity = similarity_of(dof)
    entries = slice(indptr[start], indptr[stop])
    rows = np.repeat(np.arange(start, stop), np.diff(indptr[start : stop + 1]))
    differences = points[rows] - points[indices[entries]]
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
    """Fill rows ``start`` to ``stop`` of ``force``, ``stiffness`` and ``costs``: sums of -s log w, or 0."""
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


class Attraction:
    """The attractive force of fixed affinities.

    Parameters
    ----------
    affinities : csr_array or ndarray of shape (n, n), or csr_array of shape (n, m)
        Symmetric, with a zero diagonal; finite and not negative.
    similarity : Similarity
        Its ``dof`` gives w and a.
    workers : Workers
        The threads to use.
    dtype : type, default=numpy.float64
        Of the arithmetic with sparse affinities: float32 halves the memory that every iteration reads.
    fixed : ndarray of shape (m, d), default=None
        Points that do not move, and pull at the points that do: the columns of the affinities. By default the points
        pull at each other.
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
        affinities = as_affinities("affinities", affinities, None if fixed is None else len(fixed))
        self._n = affinities.shape[0]
        self._dof = similarity.dof
        self._workers = workers
        self._dtype = dtype
        self._sparse = not isinstance(affinities, np.ndarray)
        if not isinstance(affinities, np.ndarray):
            types = "float" if dtype == np.float32 else "double", f"{affinities.indices.dtype}_t"
            routine = choose("attraction", "sparse_attraction", sparse_attraction_reference, *types)
            # Copies, which nobody else can change after they were checked. Fixed points follow those that move.
            indices = affinities.indices + (0 if fixed is None else self._n)
            self._run = partial(routine, affinities.data.astype(dtype, copy=False), indices, affinities.indptr.copy())
            self._row_cost = 4 * max(1, affinities.nnz // max(1, self._n))
        elif fixed is None:
            routine = choose("attraction", "dense_attraction", dense_attraction_reference)
            self._run = partial(routine, affinities)
            self._row_cost = self._n
        else:
            raise TypeError("affinities must be a csr_array where there are fixed points.")
        self._force = np.empty((0, 0))
        self._stiffness, self.costs = np.empty((2, self._n))
        self._points: NDArray[np.floating] | None = None
        if fixed is not None:
            self._points = np.concatenate([np.zeros((self._n, fixed.shape[1])), fixed]).astype(dtype)

    def __call__(
        self, Y: NDArray[np.float64], with_cost: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Return the force ``A`` (n, d), the stiffness ``k`` (n,) and the sum ``cross``, 0 unless ``with_cost``.

        The attribute ``costs`` (n,) holds each point's part of ``cross``. The next call reuses all arrays.

        ``Y`` is the embedding, of shape (n, d).
        """
        Y = as_floats("Y", Y, (self._n, "d" if self._points is None else self._points.shape[1]))
        if Y.shape[1] == 0:
            raise ValueError(f"Y has shape {Y.shape}, must have at least one column.")
        if self._force.shape != Y.shape:
            self._force = np.empty_like(Y)
        if self._points is not None:
            self._points[: self._n] = Y
            points = self._points
        else:
            points = Y.astype(self._dtype, copy=False) if self._sparse else np.ascontiguousarray(Y.T)
        run = partial(self._run, points, self._dof, with_cost, self._force, self._stiffness, self.costs)
        self._workers.run(run, self._n, self._row_cost)
        return self._force, self._stiffness, float(self.costs.sum()) if with_cost else 0.0
