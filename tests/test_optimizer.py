"""The optimiser on functions whose minimum is known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sktsne.optimizer import Phase, minimize


class Quadratic:
    """Half of the squared distances to a target with mean zero. Records how it was called."""

    gradient_scale = 1.0
    step_scale = None

    def __init__(self, target):
        self.target = target - target.mean(axis=0)
        self.exaggerations = []
        self.n_costs = 0

    def __call__(self, Y, exaggeration=1.0, with_cost=False):
        self.exaggerations.append(exaggeration)
        self.n_costs += with_cost
        difference = Y - self.target
        return exaggeration * difference, 0.5 * float(np.sum(difference**2)) if with_cost else np.nan


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
    phases = [Phase(7, 3.0, 0.0, 1e-3), Phase(5, 2.0, 0.0, 1e-3), Phase(40, 1.0, 0.0, 0.5)]
    result = minimize(quadratic, quadratic.target.copy(), phases, min_grad_norm=1e-3)
    assert quadratic.exaggerations == [3.0] * 7 + [2.0] * 5 + [1.0] * 2  # converged, and once for the result
    assert result.n_iter == 12


def test_first_steps_follow_the_rule(quadratic, rng):
    start = rng.normal(size=(20, 2))
    start -= start.mean(axis=0)
    first = minimize(quadratic, start, [Phase(1, 1.0, 0.9, 0.1)]).Y
    velocity = -0.1 * 0.8 * (start - quadratic.target)  # the gain shrinks at rest
    assert_allclose(first, start + velocity)
    second = minimize(quadratic, start, [Phase(2, 1.0, 0.9, 0.1)]).Y
    assert_allclose(second, first + 0.9 * velocity - 0.1 * 1.0 * (first - quadratic.target))


def test_costs_are_computed_when_they_are_looked_at(quadratic, rng):
    seen = []
    minimize(quadratic, rng.normal(size=(20, 2)), [Phase(120, 1.0, 0.0, 1e-4)], report=seen.append)
    assert [progress.iteration for progress in seen] == [50, 100]
    assert seen[0].cost > seen[1].cost
    assert quadratic.n_costs == 3


def test_ends_when_there_is_no_progress(rng):
    class Flat(Quadratic):
        def __call__(self, Y, exaggeration=1.0, with_cost=False):
            return 1e-3 * rng.normal(size=Y.shape), 1.0

    result = minimize(
        Flat(np.zeros((5, 2))), np.ones((5, 2)), [Phase(5000, 1.0, 0.0, 1.0)], n_iter_without_progress=300
    )
    assert result.reason == "n_iter_without_progress"
    assert result.n_iter == 399  # best at the first look, 350 iterations before


def test_results_do_not_depend_on_where_the_start_lies(quadratic, rng):
    start = rng.normal(size=(20, 2))
    near = minimize(quadratic, start, [Phase(10, 1.0, 0.8, 0.1)]).Y
    far = minimize(quadratic, start + 64.0, [Phase(10, 1.0, 0.8, 0.1)]).Y
    assert_allclose(near, far, atol=1e-12)
    assert_allclose(near.mean(axis=0), 0.0, atol=1e-15)


def test_divergence_is_reported_with_its_learning_rate(quadratic, rng):
    with pytest.raises(FloatingPointError, match=r"diverged at iteration \d+ with learning_rate=1000"):
        minimize(quadratic, rng.normal(size=(20, 2)), [Phase(1000, 1.0, 0.9, 1e3)])


def test_interruption_passes_through(quadratic):
    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minimize(quadratic, np.ones((20, 2)), [Phase(100, 1.0, 0.0, 1e-3)], report=interrupt)
