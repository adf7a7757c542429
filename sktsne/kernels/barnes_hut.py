r"""The Barnes-Hut kernel: the potential by a tree of cells, in time proportional to n log n.

A cell holds points that are near each other. Seen from far away, all points of a cell act as one point at their center
of charge m, with their total charge M:

    φ_c(y) ≈ Σ_cells M w(|y − m|²),     M = Σ_j c_j,   m = Σ_j c_j y_j / M,     and ∇φ_c(y) accordingly

A cell whose longest side is s, at the distance r from y, counts as one point if s ≤ angle · r (Barnes & Hut 1986; for
t-SNE van der Maaten 2014, section 4.2). Then s is small beside the distance over which Student's t with one degree of
freedom changes. Lighter tails change faster, by d log w / dr = −2 r a(r²), so the rule for every similarity is

    s · max(1/r, r a(r²)) ≤ angle

where the second term is larger than the first only for more than one degree of freedom. Cells whose weights are
negligible beside the weight of a nearer point count as one point, too.

The potential of charges of 1 at the points themselves, with one degree of freedom, is needed in every iteration of
t-SNE. There the second-order terms of the Taylor series are added. With the spread S of a cell and u = y − m, they are:

    S = Σ_j c_j (y_j − m)(y_j − m)ᵀ
    φ_c(y):  4 w³ uᵀSu − w² tr S          ∇φ_c(y):  8 w³ Su + 4 w³ u tr S − 24 w⁴ u uᵀSu

What remains is of third order, so that larger cells give the same error. The rule is s² ≤ ¾ angle · r², where s is the
longest side or the distance from m to the farthest corner of the box, whichever is larger. On maps of digits and of
MNIST, its error is at most that of the rule above at every angle. These sums are computed in float32, relative to the
center of a leaf.

A quadtree halves the sides of its cells, and its depth grows as the smallest distance of two points shrinks. The tree
of this kernel halves the *points* of a cell instead, at the median along the longest side of their bounding box. It is
balanced for all points, also with duplicates and outliers, has log₂(n / LEAF) levels, and needs no pointers, because
node k has the children 2k and 2k + 1.

The points of a leaf are evaluated together: one walk through the tree finds the cells for all of them, with r measured
from their bounding box. This is stricter than the rule for a single point.
"""

from __future__ import annotations

import math
from functools import partial
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from .._checks import check_number
from .._native import choose
from ..parallel import Workers
from ..similarities import Similarity, similarity_of
from .contract import check_parts, check_points, check_request

# The largest number of points in a leaf, and of components. The compiled loops have arrays of these sizes.
LEAF = 32
MAX_COMPONENTS = 3
DIAGONAL = math.sqrt(3.0)  # the largest diagonal of a box whose longest side is 1, in MAX_COMPONENTS dimensions
# Points whose weight is below exp(-35) times the weight of another point are negligible, because exp(-35) is 6e-16 and
# maps have fewer than 1e12 points.
NEGLIGIBLE = 35.0
# If any charge is larger than LARGEST_CHARGE, all charges are divided by LARGEST_CHARGE. The charges of SNE, which are
# inverse potentials, reach 1e307 for isolated points, and would overflow when they are multiplied by coordinates.
LARGEST_CHARGE = 2.0**500
# Cells with a smaller total charge count as cells without charge, because 1 / M could overflow.
LEAST_CHARGE = 2.0**-1000
# The number of cells and points in the sum for one point, roughly, from which the size of a block of work follows.
LIST_LENGTH = 500
# The factor of the angle in the rule for cells with their spreads.
SPREAD_ANGLE = 0.75
# The largest side L of a map for which spreads are used. The product 4 uᵀSu of a cell, up to 9 n L⁴, must not overflow
# in float32, and w³ must not underflow.
LARGEST_SPAN = 1e6
# The levels of the tree that are divided one after another. Below these levels a thread divides a whole subtree.
SHARED_LEVELS = 4


