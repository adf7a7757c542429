r"""The Barnes-Hut kernel: a potential by a tree of cells, in n log n time.

Points that are far away, and near to each other, count as one at their center: a cell of size s at the distance r does
if s ≤ angle · r (Barnes & Hut 1986; for t-SNE van der Maaten 2014, section 4.2). That is small beside the distance over
which Student's t with one degree of freedom changes. Lighter tails change faster, by d log w / dr = −2 r a, so that

    s · max(1/r, r a(r²)) ≤ angle

is the rule for every similarity; the second term counts for more than one degree of freedom only. Then cells whose
weights are nothing beside that of a point nearby count as points, too. With charges,

    φ_c(y) ≈ Σ_cells M w(|y − m|²),     M = Σ c_j,   m = Σ c_j y_j / M        and its gradient

A quadtree halves its cells' sides, and is as deep as the smallest distance of two points asks for. This tree halves
their *points*, at the median along the longest side: it is balanced whatever the points are, duplicates and outliers
among them, has log₂(n / 32) levels, and serves any number of components. It needs no pointers either: node k has the
children 2k and 2k + 1. One walk serves all the points of a leaf, with their box in place of y, which is stricter than
the rule asks for.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .._native import choose
from ..parallel import Workers
from ..similarities import Similarity, similarity_of

# Points of a leaf, at most.
LEAF = 32
# Of a cube; at least that of any box of side 1.
DIAGONAL = math.sqrt(3.0)
# Points whose weights are exp(-35) of another's are nothing beside it: there are no 1e12 of them.
NEGLIGIBLE = 35.0
# Charges beyond this are made smaller by it: SNE's, the inverse potentials of isolated points, go up to 1e307, and
# times coordinates they would overflow.
HUGE = 2.0**500
# Cells and points that act on one, roughly: sets the size of a block of work.
LIST_LENGTH = 500


def split_nodes_reference(
    points: NDArray[np.float64],
    order: NDArray[np.intp],
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    level: int,
    leaves: bool,
    start: int,
    stop: int,
) -> None:
    """Fill the boxes of the nodes ``start`` to ``stop`` of a level, and unless they are leaves split their points."""
    n = len(points)
    for j in range(start, stop):
        rows = slice(n * j >> level, n * (j + 1) >> level)
        low, high = points[rows].min(axis=0), points[rows].max(axis=0)
        lower[2**level + j], upper[2**level + j] = low, high
        if leaves:
            continue
        middle = (n * (2 * j + 1) >> (level + 1)) - rows.start
        halves = np.argpartition(points[rows, np.argmax(high - low)], middle)
        points[rows], order[rows] = points[rows][halves], order[rows][halves]


def tree_potential_reference(
    at: NDArray[np.float64],
    exclude_self: bool,
    order: NDArray[np.intp],
    points: NDArray[np.float64],
    charges: NDArray[np.float64],
    masses: NDArray[np.float64],
    centers: NDArray[np.float64],
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
    """Fill ``phi`` and ``grad_phi`` for rows ``start`` to ``stop`` of ``at``, or for the points of these leaves."""
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


def _gap(centers: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distances of centers from a box."""
    distances: NDArray[np.float64] = np.linalg.norm(np.maximum(np.maximum(low - centers, centers - high), 0.0), axis=1)
    return distances


def _counts_as_point(
    sizes: NDArray[np.float64], distances: NDArray[np.float64], angle: float, dof: float, beyond: float
) -> NDArray[np.bool_]:
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
    """Return the distance from which points are negligible beside one that is known to be there.

    That is one of the targets' own leaf, or of the leaf to which the nearer centers lead.
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
    """Potentials from a tree, for up to 3 components; see :class:`sktsne.kernels.GradientKernel` for the contract.

    Charges must not be negative.

    Parameters
    ----------
    similarity : Similarity
        The weight of a pair.
    workers : Workers
        The threads to use.
    angle : float, default=0.5
        The largest size of a cell, over its distance, that counts as a point. 0 is exact.

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

    max_components: int | None = 3
    dtype: type[np.floating] = np.float32

    def __init__(self, similarity: Similarity, workers: Workers, angle: float = 0.5) -> None:
        self._dof = similarity.dof
        self._workers = workers
        self._angle = angle
        self._split = choose("tree", "split_nodes", split_nodes_reference)
        self._run = choose("tree", "tree_potential", tree_potential_reference)

    def set_points(self, Y: NDArray[np.float64]) -> None:
        """Place the sources: ``Y`` of shape (n, d)."""
        n, d = Y.shape
        self._depth = max(0, math.ceil(math.log2(n / LEAF)))
        self._points, self._order = Y.copy(), np.arange(n)
        self._lower, self._upper = np.zeros((2, 2 ** (self._depth + 1), d))
        for level in range(self._depth + 1):
            split = partial(
                self._split, self._points, self._order, self._lower, self._upper, level, level == self._depth
            )
            self._workers.run(split, 2**level, 10 * n >> level)
        self._unit_cells: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self._sizes = np.ascontiguousarray((self._upper - self._lower).max(axis=1))

    def potential(
        self,
        charges: NDArray[np.float64] | None = None,
        at: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ (m,) and ∇φ (m, d) of the points, at themselves (without the self-term) or ``at``."""
        c = np.ones(len(self._points)) if charges is None else charges[self._order]
        scale = HUGE if c.max() > HUGE else 1.0
        c = c / scale
        cells = self._unit_cells if charges is None else None
        masses, centers = cells or self._cells(c)
        if charges is None:  # kept: places are asked for many times
            self._unit_cells = masses, centers
        targets = self._points if at is None else at
        phi, grad_phi = np.empty(len(targets)), np.empty(targets.shape)
        run = partial(
            self._run, targets, at is None, self._order, self._points, c, masses, centers, self._sizes, self._lower,
            self._upper, self._depth, self._angle, self._dof, phi, grad_phi,
        )  # fmt: skip
        if at is None:
            self._workers.run(run, 2**self._depth, LEAF * LIST_LENGTH)
        else:
            self._workers.run(run, len(at), 4 * LIST_LENGTH)
        phi *= scale
        grad_phi *= scale
        return phi, grad_phi

    def _cells(self, c: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return each node's charge and center of charge."""
        leaves = 2**self._depth
        masses, moments = np.zeros(2 * leaves), np.zeros((2 * leaves, self._points.shape[1]))
        starts = len(c) * np.arange(leaves) >> self._depth
        masses[leaves:] = np.add.reduceat(c, starts)
        moments[leaves:] = np.add.reduceat(c[:, None] * self._points, starts, axis=0)
        for level in reversed(range(self._depth)):
            nodes, children = slice(2**level, 2 ** (level + 1)), slice(2 ** (level + 1), 2 ** (level + 2))
            masses[nodes] = masses[children].reshape(-1, 2).sum(axis=1)
            moments[nodes] = moments[children].reshape(2**level, 2, -1).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            centers = moments / masses[:, None]
        empty = masses == 0.0
        centers[empty] = self._lower[empty]
        return masses, centers


class BarnesHutFactory:
    """Makes kernels of one angle; skops loads it, unlike a partial, without having to trust that.

    Parameters
    ----------
    angle : float
        That of the kernels.
    """

    def __init__(self, angle: float) -> None:
        self._angle = angle

    def __call__(self, similarity: Similarity, workers: Workers) -> BarnesHutKernel:
        """Return a kernel."""
        return BarnesHutKernel(similarity, workers, self._angle)
