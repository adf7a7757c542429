"""The FFT kernel in shards, and the parts of an objective: against the kernels of one process, and bit for bit."""

import math
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from test_fft import SPREADS, error

from sktsne.kernels import ExactKernel, FFTKernel
from sktsne.kernels.attraction import AffinityRows
from sktsne.kernels.shards import ShardedKernel, extent_of_shard, plan_of
from sktsne.parallel import Workers
from sktsne.similarities import similarity_of

DOFS = [1.0, math.inf, 0.5]
BOUNDS = [0, 400, 400, 900, 1200]  # of four shards, one of which is empty
FEW = [3, 4, -2, -1]  # points in the first and in the last shard
DIVISIONS = [[(0, 1, 2, 3)], [(0, 3), (1, 2)], [(2,), (1,), (3,), (0,)], [(1,), (0, 2, 3)]]


class Together:
    """The exchange of shards among threads, each of which stands for a process."""

    def __init__(self, division):
        self._division = division
        self._barrier = Barrier(len(division))
        self._posted = [None] * len(division)

    def of(self, rank):
        """Return the exchange that the process with this rank uses."""
        return _Member(self, rank)

    def abort(self):
        """End the waiting of all threads."""
        self._barrier.abort()

    def exchanged(self, rank, value):
        """Return the values of all processes."""
        self._posted[rank] = value
        self._barrier.wait(timeout=30)
        posted = list(self._posted)
        self._barrier.wait(timeout=30)
        return posted

    def in_order(self, posted):
        """Return the values of all shards in the order of the shards."""
        pairs = zip(self._division, posted, strict=True)
        by_number = {number: value for numbers, values in pairs for number, value in zip(numbers, values, strict=True)}
        return [by_number[number] for number in sorted(by_number)]


class _Member:
    def __init__(self, together, rank):
        self._together, self._rank = together, rank

    def offer(self, part):
        return sum(self._together.exchanged(self._rank, part))

    def added(self, offer, exponent):
        return np.ldexp(offer.astype(np.float64), exponent).astype(np.float32)

    def all(self, values):
        return self._together.in_order(self._together.exchanged(self._rank, list(values)))


def sharded(Y, dof=1.0, bounds=(0,), division=None, n_threads=1):
    """Return φ, ∇φ of unit charges, and ∇φ of the charges 1 / φ, from shards that begin at ``bounds``."""
    shards = np.split(Y, bounds[1:-1]) if len(bounds) > 2 else [Y]
    division = [tuple(range(len(shards)))] if division is None else division
    firsts = np.cumsum([0, *map(len, shards)])
    similarity, together = similarity_of(dof), Together(division)
    plan = plan_of([extent_of_shard(shard, len(Y), similarity) for shard in shards], similarity)

    def of_process(rank):
        numbers = division[rank]
        try:
            with Workers(n_threads) as workers:
                kernel = ShardedKernel(similarity, workers, together.of(rank))
                own = [shards[number] for number in numbers]
                kernel.set_points(plan, own, [int(firsts[number]) for number in numbers])
                potentials = kernel.unit_potentials(Y.astype(np.float32))
                gradients = kernel.gradients([1.0 / phi for phi, _ in potentials])
        except BaseException:
            together.abort()
            raise
        return [(*both, gradient) for both, gradient in zip(potentials, gradients, strict=True)]

    with ThreadPoolExecutor(len(division)) as threads:
        found = list(threads.map(of_process, range(len(division))))
    return tuple(np.concatenate(arrays) for arrays in zip(*together.in_order(found), strict=True))


def on_one_machine(kind, Y, dof=1.0):
    """Return the same as `sharded`, from a kernel of one process."""
    kernel = kind(similarity_of(dof), Workers())
    kernel.set_points(Y)
    phi, grad_phi = kernel.potential()
    return phi, grad_phi, kernel.potential(1.0 / phi)[1]


def assert_near(found, expected, dof=1.0, of_phi=1e-3):
    """Check against exact sums with the bounds of tests/test_fft.py for the same kernel in one process."""
    assert error(found[0], expected[0]) < of_phi
    for actual, gradient in zip(found[1:], expected[1:], strict=True):
        assert error(actual, gradient) < (1.5e-2 if dof >= 1.0 else 2.5e-2)


def spread_points(d, rng, n=1200):
    return SPREADS[d] * rng.normal(size=(n, d))


