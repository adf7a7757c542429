"""Measures of embeddings: against scikit-learn, against naive double loops, and as scorers in its searches."""

import math
import pickle
import tracemalloc

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.spatial.distance import cdist
from scipy.special import xlogy
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness as sklearn_trustworthiness
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktsne import SNE, TSNE, metrics
from sktsne.metrics import (
    Estimate,
    continuity,
    kl_divergence,
    knn_accuracy,
    make_embedding_scorer,
    neighborhood_preservation,
    pbic,
    rnx_auc,
    rnx_curve,
    rnx_scorer,
    trustworthiness,
    trustworthiness_scorer,
)

RANK_BASED = [trustworthiness, continuity, neighborhood_preservation, rnx_auc]
SCORERS = [
    metrics.trustworthiness_scorer,
    metrics.continuity_scorer,
    metrics.neighborhood_preservation_scorer,
    metrics.rnx_scorer,
]


def naive_ranks(distances):
    """Return the ranks of the other rows, the first of equally distant ones being the nearer; 0 for a row itself."""
    n = len(distances)
    ranks = np.zeros((n, n), dtype=int)
    for i in range(n):
        for place, j in enumerate(sorted((j for j in range(n) if j != i), key=lambda j: (distances[i, j], j))):
            ranks[i, j] = place + 1
    return ranks


def naive_intrusions(true, judged, k):
    """Return 1 minus the excess of the ranks over k, relative to the largest that there is."""
    n = len(true)
    excess = sum(max(0, true[i, j] - k) for i in range(n) for j in range(n) if 1 <= judged[i, j] <= k)
    most = n * sum(sorted((max(0, rank - k) for rank in range(1, n)), reverse=True)[:k])
    return 1 - excess / most


def naive_curve(x, y):
    n, curve = len(x), []
    for k in range(1, n - 1):
        kept = sum(1 <= x[i, j] <= k and 1 <= y[i, j] <= k for i in range(n) for j in range(n)) / (n * k)
        curve.append(((n - 1) * kept - k) / (n - 1 - k))
    return np.array(curve)


def blobs(rng, n=40, d=5):
    X = rng.normal(size=(n, d))
    return X, X[:, :2] + 0.3 * rng.normal(size=(n, 2))


def grid(rng, n=40, d=3):
    """Integers among which many distances are equal, and rows repeat in the data and in the map."""
    X = rng.integers(0, 3, size=(n, d)).astype(float)
    return X, rng.integers(0, 4, size=(n, 2)).astype(float)


def noisy(rng, n=1500, d=10):
    X = rng.normal(size=(n, d)) * 0.7 ** np.arange(d)
    return X, X[:, :2] * [1.0, 0.5] + 0.05 * rng.normal(size=(n, 2))


@pytest.mark.parametrize("data", [blobs, grid])
@pytest.mark.parametrize("d", [3, 12])
@pytest.mark.parametrize("k", [1, 7, 19, 20, 30, 38])
def test_as_a_double_loop(rng, data, d, k):
    X, Y = data(rng, d=d)
    x, y = naive_ranks(cdist(X, X, "sqeuclidean")), naive_ranks(cdist(Y, Y, "sqeuclidean"))
    assert trustworthiness(X, Y, n_neighbors=k) == pytest.approx(naive_intrusions(x, y, k), abs=1e-14)
    assert continuity(X, Y, n_neighbors=k) == pytest.approx(naive_intrusions(y, x, k), abs=1e-14)
    kept = np.mean([np.sum((x[i] >= 1) & (x[i] <= k) & (y[i] >= 1) & (y[i] <= k)) / k for i in range(len(X))])
    assert neighborhood_preservation(X, Y, n_neighbors=k) == pytest.approx(kept, abs=1e-14)


