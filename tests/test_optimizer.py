"""The optimiser on functions whose minimum is known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sktsne.optimizer import Evaluation, Phase, minimize


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


def test_relative_rates_double_at_most(rng):
    class Slope(Quadratic):
        def __call__(self, Y, exaggeration=1.0, with_cost=False):
            return Evaluation(
                np.where(np.arange(len(Y))[:, None] % 2, 1.0, -1.0) * np.ones_like(Y), self.curvature, 1, 1
            )

    def last_step(relative):
        two = [
            minimize(Slope(np.zeros((4, 2))), np.zeros((4, 2)), [Phase(n, 1.0, 0.0, 0.1, relative)]) for n in (29, 30)
        ]
        return np.abs(two[1].Y - two[0].Y)

    assert_allclose(last_step(True), 0.2)
    assert_allclose(last_step(False), 0.1 * (0.8 + 29 * 0.2))


def test_costs_are_computed_when_they_are_looked_at(quadratic, rng):
    seen = []
    minimize(quadratic, rng.normal(size=(20, 2)), [Phase(120, 1.0, 0.0, 1e-4)], report=seen.append)
    assert [progress.iteration for progress in seen] == [50, 100]
    assert seen[0].cost > seen[1].cost
    assert quadratic.n_costs == 3


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


def test_interruption_passes_through(quadratic):
    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minimize(quadratic, np.ones((20, 2)), [Phase(100, 1.0, 0.0, 1e-3)], report=interrupt)
