"""The nearest-neighbour graph against plain differences, and as faiss, the user and the user's transformer find it."""

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import BaseEstimator
from sklearn.neighbors import KNeighborsTransformer, RadiusNeighborsTransformer

from sktsne._faiss import approximate_neighbors
from sktsne._native.parallel import Workers
from sktsne.neighbors import all_distances, condition, nearest_neighbors, neighbors_by_transformer


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
    graph = nearest_neighbors(condition(X, "euclidean"), 10)
    assert_allclose(graph.distances, brute_force(X - offset, 10), rtol=1e-6)


@pytest.mark.parametrize("scale", [2.0**-900, 2.0**900])
def test_squares_neither_overflow_nor_vanish(scale, rng):
    X = rng.normal(size=(100, 20))
    expected = nearest_neighbors(condition(X, "euclidean"), 10)
    graph = nearest_neighbors(condition(X * scale, "euclidean"), 10)
    assert_array_equal(graph.indices, expected.indices)
    ratio = graph.distances / expected.distances
    assert_allclose(ratio, ratio[0, 0], rtol=1e-9)


def test_conditioning_leaves_other_metrics_and_the_caller_alone(rng):
    X = 1e200 * rng.normal(size=(10, 3))
    copy = X.copy()
    assert condition(X, "cosine") is X
    assert condition(X, "precomputed") is X
    assert np.abs(condition(X, "euclidean")).max() < 10.0
    assert condition(np.ones((3, 2), dtype=np.float32), "manhattan").dtype == np.float64
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

    def test_keeps_duplicates_which_are_explicit_zeros(self, rng):
        X = np.repeat(rng.normal(size=(10, 2)), 5, axis=0)
        graph = KNeighborsTransformer(mode="distance", n_neighbors=8).fit_transform(X)
        assert (nearest_neighbors(graph, 8, "precomputed").distances[:, :4] < 1e-7).all()

    def test_with_too_few_neighbours_says_how_many_are_needed(self, rng):
        _, graph = self.graph(rng, n_neighbors=5)
        with pytest.raises(ValueError, match=r"at least 9 neighbors in every row.* row 0 has 5.*n_neighbors=9"):
            nearest_neighbors(graph, 9, "precomputed")


def test_dense_precomputed_distances_are_not_changed(rng):
    D = all_distances(rng.normal(size=(30, 3)))
    copy = D.copy()
    nearest_neighbors(D, 5, "precomputed")
    assert_array_equal(D, copy)


# Rows for faiss


def blobs(rng, n=6000, n_features=20):
    return 10 * rng.normal(size=(50, n_features))[rng.integers(0, 50, n)] + rng.normal(size=(n, n_features))


def digits_like(rng):
    return np.round(4 * np.maximum(rng.normal(size=(6000, 8)) @ rng.normal(size=(8, 64)), 0))


def heavy_tails(rng):
    return rng.standard_t(1.5, size=(8000, 8))


def duplicates(rng):
    return np.repeat(rng.normal(size=(60, 10)), 100, axis=0)


def few_duplicates(rng):
    return np.repeat(rng.normal(size=(1500, 6)), 3, axis=0)


def grid(rng):
    return np.stack(np.meshgrid(*[np.arange(18.0)] * 3), axis=-1).reshape(-1, 3)


def lonely_rows(rng):  # whose own lists have too few neighbours
    return np.vstack([rng.normal(size=(4000, 5)), 100 * rng.normal(size=(40, 5))])


def tight_groups(rng):  # whose distances float32 does not resolve well
    return np.repeat(rng.normal(size=(60, 10)), 100, axis=0) + 1e-5 * rng.normal(size=(6000, 10))


def huge(rng):
    return 1e60 * rng.normal(size=(6000, 4))


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
        X = condition(make(rng), "euclidean")
        n = len(X)
        with Workers(2) as workers:
            graph = approximate_neighbors(X, k, "euclidean", workers)
        assert graph is not None
        expected = nearest_neighbors(X, k)
        # Of neighbours at equal distances, any is right.
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
            lambda rng: rng.normal(size=(3000, 50)),  # noise has neighbours everywhere
            lambda rng: np.vstack([blobs(rng), np.full((1, 20), 1e12)]),  # float32 sees but the outlier
        ],
    )
    def test_where_it_is_not_worth_it_or_cannot_be_done_there_is_none(self, make, rng):
        X = condition(make(rng), "euclidean")
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
        X = condition(blobs(rng, 5003), "euclidean")
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
    def test_gets_as_many_neighbours_as_are_needed(self, n_neighbors, k, rng):
        X = rng.normal(size=(50, 3))
        transformer = KNeighborsTransformer(n_neighbors=n_neighbors)
        graph = neighbors_by_transformer(transformer, X, k)
        expected = nearest_neighbors(X, k)
        assert_array_equal(graph.indices, expected.indices)
        assert_allclose(graph.distances, expected.distances, rtol=1e-7)
        assert transformer.n_neighbors == n_neighbors
        assert not hasattr(transformer, "n_features_in_")

    def test_without_n_neighbors_is_used_as_it_is(self, rng):
        X = rng.normal(size=(50, 3))
        graph = neighbors_by_transformer(RadiusNeighborsTransformer(radius=100.0), X, 20)
        assert_array_equal(graph.indices, nearest_neighbors(X, 20).indices)
        message = r"neighbors == RadiusNeighborsTransformer\(\).*at least 20 neighbors in every row"
        with pytest.raises(ValueError, match=message):
            neighbors_by_transformer(RadiusNeighborsTransformer(), X, 20)

    def test_that_counts_the_row_itself_gives_enough(self, rng):
        class CountingItself(BaseEstimator):
            def __init__(self, n_neighbors=5):
                self.n_neighbors = n_neighbors

            def fit_transform(self, X):
                return KNeighborsTransformer(n_neighbors=self.n_neighbors - 1).fit_transform(X)

        X = rng.normal(size=(50, 3))
        assert_array_equal(neighbors_by_transformer(CountingItself(), X, 12).indices, nearest_neighbors(X, 12).indices)

    @pytest.mark.parametrize(
        ("result", "message"),
        [
            (np.zeros((20, 20)), r"sparse matrix of shape \(20, 20\).*got ndarray of shape \(20, 20\)"),
            (csr_array((20, 19)), r"sparse matrix of shape \(20, 20\).*got csr_array of shape \(20, 19\)"),
            (csr_array(-np.ones((20, 20))), "must return distances, got values that are negative"),
            (csr_array(np.full((20, 20), np.nan)), "must return distances, got values that are negative or not"),
        ],
    )
    def test_that_returns_no_graph_of_distances_is_named(self, result, message, rng):
        class Returning(BaseEstimator):
            def __init__(self, result=None):
                self.result = result

            def fit_transform(self, X):
                return self.result

        with pytest.raises(ValueError, match=r"neighbors == Returning\((.|\n)*" + message):
            neighbors_by_transformer(Returning(result), rng.normal(size=(20, 2)), 5)
