"""The nearest-neighbor graph against plain differences, and as faiss, the user and the user's transformer find it."""

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import coo_array, csc_array, csr_array, csr_matrix
from sklearn.base import BaseEstimator
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import (
    VALID_METRICS,
    VALID_METRICS_SPARSE,
    KNeighborsTransformer,
    NearestNeighbors,
    RadiusNeighborsTransformer,
)
from sktsne._faiss import approximate_neighbors

from sktsne._parameters import METRICS
from sktsne.neighbors import (
    ALIASES,
    BOOLEAN,
    Conditioning,
    all_distances,
    nearest_neighbors,
    neighbors_by_transformer,
)
from sktsne.parallel import Workers


def conditioned(X):
    return Conditioning(X, "euclidean")(X)


def brute_force(X, k):
    D = np.sqrt(((X[:, None] - X[None]) ** 2).sum(axis=-1))
    np.fill_diagonal(D, np.inf)
    return np.sort(D, axis=1)[:, :k]


@pytest.mark.parametrize("n_features", [3, 10, 40])
@pytest.mark.parametrize("storage", [np.asarray, csr_array, csr_matrix])
def test_distances_are_those_of_the_nearest_rows(n_features, storage, rng):
    X = rng.normal(size=(150, n_features))
    graph = nearest_neighbors(storage(X), 12)
    assert_allclose(graph.distances, brute_force(X, 12), rtol=1e-9)
    assert (graph.indices != np.arange(150)[:, None]).all()
    assert graph.distances.flags.c_contiguous
    assert_allclose(all_distances(storage(X))[0, graph.indices[0]], graph.distances[0], rtol=1e-7)


@pytest.mark.parametrize("storage", [np.asarray, csr_array])
def test_duplicates_are_at_distance_zero(storage, rng):
    # |x|² + |y|² − 2x·y alone would put them 1e-7 apart.
    X = rng.normal(size=(20, 30))[rng.integers(0, 20, 200)] + 3.0
    graph = nearest_neighbors(storage(X), 15)
    assert_array_equal(graph.distances == 0.0, brute_force(X, 15) == 0.0)
    assert_allclose(graph.distances, brute_force(X, 15), rtol=1e-8)


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e10])
def test_a_common_offset_does_not_swamp_the_differences(offset, rng):
    X = np.round(rng.normal(size=(100, 20)) * 64) / 64 + offset  # exact at every offset
    graph = nearest_neighbors(conditioned(X), 10)
    assert_allclose(graph.distances, brute_force(X - offset, 10), rtol=1e-6)


@pytest.mark.parametrize("scale", [2.0**-900, 2.0**900])
def test_squares_neither_overflow_nor_vanish(scale, rng):
    X = rng.normal(size=(100, 20))
    expected = nearest_neighbors(conditioned(X), 10)
    graph = nearest_neighbors(conditioned(X * scale), 10)
    assert_array_equal(graph.indices, expected.indices)
    ratio = graph.distances / expected.distances
    assert_allclose(ratio, ratio[0, 0], rtol=1e-9)


def test_conditioning_leaves_other_metrics_and_the_caller_alone(rng):
    X = rng.normal(size=(10, 3))
    assert Conditioning(X, "cosine")(X) is X
    assert Conditioning(X, "precomputed")(X) is X
    X *= 1e200
    copy = X.copy()
    assert Conditioning(X, "precomputed")(X) is X
    assert np.abs(conditioned(X)).max() < 10.0
    ones = np.ones((3, 2), dtype=np.float32)
    assert Conditioning(ones, "manhattan")(ones).dtype == np.float64
    assert_array_equal(X, copy)


@pytest.mark.parametrize("metric", ["cosine", "manhattan", "chebyshev", "correlation"])
def test_metrics_agree_with_their_precomputed_distances(metric, rng):
    X = rng.normal(size=(60, 5))
    direct = nearest_neighbors(X, 9, metric)
    precomputed = nearest_neighbors(all_distances(X, metric), 9, "precomputed")
    assert_array_equal(direct.indices, precomputed.indices)
    assert_allclose(direct.distances, precomputed.distances, atol=1e-12)


