"""The shards of one worker during the optimization: an actor of Dask, which the client calls for some iterations.

In an iteration each part

1. sends the positions of its points, and the extents of its shards, from which each part plans the mesh;
2. spreads the charges of its shards on a mesh, and sends the others their slabs of it;
3. computes the attraction of one half of its shards, while it gets its slab of the meshes of the others;
4. adds these, exchanges the slabs that are added, and convolves the whole mesh (few parts send whole meshes at once);
5. reads the potential, and computes the attraction of its other shards, while it gets the sums of the others;
6. takes a step.
"""

from __future__ import annotations

import asyncio
import math
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from distributed import get_worker
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .._checks import as_floats
from .._kept import Buffers
from .._native import choose
from .._process import freed_memory_kept, one_blas_thread
from .._sparse import freeze
from ..kernels.attraction import AffinityRows
from ..kernels.shards import Extent, ShardedKernel, extent_of_shard, plan_of
from ..objectives import ConditionalKL, JointKL, check_normalization
from ..optimizer import STEP_COST, Phase, descend_reference, step_settings
from ..parallel import Workers
from ..similarities import similarity_of
from ._affinities import ShardAffinities
from ._exchange import ENDED, PartError, PartExchange, in_order_of_shards

Result = TypeVar("Result")
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


class Layout(NamedTuple):
    """What all parts of an optimization know.

    Parameters
    ----------
    offsets : ndarray of shape (n_shards + 1,), int64
        The number of the first point of each shard, and the number of all points.
    shards_of : tuple of tuples of int
        The shards of each part, in ascending order.
    joint : bool
        Whether the objective is that of t-SNE, and not that of SNE.
    dof : float
        The degrees of freedom of the similarity.
    max_step_norm : float
        The largest distance by which a point moves in an iteration.
    """

    offsets: NDArray[np.int64]
    shards_of: tuple[tuple[int, ...], ...]
    joint: bool
    dof: float
    max_step_norm: float


class Values(NamedTuple):
    """The sums over the points of a shard from which cost, norm and balance of the whole map follow.

    Parameters
    ----------
    squares : float
        The sum of the squares of the gradient.
    cross : float
        The sum of −s log w.
    logarithms : float
        The sum of log Z_i for SNE, and for t-SNE log Z for the first shard and 0 for all others.
    repulsion : float
        The sum of the squares of the repulsion.
    balance : float
        The sum of the products of repulsion and attraction.
    """

    squares: float
    cross: float
    logarithms: float
    repulsion: float
    balance: float