def split_nodes_reference(
    points: NDArray[np.float64],
    order: NDArray[np.intp],
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    level: int,
    last: int,
    depth: int,
    start: int,
    stop: int,
) -> None:
    """Compute bounding boxes of nodes, and divide the points of each node among its children.

    The nodes are ``start`` to ``stop`` of a level, and the nodes below them down to level ``last``. Node number j of
    level l is node 2^l + j of the tree, and holds the points from n j / 2^l to n (j + 1) / 2^l, both rounded down, in
    the order of the tree. Dividing a node reorders its points and ``order`` in place. Leaves, at the level ``depth``,
    are not divided.
    """
    n = len(points)
    for here in range(level, last + 1):
        for j in range(start << (here - level), stop << (here - level)):
            rows = slice(n * j >> here, n * (j + 1) >> here)
            low, high = points[rows].min(axis=0), points[rows].max(axis=0)
            lower[2**here + j], upper[2**here + j] = low, high
            if here == depth:
                continue
            middle = (n * (2 * j + 1) >> (here + 1)) - rows.start
            halves = np.argpartition(points[rows, np.argmax(high - low)], middle)
            points[rows], order[rows] = points[rows][halves], order[rows][halves]


def sum_cells_reference(
    points: NDArray[np.float64],
    charges: NDArray[np.float64],
    lower: NDArray[np.float64],
    masses: NDArray[np.float64],
    centers: NDArray[np.float64],
    spreads: NDArray[np.float64],
    level: int,
    leaves: bool,
    start: int,
    stop: int,
) -> None:
    """Compute the total charge, the center of charge and the spread of nodes ``start`` to ``stop`` of a level.

    Leaves are computed from their points, and other nodes from their children. ``spreads`` are S / M of the formulas in
    the head of this module. A node without charge has its center at a corner of its box, from ``lower``.
    """
    n = len(points)
    for j in range(start, stop):
        node = 2**level + j
        parts = slice(n * j >> level, n * (j + 1) >> level) if leaves else slice(2 * node, 2 * node + 2)
        c, y = (charges[parts], points[parts]) if leaves else (masses[parts], centers[parts])
        masses[node] = c.sum()
        if masses[node] < LEAST_CHARGE:
            centers[node], spreads[node] = lower[node], 0.0
            continue
        c = c / masses[node]
        centers[node] = c @ y
        differences = y - centers[node]
        spreads[node] = np.einsum("j,ja,jb->ab", c, differences, differences)
        if not leaves:
            spreads[node] += np.einsum("j,jab->ab", c, spreads[parts])


def tree_potential_reference(
    at: NDArray[np.float64],
    exclude_self: bool,
    order: NDArray[np.intp],
    points: NDArray[np.float64],
    charges: NDArray[np.float64],
    masses: NDArray[np.float64],
    centers: NDArray[np.float64],
    spreads: NDArray[np.float64],
    sizes: NDArray[np.float64],
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    depth: int,
    angle: float,
    dof: float,
    phi: NDArray[np.float64],
    grad_phi: NDArray[np.float64],
    start: int,
    stop: int,
) -> None:
    """Fill ``phi`` and ``grad_phi`` for a range of positions or leaves.

    With ``exclude_self``, ``start`` to ``stop`` are leaves, and the potential is evaluated at their points, without the
    own charge of each point. Otherwise they are rows of ``at``. Nodes have total charges ``masses``, centers of charge
    ``centers``, sizes ``sizes``, and boxes from ``lower`` to ``upper``. ``spreads`` are S / M of the nodes, or an empty
    array for sums without the terms of S. With spreads, all charges are 1 and ``dof`` is 1.
    """
    n, similarity = len(points), similarity_of(dof)
    for row in range(start, stop):
        if exclude_self:
            own = 2**depth + row
            here = slice(n * row >> depth, n * (row + 1) >> depth)
            targets, low, high, rows = points[here], lower[own], upper[own], order[here]
        else:
            own, targets, rows = 0, at[row : row + 1], np.array([row])
            low, high = at[row], at[row]
        beyond = _reach(centers, sizes, low, high, own, depth, dof)
        cells, nodes = [], np.array([1])
        for level in range(depth + 1):
            small = _counts_as_point(sizes[nodes], _gap(centers[nodes], low, high), angle, dof, beyond)
            small &= nodes != own >> (depth - level)
            cells.append(nodes[small])
            nodes = nodes[~small] if level == depth else np.repeat(2 * nodes[~small], 2)
            if level < depth:
                nodes[1::2] += 1
        far = np.concatenate(cells)
        near = np.concatenate(
            [np.empty(0, dtype=np.intp)]
            + [np.arange(n * (k - 2**depth) >> depth, n * (k + 1 - 2**depth) >> depth) for k in nodes]
        )
        differences = targets[:, None] - np.concatenate([centers[far], points[near]])
        c = np.concatenate([masses[far], charges[near]])
        r2 = np.einsum("ijk,ijk->ij", differences, differences)
        w = similarity.weight(r2)
        if exclude_self:
            w[np.concatenate([np.full(len(far), -1), order[near]]) == rows[:, None]] = 0.0
        phi[rows] = w @ c
        grad_phi[rows] = -2.0 * np.einsum("ij,j,ijk->ik", w * similarity.decay(r2), c, differences)
        if len(spreads) > 0:
            value, slope = _quadrupoles(differences[:, : len(far)], masses[far, None, None] * spreads[far])
            phi[rows] += value
            grad_phi[rows] += slope


