"""The optimization on a cluster: the client runs the loop of the optimizer, and parts on the workers move points."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels.fft import spacing_of, warn_of_spacing
from ..kernels.shards import Extent, Plan, plan_of
from ..objectives import ConditionalKL, JointKL
from ..optimizer import LARGEST, Phase, Progress, State, descend_in_phases, divergence
from ..similarities import Similarity, similarity_of
from ._cluster import Cluster, result_of
from ._exchange import PartError, in_order_of_shards
from ._parts import Layout, Part, Values

SECONDS_TO_NOTICE = 60.0  # how long the scheduler may take to notice that a worker has died
SECONDS_FOR_WORKERS = 600.0  # how long a fit without workers waits for one
MAX_RESTARTS = 10  # how often a fit goes on from the same kept state
SECONDS_BETWEEN_CHECKS = 2.0  # how long a call of a part lasts before the client looks whether all workers live
# How long a call of the parts takes that makes several iterations. A call takes about 4 ms more than its iterations.
SECONDS_OF_CALL = 0.5
POLL = 0.2  # seconds between two looks at the workers of the cluster
COARSE = "."  # the end of the warning of a coarse mesh, for which a cluster has no other kernel


class InterruptionError(Exception):
    """A worker has died or come, so that the optimization must go on from the state that the client has kept."""


@dataclass(frozen=True)
class Problem:
    """What is optimized.

    Parameters
    ----------
    affinities : list of Future of ShardAffinities
        The affinities of the shards.
    negative_entropy : float
        The sum of p log p of the affinities that the cost compares.
    offsets : ndarray of shape (n_shards + 1,), int64
        The number of the first point of each shard, and the number n of all points.
    objective : type
        `JointKL` or `ConditionalKL`.
    dof : float
        The degrees of freedom of the similarity.
    max_step_norm : float
        The largest distance by which a point moves in an iteration.
    """

    affinities: list[Any]
    negative_entropy: float
    offsets: NDArray[np.int64]
    objective: type[JointKL] | type[ConditionalKL]
    dof: float
    max_step_norm: float


class Outcome(NamedTuple):
    """The end of an optimization.

    Parameters
    ----------
    Y : ndarray of shape (n, d), float64
        The centered map, in the order of the shards.
    cost, gradient_norm : float
        The cost, and the norm of the gradient times ``gradient_scale``.
    n_iter : int
        The number of iterations.
    reason : str
        Why it ended, as in `~sktsne.optimizer.Result`.
    repulsion, products : float
        The sums of squares of the repulsion and of its products with the attraction, for `~sktsne.placement.balance`.
    """

    Y: NDArray[np.float64]
    cost: float
    gradient_norm: float
    n_iter: int
    reason: str
    repulsion: float
    products: float


def optimize(
    cluster: Cluster,
    problem: Problem,
    start: State,
    phases: Sequence[Phase],
    *,
    report: Callable[[Progress], bool | None],
    tick: Callable[[int], None],
    **settings: Any,
) -> Outcome:
    """Minimize an objective on a cluster, and go on from the last kept state where a worker dies or comes.

    Parameters
    ----------
    cluster : Cluster
        The cluster.
    problem : Problem
        What is optimized.
    start : State
        The start, in the order of the shards.
    phases : sequence of Phase
        The phases.
    report, tick : callable
        As for `~sktsne.optimizer.minimize`. Neither is called twice for the same iteration.
    **settings : dict
        Further arguments of `~sktsne.optimizer.descend_in_phases`.
    """
    descent = _ClusterDescent(cluster, problem, start)
    reported, ticked = _Once(report), _Once(tick)
    try:
        while True:
            try:
                descent.connect()
                reason = descend_in_phases(
                    descent,
                    phases,
                    report=lambda progress: reported(progress.iteration, progress),
                    tick=lambda iteration: ticked(iteration, iteration),
                    **settings,
                )
                return descent.outcome(phases, reason)
            except InterruptionError:
                descent.disconnect()
    finally:
        descent.disconnect()


class _Once:
    """A function that is called once for each iteration, although iterations are repeated after an interruption."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function, self._last, self._answer = function, -1, None

    def __call__(self, iteration: int, argument: Any) -> Any:
        if iteration > self._last:
            self._last, self._answer = iteration, self._function(argument)
        # An earlier iteration would be the last one if the function had ended the optimization there.
        return self._answer if iteration == self._last else None


def _has_failed(future: Any) -> bool:
    """Return whether a part could not be made, or its call has ended with an error."""
    try:
        future.result(SECONDS_BETWEEN_CHECKS)
    except Exception:
        return True
    return False