@pytest.mark.parametrize("data", [blobs, grid])
@pytest.mark.parametrize("n", [3, 4, 30])
def test_curve_as_a_double_loop(rng, data, n):
    X, Y = data(rng, n=n)
    curve = naive_curve(naive_ranks(cdist(X, X, "sqeuclidean")), naive_ranks(cdist(Y, Y, "sqeuclidean")))
    np.testing.assert_allclose(rnx_curve(X, Y), curve, atol=1e-13)
    k = np.arange(1, n - 1)
    assert rnx_auc(X, Y) == pytest.approx(np.sum(curve / k) / np.sum(1 / k), abs=1e-13)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan", "precomputed"])
@pytest.mark.parametrize("k", [1, 15, 149])
def test_as_in_scikit_learn(rng, metric, k):
    X, Y = blobs(rng, n=300, d=20)
    X = cdist(X, X) if metric == "precomputed" else X
    expected = sklearn_trustworthiness(X, Y, n_neighbors=k, metric=metric)
    assert trustworthiness(X, Y, n_neighbors=k, metric=metric) == pytest.approx(expected, abs=1e-12)


def test_as_in_scikit_learn_on_digits(digits):
    X, _ = digits
    Y = PCA(n_components=2, random_state=0).fit_transform(X)
    # Distances of pixels tie, and scikit-learn's order of ties is any.
    assert trustworthiness(X, Y, n_neighbors=5) == pytest.approx(sklearn_trustworthiness(X, Y, n_neighbors=5), abs=2e-5)


@pytest.mark.parametrize("metric", ["seuclidean", "mahalanobis", "chebyshev", "minkowski", "jaccard", "l2"])
def test_metrics_take_all_rows_for_their_parameters(rng, metric):
    X, Y = blobs(rng, n=60)
    X = (X > 0).astype(float) if metric == "jaccard" else X
    D = cdist(X.astype(bool) if metric == "jaccard" else X, X, "euclidean" if metric == "l2" else metric)
    expected = rnx_auc(D, Y, metric="precomputed")
    assert rnx_auc(X, Y, metric=metric) == pytest.approx(expected, abs=1e-12)
    assert rnx_auc(X, Y, metric=metric, sample_size=59, random_state=0) == pytest.approx(expected, abs=0.1)


def test_metric_of_the_user(rng):
    X, Y = blobs(rng)
    assert rnx_auc(X, Y, metric=lambda a, b: np.abs(a - b).sum()) == pytest.approx(rnx_auc(X, Y, metric="l1"))


@pytest.mark.parametrize("measure", RANK_BASED)
def test_sparse_rows(rng, measure):
    X, Y = blobs(rng, d=20)
    X[np.abs(X) < 0.5] = 0.0
    assert measure(csr_array(X), Y) == pytest.approx(measure(X, Y), abs=1e-12)


@pytest.mark.parametrize("measure", RANK_BASED)
def test_a_perfect_map_has_1_even_if_rows_repeat(rng, measure):
    X = np.repeat(rng.normal(size=(30, 8)), 3, axis=0)
    assert measure(X, 5.0 * X - 1.0) == pytest.approx(1.0, abs=1e-12)
    assert measure(X, np.round(X)) < 0.99


@pytest.mark.parametrize("measure", RANK_BASED)
def test_a_map_that_collapsed_is_about_as_bad_as_one_at_random(rng, measure):
    X = rng.normal(size=(400, 8))
    at_random = measure(X, rng.normal(size=(400, 2)))
    assert measure(X, np.zeros((400, 2))) == pytest.approx(at_random, abs=0.05)
    assert at_random < 0.6


def test_offset_and_scale_of_rows_do_not_matter(rng):
    X = rng.integers(0, 100, size=(200, 10)).astype(float)
    Y = X[:, :2]
    expected = rnx_curve(X, Y)
    np.testing.assert_array_equal(rnx_curve(X + 1e9, Y), expected)
    np.testing.assert_array_equal(rnx_curve(X * 2.0**700, Y * 2.0**-600), expected)


