r"""The exact kernel: the potential as a plain sum over all pairs, in float64.

    φ_c(y) = Σ_j c_j w(|y − y_j|²)            ∇φ_c(y) = −2 Σ_j c_j a w (y − y_j)

The time is proportional to n², the memory to n, and any number of components is possible. The errors of the other
kernels are measured against this kernel.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from .._native import choose
from ..parallel import Workers
from ..similarities import Similarity, similarity_of
from .attraction import REFERENCE_BLOCK
from .contract import check_parts, check_points, check_request


def pair_potential_reference(
    at: NDArray[np.float64],
    coordinates: NDArray[np.float64],
    charges: NDArray[np.float64],
    exclude_self: bool,
    dof: float,
    phi: NDArray[np.float64],
    grad_phi: NDArray[np.float64],
    start: int,
    stop: int,
) -> None:
    """Fill rows ``start`` to ``stop`` of ``phi`` and ``grad_phi``, the potential at ``at`` and its gradient.

    ``coordinates`` of shape (d, n) holds the sources. With ``exclude_self``, ``at`` holds the sources, too, and each is
    left out of its own sum.
    """
    similarity = similarity_of(dof)
    step = max(1, REFERENCE_BLOCK // max(1, coordinates.shape[1]))
    for first in range(start, stop, step):
        rows = slice(first, min(first + step, stop))
        differences = at[rows].T[:, :, None] - coordinates[:, None, :]
        r2 = np.einsum("kij,kij->ij", differences, differences)
        w = similarity.weight(r2)
        if exclude_self:
            np.fill_diagonal(w[:, first:], 0.0)
        phi[rows] = np.einsum("ij,j->i", w, charges)
        w *= similarity.decay(r2)
        grad_phi[rows] = -2.0 * np.einsum(
            "ij,j,kij->ik", w, charges, differences, optimize=["einsum_path", (0, 1), (0, 1)]
        )


class ExactKernel:
    """Compute potentials by sums over all pairs, for any number of components.

    See :class:`sktsne.kernels.GradientKernel` for the contract.

    Parameters
    ----------
    similarity : Similarity
        The weight of a pair.
    workers : Workers
        The threads to use.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.parallel import Workers
    >>> from sktsne.kernels import ExactKernel
    >>> from sktsne.similarities import StudentT
    >>> kernel = ExactKernel(StudentT(), Workers())
    >>> kernel.set_points(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]))
    >>> phi, grad_phi = kernel.potential()
    >>> phi.round(2), grad_phi.shape
    (array([0.7 , 0.67, 0.37]), (3, 2))
    """

    max_components: int | None = None
    dtype: type[np.floating] = np.float64

    def __init__(self, similarity: Similarity, workers: Workers) -> None:
        check_parts(similarity, workers)
        self._dof = similarity.dof
        self._workers = workers
        self._points: NDArray[np.float64] | None = None
        self._run = choose("exact", "pair_potential", pair_potential_reference)

    def set_points(self, Y: NDArray[np.float64]) -> None:
        """Set the positions of the sources, ``Y`` of shape (n, d)."""
        self._points = None  # until everything is prepared, because an allocation may fail
        points = check_points(Y, self.max_components)
        self._coordinates = np.ascontiguousarray(points.T)
        self._points = points

    def potential(
        self,
        charges: NDArray[np.float64] | None = None,
        at: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ (m,) and ∇φ (m, d) at the positions ``at``, or at the points without their own charges."""
        points, c, places = check_request(self._points, charges, at)
        targets = points if places is None else places
        phi, grad_phi = np.empty(len(targets)), np.empty(targets.shape)
        run = partial(
            self._run,
            targets,
            self._coordinates,
            np.ones(len(points)) if c is None else c,
            places is None,
            self._dof,
            phi,
            grad_phi,
        )
        self._workers.run(run, len(targets), len(points))
        return phi, grad_phi
