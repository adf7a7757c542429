r"""The mesh of the FFT kernel: spreading and reading by cubic B-splines, and the convolution of charges with w.

The discrete Fourier transform is periodic. Zeros around the mesh, as wide as the reach of w, keep a charge from acting
on the next period. Student's t reaches over the whole mesh, so that its zeros would double the mesh along each axis.
Therefore Student's t is convolved in two parts, with u = r²:

    w(u) = near(u) + far(u),      far(u) = Σ_{m<4} (−c)^m / m! · w⁽ᵐ⁾(u + c),      c = (6² − 1) α

The far part is a Taylor polynomial of w around u + c, evaluated at u. The near part, the remainder, falls faster than w
by a factor of r⁸, and needs zeros over a distance of about 26 only. The far part is six times as wide as w, so that a
mesh with four times the spacing represents it. The B-splines of this coarse mesh are exact sums of B-splines of the
fine mesh.

Every mesh has three axes: outer, middle and inner, the one along which nodes are next to each other in memory. Maps of
one component use the inner axis only, maps of two components the outer and the inner one. An axis that is not used has
one node, with the spline 1. A row is a line of nodes along the inner axis.

Rows of the transforms that hold only zeros, or are not needed, are not stored. Mesh and transforms are float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from .._kept import Scratch
from .._native import choose
from ..parallel import Workers
from ..similarities import Similarity

SUPPORT = 4  # the number of nodes along an axis at which the B-spline around a point is not 0
COARSENING = 4  # the spacing of the coarse mesh divided by the spacing of the fine mesh
# The compiled loops are written for these values of SUPPORT and COARSENING.
FAR_WIDTH = 6.0  # the width of the far part, in units of the width of w
FAR_TERMS = 4  # the number of terms of the Taylor polynomial
NEGLIGIBLE = 1e-8  # weights below this value may be left out
# For maps of 1, 2 and 3 components: the axes of the mesh that they use, and the number of positions within a cell,
# along each of these axes, at which the self-terms are tabulated.
AXES = {1: (2,), 2: (0, 2), 3: (0, 1, 2)}
TABLE = {1: 64, 2: 64, 3: 32}
MESHES_KEPT = 2  # the number of meshes that `Meshes` keeps
Weight = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def splines(x: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the cubic B-splines at mesh coordinates ``x`` of shape (n,).

    Returns
    -------
    first : ndarray of shape (n,), int64
        The first of the four nodes whose splines are not 0 at x.
    values, slopes : ndarray of shape (4, n)
        The values of these four splines at x, and their derivatives.
    """
    cell = np.floor(x)
    t = x - cell
    s = 1.0 - t
    values = np.array([s**3, 4 - 6 * t**2 + 3 * t**3, 4 - 6 * s**2 + 3 * s**3, t**3]) / 6
    slopes = np.array([-(s**2), (3 * t - 4) * t, (4 - 3 * s) * s, t**2]) / 2
    return cell.astype(np.int64) - 1, values, slopes


def _splines_of(
    points: NDArray[np.float64],
) -> list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]]:
    """Return the `splines` along the three axes of the mesh at mesh coordinates ``points`` of shape (n, d)."""
    n, d = points.shape
    unused = np.zeros(n, dtype=np.int64), np.ones((1, n)), np.zeros((1, n))
    return [splines(points[:, AXES[d].index(axis)]) if axis in AXES[d] else unused for axis in range(3)]


def spread_reference(
    points: NDArray[np.float64],
    charges: NDArray[np.float64],
    mesh: NDArray[np.float32],
    start: int,
    stop: int,
) -> None:
    """Spread the charges at mesh coordinates ``points`` by the splines, on rows ``start`` to ``stop`` of ``mesh``."""
    (i, outer, _), (j, middle, _), (k, inner, _) = _splines_of(points)
    rows = mesh.reshape(-1, mesh.shape[2])
    for (a, outer_weight), (b, middle_weight) in product(enumerate(outer), enumerate(middle)):
        row = (i + a) * mesh.shape[1] + j + b
        here = (start <= row) & (row < stop)
        for c, inner_weight in enumerate(inner):
            weights = charges * outer_weight * middle_weight * inner_weight
            np.add.at(rows, (row[here], k[here] + c), weights[here])


