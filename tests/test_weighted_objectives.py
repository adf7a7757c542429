"""Objectives of weighted points: a point of weight m counts as m points in one place."""

import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from registries import exact_options, takes_components
from scipy.sparse import csr_array
from test_gradients import numerical_gradient, relative_error

from sktsne.affinities import Perplexity, conditional_affinities, joint_affinities
from sktsne.anchors import Anchored, Arrangement, Places
from sktsne.kernels import KERNELS, ExactKernel
from sktsne.neighbors import all_distances
from sktsne.objectives import ConditionalKL, JointKL
from sktsne.optimizer import Frame, Phase, minimize
from sktsne.parallel import Workers
from sktsne.similarities import similarity_of

N = 40
KINDS = [(JointKL, 1.0), (ConditionalKL, math.inf), (JointKL, 0.5), (ConditionalKL, 2.0)]
# The largest relative differences of cost and gradient: rounding, or the error of a kernel.
TOLERANCES = {"exact": (1e-12, 1e-10), "barnes_hut": (1e-3, 2e-2), "fft": (1e-3, 2e-2)}


def weighted_and_repeated(kind, dof, method, d, rng, sparse):
    """Return an objective of weighted points, that of the repeated points, the rows of the latter, and the weights."""
    X, weights = rng.normal(size=(N, 4)), rng.integers(1, 4, size=N).astype(float)
    rows = np.repeat(np.arange(N), weights.astype(int))
    workers, similarity, rule = Workers(), similarity_of(dof), Perplexity([10.0])
    objectives = []
    for points, m in (X, weights), (X[rows], None):
        p = conditional_affinities(all_distances(points), rule, workers, weights=m)
        p = kind.from_conditional(p, workers, m)
        p = csr_array(p) if sparse else p
        options = exact_options(KERNELS[method]) or {}
        kernel = KERNELS[method](similarity, workers, **options)
        objectives.append(kind(p, similarity, kernel, workers, m))
    return *objectives, rows, weights


@pytest.mark.parametrize(
    ("method", "d"), [(m, d) for m, d in itertools.product(KERNELS, (1, 2, 3)) if takes_components(KERNELS[m], d)]
)
@pytest.mark.parametrize(("kind", "dof"), KINDS)
@pytest.mark.parametrize("exaggeration", [1.0, 4.0])
@pytest.mark.usefixtures("backend")
def test_integer_weights_equal_repeated_points(kind, dof, method, d, exaggeration, rng):
    sparse = method != "exact"
    weighted, repeated, rows, _ = weighted_and_repeated(kind, dof, method, d, rng, sparse)
    Y = rng.normal(size=(N, d))
    found, expected = weighted(Y, exaggeration, True), repeated(Y[rows], exaggeration, True)
    of_cost, of_gradient = TOLERANCES[method]
    assert_allclose([found.cost, found.exaggerated], [expected.cost, expected.exaggerated], rtol=of_cost)
    assert relative_error(found.gradient[rows], expected.gradient) < of_gradient
    assert_allclose(found.curvature[rows], expected.curvature, rtol=max(of_gradient, 1e-6 * sparse))
    assert_allclose(weighted.gradient_scale, repeated.gradient_scale)
    norms = [objective.frame.norm(value.gradient) for objective, value in ((weighted, found), (repeated, expected))]
    assert_allclose(*norms, rtol=of_gradient)
    costs = np.bincount(rows, repeated.point_costs(Y[rows]))
    assert_allclose(weighted.point_costs(Y), costs, rtol=of_cost, atol=of_cost * np.abs(costs).max())


