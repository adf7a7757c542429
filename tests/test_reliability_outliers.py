"""Outliers by the distances to the neighbors of the fit."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsTransformer, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktsne import SNE, TSNE
from sktsne.reliability import outliers

QUICK = {"max_iter": 60, "perplexity": 10, "random_state": 0}


def factors_of_sklearn(X, n_neighbors=20, **params):
    return -LocalOutlierFactor(n_neighbors=n_neighbors, **params).fit(X).negative_outlier_factor_


def manhattan(x, y):
    return float(np.abs(x - y).sum())


@pytest.fixture
def groups(rng):
    """Two groups of different density."""
    return np.concatenate([rng.normal(size=(150, 4)), 12.0 + 3.0 * rng.normal(size=(150, 4))])


@pytest.mark.parametrize("estimator", [TSNE, SNE])
@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_factors_are_those_of_scikit_learn(estimator, n_components, groups):
    model = estimator(**QUICK, n_components=n_components).fit(groups)
    factors = outliers(model, groups)
    assert_allclose(factors, factors_of_sklearn(groups), rtol=1e-6)
    assert factors.shape == (300,)
    assert factors.dtype == np.float64


@pytest.mark.parametrize(
    "params",
    [
        {"metric": "manhattan"},
        {"metric": "cosine"},
        {"metric": manhattan},
        {"method": "exact"},
        {"perplexity": 30.0, "n_neighbors": 5},
        {"neighbors": KNeighborsTransformer(n_neighbors=30)},
        {"neighbors": "clustered"},
    ],
    ids=str,
)
def test_distances_are_those_of_the_fit(params, groups):
    X = groups[::3]
    model = TSNE(**{**QUICK, **params}).fit(X)
    metric = params.get("metric", "euclidean")
    assert_allclose(outliers(model, X, n_neighbors=8), factors_of_sklearn(X, 8, metric=metric), rtol=1e-6)


def test_sparse_rows(groups):
    X = np.where(np.abs(groups) > 0.2, groups, 0.0)
    model = TSNE(**QUICK).fit(csr_array(X))
    assert_allclose(outliers(model, csr_array(X)), factors_of_sklearn(X), rtol=1e-6)


@pytest.mark.parametrize("method", ["exact", "barnes_hut"])
def test_precomputed_distances(method, groups):
    D = pairwise_distances(groups)
    model = TSNE(**QUICK, metric="precomputed", init="random", method=method).fit(D)
    assert_allclose(outliers(model, D), factors_of_sklearn(groups), rtol=1e-6)


def test_a_sparse_graph_of_distances(groups):
    graph = KNeighborsTransformer(n_neighbors=40).fit_transform(groups)
    model = TSNE(**QUICK, metric="precomputed", init="random").fit(graph)
    assert_allclose(outliers(model, graph), factors_of_sklearn(groups), rtol=1e-6)
    with pytest.raises(ValueError, match="must have at least 50 neighbors in every row"):
        outliers(model, graph, n_neighbors=50)


def test_float32_rows(groups):
    X = groups.astype(np.float32)
    assert_allclose(outliers(TSNE(**QUICK).fit(X), X), factors_of_sklearn(X.astype(float)), rtol=1e-5)


def test_rows_of_a_pipeline(groups):
    pipeline = make_pipeline(StandardScaler(), TSNE(**QUICK)).fit(groups)
    assert_allclose(outliers(pipeline, groups), factors_of_sklearn(StandardScaler().fit_transform(groups)), rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-20, 1e20])
def test_factors_do_not_depend_on_the_unit(unit, groups):
    expected = outliers(TSNE(**QUICK).fit(groups), groups)
    assert_allclose(outliers(TSNE(**QUICK).fit(unit * groups), unit * groups), expected, rtol=1e-6)


def test_planted_outliers_are_found(groups, rng):
    # Each outlier is at least 18 away from the centers of both groups: six standard deviations of the wide one.
    planted = rng.uniform(-30.0, 40.0, size=(400, 4))
    apart = np.minimum(np.linalg.norm(planted, axis=1), np.linalg.norm(planted - 12.0, axis=1)) > 18.0
    planted = planted[apart][:15]
    X = np.concatenate([groups, planted])
    factors = outliers(TSNE(**QUICK).fit(X), X)
    marked, true = factors > 2.0, np.arange(len(X)) >= len(groups)
    assert len(planted) == 15
    assert np.mean(true[marked]) > 0.8  # precision, seen over four seeds: from 0.88
    assert np.mean(marked[true]) > 0.8  # recall, seen over four seeds: 1


@pytest.mark.parametrize(("size", "found"), [(5, True), (15, True), (30, False)])
def test_small_groups_are_found_and_larger_ones_are_not(size, found, rng):
    X = np.concatenate([rng.normal(size=(300, 4)), 20.0 + rng.normal(size=(size, 4))])
    factors = outliers(TSNE(**QUICK).fit(X), X)[-size:]
    assert factors.min() > 2.5 if found else factors.max() < 2.5


def test_repeated_rows_count_once(groups):
    once = outliers(TSNE(**QUICK).fit(groups), groups)
    X = np.concatenate([groups, np.repeat(groups[7:8], 50, axis=0)])
    factors = outliers(TSNE(**QUICK).fit(X), X)
    assert_allclose(factors[:300], once, rtol=1e-9)
    assert_array_equal(factors[300:], factors[7])
    D = pairwise_distances(X)
    D[:, 300:] = D[:, [7]]
    D[300:] = D[7]
    model = TSNE(**QUICK, metric="precomputed", init="random").fit(D)
    assert_allclose(outliers(model, D), factors, rtol=1e-6)


def test_different_rows_at_distance_0_give_a_warning(groups):
    X = np.abs(groups)
    X[:60] = X[0] * np.arange(1.0, 61.0)[:, None]
    model = TSNE(**QUICK, metric="cosine").fit(X)
    with pytest.warns(UserWarning, match="Some rows have the distance 0 from at least n_neighbors == 20"):
        assert np.isfinite(outliers(model, X)).all()


def test_a_row_that_is_extremely_far_gives_no_warning(groups):
    X = np.vstack([groups, np.full((1, groups.shape[1]), 1e9)])  # scikit-learn would warn of duplicates
    assert outliers(TSNE(**QUICK).fit(X), X)[-1] > 1e7


@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_any_number_of_threads_gives_the_same_bits(n_jobs, groups):
    expected = outliers(TSNE(**QUICK).fit(groups), groups)
    assert_array_equal(outliers(TSNE(**QUICK, n_jobs=n_jobs).fit(groups), groups), expected)


def test_refusals(groups):
    model = TSNE(**QUICK).fit(groups)
    for value, error in ((0, ValueError), (2.0, TypeError), (True, TypeError), ("many", TypeError)):
        with pytest.raises(error, match=f"n_neighbors == {value!r}"):
            outliers(model, groups, n_neighbors=value)
    with pytest.raises(ValueError, match="n_neighbors == 300, must be below 300, the number of distinct rows"):
        outliers(model, groups, n_neighbors=300)
    with pytest.raises(ValueError, match="X must hold the rows of the fit"):
        outliers(model, groups[::-1])
    P = np.exp(-pairwise_distances(groups))
    with pytest.raises(ValueError, match=r"affinities == 'precomputed', must be a fit of rows or distances"):
        outliers(TSNE(**QUICK, affinities="precomputed", init="random").fit(P), P)


def test_the_estimator_and_its_rows_do_not_change(groups):
    model = TSNE(**QUICK).fit(groups)
    before, X = {name: repr(value) for name, value in vars(model).items()}, groups.copy()
    outliers(model, groups)
    assert {name: repr(value) for name, value in vars(model).items()} == before
    assert_array_equal(groups, X)