def test_near_pairs_keep_their_digits(rng):
    centers = rng.normal(size=(10, 20))
    X = np.repeat(centers, 20, axis=0) + 1e-9 * rng.normal(size=(200, 20))
    D = cdist(X, X)
    assert neighborhood_preservation(X, X[:, :2], n_neighbors=5) == neighborhood_preservation(
        D, X[:, :2], n_neighbors=5, metric="precomputed"
    )
    assert sklearn_trustworthiness(X, X, n_neighbors=5) < trustworthiness(X, X, n_neighbors=5) == 1.0


@pytest.mark.parametrize("measure", RANK_BASED)
def test_inputs_are_not_changed(rng, measure):
    X, Y = blobs(rng)
    D = cdist(X, X)
    before = D.copy(), Y.copy()
    measure(D, Y, metric="precomputed")
    np.testing.assert_array_equal(D, before[0])
    np.testing.assert_array_equal(Y, before[1])


@pytest.mark.parametrize("measure", [*RANK_BASED, rnx_curve])
def test_threads_and_blocks_do_not_matter(rng, measure, monkeypatch):
    X, Y = noisy(rng)
    one = measure(X, Y, n_jobs=1)
    np.testing.assert_array_equal(measure(X, Y, n_jobs=2), one)
    monkeypatch.setattr(metrics.ranks, "DISTANCES_AT_ONCE", 7 * len(X))
    np.testing.assert_allclose(measure(X, Y), one, atol=1e-6)