@pytest.mark.parametrize("d", [1, 2, 3, 5])
@pytest.mark.parametrize(("kind", "dof"), KINDS)
@pytest.mark.usefixtures("backend")
def test_weighted_gradient_equals_finite_differences(kind, dof, d, rng):
    X, weights = rng.normal(size=(14, 4)), rng.uniform(0.2, 3.0, size=14)
    workers, similarity = Workers(), similarity_of(dof)
    p = conditional_affinities(all_distances(X), Perplexity([3.0]), workers, weights=weights)
    p = kind.from_conditional(p, workers, weights)
    objective = kind(p, similarity, ExactKernel(similarity, workers), workers, weights)
    Y = 0.8 * rng.normal(size=(14, d))
    # The gradient is that of one copy of a point, and the cost that of all copies.
    gradient = weights[:, None] * objective(Y).gradient
    assert relative_error(gradient, numerical_gradient(lambda Z: objective(Z, with_cost=True).cost, Y)) < 1e-6
    assert_allclose(objective.point_costs(Y).sum(), objective(Y, with_cost=True).cost, rtol=1e-12)


@pytest.mark.parametrize("kind", [JointKL, ConditionalKL])
def test_weights_near_one_change_little(kind, rng):
    X, Y, workers = rng.normal(size=(20, 3)), rng.normal(size=(20, 2)), Workers()
    similarity = similarity_of(1.0)
    costs = []
    for weights in None, np.full(20, 1.0 + 1e-9), np.full(20, 1.0 - 1e-9):
        p = conditional_affinities(all_distances(X), Perplexity([5.0]), workers, weights=weights)
        p = kind.from_conditional(p, workers, weights)
        costs.append(kind(p, similarity, ExactKernel(similarity, workers), workers, weights)(Y, with_cost=True).cost)
    assert_allclose(costs[1:], costs[0], rtol=1e-6)


def test_affinities_to_oneself_need_copies():
    p, workers, similarity = np.array([[0.2, 0.3], [0.3, 0.2]]), Workers(), similarity_of(1.0)
    kernel = ExactKernel(similarity, workers)
    with pytest.raises(ValueError, match=r"affinities of row 1 to itself .* weights\[1\] == 0.5"):
        JointKL(p, similarity, kernel, workers, np.array([2.0, 0.5]))


@pytest.mark.parametrize("weights", [[1.0, 0.0], [1.0, -1.0], [1.0, np.nan], [1.0], [[1.0, 1.0]]])
@pytest.mark.parametrize("kind", [JointKL, ConditionalKL])
def test_wrong_weights_are_refused(kind, weights):
    p, workers, similarity = np.array([[0.0, 0.5], [0.5, 0.0]]), Workers(), similarity_of(1.0)
    with pytest.raises(ValueError, match="weights"):
        kind(p, similarity, ExactKernel(similarity, workers), workers, np.array(weights))


def test_second_derivatives_refuse_weights():
    p, workers, similarity = np.array([[0.0, 0.5], [0.5, 0.0]]), Workers(), similarity_of(1.0)
    for kind in JointKL, ConditionalKL:
        objective = kind(p, similarity, ExactKernel(similarity, workers), workers, np.array([1.0, 2.0]))
        with pytest.raises(ValueError, match="weights must be None"):
            objective.point_hessians(np.array([[0.0], [1.0]]))


def terms(n, d, rng, weights, n_distributions):
    """Return anchors of both kinds."""
    targets = rng.normal(size=(n, d))
    places = targets.copy()
    places[::3] = np.nan
    strengths = rng.uniform(0.0, 3.0, size=n)
    return [
        Places(places, strengths, n_distributions, weights),
        Arrangement(5.0 + 3.0 * targets, 2.0, n_distributions, weights),
    ]


@pytest.mark.parametrize("method", KERNELS)
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("kind", [JointKL, ConditionalKL])
@pytest.mark.parametrize("place", [[0], [1], [0, 1]])
def test_gradients_of_anchors_equal_finite_differences(kind, method, d, is_weighted, place, rng):
    n, workers, similarity = 14, Workers(), similarity_of(1.0)
    weights = rng.uniform(0.2, 3.0, size=n) if is_weighted else None
    X, Y = rng.normal(size=(n, 4)), rng.normal(size=(n, d))
    p = conditional_affinities(all_distances(X), Perplexity([3.0]), workers, weights=weights)
    p = kind.from_conditional(p, workers, weights)
    objective = kind(p, similarity, KERNELS[method](similarity, workers), workers, weights)
    anchors = terms(n, d, rng, weights, n if kind is ConditionalKL else 1)
    anchors = [anchors[i] for i in place]
    anchored, m = Anchored(objective, anchors), np.ones(n) if weights is None else weights
    plain = objective(Y, with_cost=True)
    gradient, cost = plain.gradient.copy(), plain.cost
    value = anchored(Y, with_cost=True)
    # The kernels' own gradients are tested elsewhere; here, it is their difference.
    expected = numerical_gradient(anchored.anchor_cost, Y)
    assert relative_error(m[:, None] * (value.gradient - gradient), expected) < 1e-6
    assert_allclose(value.cost - cost, anchored.anchor_cost(Y), rtol=1e-6)