def test_metric_params_and_callables_reach_the_search(rng):
    X = rng.normal(size=(40, 3))
    by_name = nearest_neighbors(X, 5, "minkowski", {"p": 3})
    by_function = nearest_neighbors(X, 5, lambda a, b: (np.abs(a - b) ** 3).sum() ** (1 / 3))
    assert_array_equal(by_name.indices, by_function.indices)
    assert_allclose(all_distances(X, "minkowski", {"p": 3})[0, by_name.indices[0]], by_name.distances[0])


BY_NAME = [metric for metric in METRICS if metric != "precomputed"]


def rows_for(metric, n, n_columns, rng):
    """Return rows that the metric is made for, without ties: true and false, places on a sphere, or positive."""
    if metric in BOOLEAN or ALIASES.get(metric) in BOOLEAN:
        X = (rng.uniform(size=(n, n_columns)) < rng.uniform(0.2, 0.8, size=(n, 1))).astype(float)
        X[:, 0] = 1.0  # rows that are all false have no distance under some
        return X
    if metric == "haversine":
        return rng.uniform([-np.pi / 2, -np.pi], [np.pi / 2, np.pi], size=(n, 2))
    if metric == "hamming":
        return rng.integers(0, 4, size=(n, n_columns)).astype(float)
    return rng.lognormal(sigma=2.0, size=(n, n_columns))


def naive(X, metric, **params):
    """Return all distances, by scikit-learn's direct way, and those to the nearest, with an infinite diagonal."""
    X = X != 0.0 if metric in BOOLEAN or ALIASES.get(metric) in BOOLEAN else X
    D = np.array(pairwise_distances(X, metric=ALIASES.get(metric, metric), **params))
    np.fill_diagonal(D, np.inf)
    return D, np.sort(D, axis=1)


def test_every_metric_that_scikit_learn_has_by_name_is_known():
    names = {name for names in VALID_METRICS.values() for name in names}
    assert names - set(METRICS) <= {"pyfunc"}  # which is a callable by another name


@pytest.mark.parametrize("n_columns", [3, 20])
@pytest.mark.parametrize("metric", BY_NAME)
def test_every_metric_finds_the_nearest(metric, n_columns, rng):
    X = rows_for(metric, 300, n_columns, rng)
    D, nearest = naive(X, metric)
    graph = nearest_neighbors(X, 12, metric)
    assert_allclose(graph.distances, nearest[:, :12], rtol=1e-9, atol=1e-12)
    assert_allclose(np.take_along_axis(D, graph.indices, 1), graph.distances, rtol=1e-9, atol=1e-12)
    assert (np.diff(np.sort(graph.indices, axis=1)) > 0).all()
    dense = all_distances(X, metric)
    assert_array_equal(dense.diagonal() < 1e-7, True)
    np.fill_diagonal(dense, np.inf)
    assert_allclose(dense, D, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("metric", BY_NAME)
def test_every_metric_gives_the_same_on_two_threads(metric, rng):
    X = rows_for(metric, 2100, 4, rng)  # more than a thread's share
    X[1050:] = X[:1050][::-1]  # ties
    one, two = (nearest_neighbors(X, 20, metric, n_threads=n_threads) for n_threads in (1, 2))
    assert_array_equal(one.indices, two.indices)
    assert_array_equal(one.distances, two.distances)
    one, two = (all_distances(X[:200], metric, n_threads=n_threads) for n_threads in (1, 2))
    assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("metric", "params"),
    [
        ("minkowski", {"p": 0.5}),
        ("minkowski", {"p": 1}),
        ("minkowski", {"p": 3, "w": np.array([1.0, 2.0, 0.5])}),
        ("minkowski", {"w": np.array([1.0, 2.0, 0.5])}),
        ("minkowski", {"p": np.inf}),
        ("p", {"p": 3}),
        ("seuclidean", {"V": np.array([1.0, 2.0, 0.5])}),
        ("mahalanobis", {"VI": np.diag([1.0, 2.0, 0.5])}),
    ],
)
@pytest.mark.filterwarnings("ignore:Mind that for 0 < p < 1")
def test_parameters_reach_the_metric(metric, params, rng):
    X = rng.normal(size=(80, 3))
    copy = {name: np.copy(value) for name, value in params.items()}
    D, nearest = naive(X, metric, **params)
    assert not np.allclose(nearest, naive(X, "euclidean")[1])
    assert_allclose(nearest_neighbors(X, 9, metric, params).distances, nearest[:, :9], rtol=1e-9)
    dense = all_distances(X, metric, params)
    assert_allclose(dense[~np.eye(80, dtype=bool)], D[~np.eye(80, dtype=bool)], rtol=1e-9)
    for name, value in copy.items():
        assert_array_equal(params[name], value)