class Part:
    """The shards of one worker.

    Parameters
    ----------
    rank : int
        The number of the part.
    layout : Layout
        The layout.
    affinities : list of ShardAffinities
        The affinities of the shards of this part.
    n_threads : int
        The number of threads to use.
    """

    def __init__(self, rank: int, layout: Layout, affinities: list[ShardAffinities], n_threads: int) -> None:
        self._layout = layout
        self._numbers = layout.shards_of[rank]
        self._workers = Workers(n_threads)
        similarity = similarity_of(layout.dof)
        n = int(layout.offsets[-1])
        self._least_curvature = (JointKL if layout.joint else ConditionalKL).scales(n, layout.dof)[1]
        self._exchange, self._buffers = PartExchange(rank, layout.shards_of), Buffers()
        self._kernel = ShardedKernel(similarity, self._workers, self._exchange)
        self._rows = []
        self._sizes = dict(zip(self._numbers, np.diff(layout.offsets)[list(self._numbers)].tolist(), strict=True))
        for number, (data, indices, indptr, _) in zip(self._numbers, affinities, strict=True):
            matrix = freeze(csr_array((data, indices, indptr), shape=(self._sizes[number], n)))
            self._rows.append(AffinityRows(matrix, similarity, self._workers, np.float32, n))
        self._similarity, self._n = similarity, n
        self._descend = choose("descent", "descend", descend_reference)
        self._states: dict[int, tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]] = {}
        self._gradients: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        # A worker has one thread for all actors. Parts of two fits in this thread would wait for each other for ever.
        self._thread = ThreadPoolExecutor(1, "sktsne-part")

    async def receive(self, number: int, rank: int, value: Any) -> None:
        """Take a message of another part, in the event loop, while this part computes in its thread."""
        self._exchange.receive(number, rank, value)

    # What the client calls.

    async def meet(self, places: Sequence[tuple[str, str]]) -> None:
        """Connect to all parts, by the address of the worker and the key of each, in the order of their ranks."""
        await self._exchange.connect(get_worker(), places)

    async def end(self) -> None:
        """End the waiting for other parts."""
        self._exchange.close()
        self._thread.shutdown(wait=False)

    def restore(self, number: int, *arrays: NDArray[np.float64]) -> None:
        """Set the points of a shard, their velocity and their gains."""
        shape = self._sizes[number], arrays[0].shape[1]
        Y, velocity, gain = (as_floats("state", array, shape, finite=False).copy() for array in arrays)
        self._states[number], self._gradients = (Y, velocity, gain), []

    def state(self, number: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return the points of a shard, their velocity and their gains."""
        return self._states[number]

    def extents(self) -> list[Extent]:
        """Return the extents of the shards."""
        return [extent_of_shard(self._states[number][0], self._n, self._similarity) for number in self._numbers]

    def move(self, shift: NDArray[np.float64]) -> list[Extent]:
        """Subtract a vector from all points, and return the extents of the shards."""
        for number in self._numbers:
            self._states[number][0][:] -= shift
        return self.extents()

    async def iterate(self, phases: Sequence[Phase], evaluated: bool) -> tuple[int, list[Extent]]:
        """Take a step for each phase; return the number of steps, and the extents of the shards after them.

        The first step is along the gradient of the last evaluation if the map has been ``evaluated``. Fewer steps than
        phases were taken if the points diverge.
        """
        return await self._in_thread(self._iterate, phases, evaluated)

    async def evaluate(self, exaggeration: float) -> list[Values]:
        """Compute the gradient; return the sums of the shards."""
        return await self._in_thread(self._evaluate, exaggeration)

    async def _in_thread(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Return what a function returns in the thread of this part."""
        run = partial(self._run, function, *arguments)
        try:
            running = asyncio.get_running_loop().run_in_executor(self._thread, run)
        except RuntimeError as error:  # the thread has ended
            raise PartError(ENDED) from error
        return await running

    def _run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Return what a function returns; tell the other parts if it fails."""
        try:
            with self._workers, one_blas_thread(), freed_memory_kept, np.errstate(all="ignore"):
                return function(*arguments)
        except BaseException:
            self._exchange.fail()
            raise

    def _iterate(self, phases: Sequence[Phase], evaluated: bool) -> tuple[int, list[Extent]]:
        for done, phase in enumerate(phases):
            if done or not evaluated:
                try:
                    self._gather()
                except FloatingPointError:  # in all parts at the same time
                    if done == 0:
                        raise
                    return done, self.extents()
                self._gradient(phase.exaggeration, False)
            self._step(phase)
        return len(phases), self.extents()

    def _evaluate(self, exaggeration: float) -> list[Values]:
        self._gather()
        return self._gradient(exaggeration, True)

    def _gather(self) -> None:
        """Get the positions of all points, and plan the mesh for them; raise FloatingPointError if they diverge."""
        self._exchange.check()
        layout, shards = self._layout, [self._states[number][0] for number in self._numbers]
        rounded = self._buffers("rounded", (sum(map(len, shards)), shards[0].shape[1]), np.float32)
        np.concatenate(shards, out=rounded, casting="same_kind")
        # Dask would send each of the small arrays of the extents on its own.
        begun = self._exchange.begin((pickle.dumps(self.extents()), rounded))
        self._positions = self._buffers("positions", (self._n, rounded.shape[1]), np.float32)
        pickled, positions = zip(*self._exchange.finish(begun), strict=True)
        extents: list[Extent] = in_order_of_shards(layout.shards_of, [pickle.loads(part) for part in pickled])
        sizes = np.diff(layout.offsets)
        points = [
            np.split(part, np.cumsum(sizes[list(numbers)])[:-1])
            for numbers, part in zip(layout.shards_of, positions, strict=True)
        ]
        np.concatenate(in_order_of_shards(layout.shards_of, points), out=self._positions)
        largest = max(max(-extent.low.min(), extent.high.max()) for extent in extents)
        if not (largest <= LARGEST_FLOAT32 and all(math.isfinite(extent.squares) for extent in extents)):
            raise FloatingPointError("The positions are not finite in float32.")
        self._plan = plan_of(extents, self._similarity)

    def _gradient(self, exaggeration: float, with_cost: bool) -> list[Values]:
        """Compute the gradient; return the sums of the shards if they are wanted ``with_cost``."""
        shards, positions = [self._states[number][0] for number in self._numbers], self._positions
        firsts = [int(self._layout.offsets[number]) for number in self._numbers]
        self._kernel.set_points(self._plan, shards, firsts)
        attract, half = partial(self._attraction, positions, firsts, with_cost), (len(shards) + 1) // 2
        attractions = [attract(i) for i in range(half)]
        potentials = self._kernel.unit_potentials(positions)
        if self._layout.joint:
            sums = self._exchange.begin([float(phi.sum()) for phi, _ in potentials])
        attractions += [attract(i) for i in range(half, len(shards))]
        if self._layout.joint:
            Z = math.fsum(self._exchange.collected(sums))
            check_normalization(Z)
            normalizations: list[Any] = [Z] * len(shards)
        else:
            for phi, _ in potentials:
                check_normalization(phi.min(initial=math.inf))
            normalizations = [1.0 / phi for phi, _ in potentials]
            others = self._kernel.gradients(normalizations)
        self._gradients, results = [], []
        for i, (force, stiffness, costs) in enumerate(attractions):
            attraction = force.copy() if with_cost else force
            grad_phi, settings = potentials[i][1], (exaggeration, self._least_curvature)
            if self._layout.joint:
                JointKL.combine(force, stiffness, grad_phi, normalizations[i], *settings)
            else:
                ConditionalKL.combine(force, stiffness, grad_phi, normalizations[i], others[i], *settings)
            self._gradients.append((force, stiffness))
            if with_cost:
                results.append(self._values(i, force, attraction, costs, normalizations[i], exaggeration))
        return results

    def _attraction(
        self, positions: NDArray[np.float32], firsts: list[int], with_cost: bool, i: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return A, k and the costs of the points of a shard."""
        n = self._rows[i].n_points
        force = self._buffers(("force", i), (n, positions.shape[1]))
        stiffness, costs = self._buffers(("stiffness and costs", i), (2, n))
        self._rows[i].attract(positions, firsts[i], with_cost, force, stiffness, costs)
        return force, stiffness, costs

    def _values(
        self,
        i: int,
        gradient: NDArray[np.float64],
        attraction: NDArray[np.float64],
        costs: NDArray[np.float64],
        normalization: Any,
        exaggeration: float,
    ) -> Values:
        """Return the sums of a shard."""
        attraction *= 4.0 if self._layout.joint else 2.0
        repulsion = gradient - exaggeration * attraction
        if self._layout.joint:
            logarithms = math.log(normalization) if self._numbers[i] == 0 else 0.0
        else:
            logarithms = -float(np.log(normalization).sum())
        return Values(
            float(np.einsum("ik,ik->", gradient, gradient)),
            float(costs.sum()) * (1.0 if self._layout.joint else 0.5),
            logarithms,
            float(np.einsum("ik,ik->", repulsion, repulsion)),
            float(np.einsum("ik,ik->", repulsion, attraction)),
        )

    def _step(self, phase: Phase) -> None:
        """Take a step along the gradient."""
        for number, (gradient, curvature) in zip(self._numbers, self._gradients, strict=True):
            settings = step_settings(phase, self._layout.max_step_norm)
            step = partial(self._descend, gradient, curvature, *settings, self._plan.mean, *self._states[number])
            self._workers.run(step, len(gradient), STEP_COST * gradient.shape[1])