def with_outliers(d, rng, n=1200):
    """Return points of which a few in two shards are beyond the largest of small meshes."""
    Y = (5.0 if d < 3 else 1.5) * rng.normal(size=(n, d))
    Y[FEW] = 1e4 + rng.normal(size=(4, d))
    return Y


def with_isolated_points(d, rng, n=1200):
    """Return points of which two have a potential far below the rounding of the mesh under a Gaussian."""
    Y = 0.3 * rng.normal(size=(n, d))
    Y[FEW, 0] = [6.0, 12.0, 20.0, 20.5]
    return Y


def small_map(d, rng, n=1200):
    return 1e-3 * rng.normal(size=(n, d))


MAPS = [spread_points, with_outliers, with_isolated_points, small_map]


@pytest.mark.parametrize("dof", DOFS)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_potentials_are_near_those_of_kernels_in_one_process(d, dof, rng):
    Y = spread_points(d, rng)
    found = sharded(Y, dof, BOUNDS)
    assert_near(found, on_one_machine(ExactKernel, Y, dof), dof)
    of_mesh = on_one_machine(FFTKernel, Y, dof)
    # The far part of heavy tails is convolved on a coarser mesh, whose nodes differ between the two kernels. Charges
    # that differ by a factor of 1e4 are divided between mesh and direct sums at other places.
    bounds = (1e-6, 1e-5, 1e-2) if dof == math.inf else (5e-4, 1e-2, 1e-2)
    for actual, expected, bound in zip(found, of_mesh, bounds, strict=True):
        assert error(actual, expected) < bound