def test_a_covariance_is_taken_for_its_inverse(rng):
    X, V = rng.normal(size=(60, 3)), np.diag([1.0, 4.0, 9.0]) + 0.5
    expected = naive(X, "mahalanobis", VI=np.linalg.inv(V))[1][:, :9]
    assert_allclose(nearest_neighbors(X, 9, "mahalanobis", {"V": V}).distances, expected, rtol=1e-9)
    assert_allclose(np.sort(all_distances(X, "mahalanobis", {"V": V}), 1)[:, 1:10], expected, rtol=1e-9)


@pytest.mark.parametrize("metric", ["seuclidean", "mahalanobis"])
def test_columns_that_do_not_vary_have_no_part_in_a_standardized_distance(metric, rng):
    X = rng.normal(size=(60, 3))
    expected = nearest_neighbors(X, 9, metric)
    wider = np.insert(X, 1, 7.0, axis=1)
    actual = nearest_neighbors(wider, 9, metric)
    assert_array_equal(actual.indices, expected.indices)
    assert_allclose(actual.distances, expected.distances, rtol=1e-9)
    assert_allclose(all_distances(wider, metric), all_distances(X, metric), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "metric",
    [
        lambda a, b: np.abs(a - b).sum(),
        lambda a, b: ((a - b) ** 2).sum(),  # without the triangle inequality, that trees rely on
        lambda a, b: np.abs(a - b).min(),
    ],
)
def test_callables_find_the_nearest_and_see_the_rows_as_given(metric, rng):
    X = rng.lognormal(sigma=2.0, size=(150, 3)) + 100.0
    seen = []

    def watched(a, b):
        seen.append(a.min())
        return metric(a, b)

    expected = naive(X, metric)[1][:, :9]
    for n_threads in (1, 2):
        assert_allclose(nearest_neighbors(X, 9, watched, n_threads=n_threads).distances, expected, rtol=1e-12)
        assert_allclose(np.sort(all_distances(X, watched, None, n_threads), 1)[:, 1:10], expected, rtol=1e-12)
    assert min(seen) > 100.0


def test_parameters_reach_a_callable(rng):
    X = rng.normal(size=(40, 3))
    graph = nearest_neighbors(X, 5, lambda a, b, power: (np.abs(a - b) ** power).sum(), {"power": 3})
    assert_allclose(graph.distances, naive(X, "minkowski", p=3)[1][:, :5] ** 3, rtol=1e-9)


