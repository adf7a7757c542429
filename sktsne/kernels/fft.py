r"""The FFT kernel: a potential by a particle-mesh method, in time that grows with n and the mesh.

    1. spread      ρ_g = Σ_j c_j B(y_j/h − g)                         cubic B-splines, mesh spacing h
    2. convolve    Φ = F⁻¹[ F[w(h g)] / b² · F[ρ] ],  b(θ) = Π (2 + cos θ) / 3,  zero-padded
    3. read        φ(y) = Σ_g Φ_g B(y/h − g),   ∇φ by the splines' derivatives

Both splines smooth by their sampled transform b, which the division undoes, as in smooth particle-mesh Ewald
(Essmann et al. 1995). A point's own charge is not quite w(0) at the point, and pulls it towards the nodes; what it does
depends on the place within a cell only, is tabulated, and is taken off. What error remains comes from sampling w at the
spacing h.

The mesh (:mod:`.mesh`) is that of the points' box, in one of a few sizes; it keeps the transforms of w, so that a
potential costs two transforms of each part.
"""

from __future__ import annotations

import math
import warnings
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from .._native import choose
from ..parallel import Workers
from ..similarities import Similarity
from .exact import ExactKernel
from .mesh import SUPPORT, Mesh, read_reference, spread_reference

SPACING = 0.35
# Nodes along an axis, before padding: 2 components and this many need 330 MB while the mesh is made.
MAX_NODES = {1: 2**20, 2: 2500}
# Sizes of meshes are powers of this, about: a map that grows seldom gets another. The last ones are kept, for maps
# whose size goes to and fro.
GROWTH = 2.0**0.2
MESHES_KEPT = 2
# A potential below this part of the largest has lost its digits in float32, and is summed directly; likewise what
# charges add of which the smallest is below this part: SNE's, the inverse potentials, when points are isolated.
ISOLATED = 1e-4
# The mesh holds each point's own part, too, with an error of 1e-5 of its charge: below this part of that, what others
# contribute is summed directly.
OWN = 1e-2
# Larger charges, in SNE those of points that are all isolated, would overflow in float32.
HUGE = 1e30