def read_reference(
    points: NDArray[np.float64],
    mesh: NDArray[np.float32],
    charges: NDArray[np.float64],
    self_terms: NDArray[np.float32],
    exclude_self: bool,
    phi: NDArray[np.float64],
    grad_phi: NDArray[np.float64],
    start: int,
    stop: int,
) -> None:
    """Interpolate the potential ``mesh`` at mesh coordinates ``points``, for rows ``start`` to ``stop``.

    Fills ``phi`` and ``grad_phi``, whose gradient is in units of the spacing. With ``exclude_self``, the tabulated
    ``self_terms`` times the charges are subtracted.
    """
    x = points[start:stop]
    (i, outer, outer_slope), (j, middle, middle_slope), (k, inner, inner_slope) = _splines_of(x)
    results = np.zeros((4, len(x)))
    for a, b, c in product(range(len(outer)), range(len(middle)), range(len(inner))):
        nodes = mesh[i + a, j + b, k + c]
        results[0] += outer[a] * middle[b] * inner[c] * nodes
        results[1] += outer_slope[a] * middle[b] * inner[c] * nodes
        results[2] += outer[a] * middle_slope[b] * inner[c] * nodes
        results[3] += outer[a] * middle[b] * inner_slope[c] * nodes
    axes = AXES[x.shape[1]]
    if exclude_self:
        sizes = np.array(self_terms.shape[1:])[list(axes)]
        place = np.zeros((3, len(x)), dtype=np.int64)
        place[list(axes)] = ((x - np.floor(x)) * sizes).astype(np.int64).T
        results -= charges[start:stop] * self_terms[:, place[0], place[1], place[2]]
    phi[start:stop], grad_phi[start:stop] = results[0], results[1:][list(axes)].T