@pytest.mark.parametrize("metric", sorted({*VALID_METRICS_SPARSE["brute"], "minkowski", "p"} - {"precomputed"}))
def test_sparse_rows_have_the_dense_rows_neighbors(metric, rng):
    X = np.maximum(rng.normal(size=(120, 15)), 0.0)
    dense, sparse = nearest_neighbors(X, 9, metric), nearest_neighbors(csr_array(X), 9, metric)
    assert_array_equal(sparse.indices, dense.indices)
    assert_allclose(sparse.distances, dense.distances, rtol=1e-7)
    assert_allclose(all_distances(csr_array(X), metric), all_distances(X, metric), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("metric", "params", "message"),
    [
        ("euclidean", {"p": 3}, r"metric == 'euclidean', metric_params == \{'p': 3\}: .*metric_params must be None"),
        ("l2", {"a": 1}, r"metric == 'l2', metric_params == \{'a': 1\}: .*metric_params must be None"),
        ("manhattan", {"a": 1}, r"metric == 'manhattan', metric_params == \{'a': 1\}: .*'a'"),
        ("cosine", {"a": 1}, r"metric == 'cosine', metric_params == \{'a': 1\}: .*metric_params must be None"),
        ("minkowski", {"p": -1}, r"metric == 'minkowski', metric_params == \{'p': -1\}: p must be a number above 0"),
        ("p", {"p": "3"}, r"metric == 'p', metric_params == \{'p': '3'\}: p must be a number above 0"),
        ("haversine", None, "metric == 'haversine', metric_params == None: .*2 dim"),
        ("correlation", None, r"metric == 'correlation'.* finite and not negative, and gives nan for rows \d+ and \d+"),
        (lambda a, b: -1.0, None, r"metric must give distances, .* gives -1\.0 for rows \d+ and \d+"),
        (lambda a, b: np.inf, None, r"metric must give distances, .* gives inf for rows \d+ and \d+"),
    ],
)
@pytest.mark.filterwarnings("ignore:Parameter p is found in metric_params")
def test_what_a_metric_cannot_do_is_named(metric, params, message, rng):
    X = rng.normal(size=(30, 4))
    X[7] = 1.0
    with pytest.raises(ValueError, match=message):
        nearest_neighbors(X, 29, metric, params)
    with pytest.raises(ValueError, match=message):
        all_distances(X, metric, params)


@pytest.mark.parametrize("search", [lambda X, metric: nearest_neighbors(X, 5, metric), all_distances])
def test_a_metric_without_sparse_rows_says_which_have_them(search, rng):
    with pytest.raises(ValueError, match=r"metric == 'chebyshev'.* no sparse rows; .*'cosine'.*'manhattan'.* X dense"):
        search(csr_array(rng.normal(size=(30, 4))), "chebyshev")


def test_errors_of_a_callable_are_its_own(rng):
    def broken(a, b):
        raise TypeError("broken")

    with pytest.raises(TypeError, match=r"^broken$"):
        nearest_neighbors(rng.normal(size=(30, 4)), 5, broken)


class TestPrecomputedMatrix:
    @pytest.mark.parametrize("diagonal", [0.0, 1.0, 1e9])
    def test_is_read_without_its_diagonal_and_not_changed(self, diagonal, rng):
        D, nearest = naive(rng.normal(size=(40, 3)), "euclidean")
        np.fill_diagonal(D, diagonal)
        copy = D.copy()
        graph = nearest_neighbors(D, 7, "precomputed")
        assert_array_equal(graph.distances, nearest[:, :7])
        assert_array_equal(np.take_along_axis(D, graph.indices, 1), graph.distances)
        assert (graph.indices != np.arange(40)[:, None]).all()
        assert_array_equal(D, copy)

    def test_in_blocks(self, monkeypatch, rng):
        D = naive(rng.normal(size=(40, 3)), "euclidean")[0]
        np.fill_diagonal(D, 1.0)
        whole = nearest_neighbors(D, 7, "precomputed")
        monkeypatch.setattr("sktsne.neighbors.DISTANCES_AT_ONCE", 280)
        blocks = nearest_neighbors(D, 7, "precomputed")
        assert_array_equal(blocks.indices, whole.indices)
        assert_array_equal(blocks.distances, whole.distances)

    def test_may_be_asymmetric(self, rng):
        D = rng.uniform(size=(30, 30))
        expected = np.sort(D + np.diag(np.full(30, np.inf)), axis=1)[:, :5]
        assert_array_equal(nearest_neighbors(D, 5, "precomputed").distances, expected)

    def test_of_equal_distances_has_others_for_neighbors(self):
        graph = nearest_neighbors(np.zeros((12, 12)), 11, "precomputed")
        assert_array_equal(np.sort(graph.indices, axis=1), [[j for j in range(12) if j != i] for i in range(12)])


