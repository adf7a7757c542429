"""Neighbors of new rows: the nearest by plain differences, and the same in every batch, to the last bit."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import BaseEstimator
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import VALID_METRICS_SPARSE, KNeighborsTransformer
from sktsne._faiss import ApproximateSearch
from sktsne.search import (
    AllRows,
    ExactSearch,
    GivenDistances,
    KnownRows,
    TransformerSearch,
    pair_distances_reference,
)

from sktsne import _native
from sktsne._parameters import METRICS
from sktsne.neighbors import BOOLEAN, Conditioning, resolve
from sktsne.parallel import Workers

BATCHES = [2, 19, 20, 21, 257]  # matrix products and faiss change their ways at some
ROWS = 260


def cubed(a, b):
    return float((np.abs(a - b) ** 3).sum() ** (1 / 3))


def exact(X, k, metric="euclidean", params=None):
    return ExactSearch(X, Conditioning(X, metric), k, metric, params)


def every(X, metric="euclidean", params=None):
    return AllRows(X, Conditioning(X, metric), metric, params)


def differences(new, X):
    """Return the distances by plain differences, in more digits than float64 has."""
    new, X = new.astype(np.longdouble), X.astype(np.longdouble)
    return np.sqrt(((new[:, None] - X) ** 2).sum(axis=-1))


def assert_same_in_every_batch(search, rows, rng, sizes=BATCHES):
    """Check neighbors and distances, bit for bit, for batches of several sizes, orders and numbers of threads."""
    expected = search.neighbors_of(rows, Workers())
    n = rows.shape[0]
    choices = [rng.integers(0, n, 1) for _ in range(3)] + [rng.permutation(n)[:60]]
    for size in sizes:
        first = rng.integers(0, n - size + 1)
        choices += [np.arange(first, first + size)]
    for number, chosen in enumerate(choices):
        with Workers(1 + number % 3) as workers:
            found = search.neighbors_of(rows[chosen], workers)
        assert_array_equal(found.indices, expected.indices[chosen])
        assert_array_equal(found.distances, expected.distances[chosen])


def rows_of_kind(kind, n_columns, rng):
    """Return 200 rows and `ROWS` others."""
    X, new = rng.normal(size=(200, n_columns)) + 1.0, rng.normal(size=(ROWS, n_columns)) + 1.0
    if kind == "ties":
        return np.round(X), np.round(new)
    if kind == "duplicates":
        return np.repeat(X[:20], 10, axis=0), np.concatenate([new[40:], X[:20], X[:20] + 1e-12])
    if kind == "constant":
        return np.full_like(X, 4.2), new
    if kind == "single":
        return X.astype(np.float32), new.astype(np.float32)
    if kind == "sparse":
        return csr_array(np.maximum(np.round(2.0 * X), 0.0)), csr_matrix(np.maximum(np.round(2.0 * new), 0.0))
    return X, new


class TestPairDistances:
    @pytest.mark.parametrize("n_columns", [1, 2, 7, 8, 33])
    def test_compiled_and_reference_agree(self, n_columns, rng):
        X, new = rng.normal(size=(30, n_columns)), rng.normal(size=(50, n_columns))
        indices = rng.integers(0, 30, size=(50, 9))
        results = np.full((2, 50, 9), -1.0)
        for routine, distances in zip(
            (pair_distances_reference, _native.choose("neighbors", "pair_distances", None)), results, strict=True
        ):
            routine(new, X, indices, distances, 3, 40)
        assert_allclose(results[0], results[1], rtol=1e-14)
        assert_allclose(results[0][3:40], np.take_along_axis(differences(new, X), indices, 1)[3:40], rtol=1e-14)
        assert (results[:, :3] == -1.0).all()
        assert (results[:, 40:] == -1.0).all()

    def test_many_neighbors_are_taken_in_blocks(self, rng, monkeypatch):
        monkeypatch.setattr("sktsne.search.PAIRS_AT_ONCE", 20)
        X, new, indices = rng.normal(size=(30, 3)), rng.normal(size=(50, 3)), rng.integers(0, 30, size=(50, 9))
        distances = np.empty((50, 9))
        pair_distances_reference(new, X, indices, distances, 0, 50)
        assert_allclose(distances, np.take_along_axis(differences(new, X), indices, 1), rtol=1e-14)


class TestKnownRows:
    @pytest.mark.parametrize("storage", [np.asarray, csr_array, csr_matrix])
    def test_the_first_of_equal_rows_and_one_kind_of_zero(self, storage):
        X = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0], [0.0, 0.0]])
        known = KnownRows(storage(X))
        found, places = known.find(storage(np.array([[0.0, 2.0], [1.0, -0.0], [2.0, 0.0], [-0.0, 0.0]])))
        assert found.tolist() == [True, True, False, True]
        assert places.tolist() == [1, 0, 3]
        assert known.match(storage(-0.0 + X))
        assert not known.match(storage(X[:3]))
        assert not known.match(storage(X[::-1]))

    def test_precision_is_no_part_of_a_row(self, rng):
        X = rng.normal(size=(20, 3)).astype(np.float32)
        known = KnownRows(X)
        assert known.match(X.astype(np.float64))
        assert not known.find(X + np.float32(1e-6))[0].any()

    def test_sparse_rows_are_told_by_their_values(self):
        row = csr_array((np.array([2.0, 1.0]), np.array([3, 0]), np.array([0, 2])), shape=(1, 4))
        zeros = csr_array((np.array([1.0, 0.0, 2.0]), np.array([0, 2, 3]), np.array([0, 3])), shape=(1, 4))
        assert KnownRows(row).match(zeros)
        assert KnownRows(row).match(csr_array(row.toarray()))
        assert row.indices.tolist() == [3, 0]
        assert zeros.nnz == 3
        assert not KnownRows(row).find(csr_array(np.array([[1.0, 2.0, 0.0, 0.0]])))[0].any()

    def test_zeros_of_a_graph_are_distances(self):
        # Two groups of equal rows: the neighbors of each are its own, at distance 0.
        graph = csr_array((np.zeros(8), np.array([0, 1, 0, 1, 2, 3, 2, 3]), np.arange(0, 9, 2)), shape=(4, 4))
        found, places = KnownRows(graph, explicit_zeros=True).find(graph[2:])
        assert found.all()
        assert places.tolist() == [2, 2]
        assert KnownRows(graph, explicit_zeros=True).match(-1.0 * graph)


class TestExactSearch:
    @pytest.mark.parametrize("offset", [0.0, 1e6])
    @pytest.mark.parametrize("n_columns", [3, 7, 40])
    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    def test_finds_the_nearest_by_differences(self, n_columns, storage, offset, rng):
        if storage is csr_array and offset:
            pytest.skip("sparse rows are not centered")
        X, new = rng.normal(size=(300, n_columns)) + offset, rng.normal(size=(60, n_columns)) + offset
        new[:10] = X[:10] + 1e-9 * (1.0 + offset)
        graph = exact(storage(X), 12).neighbors_of(storage(new), Workers())
        D = differences(new, X)
        nearest = np.argsort(D, axis=1, kind="stable")[:, :12]
        assert_array_equal(graph.indices, nearest)
        assert_allclose(graph.distances, np.take_along_axis(D, nearest, 1), rtol=1e-12, atol=1e-15 * (1.0 + offset))
        assert graph.distances.flags.c_contiguous

    @pytest.mark.parametrize("n_columns", [2, 8])
    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    @pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "manhattan", "chebyshev"])
    def test_ties_go_by_index(self, n_columns, storage, metric, rng):
        if storage is csr_array and metric not in VALID_METRICS_SPARSE["brute"]:
            pytest.skip("not for sparse rows")
        X = rng.integers(-2, 3, size=(200, n_columns)).astype(float)
        X = np.concatenate([X, -X])  # the mean is 0, and all is exact
        new = rng.integers(-2, 3, size=(80, n_columns)).astype(float)
        graph = exact(storage(X), 15, metric).neighbors_of(storage(new), Workers())
        D = (
            pairwise_distances(new, X, "minkowski", p=2)
            if metric == "euclidean"
            else pairwise_distances(new, X, metric)
        )
        nearest = np.argsort(D, axis=1, kind="stable")[:, :15]
        assert np.any(np.sort(D, axis=1)[:, 14] == np.sort(D, axis=1)[:, 15])  # there is something to choose
        assert_array_equal(graph.indices, nearest)

    @pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev", "minkowski"])
    @pytest.mark.parametrize("n_columns", [3, 9])
    def test_outliers(self, metric, n_columns, rng):
        params = {"p": 4} if metric == "minkowski" else None
        X, directions = rng.normal(size=(200, n_columns)), rng.normal(size=(8, n_columns))
        with np.errstate(over="raise"):
            far = exact(X, 10, metric, params).neighbors_of(1e300 * directions, Workers())
            exact(1e-100 * X, 10, metric, params).neighbors_of(1e300 * directions, Workers())
        assert_array_equal(far.indices, np.tile(np.arange(10), (8, 1)))  # all are as far
        assert np.ptp(far.distances, axis=1).max() == 0.0
        if metric == "euclidean":
            new = 1e12 * directions
            D = differences(new, X)
            found = exact(X, 10).neighbors_of(new, Workers()).indices
            assert (np.take_along_axis(D, found, 1).max(axis=1) <= np.sort(D)[:, 9] * (1.0 + 1e-15)).all()

    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    def test_rows_without_a_direction(self, storage, rng):
        X, new = rng.normal(size=(60, 5)), rng.normal(size=(4, 5))
        X[7] = new[1] = 0.0
        graph = exact(storage(X), 60, "cosine").neighbors_of(storage(new), Workers())
        assert graph.indices[1].tolist() == list(range(60))
        assert (graph.distances[1] == 1.0).all()
        assert (graph.distances[graph.indices == 7] == 1.0).all()
        D = pairwise_distances(new, X, "cosine")
        assert_allclose(graph.distances, np.sort(D, axis=1), rtol=1e-9)

    @pytest.mark.parametrize("metric", [m for m in METRICS if m != "precomputed"])
    def test_agrees_with_scikit_learn_under_every_metric(self, metric, rng):
        X, new = rows_for(metric, 150, rng), rows_for(metric, 40, rng)
        graph = exact(X, 9, metric).neighbors_of(new, Workers())
        name, params = resolve(X, metric, None)
        D = pairwise_distances(*(rows != 0.0 if name in BOOLEAN else rows for rows in (new, X)), metric=name, **params)
        assert_allclose(graph.distances, np.sort(D, axis=1)[:, :9], rtol=1e-7, atol=1e-12)
        assert_allclose(np.take_along_axis(D, graph.indices, 1), graph.distances, rtol=1e-7, atol=1e-12)

    def test_an_unpickled_search_finds_the_same(self, rng):
        X, new = rng.normal(size=(100, 8)), rng.normal(size=(50, 8))
        search = exact(X, 9)
        before = pickle.dumps(search)
        expected = search.neighbors_of(new, Workers())
        assert pickle.dumps(search) == before  # nothing that is cached goes along
        found = pickle.loads(before).neighbors_of(new, Workers())
        assert_array_equal(found.indices, expected.indices)
        assert_array_equal(found.distances, expected.distances)


def rows_for(metric, n, rng):
    """Return rows that the metric is made for, with ties where they are true and false."""
    if metric == "haversine":
        return rng.uniform([-np.pi / 2, -np.pi], [np.pi / 2, np.pi], size=(n, 2))
    X = rng.lognormal(size=(n, 7))
    if resolve(X, metric, None)[0] in BOOLEAN or metric == "hamming":
        X = np.floor(X)
        X[:, 0] = 1.0
    return X


class TestEveryBatchFindsTheSame:
    @pytest.mark.parametrize("kind", ["normal", "ties", "duplicates", "constant", "single", "sparse"])
    @pytest.mark.parametrize("n_columns", [5, 7, 8])
    @pytest.mark.parametrize("metric", ["euclidean", "cosine", "sqeuclidean"])
    def test_rows_of_every_kind(self, kind, n_columns, metric, rng):
        if kind == "sparse" and metric == "sqeuclidean":
            pytest.skip("not for sparse rows")
        X, new = rows_of_kind(kind, n_columns, rng)
        assert_same_in_every_batch(exact(X, 16, metric), new, rng)

    @pytest.mark.parametrize("metric", [m for m in METRICS if m != "precomputed"])
    def test_every_metric(self, metric, rng):
        X, new = rows_for(metric, 200, rng), rows_for(metric, ROWS, rng)
        assert_same_in_every_batch(exact(X, 16, metric), new, rng, [2, 21, 257])
        assert_same_in_every_batch(every(X, metric), new[:60], rng, [21])

    @pytest.mark.parametrize(
        ("metric", "params"),
        [(cubed, None), ("minkowski", {"p": 3}), ("minkowski", {"p": 3, "w": np.arange(1.0, 6.0)})],
    )
    def test_functions_and_parameters(self, metric, params, rng):
        X, new = np.round(2.0 * rng.normal(size=(50, 5))), np.round(2.0 * rng.normal(size=(40, 5)))
        for search in exact(X, 10, metric, params), every(X, metric, params):
            assert_same_in_every_batch(search, new, rng, [2, 19, 21])

    @pytest.mark.parametrize("kind", ["normal", "ties", "single", "sparse"])
    @pytest.mark.parametrize("metric", ["euclidean", "cosine"])
    def test_all_rows(self, kind, metric, rng):
        X, new = rows_of_kind(kind, 7, rng)
        assert_same_in_every_batch(every(X, metric), new, rng, [2, 257])

    @pytest.mark.parametrize("rounded", [False, True])
    @pytest.mark.parametrize("n_columns", [7, 16])
    @pytest.mark.parametrize("metric", ["l2", "cosine"])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_faiss(self, metric, n_columns, rounded, dtype, rng):
        pytest.importorskip("faiss")
        centers = 20.0 * rng.normal(size=(20, n_columns))
        X, new = (
            (centers[rng.integers(0, 20, n)] + rng.normal(size=(n, n_columns))).astype(dtype) for n in (2000, 1100)
        )
        if rounded:
            X, new = np.round(X), np.round(new)
        new[:5] = X[:5]
        search = ApproximateSearch(X, Conditioning(X, metric), 12, metric)
        with Workers() as workers:
            assert search.graph(search._conditioning(X), workers) is not None
        assert_same_in_every_batch(search, new, rng, [*BATCHES, 1000])
        found = search.neighbors_of(new, Workers())
        if metric == "l2":
            D = pairwise_distances(new.astype(float), X.astype(float), "minkowski", p=2)
            assert np.mean(found.distances <= np.sort(D, axis=1)[:, 11:12] * (1.0 + 1e-6)) > 0.97
            assert_allclose(found.distances, np.take_along_axis(D, found.indices, 1), rtol=1e-3, atol=1e-12)
        again = pickle.loads(pickle.dumps(search)).neighbors_of(new, Workers())
        assert_array_equal(again.indices, found.indices)
        assert_array_equal(again.distances, found.distances)


class TestGivenDistances:
    def test_dense_ties_go_by_index(self, rng):
        D = rng.integers(0, 4, size=(20, 30)).astype(np.float32)
        graph = GivenDistances(8).neighbors_of(D, Workers())
        assert_array_equal(graph.indices, np.argsort(D, axis=1, kind="stable")[:, :8])
        assert graph.distances.dtype == np.float64

    def test_a_row_of_a_graph_keeps_its_own_index(self, rng):
        # New rows are none of the fit: an entry on the diagonal is a neighbor like any other.
        D = rng.uniform(size=(4, 10))
        graph = GivenDistances(10).neighbors_of(csr_array(D), Workers())
        assert_array_equal(graph.indices, np.argsort(D, axis=1))


class Returning(BaseEstimator):
    def __init__(self, graph):
        self.graph = graph

    def transform(self, X):
        return self.graph


class TestTransformerSearch:
    def test_asks_the_transformer(self, rng):
        X, new = rng.normal(size=(50, 4)), rng.normal(size=(9, 4))
        search = TransformerSearch(KNeighborsTransformer(n_neighbors=20).fit(X), 12, 50)
        graph = search.neighbors_of(new, Workers())
        assert_array_equal(graph.indices, exact(X, 12).neighbors_of(new, Workers()).indices)

    @pytest.mark.parametrize(
        ("graph", "message"),
        [
            (np.ones((3, 5)), r"transform must return a sparse matrix of shape \(3, 5\).*got ndarray"),
            (csr_array(np.ones((3, 6))), r"sparse matrix of shape \(3, 5\).*of shape \(3, 6\)"),
            (csr_array(-np.ones((3, 5))), "transform must return distances, got negative values"),
            (
                csr_array(np.full((3, 5), np.nan)),
                "transform must return distances, got values that are not finite",
            ),
            (csr_array(np.eye(3, 5)), "the graph of transform must have at least 4 neighbors.* row 0 has 1"),
        ],
    )
    def test_checks_what_it_gets(self, graph, message):
        with pytest.raises(ValueError, match=message):
            TransformerSearch(Returning(graph), 4, 5).neighbors_of(np.zeros((3, 2)), Workers())

    def test_a_transformer_without_transform(self):
        with pytest.raises(AttributeError, match=r"neighbors == BaseEstimator\(\) has no transform"):
            TransformerSearch(BaseEstimator(), 4, 5).neighbors_of(np.zeros((3, 2)), Workers())
