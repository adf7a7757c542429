r"""The FFT kernel for points that lie in shards, each of which spreads and reads its own points only.

    1. spread      ρ_s = the charges of shard s, on a mesh that covers all points
    2. add         ρ = Σ_s ρ_s
    3. convolve    Φ = w * ρ, as in :mod:`.fft`
    4. read        φ and ∇φ at the points of shard s, from Φ

Only meshes, sums and the few points that the mesh cannot serve travel between the processes that hold shards. How they
travel is the business of an `Exchange`.

The map must not depend on which process holds which shards. Floating-point sums depend on their order, so the meshes
are added as integers: each node holds a multiple of 2**-b of the largest charge, with as many bits b as fit into 64.
All other sums over shards are made in the order of the shards.

The rules for points and charges that are summed directly are those of `FFTKernel`, with two differences that bounds on
errors allow. The center of the largest mesh is the origin and not the median, because the optimizer centers maps. And
the points whose potential is summed directly are the same points whose charges are summed directly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .._checks import as_floats
from .._kept import Buffers
from .._native import choose
from ..parallel import Workers
from ..similarities import Similarity
from .contract import check_parts
from .fft import (
    ISOLATED,
    LEAST_FROM_OTHERS,
    MAX_NODES,
    SMALL_EXTENT,
    bounds_of,
    coarsened,
    extent_of,
    mesh_size,
    potential_of_one_charge,
    reach_of,
    spacing_of,
    sum_directly,
)
from .mesh import SUPPORT, Meshes, read_reference, spread_reference

NODE_BITS = 62  # of the integers in which the charges of all points are added at a node


class Exchange(Protocol):
    """How processes that hold shards exchange what they computed. All of them call the same methods in turn."""

    def offer(self, part: NDArray[np.int64]) -> Any:
        """Begin to add the arrays of all processes, and return what `added` needs to end it."""

    def added(self, offer: Any, exponent: int) -> NDArray[np.float32]:
        """Return 2**exponent times the sum of the arrays that all processes offered."""

    def all(self, values: Sequence[Any]) -> list[Any]:
        """Return the values of all shards, in the order of the shards, from those of the shards of this process."""


class Extent(NamedTuple):
    """What the plan of a mesh needs to know about the points of a shard.

    Parameters
    ----------
    n : int
        The number of points.
    total : ndarray of shape (d,)
        The sum of the points.
    squares : float
        The sum of their squared distances from the origin.
    low, high : ndarray of shape (d,)
        The smallest and the largest coordinates.
    near_low, near_high : ndarray of shape (d,)
        The same for the points within the reach of the largest mesh.
    outside : ndarray of shape (m, d)
        The points beyond this reach, or as many of them as decide that there are too many.
    """

    n: int
    total: NDArray[np.float64]
    squares: float
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    near_low: NDArray[np.float64]
    near_high: NDArray[np.float64]
    outside: NDArray[np.float64]


def extent_of_shard(Y: NDArray[np.float64], n_points: int, similarity: Similarity) -> Extent:
    """Return the extent of the points of a shard, of ``n_points`` points in all shards."""
    d = Y.shape[1]
    nothing = np.full(d, np.inf)
    if len(Y) == 0:
        return Extent(0, np.zeros(d), 0.0, nothing, -nothing, nothing, -nothing, Y)
    low, high = bounds_of(Y)
    near_low, near_high, outside = low, high, Y[:0]
    reach = reach_of(d, spacing_of(d, similarity))
    if not max(-low.min(), high.max()) <= reach:
        far = np.any(np.abs(Y) > reach, axis=1)
        outside, near = Y[far][: math.isqrt(n_points) + 1], Y[~far]
        near_low, near_high = bounds_of(near) if len(near) else (nothing, -nothing)
    squares = float(np.einsum("ik,ik->", Y, Y))
    total = np.array([y.sum() for y in Y.T])  # as in bounds_of
    return Extent(len(Y), total, squares, low, high, near_low, near_high, outside)


class Plan(NamedTuple):
    """Where the mesh for a map is, as every shard must know before it spreads its charges.

    Parameters
    ----------
    spacing : float
        The distance of two nodes.
    first : ndarray of shape (d,), int64
        The place of the first node, in units of the spacing.
    nodes : tuple of int
        The number of nodes along each axis.
    small : bool
        Whether the map is so small that all charges act as one.
    outliers : ndarray of shape (m, d)
        The points that the mesh does not cover, which are those beyond its reach, in the order of the shards.
    mean : ndarray of shape (d,)
        The center of the points.
    spread : float
        The sum of their squared distances from the center.
    n_points : int
        The number of points.
    """

    spacing: float
    first: NDArray[np.int64]
    nodes: tuple[int, ...]
    small: bool
    outliers: NDArray[np.float64]
    mean: NDArray[np.float64]
    spread: float
    n_points: int


def plan_of(extents: Sequence[Extent], similarity: Similarity) -> Plan:
    """Return the plan for a map whose shards have these extents.

    Raises
    ------
    FloatingPointError
        If the points are too far from each other for a mesh.
    """
    n, d = sum(extent.n for extent in extents), len(extents[0].low)
    low = np.min([extent.low for extent in extents], axis=0)
    high = np.max([extent.high for extent in extents], axis=0)
    wanted = spacing_of(d, similarity)
    extent = extent_of(low, high, wanted)
    mean = np.sum([extent.total for extent in extents], axis=0) / n
    spread = max(0.0, math.fsum(extent.squares for extent in extents) - n * float(mean @ mean))
    outliers = np.zeros((0, d))
    if extent > 2.0 * reach_of(d, wanted):
        outside = np.concatenate([extent.outside for extent in extents])
        if 0 < len(outside) <= math.sqrt(n):
            outliers = outside
            low = np.min([extent.near_low for extent in extents], axis=0)
            high = np.max([extent.near_high for extent in extents], axis=0)
    spacing = coarsened(wanted, float(np.max(high - low)), d)
    first = np.floor(low / spacing).astype(np.int64) - SUPPORT
    needed = np.floor(high / spacing).astype(np.int64) + SUPPORT + 1 - first
    nodes = tuple(mesh_size(int(number), MAX_NODES[d]) for number in needed)
    return Plan(spacing, first, nodes, extent < SMALL_EXTENT, outliers, mean, spread, n)


class ShardedKernel:
    """The potentials at the points of some shards, of the charges of all shards, for 1, 2 and 3 components.

    Parameters
    ----------
    similarity : Similarity
        The weight of a pair.
    workers : Workers
        The threads to use.
    exchange : Exchange
        How the processes that hold the other shards are reached.
    """

    def __init__(self, similarity: Similarity, workers: Workers, exchange: Exchange) -> None:
        check_parts(similarity, workers)
        self._similarity, self._workers, self._exchange = similarity, workers, exchange
        self._ready, self._evaluated = False, False
        self._meshes, self._buffers = Meshes(similarity, workers), Buffers()
        self._spread_routine = choose("mesh", "spread", spread_reference)
        self._read_routine = choose("mesh", "read", read_reference)

    def set_points(self, plan: Plan, shards: Sequence[NDArray[np.float64]], firsts: Sequence[int]) -> None:
        """Set the positions of the points, and begin to add the meshes on which all processes spread charges of 1.

        The process can do other work until it needs the potentials.

        Parameters
        ----------
        plan : Plan
            The plan for all points.
        shards : sequence of ndarrays of shape (m, d), float64
            The points of the shards of this process.
        firsts : sequence of int
            The place of the first point of each of ``shards`` among all points.

        Raises
        ------
        ValueError
            If an array does not have its shape, or the plan is one for other points.
        """
        self._ready, self._evaluated = False, False  # until everything is checked and prepared
        d = len(plan.nodes)
        if np.shape(plan.first) != (d,):
            raise ValueError(f"plan.first has shape {np.shape(plan.first)}, must have an entry for each of plan.nodes.")
        shards = [as_floats("shards", Y, ("m", d), finite=False) for Y in shards]
        for Y, first in zip(shards, firsts, strict=True):
            if not 0 <= first <= plan.n_points - len(Y):
                raise ValueError(
                    f"firsts has {first} for a shard of {len(Y)} points, must be from 0 to {plan.n_points - len(Y)}."
                )
        self._plan, self._shards, self._firsts = plan, shards, firsts
        self._near = [self._is_near(Y) for Y in shards]
        if not plan.small:
            self._mesh = self._meshes.of(plan.nodes, plan.spacing)
            self._coordinates = [self._in_nodes(i) for i in range(len(shards))]
            # Compiled loops write to the nodes around each point, without a look at the size of the mesh.
            corners = [np.array(bounds_of(coordinates)) for coordinates in self._coordinates if len(coordinates)]
            if not all(self._mesh.on_mesh(both).all() for both in corners):
                raise ValueError("shards has points that the mesh of plan does not cover: plan is for other points.")
            self._unit_charges = [self._ones(len(Y)) for Y in shards]
            self._unit_meshes = self._spread(self._unit_charges, 0, "unit")
        self._ready = True

    def _is_near(self, Y: NDArray[np.float64]) -> NDArray[np.bool_] | None:
        """Return which points the mesh covers, or None if it covers all points."""
        if len(self._plan.outliers) == 0:
            return None
        reach = reach_of(Y.shape[1], spacing_of(Y.shape[1], self._similarity))
        near: NDArray[np.bool_] = np.all(np.abs(Y) <= reach, axis=1)
        return near

    def _in_nodes(self, i: int) -> NDArray[np.float64]:
        """Return the mesh coordinates of the points of shard i that the mesh covers."""
        Y = _some(self._shards[i], self._near[i])
        coordinates = self._buffers(("coordinates", i), Y.shape)
        np.divide(Y, self._plan.spacing, out=coordinates)
        coordinates -= self._plan.first
        return coordinates

    def unit_potentials(self, positions: NDArray[np.float32]) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return φ and ∇φ of charges of 1 at the points of each shard, each without its own charge.

        Call it once after `set_points`. The next call overwrites the arrays.

        Parameters
        ----------
        positions : ndarray of shape (n, d), float32
            The points of all shards.
        """
        if not self._ready:
            raise RuntimeError("The kernel has no points: call set_points before unit_potentials.")
        plan, shards = self._plan, self._shards
        wanted = plan.n_points, len(plan.nodes)
        if np.shape(positions) != wanted:
            raise ValueError(f"positions has shape {np.shape(positions)}, must have shape {wanted}.")
        self._ready, self._positions = False, positions
        self._alone = [
            np.zeros(len(Y), dtype=bool) if near is None else ~near for Y, near in zip(shards, self._near, strict=True)
        ]
        self._evaluated = True
        if plan.small:
            results = []
            for Y in shards:
                difference = Y - plan.mean
                phi, grad_phi = potential_of_one_charge(self._similarity, difference, plan.n_points, plan.spread)
                results.append((phi - 1.0, grad_phi))
            return results
        ones, nodes = self._unit_charges, self._convolve(self._unit_meshes)
        # The largest potential at a node replaces the largest one at a point, which no single process knows.
        self._least = max(ISOLATED * float(nodes.max()), LEAST_FROM_OTHERS)
        results = []
        for i, Y in enumerate(shards):
            phi, grad_phi = self._read(nodes, ones[i], i, "unit")
            if len(plan.outliers):
                phi_of_outliers, grad_of_outliers = self._sum(plan.outliers, np.ones(len(plan.outliers)), Y)
                phi += phi_of_outliers
                grad_phi += grad_of_outliers
            alone = self._alone[i]
            alone |= phi < self._least
            if alone.any():
                phi[alone], grad_phi[alone] = self._sum_over_all(i, alone, None)
            results.append((phi, grad_phi))
        return results

    def _ones(self, n: int) -> NDArray[np.float64]:
        """Return n ones."""
        ones = self._buffers(("ones", n), (n,))
        ones.fill(1.0)
        return ones

    def gradients(self, charges: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        """Return ∇φ at the points of each shard, of charges that are the inverses of the φ of `unit_potentials`.

        The next call overwrites the arrays.
        """
        if not self._evaluated:
            raise RuntimeError("The kernel has no unit potentials: call unit_potentials before gradients.")
        plan, shards = self._plan, self._shards
        pairs = zip(charges, shards, strict=True)
        charges = [as_floats("charges", c, (len(Y),), finite=False) for c, Y in pairs]
        if plan.small:
            sums = self._exchange.all([(c.sum(), c @ (Y - plan.mean)) for c, Y in zip(charges, shards, strict=True)])
            total = sum(part[0] for part in sums)
            center = plan.mean + sum(part[1] for part in sums) / total
            return [potential_of_one_charge(self._similarity, Y - center, total, 0.0)[1] for Y in shards]
        # Rounding of heavy charges would be larger than the potential of the others, so these are summed directly.
        heavy = self._exchange.all(
            [(Y[alone], c[alone]) for Y, c, alone in zip(shards, charges, self._alone, strict=True)]
        )
        points = np.concatenate([part[0] for part in heavy])
        heavy_charges = np.concatenate([part[1] for part in heavy])
        light = [np.where(alone, 0.0, c) for c, alone in zip(charges, self._alone, strict=True)]
        nodes = self._convolve(self._spread(light, math.ceil(-math.log2(self._least)), "inverse"))
        every = np.concatenate(self._exchange.all(charges)) if len(plan.outliers) else None
        results = []
        for i, Y in enumerate(shards):
            grad_phi = self._read(nodes, light[i], i, "inverse")[1]
            grad_phi += self._sum(points, heavy_charges, Y)[1]  # the term of a point itself is 0
            near = self._near[i]
            if near is not None and every is not None and not near.all():
                grad_phi[~near] = self._sum_over_all(i, ~near, every)[1]
            results.append(grad_phi)
        return results

    def _spread(self, charges: Sequence[NDArray[np.float64]], exponent: int, name: str) -> tuple[Any, int]:
        """Spread charges of at most 2**exponent, and begin to add those of all processes; `_convolve` ends it."""
        scale = NODE_BITS - math.ceil(math.log2(self._plan.n_points + 1)) - exponent
        shape = self._mesh.shape
        # Another process may still read the sum of an earlier exchange when the next one begins.
        total, mesh = self._buffers(("total", name), shape, np.int64), self._buffers("mesh", shape, np.float32)
        integers, rows = self._buffers("integers", shape, np.int64), shape[0] * shape[1]
        total.fill(0)
        for coordinates, c, near in zip(self._coordinates, charges, self._near, strict=True):
            mesh.fill(0.0)
            run = partial(self._spread_routine, coordinates, _some(c, near), mesh)
            self._workers.divide(run, rows, 15 * len(coordinates))
            mesh *= np.float32(2.0**scale)
            np.copyto(integers, mesh, casting="unsafe")
            total += integers
        return self._exchange.offer(total), -scale

    def _convolve(self, meshes: tuple[Any, int]) -> NDArray[np.float32]:
        """Return the potential at the nodes of the charges that all processes have spread."""
        return self._mesh.convolve(self._exchange.added(*meshes))

    def _read(
        self, nodes: NDArray[np.float32], charges: NDArray[np.float64], i: int, name: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ and ∇φ at the points of shard i, without their own charges; zeros where there is no mesh."""
        near, coordinates = self._near[i], self._coordinates[i]
        phi = self._buffers(("phi", name, i), (len(coordinates),))
        grad_phi = self._buffers(("grad_phi", name, i), coordinates.shape)
        terms = self._mesh.self_terms
        own = _some(charges, near)
        read = partial(self._read_routine, coordinates, nodes, own, terms, True, phi, grad_phi)
        self._workers.run(read, len(coordinates), 50)
        grad_phi /= self._mesh.spacing
        if near is None:
            return phi, grad_phi
        all_phi, all_grad = np.zeros(len(near)), np.zeros(self._shards[i].shape)
        all_phi[near], all_grad[near] = phi, grad_phi
        return all_phi, all_grad

    def _sum(
        self, points: NDArray[np.float64], c: NDArray[np.float64], at: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ and ∇φ of charges by direct sums."""
        return sum_directly(self._similarity, self._workers, points, c, at)

    def _sum_over_all(
        self, i: int, which: NDArray[np.bool_], charges: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ and ∇φ at some points of shard i by direct sums over all points, each without its own charge.

        The charges of all points are 1 by default.
        """
        own = self._firsts[i] + np.flatnonzero(which)
        c = np.ones(self._plan.n_points) if charges is None else charges
        some = self._shards[i][which]
        # Subtracting their own terms from a sum over all points would lose the digits of a small potential.
        phi, grad_phi = self._sum(some, c[own])
        others = np.delete(self._positions, own, axis=0).astype(np.float64)
        phi_of_others, grad_of_others = self._sum(others, np.delete(c, own), some)
        return phi + phi_of_others, grad_phi + grad_of_others


def _some(array: NDArray[np.float64], which: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """Return some rows of an array, or the array itself if ``which`` is None."""
    return array if which is None else array[which]
