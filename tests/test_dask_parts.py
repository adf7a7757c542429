"""The parts of an optimization on a cluster, without a cluster: against the objectives and steps of one process."""

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from test_fft import error

from sktsne._sparse import negative_entropy
from sktsne.affinities import Perplexity, conditional_affinities
from sktsne.kernels import FFTKernel
from sktsne.neighbors import ExactSearch
from sktsne.objectives import ConditionalKL, JointKL
from sktsne.optimizer import Phase, State, minimize
from sktsne.parallel import Workers
from sktsne.similarities import similarity_of

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'sktsne[dask]'")

from distributed.core import Status

from sktsne.dask._affinities import ShardAffinities
from sktsne.dask._exchange import PartError
from sktsne.dask._parts import Layout, Part

OBJECTIVES = [JointKL, ConditionalKL]
OFFSETS = np.array([0, 150, 150, 400, 600])  # of four shards, one of which is empty
DIVISIONS = [((0, 1, 2, 3),), ((0, 3), (1, 2)), ((2,), (1,), (3,), (0,))]
N = int(OFFSETS[-1])


class Peer:
    """The way to a part in this process."""

    def __init__(self, part):
        self._part = part

    def send(self, number, rank, value):
        """Have the part receive a message."""
        asyncio.run(self._part.receive(number, rank, value))

    def close(self):
        """Do nothing, as there is no connection."""


def called(method, *arguments):
    """Return what a method of a part returns, whether or not it is a coroutine."""
    result = method(*arguments)
    return asyncio.run(result) if asyncio.iscoroutine(result) else result


class Parts:
    """All parts of an optimization, each in a thread of its own."""

    def __init__(self, matrix, objective, dof, division, threads):
        layout = Layout(OFFSETS, division, objective is JointKL, dof, math.inf)
        self._division, self._threads = division, threads
        self.parts = [
            Part(rank, layout, [shard_of(matrix, number) for number in numbers], n_threads=1 + rank % 2)
            for rank, numbers in enumerate(division)
        ]
        for rank, part in enumerate(self.parts):
            part._exchange._peers = {
                other: Peer(self.parts[other]) for other in range(len(self.parts)) if other != rank
            }

    def call(self, method, *arguments):
        """Call a method of all parts at the same time, and return the values of the shards in their order."""
        calls = [self._threads.submit(called, getattr(part, method), *arguments) for part in self.parts]
        values = [call.result(60) for call in calls]
        numbered = zip(
            np.concatenate(self._division).astype(int), [one for some in values for one in some], strict=True
        )
        return [value for _, value in sorted(numbered, key=lambda pair: pair[0])]

    def iterate(self, phases, evaluated):
        """Have all parts take steps, and return how many they have taken."""
        calls = [self._threads.submit(called, part.iterate, phases, evaluated) for part in self.parts]
        (taken,) = {call.result(60)[0] for call in calls}
        return taken

    def restore(self, Y):
        """Place the points, at rest."""
        for part, numbers in zip(self.parts, self._division, strict=True):
            for number in numbers:
                rows = Y[OFFSETS[number] : OFFSETS[number + 1]]
                part.restore(number, rows, np.zeros_like(rows), np.ones_like(rows))

    def state(self):
        """Return points, velocity and gains of all points."""
        by_number = {
            number: part.state(number)
            for part, numbers in zip(self.parts, self._division, strict=True)
            for number in numbers
        }
        return [np.concatenate(arrays) for arrays in zip(*(by_number[i] for i in sorted(by_number)), strict=True)]


@contextmanager
def parts_of(matrix, objective, dof, division=DIVISIONS[0]):
    with ThreadPoolExecutor(8) as threads:
        yield Parts(matrix, objective, dof, division, threads)


def shard_of(matrix, number):
    rows = matrix[OFFSETS[number] : OFFSETS[number + 1]]
    return ShardAffinities(rows.data, rows.indices, rows.indptr, 0.0)


@pytest.fixture(scope="module")
def conditional(digits):
    graph = ExactSearch(45).fit(digits[0][:N], Workers())
    return conditional_affinities(graph, Perplexity([15.0]), Workers(), np.float32)