@pytest.mark.parametrize("make", MAPS)
def test_the_references_agree_with_the_compiled_routines(make, rng, reference):
    Y = make(2, rng)
    compiled = sharded(Y, 1.0, BOUNDS)
    reference()
    for actual, expected in zip(sharded(Y, 1.0, BOUNDS), compiled, strict=True):
        assert_allclose(actual, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("dof", DOFS)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_small_maps_are_near_the_exact_ones(d, dof, rng):
    Y = small_map(d, rng)
    # The expansion leaves out the fourth powers of distances of 1e-3, and rounding of sums of 1200 terms of 1.
    for actual, expected in zip(sharded(Y, dof, BOUNDS), on_one_machine(ExactKernel, Y, dof), strict=True):
        assert error(actual, expected) < 1e-4


@pytest.mark.parametrize("dof", DOFS)
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.usefixtures("small_meshes")
def test_a_few_far_points_are_summed_directly(d, dof, rng):
    Y = with_outliers(d, rng)
    found, expected = sharded(Y, dof, BOUNDS), on_one_machine(ExactKernel, Y, dof)
    assert_near(found, expected, dof)
    # All points are at hand in float32, whose numbers beyond 8192 are 1e-3 apart.
    assert_allclose(found[0][FEW], expected[0][FEW], rtol=1e-2)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_isolated_points_have_a_small_relative_error(d, rng):
    Y = with_isolated_points(d, rng)
    found, expected = sharded(Y, math.inf, BOUNDS), on_one_machine(ExactKernel, Y, math.inf)
    assert expected[0].min() < 1e-12
    assert_near(found, expected, math.inf)
    assert_allclose(found[0], expected[0], rtol=2e-2)
    pulls = found[1][FEW] / found[0][FEW, None], expected[1][FEW] / expected[0][FEW, None]
    for actual, wanted in pulls, (found[2][FEW], expected[2][FEW]):
        assert (np.linalg.norm(actual - wanted, axis=1) < 2e-2 * np.linalg.norm(wanted, axis=1)).all()


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("distance", [2.5, 4.0, 7.5, 20.0])
def test_points_that_are_all_isolated_have_a_small_relative_error(d, distance):
    Y = distance * np.arange(-1.0, 2.0)[:, None] * np.eye(1, d)
    for actual, expected in zip(
        sharded(Y, math.inf, [0, 1, 2, 3]), on_one_machine(ExactKernel, Y, math.inf), strict=True
    ):
        assert_allclose(actual, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("dof", DOFS)
def test_few_points_in_more_shards(n, dof, rng):
    Y = 2.0 * rng.normal(size=(n, 2))
    found = sharded(Y, dof, [0, 0, 1, 1, n, n])
    # The errors of interpolation do not average out over few points.
    assert_near(found, on_one_machine(ExactKernel, Y, dof), dof, of_phi=5e-3)


@pytest.mark.usefixtures("small_meshes")
@pytest.mark.parametrize(("d", "half"), [(2, 5000.0), (3, 100.0)])
def test_a_map_too_wide_gets_the_coarser_mesh_of_the_kernel_in_one_process(d, half, rng):
    Y = half * rng.uniform(-1.0, 1.0, size=(1200, d))
    similarity = similarity_of(1.0)
    plan = plan_of([extent_of_shard(Y, len(Y), similarity)], similarity)
    kernel = FFTKernel(similarity, Workers())
    with pytest.warns(UserWarning, match="The map spans"):
        kernel.set_points(Y)
    assert plan.spacing == kernel._mesh.spacing
    assert all(np.isfinite(array).all() for array in sharded(Y, 1.0, BOUNDS))


def test_points_too_far_for_float64_are_refused():
    similarity = similarity_of(1.0)
    with np.errstate(over="ignore"):
        extents = [extent_of_shard(np.array([[-1e308], [1e308]]), 2, similarity)]
    with pytest.raises(FloatingPointError, match="spans too much for float64"):
        plan_of(extents, similarity)


@pytest.mark.parametrize("dof", [1.0, math.inf])
@pytest.mark.parametrize("make", MAPS)
@pytest.mark.usefixtures("small_meshes")
def test_the_division_among_processes_and_threads_changes_no_bit(make, dof, rng):
    Y = make(2, rng)
    expected = sharded(Y, dof, BOUNDS, DIVISIONS[0])
    for n_threads, division in enumerate(DIVISIONS, start=1):
        for actual, same in zip(sharded(Y, dof, BOUNDS, division, n_threads), expected, strict=True):
            assert_array_equal(actual, same)


@pytest.mark.parametrize("make", MAPS)
def test_empty_shards_change_no_bit(make, rng):
    Y = make(2, rng)
    expected = sharded(Y, 1.0, [0, 500, 1200])
    for actual, same in zip(sharded(Y, 1.0, [0, 0, 500, 500, 1200, 1200]), expected, strict=True):
        assert_array_equal(actual, same)


def kernel_of(Y, plan=None, **changed):
    """Return a kernel of one process with all points, after a change of some arguments of `set_points`."""
    similarity = similarity_of(1.0)
    kernel = ShardedKernel(similarity, Workers(), Together([(0,)]).of(0))
    plan = plan_of([extent_of_shard(Y, len(Y), similarity)], similarity) if plan is None else plan
    arguments = {"plan": plan, "shards": [Y], "firsts": [0]}
    kernel.set_points(**{**arguments, **changed})
    return kernel


def plan_for(Y, **changed):
    """Return the plan for points, with other entries in place of some."""
    similarity = similarity_of(1.0)
    return plan_of([extent_of_shard(Y, len(Y), similarity)], similarity)._replace(**changed)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e3, -1e3, 1e18])
def test_points_that_the_mesh_of_a_plan_does_not_cover_are_refused(d, value, rng):
    Y = rng.normal(size=(50, d))
    others = Y.copy()
    others[7, -1] = value
    with pytest.raises(ValueError, match=r"^shards has points that the mesh of plan does not cover"):
        kernel_of(others, plan_for(Y))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"shards": [np.zeros(50)]}, r"^shards has shape \(50,\)"),
        ({"shards": [np.zeros((50, 3))]}, r"^shards has shape \(50, 3\)"),
        ({"shards": [np.zeros((51, 2))]}, "^firsts has 0 for a shard of 51 points"),
        ({"firsts": [1]}, "^firsts has 1 for a shard of 50 points, must be from 0 to 0"),
        ({"firsts": [-1]}, "^firsts has -1"),
        ({"firsts": []}, "shorter"),
    ],
)
def test_arguments_that_do_not_fit_one_another_are_refused(changed, message, rng):
    with pytest.raises(ValueError, match=message):
        kernel_of(rng.normal(size=(50, 2)), **changed)


@pytest.mark.parametrize("shape", [(49, 2), (50, 3)])
def test_positions_of_other_points_are_refused(shape, rng):
    kernel = kernel_of(rng.normal(size=(50, 2)))
    with pytest.raises(ValueError, match=rf"^positions has shape \({shape[0]}, {shape[1]}\), must have shape"):
        kernel.unit_potentials(np.zeros(shape, np.float32))


