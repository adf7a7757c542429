"""The shards of one worker during the optimization: an actor of Dask, which the client calls once an iteration.

In an iteration each part

1. spreads the charges of its shards on a mesh, while it fetches the positions of the points of all others;
2. computes the attraction of one half of its shards, while it fetches its slab of the meshes of the others;
3. adds these, fetches the slabs that the others have added, and convolves the whole mesh (few parts fetch whole meshes
   at once);
4. reads the potential, and computes the attraction of its other shards, while it fetches the sums of the others;
5. takes a step.

Parts fetch from one another without the scheduler and the client, to whom only a few numbers go. A part waits for
another only while both run the same call of the client. If a part fails, it tells the others so; if its worker dies,
the client ends the waiting of the others.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple
from weakref import proxy

import numpy as np
from distributed import Actor, get_worker
from distributed.core import Status
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .._checks import as_floats
from .._kept import Buffers
from .._native import choose
from .._process import one_blas_thread
from .._sparse import freeze
from ..kernels.attraction import AffinityRows
from ..kernels.shards import Extent, Plan, ShardedKernel, extent_of_shard
from ..objectives import ConditionalKL, JointKL, check_normalization
from ..optimizer import STEP_COST, Phase, descend_reference, step_settings
from ..parallel import Workers
from ..similarities import similarity_of
from ._affinities import ShardAffinities
from ._cluster import result_of

SECONDS_BETWEEN_CHECKS = 1.0  # how long a part waits for another before it looks whether the client has given up
# Up to this number of parts, each fetches the whole meshes of the others in place of slabs, which is one wait less.
WHOLE_MESHES = 3
ENDED = "The optimization has ended."


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


class MeshOffer(NamedTuple):
    """The mesh that a part has offered in a round of the exchange.

    Parameters
    ----------
    round : int
        The number of the round.
    shape : tuple of int
        The shape of the mesh.
    own : ndarray of int64
        The nodes that this part adds, as it has them.
    futures : list
        The same nodes of the other parts, in the order of their ranks.
    """

    round: int
    shape: tuple[int, ...]
    own: NDArray[np.int64]
    futures: list[Any]


class PartError(RuntimeError):
    """Another part failed, so that a part cannot go on."""


class Part:
    """The shards of one worker, an `~sktsne.kernels.shards.Exchange` with those of all others.

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
        self._rank, self._layout = rank, layout
        self._numbers = layout.shards_of[rank]
        self._workers = Workers(n_threads)
        similarity = similarity_of(layout.dof)
        n = int(layout.offsets[-1])
        self._least_curvature = (JointKL if layout.joint else ConditionalKL).scales(n, layout.dof)[1]
        # In a cycle of references, a part whose fit has ended would stay in memory until Python looks for cycles.
        self._kernel, self._buffers = ShardedKernel(similarity, self._workers, proxy(self)), Buffers()
        self._rows = []
        self._sizes = dict(zip(self._numbers, np.diff(layout.offsets)[list(self._numbers)].tolist(), strict=True))
        for number, (data, indices, indptr, _) in zip(self._numbers, affinities, strict=True):
            matrix = freeze(csr_array((data, indices, indptr), shape=(self._sizes[number], n)))
            self._rows.append(AffinityRows(matrix, similarity, self._workers, np.float32, n))
        self._similarity, self._n = similarity, n
        self._descend = choose("descent", "descend", descend_reference)
        self._states: dict[int, tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]] = {}
        self._gradients: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
        self._peers: list[Any] = []
        self._box: dict[tuple[Any, ...], Any] = {}
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = deque()
        self._worker: Any = None
        # A worker has one thread for all actors. Parts of two fits in this thread would wait for each other for ever.
        self._thread = ThreadPoolExecutor(1, "sktsne-part")
        self._failed, self._call, self._round = False, 0, 0

    def meet(self, places: Sequence[tuple[str, str]]) -> None:
        """Learn of all parts, by the address of the worker and the key of each, in the order of their ranks."""
        # An Actor that Dask sends may take another worker in this process for its own.
        self._worker = get_worker()
        self._peers = [Actor(Part, address, key, worker=self._worker) for address, key in places]

    # What other parts call, in the event loop, while this part computes in its thread.

    async def fetch(self, call: int, name: Any, start: int | None = None, stop: int | None = None) -> Any:
        """Return a value that this part posts in a call, or a slice of it."""
        while (call, name) not in self._box:
            news = asyncio.Event()
            self._waiting.append((asyncio.get_running_loop(), news))
            # The thread that computes may have posted before it could know of this event.
            if (call, name) in self._box:
                break
            if self._failed:
                raise PartError(f"Part {self._rank} of the optimization failed.")
            await news.wait()
        value = self._box[call, name]
        return value if start is None else value[start:stop]

    async def fail(self) -> None:
        """End the waiting of other parts for this one, and of this one for others."""
        self._give_up()
        self._thread.shutdown(wait=False)

    def _give_up(self) -> None:
        self._failed = True
        self._wake()

    def _wake(self) -> None:
        """Have all that wait for this part look again."""
        for _ in range(len(self._waiting)):
            with suppress(IndexError, RuntimeError):  # another thread has woken it, or its loop is closed
                loop, news = self._waiting.popleft()
                loop.call_soon_threadsafe(news.set)

    def _post(self, name: Any, value: Any) -> None:
        self._box[self._call, name] = value
        self._wake()

    def _begun(self, name: Any, *bounds: int) -> list[Any]:
        """Begin to fetch the values of the other parts under a name, or slices of them, and return the futures."""
        others = (peer for rank, peer in enumerate(self._peers) if rank != self._rank)
        return [peer.fetch(self._call, name, *bounds) for peer in others]

    def _ended(self, futures: list[Any], own: Any) -> list[Any]:
        """Return the values of all parts in the order of their ranks, where this part has ``own``."""
        values = [self._wait(future) for future in futures]
        values.insert(self._rank, own)
        return values

    def _wait(self, future: Any) -> Any:
        """Return what another part posts; raise PartError if the client or the end of the worker ends the waiting."""
        return result_of(future, SECONDS_BETWEEN_CHECKS, self._check_end)

    def _check_end(self) -> None:
        """Raise PartError if the optimization has ended."""
        ended = self._worker is not None and self._worker.status not in (Status.running, Status.paused)
        if self._failed or ended:
            raise PartError(ENDED)

    def offer(self, part: NDArray[np.int64]) -> MeshOffer:
        """Begin to add the meshes of all parts; see `~sktsne.kernels.shards.Exchange`."""
        self._round += 1
        flat, n_parts, bounds = part.ravel(), len(self._peers), (0, part.size)
        if n_parts > WHOLE_MESHES:
            bounds = flat.size * self._rank // n_parts, flat.size * (self._rank + 1) // n_parts
        self._post(("mesh", self._round), flat)
        return MeshOffer(self._round, part.shape, flat[slice(*bounds)], self._begun(("mesh", self._round), *bounds))

    def added(self, offer: MeshOffer, exponent: int) -> NDArray[np.float32]:
        """Return the sum of meshes; see `~sktsne.kernels.shards.Exchange`."""
        name = "slab", offer.round
        added = self._sum(self._ended(offer.futures, offer.own), exponent, name)
        if len(self._peers) > WHOLE_MESHES:
            self._post(name, added)
            added = np.concatenate(self._ended(self._begun(name), added))
        return added.reshape(offer.shape)

    def _sum(self, meshes: list[NDArray[np.int64]], exponent: int, name: Any) -> NDArray[np.float32]:
        """Return 2**exponent times the sum of meshes, in the buffer of a name."""
        shape = meshes[0].shape
        total, scaled = self._buffers("total", shape, np.int64), self._buffers("scaled", shape)
        np.copyto(total, meshes[0])
        for mesh in meshes[1:]:
            total += mesh
        np.multiply(total, 2.0**exponent, out=scaled)
        added: NDArray[np.float32] = self._buffers(name, shape, np.float32)
        np.copyto(added, scaled, casting="same_kind")
        return added

    def all(self, values: Sequence[Any]) -> list[Any]:
        """Return the values of all shards; see `~sktsne.kernels.shards.Exchange`."""
        return self._collected(*self._offered(values))

    def _offered(self, values: Sequence[Any]) -> tuple[list[Any], Sequence[Any]]:
        """Post a value for each shard of this part, and begin to fetch those of the others; `_collected` ends it."""
        self._round += 1
        name = "all", self._round
        self._post(name, list(values))
        return self._begun(name), values

    def _collected(self, futures: list[Any], values: Sequence[Any]) -> list[Any]:
        """Return the values of all shards that parts have posted, in the order of the shards."""
        by_number = {
            number: value
            for numbers, part in zip(self._layout.shards_of, self._ended(futures, values), strict=True)
            for number, value in zip(numbers, part, strict=True)
        }
        return [by_number[number] for number in sorted(by_number)]

    # What the client calls.

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

    async def iterate(self, call: int, plan: Plan, phase: Phase) -> list[Extent]:
        """Evaluate the objective and take a step; return the extents of the shards."""
        return await self._in_thread(self._iterate, call, plan, phase)

    async def evaluate(self, call: int, plan: Plan, exaggeration: float, with_cost: bool) -> list[Values]:
        """Compute the gradient; return the sums of the shards if they are wanted ``with_cost``."""
        return await self._in_thread(self._evaluate, call, plan, exaggeration, with_cost)

    async def _in_thread(self, function: Callable[..., list[Any]], *arguments: Any) -> list[Any]:
        """Return what a function returns in the thread of this part."""
        if self._failed:
            raise PartError(ENDED)
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(function, *arguments))

    def _iterate(self, call: int, plan: Plan, phase: Phase) -> list[Extent]:
        self._evaluate(call, plan, phase.exaggeration, False)
        return self.step(plan, phase)

    def _evaluate(self, call: int, plan: Plan, exaggeration: float, with_cost: bool) -> list[Values]:
        try:
            with self._workers, one_blas_thread(), np.errstate(all="ignore"):
                return self._gradient(call, plan, exaggeration, with_cost)
        except BaseException:
            self._give_up()
            raise

    def _gradient(self, call: int, plan: Plan, exaggeration: float, with_cost: bool) -> list[Values]:
        self._call, self._round = call, 0
        self._box.clear()  # all parts have fetched what they needed before the client called again
        shards = [self._states[number][0] for number in self._numbers]
        firsts = [int(self._layout.offsets[number]) for number in self._numbers]
        offer = self._offered(self._rounded(shards))
        self._kernel.set_points(plan, shards, firsts)
        positions = self._buffers("positions", (self._n, shards[0].shape[1]), np.float32)
        np.concatenate(self._collected(*offer), out=positions)
        attract, half = partial(self._attraction, positions, firsts, with_cost), (len(shards) + 1) // 2
        attractions = [attract(i) for i in range(half)]
        potentials = self._kernel.unit_potentials(positions)
        if self._layout.joint:
            offer = self._offered([float(phi.sum()) for phi, _ in potentials])
        attractions += [attract(i) for i in range(half, len(shards))]
        if self._layout.joint:
            Z = math.fsum(self._collected(*offer))
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

    def _rounded(self, shards: list[NDArray[np.float64]]) -> list[NDArray[np.float32]]:
        """Return the points of the shards in float32."""
        rounded: list[NDArray[np.float32]] = []
        for i, Y in enumerate(shards):
            rounded.append(self._buffers(("rounded", i), Y.shape, np.float32))
            rounded[i][:] = Y
        return rounded

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

    def step(self, plan: Plan, phase: Phase) -> list[Extent]:
        """Take a step along the gradient; return the extents of the shards."""
        with self._workers, np.errstate(all="ignore"):
            for number, (gradient, curvature) in zip(self._numbers, self._gradients, strict=True):
                settings = step_settings(phase, self._layout.max_step_norm)
                shift = as_floats("plan.mean", plan.mean, gradient.shape[1:], finite=False)
                step = partial(self._descend, gradient, curvature, *settings, shift, *self._states[number])
                self._workers.run(step, len(gradient), STEP_COST * gradient.shape[1])
            return self.extents()
