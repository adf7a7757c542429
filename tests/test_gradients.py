"""The objectives against the papers' equations, written as double loops, and against finite differences."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sktsne.affinities import Perplexity, conditional_affinities, joint_affinities
from sktsne.kernels import ExactKernel
from sktsne.neighbors import all_distances, nearest_neighbors
from sktsne.objectives import ConditionalKL, JointKL
from sktsne.parallel import Workers
from sktsne.similarities import similarity_of

N = 14
COMPONENTS = [1, 2, 3, 5]
# Large enough for every point to see the others, small enough for no weight to vanish.
SPREAD = 0.8


def make(kind, storage, dof, rng):
    """Return an objective and its affinities, over N random rows."""
    X = rng.normal(size=(N, 4))
    workers = Workers()
    graph = nearest_neighbors(X, 6) if storage == "sparse" else all_distances(X)
    affinities = conditional_affinities(graph, Perplexity([3.0]), workers)
    if kind is JointKL:
        affinities = joint_affinities(affinities)
    similarity = similarity_of(dof)
    objective = kind(affinities, similarity, ExactKernel(similarity, workers), workers)
    return objective, (affinities.toarray() if storage == "sparse" else affinities)


def numerical_gradient(cost, Y, step=2e-3):
    """Return the gradient by central differences of sixth order."""
    gradient = np.zeros_like(Y)
    for index in np.ndindex(*Y.shape):
        move = np.zeros_like(Y)
        move[index] = step
        for weight, times in ((45.0, 1), (-9.0, 2), (1.0, 3)):
            gradient[index] += weight * (cost(Y + times * move) - cost(Y - times * move)) / (60.0 * step)
    return gradient


def relative_error(actual, expected):
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("storage", ["dense", "sparse"])
@pytest.mark.parametrize("d", COMPONENTS)
@pytest.mark.parametrize(
    ("kind", "dof"),
    [
        (JointKL, 1.0),
        (ConditionalKL, math.inf),
        (JointKL, math.inf),
        (ConditionalKL, 1.0),
        (JointKL, 0.5),
        (JointKL, 10.0),
        (ConditionalKL, 2.0),
    ],
)
@pytest.mark.usefixtures("backend")
def test_gradient_equals_finite_differences_of_the_cost(kind, dof, d, storage, rng):
    objective, _ = make(kind, storage, dof, rng)
    Y = SPREAD * rng.normal(size=(N, d))
    gradient = objective(Y)[0].copy()
    expected = numerical_gradient(lambda Z: objective(Z, with_cost=True)[2], Y)
    assert relative_error(gradient, expected) < 1e-6


@pytest.mark.parametrize("storage", ["dense", "sparse"])
@pytest.mark.parametrize("d", COMPONENTS)
@pytest.mark.usefixtures("backend")
def test_tsne_follows_van_der_maaten_and_hinton(d, storage, rng):
    objective, p = make(JointKL, storage, 1.0, rng)
    y = rng.normal(size=(N, d))
    gradient, _, cost, _ = objective(y, with_cost=True)

    def r2(i, j):
        return sum((y[i, k] - y[j, k]) ** 2 for k in range(d))

    Z = sum(1 / (1 + r2(k, h)) for k in range(N) for h in range(N) if k != h)
    expected_cost, expected = 0.0, np.zeros((N, d))
    for i in range(N):
        for j in range(N):
            if i != j:
                q = 1 / (1 + r2(i, j)) / Z  # eq. 4
                expected_cost += p[i, j] * math.log(p[i, j] / q) if p[i, j] else 0.0
                expected[i] += 4 * (p[i, j] - q) * (y[i] - y[j]) / (1 + r2(i, j))  # eq. 5
    assert cost == pytest.approx(expected_cost, rel=1e-12)
    assert_allclose(gradient, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("storage", ["dense", "sparse"])
@pytest.mark.parametrize("d", COMPONENTS)
@pytest.mark.usefixtures("backend")
def test_sne_follows_hinton_and_roweis(d, storage, rng):
    objective, p = make(ConditionalKL, storage, math.inf, rng)
    y = rng.normal(size=(N, d))
    gradient, _, cost, _ = objective(y, with_cost=True)

    def weight(i, j):
        return math.exp(-sum((y[i, k] - y[j, k]) ** 2 for k in range(d)))

    def q(j, i):
        return weight(i, j) / sum(weight(i, k) for k in range(N) if k != i)  # eq. 4

    expected_cost, expected = 0.0, np.zeros((N, d))
    for i in range(N):
        for j in range(N):
            if i != j:
                expected_cost += p[i, j] * math.log(p[i, j] / q(j, i)) if p[i, j] else 0.0  # eq. 5
                expected[i] += 2 * (p[i, j] - q(j, i) + p[j, i] - q(i, j)) * (y[i] - y[j])  # eq. 6
    assert cost == pytest.approx(expected_cost, rel=1e-12)
    assert_allclose(gradient, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("kind", [JointKL, ConditionalKL])
@pytest.mark.usefixtures("backend")
def test_exaggeration_scales_the_attraction_and_leaves_the_cost(kind, rng):
    dof = 1.0 if kind is JointKL else math.inf
    objective, _ = make(kind, "sparse", dof, rng)
    Y = rng.normal(size=(N, 2))
    (plain, once, cost), (double, twice, double_cost), (triple, _, _) = (
        (gradient.copy(), curvature.copy(), cost)
        for gradient, curvature, cost, _ in (objective(Y, factor, with_cost=True) for factor in (1.0, 2.0, 3.0))
    )
    assert double_cost == cost
    assert_allclose(twice, 2.0 * once)
    assert_allclose(triple - double, double - plain, rtol=1e-9, atol=1e-12)
    assert np.abs(double - plain).max() > 1e-3


@pytest.mark.parametrize("kind", [JointKL, ConditionalKL])
def test_gradients_sum_to_zero_and_ignore_translations(kind, rng):
    objective, _ = make(kind, "dense", 1.0 if kind is JointKL else math.inf, rng)
    Y = rng.normal(size=(N, 3))
    gradient, _, cost, _ = objective(Y, with_cost=True)
    gradient = gradient.copy()
    moved, _, moved_cost, _ = objective(Y + 7.0, with_cost=True)
    assert_allclose(gradient.sum(axis=0), 0.0, atol=1e-13)
    assert_allclose(moved, gradient, atol=1e-12)
    assert moved_cost == pytest.approx(cost, rel=1e-12)


@pytest.mark.usefixtures("backend")
def test_an_isolated_point_has_a_finite_cost_and_is_pulled_back(rng):
    objective, _ = make(ConditionalKL, "dense", math.inf, rng)
    Y = rng.normal(size=(N, 2))
    Y[0] = (300.0, 0.0)  # exp(-300²) underflows
    gradient, _, cost, _ = objective(Y, with_cost=True)
    assert math.isfinite(cost)
    assert np.isfinite(gradient).all()
    assert gradient[0, 0] > 0.0


@pytest.mark.parametrize("storage", ["dense", "sparse"])
@pytest.mark.parametrize("kind", [JointKL, ConditionalKL])
@pytest.mark.usefixtures("backend")
def test_curvature_is_that_of_the_springs(kind, storage, rng):
    dof, factor = (1.0, 4.0) if kind is JointKL else (math.inf, 2.0)
    objective, p = make(kind, storage, dof, rng)
    Y = 0.3 * rng.normal(size=(N, 2))
    r2 = np.sum((Y[:, None] - Y) ** 2, axis=2)
    springs = p if kind is JointKL else p + p.T
    expected = factor * np.sum(springs * similarity_of(dof).decay(r2), axis=1)
    assert_allclose(objective(Y)[1], expected, rtol=1e-12)


def test_soft_springs_leave_a_curvature(rng):
    objective, _ = make(JointKL, "sparse", 1.0, rng)
    curvature = objective(1e6 * rng.normal(size=(N, 2)))[1]
    assert_allclose(curvature, 4.0 / 8.0 / N)