class TestPrecomputedGraph:
    def graph(self, rng, **params):
        X = rng.normal(size=(50, 4))
        return X, KNeighborsTransformer(mode="distance", **params).fit_transform(X)

    def test_is_read_with_the_rows_themselves(self, rng):
        X, graph = self.graph(rng, n_neighbors=8)
        expected = nearest_neighbors(X, 8)
        actual = nearest_neighbors(graph, 8, "precomputed")
        assert_array_equal(actual.indices, expected.indices)
        assert_allclose(actual.distances, expected.distances, rtol=1e-7)

    def test_is_read_without_the_rows_themselves_unsorted_and_uneven(self, rng):
        X, graph = self.graph(rng, n_neighbors=12)
        graph = csr_array(graph)
        rows = []
        for i in range(50):
            entries = np.arange(graph.indptr[i], graph.indptr[i + 1])
            others = entries[graph.indices[entries] != i]  # from near to far
            rows.append(rng.permutation(others[: 8 + i % 5]))
        starts = np.cumsum([0, *map(len, rows)])
        order = np.concatenate(rows)
        shuffled = csr_array((graph.data[order], graph.indices[order], starts), shape=(50, 50))
        copy = shuffled.copy()
        actual = nearest_neighbors(shuffled, 8, "precomputed")
        assert_array_equal(actual.indices, nearest_neighbors(X, 8).indices)
        assert_array_equal(shuffled.indices, copy.indices)
        assert_array_equal(shuffled.data, copy.data)

    @pytest.mark.parametrize("storage", [csr_array, csr_matrix, csc_array, coo_array])
    @pytest.mark.parametrize("itself", [True, False])
    def test_comes_from_a_radius_and_in_any_storage(self, storage, itself, rng):
        X = rng.normal(size=(50, 4))
        search = RadiusNeighborsTransformer(radius=3.5)
        graph = search.fit_transform(X) if itself else search.fit(X).radius_neighbors_graph(mode="distance")
        assert len(set(np.diff(graph.indptr))) > 1
        assert (graph.diagonal() == 0.0).all()
        assert np.count_nonzero(graph.data == 0.0) == (50 if itself else 0)
        actual = nearest_neighbors(storage(graph), 8, "precomputed")
        expected = nearest_neighbors(X, 8)
        assert_array_equal(actual.indices, expected.indices)
        assert_allclose(actual.distances, expected.distances, rtol=1e-7)

    def test_has_long_indices(self, rng):
        X, graph = self.graph(rng, n_neighbors=8)
        long = csr_array(graph)
        long.indices, long.indptr = long.indices.astype(np.int64), long.indptr.astype(np.int64)
        actual = nearest_neighbors(long, 8, "precomputed")
        assert_array_equal(actual.indices, nearest_neighbors(X, 8).indices)
        assert long.indices.dtype == np.int64

    def test_of_nearest_neighbors_has_no_rows_themselves(self, rng):
        X = rng.normal(size=(50, 4))
        graph = NearestNeighbors(n_neighbors=8).fit(X).kneighbors_graph(mode="distance")
        assert_array_equal(nearest_neighbors(graph, 8, "precomputed").indices, nearest_neighbors(X, 8).indices)
        with pytest.raises(ValueError, match=r"at least 9 neighbors in every row.* row 0 has 8"):
            nearest_neighbors(graph, 9, "precomputed")

    def test_names_its_poorest_row(self, rng):
        _, graph = self.graph(rng, n_neighbors=8)
        graph = graph.tolil()
        graph[17] = 0.0
        with pytest.raises(ValueError, match=r"at least 8 neighbors in every row.* row 17 has 0"):
            nearest_neighbors(graph.tocsr(), 8, "precomputed")

    def test_keeps_duplicates_which_are_explicit_zeros(self, rng):
        X = np.repeat(rng.normal(size=(10, 2)), 5, axis=0)
        graph = KNeighborsTransformer(mode="distance", n_neighbors=8).fit_transform(X)
        assert (nearest_neighbors(graph, 8, "precomputed").distances[:, :4] < 1e-7).all()

    def test_with_too_few_neighbors_says_how_many_are_needed(self, rng):
        _, graph = self.graph(rng, n_neighbors=5)
        with pytest.raises(ValueError, match=r"at least 9 neighbors in every row.* row 0 has 5.*n_neighbors=9"):
            nearest_neighbors(graph, 9, "precomputed")