def _correlate(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the correlations Σ_i a_{i+k} b_i over the nodes, for k from -3 to 3 and each column: shape (7, n)."""
    padded = np.pad(a, ((SUPPORT - 1, SUPPORT - 1), (0, 0)))
    return np.array([np.sum(padded[k : k + SUPPORT] * b, axis=0) for k in range(2 * SUPPORT - 1)])


def far_weight(dof: float, r2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the far part of w at squared distances ``r2``, for finite degrees of freedom."""
    base = FAR_WIDTH**2 + r2 / dof
    term = base**-dof
    total = term.copy()
    for m in range(1, FAR_TERMS):
        term *= (FAR_WIDTH**2 - 1.0) * (dof + m - 1.0) / m / base
        total += term
    return total


def near_weight(similarity: Similarity, r2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the near part of w at squared distances ``r2``: w minus its far part."""
    return similarity.weight(r2) - far_weight(similarity.dof, r2)


def _coarse_splines() -> NDArray[np.float32]:
    """Return the coefficients (4, 4) by which a spline of the coarse mesh is a sum of splines of the fine mesh.

    Entry (r, s) is the coefficient at the fine node COARSENING · q + r of the spline around the coarse node q + s - 1.

    A cubic B-spline is the sum of five B-splines of half its width, with the coefficients 1/8, 4/8, 6/8, 4/8 and 1/8.
    Applying this sum twice gives the coefficients for splines of a quarter of the width.
    """
    half = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 8.0
    spread = np.zeros(2 * len(half) - 1)
    spread[::2] = half
    factors = np.convolve(spread, half)
    center = len(factors) // 2
    node, coarse_node = np.indices((COARSENING, SUPPORT))
    distance = node - COARSENING * (coarse_node - 1)
    padded = np.pad(factors, 2 * COARSENING)  # distances go from -2 to 2 coarse nodes
    return np.ascontiguousarray(padded[2 * COARSENING + center + distance], dtype=np.float32)


def _reach(weight: Weight) -> float:
    """Return the distance beyond which a decreasing weight is below `NEGLIGIBLE`."""
    distances = np.arange(0.0, 1000.0, 0.25)
    return float(distances[np.abs(weight(distances**2)) > NEGLIGIBLE].max(initial=0.0)) + 0.25


def _refinement(n_fine: int, n_coarse: int, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the matrix (n_fine, n_coarse) that turns spline coefficients of the coarse mesh into those of the fine."""
    if n_fine == 1:
        return np.ones((1, 1), dtype=np.float32)
    node = np.arange(n_fine)[:, None]
    matrix = np.zeros((n_fine, n_coarse), dtype=np.float32)
    matrix[node, node // COARSENING + np.arange(SUPPORT)] = weights[node[:, 0] % COARSENING]
    return matrix


def coarsen_reference(
    fine: NDArray[np.float32],
    weights: NDArray[np.float32],
    coarse: NDArray[np.float32],
    start: int,
    stop: int,
) -> None:
    """Fill planes ``start`` to ``stop`` of ``coarse`` with the charges of ``fine``, spread by the coarse splines."""
    outer, middle, inner = (_refinement(m, c, weights) for m, c in zip(fine.shape, coarse.shape, strict=True))
    coarse[start:stop] = np.einsum("ia,jb,kc,ijk->abc", outer[:, start:stop], middle, inner, fine, optimize=True)


def refine_reference(
    coarse: NDArray[np.float32],
    weights: NDArray[np.float32],
    fine: NDArray[np.float32],
    start: int,
    stop: int,
) -> None:
    """Add the potential ``coarse``, interpolated by the coarse splines, to planes ``start`` to ``stop`` of ``fine``."""
    outer, middle, inner = (_refinement(m, c, weights) for m, c in zip(fine.shape, coarse.shape, strict=True))
    fine[start:stop] += np.einsum("ia,jb,kc,abc->ijk", outer[start:stop], middle, inner, coarse, optimize=True)


class Convolution:
    """Convolve charges on a mesh with a weight, by Fourier transforms.

    Parameters
    ----------
    shape : tuple of three ints
        The number of nodes along each axis of the mesh, which is 1 for an axis that is not used.
    spacing : float
        The distance of two nodes.
    weight : callable
        The weight as a function of squared distances.
    reach : float
        The distance beyond which the weight is negligible; infinity for a weight that reaches over the whole mesh.
    workers : Workers
        The threads to use.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        spacing: float,
        weight: Weight,
        reach: float,
        workers: Workers,
    ) -> None:
        self._workers = workers
        self._padded = tuple(
            1 if m == 1 else fft.next_fast_len(m + min(m, math.ceil(min(reach / spacing, m))), real=axis == 2)
            for axis, m in enumerate(shape)
        )
        offsets = [np.minimum(np.arange(size), size - np.arange(size)) * spacing for size in self._padded]
        outer, middle, inner = np.ix_(*(x**2 for x in offsets))
        # The division by b², see the head of fft.py. b and the transform of the weight are real, because both are even.
        transform = fft.rfftn(weight(outer + middle + inner), workers=workers.n_threads).real
        for axis, size in enumerate(self._padded):
            if size > 1:
                theta = 2.0 * np.pi * np.arange(transform.shape[axis]) / size
                factor = (3.0 / (2.0 + np.cos(theta))) ** 2
                transform *= np.expand_dims(factor, tuple(other for other in range(3) if other != axis))
        # Each factor is stored twice, for the real and the imaginary part, because NumPy multiplies complex numbers by
        # real numbers slowly.
        width = transform.shape[2]
        self._transform = np.repeat(transform.astype(np.float32), 2, axis=2).reshape(self._padded[0], -1)
        self._spectrum = np.empty((*shape[:2], width), dtype=np.complex64)
        # Where the middle axis is not used, its transform changes nothing.
        self._middle = np.empty((shape[0], self._padded[1], width), np.complex64) if shape[1] > 1 else self._spectrum
        self._potential = np.empty(shape, dtype=np.float32)
        self._scratch = Scratch()

    def __call__(self, mesh: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the potential at the nodes of charges on the mesh, in an array that the next call overwrites."""
        # The transforms along the axes and back work on blocks that fit in the cache. The rows of zeros are never
        # stored. SciPy's own threads would need the whole padded array.
        rows, planes = mesh.reshape(-1, mesh.shape[2]), len(mesh)
        outer, _, inner = self._padded
        columns, run = self._middle[0].size, self._workers.run
        run(partial(self._forward, rows), len(rows), inner)
        if self._middle is not self._spectrum:
            run(self._forward_middle, planes, 2 * columns)
        run(self._multiply, columns, 2 * outer)
        if self._middle is not self._spectrum:
            run(self._backward_middle, planes, 2 * columns)
        run(self._backward, len(rows), inner)
        return self._potential

    def _forward(self, rows: NDArray[np.float32], start: int, stop: int) -> None:
        """Transform rows ``start`` to ``stop`` of the mesh."""
        spectrum, width = self._spectrum.reshape(len(rows), -1), rows.shape[1]
        padded = self._scratch(stop - start, self._padded[2])
        padded[:, :width], padded[:, width:] = rows[start:stop], 0.0
        spectrum[start:stop] = fft.rfft(padded, axis=1, workers=1)

    def _forward_middle(self, start: int, stop: int) -> None:
        """Transform planes ``start`` to ``stop`` along the middle axis."""
        for plane in range(start, stop):
            self._middle[plane] = fft.fft(self._spectrum[plane], self._padded[1], axis=0, workers=1)

    def _multiply(self, start: int, stop: int) -> None:
        """Transform columns ``start`` to ``stop``, multiply them by the transform of the weight, and transform back."""
        columns = self._middle.reshape(len(self._middle), -1)[:, start:stop]
        planes, several = len(columns), len(columns) > 1
        block = self._scratch(self._padded[0], 2 * (stop - start)).view(np.complex64)
        block[:planes], block[planes:] = columns, 0.0
        if several:
            block = fft.fft(block, axis=0, workers=1, overwrite_x=True)
        parts = block.view(np.float32)
        parts *= self._transform[:, 2 * start : 2 * stop]
        if several:
            block = fft.ifft(block, axis=0, workers=1, overwrite_x=True)
        columns[:] = block[:planes]

    def _backward_middle(self, start: int, stop: int) -> None:
        """Transform planes ``start`` to ``stop`` back along the middle axis."""
        for plane in range(start, stop):
            nodes = fft.ifft(self._middle[plane], axis=0, workers=1)
            self._spectrum[plane] = nodes[: self._spectrum.shape[1]]

    def _backward(self, start: int, stop: int) -> None:
        """Transform rows ``start`` to ``stop`` back to the potential."""
        rows = self._potential.reshape(-1, self._potential.shape[2])
        spectrum = self._spectrum.reshape(len(rows), -1)
        rows[start:stop] = fft.irfft(spectrum[start:stop], self._padded[2], axis=1, workers=1)[:, : rows.shape[1]]


class Mesh:
    """A mesh of nodes on which charges are convolved with w.

    Mesh coordinates are positions in units of the spacing, counted from the first node. The position ``corner`` has the
    mesh coordinates ``corner_place``.

    Parameters
    ----------
    nodes : tuple of one, two or three ints
        The number of nodes along each axis of the map.
    spacing : float
        The distance h of two nodes.
    similarity : Similarity
        The similarity whose weight w the charges are convolved with.
    workers : Workers
        The threads to use.
    """

    def __init__(
        self,
        nodes: tuple[int, ...],
        spacing: float,
        similarity: Similarity,
        workers: Workers,
    ) -> None:
        self.corner, self.corner_place = np.zeros((2, len(nodes)))
        self.spacing = spacing
        used = dict(zip(AXES[len(nodes)], nodes, strict=True))
        self.shape = tuple(used.get(axis, 1) for axis in range(3))
        self._workers = workers
        self._far: Convolution | None = None
        near: Weight = similarity.weight
        if math.isfinite(similarity.dof):
            far = partial(far_weight, similarity.dof)
            coarse = tuple(1 if m == 1 else (m - 1) // COARSENING + SUPPORT for m in self.shape)
            self._far = Convolution(coarse, COARSENING * spacing, far, math.inf, workers)
            self._coarse = np.empty(coarse, dtype=np.float32)
            self._splines = _coarse_splines()
            self._coarsen = choose("mesh", "coarsen", coarsen_reference)
            self._refine = choose("mesh", "refine", refine_reference)
            near = partial(near_weight, similarity)
        self._near = Convolution(self.shape, spacing, near, _reach(near), workers)
        self.self_terms = self._self_terms(TABLE[len(nodes)])

    def _self_terms(self, table: int) -> NDArray[np.float32]:
        """Return the potential of a unit charge and its three slopes at the charge, for positions within a cell."""
        unit = np.zeros(self.shape, dtype=np.float32)
        center = tuple(m // 2 for m in self.shape)
        unit[center] = 1.0
        near = [
            np.arange(1 - SUPPORT, SUPPORT) + c if m > 1 else np.array([0])
            for m, c in zip(self.shape, center, strict=True)
        ]
        response = self.convolve(unit)[np.ix_(*near)].astype(np.float64)
        _, values, slopes = splines((np.arange(table) + 0.5) / table)
        used = _correlate(values, values), _correlate(slopes, values)
        unused = np.ones((1, 1)), np.zeros((1, 1))
        factors = [used if m > 1 else unused for m in self.shape]
        terms = []
        for sloped in (None, 0, 1, 2):
            outer, middle, inner = (factor[axis == sloped] for axis, factor in enumerate(factors))
            terms.append(np.einsum("xi,yj,zk,xyz->ijk", outer, middle, inner, response, optimize=True))
        return np.ascontiguousarray(terms, dtype=np.float32)

    def on_mesh(self, coordinates: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return for each row of mesh coordinates whether all nodes that reading needs are on the mesh."""
        last = np.array([self.shape[axis] for axis in AXES[coordinates.shape[1]]]) - SUPPORT // 2
        inside: NDArray[np.bool_] = np.all((coordinates >= 1.0) & (coordinates < last), axis=1)
        return inside

    def coordinates(self, Y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mesh coordinates of positions."""
        result = np.empty_like(Y)
        for k, x in enumerate(self.corner):  # column by column, which is several times faster in NumPy
            np.subtract(Y[:, k], x, out=result[:, k])
        result /= self.spacing
        for k, x in enumerate(self.corner_place):
            result[:, k] += x
        return result

    def convolve(self, mesh: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the potential at the nodes of charges on the mesh, in an array that the next call overwrites."""
        potential = self._near(mesh)
        if self._far is not None:
            plane = mesh[0].size
            self._workers.run(partial(self._coarsen, mesh, self._splines, self._coarse), len(self._coarse), plane)
            far = self._far(self._coarse)
            self._workers.run(partial(self._refine, far, self._splines, potential), len(mesh), plane)
        return potential


class Meshes:
    """The last meshes, which are kept for maps that grow and shrink.

    Parameters
    ----------
    similarity : Similarity
        The similarity whose weight w the charges are convolved with.
    workers : Workers
        The threads to use.
    """

    def __init__(self, similarity: Similarity, workers: Workers) -> None:
        self._similarity, self._workers = similarity, workers
        self._kept: dict[tuple[tuple[int, ...], float], Mesh] = {}

    def of(self, nodes: tuple[int, ...], spacing: float) -> Mesh:
        """Return the mesh with these numbers of nodes along the axes of the map, and this spacing."""
        if (nodes, spacing) not in self._kept:
            self._kept = dict(list(self._kept.items())[1 - MESHES_KEPT :])
            self._kept[nodes, spacing] = Mesh(nodes, spacing, self._similarity, self._workers)
        return self._kept[nodes, spacing]