@pytest.mark.parametrize("measure", [trustworthiness, rnx_auc])
def test_no_array_of_all_pairs(rng, measure):
    X, Y = noisy(rng, n=3000)
    tracemalloc.start()
    measure(X, Y, n_jobs=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.5 * 8 * len(X) ** 2


@pytest.mark.parametrize("measure", RANK_BASED)
def test_error_of_a_sample_is_its_standard_error(rng, measure):
    X, Y = noisy(rng, n=500)
    exact = measure(X, Y)
    samples = [measure(X, Y, sample_size=100, random_state=seed) for seed in range(100)]
    errors = np.array(samples) - exact
    standard_errors = np.array([sample.standard_error for sample in samples])
    assert exact.standard_error == 0.0
    assert abs(errors.mean()) < 4 * standard_errors.mean() / math.sqrt(len(samples))
    assert 0.8 < errors.std() / standard_errors.mean() < 1.25


def test_a_sample_of_curves_is_unbiased(rng):
    X, Y = noisy(rng, n=300)
    exact = rnx_curve(X, Y)
    mean = np.mean([rnx_curve(X, Y, sample_size=60, random_state=seed) for seed in range(100)], axis=0)
    np.testing.assert_allclose(mean, exact, atol=0.01)


@pytest.mark.parametrize("measure", RANK_BASED)
def test_sample_repeats_and_covers_all(rng, measure):
    X, Y = blobs(rng)
    sample = measure(X, Y, sample_size=20, random_state=3)
    assert sample == measure(X, Y, sample_size=20, random_state=3) != measure(X, Y, sample_size=20, random_state=4)
    for size in 40, 1000:
        everything = measure(X, Y, sample_size=size)
        assert everything == measure(X, Y)
        assert everything.standard_error == 0.0


def test_float32_rows_count_as_they_are(rng):
    X, Y = (array.astype(np.float32) for array in blobs(rng))
    assert rnx_auc(X, Y) == rnx_auc(X.astype(np.float64), Y.astype(np.float64))


def test_estimate_is_a_float():
    value = Estimate(0.5, 0.25)
    again = pickle.loads(pickle.dumps(value))
    assert (again, again.standard_error) == (0.5, 0.25)
    assert (repr(value), str(value), f"{value:.2f}") == ("Estimate(0.5, standard_error=0.25)", "0.5", "0.50")
    assert np.array([value]).dtype == np.float64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors == 0, must be an integer at least 1 and at most 38"),
        ({"n_neighbors": 39}, "n_neighbors == 39, must be an integer at least 1 and at most 38"),
        ({"n_neighbors": 2.0}, "n_neighbors == 2.0, must be an integer"),
        ({"sample_size": 1}, "sample_size == 1, must be an integer at least 2"),
        ({"sample_size": 0.5}, "sample_size == 0.5, must be an integer"),
        ({"metric": "far"}, "metric == 'far', must be one of 'braycurtis'"),
        ({"metric": "precomputed"}, "X must be a square distance matrix, got shape"),
    ],
)
@pytest.mark.parametrize("measure", [trustworthiness, continuity, neighborhood_preservation])
def test_errors_name_the_parameter(rng, measure, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        measure(*blobs(rng), **arguments)


@pytest.mark.parametrize("measure", [*RANK_BASED, rnx_curve])
def test_errors_of_data(rng, measure):
    X, Y = blobs(rng)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        measure(np.where(X[3, 3] == X, np.nan, X), Y)
    with pytest.raises(ValueError, match="Input embedding contains infinity"):
        measure(X, np.where(Y[1, 1] == Y, np.inf, Y))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        measure(X, Y[1:])
    with pytest.raises(ValueError, match="minimum of 3 is required"):
        measure(X[:2], Y[:2])
    with pytest.raises(ValueError, match="negative values"):
        measure(-cdist(X, X), Y, metric="precomputed")
    with pytest.raises(ValueError, match="metric == 'haversine'"):
        measure(X, Y, metric="haversine")


def naive_cost(P, Y, dof, joint):
    r2 = cdist(Y, Y, "sqeuclidean")
    w = np.exp(-r2) if dof == math.inf else (1 + r2 / dof) ** -dof
    np.fill_diagonal(w, 0.0)
    Q = w / (w.sum() if joint else w.sum(axis=1, keepdims=True))
    np.fill_diagonal(Q, 1.0)
    return np.sum(xlogy(P, P) - xlogy(P, Q))


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("dof", [None, 0.5, 1.0, math.inf])
@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize("n_components", [1, 2, 5])
def test_cost_as_a_sum_over_all_pairs(rng, joint, dof, container, n_components):
    P = rng.random((30, 30)) * (rng.random((30, 30)) < 0.3)
    np.fill_diagonal(P, 0.0)
    P[np.arange(30), np.arange(30) - 1] = 1.0
    Y = rng.normal(size=(30, n_components))
    normalized = (P + P.T) / (2 * P.sum()) if joint else P / P.sum(axis=1, keepdims=True)
    expected = naive_cost(normalized, Y, (1.0 if joint else math.inf) if dof is None else dof, joint)
    given = container(P)
    assert kl_divergence(given, Y, joint=joint, dof=dof) == pytest.approx(expected, rel=1e-12)
    assert kl_divergence(given, Y, joint=joint, dof=dof, n_jobs=2) == kl_divergence(
        given, Y, joint=joint, dof=dof, n_jobs=1
    )
    np.testing.assert_array_equal(given.toarray() if container is csr_array else given, P)


@pytest.mark.parametrize(("estimator", "joint"), [(TSNE, True), (SNE, False)])
@pytest.mark.parametrize("method", ["exact", "auto"])
def test_cost_is_that_of_the_estimator(rng, estimator, joint, method):
    X, _ = blobs(rng, n=200)
    model = estimator(max_iter=100, method=method, random_state=0).fit(X)
    assert kl_divergence(model.affinities_, model.embedding_, joint=joint) == pytest.approx(
        model.kl_divergence_, rel=1e-6
    )


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda P: P[1:], {}, r"affinities has shape \(9, 10\), must have \(10, 10\)"),
        (lambda P: -P, {}, "affinities must not be negative"),
        (lambda P: P + np.eye(10), {}, "0 on the diagonal"),
        (lambda P: 0 * P, {}, "affinities are all 0"),
        (lambda P: np.where(np.arange(10)[:, None] == 3, 0, P), {"joint": False}, "affinities of row 3 are all 0"),
        (lambda P: P * np.nan, {}, "Input affinities contains NaN"),
        (lambda P: P, {"dof": 0}, "dof == 0, must be a number above 0"),
        (lambda P: P, {"dof": "1"}, "dof == '1', must be a number"),
    ],
)
@pytest.mark.parametrize("container", [np.asarray, csr_array])
def test_errors_of_cost(rng, change, arguments, message, container):
    P = 1.0 - np.eye(10)
    with pytest.raises((ValueError, TypeError), match=message):
        kl_divergence(container(change(P)), rng.normal(size=(10, 2)), **arguments)


