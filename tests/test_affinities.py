"""Conditional and joint probabilities, on ordinary and on degenerate distances."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import coo_array, coo_matrix, csc_array, csr_array, csr_matrix, lil_array
from sklearn.manifold import TSNE as SklearnTSNE  # noqa: N811

from sktsne import SNE, TSNE
from sktsne._sparse import reorder, symmetrize
from sktsne.affinities import (
    FixedBandwidth,
    Perplexity,
    Uniform,
    conditional_affinities,
    given_affinities,
    joint_affinities,
)
from sktsne.kernels import ExactKernel
from sktsne.neighbors import all_distances, nearest_neighbors
from sktsne.objectives import ConditionalKL, JointKL
from sktsne.parallel import Workers
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
    search_precisions_reference(distances, None, 30.0, 1e-5, 3, P, 0, len(P))
    assert np.mean(np.abs(np.log(perplexity_of(P) / 30.0)) <= 1e-5) >= 0.99
    search_precisions_reference(distances, None, 30.0, 1e-5, 8, P, 0, len(P))
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


def test_probabilities_of_many_rows_are_computed_in_parts(monkeypatch, rng):
    graph = nearest_neighbors(rng.normal(size=(100, 5)), 31)
    whole = conditional_affinities(graph, Perplexity([10.0]), Workers())
    monkeypatch.setattr("sktsne.affinities.ROWS_AT_ONCE", 7)
    parts = conditional_affinities(graph, Perplexity([10.0]), Workers(2))
    assert_array_equal(parts.toarray(), whole.toarray())
    graph.distances[40, 3] = -1.0
    with pytest.raises(ValueError, match=r"the least of row 40 is -1\.0"):
        conditional_affinities(graph, Perplexity([10.0]), Workers())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("estimator", [TSNE, SNE])
def test_affinities_of_neighbors_have_the_precision_of_the_rows(estimator, dtype, digits):
    X = digits[0][:300].astype(dtype)
    assert estimator(max_iter=1, method="fft").fit(X).affinities_.dtype == dtype
    for method in ("exact", ExactKernel):
        assert estimator(max_iter=1, method=method).fit(X).affinities_.dtype == np.float64
    graph = nearest_neighbors(X, 31)
    double, found = (conditional_affinities(graph, Perplexity([10.0]), Workers(), kind) for kind in (np.float64, dtype))
    assert_array_equal(found.data, double.data.astype(dtype))
    with pytest.raises(TypeError, match=r"dtype == .*float16.*, must be numpy\.float32 or numpy\.float64"):
        conditional_affinities(graph, Perplexity([10.0]), Workers(), np.float16)


def test_all_pairs_leave_the_distances_as_they_are(rng):
    distances = all_distances(rng.normal(size=(50, 3)))
    copy = distances.copy()
    conditional_affinities(distances, Perplexity([10.0]), Workers())
    assert_array_equal(distances, copy)


@pytest.mark.parametrize("writeable", [True, False])
def test_the_array_of_a_rule_is_left_as_it_is(writeable, rng):
    kept = rng.dirichlet(np.ones(9), size=60)
    given = kept.copy()
    given.flags.writeable = writeable

    class Kept:
        uses_scale = False

        def count_neighbors(self, n_samples):
            return 9

        def probabilities(self, distances, workers):
            return given

    graph = nearest_neighbors(rng.normal(size=(60, 3)), 9)
    conditional = conditional_affinities(graph, Kept(), Workers())
    assert_array_equal(given, kept)
    assert_array_equal(np.take_along_axis(conditional.toarray(), graph.indices, axis=1), kept)


def test_the_indices_of_a_sum_can_count_its_entries(monkeypatch):
    half = csr_array(np.tril(np.ones((3, 3)), -1))
    assert half.indices.dtype == symmetrize(half).indptr.dtype == np.int32
    monkeypatch.setattr(np, "iinfo", lambda dtype: SimpleNamespace(min=-6, max=5))  # half has 3 entries, the sum has 6
    total = symmetrize(half)
    assert total.indices.dtype == total.indptr.dtype == np.int64
    assert_array_equal(total.toarray(), 1.0 - np.eye(3))


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


def dense_conditional(X, kind, method="neighbors"):
    graph = nearest_neighbors(X, kind.count_neighbors(len(X))) if method == "neighbors" else all_distances(X)
    P = conditional_affinities(graph, kind, Workers())
    return P if isinstance(P, np.ndarray) else P.toarray()


def naive_conditional(X, k, weight):
    """Return weight(distance) over the k nearest of each row, normalized, by a double loop."""
    P = np.zeros((len(X), len(X)))
    for i in range(len(X)):
        distances = [np.linalg.norm(X[i] - X[j]) if j != i else np.inf for j in range(len(X))]
        for j in np.argsort(distances)[:k]:
            P[i, j] = weight(distances[j])
    return P / P.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("method", ["neighbors", "all pairs"])
def test_several_perplexities_are_the_mean_of_each(method, rng):
    X = rng.normal(size=(120, 4))
    kind = Perplexity([3.0, 10.0, 30.0])
    assert kind.count_neighbors(120) == 91
    graph = nearest_neighbors(X, 91) if method == "neighbors" else all_distances(X)
    each = [conditional_affinities(graph, Perplexity([perplexity]), Workers()) for perplexity in (3.0, 10.0, 30.0)]
    mean = sum(P if isinstance(P, np.ndarray) else P.toarray() for P in each) / 3
    assert_allclose(dense_conditional(X, kind, method), mean, rtol=1e-12)
    assert_allclose(dense_conditional(X, Perplexity([30.0, 3.0, 10.0]), method), mean, rtol=1e-12)


@pytest.mark.filterwarnings("default")
def test_several_perplexities_are_opentsnes_multiscale_ones(rng):
    affinity = pytest.importorskip("openTSNE.affinity")
    X = rng.normal(size=(150, 4))
    theirs = affinity.Multiscale(X, perplexities=[5.0, 20.0], method="exact").P.toarray()
    graph = nearest_neighbors(X, 60)  # theirs takes one neighbor less than scikit-learn
    ours = joint_affinities(conditional_affinities(graph, Perplexity([5.0, 20.0]), Workers()))
    assert_allclose(ours.toarray(), theirs, atol=1e-6 * theirs.max())


@pytest.mark.parametrize("k", [1, 7, 59, 500])
def test_uniform_is_the_naive_one(k, rng):
    X = rng.normal(size=(60, 3))
    assert_allclose(dense_conditional(X, Uniform(k)), naive_conditional(X, k, lambda distance: 1.0 * (distance < 1e9)))


@pytest.mark.parametrize("bandwidth", [0.3, 1.0, 40.0])
@pytest.mark.parametrize("k", [1, 20, 59])
def test_fixed_bandwidth_is_the_naive_one(bandwidth, k, rng):
    X = rng.normal(size=(60, 3))
    expected = naive_conditional(X, k, lambda distance: np.exp(-(distance**2) / (2 * bandwidth**2)))
    assert_allclose(dense_conditional(X, FixedBandwidth(bandwidth, k)), expected, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("bandwidth", [1e-150, 1e-3, 1e300])
def test_bandwidths_far_from_the_distances_have_their_limits(bandwidth, rng):
    X = rng.normal(size=(60, 3))
    limit = Uniform(20 if bandwidth > 1.0 else 1)
    assert_allclose(dense_conditional(X, FixedBandwidth(bandwidth, 20)), dense_conditional(X, limit), atol=1e-12)


def test_a_bandwidth_too_small_for_numbers_is_named(rng):
    with pytest.raises(ValueError, match=r"affinities == FixedBandwidth\(bandwidth=1e-310.*bandwidth must be larger"):
        dense_conditional(rng.normal(size=(20, 3)), FixedBandwidth(1e-310, 5))


@pytest.mark.parametrize("kind", [Perplexity([2.0, 4.0]), Uniform(6), FixedBandwidth(1.0, 6)])
def test_missing_neighbors_have_no_probability(kind, rng):
    distances = rng.gamma(3.0, size=(10, 6))
    distances[:, 4:] = np.inf
    copy = distances.copy()
    P = kind.probabilities(distances, Workers())
    assert_array_equal(P[:, 4:], 0.0)
    assert_allclose(P.sum(axis=1), 1.0)
    assert_allclose(P[:, :4], kind.probabilities(np.ascontiguousarray(distances[:, :4]), Workers()), rtol=1e-9)
    assert_array_equal(distances, copy)


STORAGES = [np.asarray, csr_array, csr_matrix, csc_array, coo_array, coo_matrix, lil_array]


class TestGivenAffinities:
    def matrix(self, rng, n=12):
        return rng.uniform(size=(n, n)) * (rng.uniform(size=(n, n)) < 0.6)

    @pytest.mark.parametrize("storage", STORAGES)
    @pytest.mark.parametrize("scale", [1e-310, 1.0, 1e307])
    def test_are_scaled_and_have_no_diagonal(self, storage, scale, rng):
        A = self.matrix(rng)
        expected = A - np.diag(A.diagonal())
        expected /= expected.max()
        actual = given_affinities(storage(A * scale))
        assert isinstance(actual, np.ndarray if storage is np.asarray else csr_array)
        actual = actual if storage is np.asarray else actual.toarray()
        assert_allclose(actual, expected, rtol=1e-3 if scale < 1e-300 else 1e-12, atol=1e-13)

    @pytest.mark.parametrize("storage", STORAGES)
    def test_leave_the_matrix_alone(self, storage, rng):
        A = storage(self.matrix(rng))
        A = A.copy()
        copy = A.copy()
        given_affinities(A)
        assert type(A) is type(copy)
        for name in ("indices", "indptr", "data", "row", "col"):
            if hasattr(A, name) and not isinstance(A, np.ndarray):
                assert_array_equal(getattr(A, name), getattr(copy, name))
        assert_array_equal(
            A if isinstance(A, np.ndarray) else A.toarray(), copy if isinstance(A, np.ndarray) else copy.toarray()
        )

    @pytest.mark.parametrize("normalize", [JointKL.from_given, ConditionalKL.from_given])
    def test_unsorted_indices_duplicates_and_zeros_count_as_what_they_are(self, normalize, rng):
        A = self.matrix(rng)
        A[0, 1:3] = 1.0
        rows, columns = np.nonzero(A)
        order = rng.permutation(2 * len(rows))
        entries = coo_array(
            (np.tile(A[rows, columns] / 2, 2)[order], (np.tile(rows, 2)[order], np.tile(columns, 2)[order])), A.shape
        )
        zeros = csr_array(np.where(A == 0.0, 1e-30, A))
        zeros.data[zeros.data == 1e-30] = 0.0
        lengths = np.bincount(entries.row, minlength=12)
        by_row = np.argsort(entries.row, kind="stable")
        unsorted = csr_array((entries.data[by_row], entries.col[by_row], np.cumsum([0, *lengths])), shape=A.shape)
        assert not unsorted.has_canonical_format
        expected = normalize(given_affinities(A))
        for matrix in (entries, zeros, unsorted):
            copy = matrix.copy()
            actual = normalize(given_affinities(matrix))
            assert_allclose(actual.toarray(), expected, rtol=1e-12)
            assert_array_equal(matrix.data, copy.data)
        assert_array_equal(unsorted.indices, entries.col[by_row])

    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    def test_joint_ones_are_symmetric_and_sum_to_one(self, storage, rng):
        A = self.matrix(rng)
        joint = JointKL.from_given(given_affinities(storage(7.0 * A)))
        joint = joint if storage is np.asarray else joint.toarray()
        np.fill_diagonal(A, 0.0)
        assert_allclose(joint, (A + A.T) / (A + A.T).sum(), rtol=1e-12)

    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    def test_conditional_ones_have_rows_that_sum_to_one(self, storage, rng):
        A = self.matrix(rng) * 10.0 ** rng.integers(-200, 100, size=(12, 1))
        conditional = ConditionalKL.from_given(given_affinities(storage(A)))
        conditional = conditional if storage is np.asarray else conditional.toarray()
        np.fill_diagonal(A, 0.0)
        assert_allclose(conditional, A / A.sum(axis=1, keepdims=True), rtol=1e-12)

    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    def test_that_are_none_are_named(self, storage, rng):
        A = self.matrix(rng) + 0.1
        with pytest.raises(ValueError, match=r"X must hold .*X has shape \(12, 5\), must be square"):
            given_affinities(storage(A[:, :5]))
        A[2, 3] = -1e-3
        with pytest.raises(ValueError, match="affinities='precomputed' X must hold affinities, got negative values"):
            given_affinities(storage(A))
        A[2, 3] = 1e-3
        A[5, :] = 0.0
        received = JointKL.from_given(given_affinities(storage(A)))
        assert received.sum(axis=1)[5] > 0.0
        with pytest.raises(ValueError, match="every row of X must have an affinity to another row for SNE, and row 5"):
            ConditionalKL.from_given(given_affinities(storage(A)))
        A[:, 5] = 0.0
        A[5, 5] = 1.0
        with pytest.raises(
            ValueError, match="affinities='precomputed' X must hold affinities, and row 5 has no affinity"
        ):
            given_affinities(storage(A))


@pytest.mark.parametrize("perplexities", [[5.0, 50.0], np.array([5.0, 50.0])])
def test_the_representation_of_perplexities_is_short(perplexities):
    assert repr(TSNE(affinities=Perplexity(perplexities))) == "TSNE(affinities=Perplexity([5.0, 50.0]))"


@pytest.mark.usefixtures("backend")
class TestSums:
    """The sum of a sparse matrix and its transposed matrix equals SciPy's to the last bit."""

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
    @pytest.mark.parametrize("density", [0.0, 0.003, 0.1, 1.0])
    @pytest.mark.parametrize("n", [1, 7, 300])
    @pytest.mark.parametrize("panel_rows", [3, 4096])
    def test_of_any_matrix(self, panel_rows, n, density, index_dtype, dtype, rng, monkeypatch):
        monkeypatch.setattr("sktsne._sparse.PANEL_ROWS", panel_rows)
        A = csr_array((rng.random((n, n)) * (rng.random((n, n)) < density)).astype(dtype))
        A.data[::5] = 0.0  # a stored zero, as of a probability that is too small, is no entry of the sum
        A = csr_array((A.data, A.indices.astype(index_dtype), A.indptr.astype(index_dtype)), shape=A.shape)
        expected = A + A.T
        with Workers(3) as workers:
            total = symmetrize(A, workers)
        assert (total.dtype, total.indices.dtype) == (dtype, index_dtype)
        assert total.has_canonical_format
        assert_array_equal(total.indptr, expected.indptr)
        assert_array_equal(total.indices, expected.indices)
        assert_array_equal(total.data, expected.data)

    def test_of_entries_in_any_order_and_twice(self):
        A = csr_array((np.arange(1.0, 5.0), np.array([2, 0, 2, 1]), np.array([0, 3, 4, 4])), shape=(3, 3))
        data = A.data.copy()
        assert_array_equal(symmetrize(A).toarray(), [[4.0, 0.0, 4.0], [0.0, 8.0, 0.0], [4.0, 0.0, 0.0]])
        assert_array_equal(A.data, data)
