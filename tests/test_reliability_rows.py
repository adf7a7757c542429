"""The rows of a fit, through pipelines and searches, and their neighbors."""

import numpy as np
import pytest
import sklearn.manifold
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktsne import SNE, TSNE
from sktsne.affinities import FixedBandwidth
from sktsne.metrics import trustworthiness_scorer
from sktsne.reliability.rows import neighbor_graph, rows_of_fit

QUICK = {"max_iter": 60, "perplexity": 5, "random_state": 0}


def manhattan(x, y):
    return float(np.abs(x - y).sum())


@pytest.fixture(name="X")
def rows(rng):
    return rng.normal(size=(60, 4))


@pytest.mark.parametrize("estimator", [TSNE, SNE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_of_an_estimator(estimator, dtype, X):
    X = X.astype(dtype)
    model = estimator(**QUICK).fit(X)
    embedder, rows = rows_of_fit(model, X.tolist() if dtype == np.float64 else X)
    assert embedder is model
    assert_array_equal(rows, X)
    assert rows.dtype == dtype


def test_rows_of_a_pipeline_are_those_that_enter_the_embedding(X):
    pipeline = make_pipeline(StandardScaler(), TSNE(**QUICK), StandardScaler()).fit(X)
    embedder, rows = rows_of_fit(pipeline, X)
    assert embedder is pipeline[1]
    assert_allclose(rows, (X - X.mean(axis=0)) / X.std(axis=0))


def test_steps_before_the_embedding_may_round_differently_after_the_fit(X):
    X[30:] = X[:30]  # repetitions, of which rounding may make different rows
    pipeline = make_pipeline(PCA(3, svd_solver="full"), TSNE(**QUICK))
    pipeline.fit(X)
    rows = pipeline[0].transform(X)
    assert not pipeline[1]._known_rows.match(rows)  # otherwise this test tests nothing
    assert_array_equal(rows_of_fit(pipeline, X)[1], rows)


def test_rows_of_a_search(X):
    pipeline = make_pipeline(StandardScaler(), TSNE(**QUICK))
    search = GridSearchCV(pipeline, {"tsne__perplexity": [4, 6]}, scoring=trustworthiness_scorer, cv=2).fit(X)
    embedder, rows = rows_of_fit(search, X)
    assert embedder is search.best_estimator_[1]
    assert_array_equal(rows, search.best_estimator_[0].transform(X))


@pytest.mark.parametrize("sparse", [False, True])
def test_rows_of_precomputed_distances_and_affinities(sparse, X):
    D = pairwise_distances(X)
    convert = csr_array if sparse else np.asarray
    for params, matrix in (
        ({"metric": "precomputed"}, convert(D)),
        ({"affinities": "precomputed"}, convert(np.exp(-D))),
    ):
        model = TSNE(**{**QUICK, **params, "init": "random"}).fit(matrix)
        assert rows_of_fit(model, matrix)[0] is model
        with pytest.raises(ValueError, match="X must hold the rows of the fit, in the order of the fit"):
            rows_of_fit(model, matrix[::-1])


def test_other_rows_are_refused(X):
    model = TSNE(**QUICK).fit(X)
    changed = X.copy()
    changed[17, 2] += 0.1
    for other in (X[::-1], changed):
        with pytest.raises(ValueError, match="X must hold the rows of the fit, in the order of the fit"):
            rows_of_fit(model, other)
    with pytest.raises(ValueError, match="X has 50 rows, must have the 60 rows of the fit"):
        rows_of_fit(model, X[:50])
    with pytest.raises(ValueError, match="X has 3 features"):
        rows_of_fit(model, X[:, :3])
    with pytest.raises(TypeError, match="X must be an array or a data frame"):
        rows_of_fit(model, None)


def test_swapped_repetitions_are_the_same_rows(X):
    X[1] = X[0]
    swapped = X.copy()
    swapped[[0, 1]] = X[[1, 0]]
    assert_array_equal(rows_of_fit(TSNE(**QUICK).fit(X), swapped)[1], X)


def test_estimators_that_are_not_fitted_or_of_other_packages(X):
    with pytest.raises(NotFittedError):
        rows_of_fit(TSNE(), X)
    with pytest.raises(TypeError, match=r"estimator == TSNE\(\), must be a fitted TSNE or SNE of sktsne"):
        rows_of_fit(sklearn.manifold.TSNE().fit(X), X)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"metric": "manhattan"},
        {"metric": "cosine"},
        {"metric": manhattan},
        {"method": "exact"},
        {"method": "exact", "metric": "manhattan"},
        {"method": "barnes_hut"},
        {"perplexity": 30.0, "n_neighbors": 7},
        {"perplexity": 30.0, "affinities": FixedBandwidth(n_neighbors=9)},
        {"neighbors": KNeighborsTransformer(n_neighbors=3)},
        {"neighbors": "clustered"},
    ],
    ids=str,
)
@pytest.mark.parametrize("estimator", [TSNE, SNE])
def test_neighbors_are_the_nearest_rows(estimator, params, X):
    if isinstance(params.get("metric"), str) or not params:
        X = X + 1.0
    model = estimator(**{**QUICK, **params}).fit(X)
    D = pairwise_distances(X, metric=params.get("metric", "euclidean"))
    np.fill_diagonal(D, np.inf)
    order = np.argsort(D, axis=1)
    for k in (None, 1, 12):
        found = neighbor_graph(model, X, k)
        size = model._affinity_rule.count_neighbors(len(X)) if k is None else k
        assert_array_equal(found.indices, order[:, :size])
        assert_allclose(found.distances, np.take_along_axis(D, order, 1)[:, :size], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", ["exact", "auto", "barnes_hut"])
def test_neighbors_by_precomputed_distances(method, X):
    D = pairwise_distances(X)
    model = TSNE(**QUICK, metric="precomputed", init="random", method=method).fit(D)
    assert_array_equal(neighbor_graph(model, D, 7).distances, np.sort(D, axis=1)[:, 1:8])


def test_neighbors_by_a_sparse_graph_of_distances(X):
    graph = KNeighborsTransformer(n_neighbors=20).fit_transform(X)
    model = TSNE(**QUICK, metric="precomputed", init="random").fit(graph)
    assert_allclose(neighbor_graph(model, graph, 15).distances, np.sort(pairwise_distances(X), axis=1)[:, 1:16])
    with pytest.raises(ValueError, match="must have at least 25 neighbors in every row"):
        neighbor_graph(model, graph, 25)


def test_neighbors_without_affinities_are_found(rng):
    # In the affinities of t-SNE the rows of a small group far away have none of the neighbors outside of their group,
    # because these affinities round to 0.
    X = rng.normal(size=(120, 3))
    X[:20] = 1e3 + 1e-3 * X[:20]
    model = TSNE(perplexity=10, random_state=0, max_iter=60, method="barnes_hut").fit(X)
    assert np.diff(model.affinities_.indptr)[:20].max() == 19
    D = np.sort(cdist(X, X), axis=1)  # by differences, which keep the digits of small distances
    assert_allclose(neighbor_graph(model, X).distances, D[:, 1:32], rtol=1e-9)


@pytest.mark.parametrize("neighbors", ["exact", "clustered"])
def test_rows_that_changed_in_place_after_the_fit_are_refused(neighbors, rng):
    X = rng.normal(size=(80, 8))
    model = TSNE(perplexity=5, max_iter=50, random_state=0, neighbors=neighbors).fit(X)
    X[0] += 100.0
    with pytest.raises(ValueError, match="X must hold the rows of the fit"):
        rows_of_fit(model, X)