def springs_of(conditional, objective):
    """Return the symmetric affinities of which the shards hold rows."""
    return objective.springs(objective.from_conditional(conditional), None, Workers())


def on_one_machine(conditional, objective, dof):
    """Return the objective of one process for the same affinities."""
    similarity, workers = similarity_of(dof), Workers()
    affinities = objective.from_conditional(conditional)
    return objective(affinities, similarity, FFTKernel(similarity, workers), workers)


@pytest.mark.parametrize("exaggeration", [1.0, 4.0])
@pytest.mark.parametrize("dof", [1.0, math.inf])
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_costs_norms_and_steps_are_those_of_one_process(objective, d, dof, exaggeration, conditional, rng):
    Y = 2.0 * rng.normal(size=(N, d))
    single = on_one_machine(conditional, objective, dof)
    expected = single(Y, exaggeration, with_cost=True)
    norm = np.linalg.norm(expected.gradient)  # later calls overwrite the gradient
    # The bounds of the kernels' differences in tests/test_shards.py, for sums in which attraction and repulsion cancel.
    bound, of_cost = (1e-3, 1e-5) if dof == math.inf else (1e-2, 1e-3)
    with parts_of(springs_of(conditional, objective), objective, dof, DIVISIONS[1]) as parts:
        for relative in False, True:
            phase = Phase(1, exaggeration, 0.5, 1e-3, relative)
            parts.restore(Y)
            values = parts.call("evaluate", exaggeration)
            assert math.sqrt(sum(value.squares for value in values)) == pytest.approx(norm, rel=bound)
            cross = sum(value.cross for value in values)
            cost = (
                negative_entropy(objective.from_conditional(conditional))
                + cross
                + sum(value.logarithms for value in values)
            )
            assert cost == pytest.approx(expected.cost, rel=of_cost)
            assert cost + (exaggeration - 1.0) * cross == pytest.approx(expected.exaggerated, rel=of_cost)
            parts.iterate([phase], True)
            state = State.at(Y)
            minimize(single, state, [phase])
            assert error(parts.state()[1], state.velocity) < bound


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_sums_of_the_balance_are_those_of_attraction_and_repulsion(objective, conditional, rng):
    Y = 2.0 * rng.normal(size=(N, 2))
    single = on_one_machine(conditional, objective, 1.0)
    # The gradient is linear in the exaggeration.
    repulsion = single(Y, 0.0).gradient.copy()
    attraction = single(Y, 1.0).gradient - repulsion
    with parts_of(springs_of(conditional, objective), objective, 1.0) as parts:
        parts.restore(Y)
        values = parts.call("evaluate", 1.0)
    assert sum(value.repulsion for value in values) == pytest.approx(np.sum(repulsion**2), rel=1e-2)
    assert sum(value.balance for value in values) == pytest.approx(np.sum(repulsion * attraction), rel=1e-2)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_division_among_parts_changes_no_bit(objective, conditional, rng):
    Y = rng.normal(size=(N, 2))
    matrix, phase = springs_of(conditional, objective), Phase(10, 4.0, 0.8, 0.5, relative=True)
    found = []
    for division in DIVISIONS:
        with parts_of(matrix, objective, 1.0, division) as parts:
            parts.restore(Y)
            # In one call or in several.
            for n_steps in (5,) if len(found) == 1 else (2, 1, 2):
                assert parts.iterate([phase] * n_steps, False) == n_steps
            found.append([*parts.state(), np.array(parts.call("evaluate", 1.0))])
    for other in found[1:]:
        for actual, expected in zip(other, found[0], strict=True):
            assert_array_equal(actual, expected)


