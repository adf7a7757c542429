"""Weights of rows, against data in which each row is repeated literally: affinities and starts."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from sktsne import initialization
from sktsne.affinities import (
    FixedBandwidth,
    Perplexity,
    Uniform,
    check_takes_weights,
    conditional_affinities,
    counted_weights,
    given_affinities,
    given_affinities_of_others,
    joint_affinities,
    mean_bandwidth,
    probabilities_of_new_rows,
    weighted_rows,
)
from sktsne.initialization import pca_start, spectral_start
from sktsne.neighbors import ExactSearch, all_distances, nearest_neighbors
from sktsne.parallel import Workers
from sktsne.perplexity import conditional_probabilities

RULES = [Perplexity([4.0]), Perplexity([3.0, 9.0]), Uniform(17), FixedBandwidth(0.7, 17)]
STORAGES = [np.asarray, csr_array]


class Copies:
    """Rows with integer weights, and the same rows repeated."""

    def __init__(self, X, rng):
        n = len(X)
        self.X, self.weights = X, rng.integers(1, 5, size=n).astype(float)
        self.rows = np.repeat(np.arange(n), self.weights.astype(int))
        self.repeated = X[self.rows]

    @property
    def n(self):
        return len(self.rows)

    def summed(self, P):
        """Return a matrix with the columns of all copies of each row summed."""
        totals = np.zeros((len(P), len(self.X)))
        np.add.at(totals.T, self.rows, dense(P).T)
        return totals


def dense(P):
    return P if isinstance(P, np.ndarray) else P.toarray()


def state():
    return np.random.RandomState(0)


@pytest.fixture
def copies(rng):
    return Copies(rng.normal(size=(60, 3)), rng)


def both(copies, rule, method, dtype=np.float64):
    """Return M with weights, the conditional probabilities of the repeated rows, both graphs and the count."""
    if method == "all pairs":
        graphs, count = (all_distances(copies.X), all_distances(copies.repeated)), None
    else:
        # The number does not end with all copies of a row, so that only some copies of the farthest neighbors count.
        count = rule.count_neighbors(copies.n)
        graphs = nearest_neighbors(copies.X, count), nearest_neighbors(copies.repeated, count)
    weighted = conditional_affinities(graphs[0], rule, Workers(), dtype, copies.weights, count)
    return weighted, conditional_affinities(graphs[1], rule, Workers()), graphs, count


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("method", ["neighbors", "all pairs"])
@pytest.mark.usefixtures("backend")
def test_conditional_probabilities_are_those_of_all_copies(rule, method, copies):
    weighted, repeated, _, count = both(copies, rule, method)
    assert_allclose(dense(weighted)[copies.rows], copies.summed(dense(repeated)), atol=1e-8)
    assert_allclose(dense(weighted).sum(axis=1), 1.0, rtol=1e-13)
    if method == "neighbors":
        assert weighted.has_sorted_indices
        assert weighted.indices.dtype == np.int32
        assert_array_equal(np.diff(weighted.indptr), count + 1)


@pytest.mark.parametrize("method", ["neighbors", "all pairs"])
def test_joint_probabilities_are_sums_over_pairs_of_copies(method, copies):
    weighted, repeated, _, _ = both(copies, Perplexity([4.0]), method)
    masses = joint_affinities(weighted, Workers(), copies.weights)
    wanted = copies.summed(copies.summed(dense(joint_affinities(repeated))).T)
    assert_allclose(dense(masses), wanted, atol=1e-10)
    assert_array_equal(dense(masses), dense(masses).T)
    assert masses.sum() == pytest.approx(1.0, rel=1e-13)


@pytest.mark.parametrize("method", ["neighbors", "all pairs"])
def test_the_mean_bandwidth_is_that_of_all_copies(method, copies):
    weighted, repeated, graphs, count = both(copies, Perplexity([4.0]), method)
    expected = mean_bandwidth(graphs[1], repeated)
    assert mean_bandwidth(graphs[0], weighted, copies.weights, count) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_new_rows_have_the_probabilities_of_all_copies(rule, copies, rng):
    new = rng.normal(size=(7, 3))
    count = rule.count_neighbors(copies.n)
    graphs = []
    for X in copies.X, copies.repeated:
        search = ExactSearch(count)
        search.fit(X, Workers())
        graphs.append(search.neighbors_of(new, Workers()))
    here, there = graphs
    weighted = probabilities_of_new_rows(rule, here.distances, here.indices, copies.weights, count, Workers())
    wanted, found = np.zeros((7, copies.n)), np.zeros((7, 60))
    np.put_along_axis(wanted, there.indices, rule.probabilities(there.distances, Workers()), axis=1)
    np.put_along_axis(found, here.indices, weighted, axis=1)
    assert_allclose(found, copies.summed(wanted), atol=1e-8)
    alone = probabilities_of_new_rows(rule, here.distances[2:3], here.indices[2:3], copies.weights, count, Workers())
    assert_array_equal(alone[0], weighted[2])


def test_single_precision_and_parts_of_the_rows_change_nothing_else(copies, monkeypatch):
    rule = Perplexity([4.0])
    double, single = (both(copies, rule, "neighbors", dtype)[0] for dtype in (np.float64, np.float32))
    assert_array_equal(single.data, double.data.astype(np.float32))
    assert joint_affinities(single, None, copies.weights).dtype == np.float32
    full = both(copies, rule, "all pairs")[0]
    monkeypatch.setattr("sktsne.affinities.ROWS_AT_ONCE", 7)
    assert_array_equal(both(copies, rule, "neighbors")[0].data, double.data)
    assert_array_equal(both(copies, rule, "all pairs")[0], full)


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.usefixtures("backend")
def test_a_neighbor_of_weight_0_is_a_missing_one(rule, rng):
    distances, weights = rng.gamma(3.0, size=(30, 20)), rng.gamma(1.0, size=(30, 20))
    missing = rng.uniform(size=distances.shape) < 0.3
    missing[:, 0] = False
    expected = rule.probabilities(np.where(missing, np.inf, distances), Workers(), weights)
    copy = weights.copy()
    assert_array_equal(rule.probabilities(distances, Workers(), np.where(missing, 0.0, weights)), expected)
    assert_array_equal(expected[missing], 0.0)
    assert_array_equal(weights, copy)


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.usefixtures("backend")
def test_weights_of_1_are_none(rule, rng):
    distances = rng.gamma(3.0, size=(30, 20))
    weighted = rule.probabilities(distances, Workers(), np.ones_like(distances))
    assert_allclose(weighted, rule.probabilities(distances, Workers()), rtol=1e-12)


@pytest.mark.parametrize("perplexity", [1.0, 2.0, 30.0])
def test_compiled_search_agrees_with_its_reference_with_weights(perplexity, reference, rng):
    shape = (50, 90)
    distances = np.vstack([
        rng.gamma(3.0, size=shape),
        rng.lognormal(sigma=3.0, size=shape),
        rng.integers(0, 4, size=shape),
        np.where(rng.uniform(size=shape) < 0.4, np.inf, rng.gamma(3.0, size=shape)),
        np.c_[np.zeros(50), rng.uniform(10.0, 11.0, size=(50, 89))],
    ])  # fmt: skip
    distances[:, 0] = np.where(np.isfinite(distances[:, 0]), distances[:, 0], 1.0)
    each = [
        rng.gamma(0.5, size=distances.shape),
        rng.integers(0, 3, size=distances.shape) + (np.arange(90) == 0),
        np.where(np.arange(90) == 0, 1e-9, np.ones(distances.shape)),
        10.0 ** rng.uniform(-150, 150, size=distances.shape),
        np.full(distances.shape, 1e-150),
    ]
    compiled = [conditional_probabilities(distances, perplexity, Workers(), weights) for weights in each]
    reference()
    for weights, found in zip(each, compiled, strict=True):
        expected = conditional_probabilities(distances, perplexity, Workers(), weights)
        assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
        assert_allclose(found.sum(axis=1), 1.0, rtol=1e-13)


@pytest.mark.parametrize("factor", [0.01, 0.3, 1.0, 20.0])
@pytest.mark.usefixtures("backend")
def test_rows_have_the_entropy_of_their_copies(factor, rng):
    """Also with weights below 1, and none that is an integer."""
    distances, weights = rng.gamma(3.0, size=(50, 60)), factor * rng.gamma(2.0, size=(50, 60))
    M = conditional_probabilities(distances, 5.0, Workers(), weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(M > 0.0, M * np.log(M / weights), 0.0).sum(axis=1)
    few = weights.sum(axis=1) <= 5.0
    assert few.all() if factor == 0.01 else not few.any()
    nearest = weights[np.arange(50), distances.argmin(axis=1)]
    assert_allclose(entropy[~few], np.log(np.maximum(nearest, 5.0))[~few], atol=1e-5)
    assert_allclose(M[few], weights[few] / weights[few].sum(axis=1, keepdims=True))


def test_rows_with_enough_copies_at_the_least_distance_give_them_all(rng):
    distances, weights = np.array([[0.0, 0.0, 1.0, 2.0]]), np.array([[1.5, 4.5, 9.0, 9.0]])
    M = conditional_probabilities(distances, 6.0, Workers(), weights)
    assert_allclose(M, [[0.25, 0.75, 0.0, 0.0]])


def test_affinities_are_continuous_in_the_weights(copies):
    X = copies.X[:, :1]  # in few dimensions, where a copy with a tiny weight is not nearer by orders of magnitude
    rule, graph = Perplexity([8.0]), nearest_neighbors(X, 25)
    results = [
        joint_affinities(conditional_affinities(graph, rule, Workers(), weights=m, count=25), None, m).toarray()
        for m in (np.full(60, weight) for weight in (1.0, 1.0 + 1e-9, 1.0 - 1e-9))
    ]
    plain = joint_affinities(conditional_affinities(graph, rule, Workers())).toarray()
    for result in results:
        assert_allclose(result, plain, atol=1e-7 * plain.max())


def test_only_the_nearest_copies_count():
    distances = np.array([[2.0, np.inf, 1.0, 1.0, 3.0]])
    weights = np.array([[4.0, 1.0, 2.0, 0.5, 2.0]])
    for count, wanted in (
        (0.25, [0.0, 0.0, 0.25, 0.0, 0.0]),
        (2.25, [0.0, 0.0, 2.0, 0.25, 0.0]),
        (5.0, [2.5, 0.0, 2.0, 0.5, 0.0]),
        (8.0, [4.0, 0.0, 2.0, 0.5, 1.5]),
        (99.0, [4.0, 1.0, 2.0, 0.5, 2.0]),
    ):
        assert_array_equal(counted_weights(distances, weights, count)[0], wanted)


@pytest.mark.parametrize("storage", STORAGES)
def test_given_affinities_are_those_of_the_copies(storage, copies, rng):
    A = rng.uniform(size=(60, 60)) * (rng.uniform(size=(60, 60)) < 0.6)
    repeated = copies.summed(dense(given_affinities(storage(A[copies.rows][:, copies.rows]))))
    found = given_affinities(storage(A), copies.weights)
    assert isinstance(found, np.ndarray) is (storage is np.asarray)
    assert dense(found).max() == 1.0
    assert_allclose(dense(found)[copies.rows], repeated / repeated.max(), rtol=1e-12)
    assert dense(found).diagonal().max() > 0.0
    huge = given_affinities(storage(1e300 * A), 1e100 * copies.weights)
    assert np.isfinite(dense(huge)).all()


@pytest.mark.parametrize("storage", STORAGES)
def test_given_affinities_of_new_rows_are_to_all_copies(storage, copies, rng):
    A = rng.uniform(0.1, 1.0, size=(7, 60))
    P, indices = given_affinities_of_others(storage(A), copies.weights)
    Q, places = given_affinities_of_others(storage(A[:, copies.rows]))
    wanted, found = np.zeros((7, copies.n)), np.zeros((7, 60))
    np.put_along_axis(wanted, places, Q, axis=1)
    np.put_along_axis(found, indices, P, axis=1)
    assert_allclose(found, copies.summed(wanted), rtol=1e-12)
    assert all((a >= b).all() for a, b in pairwise(P.T))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weighted_rows_share_the_indices(dtype, rng):
    A = csr_array(rng.uniform(size=(9, 9)) * (rng.uniform(size=(9, 9)) < 0.5), dtype=dtype)
    weights = rng.gamma(2.0, size=9)
    found = weighted_rows(A, weights)
    assert found.dtype == dtype
    assert np.shares_memory(found.indices, A.indices)
    assert np.shares_memory(found.indptr, A.indptr)
    assert_allclose(found.toarray(), weights[:, None] * A.toarray(), rtol=1e-6)
    assert_allclose(weighted_rows(A.toarray().astype(float), weights), weights[:, None] * A.toarray())


def test_weights_that_are_not_accepted_are_named(rng):
    graph, rule = nearest_neighbors(rng.normal(size=(9, 2)), 4), Perplexity([2.0])
    for bad, message in (
        (np.zeros(9), r"weights must be positive, and weights\[0\] is 0\.0"),
        (-np.ones(9), r"weights must be 0 or from 1e-150 to 1e\+150, and weights\[0\] is -1\.0"),
        (np.full(9, 1e200), r"weights\[0\] is 1e\+200"),
        (np.full(9, np.nan), r"weights must be finite"),
        (np.ones(8), r"weights has shape \(8,\), must have shape \(9,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            conditional_affinities(graph, rule, Workers(), weights=bad)
    with pytest.raises(ValueError, match=r"count == 0, must be a number above 0"):
        conditional_affinities(graph, rule, Workers(), weights=np.ones(9), count=0)
    counted = np.ones((9, 4))
    counted[3] = 0.0
    for each in RULES:
        with pytest.raises(ValueError, match=r"weights must be positive for one neighbor of each row.*row 3 has none"):
            each.probabilities(graph.distances, Workers(), counted)


class Plain:
    uses_scale = False

    def __str__(self):
        return "Plain()"

    def count_neighbors(self, n_samples):
        return 4

    def probabilities(self, distances, workers):
        return np.full(distances.shape, 1.0 / distances.shape[1])


def test_a_rule_without_weights_is_named(rng):
    graph = nearest_neighbors(rng.normal(size=(9, 2)), 4)
    message = r"affinities == Plain\(\): its method probabilities has no parameter weights, which sample_weight needs"
    with pytest.raises(ValueError, match=message):
        check_takes_weights(Plain())
    with pytest.raises(ValueError, match=message):
        conditional_affinities(graph, Plain(), Workers(), weights=np.ones(9))
    assert conditional_affinities(graph, Plain(), Workers()).nnz == 36
    for rule in RULES:
        check_takes_weights(rule)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(60, 5), (40, 130), (50, 1100)])
def test_pca_start_is_that_of_the_repeated_rows(shape, dtype, storage, rng, monkeypatch):
    monkeypatch.setattr(initialization, "DOUBLED", 0)
    monkeypatch.setattr(initialization, "NUMBERS_AT_ONCE", 2**12)
    X = rng.normal(size=(shape[0], 3)) @ (rng.normal(size=(3, shape[1])) * [[3.0], [2.0], [1.0]])
    copies = Copies((X + 0.1 * rng.normal(size=shape)).astype(dtype), rng)
    found = pca_start(storage(copies.X), 2, state(), copies.weights)
    expected = pca_start(storage(copies.repeated), 2, state())
    assert_allclose(found[copies.rows], expected, atol=1e-4 * (1e-9 if dtype == np.float64 else 1e-4))


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("factor", [1e-140, 0.5, 1e140])
def test_pca_start_depends_on_the_ratios_of_the_weights_only(factor, storage, copies):
    expected = pca_start(storage(copies.X), 2, state(), copies.weights)
    assert_allclose(pca_start(storage(copies.X), 2, state(), factor * copies.weights), expected, atol=1e-12)


@pytest.mark.parametrize("n_components", [2, 3])
@pytest.mark.parametrize(("n", "n_parts"), [(40, 1), (150, 1), (90, 3)])
def test_spectral_start_is_that_of_the_repeated_rows(n, n_parts, n_components, rng, monkeypatch):
    # Repeated rows coincide in a spectral embedding, and would be moved apart.
    monkeypatch.setattr(initialization, "separate", lambda Y, random_state: Y)
    monkeypatch.setattr(initialization, "EIGENVALUE_TOLERANCE", 1e-12)
    copies = Copies(rng.normal(size=(n, 2)) * [3.0, 1.0], rng)
    parts = np.arange(n) * n_parts // n
    A = np.where(parts[:, None] == parts, np.exp(-(all_distances(copies.X) ** 2)), 0.0)
    repeated = A[copies.rows][:, copies.rows]
    np.fill_diagonal(repeated, 0.0)
    masses = copies.summed(copies.summed(repeated).T)
    found = spectral_start(masses, n_components, state(), copies.weights)
    expected = spectral_start(repeated, n_components, state())
    signs = np.sign(np.sum(found[copies.rows] * expected, axis=0))
    assert_allclose(signs * found[copies.rows], expected, atol=1e-6 * 1e-4)
