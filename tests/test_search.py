"""Neighbors of new rows: the nearest by plain differences, and the same in every batch, to the last bit."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from rows import COUNT_METRICS, assert_same_in_every_batch, differences
from scipy.sparse import csr_array, csr_matrix, issparse
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsTransformer

from sktsne import TSNE
from sktsne.conditioning import Conditioning
from sktsne.neighbors import (
    METRICS,
    AllPairs,
    ClusteredSearch,
    ExactSearch,
    GivenDistances,
    TransformerSearch,
    resolve,
    traits_of,
)
from sktsne.parallel import Workers

ROWS = 260


def cubed(a, b):
    return float((np.abs(a - b) ** 3).sum() ** (1 / 3))


class Conditioned:
    """A search in rows as the estimators make it."""

    def __init__(self, search, X, metric):
        self.search, self.conditioning = search, Conditioning(X, metric)
        search.fit(self.conditioning(X), Workers())

    def neighbors_of(self, rows, workers):
        return self.search.neighbors_of(self.conditioning(rows), workers)


def exact(X, k, metric="euclidean", params=None):
    return Conditioned(ExactSearch(k, metric, params), X, metric)


def every(X, metric="euclidean", params=None):
    return Conditioned(AllPairs(metric, params), X, metric)


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


def varying(X):
    """Return rows none of which is constant, for then it has no correlation."""
    first = np.zeros(X.shape, dtype=X.dtype)
    first[:, 0] = 9.0
    return csr_array(X + first) if issparse(X) else X + first


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
        if storage is csr_array and not traits_of(metric).sparse:
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
        graph = exact(storage(X), 59, "cosine").neighbors_of(storage(new), Workers())
        assert graph.indices[1].tolist() == list(range(59))
        assert (graph.distances[1] == 1.0).all()
        assert (graph.distances[graph.indices == 7] == 1.0).all()
        D = pairwise_distances(new, X, "cosine")
        assert_allclose(graph.distances, np.sort(D, axis=1)[:, :59], rtol=1e-9)

    @pytest.mark.parametrize("metric", [m for m in METRICS if m != "precomputed"])
    def test_agrees_with_scikit_learn_under_every_metric(self, metric, rng):
        X, new = rows_for(metric, 150, rng), rows_for(metric, 40, rng)
        graph = exact(X, 9, metric).neighbors_of(new, Workers())
        name, params = resolve(X, metric, None)
        D = pairwise_distances(
            *(rows != 0.0 if traits_of(name).boolean else rows for rows in (new, X)), metric=name, **params
        )
        assert_allclose(graph.distances, np.sort(D, axis=1)[:, :9], rtol=1e-7, atol=1e-12)
        assert_allclose(np.take_along_axis(D, graph.indices, 1), graph.distances, rtol=1e-7, atol=1e-12)

    @pytest.mark.parametrize("metric", COUNT_METRICS)
    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    def test_rows_that_are_true_and_false(self, metric, storage, rng):
        if storage is csr_array and metric == "hamming":
            pytest.skip("not for sparse rows")
        X, new = ((rng.uniform(size=(n, 9)) < 0.3).astype(float) for n in (150, 60))
        X[:, 0], X[7], new[3] = 1.0, 0.0, 0.0
        D = cdist(new != 0.0, X != 0.0, metric)
        if metric != "russellrao":
            D[np.ix_(~new.any(axis=1), ~X.any(axis=1))] = 0.0  # where SciPy has NaN or 1 under some metrics
        graph = exact(storage(X), 12, metric).neighbors_of(storage(new), Workers())
        assert_allclose(graph.distances, np.sort(D, axis=1)[:, :12], rtol=1e-14)
        assert_allclose(np.take_along_axis(D, graph.indices, 1), graph.distances, rtol=1e-14)
        order = graph.distances + 1e-9 * graph.indices  # of equal ones by index
        assert (np.diff(order, axis=1) > 0.0).all()
        assert_same_in_every_batch(exact(storage(X), 12, metric), storage(new), rng, [2, 19, 21])

    @pytest.mark.parametrize("k", [1, 12, 149])
    def test_hamming_of_new_rows_that_are_not_0_and_1(self, k, rng):
        X, new = rng.integers(0, 2, size=(150, 9)).astype(float), rng.integers(0, 4, size=(60, 9)) / 2.0
        graph = exact(X, k, "hamming").neighbors_of(new, Workers())
        D = cdist(new, X, "hamming")
        nearest = np.argsort(D, axis=1, kind="stable")[:, :k]
        assert_array_equal(graph.indices, nearest)
        assert_allclose(graph.distances, np.take_along_axis(D, nearest, 1), rtol=1e-14)

    @pytest.mark.parametrize("metric", ["seuclidean", "mahalanobis"])
    @pytest.mark.parametrize("n_columns", [3, 9])
    def test_standardized_rows_as_the_fit_determines(self, metric, n_columns, rng):
        mixed = rng.normal(size=(n_columns, n_columns))
        X, new = rng.normal(size=(200, n_columns)) @ mixed, rng.normal(size=(40, n_columns)) @ mixed
        params = {"V": X.var(axis=0, ddof=1)} if metric == "seuclidean" else {"VI": np.linalg.inv(np.cov(X.T))}
        D = cdist(new, X, metric, **params)
        for given in None, params:
            graph = exact(X, 12, metric, given).neighbors_of(new, Workers())
            assert_array_equal(graph.indices, np.argsort(D, axis=1)[:, :12])
            assert_allclose(graph.distances, np.sort(D, axis=1)[:, :12], rtol=1e-9)

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
    if traits_of(metric).boolean or metric == "hamming":
        X = np.floor(X)
        X[:, 0] = 1.0
    return X


class TestEveryBatchFindsTheSame:
    @pytest.mark.parametrize("kind", ["normal", "ties", "duplicates", "constant", "single", "sparse"])
    @pytest.mark.parametrize("n_columns", [5, 7, 8])
    @pytest.mark.parametrize("metric", ["euclidean", "cosine", "sqeuclidean", "correlation"])
    def test_rows_of_every_kind(self, kind, n_columns, metric, rng):
        X, new = rows_of_kind(kind, n_columns, rng)
        if metric == "correlation":
            if kind == "constant":
                pytest.skip("has no correlation")
            X, new = varying(X), varying(new)
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
    def __init__(self, graph=None):
        self.graph = graph

    def fit_transform(self, X):
        return csr_array(pairwise_distances(X))

    def transform(self, X):
        return self.graph


class TestTransformerSearch:
    def test_asks_the_transformer(self, rng):
        X, new = rng.normal(size=(50, 4)), rng.normal(size=(9, 4))
        search = TransformerSearch(KNeighborsTransformer(n_neighbors=20), 12)
        search.fit(X, Workers())
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
        search = TransformerSearch(Returning(graph), 4)
        search.fit(np.arange(10.0).reshape(5, 2), Workers())
        with pytest.raises(ValueError, match=message):
            search.neighbors_of(np.zeros((3, 2)), Workers())

    def test_a_transformer_without_transform(self):
        class Fitting(BaseEstimator):
            def fit_transform(self, X):
                return csr_array(pairwise_distances(X))

        search = TransformerSearch(Fitting(), 4)
        search.fit(np.arange(10.0).reshape(5, 2), Workers())
        with pytest.raises(AttributeError, match=r"neighbors == Fitting\(\), must have a method transform"):
            search.neighbors_of(np.zeros((3, 2)), Workers())


def nan_above_100(a, b):
    return np.nan if max(a[0], b[0]) > 100.0 else float(np.abs(a - b).sum())


@pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")
class TestDistancesThatAreNaN:
    """What was not found must not be taken for a row, whose number would be anything."""

    @pytest.mark.parametrize("search", [ExactSearch, ClusteredSearch])
    @pytest.mark.parametrize("scale", [1e160, 1e200, 1e300])
    def test_products_that_overflow(self, search, scale, rng):
        X = rng.normal(size=(1200, 10))
        search = search(5, "mahalanobis")
        search.fit(X * 1e-150, Workers())
        with pytest.raises(ValueError, match="gives nan for rows 2 and 0"):
            search.neighbors_of(np.array([1e-150, 1e-150, scale])[:, None] * X[:3], Workers())

    @pytest.mark.parametrize("search", [ExactSearch, ClusteredSearch])
    @pytest.mark.parametrize("n", [300, 1200])
    def test_of_a_callable(self, search, n, rng):
        X = rng.normal(size=(n, 2))
        search = search(5, nan_above_100)
        search.fit(X, Workers())
        X[1, 0] = 101.0
        with pytest.raises(ValueError, match="gives nan for rows 1 and 0"):
            search.neighbors_of(X[:3], Workers())

    @pytest.mark.parametrize("search", [ExactSearch(600, "braycurtis"), ClusteredSearch(290, "braycurtis")])
    def test_more_rows_of_zeros_than_leave_neighbors(self, search, rng):
        X = rng.uniform(size=(1200, 8))
        X[rng.permutation(1200)[:700]] = 0.0
        with pytest.raises(ValueError, match="metric must give distances, finite and not negative, and gives nan"):
            search.fit(X, Workers())

    def test_the_row_is_that_of_the_user(self, rng):
        X = rng.normal(size=(60, 6))
        model = TSNE(perplexity=5, max_iter=20, metric="correlation").fit(X)
        rows = np.concatenate([X[:3], rng.normal(size=(4, 6)), np.ones((1, 6))])  # the first are known
        with pytest.raises(ValueError, match=r"metric == 'correlation'.* gives nan for rows 7 and 0"):
            model.transform(rows)


class TestRowsThatProductsDoNotRank:
    """By differences, to those rows that are near but for rounding: to all of them it would take too long."""

    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    @pytest.mark.parametrize("kind", ["outlier", "ties", "far"])
    def test_differences_to_few_rows(self, kind, storage, rng, monkeypatch):
        X = rng.integers(0, 9, size=(1500, 12)).astype(float) if kind == "ties" else rng.normal(size=(1500, 12))
        if kind == "outlier":
            X[7] = 1e9
        if kind == "far":  # groups of rows that float64 does not tell apart by products
            X = 1e3 * X[rng.integers(0, 30, 1500)] + 1e-6 * X
        new = X[20:60] + (kind != "ties") * 1e-7
        search = ExactSearch(30)
        search.fit(storage(X), Workers())
        n_pairs = []

        def counted(points, indices, workers, exact=search._space.exact_distances):
            n_pairs.append(indices.size)
            return exact(points, indices, workers)

        monkeypatch.setattr(search._space, "exact_distances", counted)
        graph = search.neighbors_of(storage(new), Workers())
        D = differences(new, X)
        nearest = np.argsort(D.astype(np.float64), axis=1, kind="stable")[:, :30]
        assert_array_equal(graph.distances, np.sort(graph.distances, axis=1))
        expected = np.take_along_axis(D, nearest, 1).astype(np.float64)
        assert_allclose(graph.distances, expected, rtol=1e-9, atol=1e-12)
        if kind == "ties":
            assert_array_equal(graph.indices, nearest)
        assert sum(n_pairs) < 200 * len(new)

    def test_of_sparse_rows_with_a_large_common_number(self, rng):
        X = np.maximum(rng.normal(size=(1100, 12)), 0.0)
        X[:, 3] = 1e8
        D = differences(X, X).astype(np.float64)
        np.fill_diagonal(D, np.inf)
        found = ExactSearch(15).fit(csr_array(X), Workers()).distances
        assert_allclose(found, np.sort(D, axis=1)[:, :15], rtol=1e-9)

    @pytest.mark.parametrize("n_columns", [1, 3])
    def test_more_rows_at_equal_distances_than_a_tree_is_asked_for(self, n_columns, rng):
        X = rng.integers(0, 3, size=(2000, n_columns)).astype(float)
        search = ExactSearch(5)
        search.fit(X, Workers())
        new = np.concatenate([X[:8], X[:8] + 0.25, np.full((1, n_columns), 0.5)])
        graph = search.neighbors_of(new, Workers())
        D = cdist(new, X)
        nearest = np.argsort(D, axis=1, kind="stable")[:, :5]
        assert_array_equal(graph.indices, nearest)
        assert_array_equal(graph.distances, np.take_along_axis(D, nearest, 1))

    def test_a_metric_that_scikit_learn_takes_by_products(self, rng):
        X = rng.integers(0, 5, size=(1200, 9)) * rng.normal(size=(1200, 9))
        search = ExactSearch(5, "nan_euclidean", {"missing_values": 0})
        search.fit(X, Workers())
        assert_same_in_every_batch(search, X[:300] + 0.01, rng)
