"""Conditional and joint probabilities, on ordinary and on degenerate distances."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.manifold import TSNE as SklearnTSNE  # noqa: N811

from sktsne._native.parallel import Workers
from sktsne.affinities import (
    Perplexity,
    conditional_affinities,
    joint_affinities,
    reorder,
)
from sktsne.kernels import ExactKernel
from sktsne.neighbors import all_distances, nearest_neighbors
from sktsne.objectives import JointKL
from sktsne.perplexity import conditional_probabilities, search_precisions_reference
from sktsne.similarities import StudentT


def perplexity_of(P):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.exp(-np.where(P > 0.0, P * np.log(P), 0.0).sum(axis=1))


def probabilities(distances, perplexity):
    return conditional_probabilities(np.ascontiguousarray(distances, dtype=float), perplexity, Workers())


@pytest.mark.parametrize("perplexity", [1.0, 1.5, 5.0, 30.0, 88.0, 89.9])
@pytest.mark.usefixtures("backend")
def test_rows_have_the_perplexity_asked_for(perplexity, rng):
    distances = np.sort(rng.gamma(3.0, size=(200, 90)), axis=1)
    P = probabilities(distances, perplexity)
    assert_allclose(P.sum(axis=1), 1.0, rtol=1e-13)
    assert_allclose(np.log(perplexity_of(P)), np.log(perplexity), atol=1e-5)
    assert (np.diff(P, axis=1) <= 0.0).all()  # the nearer, the likelier


@pytest.mark.parametrize("perplexity", [2.0, 30.0])
def test_compiled_search_agrees_with_its_reference(perplexity, reference, rng):
    distances = np.vstack(
        [
            rng.gamma(3.0, size=(50, 90)),
            rng.lognormal(sigma=3.0, size=(50, 90)),
            10.0 ** rng.uniform(-150, 150, size=(20, 90)),
            rng.integers(0, 4, size=(50, 90)),
            np.where(rng.uniform(size=(50, 90)) < 0.4, np.inf, rng.gamma(3.0, size=(50, 90))),
        ]
    )
    compiled = probabilities(distances, perplexity)
    reference()
    expected = probabilities(distances, perplexity)
    assert_allclose(compiled, expected, rtol=1e-6, atol=1e-9)
    assert_allclose(compiled.sum(axis=1), 1.0, rtol=1e-13)


@pytest.mark.parametrize("data", ["gamma", "heavy tails", "digits"])
def test_search_converges_in_few_steps(data, digits, rng):
    if data == "gamma":
        distances = rng.gamma(3.0, size=(500, 90))
    else:
        X = digits[0] if data == "digits" else rng.standard_t(2, size=(500, 10))
        distances = nearest_neighbors(X, 91).distances
    P = np.empty_like(distances)
    search_precisions_reference(distances, 30.0, 1e-5, 3, P, 0, len(P))
    assert np.mean(np.abs(np.log(perplexity_of(P) / 30.0)) <= 1e-5) >= 0.99
    search_precisions_reference(distances, 30.0, 1e-5, 8, P, 0, len(P))
    assert_allclose(np.log(perplexity_of(P)), np.log(30.0), atol=1e-5)


DEGENERATE = {
    "all at zero": (np.zeros(50), np.full(50, 1 / 50)),
    "all equal": (np.full(50, 3.0), np.full(50, 1 / 50)),
    "more duplicates than the perplexity": (
        np.r_[np.zeros(40), np.ones(10)],
        np.r_[np.full(40, 1 / 40), np.zeros(10)],
    ),
    "ties at the nearest": (np.r_[np.full(35, 2.0), np.full(15, 9.0)], np.r_[np.full(35, 1 / 35), np.zeros(15)]),
    "as many as the perplexity": (
        np.r_[np.arange(1.0, 31.0), np.full(20, np.inf)],
        np.r_[np.full(30, 1 / 30), np.zeros(20)],
    ),
    "few that are not missing": (np.r_[1.0, 2.0, np.full(48, np.inf)], np.r_[0.5, 0.5, np.zeros(48)]),
}


@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e300])
@pytest.mark.usefixtures("backend")
def test_degenerate_rows_have_the_limit_of_the_entropy(case, scale):
    distances, expected = DEGENERATE[case]
    P = probabilities(distances[None] * scale, 30.0)
    assert_allclose(P[0], expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [2.0**-600, 1e-30, 1e30, 2.0**600])
@pytest.mark.usefixtures("backend")
def test_probabilities_do_not_depend_on_the_scale(scale, rng):
    distances = rng.gamma(3.0, size=(20, 60))
    assert_allclose(probabilities(distances * scale, 10.0), probabilities(distances, 10.0), rtol=1e-6)


@pytest.mark.parametrize(
    "row",
    [
        np.r_[0.0, np.full(59, 1.0)],  # one duplicate, the others all equal
        np.r_[0.0, 1e-160, np.linspace(1.0, 2.0, 58)],  # a gap of 160 orders
        np.r_[np.zeros(9), np.linspace(1e-200, 1.0, 51)],
        1.0 + 1e-15 * np.arange(60),  # equal to the last digits
        10.0 ** np.linspace(-70, 70, 60),
    ],
)
@pytest.mark.usefixtures("backend")
def test_awkward_rows_have_the_perplexity_asked_for(row):
    P = probabilities(row[None], 10.0)
    assert P.sum() == pytest.approx(1.0, rel=1e-13)
    assert np.log(perplexity_of(P)) == pytest.approx(np.log(10.0), abs=1e-5)


@pytest.mark.parametrize("n_threads", [2, 5])
@pytest.mark.usefixtures("backend")
def test_threads_do_not_change_a_bit(n_threads, rng):
    distances = rng.gamma(3.0, size=(2000, 40))
    with Workers(n_threads) as workers:
        assert_array_equal(conditional_probabilities(distances, 10.0, workers), probabilities(distances, 10.0))


def test_joint_probabilities_are_symmetric_and_sum_to_one(rng):
    X = rng.normal(size=(100, 5))
    for graph in (nearest_neighbors(X, 31), all_distances(X)):
        conditional = conditional_affinities(graph, Perplexity([10.0]), Workers())
        joint = joint_affinities(conditional)
        assert_allclose(np.asarray(conditional.sum(axis=1)).ravel(), 1.0, rtol=1e-13)
        assert joint.sum() == pytest.approx(1.0, rel=1e-13)
        assert abs(joint - joint.T).max() == 0.0
        assert joint.diagonal().max() == 0.0


def test_sparse_affinities_have_small_sorted_indices(rng):
    joint = joint_affinities(
        conditional_affinities(nearest_neighbors(rng.normal(size=(100, 5)), 31), Perplexity([10.0]), Workers())
    )
    assert joint.indices.dtype == np.int32
    assert joint.indptr.dtype == np.int32
    assert joint.has_sorted_indices


def test_all_pairs_leave_the_distances_as_they_are(rng):
    distances = all_distances(rng.normal(size=(50, 3)))
    copy = distances.copy()
    conditional_affinities(distances, Perplexity([10.0]), Workers())
    assert_array_equal(distances, copy)


def test_joint_probabilities_are_scikit_learns(digits, rng):
    # scikit-learn keeps its affinities to itself; its cost of a given map tells whether they are the same. The learning
    # rate is too small to move a point.
    X = digits[0][:300]
    Y = rng.normal(size=(300, 2)).astype(np.float32)
    theirs = SklearnTSNE(max_iter=300, method="exact", init=Y, learning_rate=1e-20).fit(X).kl_divergence_
    joint = joint_affinities(conditional_affinities(all_distances(X), Perplexity([30.0]), Workers()))
    objective = JointKL(joint, StudentT(), ExactKernel(StudentT(), Workers()), Workers())
    assert objective(Y.astype(float), with_cost=True)[2] == pytest.approx(theirs, rel=1e-5)


def test_affinities_in_another_order(rng):
    joint = joint_affinities(
        conditional_affinities(nearest_neighbors(rng.normal(size=(60, 3)), 10), Perplexity([4.0]), Workers())
    )
    order = rng.permutation(60)
    reordered = reorder(joint, order, np.float32)
    assert reordered.dtype == np.float32
    assert_array_equal(reordered.toarray(), joint.toarray()[np.ix_(order, order)].astype(np.float32))