class _ClusterDescent:
    """The points of an optimization on the workers of a cluster: a `~sktsne.optimizer.Descent`.

    Parameters
    ----------
    cluster : Cluster
        The cluster.
    problem : Problem
        What is optimized.
    start : State
        The state at the start.
    """

    def __init__(self, cluster: Cluster, problem: Problem, start: State) -> None:
        self._cluster, self._client, self._problem = cluster, cluster.client, problem
        self._similarity: Similarity = similarity_of(problem.dof)
        self.state = self._kept = start
        self._n_shards = len(problem.offsets) - 1
        self._scale = problem.objective.scales(int(problem.offsets[-1]), problem.dof)[0]
        self._parts: list[Any] = []
        self._actors: list[Any] = []
        self._addresses: list[str] = []
        self._restarts, self._warned_of = 0, 0.0
        self._ahead, self._at_once, self._evaluated = 0, 1, False

    # The parts and their workers.

    def connect(self) -> None:
        """Make a part on each worker, and give the parts the kept state."""
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise RuntimeError(
                f"Workers, or connections between them, were lost {MAX_RESTARTS} times after iteration "
                f"{self._kept.iteration}."
            )
        self.state = replace(self._kept)
        self._client.wait_for_workers(1, timeout=SECONDS_FOR_WORKERS)
        # Affinities that were lost are computed again before the parts that need them are made.
        there = [self._cluster.run("affinities-there", len, each) for each in self._problem.affinities]
        self._cluster.results(there)
        self._cluster.release(there)
        threads = dict(self._client.nthreads())
        self._seen = set(threads)
        shards_of = self._assign(list(threads))
        self._addresses = list(shards_of)
        problem = self._problem
        layout = Layout(
            problem.offsets,
            tuple(tuple(numbers) for numbers in shards_of.values()),
            problem.objective is JointKL,
            problem.dof,
            problem.max_step_norm,
        )
        self._actors = [
            self._cluster.actor(
                "optimization", address, Part, rank, layout, [problem.affinities[i] for i in numbers], threads[address]
            )
            for rank, (address, numbers) in enumerate(shards_of.items())
        ]
        self._parts = self._results(self._actors)
        self._owner = {
            number: part for part, some in zip(self._parts, layout.shards_of, strict=True) for number in some
        }
        self._shards_of = layout.shards_of
        self._call("meet", [(address, part.key) for address, part in zip(self._addresses, self._parts, strict=True)])
        kept, offsets = self._kept, problem.offsets
        for number, part in self._owner.items():
            rows = slice(offsets[number], offsets[number + 1])
            self._call("restore", number, kept.Y[rows], kept.velocity[rows], kept.gain[rows], parts=[part])
        self._extents: list[Extent] = self._ordered(self._call("extents"))
        self._ahead, self._at_once = 0, 1

    def _assign(self, addresses: list[str]) -> dict[str, list[int]]:
        """Return the shards of each worker, as many for all, where possible those whose affinities the worker has."""
        addresses = sorted(addresses)[: self._n_shards]
        least, n_with_more = divmod(self._n_shards, len(addresses))
        holders = self._client.who_has(self._problem.affinities)
        shards_of: dict[str, list[int]] = {address: [] for address in addresses}
        for number, future in enumerate(self._problem.affinities):
            n_full = sum(len(numbers) > least for numbers in shards_of.values())
            open_to = [a for a in addresses if len(shards_of[a]) < least + (n_full < n_with_more)]
            there = [address for address in holders[future.key] if address in open_to]
            shards_of[min(there or open_to, key=lambda address: len(shards_of[address]))].append(number)
        return shards_of

    def disconnect(self) -> None:
        """Free the parts."""
        # A part that is freed before it hears of the end waits for the others for ever.
        self._end_parts()
        self._parts, self._owner = [], {}
        # The client has further references to each part, which live until Python finds their cycles.
        self._client.cancel(self._actors, force=True)
        self._cluster.release(self._actors)
        self._actors = []

    def _end_parts(self) -> None:
        """End the waiting of the parts for each other, after which they cannot go on."""
        alive, calls = set(self._client.nthreads()), []
        for address, part in zip(self._addresses, self._parts, strict=False):
            if address in alive:
                with suppress(Exception):  # the worker may die now
                    calls.append(part.end())
        for call in calls:
            with suppress(Exception):
                call.result(SECONDS_BETWEEN_CHECKS)

    def _check_workers(self) -> None:
        """Raise InterruptionError if a worker that has a part has died."""
        if not set(self._addresses) <= set(self._client.nthreads()):
            raise InterruptionError

    def _call(self, method: str, *arguments: Any, parts: Sequence[Any] | None = None) -> list[Any]:
        """Call a method of parts, by default of all, at the same time, and return the results."""
        try:
            futures = [getattr(part, method)(*arguments) for part in parts or self._parts]
        except RuntimeError as error:  # the scheduler knows that the worker has died
            self._raise([error])
        return self._results(futures)

    def _results(self, futures: Sequence[Any]) -> list[Any]:
        """Return parts, or the results of their calls."""
        results, errors, ended = [], [], False

        def check() -> None:
            nonlocal ended
            self._check_workers()
            # The others may wait for a part that could not tell them of its error.
            if not ended and any(future.done() and _has_failed(future) for future in futures):
                ended = True
                self._end_parts()

        for future in futures:
            try:
                results.append(result_of(future, SECONDS_BETWEEN_CHECKS, check))
            except InterruptionError:
                raise
            except Exception as error:  # all parts must have ended before the first error is raised
                errors.append(error)
        if errors:
            self._raise(errors)
        return results

    def _raise(self, errors: list[Exception]) -> None:
        """Raise InterruptionError if the fit can go on without lost workers, and otherwise the error of a part."""
        causes = [error for error in errors if not isinstance(error, PartError)] or errors
        if isinstance(causes[0], FloatingPointError | MemoryError):
            raise causes[0]
        if isinstance(causes[0], PartError):  # a connection is lost, or a worker dies that nobody misses yet
            raise InterruptionError from causes[0]
        end = time.monotonic() + SECONDS_TO_NOTICE
        while time.monotonic() < end:
            self._check_workers()
            if not isinstance(causes[0], OSError | RuntimeError):
                break
            time.sleep(POLL)
        raise causes[0]

    def _ordered(self, of_parts: list[list[Any]]) -> list[Any]:
        """Return values of shards in the order of the shards, from the values that each part has of its own."""
        return in_order_of_shards(self._shards_of, of_parts)

    # The contract of the optimizer.

    def _planned(self) -> Plan:
        """Return the plan of the mesh for the points as they are."""
        plan = plan_of(self._extents, self._similarity)
        wanted = spacing_of(len(plan.mean), self._similarity)
        if plan.spacing > max(wanted, self._warned_of):
            self._warned_of = plan.spacing
            warn_of_spacing(max(plan.nodes) * plan.spacing, plan.spacing, wanted, COARSE)
        return plan

    def evaluate(self, phase: Phase, with_cost: bool) -> tuple[float, float, float]:
        """Evaluate the map ``with_cost``; otherwise the call of `step` does, or has done it."""
        self._evaluated = with_cost
        if self._ahead == 0:
            self._plan = self._planned()
        if not with_cost:
            return math.nan, math.nan, 0.0
        return self._sums(self._ordered(self._call("evaluate", phase.exaggeration)), phase)

    def _sums(self, values: list[Values], phase: Phase) -> tuple[float, float, float]:
        """Return cost, exaggerated cost and norm."""
        cross = math.fsum(value.cross for value in values)
        cost = self._problem.negative_entropy + cross + math.fsum(value.logarithms for value in values)
        norm = math.sqrt(math.fsum(value.squares for value in values)) * self._scale
        return cost, cost + (phase.exaggeration - 1.0) * cross, norm

    def extent(self) -> float:
        """Return the root mean square distance of the points from their center."""
        return math.sqrt(self._plan.spread / self._plan.n_points)

    def step(self, phases: Sequence[Phase]) -> bool:
        """Take a step, unless an earlier call has taken it together with its own."""
        if self._ahead == 0:
            begin = time.monotonic()
            answers = self._call("iterate", phases[: self._at_once], self._evaluated)
            self._ahead = answers[0][0]  # as in all others
            self._at_once = max(1, int(self._ahead * SECONDS_OF_CALL / (time.monotonic() - begin)))
            self._extents = self._ordered([extents for _, extents in answers])
        self._ahead -= 1
        return self._ahead > 0 or all(math.isfinite(extent.squares) for extent in self._extents)

    def hold(self) -> None:
        """Keep the state on the client; begin anew if more workers have come than there are parts."""
        self._fetch()
        self._kept, self._restarts = replace(self.state), 0
        if len(self._parts) < self._n_shards and not set(self._client.nthreads()) <= self._seen:
            raise InterruptionError

    def resume(self) -> None:
        """Continue after a report, which cannot change the points."""

    def _fetch(self) -> None:
        """Fetch the points, shard by shard."""
        arrays = [self._call("state", number, parts=[self._owner[number]])[0] for number in range(self._n_shards)]
        Y, velocity, gain = (np.concatenate(parts) for parts in zip(*arrays, strict=True))
        self.state.Y, self.state.velocity, self.state.gain, self.state.shift = Y, velocity, gain, self._plan.mean

    def outcome(self, phases: Sequence[Phase], reason: str) -> Outcome:
        """Center the map, and return it with its cost."""
        iteration = self.state.iteration
        try:
            self._extents = self._ordered(self._call("move", self._planned().mean))
            self._plan = self._planned()
            if not all(max(-e.low.min(), e.high.max()) <= LARGEST for e in self._extents if e.n):
                raise divergence(iteration, phases[-1])
            values = self._ordered(self._call("evaluate", 1.0))
        except FloatingPointError as error:
            raise divergence(iteration, phases[-1]) from error
        cost, _, norm = self._sums(values, Phase(0, 1.0, 0.0, 1.0))
        if not math.isfinite(cost + norm):
            raise divergence(iteration, phases[-1])
        self._fetch()
        repulsion, products = (math.fsum(value[k] for value in values) for k in (3, 4))
        return Outcome(self.state.Y, cost, norm, iteration, reason, repulsion, products)
