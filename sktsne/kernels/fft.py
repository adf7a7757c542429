r"""The FFT kernel: a potential by a particle-mesh method, in time that grows with n and the mesh.

    1. spread      ρ_g = Σ_j c_j B(y_j/h − g)                         cubic B-splines, mesh spacing h
    2. convolve    Φ = F⁻¹[ F[w(h g)] / b² · F[ρ] ],  b(θ) = Π (2 + cos θ) / 3,  zero-padded
    3. read        φ(y) = Σ_g Φ_g B(y/h − g),   ∇φ by the splines' derivatives

Spreading and reading each smooth by the splines' sampled transform b, which the division by b² undoes, as in smooth
particle-mesh Ewald (Essmann et al. 1995). The mesh gives a point's own charge not quite w(0) at the point, and a force
towards the nodes; both depend on the place within a cell only, are tabulated, and are subtracted. The remaining error
comes from sampling w at the spacing h.

The mesh (:mod:`.mesh`) covers the points' box, in one of a few sizes, and keeps the transforms of w: a potential costs
two transforms for each part of w.
"""

from __future__ import annotations

import math
import warnings
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from .._checks import check_number
from .._native import choose
from ..parallel import Workers
from ..similarities import Similarity
from .contract import check_parts, check_points, check_request
from .exact import ExactKernel
from .mesh import SUPPORT, Mesh, read_reference, spread_reference

SPACING = 0.35
# The largest number of nodes along an axis, before padding, by the number of components. A mesh of 2500 by 2500 nodes
# needs 330 MB while it is made.
MAX_NODES = {1: 2**20, 2: 2500}
# The sizes of meshes are roughly powers of GROWTH, so that a growing map seldom needs a new mesh. The last MESHES_KEPT
# meshes are kept for maps whose size goes to and fro.
GROWTH = 2.0**0.2
MESHES_KEPT = 2
# A potential below this part of the largest one has lost its digits in float32, and is summed directly. A charge is
# summed directly if this part of it exceeds the smallest one, as with SNE's inverse potentials of isolated points.
ISOLATED = 1e-4
# The mesh includes each point's own charge, with an error of 1e-5 of it. Where all others contribute less than 1 % of
# that charge, sum directly.
OWN = 1e-2
# A map that spans less than this, as all maps do at first, has differences of forces below the mesh's error. Charges so
# near to each other act as one charge at their center, with a relative error of the forces below 1e-3.
SMALL = 0.03
# Larger charges, which SNE gives to points that are all isolated, would overflow in float32.
HUGE = 1e30