@pytest.mark.parametrize("rate", [1e45, 1e200, 1e308])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_all_parts_stop_before_the_same_step_where_the_points_diverge(objective, rate, conditional, rng):
    Y = rng.normal(size=(N, 2))
    with parts_of(springs_of(conditional, objective), objective, 1.0, DIVISIONS[2]) as parts:
        parts.restore(Y)
        diverges = [Phase(1, 1.0, 0.5, 1e-3), Phase(1, 1.0, 0.5, rate), *[Phase(1, 1.0, 0.5, 1e-3)] * 3]
        assert parts.iterate(diverges, False) == 2
        assert not np.abs(parts.state()[0]).max() < 3e38  # which float32 holds
        with pytest.raises(FloatingPointError, match="positions are not finite in float32"):
            parts.iterate(diverges, False)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_move_shifts_all_points(objective, conditional, rng):
    Y = rng.normal(size=(N, 2))
    with parts_of(springs_of(conditional, objective), objective, 1.0, DIVISIONS[1]) as parts:
        parts.restore(Y)
        extents = parts.call("move", np.array([1.0, -2.0]))
        assert_array_equal(parts.state()[0], Y - [1.0, -2.0])
    assert_allclose(sum(extent.total for extent in extents), Y.sum(axis=0) - N * np.array([1.0, -2.0]), rtol=1e-12)


def assert_all_fail(parts, rank, error, match):
    """Evaluate, and expect the error of the part with a rank, of which all others are told."""
    calls = [parts._threads.submit(called, part.evaluate, 1.0) for part in parts.parts]
    with pytest.raises(error, match=match):
        calls.pop(rank).result(60)
    for call in calls:
        with pytest.raises(PartError, match=r"^Part \d of the optimization failed"):
            call.result(60)


def test_a_part_that_fails_ends_the_waiting_of_the_others(conditional, rng):
    with parts_of(springs_of(conditional, JointKL), JointKL, 1.0, DIVISIONS[2]) as parts:
        parts.restore(rng.normal(size=(N, 2)))
        parts.parts[0]._states.clear()
        assert_all_fail(parts, 0, KeyError, "2")


@pytest.mark.parametrize("status", [Status.closing, Status.closed, Status.failed])
def test_a_part_whose_worker_ends_says_so(status, conditional, rng):
    with parts_of(springs_of(conditional, JointKL), JointKL, 1.0, DIVISIONS[2]) as parts:
        parts.restore(rng.normal(size=(N, 2)))
        parts.parts[1]._exchange._worker = SimpleNamespace(status=status)
        assert_all_fail(parts, 1, PartError, "The optimization has ended")


@pytest.mark.parametrize("status", [Status.running, Status.paused, Status.closing_gracefully])
def test_a_part_goes_on_while_its_worker_is_paused_or_refuses_to_retire(status, conditional, rng):
    with parts_of(springs_of(conditional, JointKL), JointKL, 1.0, DIVISIONS[1]) as parts:
        parts.restore(rng.normal(size=(N, 2)))
        parts.parts[1]._exchange._worker = SimpleNamespace(status=status)
        assert len(parts.call("evaluate", 1.0)) == 4


def test_the_client_ends_the_waiting_for_a_part_that_is_gone(conditional, rng):
    with parts_of(springs_of(conditional, JointKL), JointKL, 1.0, DIVISIONS[1]) as parts:
        parts.restore(rng.normal(size=(N, 2)))
        waiting, _ = parts.parts
        call = parts._threads.submit(called, waiting.evaluate, 1.0)  # and the other part never begins
        asyncio.run(waiting.end())
        with pytest.raises(PartError, match="The optimization has ended"):
            call.result(60)


def test_states_of_other_shapes_are_refused(conditional, rng):
    Y = rng.normal(size=(N, 2))
    phase = Phase(1, 1.0, 0.5, 1e-3)
    with parts_of(springs_of(conditional, JointKL), JointKL, 1.0) as parts:
        (part,) = parts.parts
        parts.restore(Y)
        called(part.evaluate, 1.0)
        good = Y[:150], np.zeros((150, 2)), np.ones((150, 2))
        for place, shape in (0, (149, 2)), (1, (150, 1)), (2, (151, 2)), (2, (150,)):
            with pytest.raises(ValueError, match=r"^state has"):
                part.restore(0, *good[:place], np.ones(shape), *good[place + 1 :])
        part.restore(0, *good)
        with pytest.raises(ValueError, match="shorter"):  # the gradients are those of an earlier state
            called(part.iterate, [phase], True)


def test_affinities_of_other_shapes_are_refused(conditional):
    matrix = springs_of(conditional, JointKL)
    layout = Layout(OFFSETS, ((2,),), True, 1.0, math.inf)
    with pytest.raises(ValueError, match="index pointer size"):
        Part(0, layout, [shard_of(matrix, 3)], 1)
