"""The optimizer on functions whose minimum is known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sktsne.optimizer import Evaluation, Phase, State, descend_in_phases, minimize


class Quadratic:
    """Half of the squared distances to a target with mean zero. Records how it was called."""

    gradient_scale = 1.0

    def __init__(self, target, curvature=1.0):
        self.target = target - target.mean(axis=0)
        self.curvature = np.full(len(target), curvature)
        self.exaggerations = []
        self.n_costs = 0

    def __call__(self, Y, exaggeration=1.0, with_cost=False):
        self.exaggerations.append(exaggeration)
        self.n_costs += with_cost
        difference = Y - self.target
        cost = 0.5 * float(np.sum(difference**2)) if with_cost else np.nan
        return Evaluation(exaggeration * difference, exaggeration * self.curvature, cost, exaggeration * cost)


@pytest.fixture
def quadratic(rng):
    return Quadratic(rng.normal(size=(20, 2)))


def test_reaches_the_minimum_and_leaves_the_start_alone(quadratic, rng):
    start = rng.normal(size=(20, 2))
    copy = start.copy()
    result = minimize(quadratic, start, [Phase(500, 1.0, 0.5, 0.1)], min_grad_norm=1e-12)
    assert_allclose(result.Y, quadratic.target, atol=1e-10)
    assert result.cost < 1e-20
    assert result.gradient_norm < 1e-10
    assert result.reason == "min_grad_norm"
    assert result.n_iter < 500
    assert_array_equal(start, copy)


def test_phases_run_in_order_and_only_the_last_ends_early(quadratic):
    phases = [Phase(60, 3.0, 0.0, 1e-3), Phase(5, 2.0, 0.0, 1e-3), Phase(400, 1.0, 0.0, 0.5)]
    result = minimize(quadratic, quadratic.target.copy(), phases, min_grad_norm=1e-3)
    # Converged when it was looked at, after 100 iterations, and evaluated once more for the result.
    assert quadratic.exaggerations == [3.0] * 60 + [2.0] * 5 + [1.0] * 37
    assert result.n_iter == 100


@pytest.mark.parametrize("until", [0, 1, 3, 4, 7, 50])
def test_stops_before_an_iteration_and_goes_on(until, quadratic, rng):
    Y = rng.normal(size=(20, 2))
    phases = [Phase(3, 2.0, 0.5, 0.1), Phase(4, 1.0, 0.8, 0.1)]
    state = State.at(Y)
    first = minimize(quadratic, state, phases, until=until)
    assert first.n_iter == state.iteration == min(until, 7)
    assert first.reason == "max_iter"
    assert_array_equal(minimize(quadratic, state, phases).Y, minimize(quadratic, Y, phases).Y)


def test_first_steps_follow_the_rule(quadratic, rng):
    start = rng.normal(size=(20, 2))
    start -= start.mean(axis=0)
    first = minimize(quadratic, start, [Phase(1, 1.0, 0.9, 0.1)]).Y
    velocity = -0.1 * 0.8 * (start - quadratic.target)  # the gain shrinks at rest
    assert_allclose(first, start + velocity)
    second = minimize(quadratic, start, [Phase(2, 1.0, 0.9, 0.1)]).Y
    assert_allclose(second, first + 0.9 * velocity - 0.1 * 1.0 * (first - quadratic.target))


def test_relative_rates_do_not_see_the_scale_of_the_cost(rng):
    class Scaled(Quadratic):
        def __call__(self, Y, exaggeration=1.0, with_cost=False):
            evaluation = super().__call__(Y, exaggeration, with_cost)
            return evaluation._replace(gradient=self.curvature[:, None] * evaluation.gradient)

    target, start = rng.normal(size=(20, 2)), rng.normal(size=(20, 2))
    phases = [Phase(15, 4.0, 0.8, 0.1, relative=True), Phase(15, 1.0, 0.8, 0.1, relative=True)]
    expected = minimize(Scaled(target), start, phases).Y
    assert_allclose(minimize(Scaled(target, 1e6), start, phases).Y, expected, rtol=1e-12)
    assert_allclose(minimize(Scaled(target, 1e-6), start, phases).Y, expected, rtol=1e-12)


def test_gains_grow_up_to_their_bound(rng):
    class Slope(Quadratic):
        def __call__(self, Y, exaggeration=1.0, with_cost=False):
            return Evaluation(
                np.where(np.arange(len(Y))[:, None] % 2, 1.0, -1.0) * np.ones_like(Y), self.curvature, 1, 1
            )

    def last_step(**options):
        two = [
            minimize(Slope(np.zeros((4, 2))), np.zeros((4, 2)), [Phase(n, 1.0, 0.0, 0.1, **options)]) for n in (29, 30)
        ]
        return np.abs(two[1].Y - two[0].Y)

    assert_allclose(last_step(largest_gain=1.5), 0.15)
    assert_allclose(last_step(), 0.1 * (0.8 + 29 * 0.2))


def test_costs_are_computed_when_they_are_looked_at(quadratic, rng):
    seen = []
    minimize(quadratic, rng.normal(size=(20, 2)), [Phase(120, 1.0, 0.0, 1e-4)], report=seen.append)
    assert [progress.iteration for progress in seen] == [50, 100]
    assert seen[0].cost > seen[1].cost
    assert quadratic.n_costs == 3


def test_a_tick_comes_after_each_iteration_and_needs_no_cost(quadratic, rng):
    ticks = []
    minimize(
        quadratic, rng.normal(size=(20, 2)), [Phase(40, 1.0, 0.0, 1e-4), Phase(30, 1.0, 0.0, 1e-4)], tick=ticks.append
    )
    assert ticks == list(range(1, 71))
    assert quadratic.n_costs == 2  # at the check, and of the result


def test_ends_when_there_is_no_progress(rng):
    class Flat(Quadratic):
        def __call__(self, Y, exaggeration=1.0, with_cost=False):
            return Evaluation(1e-3 * rng.normal(size=Y.shape), self.curvature, 1.0, 1.0)

    for patience in (50, 300):
        result = minimize(
            Flat(np.zeros((5, 2))), np.ones((5, 2)), [Phase(5000, 1.0, 0.0, 1.0)], n_iter_without_progress=patience
        )
        assert result.reason == "n_iter_without_progress"
        assert result.n_iter == 50 + patience  # the first look is the best


@pytest.mark.parametrize(("tol", "n_iter"), [(0.05, 600), (0.2, 100), (0.0, 600)])
def test_a_cost_must_fall_by_tol_of_itself(tol, n_iter):
    class Falling(Quadratic):
        def __call__(self, Y, exaggeration=1.0, with_cost=False):
            self.n_costs += with_cost
            return Evaluation(np.ones_like(Y), self.curvature, 0.9**self.n_costs, 0.9**self.n_costs)

    objective = Falling(np.zeros((5, 2)))
    result = minimize(objective, np.ones((5, 2)), [Phase(600, 1.0, 0.0, 1.0)], tol=tol)
    assert result.n_iter == n_iter


def test_results_do_not_depend_on_where_the_start_lies(quadratic, rng):
    start = rng.normal(size=(20, 2))
    near = minimize(quadratic, start, [Phase(10, 1.0, 0.8, 0.1)]).Y
    far = minimize(quadratic, start + 64.0, [Phase(10, 1.0, 0.8, 0.1)]).Y
    assert_allclose(near, far, atol=1e-12)
    assert_allclose(near.mean(axis=0), 0.0, atol=1e-15)


def test_divergence_is_reported_with_its_learning_rate(quadratic, rng):
    with pytest.raises(FloatingPointError, match=r"diverged at iteration \d+ with learning_rate=1000"):
        minimize(quadratic, rng.normal(size=(20, 2)), [Phase(1000, 1.0, 0.9, 1e3)], n_iter_without_progress=500)


@pytest.mark.parametrize("objective", [len, 3, Quadratic])
def test_an_objective_that_is_none_is_named(objective):
    with pytest.raises(TypeError, match=r"^objective == .*, must be callable and have a gradient_scale"):
        minimize(objective, np.ones((20, 2)), [Phase(1, 1.0, 0.0, 1e-3)])


def test_a_report_that_cannot_be_called_or_returns_no_bool_is_named(quadratic):
    start, phases = np.ones((20, 2)), [Phase(60, 1.0, 0.0, 1e-3)]
    with pytest.raises(TypeError, match=r"^tick == 3, must be callable or None"):
        minimize(quadratic, np.ones((3, 2)), [Phase(3, 1.0, 0.5, 0.1)], tick=3)
    with pytest.raises(TypeError, match=r"^report == 3, must be callable or None"):
        minimize(quadratic, start, phases, report=3)
    with pytest.raises(TypeError, match=r"^report == .*lambda.* of type ndarray, must return True, False or None"):
        minimize(quadratic, start, phases, report=lambda progress: progress.state.Y)
    assert minimize(quadratic, start, phases, report=lambda progress: np.bool_(True)).reason == "report"


def test_interruption_passes_through(quadratic):
    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minimize(quadratic, np.ones((20, 2)), [Phase(100, 1.0, 0.0, 1e-3)], report=interrupt)


class Watched(Quadratic):
    """Records the points that it was called with."""

    def __init__(self, *args):
        super().__init__(*args)
        self.seen = []

    def __call__(self, Y, *args, **kwargs):
        self.seen.append(Y.copy())
        return super().__call__(Y, *args, **kwargs)

    def steps(self):
        """Return the lengths of the steps, without the centering that each leaves to the next."""
        return [
            np.linalg.norm(after - (before - before.mean(axis=0)), axis=1)
            for before, after in zip(self.seen[:-1], self.seen[1:-1], strict=False)
        ]


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.usefixtures("backend")
def test_no_step_is_longer_than_allowed_and_short_ones_are_whole(relative, d, rng):
    target, start = 10.0 * rng.normal(size=(30, d)), rng.normal(size=(30, d))
    limited, free = Watched(target), Watched(target)
    phases = [Phase(80, 3.0, 0.9, 0.15 if relative else 0.05, relative)]
    minimize(limited, start, phases, max_step_norm=1.0)
    minimize(free, start, phases)
    assert max(map(np.max, free.steps())) > 1.2
    assert max(map(np.max, limited.steps())) == pytest.approx(1.0, rel=1e-12)
    # Of the first step, from rest, nothing but the length is changed.
    whole, cut = (objective.seen[1] - objective.seen[0] for objective in (free, limited))
    lengths = np.linalg.norm(whole, axis=1, keepdims=True)
    assert 0 < np.count_nonzero(lengths > 1.0) < 30
    assert_allclose(cut, whole * np.minimum(1.0, 1.0 / lengths), rtol=1e-9)


def test_a_limit_beyond_all_steps_changes_nothing(quadratic, rng):
    start = rng.normal(size=(20, 2))
    phases = [Phase(60, 1.0, 0.8, 0.1)]
    expected = minimize(quadratic, start, phases).Y
    assert_array_equal(minimize(quadratic, start, phases, max_step_norm=1e6).Y, expected)


def test_without_momentum_a_step_is_that_of_the_gradient(rng):
    objective = Watched(rng.normal(size=(20, 2)))
    start = rng.normal(size=(20, 2))
    minimize(objective, start - start.mean(axis=0), [Phase(6, 1.0, 0.0, 0.01)])
    for before, after in zip(objective.seen[:-2], objective.seen[1:-1], strict=True):
        ratio = (after - before + before.mean(axis=0)) / (-0.01 * (before - objective.target))
        assert (ratio > 0.0).all()  # the gains
    assert_allclose(ratio, 0.8 + 0.2 * 4)  # velocity and gradient point in opposite directions after the first


def test_the_cost_reported_is_the_true_one_while_exaggerated(quadratic, rng):
    seen = []
    start = rng.normal(size=(20, 2))
    result = minimize(quadratic, start, [Phase(60, 7.0, 0.0, 1e-9)], report=seen.append)
    expected = 0.5 * np.sum((start - start.mean(axis=0) - quadratic.target) ** 2)
    assert seen[0].cost == pytest.approx(expected, rel=1e-4)
    assert result.cost == pytest.approx(expected, rel=1e-4)


class Falling:
    """A descent without points, which records the calls of the loop."""

    def __init__(self, last_finite=100):
        self.state = State.at(np.ones((2, 1)))
        self.calls, self.last_finite = [], last_finite

    def evaluate(self, phase, with_cost):
        self.calls.append(f"evaluate {phase.exaggeration:g}" + " with cost" * with_cost)
        return (1.0 / (1 + self.state.iteration), 1.0, 1.0) if with_cost else (np.nan, np.nan, 0.0)

    def extent(self):
        return 1.0

    def step(self, phases):
        self.calls.append("step " + " ".join(f"{phase.exaggeration:g}" for phase in phases))
        return self.state.iteration < self.last_finite

    def hold(self):
        self.calls.append("hold")

    def resume(self):
        self.calls.append("resume")


def descend(descent, phases, report=lambda progress: None, ticks=None):
    settings = {"n_iter_without_progress": 300, "tol": 0.0, "min_grad_norm": 1e-7, "report_every": 2}
    return descend_in_phases(descent, phases, report=report, tick=ticks and ticks.append, **settings)


def test_the_loop_moves_points_that_it_does_not_have():
    descent, ticks = Falling(), [0]

    def report(progress):
        descent.calls.append(f"report {progress.iteration}: {progress.cost:g}")

    assert descend(descent, [Phase(1, 4.0, 0.5, 0.1), Phase(3, 1.0, 0.5, 0.1)], report, ticks) == "max_iter"
    assert descent.calls == [
        *("evaluate 4", "step 4 1", "evaluate 1", "step 1"),
        *("evaluate 1 with cost", "hold", f"report 2: {1 / 3:g}", "resume", "step 1 1", "evaluate 1", "step 1"),
    ]
    assert ticks == [0, 1, 2, 3, 4]


def test_the_loop_goes_on_from_the_state_after_an_error_of_the_points():
    class Interrupted(Falling):
        def hold(self):
            super().hold()
            if self.calls.count("hold") == 1:
                raise ConnectionError

    descent, seen, phases = Interrupted(), [], [Phase(5, 1.0, 0.5, 0.1)]
    with pytest.raises(ConnectionError):
        descend(descent, phases, lambda progress: seen.append(progress.iteration))
    assert descent.state.iteration == 2
    assert descend(descent, phases, lambda progress: seen.append(progress.iteration)) == "max_iter"
    assert seen == [2, 4]
    assert sum(call.startswith("step") for call in descent.calls) == 5


@pytest.mark.parametrize("until", [None, 60])
def test_steps_know_the_phases_until_the_next_costs(until):
    descent = Falling()
    phases = [Phase(45, 4.0, 0.5, 0.1), Phase(10**9, 1.0, 0.5, 0.1)]
    settings = {"n_iter_without_progress": 300, "tol": 0.0, "min_grad_norm": 1e-7, "report": None, "tick": None}
    if until is None:
        descent.last_finite = 59
        with pytest.raises(FloatingPointError, match="at iteration 59"):
            descend_in_phases(descent, phases, report_every=20, **settings)
    else:
        descend_in_phases(descent, phases, report_every=20, until=until, **settings)
    steps = [call.split()[1:] for call in descent.calls if call.startswith("step")]
    ends = [20] * 20 + [40] * 20 + [50] * 10 + [60] * 10
    assert steps == [["4"] * max(0, min(end, 45) - i) + ["1"] * (end - max(45, i)) for i, end in enumerate(ends)]


def test_the_loop_reports_a_divergence_of_points_that_are_no_longer_finite():
    with pytest.raises(FloatingPointError, match=r"diverged at iteration 3 with learning_rate=0.1"):
        descend(Falling(last_finite=3), [Phase(10, 1.0, 0.5, 0.1)])
