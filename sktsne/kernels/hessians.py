r"""Second derivatives of the attraction and of the potential at single points, with all other points held fixed.

    ∇² Σ_j s_ij (−log w_ij) = Σ_j s_ij (2a I − (4/α) a² d dᵀ)                 d = y_i − y_j
    ∇² φ_c(y_i)             = Σ_j c_j (4 (1 + 1/α) a² w d dᵀ − 2 a w I)        the sum over all j ≠ i

with w, a and the degrees of freedom α of a similarity (:mod:`sktsne.similarities`). For the Gaussian 1/α is 0. The
mathematics page of the documentation derives the formulas.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .._native import choose
from ..parallel import Workers
from ..similarities import Similarity, similarity_of
from .attraction import REFERENCE_BLOCK
from .contract import check_parts, check_points
from .fft import MAX_NODES, FFTKernel
from .mesh import SUPPORT

# Up to this many points, the second derivatives of the potential are sums over all pairs. Above, the mesh is faster.
ALL_PAIRS = 10_000
# The spacing of the mesh, and the distance from a point at which the gradient is read on both sides of the point, in
# units of the map. The gradient is also read at twice the distance, so that the error of the differences falls with the
# fourth power of the distance. For 10,000 rows of MNIST, the error of the second derivatives is 0.17 % of their root
# mean square, and up to 0.7 % for fewer degrees of freedom. For other distances it is larger. Maps wider than 370 units
# get a coarser mesh, with errors up to 8 % for the coarsest one; in wider maps all pairs are summed.
FINE_SPACING, OFFSET, COARSEST_SPACING = 0.15, 0.08, 0.35


def pair_hessians_reference(
    coordinates: NDArray[np.float64],
    charges: NDArray[np.float64],
    of_logarithm: bool,
    dof: float,
    hessians: NDArray[np.float64],
    start: int,
    stop: int,
) -> None:
    """Fill matrices ``start`` to ``stop`` of ``hessians`` (n, d, d), the second derivatives at the points themselves.

    ``coordinates`` of shape (d, n) holds the points. The other parameters are those of `potential_hessians`.
    """
    similarity = similarity_of(dof)
    step = max(1, REFERENCE_BLOCK // coordinates.size)
    for first in range(start, stop, step):
        rows = slice(first, min(first + step, stop))
        differences = coordinates[:, rows, None] - coordinates[:, None, :]
        r2 = np.einsum("kij,kij->ij", differences, differences)
        a, w = similarity.decay(r2), similarity.weight(r2)
        np.fill_diagonal(w[:, first:], 0.0)
        aw = charges * a * w
        along = 4.0 * (1.0 + 1.0 / dof) * a * aw - 4.0 * of_logarithm * aw**2
        hessians[rows] = np.einsum("ij,kij,lij->ikl", along, differences, differences)
        hessians[rows] -= 2.0 * np.eye(len(coordinates)) * np.sum(aw, axis=1)[:, None, None]


def potential_hessians(
    Y: NDArray[np.float64],
    similarity: Similarity,
    workers: Workers,
    charges: NDArray[np.float64] | None = None,
    of_logarithm: bool = False,
) -> NDArray[np.float64]:
    """Return the second derivatives of the potential of all other points at each point.

    More than 10,000 points with one or two components and unit charges are left to a mesh, in a time nearly
    proportional to n. Its errors are about 0.2 %, and up to 8 % in maps wider than 370 units. Otherwise, and in maps of
    two components wider than 870 units, all pairs are summed.

    Parameters
    ----------
    Y : ndarray of shape (n, d), float64
        The points.
    similarity : Similarity
        The similarity.
    workers : Workers
        The threads to use.
    charges : ndarray of shape (n,), default=None
        The charges c_j, which are 1 by default.
    of_logarithm : bool, default=False
        Whether Σ_j c_j² ∇w_ij ∇w_ijᵀ is subtracted. With c_j = 1 / Z_j, the result is that of Σ_j log Z_j, where w_ij
        is a term of Z_j.

    Returns
    -------
    hessians : ndarray of shape (n, d, d), float64
        The matrices.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.kernels.hessians import potential_hessians
    >>> from sktsne.parallel import Workers
    >>> from sktsne.similarities import Gaussian
    >>> potential_hessians(np.array([[0.0], [1.0]]), Gaussian(), Workers()).round(4).tolist()  # (4 - 2) / e
    [[[0.7358]], [[0.7358]]]
    """
    check_parts(similarity, workers)
    points = check_points(Y, None)
    n, d = points.shape
    if n > ALL_PAIRS and d <= 2 and charges is None and not of_logarithm:
        extent = float(max(np.ptp(y) for y in points.T))
        spacing = max(FINE_SPACING, 1.001 * extent / (MAX_NODES[d] - 2 * SUPPORT - 1))
        if spacing <= COARSEST_SPACING:
            return _by_differences(points, similarity, workers, spacing)
    hessians = np.empty((n, d, d))
    run = partial(
        choose("exact", "pair_hessians", pair_hessians_reference),
        np.ascontiguousarray(points.T),
        np.ones(n) if charges is None else charges,
        of_logarithm,
        similarity.dof,
        hessians,
    )
    workers.run(run, n, 2 * n)
    return hessians


def _by_differences(
    Y: NDArray[np.float64], similarity: Similarity, workers: Workers, spacing: float
) -> NDArray[np.float64]:
    """Return the second derivatives of the potential as differences of the gradients that a fine mesh gives."""
    kernel = FFTKernel(similarity, workers, spacing=spacing)
    kernel.set_points(Y)
    hessians = np.zeros((*Y.shape, Y.shape[1]))
    for k, axis in enumerate(np.eye(Y.shape[1])):
        for offset, factor in ((OFFSET, 8.0), (2.0 * OFFSET, -1.0)):
            h = offset * axis
            slope = kernel.potential(at=Y + h)[1] - kernel.potential(at=Y - h)[1]
            # The potential includes each point's own weight w, whose gradient at a distance h is -2 a w h.
            own = similarity.decay(np.array([offset**2])) * similarity.weight(np.array([offset**2]))
            slope += 4.0 * own * h
            hessians[:, k] += factor * slope / (12.0 * OFFSET)
    return 0.5 * (hessians + hessians.transpose(0, 2, 1))


def attraction_hessians(
    affinities: csr_array | NDArray[np.float64], Y: NDArray[np.float64], similarity: Similarity, workers: Workers
) -> NDArray[np.float64]:
    """Return the second derivatives of Σ_j s_ij (−log w_ij) with respect to y_i, for each point i.

    Parameters
    ----------
    affinities : csr_array or ndarray of shape (n, n)
        The affinities s.
    Y : ndarray of shape (n, d), float64
        The points.
    similarity : Similarity
        The similarity.
    workers : Workers
        The threads to use.

    Returns
    -------
    hessians : ndarray of shape (n, d, d), float64
        The matrices.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.kernels.hessians import attraction_hessians
    >>> from sktsne.parallel import Workers
    >>> from sktsne.similarities import StudentT
    >>> P = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> attraction_hessians(P, np.array([[0.0], [1.0]]), StudentT(), Workers()).tolist()  # 2/2 - 4/4
    [[[0.0]], [[0.0]]]
    """
    sparse = csr_array(affinities)
    n, d = Y.shape
    hessians = np.empty((n, d, d))

    def block(start: int, stop: int) -> None:
        entries = slice(sparse.indptr[start], sparse.indptr[stop])
        rows = np.repeat(np.arange(stop - start), np.diff(sparse.indptr[start : stop + 1]))
        differences = Y[start:stop][rows] - Y[sparse.indices[entries]]
        a = similarity.decay(np.einsum("ij,ij->i", differences, differences))
        pull = sparse.data[entries] * a
        bend = (4.0 / similarity.dof) * pull * a
        trace = 2.0 * np.bincount(rows, pull, minlength=stop - start)
        for k in range(d):
            for m in range(d):
                product = np.bincount(rows, bend * differences[:, k] * differences[:, m], minlength=stop - start)
                hessians[start:stop, k, m] = (trace if k == m else 0.0) - product

    workers.run(block, n, 50 * max(1, sparse.nnz // max(1, n)))
    return hessians