class FFTKernel:
    """Particle-mesh potentials, for 1 and 2 components; see :class:`sktsne.kernels.GradientKernel` for the contract.

    Where the mesh would be too large, a few points far from the others are left out of it and summed directly; if there
    are many, the mesh is made coarser, with a warning. Points so isolated that their potential is lost in the rounding
    of the others' are summed directly, too, and so are charges that are 10,000 times as large as the smallest.

    Parameters
    ----------
    similarity : Similarity
        The weight of a pair.
    workers : Workers
        The threads to use.
    spacing : float, default=0.35
        The distance of two nodes of the mesh. Smaller is more accurate and slower. Below ½ degree of freedom it is
        less, like the width of the weight's peak.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.parallel import Workers
    >>> from sktsne.kernels import FFTKernel
    >>> from sktsne.similarities import StudentT
    >>> kernel = FFTKernel(StudentT(), Workers())
    >>> kernel.set_points(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]))
    >>> phi, grad_phi = kernel.potential()
    >>> phi.round(2), grad_phi.shape
    (array([0.7 , 0.67, 0.37]), (3, 2))
    """

    max_components: int | None = 2
    dtype: type[np.floating] = np.float32

    def __init__(self, similarity: Similarity, workers: Workers, spacing: float = SPACING) -> None:
        self._similarity = similarity
        self._workers = workers
        # The peak has the width √α; the forces' error doubles from α = 1 to ½, and there it stays.
        self._spacing = spacing * min(1.0, math.sqrt(2.0 * similarity.dof))
        self._mesh: Mesh | None = None
        self._meshes: dict[tuple[tuple[int, ...], float], Mesh] = {}
        self._unit_nodes: NDArray[np.float32] | None = None
        self._spread = choose("mesh", "spread", spread_reference)
        self._read = choose("mesh", "read", read_reference)

    def set_points(self, Y: NDArray[np.float64]) -> None:
        """Place the sources: ``Y`` of shape (n, d)."""
        self._Y, self._unit_nodes = Y, None
        near, (low, high) = Y, _bounds(Y)
        self._far = self._far_points(Y, float(np.max(high - low)))
        if self._far is not None:
            near = Y[~self._far]
            low, high = _bounds(near)
        self._mesh = self._mesh_around(low, high)
        self._coordinates = self._mesh.coordinates(near)

    def _far_points(self, Y: NDArray[np.float64], extent: float) -> NDArray[np.bool_] | None:
        """Return a mask of the points that a mesh of full size leaves out, or None: there are none, or too many."""
        reach = 0.5 * self._spacing * (MAX_NODES[Y.shape[1]] - 2 * SUPPORT)
        if extent <= 2.0 * reach:
            return None
        far = np.any(np.abs(Y - np.median(Y, axis=0)) > reach, axis=1)
        return far if 0 < np.count_nonzero(far) <= math.sqrt(len(Y)) else None

    def _mesh_around(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> Mesh:
        """Return the mesh of a box; coarser where the box is too large for the spacing.

        It depends on the box only, not on those before. Its nodes are at multiples of the spacing, wherever the box is.
        """
        span, limit = float(np.max(high - low)), MAX_NODES[len(low)] - 2 * SUPPORT
        spacing = self._spacing
        if span > spacing * limit:
            spacing *= GROWTH ** math.ceil(math.log(span / (spacing * limit), GROWTH))
            warnings.warn(
                f"The map spans {span:.4g}, so the FFT kernel's mesh gets a spacing of {spacing:.3g} in place of "
                f"{self._spacing:.3g}, and is less accurate.",
                UserWarning,
                stacklevel=2,
            )
        # Places are told from the lowest point: far from 0, a node has no number of its own.
        fraction = np.mod(low, spacing) / spacing
        needed = np.floor((high - low) / spacing + fraction).astype(np.intp) + 1 + 2 * SUPPORT
        nodes = tuple(_mesh_size(int(number), MAX_NODES[len(low)]) for number in needed)
        if (nodes, spacing) not in self._meshes:
            self._meshes = dict(list(self._meshes.items())[1 - MESHES_KEPT :])
            self._meshes[nodes, spacing] = Mesh(nodes, spacing, self._similarity, self._workers)
        mesh = self._meshes[nodes, spacing]
        mesh.corner, mesh.corner_place = low, fraction + SUPPORT + (np.array(nodes) - needed) // 2
        return mesh

    def potential(
        self,
        charges: NDArray[np.float64] | None = None,
        at: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ (m,) and ∇φ (m, d) of the points, at themselves (without the self-term) or ``at``."""
        assert self._mesh is not None, "set_points comes first"
        c = np.ones(len(self._Y)) if charges is None else charges
        if charges is not None:
            heavy = c * ISOLATED > np.min(c, initial=np.inf, where=c > 0.0)
            if heavy.any():
                return self._with_heavy(c, heavy, at)
            if (largest := float(c.max())) > HUGE:
                phi, grad_phi = self.potential(c / largest, at)
                return largest * phi, largest * grad_phi
        near_c = c if self._far is None else c[~self._far]
        if at is None:
            return self._at_points(self._convolve(near_c), c, near_c)
        if charges is not None:
            return self._at_others(self._convolve(near_c), c, near_c, at)
        if self._unit_nodes is None:  # kept: places are asked for many times
            self._unit_nodes = self._convolve(near_c).copy()
        return self._at_others(self._unit_nodes, c, near_c, at)

    def _convolve(self, near_c: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the potential of charges at the nodes; the array is that of the call before."""
        assert self._mesh is not None
        charged = np.zeros(self._mesh.shape, dtype=np.float32)
        self._workers.divide(partial(self._spread, self._coordinates, near_c, charged), len(charged), 15 * len(near_c))
        return self._mesh.convolve(charged)

    def _with_heavy(
        self, c: NDArray[np.float64], heavy: NDArray[np.bool_], at: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ and ∇φ with the heavy charges summed directly: on the mesh their rounding would bury the others."""
        phi, grad_phi = self.potential(np.where(heavy, 0.0, c), at)
        parts = [(slice(None), at)] if at is not None else [(heavy, None), (~heavy, self._Y[~heavy])]
        for where, places in parts:
            heavy_phi, heavy_grad = self._sum(heavy, c, places)
            phi[where] += heavy_phi
            grad_phi[where] += heavy_grad
        return phi, grad_phi

    def _at_points(
        self, nodes: NDArray[np.float32], c: NDArray[np.float64], near_c: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        phi, grad_phi = self._read_nodes(nodes, near_c, self._coordinates, exclude_self=True)
        if self._far is not None:
            self._add_far(c, self._Y[~self._far], phi, grad_phi)
            phi, grad_phi = self._scatter(~self._far, phi, grad_phi)
        alone = phi < np.maximum(ISOLATED * phi.max(), OWN * c)
        if alone.any():
            # Among each other, and from all the rest: never as a difference, in which a small potential is lost.
            phi[alone], grad_phi[alone] = self._sum(alone, c)
            for total, part in zip((phi, grad_phi), self._sum(~alone, c, self._Y[alone]), strict=True):
                total[alone] += part
        return phi, grad_phi

    def _at_others(
        self, nodes: NDArray[np.float32], c: NDArray[np.float64], near_c: NDArray[np.float64], at: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        assert self._mesh is not None
        coordinates = self._mesh.coordinates(at)
        covered = self._mesh.on_mesh(coordinates)
        phi, grad_phi = self._read_nodes(nodes, near_c, coordinates[covered], exclude_self=False)
        if self._far is not None:
            self._add_far(c, at[covered], phi, grad_phi)
        phi, grad_phi = self._scatter(covered, phi, grad_phi)
        direct = ~covered | (phi < ISOLATED * nodes.max())
        if direct.any():
            everything = np.ones(len(c), dtype=bool)
            phi[direct], grad_phi[direct] = self._sum(everything, c, at[direct])
        return phi, grad_phi

    def _read_nodes(
        self,
        nodes: NDArray[np.float32],
        charges: NDArray[np.float64],
        coordinates: NDArray[np.float64],
        exclude_self: bool,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ and ∇φ of the mesh at places on it."""
        assert self._mesh is not None
        phi, grad_phi = np.empty(len(coordinates)), np.empty(coordinates.shape)
        read = partial(self._read, coordinates, nodes, charges, self._mesh.self_terms, exclude_self, phi, grad_phi)
        self._workers.run(read, len(coordinates), 50)
        grad_phi /= self._mesh.spacing
        return phi, grad_phi

    def _sum(
        self, sources: NDArray[np.bool_], c: NDArray[np.float64], at: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ and ∇φ of some of the points by plain sums."""
        kernel = ExactKernel(self._similarity, self._workers)
        kernel.set_points(self._Y[sources])
        return kernel.potential(c[sources], at)

    def _add_far(
        self, c: NDArray[np.float64], at: NDArray[np.float64], phi: NDArray[np.float64], grad_phi: NDArray[np.float64]
    ) -> None:
        """Add, in place, what the points beside the mesh contribute."""
        assert self._far is not None
        far_phi, far_grad = self._sum(self._far, c, at)
        phi += far_phi
        grad_phi += far_grad

    @staticmethod
    def _scatter(
        where: NDArray[np.bool_], phi: NDArray[np.float64], grad_phi: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return arrays with a row for each entry of ``where``, zero where it is false."""
        all_phi, all_grad = np.zeros(len(where)), np.zeros((len(where), grad_phi.shape[1]))
        all_phi[where], all_grad[where] = phi, grad_phi
        return all_phi, all_grad


def _mesh_size(needed: int, limit: int) -> int:
    """Return the number of nodes of the smallest mesh that has those needed, which are hardly more than the limit."""
    exponent = math.floor(math.log(needed, GROWTH))
    sizes = [int(fft.next_fast_len(math.ceil(GROWTH**e), real=True)) for e in (exponent, exponent + 1)]
    sizes.append(int(fft.next_fast_len(needed, real=True)))
    return next(size for size in sizes if size >= needed and (size <= limit or size == sizes[-1]))


def _bounds(Y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the smallest and the largest coordinates; column by column, which NumPy does ten times faster."""
    return np.array([y.min() for y in Y.T]), np.array([y.max() for y in Y.T])