def test_dense_precomputed_distances_are_not_changed(rng):
    D = all_distances(rng.normal(size=(30, 3)))
    copy = D.copy()
    nearest_neighbors(D, 5, "precomputed")
    assert_array_equal(D, copy)


# Rows for faiss


def blobs(rng, n=3000, n_features=20):
    return 10 * rng.normal(size=(50, n_features))[rng.integers(0, 50, n)] + rng.normal(size=(n, n_features))


def digits_like(rng):
    return np.round(4 * np.maximum(rng.normal(size=(3000, 8)) @ rng.normal(size=(8, 64)), 0))


def heavy_tails(rng):
    return rng.standard_t(1.5, size=(4000, 8))


def duplicates(rng):
    return np.repeat(rng.normal(size=(30, 10)), 100, axis=0)


def few_duplicates(rng):
    return np.repeat(rng.normal(size=(1500, 6)), 3, axis=0)


def grid(rng):
    return np.stack(np.meshgrid(*[np.arange(15.0)] * 3), axis=-1).reshape(-1, 3)


def lonely_rows(rng):  # whose own lists have too few neighbors
    return np.vstack([rng.normal(size=(3000, 5)), 100 * rng.normal(size=(40, 5))])


def tight_groups(rng):  # whose distances float32 does not resolve well
    return np.repeat(rng.normal(size=(30, 10)), 100, axis=0) + 1e-5 * rng.normal(size=(3000, 10))


def huge(rng):
    return 1e60 * rng.normal(size=(3000, 4))


class TestFaiss:
    @pytest.fixture(autouse=True)
    def faiss(self):
        return pytest.importorskip("faiss")

    @pytest.mark.parametrize(
        "make",
        [blobs, digits_like, heavy_tails, duplicates, few_duplicates, grid, lonely_rows, tight_groups, huge],
    )
    @pytest.mark.parametrize("k", [10, 91])
    def test_recall_and_distances(self, make, k, rng):
        X = conditioned(make(rng))
        n = len(X)
        with Workers(2) as workers:
            graph = approximate_neighbors(X, k, "euclidean", workers)
        assert graph is not None
        expected = nearest_neighbors(X, k)
        # Of neighbors at equal distances, any is right.
        assert np.mean(graph.distances <= expected.distances[:, -1:] * (1 + 1e-6)) >= 0.98
        assert graph.indices.min() >= 0
        assert graph.indices.max() < n
        assert (graph.indices != np.arange(n)[:, None]).all()
        assert (np.diff(np.sort(graph.indices, axis=1)) > 0).all()
        rows = np.arange(0, n, 10)
        actual = np.sqrt(((X[rows, None] - X[graph.indices[rows]]) ** 2).sum(axis=-1))
        assert_allclose(graph.distances[rows], actual, rtol=1e-4)
        assert graph.distances.flags.c_contiguous

    def test_cosine(self, rng):
        X = rng.lognormal(size=(3000, 1)) * (1 + blobs(rng, 3000))
        graph = approximate_neighbors(X, 30, "cosine", Workers())
        expected = nearest_neighbors(X, 30, "cosine")
        assert np.mean(graph.distances <= expected.distances[:, -1:] * (1 + 1e-6)) >= 0.98
        same = graph.indices == expected.indices
        assert same.mean() > 0.9
        assert_allclose(graph.distances[same], expected.distances[same], rtol=1e-4)
        X[17] = 0.0  # has no direction
        assert approximate_neighbors(X, 30, "cosine", Workers()) is None

    @pytest.mark.parametrize(
        "make",
        [
            lambda rng: rng.normal(size=(3000, 50)),  # noise has neighbors everywhere
            lambda rng: np.vstack([blobs(rng), np.full((1, 20), 1e12)]),  # float32 sees but the outlier
        ],
    )
    def test_where_it_is_not_worth_it_or_cannot_be_done_there_is_none(self, make, rng):
        X = conditioned(make(rng))
        assert approximate_neighbors(X, min(50, len(X) - 1), "euclidean", Workers()) is None

    @pytest.mark.parametrize(
        "make",
        [
            lambda rng: np.zeros((500, 3)),
            lambda rng: np.eye(200),
            *(lambda rng, n=n: rng.normal(size=(n, 2)) for n in (2, 3, 4, 5, 10, 50)),
        ],
    )
    @pytest.mark.parametrize("k", [1, 4, 91])
    def test_few_or_equal_rows(self, make, k, rng):
        X = make(rng)
        k = min(k, len(X) - 1)
        graph = approximate_neighbors(X, k, "euclidean", Workers())
        if graph is not None:
            assert_allclose(graph.distances, brute_force(X, k), rtol=1e-5)

    def test_threads_change_nothing_here_or_in_faiss(self, faiss, rng):
        X = conditioned(blobs(rng, 5003))
        copy, before = X.copy(), faiss.omp_get_max_threads()
        graphs = []
        for n_threads in (1, 2, 3):
            with Workers(n_threads) as workers:
                graphs.append(approximate_neighbors(X, 40, "euclidean", workers))
        for graph in graphs[1:]:
            assert_array_equal(graph.indices, graphs[0].indices)
            assert_array_equal(graph.distances, graphs[0].distances)
        assert faiss.omp_get_max_threads() == before
        assert_array_equal(X, copy)