class FFTKernel:
    """Particle-mesh potentials, for 1 and 2 components; see :class:`sktsne.kernels.GradientKernel` for the contract.

    Where the mesh would be too large, a few points far from the others, the outliers, are left out of the mesh and
    summed directly; if there are many such points, the mesh is made coarser, with a warning. Also summed directly are
    points so isolated that rounding hides their potential, and charges 10,000 times as large as the smallest one.

    Parameters
    ----------
    similarity : Similarity
        The weight of a pair.
    workers : Workers
        The threads to use.
    spacing : float, default=0.35
        The distance of two nodes of the mesh; smaller is more accurate and slower. Below ½ degree of freedom the
        nodes are nearer to each other, in proportion to the width of the weight's peak.

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
        check_parts(similarity, workers)
        check_number("spacing", spacing, Real, 0, low_included=False)
        self._similarity = similarity
        self._workers = workers
        # The weight's peak has the width √α. The error of the forces doubles from α = 1 to ½; below ½ it is kept there.
        self._spacing = spacing * min(1.0, math.sqrt(2.0 * similarity.dof))
        self._points: Any = None  # None until set_points has prepared everything
        self._meshes: dict[tuple[tuple[int, ...], float], Mesh] = {}
        self._unit_nodes: NDArray[np.float32] | None = None
        self._spread = choose("mesh", "spread", spread_reference)
        self._read = choose("mesh", "read", read_reference)

    def set_points(self, Y: NDArray[np.float64]) -> None:
        """Place the sources: ``Y`` of shape (n, d)."""
        self._points = None  # until all is prepared, in case that memory ends
        points = check_points(Y, self.max_components)
        low, high = _bounds(points)
        with np.errstate(over="ignore"):
            extent = float(np.max(high - low))
        if not math.isfinite(extent / self._spacing):
            raise FloatingPointError("Y spans too much for float64: the differences of its points overflow.")
        self._small = extent < SMALL
        if self._small:
            self._points = points
            return
        near, self._outliers = points, self._find_outliers(points, extent)
        if self._outliers is not None:
            near = points[~self._outliers]
            low, high = _bounds(near)
        self._mesh = self._mesh_around(low, high)
        self._coordinates = self._mesh.coordinates(near)
        self._points, self._unit_nodes = points, None

    def _find_outliers(self, Y: NDArray[np.float64], extent: float) -> NDArray[np.bool_] | None:
        """Return a mask of the points outside a mesh of full size; None where there are no such points, or too many."""
        reach = 0.5 * self._spacing * (MAX_NODES[Y.shape[1]] - 2 * SUPPORT)
        if extent <= 2.0 * reach:
            return None
        outside = np.any(np.abs(Y - np.median(Y, axis=0)) > reach, axis=1)
        return outside if 0 < np.count_nonzero(outside) <= math.sqrt(len(Y)) else None

    def _mesh_around(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> Mesh:
        """Return the mesh of a box, coarser where the box is too large for the spacing.

        The mesh depends on the box only, not on the boxes before. The nodes are at multiples of the spacing.
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
        # Mesh coordinates count from the lowest point, because far from 0 rounding would make nodes coincide.
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
        _, given, places = check_request(self._points, charges, at)
        return self._potential(given, places)

    def _potential(
        self, charges: NDArray[np.float64] | None, at: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        c = np.ones(len(self._points)) if charges is None else charges
        if self._small:
            return self._as_one_charge(c, at)
        if charges is not None:
            heavy = c * ISOLATED > np.min(c, initial=np.inf, where=c > 0.0)
            if heavy.any():
                return self._with_heavy(c, heavy, at)
            if (largest := float(c.max())) > HUGE:
                phi, grad_phi = self._potential(c / largest, at)
                return largest * phi, largest * grad_phi
        near_c = c if self._outliers is None else c[~self._outliers]
        if at is None:
            return self._at_points(self._convolve(near_c), c, near_c)
        if charges is not None:
            return self._at_others(self._convolve(near_c), c, near_c, at)
        if self._unit_nodes is None:  # kept, because `place` asks for potentials of unit charges many times
            self._unit_nodes = self._convolve(near_c).copy()
        return self._at_others(self._unit_nodes, c, near_c, at)

    def _as_one_charge(
        self, c: NDArray[np.float64], at: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ and ∇φ of all charges c_j at their center m: φ = w(r²) Σ c_j (1 − |y_j − m|²), with r = |y − m|."""
        # Places count from the first point, because far from 0 rounding would move the center out of the map.
        first, total = self._points[0], c.sum()
        places = self._points - first
        center = (c[:, None] * places).sum(axis=0) / total if total > 0.0 else places.mean(axis=0)
        spread = np.sum(c * np.sum((places - center) ** 2, axis=1))
        difference = (places if at is None else at - first) - center
        r2 = np.sum(difference * difference, axis=1)
        w = self._similarity.weight(r2)
        phi = w * (total - spread)
        if at is None:
            phi -= c
        return phi, -2.0 * total * (self._similarity.decay(r2) * w)[:, None] * difference

    def _convolve(self, near_c: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the potential of charges at the nodes, in an array that the next call reuses."""
        charged = np.zeros(self._mesh.shape, dtype=np.float32)
        self._workers.divide(partial(self._spread, self._coordinates, near_c, charged), len(charged), 15 * len(near_c))
        return self._mesh.convolve(charged)

    def _with_heavy(
        self,
        c: NDArray[np.float64],
        heavy: NDArray[np.bool_],
        at: NDArray[np.float64] | None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ and ∇φ with the heavy charges summed directly: on the mesh their rounding would bury the others."""
        phi, grad_phi = self._potential(np.where(heavy, 0.0, c), at)
        parts = [(slice(None), at)] if at is not None else [(heavy, None), (~heavy, self._points[~heavy])]
        for where, places in parts:
            heavy_phi, heavy_grad = self._sum(self._points[heavy], c[heavy], places)
            phi[where] += heavy_phi
            grad_phi[where] += heavy_grad
        return phi, grad_phi

    def _at_points(
        self,
        nodes: NDArray[np.float32],
        c: NDArray[np.float64],
        near_c: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        phi, grad_phi = self._read_nodes(nodes, near_c, self._coordinates, exclude_self=True)
        if self._outliers is not None:
            self._add_outliers(c, self._points[~self._outliers], phi, grad_phi)
            phi, grad_phi = self._scatter(~self._outliers, phi, grad_phi)
        alone = phi < np.maximum(ISOLATED * phi.max(), OWN * c)
        if alone.any():
            # Two sums, from isolated points and from the others, since a difference would lose a small potential.
            phi[alone], grad_phi[alone] = self._sum(self._points[alone], c[alone])
            others = self._sum(self._points[~alone], c[~alone], self._points[alone])
            phi[alone] += others[0]
            grad_phi[alone] += others[1]
        return phi, grad_phi

    def _at_others(
        self,
        nodes: NDArray[np.float32],
        c: NDArray[np.float64],
        near_c: NDArray[np.float64],
        at: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        coordinates = self._mesh.coordinates(at)
        covered = self._mesh.on_mesh(coordinates)
        phi, grad_phi = self._read_nodes(nodes, near_c, coordinates[covered], exclude_self=False)
        if self._outliers is not None:
            self._add_outliers(c, at[covered], phi, grad_phi)
        phi, grad_phi = self._scatter(covered, phi, grad_phi)
        direct = ~covered | (phi < ISOLATED * nodes.max())
        if direct.any():
            phi[direct], grad_phi[direct] = self._sum(self._points, c, at[direct])
        return phi, grad_phi

    def _read_nodes(
        self,
        nodes: NDArray[np.float32],
        charges: NDArray[np.float64],
        coordinates: NDArray[np.float64],
        exclude_self: bool,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ and ∇φ of the mesh, at places on the mesh."""
        phi, grad_phi = np.empty(len(coordinates)), np.empty(coordinates.shape)
        read = partial(self._read, coordinates, nodes, charges, self._mesh.self_terms, exclude_self, phi, grad_phi)
        self._workers.run(read, len(coordinates), 50)
        grad_phi /= self._mesh.spacing
        return phi, grad_phi

    def _sum(
        self, points: NDArray[np.float64], c: NDArray[np.float64], at: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ and ∇φ of some points, which may be none, by plain sums."""
        if len(points) == 0:
            places = points if at is None else at
            return np.zeros(len(places)), np.zeros(places.shape)
        kernel = ExactKernel(self._similarity, self._workers)
        kernel.set_points(points)
        return kernel.potential(c, at)

    def _add_outliers(
        self,
        c: NDArray[np.float64],
        at: NDArray[np.float64],
        phi: NDArray[np.float64],
        grad_phi: NDArray[np.float64],
    ) -> None:
        """Add, in place, what the outliers contribute to places on the mesh."""
        outlier_phi, outlier_grad = self._sum(self._points[self._outliers], c[self._outliers], at)
        phi += outlier_phi
        grad_phi += outlier_grad

    @staticmethod
    def _scatter(
        where: NDArray[np.bool_], phi: NDArray[np.float64], grad_phi: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return arrays with a row for each entry of ``where``, zero where it is false."""
        all_phi, all_grad = np.zeros(len(where)), np.zeros((len(where), grad_phi.shape[1]))
        all_phi[where], all_grad[where] = phi, grad_phi
        return all_phi, all_grad


def _mesh_size(needed: int, limit: int) -> int:
    """Return the nodes of the smallest mesh that has at least ``needed``, which may slightly exceed ``limit``."""
    exponent = math.floor(math.log(needed, GROWTH))
    sizes = [int(fft.next_fast_len(math.ceil(GROWTH**e), real=True)) for e in (exponent, exponent + 1)]
    sizes.append(int(fft.next_fast_len(needed, real=True)))
    return next(size for size in sizes if size >= needed and (size <= limit or size == sizes[-1]))


def _bounds(Y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the smallest and the largest coordinates, column by column because NumPy is ten times faster so."""
    return np.array([y.min() for y in Y.T]), np.array([y.max() for y in Y.T])
