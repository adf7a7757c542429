r"""The FFT kernel: the potential by a particle-mesh method, in time linear in n plus the time for FFTs of a mesh.

The charges c_j at the points y_j are spread on the nodes g of a regular mesh with the spacing h. A convolution by fast
Fourier transforms F gives the potential at the nodes, from which the potential at the points is interpolated:

    1. spread      ρ_g = Σ_j c_j B(y_j/h − g)                         B is the cubic B-spline
    2. convolve    Φ = F⁻¹[ F[w(h g)] / b² · F[ρ] ],  b(θ) = Π (2 + cos θ) / 3,  zero-padded
    3. read        φ(y) = Σ_g Φ_g B(y/h − g),   and ∇φ by the derivatives of B

Spreading and reading each smooth the potential by b, the Fourier transform of the splines sampled at the nodes, and the
division by b² cancels both, as in smooth particle-mesh Ewald (Essmann et al. 1995). The remaining error comes from
sampling w with the spacing h.

The potential at a point must not include the point's own charge. The mesh gives this charge a potential that is not
exactly w(0), and a force that is not exactly 0. Both depend only on the position of the point within its cell of the
mesh. They are tabulated and subtracted.

The mesh (:mod:`.mesh`) covers the bounding box of the points, has one of a few sizes, and keeps the transform of w. A
potential therefore costs two transforms for each part of w.
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
from .mesh import SUPPORT, Mesh, Meshes, read_reference, spread_reference

# The default distance of two nodes, in units of the map, for each number of components. At the same spacing, forces in
# three components have the same error as in two, but the cost of SNE has a larger one.
SPACING = {1: 0.35, 2: 0.35, 3: 0.3}
# The largest number of nodes along an axis, before padding, for each number of components. A mesh of 2500 by 2500 nodes
# needs 330 MB of memory while it is made, and a mesh of 150 by 150 by 150 nodes 670 MB.
MAX_NODES = {1: 2**20, 2: 2500, 3: 150}
# The numbers of nodes are roughly powers of GROWTH, so that a growing map seldom needs a new mesh.
GROWTH = 2.0**0.2
# A potential below this fraction of the largest potential has lost its digits in float32, and is summed directly. A
# charge is summed directly if this fraction of the charge exceeds the smallest charge. Such charges are the inverse
# potentials that SNE gives to isolated points.
ISOLATED = 1e-4
# The potential on the mesh includes the own charge of each point, and subtracting it leaves an error of 1e-5 of this
# charge. A potential is summed directly where all other charges contribute less than this fraction of the own charge.
LEAST_FROM_OTHERS = 1e-2
# In a map that spans less than this, as all maps do at the start, the forces of different points differ by less than
# the error of the mesh. All charges are then replaced by one charge at their center, which gives the forces a relative
# error below 1e-3.
SMALL_EXTENT = 0.03
# Larger charges would overflow in float32. SNE has such charges when all points are isolated.
LARGEST_CHARGE = 1e30


class FFTKernel:
    """Compute potentials by FFTs on a mesh, for 1, 2 and 3 components.

    See :class:`sktsne.kernels.GradientKernel` for the contract. Three kinds of points are not left to the mesh, but
    summed directly: a few outliers, if a mesh that covers them would be too large; points so isolated that rounding
    hides their potential; and charges more than 10,000 times as large as the smallest one. If many points are far from
    the others, the mesh is made coarser instead, with a warning.

    Parameters
    ----------
    similarity : Similarity
        The weight of a pair.
    workers : Workers
        The threads to use.
    spacing : float, default=None
        The distance of two nodes of the mesh, in units of the map. A smaller spacing is more accurate and slower.
        ``None`` is 0.35 for one and two components, and 0.3 for three. With less than ½ degree of freedom the kernel
        reduces the spacing in proportion to the width of the peak of w.

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

    max_components: int | None = len(MAX_NODES)
    dtype: type[np.floating] = np.float32

    def __init__(self, similarity: Similarity, workers: Workers, spacing: float | None = None) -> None:
        check_parts(similarity, workers)
        if spacing is not None:
            check_number("spacing", spacing, Real, 0, low_included=False)
        self._similarity = similarity
        self._workers = workers
        self._given_spacing = spacing
        self._warned_of = 0.0  # the largest spacing of which a warning told
        self._points: Any = None  # until set_points has prepared everything
        self._meshes = Meshes(similarity, workers)
        self._unit_nodes: NDArray[np.float32] | None = None
        self._spread = choose("mesh", "spread", spread_reference)
        self._read = choose("mesh", "read", read_reference)

    def set_points(self, Y: NDArray[np.float64]) -> None:
        """Set the positions of the sources, ``Y`` of shape (n, d)."""
        self._points = None  # until everything is prepared, because an allocation may fail
        points = check_points(Y, self.max_components)
        self._spacing = spacing_of(points.shape[1], self._similarity, self._given_spacing)
        low, high = bounds_of(points)
        extent = extent_of(low, high, self._spacing)
        self._small = extent < SMALL_EXTENT
        if self._small:
            self._points = points
            return
        near, self._outliers = points, self._find_outliers(points, extent)
        if self._outliers is not None:
            near = points[~self._outliers]
            low, high = bounds_of(near)
        self._mesh = self._mesh_around(low, high)
        self._coordinates = self._mesh.coordinates(near)
        self._points, self._unit_nodes = points, None

    def _find_outliers(self, Y: NDArray[np.float64], extent: float) -> NDArray[np.bool_] | None:
        """Return a mask of the points outside the largest mesh, or None if there are no such points or too many."""
        reach = reach_of(Y.shape[1], self._spacing)
        if extent <= 2.0 * reach:
            return None
        outside = np.any(np.abs(Y - np.median(Y, axis=0)) > reach, axis=1)
        return outside if 0 < np.count_nonzero(outside) <= math.sqrt(len(Y)) else None

    def _mesh_around(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> Mesh:
        """Return a mesh that covers a box, with a larger spacing where the box is too large.

        Nodes are at multiples of the spacing, so that the mesh does not depend on the boxes of earlier calls.
        """
        spacing = coarsened(self._spacing, float(np.max(high - low)), len(low))
        if spacing > max(self._spacing, self._warned_of):  # a growing map would have a message for each of its widths
            self._warned_of = spacing
            warn_of_spacing(float(np.max(high - low)), spacing, self._spacing)
        # Coordinates are relative to the lowest corner, because nodes far from 0 would coincide by rounding.
        fraction = np.mod(low, spacing) / spacing
        needed = np.floor((high - low) / spacing + fraction).astype(np.intp) + 1 + 2 * SUPPORT
        nodes = tuple(mesh_size(int(number), MAX_NODES[len(low)]) for number in needed)
        mesh = self._meshes.of(nodes, spacing)
        mesh.corner, mesh.corner_place = low, fraction + SUPPORT + (np.array(nodes) - needed) // 2
        return mesh

    def potential(
        self,
        charges: NDArray[np.float64] | None = None,
        at: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ (m,) and ∇φ (m, d) at the positions ``at``, or at the points without their own charges."""
        _, given, places = check_request(self._points, charges, at)
        return self._potential(given, places)

    def _potential(
        self, charges: NDArray[np.float64] | None, at: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ and ∇φ for arguments that were checked, by the method that suits the map and the charges."""
        c = np.ones(len(self._points)) if charges is None else charges
        if self._small:
            return self._as_one_charge(c, at)
        if charges is not None:
            heavy = c * ISOLATED > np.min(c, initial=np.inf, where=c > 0.0)
            if heavy.any():
                return self._with_heavy_charges(c, heavy, at)
            if (largest := float(c.max())) > LARGEST_CHARGE:
                phi, grad_phi = self._potential(c / largest, at)
                return largest * phi, largest * grad_phi
        near_c = c if self._outliers is None else c[~self._outliers]
        if at is None:
            return self._at_points(self._convolve(near_c), c, near_c)
        if charges is not None:
            return self._at_others(self._convolve(near_c), c, near_c, at)
        if self._unit_nodes is None:  # kept, because placing new points needs this potential many times
            self._unit_nodes = self._convolve(near_c).copy()
        return self._at_others(self._unit_nodes, c, near_c, at)

    def _as_one_charge(
        self, c: NDArray[np.float64], at: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ and ∇φ of a small map, in which all charges c_j act as one charge at their center m."""
        # Positions are relative to the first point, because far from 0 rounding would move the center out of the map.
        first, total = self._points[0], c.sum()
        places = self._points - first
        center = (c[:, None] * places).sum(axis=0) / total if total > 0.0 else places.mean(axis=0)
        spread = np.sum(c * np.sum((places - center) ** 2, axis=1))
        difference = (places if at is None else at - first) - center
        phi, grad_phi = potential_of_one_charge(self._similarity, difference, total, spread)
        if at is None:
            phi -= c
        return phi, grad_phi

    def _convolve(self, near_c: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the potential of the charges at the nodes, in an array that the next call overwrites."""
        charged = np.zeros(self._mesh.shape, dtype=np.float32)
        rows = charged.shape[0] * charged.shape[1]
        self._workers.divide(partial(self._spread, self._coordinates, near_c, charged), rows, 15 * len(near_c))
        return self._mesh.convolve(charged)

    def _with_heavy_charges(
        self,
        c: NDArray[np.float64],
        heavy: NDArray[np.bool_],
        at: NDArray[np.float64] | None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ and ∇φ with the heavy charges summed directly.

        On the mesh, the rounding error of the heavy charges would be larger than the potential of the others.
        """
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
        """Return φ and ∇φ at the points themselves, from the potential at the nodes."""
        phi, grad_phi = self._read_nodes(nodes, near_c, self._coordinates, exclude_self=True)
        if self._outliers is not None:
            self._add_outliers(c, self._points[~self._outliers], phi, grad_phi)
            phi, grad_phi = self._scatter(~self._outliers, phi, grad_phi)
        alone = phi < np.maximum(ISOLATED * phi.max(), LEAST_FROM_OTHERS * c)
        if alone.any():
            # Isolated points get the sum over isolated points and the sum over the others. Subtracting their own term
            # from a sum over all points would lose the digits of a small potential.
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
        """Return φ and ∇φ at other positions, from the potential at the nodes where the mesh covers a position."""
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
        """Return φ and ∇φ interpolated from the nodes, at mesh coordinates that the mesh covers."""
        phi, grad_phi = np.empty(len(coordinates)), np.empty(coordinates.shape)
        read = partial(self._read, coordinates, nodes, charges, self._mesh.self_terms, exclude_self, phi, grad_phi)
        self._workers.run(read, len(coordinates), 50)
        grad_phi /= self._mesh.spacing
        return phi, grad_phi

    def _sum(
        self, points: NDArray[np.float64], c: NDArray[np.float64], at: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ and ∇φ of some of the points by direct sums."""
        return sum_directly(self._similarity, self._workers, points, c, at)

    def _add_outliers(
        self,
        c: NDArray[np.float64],
        at: NDArray[np.float64],
        phi: NDArray[np.float64],
        grad_phi: NDArray[np.float64],
    ) -> None:
        """Add the potential of the outliers and its gradient, at positions ``at``, to ``phi`` and ``grad_phi``."""
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


def sum_directly(
    similarity: Similarity,
    workers: Workers,
    points: NDArray[np.float64],
    c: NDArray[np.float64],
    at: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return φ and ∇φ of charges at points by direct sums; zeros if there are no points."""
    if len(points) == 0:
        places = points if at is None else at
        return np.zeros(len(places)), np.zeros(places.shape)
    kernel = ExactKernel(similarity, workers)
    kernel.set_points(points)
    return kernel.potential(c, at)


def potential_of_one_charge(
    similarity: Similarity, difference: NDArray[np.float64], total: float, spread: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return φ and ∇φ of charges c_j that are close together, at positions y with the ``difference`` y − m.

    φ(y) = w(r²) Σ_j c_j (1 − |y_j − m|²) and ∇φ(y) = −2 Σ_j c_j a w (y − m), with the center m of the charges, their
    ``total`` Σ_j c_j, their ``spread`` Σ_j c_j |y_j − m|², and r = |y − m|.
    """
    r2 = np.sum(difference * difference, axis=1)
    w = similarity.weight(r2)
    return w * (total - spread), -2.0 * total * (similarity.decay(r2) * w)[:, None] * difference


def spacing_of(n_components: int, similarity: Similarity, given: float | None = None) -> float:
    """Return the distance of two nodes, in units of the map: the given one, or the default."""
    # The peak of w has the width √α, and the error of the forces grows as α falls: it doubles from α = 1 to α = ½.
    # Below α = ½ the spacing is reduced so that the error does not grow further.
    spacing = SPACING[n_components] if given is None else given
    return spacing * min(1.0, math.sqrt(2.0 * similarity.dof))


def extent_of(low: NDArray[np.float64], high: NDArray[np.float64], spacing: float) -> float:
    """Return the largest side of a box; raise a FloatingPointError for a box that is too large for a mesh."""
    with np.errstate(over="ignore"):
        extent = float(np.max(high - low))
    if not math.isfinite(extent / spacing):
        raise FloatingPointError("Y spans too much for float64: the differences of its points overflow.")
    return extent


def reach_of(n_components: int, spacing: float) -> float:
    """Return half the side of the largest mesh that has the spacing."""
    return 0.5 * spacing * (MAX_NODES[n_components] - 2 * SUPPORT)


def coarsened(spacing: float, span: float, n_components: int) -> float:
    """Return the spacing, or a larger one with which the largest mesh covers the span."""
    limit = MAX_NODES[n_components] - 2 * SUPPORT
    if span > spacing * limit:
        spacing *= GROWTH ** math.ceil(math.log(span / (spacing * limit), GROWTH))
    return spacing


def warn_of_spacing(
    span: float, spacing: float, wanted: float, end: str = "; method='barnes_hut' stays accurate."
) -> None:
    """Warn of a mesh that is coarser than wanted."""
    warnings.warn(
        f"The map spans {span:.4g}, so the FFT kernel's mesh gets a spacing of {spacing:.3g} in place of "
        f"{wanted:.3g}, and its potentials are less accurate{end}",
        UserWarning,
        stacklevel=3,
    )


def mesh_size(needed: int, limit: int) -> int:
    """Return the number of nodes along an axis of the smallest mesh with at least ``needed`` nodes.

    The number suits the FFT, and may slightly exceed ``limit``.
    """
    exponent = math.floor(math.log(needed, GROWTH))
    sizes = [int(fft.next_fast_len(math.ceil(GROWTH**e), real=True)) for e in (exponent, exponent + 1)]
    sizes.append(int(fft.next_fast_len(needed, real=True)))
    return next(size for size in sizes if size >= needed and (size <= limit or size == sizes[-1]))


def bounds_of(Y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the smallest and the largest coordinate of each column.

    Columns are reduced one by one, because a reduction over an axis of NumPy takes ten times as long.
    """
    return np.array([y.min() for y in Y.T]), np.array([y.max() for y in Y.T])