@pytest.mark.parametrize("estimator", [TSNE, SNE])
def test_pbic(rng, estimator):
    X, _ = blobs(rng, n=100)
    model = estimator(perplexity=12.5, max_iter=50).fit(X)
    cost = model.kl_divergence_ if estimator is TSNE else model.kl_divergence_ / 100
    assert pbic(model) == pytest.approx(2 * cost + math.log(100) * 12.5 / 100, rel=1e-12)
    assert pbic(make_pipeline(StandardScaler(with_std=False), model)) == pbic(model)


def test_pbic_needs_a_perplexity(rng):
    X, _ = blobs(rng)
    several = TSNE(perplexity=[5, 10], max_iter=20).fit(X)
    with pytest.raises(TypeError, match=r"perplexity == \[5, 10\], must be a number"):
        pbic(several)
    with pytest.raises(ValueError, match="perplexity == 39, must be below n_samples - 1 == 39"):
        pbic(several.set_params(perplexity=39))
    with pytest.raises(ValueError, match="affinities == 'precomputed', must be 'perplexity'"):
        pbic(several.set_params(perplexity=5, affinities="precomputed"))
    with pytest.raises(ValueError, match="n_neighbors == 7, must be None"):
        pbic(several.set_params(affinities="perplexity", n_neighbors=7))
    few = TSNE(n_neighbors=7, max_iter=1).fit(rng.normal(size=(20, 4)))  # too few for the default perplexity
    with pytest.raises(ValueError, match="n_neighbors == 7, must be None"):
        pbic(few)


def test_accuracy_in_a_map(digits):
    X, y = digits[0][:300], digits[1][:300]
    Y = PCA(n_components=2, random_state=0).fit_transform(X)
    expected = cross_val_score(KNeighborsClassifier(10), Y, y, cv=5).mean()
    assert knn_accuracy(Y, y) == pytest.approx(expected)
    expected = np.mean(KNeighborsClassifier(3).fit(Y[:200], y[:200]).predict(Y[200:]) == y[200:])
    assert knn_accuracy(Y[:200], y[:200], Y[200:], y[200:], n_neighbors=3) == pytest.approx(expected)
    with pytest.raises(ValueError, match="new_y == None, must be given"):
        knn_accuracy(Y, y, Y)
    with pytest.raises(ValueError, match="new_embedding == None, must be given"):
        knn_accuracy(Y, y, new_y=y)
    with pytest.raises(ValueError, match="n_neighbors == 0"):
        knn_accuracy(Y, y, n_neighbors=0)