def test_plans_with_entries_that_do_not_fit_one_another_are_refused(rng):
    Y = rng.normal(size=(1, 2))
    plan = plan_for(rng.normal(size=(50, 2)), n_points=1)
    kernel_of(Y, plan)
    for changed in {"first": np.tile(plan.first, (5, 1))}, {"first": plan.first[:1]}:
        with pytest.raises(ValueError, match=r"^plan\.first has shape"):
            kernel_of(Y, plan._replace(**changed))
    for changed in {"first": plan.first + 10}, {"spacing": plan.spacing / 100}, {"nodes": (plan.nodes[0], 8)}:
        with pytest.raises(ValueError, match=r"^shards has points that the mesh of plan does not cover"):
            kernel_of(Y, plan._replace(**changed))


def test_points_of_any_layout_and_dtype_are_read(rng):
    Y = rng.normal(size=(50, 2)).astype(np.float32).astype(np.float64)
    positions = Y.astype(np.float32)
    expected = kernel_of(Y).unit_potentials(positions)[0]
    for same in np.asfortranarray(Y), np.repeat(Y, 2, axis=0)[::2], Y.astype(np.float32), Y.tolist():
        for actual, wanted in zip(kernel_of(Y, shards=[same]).unit_potentials(positions)[0], expected, strict=True):
            assert_array_equal(actual, wanted)


def test_calls_out_of_order_and_charges_of_other_lengths_are_refused(rng):
    Y = rng.normal(size=(50, 2))
    positions = Y.astype(np.float32)
    kernel = ShardedKernel(similarity_of(1.0), Workers(), Together([(0,)]).of(0))
    with pytest.raises(RuntimeError, match="call set_points before unit_potentials"):
        kernel.unit_potentials(positions)
    kernel = kernel_of(Y)
    with pytest.raises(RuntimeError, match="call unit_potentials before gradients"):
        kernel.gradients([np.ones(50)])
    kernel.unit_potentials(positions)
    with pytest.raises(RuntimeError, match="call set_points before unit_potentials"):
        kernel.unit_potentials(positions)
    for length in 0, 1, 49, 51:
        with pytest.raises(ValueError, match=rf"^charges has shape \({length},\)"):
            kernel.gradients([np.ones(length)])
    with pytest.raises(TypeError, match=r"^similarity == 1\.0, must be a Similarity"):
        ShardedKernel(1.0, Workers(), None)
    with pytest.raises(TypeError, match=r"^workers == 1, must be an instance of Workers"):
        ShardedKernel(similarity_of(1.0), 1, None)


def test_attraction_of_some_rows_refuses_arrays_that_do_not_fit(rng):
    affinities = csr_array(rng.uniform(size=(3, 10)))
    rows = AffinityRows(affinities, similarity_of(1.0), Workers(), np.float32, 10)
    good = np.zeros((10, 2), np.float32), 7, True, np.zeros((3, 2)), np.zeros(3), np.zeros(3)
    rows.attract(*good)
    no_columns = np.zeros((10, 0), np.float32), 0, True, np.zeros((3, 0)), np.zeros(3), np.zeros(3)
    with pytest.raises(ValueError, match=r"^force, stiffness and costs have shapes"):
        rows.attract(*no_columns)
    wrong = {
        "^first == ": [(1, 8), (1, -1), (0, np.zeros((9, 2), np.float32))],
        "^force, stiffness and costs have shapes": [
            (3, np.zeros((2, 2))),
            (3, np.zeros((3, 1))),
            (4, np.zeros(2)),
            (5, np.zeros(2)),
            (0, np.zeros((10, 3), np.float32)),
            (0, np.zeros(10, np.float32)),
        ],
    }
    for message, changes in wrong.items():
        for place, value in changes:
            with pytest.raises(ValueError, match=message):
                rows.attract(*good[:place], value, *good[place + 1 :])
    affinities.indices[0] = 10**8  # which does no harm to rows that were made before
    rows.attract(*good)
    with pytest.raises(ValueError, match=r"^affinities must be a valid sparse matrix"):
        AffinityRows(affinities, similarity_of(1.0), Workers(), np.float32, 10)