def test_without_faiss_the_error_says_how_to_get_it(monkeypatch, rng):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"neighbors == 'faiss' needs faiss.*pip install faiss-cpu.*'auto', 'exact'"):
        approximate_neighbors(rng.normal(size=(50, 3)), 5, "euclidean", Workers())


class TestTransformer:
    @pytest.mark.parametrize("n_neighbors", [2, 12, 30])
    @pytest.mark.parametrize("k", [12, 49])
    def test_gets_as_many_neighbors_as_are_needed(self, n_neighbors, k, rng):
        X = rng.normal(size=(50, 3))
        transformer = KNeighborsTransformer(n_neighbors=n_neighbors)
        graph = neighbors_by_transformer(transformer, X, k)[0]
        expected = nearest_neighbors(X, k)
        assert_array_equal(graph.indices, expected.indices)
        assert_allclose(graph.distances, expected.distances, rtol=1e-7)
        assert transformer.n_neighbors == n_neighbors
        assert not hasattr(transformer, "n_features_in_")

    def test_without_n_neighbors_is_used_as_it_is(self, rng):
        X = rng.normal(size=(50, 3))
        graph = neighbors_by_transformer(RadiusNeighborsTransformer(radius=100.0), X, 20)[0]
        assert_array_equal(graph.indices, nearest_neighbors(X, 20).indices)
        message = r"neighbors == RadiusNeighborsTransformer\(\).*at least 20 neighbors in every row"
        with pytest.raises(ValueError, match=message):
            neighbors_by_transformer(RadiusNeighborsTransformer(), X, 20)[0]

    def test_that_counts_the_row_itself_gives_enough(self, rng):
        class CountingItself(BaseEstimator):
            def __init__(self, n_neighbors=5):
                self.n_neighbors = n_neighbors

            def fit_transform(self, X):
                return KNeighborsTransformer(n_neighbors=self.n_neighbors - 1).fit_transform(X)

        X = rng.normal(size=(50, 3))
        graph = neighbors_by_transformer(CountingItself(), X, 12)[0]
        assert_array_equal(graph.indices, nearest_neighbors(X, 12).indices)

    @pytest.mark.parametrize(
        ("result", "message"),
        [
            (np.zeros((20, 20)), r"sparse matrix of shape \(20, 20\).*got ndarray of shape \(20, 20\)"),
            (csr_array((20, 19)), r"sparse matrix of shape \(20, 20\).*got csr_array of shape \(20, 19\)"),
            (csr_array(-np.ones((20, 20))), "must return distances, got negative values"),
            (csr_array(np.full((20, 20), np.nan)), "must return distances, got values that are not finite"),
        ],
    )
    def test_that_returns_no_graph_of_distances_is_named(self, result, message, rng):
        class Returning(BaseEstimator):
            def __init__(self, result=None):
                self.result = result

            def fit_transform(self, X):
                return self.result

        with pytest.raises(ValueError, match=r"neighbors == Returning\((.|\n)*" + message):
            neighbors_by_transformer(Returning(result), rng.normal(size=(20, 2)), 5)[0]