class Columns(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Stands for an estimator that embeds and places: the map is the columns first, first + 1, scaled."""

    _n_features_out = 2

    def __init__(self, first=0):
        self.first = first

    def fit(self, X, y=None):
        self.embedding_ = self.transform(X)
        return self

    def transform(self, X):
        return 3.0 * np.asarray(X)[:, self.first : self.first + 2]


def decaying(rng, n=90):
    """Rows whose first columns matter most."""
    return rng.normal(size=(n, 6)) * 3.0 ** -np.arange(6)


@pytest.mark.parametrize("scorer", SCORERS)
def test_scorers(rng, scorer):
    X = decaying(rng)
    model = Columns().fit(X[:50])
    assert scorer(model, X[50:]) == scorer.measure(X[50:], X[50:, :2])
    assert type(scorer(model, X)) is float
    again = pickle.loads(pickle.dumps(scorer))
    assert again(model, X, np.zeros(90)) == scorer(model, X)
    assert repr(again) == f"make_embedding_scorer({scorer.measure.__name__})"


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("cv", [3, [(np.arange(90), np.arange(90))]])
def test_grid_search_over_placed_rows_and_over_the_map(rng, cv, n_jobs):
    scorer = make_embedding_scorer(neighborhood_preservation, n_neighbors=5)
    search = GridSearchCV(Columns(), {"first": [0, 2, 4]}, scoring=scorer, cv=cv, n_jobs=n_jobs, error_score="raise")
    search.fit(decaying(rng))
    assert search.best_params_ == {"first": 0}
    best, *others = search.cv_results_["mean_test_score"]
    assert best > 2.0 * max(others)


@pytest.mark.parametrize("steps", [(), (KNeighborsClassifier(3),)])
def test_scorers_in_a_pipeline(rng, steps):
    X = decaying(rng)
    y = (X[:, 0] > 0).astype(int)
    pipeline = make_pipeline(StandardScaler(), Columns(), *steps).fit(X, y)
    placed = 3.0 * StandardScaler().fit_transform(X)[:, :2]
    assert rnx_scorer(pipeline, X, y) == rnx_auc(X, placed)
    preprocessed = make_embedding_scorer(rnx_auc, preprocessed=True, metric="manhattan")
    assert preprocessed(pipeline, X) == rnx_auc(StandardScaler().fit_transform(X), placed, metric="manhattan")
    assert repr(preprocessed) == "make_embedding_scorer(rnx_auc, preprocessed=True, metric='manhattan')"
    first = make_pipeline(Columns(), *steps).fit(X, y)
    assert preprocessed(first, X) == rnx_auc(X, X[:, :2], metric="manhattan")
    scores = cross_val_score(pipeline, X, y, scoring=trustworthiness_scorer, cv=3, error_score="raise")
    assert np.all((scores > 0.5) & (scores <= 1.0))


def test_scorers_take_data_frames(rng):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(decaying(rng), columns=list("abcdef"))
    pipeline = make_pipeline(StandardScaler(), Columns()).set_output(transform="pandas").fit(frame)
    placed = 3.0 * StandardScaler().fit_transform(frame)[:, :2]
    assert rnx_scorer(pipeline, frame) == rnx_auc(frame.to_numpy(), placed)


def test_errors_of_scorers(rng):
    X = decaying(rng)
    with pytest.raises(ValueError, match=r"step with the attribute embedding_, and none of StandardScaler, PCA has"):
        rnx_scorer(make_pipeline(StandardScaler(), PCA()).fit(X), X)
    with pytest.raises(TypeError, match="measure == 'trustworthiness', must be a function"):
        make_embedding_scorer("trustworthiness")
    with pytest.raises(ValueError, match="n_neighbors == 15, must be an integer at least 1 and at most 8"):
        trustworthiness_scorer(Columns().fit(X), X[:10])


@pytest.mark.parametrize("estimator", [TSNE, SNE])
def test_scorers_of_the_estimators(digits, estimator):
    X = digits[0][:200]
    model = estimator(max_iter=100, random_state=0).fit(X)
    assert rnx_scorer(model, X) == rnx_auc(X, model.embedding_)
    pipeline = make_pipeline(StandardScaler(), estimator(max_iter=100, random_state=0))
    scores = cross_val_score(pipeline, X, scoring=trustworthiness_scorer, cv=2, error_score="raise")
    assert np.all(scores > 0.6)  # over ten samples of rows 0.75 to 0.90, for a map at random 0.5
