"""The nearest-neighbor graph against plain differences, and as the user and the user's transformer give it."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from rows import COUNT_METRICS, brute_force, naive, rows_for
from scipy.sparse import coo_array, csc_array, csr_array, csr_matrix
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import VALID_METRICS, KNeighborsTransformer, NearestNeighbors, RadiusNeighborsTransformer

from sktsne.conditioning import Conditioning
from sktsne.neighbors import (
    METRICS,
    SEARCHES,
    AllPairs,
    TransformerSearch,
    all_distances,
    all_pairs,
    exact,
    nearest_neighbors,
    traits_of,
)
from sktsne.parallel import Workers


@pytest.fixture(params=["all at once", "in blocks", "in halves of blocks"])
def way(request, monkeypatch):
    """Have all distances computed at once, as of few rows, or by blocks of pairs, of which some serve both sides."""
    if request.param != "all at once":
        monkeypatch.setattr(exact, "FEW_ROWS", 0)
        monkeypatch.setattr(all_pairs, "MAX_BLOCK", all_pairs.MIN_BLOCK)
        halves = request.param == "in halves of blocks"
        monkeypatch.setattr(all_pairs, "COLUMNS_TO_TRANSPOSE", 1 if halves else 10**9)
    return request.param


in_every_way = pytest.mark.usefixtures("way")


@in_every_way
@pytest.mark.parametrize("n_features", [3, 10, 40])
@pytest.mark.parametrize("storage", [np.asarray, csr_array, csr_matrix])
def test_distances_are_those_of_the_nearest_rows(n_features, storage, rng):
    X = rng.normal(size=(150, n_features))
    graph = nearest_neighbors(storage(X), 12)
    assert_allclose(graph.distances, brute_force(X, 12), rtol=1e-9)
    assert (graph.indices != np.arange(150)[:, None]).all()
    assert graph.distances.flags.c_contiguous
    assert_allclose(all_distances(storage(X))[0, graph.indices[0]], graph.distances[0], rtol=1e-7)


@in_every_way
@pytest.mark.parametrize("storage", [np.asarray, csr_array])
def test_duplicates_are_at_distance_zero(storage, rng):
    # |x|² + |y|² − 2x·y alone would put them 1e-7 apart.
    X = rng.normal(size=(20, 30))[rng.integers(0, 20, 200)] + 3.0
    graph = nearest_neighbors(storage(X), 15)
    assert_array_equal(graph.distances == 0.0, brute_force(X, 15) == 0.0)
    assert_allclose(graph.distances, brute_force(X, 15), rtol=1e-8)


@in_every_way
@pytest.mark.parametrize("spread", [1e-3, 1e-7, 1e-11])
def test_groups_that_are_tight_and_far_from_the_others(spread, rng):
    # Squares from products in float64 have errors of 1e-12 here.
    X = 10.0 * rng.normal(size=(150, 12))
    X[100:] = 50.0 + spread * rng.normal(size=(50, 12))
    graph = nearest_neighbors(X, 20)
    assert_allclose(graph.distances, brute_force(X, 20), rtol=1e-7)


@in_every_way
@pytest.mark.parametrize("far", [1e8, 1e12, 1e16])
def test_one_row_far_from_all_others(far, rng):
    X = rng.normal(size=(150, 12))
    X[70] = far
    assert_allclose(nearest_neighbors(X, 20).distances, brute_force(X, 20), rtol=1e-7)


@in_every_way
@pytest.mark.parametrize("offset", [0.0, 1e6, 1e10])
def test_a_common_offset_does_not_swamp_the_differences(offset, rng):
    X = np.round(rng.normal(size=(100, 20)) * 64) / 64 + offset  # exact at every offset
    graph = nearest_neighbors(X, 10)
    assert_allclose(graph.distances, brute_force(X - offset, 10), rtol=1e-9)


@in_every_way
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
SPARSE = [metric for metric in METRICS if traits_of(metric).sparse]


def test_every_metric_that_scikit_learn_has_by_name_is_known():
    names = {name for names in VALID_METRICS.values() for name in names}
    assert names - set(METRICS) <= {"pyfunc"}  # which is a callable by another name


@in_every_way
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


BLOCKWISE = {"euclidean": 40, "cosine": 40, "correlation": 40, "jaccard": 130, "seuclidean": 8}


@pytest.mark.parametrize(("metric", "n_columns"), BLOCKWISE.items())
@pytest.mark.parametrize("storage", [np.asarray, csr_array])
def test_many_blocks_of_pairs_give_the_same_on_any_threads(metric, n_columns, storage, rng):
    if storage is csr_array and metric == "seuclidean":
        pytest.skip("not for sparse rows")
    X = rows_for(metric, 2500, n_columns, rng)
    X[1250:] = X[:1250][::-1]  # ties
    X = storage(np.where(X > 1.0, X, 0.0) if metric != "jaccard" else X)
    one, two, three = (nearest_neighbors(X, 20, metric, n_threads=n_threads) for n_threads in (1, 2, 3))
    for other in two, three:
        assert_array_equal(one.indices, other.indices)
        assert_array_equal(one.distances, other.distances)


@in_every_way
@pytest.mark.parametrize("metric", COUNT_METRICS)
@pytest.mark.parametrize("storage", [np.asarray, csr_array])
def test_rows_that_are_true_and_false(metric, storage, rng):
    if storage is csr_array and metric == "hamming":
        pytest.skip("not for sparse rows")
    X = (rng.uniform(size=(130, 17)) < rng.uniform(0.05, 0.95, size=(130, 1))).astype(float)
    X[5], X[77] = 1.0, 0.0
    empty = ~X.any(axis=1)
    for scaled in X, 3.5 * X:  # what is not 0 is true, and hamming counts differences
        expected = np.array(cdist(X != 0.0, X != 0.0, metric))
        np.fill_diagonal(expected, 0.0)
        if metric != "russellrao":
            expected[np.ix_(empty, empty)] = 0.0  # where SciPy has NaN under some metrics
        rows = storage(scaled)
        actual = all_distances(rows, metric)
        assert_allclose(actual, expected, rtol=1e-14, atol=1e-16)
        np.fill_diagonal(expected, np.inf)
        graph = nearest_neighbors(rows, 20, metric)
        assert_allclose(graph.distances, np.sort(expected, axis=1)[:, :20], rtol=1e-14, atol=1e-16)
        assert_allclose(np.take_along_axis(expected, graph.indices, 1), graph.distances, rtol=1e-14, atol=1e-16)


@in_every_way
@pytest.mark.parametrize("metric", COUNT_METRICS)
@pytest.mark.parametrize("storage", [np.asarray, csr_array])
def test_two_rows_of_which_nothing_is_true_do_not_differ(metric, storage, rng):
    if storage is csr_array and metric == "hamming":
        pytest.skip("not for sparse rows")
    X = (rng.uniform(size=(30, 9)) < 0.4).astype(float)
    X[[3, 20]] = 0.0
    D = all_distances(storage(X), metric)
    graph = nearest_neighbors(storage(X), 29, metric)
    distance = 1.0 if metric == "russellrao" else 0.0  # which counts what is not true in both
    assert D[3, 20] == D[20, 3] == distance
    assert graph.distances[3, graph.indices[3] == 20].tolist() == [distance]


@in_every_way
@pytest.mark.parametrize("metric", ["correlation", "sqeuclidean", "cosine"])
@pytest.mark.parametrize("storage", [np.asarray, csr_array, csr_matrix])
@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_products_of_rows_of_any_size(metric, storage, scale, rng):
    X = np.maximum(rng.normal(size=(140, 12)), 0.0) * rng.lognormal(sigma=4.0, size=(140, 1))
    X[:, 0] = 1.0
    X[70] = X[69] * 3.0
    expected = cdist(X, X, metric)
    np.fill_diagonal(expected, 0.0)
    rows = storage(scale * X)
    rows = Conditioning(rows, metric)(rows)
    if metric == "sqeuclidean":
        expected *= (rows.max() / X.max()) ** 2
    # Small distances of angles from the cosine itself have an error of a rounding, and squares keep half their digits.
    tolerances = {"rtol": 1e-7} if metric == "sqeuclidean" else {"rtol": 1e-9, "atol": 1e-14}
    assert_allclose(all_distances(rows, metric), expected, **tolerances)
    np.fill_diagonal(expected, np.inf)
    graph = nearest_neighbors(rows, 15, metric)
    assert_allclose(graph.distances, np.sort(expected, axis=1)[:, :15], **tolerances)
    assert_allclose(np.take_along_axis(expected, graph.indices, 1), graph.distances, **tolerances)


@pytest.mark.parametrize(
    "metric", ["cosine", "manhattan", "chebyshev", "correlation", "canberra", "braycurtis", "sqeuclidean"]
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_few_rows_have_scikit_learns_distances_to_the_last_bit(metric, dtype, rng):
    X = rng.normal(size=(90, 8)).astype(dtype)
    expected = np.array(pairwise_distances(X.astype(np.float64), metric=metric))
    np.fill_diagonal(expected, 0.0)
    assert_array_equal(all_distances(X, metric), np.maximum(expected, 0.0))
    np.fill_diagonal(expected, np.inf)
    graph = nearest_neighbors(X, 89, metric)
    assert_array_equal(graph.distances, np.sort(np.maximum(expected, 0.0), axis=1)[:, :89])
    assert_array_equal(np.take_along_axis(np.maximum(expected, 0.0), graph.indices, 1), graph.distances)


@in_every_way
@pytest.mark.parametrize("n_columns", [3, 12])
@pytest.mark.parametrize("storage", [np.asarray, csr_array])
@pytest.mark.parametrize(
    "metric", ["euclidean", "sqeuclidean", "cosine", "correlation", "manhattan", "jaccard", "seuclidean"]
)
@pytest.mark.parametrize("search", SEARCHES.values())
def test_each_of_many_equal_rows_is_a_neighbor_of_some(search, metric, n_columns, storage, rng):
    if storage is csr_array and not traits_of(metric).sparse:
        pytest.skip("not for sparse rows")
    groups = np.repeat(np.eye(n_columns)[:3], [100, 40, 7], axis=0)
    X = groups[rng.permutation(147)]
    graph = search(9, metric).fit(storage(X), Workers())
    assert len(np.unique(graph.indices)) == 147
    assert (graph.indices != np.arange(147)[:, None]).all()
    assert (np.diff(np.sort(graph.indices, axis=1)) > 0).all()
    many = X[:, 2] == 0.0
    assert (graph.distances[many] == 0.0).all()
    assert (X[graph.indices[many]] == X[many, None]).all()


@pytest.mark.parametrize("kind", ["sevens", "tenths"])
def test_hamming_of_rows_that_are_not_0_and_1(kind, way, rng):
    X = rng.integers(0, 3, size=(120, 9)) * (7.0 if kind == "sevens" else 0.1)
    D, nearest = naive(X, "hamming")
    graph = nearest_neighbors(X, 11, "hamming")
    assert_allclose(graph.distances, nearest[:, :11], rtol=1e-14)
    assert_allclose(np.take_along_axis(D, graph.indices, 1), graph.distances, rtol=1e-14)


@pytest.mark.parametrize("metric", BY_NAME)
def test_every_metric_gives_the_same_on_two_threads(metric, rng):
    X = rows_for(metric, 2100, 4, rng)  # more than a thread's share
    X[1050:] = X[:1050][::-1]  # ties
    one, two = (nearest_neighbors(X, 20, metric, n_threads=n_threads) for n_threads in (1, 2))
    assert_array_equal(one.indices, two.indices)
    assert_array_equal(one.distances, two.distances)
    one, two = (all_distances(X[:200], metric, n_threads=n_threads) for n_threads in (1, 2))
    assert_array_equal(one, two)


@in_every_way
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


@in_every_way
def test_a_covariance_is_taken_for_its_inverse(rng):
    X, V = rng.normal(size=(60, 3)), np.diag([1.0, 4.0, 9.0]) + 0.5
    expected = naive(X, "mahalanobis", VI=np.linalg.inv(V))[1][:, :9]
    assert_allclose(nearest_neighbors(X, 9, "mahalanobis", {"V": V}).distances, expected, rtol=1e-9)
    assert_allclose(np.sort(all_distances(X, "mahalanobis", {"V": V}), 1)[:, 1:10], expected, rtol=1e-9)


@in_every_way
@pytest.mark.parametrize("metric", ["seuclidean", "mahalanobis"])
def test_columns_that_do_not_vary_have_no_part_in_a_standardized_distance(metric, rng):
    X = rng.normal(size=(60, 3))
    expected = nearest_neighbors(X, 9, metric)
    wider = np.insert(X, 1, 7.0, axis=1)
    actual = nearest_neighbors(wider, 9, metric)
    assert_array_equal(actual.indices, expected.indices)
    assert_allclose(actual.distances, expected.distances, rtol=1e-9)
    assert_allclose(all_distances(wider, metric), all_distances(X, metric), rtol=1e-9, atol=1e-12)


@in_every_way
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


@in_every_way
@pytest.mark.parametrize("metric", sorted({*SPARSE, "minkowski", "p"} - {"precomputed"}))
def test_sparse_rows_have_the_dense_rows_neighbors(metric, rng):
    X = np.maximum(rng.normal(size=(120, 15)), 0.0)
    X[:, 0] = 1.0
    dense, sparse = nearest_neighbors(X, 9, metric), nearest_neighbors(csr_array(X), 9, metric)
    assert_array_equal(sparse.indices, dense.indices)
    assert_allclose(sparse.distances, dense.distances, rtol=1e-7)
    assert_allclose(all_distances(csr_array(X), metric), all_distances(X, metric), rtol=1e-7, atol=1e-7)


@in_every_way
@pytest.mark.parametrize(
    ("metric", "params", "message"),
    [
        ("euclidean", {"p": 3}, r"metric == 'euclidean', metric_params == \{'p': 3\}: .*metric_params must be None"),
        ("l2", {"a": 1}, r"metric == 'l2', metric_params == \{'a': 1\}: .*metric_params must be None"),
        ("manhattan", {"a": 1}, r"metric == 'manhattan', metric_params == \{'a': 1\}: .*'a'"),
        ("cosine", {"a": 1}, r"metric == 'cosine', metric_params == \{'a': 1\}: .*metric_params must be None"),
        ("minkowski", {"p": -1}, r"metric == 'minkowski', metric_params == \{'p': -1\}: p must be a number above 0"),
        ("p", {"p": "3"}, r"metric == 'p', metric_params == \{'p': '3'\}: p must be a number above 0"),
        ("haversine", None, "metric == 'haversine', metric_params == None: X has 4 columns, must have 2 .*in radians"),
        (
            "mahalanobis",
            {"VI": np.eye(3, 4)},
            r"(?s)metric == 'mahalanobis'.*VI has shape \(3, 4\), must have \(4, 4\)",
        ),
        ("mahalanobis", {"V": np.eye(3)}, r"(?s)metric == 'mahalanobis'.*VI has shape \(3, 3\), must have \(4, 4\)"),
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


@in_every_way
@pytest.mark.parametrize(("latitude", "longitude"), [(90, 1), (1, 400), (-89, -179)])
def test_places_in_degrees_have_a_warning(latitude, longitude, rng):
    X = rng.uniform(-1.0, 1.0, size=(30, 2)) * [latitude, longitude]
    X[0] = latitude, longitude
    message = re.escape(
        f"metric == 'haversine' takes X for radians, but its latitudes reach {abs(latitude)} and its longitudes reach "
        f"{abs(longitude)} (beyond pi/2 or 2 pi); numpy.radians(X) turns degrees into radians"
    )
    with pytest.warns(UserWarning, match=message) as warnings:
        nearest_neighbors(X, 5, "haversine")
    assert len(warnings) == 1
    with pytest.warns(UserWarning, match=message):
        all_distances(X, "haversine")


@in_every_way
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_places_at_the_poles_have_no_warning(dtype, rng):
    X = np.column_stack([rng.uniform(-np.pi / 2, np.pi / 2, size=30), rng.uniform(0.0, 2 * np.pi, size=30)])
    X[:2] = [np.pi / 2, 2 * np.pi], [-np.pi / 2, -np.pi]
    nearest_neighbors(X.astype(dtype), 5, "haversine")


@pytest.mark.parametrize("n_columns", [3, 30])
@pytest.mark.parametrize("storage", [np.asarray, csr_array])
@pytest.mark.parametrize("search", SEARCHES.values())
def test_errors_of_rows_and_of_numbers_do_not_name_the_metric(search, storage, n_columns):
    X = storage(np.ones((4, n_columns)))
    with pytest.raises(ValueError, match=r"^n_neighbors == 4, must be an integer at least 1 and at most 3"):
        search(4).fit(X, Workers())
    with pytest.raises(ValueError, match=r"^X has shape \(1, \d+\), must have at least 2 rows"):
        search(1).fit(X[:1], Workers())
    with pytest.raises(ValueError, match=r"^X has shape \(0, \d+\)"):
        search(1).fit(X[:0], Workers())
    with pytest.raises(ValueError, match=r"^(X|the values of X) must be finite"):
        search(1).fit(np.nan * X, Workers())
    assert AllPairs().fit(X[:1], Workers()).tolist() == [[0.0]]


@pytest.mark.parametrize("search", SEARCHES.values())
def test_given_distances_are_no_rows(search):
    with pytest.raises(ValueError, match=r"metric == 'precomputed'.* GivenDistances"):
        search(2, "precomputed").fit(np.ones((4, 4)), Workers())
    with pytest.raises(ValueError, match=r"metric == 'precomputed'.* GivenDistances"):
        AllPairs("precomputed").fit(np.ones((4, 4)), Workers())


@pytest.mark.parametrize("search", [lambda X, metric: nearest_neighbors(X, 5, metric), all_distances])
def test_a_metric_without_sparse_rows_says_which_have_them(search, rng):
    with pytest.raises(ValueError, match=r"metric == 'chebyshev'.*X is sparse, must be dense .*'cosine'.*'manhattan'"):
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
        monkeypatch.setattr("sktsne.neighbors.all_pairs.DISTANCES_AT_ONCE", 280)
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


class TestTransformer:
    @pytest.mark.parametrize("n_neighbors", [2, 12, 30])
    @pytest.mark.parametrize("k", [12, 49])
    def test_gets_as_many_neighbors_as_are_needed(self, n_neighbors, k, rng):
        X = rng.normal(size=(50, 3))
        transformer = KNeighborsTransformer(n_neighbors=n_neighbors)
        graph = TransformerSearch(transformer, k).fit(X, Workers())
        expected = nearest_neighbors(X, k)
        assert_array_equal(graph.indices, expected.indices)
        assert_allclose(graph.distances, expected.distances, rtol=1e-7)
        assert transformer.n_neighbors == n_neighbors
        assert not hasattr(transformer, "n_features_in_")

    def test_without_n_neighbors_is_used_as_it_is(self, rng):
        X = rng.normal(size=(50, 3))
        graph = TransformerSearch(RadiusNeighborsTransformer(radius=100.0), 20).fit(X, Workers())
        assert_array_equal(graph.indices, nearest_neighbors(X, 20).indices)
        message = r"neighbors == RadiusNeighborsTransformer\(\).*at least 20 neighbors in every row"
        with pytest.raises(ValueError, match=message):
            TransformerSearch(RadiusNeighborsTransformer(), 20).fit(X, Workers())

    def test_that_counts_the_row_itself_gives_enough(self, rng):
        class CountingItself(BaseEstimator):
            def __init__(self, n_neighbors=5):
                self.n_neighbors = n_neighbors

            def fit_transform(self, X):
                return KNeighborsTransformer(n_neighbors=self.n_neighbors - 1).fit_transform(X)

        X = rng.normal(size=(50, 3))
        graph = TransformerSearch(CountingItself(), 12).fit(X, Workers())
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
            TransformerSearch(Returning(result), 5).fit(rng.normal(size=(20, 2)), Workers())
