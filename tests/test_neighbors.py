"""The nearest-neighbour graph against plain differences, and of distances that the user computed."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix
from sklearn.neighbors import KNeighborsTransformer

from sktsne.neighbors import all_distances, condition, nearest_neighbors


def brute_force(X, k):
    D = np.sqrt(((X[:, None] - X[None]) ** 2).sum(axis=-1))
    np.fill_diagonal(D, np.inf)
    return np.sort(D, axis=1)[:, :k]


@pytest.mark.parametrize("n_features", [3, 40])
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