def _quadrupoles(
    differences: NDArray[np.float64], spreads: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the terms of the spreads S of cells in the potential and its gradient; see the head of this module.

    ``differences`` are the targets minus the centers of the cells.
    """
    w = 1.0 / (1.0 + np.sum(differences**2, axis=2))
    g = w[..., None] * differences
    spread_g = np.einsum("jab,ijb->ija", spreads, g)
    along, trace = np.sum(g * spread_g, axis=2), w * np.einsum("jaa->j", spreads)
    phi = np.sum(w * (4.0 * along - trace), axis=1)
    grad_phi = np.einsum("ij,ija->ia", w * (4.0 * trace - 24.0 * along), g)
    return phi, grad_phi + 8.0 * np.einsum("ij,ija->ia", w**2, spread_g)


def _gap(centers: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances of centers of charge from the box from ``low`` to ``high``."""
    distances: NDArray[np.float64] = np.linalg.norm(np.maximum(np.maximum(low - centers, centers - high), 0.0), axis=1)
    return distances


def _counts_as_point(
    sizes: NDArray[np.float64], distances: NDArray[np.float64], angle: float, dof: float, beyond: float
) -> NDArray[np.bool_]:
    """Return which cells count as one point, by the rule in the head of this module."""
    slope = distances**2 / (1.0 + distances**2 / dof)
    small: NDArray[np.bool_] = sizes * np.maximum(1.0, slope if dof > 1.0 else 1.0) <= angle * distances
    return small | (distances > beyond + DIAGONAL * sizes)


def _reach(
    centers: NDArray[np.float64],
    sizes: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    own: int,
    depth: int,
    dof: float,
) -> float:
    """Return the distance from a box beyond which weights are negligible beside the weight of a nearer point.

    The nearer point is in the leaf ``own`` of the targets. For other targets, with ``own`` 0, it is in the leaf at the
    end of a walk that always takes the child with the nearer center.
    """
    if dof <= 1.0:
        return math.inf
    k = own or 1
    while k < 2**depth:
        k = 2 * k + int(np.argmin(_gap(centers[2 * k : 2 * k + 2], low, high)))
    nearest = DIAGONAL * sizes[k] + (0.0 if own else _gap(centers[k : k + 1], low, high)[0])
    if math.isinf(dof):
        return math.sqrt(nearest**2 + NEGLIGIBLE)
    exponent = math.log1p(nearest**2 / dof) + NEGLIGIBLE / dof
    return math.sqrt(dof * math.expm1(exponent)) if exponent < 700.0 else math.inf


class BarnesHutKernel:
    """Compute potentials by a tree of cells (Barnes-Hut), for up to 3 components.

    See :class:`sktsne.kernels.GradientKernel` for the contract. Charges must not be negative.

    Parameters
    ----------
    similarity : Similarity
        The weight of a pair.
    workers : Workers
        The threads to use.
    angle : float, default=0.5
        The largest ratio, from 0 to 1, of the size of a cell to its distance at which the points of the cell count as
        one point; the head of the module has the rule for cells with spreads. A smaller angle is more accurate and
        slower; 0 is exact.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.parallel import Workers
    >>> from sktsne.kernels import BarnesHutKernel
    >>> from sktsne.similarities import StudentT
    >>> kernel = BarnesHutKernel(StudentT(), Workers(), angle=0.2)
    >>> kernel.set_points(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]))
    >>> phi, grad_phi = kernel.potential()
    >>> phi.round(2), grad_phi.shape
    (array([0.7 , 0.67, 0.37]), (3, 2))
    """

    max_components: int | None = MAX_COMPONENTS
    options = ("angle",)
    dtype: type[np.floating] = np.float32

    def __init__(self, similarity: Similarity, workers: Workers, angle: float = 0.5) -> None:
        check_parts(similarity, workers)
        check_number("angle", angle, Real, 0, 1)
        self._dof = similarity.dof
        self._workers = workers
        self._angle = angle
        self._points: NDArray[np.float64] | None = None
        self._split = choose("tree", "split_nodes", split_nodes_reference)
        self._sum = choose("tree", "sum_cells", sum_cells_reference)
        self._run = choose("tree", "tree_potential", tree_potential_reference)

    def set_points(self, Y: NDArray[np.float64]) -> None:
        """Set the positions of the sources, ``Y`` of shape (n, d)."""
        self._points = None  # until everything is prepared, because an allocation may fail
        points = check_points(Y, self.max_components).copy()
        n, d = points.shape
        self._depth = max(0, math.ceil(math.log2(n / LEAF)))
        self._order = np.arange(n)
        self._lower, self._upper = np.zeros((2, 2 ** (self._depth + 1), d))
        shared = min(self._depth, SHARED_LEVELS)
        for level, last in [*((level, level) for level in range(shared)), (shared, self._depth)]:
            split = partial(self._split, points, self._order, self._lower, self._upper, level, last, self._depth)
            self._workers.run(split, 2**level, (last - level + 1) * 10 * n >> level)
        self._unit_cells: tuple[NDArray[np.float64], ...] | None = None
        self._sizes = np.ascontiguousarray((self._upper - self._lower).max(axis=1))
        self._points = points

    def potential(
        self,
        charges: NDArray[np.float64] | None = None,
        at: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ (m,) and ∇φ (m, d) at the positions ``at``, or at the points without their own charges."""
        points, given, places = check_request(self._points, charges, at)
        if given is not None and given.min() < 0.0:
            raise ValueError(f"charges must not be negative, got {given.min()}.")
        c = np.ones(len(points)) if given is None else given[self._order]
        scale = LARGEST_CHARGE if c.max() > LARGEST_CHARGE else 1.0
        c = c / scale
        cells = self._unit_cells if given is None else None
        masses, centers, spreads = cells or self._cells(points, c)
        if given is None:  # kept, because placing new points needs these cells many times
            self._unit_cells = masses, centers, spreads
        sizes, angle = self._sizes, self._angle
        if given is None and places is None and self._dof == 1.0 and angle > 0.0 and sizes[1] <= LARGEST_SPAN:
            farthest = np.linalg.norm(np.maximum(self._upper - centers, centers - self._lower), axis=1)
            sizes, angle = np.maximum(sizes, farthest), math.sqrt(SPREAD_ANGLE * angle)
        else:
            spreads = spreads[:0]
        targets = points if places is None else places
        phi, grad_phi = np.empty(len(targets)), np.empty(targets.shape)
        run = partial(
            self._run, targets, places is None, self._order, points, c, masses, centers, spreads, sizes, self._lower,
            self._upper, self._depth, angle, self._dof, phi, grad_phi,
        )  # fmt: skip
        if places is None:
            self._workers.run(run, 2**self._depth, LEAF * LIST_LENGTH)
        else:
            self._workers.run(run, len(places), 4 * LIST_LENGTH)
        phi *= scale
        grad_phi *= scale
        return phi, grad_phi

    def _cells(self, points: NDArray[np.float64], c: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Return the total charge, the center of charge and the spread of each node."""
        n, d = points.shape
        nodes = 2 ** (self._depth + 1)
        masses, centers, spreads = np.zeros(nodes), np.zeros((nodes, d)), np.zeros((nodes, d, d))
        for level in reversed(range(self._depth + 1)):
            leaves = level == self._depth
            run = partial(self._sum, points, c, self._lower, masses, centers, spreads, level, leaves)
            self._workers.run(run, 2**level, 10 * n >> level if leaves else 50)
        return masses, centers, spreads