def test_anchors_of_weighted_points_equal_those_of_repeated_points(rng):
    weights, Y = rng.integers(1, 4, size=N).astype(float), rng.normal(size=(N, 2))
    rows = np.repeat(np.arange(N), weights.astype(int))
    targets, strengths = rng.normal(size=(N, 2)), rng.uniform(size=N)
    for weighted, repeated in (
        (Places(targets, strengths, 1, weights), Places(targets[rows], strengths[rows], 1)),
        (Arrangement(targets, 0.7, 1, weights), Arrangement(targets[rows], 0.7, 1)),
    ):
        found, expected = weighted(Y), repeated(Y[rows])
        assert_allclose(found[0][rows], expected[0], atol=1e-15)
        assert_allclose(found[1][rows], expected[1])
        assert_allclose(found[2], expected[2])


def test_the_curvature_of_anchors_is_at_least_their_second_derivative(rng):
    Y = rng.normal(size=(20, 2))
    for anchors in terms(20, 2, rng, None, 1):
        curvature = anchors(Y)[1]
        for i, k in itertools.product(range(20), range(2)):
            move = np.zeros_like(Y)
            move[i, k] = 1e-3
            second = (anchors(Y + move)[2] - 2.0 * anchors(Y)[2] + anchors(Y - move)[2]) / 1e-6
            assert second <= curvature[i] + 1e-6


def test_the_cost_of_an_arrangement_is_one_minus_the_squared_correlation(rng):
    Y, targets = rng.normal(size=(50, 2)), rng.normal(size=(50, 2))
    centered, t = Y - Y.mean(axis=0), targets - targets.mean(axis=0)
    r = np.sum(centered * t) / np.sqrt(np.sum(centered**2) * np.sum(t**2))
    wide = Arrangement(1e-200 * targets, 3.0, 1)(1e6 * Y)[2]
    assert_allclose(wide, 3.0 * (1.0 - r**2), rtol=1e-9)


def test_held_points_do_not_move(rng):
    workers, similarity = Workers(), similarity_of(1.0)
    p = joint_affinities(conditional_affinities(all_distances(rng.normal(size=(20, 3))), Perplexity([5.0]), workers))
    start = rng.normal(size=(20, 2)) + 7.0
    targets = start.copy()
    targets[10:] = np.nan
    places = Places(targets, np.full(20, np.inf), 1)
    objective = Anchored(JointKL(p, similarity, ExactKernel(similarity, workers), workers), [places])
    result = minimize(objective, start, [Phase(60, 1.0, 0.9, 1.75, relative=True, largest_gain=2.0)])
    assert (result.Y[:10] == start[:10]).all()
    assert (result.Y[10:] != start[10:]).all()


@pytest.mark.parametrize("fixed", [False, True])
def test_a_frame_counts_points_by_their_weights(fixed, rng):
    weights, Y = rng.integers(1, 4, size=N).astype(float), rng.normal(size=(N, 3))
    rows = np.repeat(np.arange(N), weights.astype(int))
    weighted, plain = Frame(weights, fixed), Frame(fixed=fixed)
    assert_allclose(weighted.center(Y), plain.center(Y[rows]), atol=1e-15)
    assert_allclose(weighted.norm(Y), plain.norm(Y[rows]))
    assert_allclose(weighted.extent(Y), plain.extent(Y[rows]))
    assert_allclose(weighted.total(N), plain.total(len(rows)))
