"""Fits with sample_weight: a row of weight m counts as m rows, and a row of weight 0 is placed and pulls nobody."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from registries import takes_components
from scipy.sparse import csr_array, issparse
from sklearn import config_context
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import kneighbors_graph
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktsne import SNE, TSNE
from sktsne.affinities import FixedBandwidth, Uniform
from sktsne.kernels import KERNELS
from sktsne.metrics import kl_divergence, pbic, point_costs
from sktsne.reliability import singularity

KINDS = [TSNE, SNE]
# With this perplexity, all rows are neighbors. Otherwise, some copies of a row may be neighbors and others not.
QUICK = {"perplexity": 30.0, "max_iter": 60, "early_exaggeration_iter": 20, "random_state": 0}


@pytest.fixture
def X(rng):  # noqa: N802
    return rng.normal(size=(60, 4)) + np.repeat([0.0, 6.0], 30)[:, None]


@pytest.fixture
def weights(rng):
    return rng.permutation(np.repeat([0, 1, 2, 3], 15))


def repeated(weights):
    return np.repeat(np.arange(len(weights)), weights)


def assert_like_repeated(weighted, plain, weights, rtol=1e-6):
    """Compare a fit of weighted rows with that of the repeated rows."""
    rows = repeated(weights)
    size = np.abs(plain.embedding_).max()
    assert_allclose(weighted.embedding_[rows], plain.embedding_, atol=rtol * size, rtol=0)
    assert_allclose(weighted.kl_divergence_, plain.kl_divergence_, rtol=rtol, atol=1e-9)
    assert weighted.n_iter_ == plain.n_iter_
    costs = np.bincount(rows, point_costs(plain), minlength=len(weights))
    assert_allclose(point_costs(weighted), costs, atol=rtol * np.abs(costs).max() + 1e-9)
    if weighted.affinities == "perplexity" and np.isscalar(weighted.perplexity):
        assert_allclose(pbic(weighted), pbic(plain), rtol=rtol)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("method", ["auto", "exact"])
@pytest.mark.parametrize("storage", [np.asarray, csr_array])
def test_a_fit_equals_that_of_repeated_rows(kind, d, method, storage, X, weights):
    make = kind(n_components=d, method=method, **QUICK)
    weighted = make.fit(storage(X), sample_weight=weights)
    plain = kind(n_components=d, method=method, **QUICK).fit(storage(X[repeated(weights)]))
    assert_like_repeated(weighted, plain, weights)
    assert_allclose(weighted.transform(storage(X)), plain.transform(storage(X)), atol=1e-5)
    assert_allclose(weighted.transform(storage(X + 0.1)), plain.transform(storage(X + 0.1)), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "changes",
    [
        {"affinities": FixedBandwidth(2.0, n_neighbors=100), "perplexity": 30.0},
        {"affinities": Uniform(200), "perplexity": 30.0},
        {"perplexity": [5, 35]},
        {"dof": 0.7, "exaggeration": 1.5},
        {"metric": "cosine"},
        {"metric": "seuclidean"},
        {"metric": "mahalanobis", "method": "exact"},
        {"learning_rate": 0.02},
        {"tol": 0.0, "min_grad_norm": 0.01, "max_iter": 500},
        {"anchors": "pca", "anchor_strength": 2.0},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:affinities ==")
def test_options_mean_the_same(kind, changes, X, weights):
    weighted = kind(**{**QUICK, **changes}).fit(X, sample_weight=weights)
    plain = kind(**{**QUICK, **changes}).fit(X[repeated(weights)])
    assert_like_repeated(weighted, plain, weights, rtol=1e-4)
    if "anchors" in changes:
        assert_allclose(weighted.anchor_cost_, plain.anchor_cost_, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["auto", "exact"])
@pytest.mark.parametrize("storage", [np.asarray, csr_array])
def test_given_distances_and_affinities(kind, method, storage, X, weights):
    rows, distances = repeated(weights), pairwise_distances(X)
    affinities = np.exp(-(distances**2))
    start = np.random.default_rng(1).normal(size=(60, 2))
    make = kind(method=method, **{**QUICK, "init": start})
    if not (method == "exact" and storage is csr_array):
        expected = make.fit(X, sample_weight=weights).embedding_
        given = make.set_params(metric="precomputed").fit(storage(distances), sample_weight=weights)
        assert_allclose(given.embedding_, expected, atol=1e-5 * np.abs(expected).max())
        assert_allclose(given.transform(storage(distances)), expected, atol=1e-5 * np.abs(expected).max())
        assert given.transform(storage(distances + 0.1)).shape == (60, 2)
    make.set_params(metric="euclidean", affinities="precomputed").fit(storage(affinities), sample_weight=weights)
    plain = kind(method=method, affinities="precomputed", **{**QUICK, "init": "random"})
    plain.fit(storage(affinities[np.ix_(rows, rows)]))
    of_copies = np.zeros((60, len(rows)))
    of_copies[rows, np.arange(len(rows))] = 1.0
    of_rows = of_copies / np.maximum(weights, 1)[:, None] if kind is SNE else of_copies
    assert_allclose(dense(make.affinities_), of_rows @ dense(plain.affinities_) @ of_copies.T, atol=1e-12)
    assert_allclose(make.transform(storage(affinities)), make.embedding_)


def dense(matrix):
    return matrix.toarray() if issparse(matrix) else matrix


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", KERNELS)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_fractional_weights_in_all_kernels(kind, method, d, rng):
    if not takes_components(KERNELS[method], d):
        pytest.skip("the kernel takes fewer components")
    X, weights = rng.normal(size=(150, 4)), rng.uniform(0.3, 3.0, size=150)
    options = {**QUICK, "max_iter": 12, "n_components": d, "method": method}
    model = kind(**options).fit(X, sample_weight=weights)
    assert np.isfinite(model.embedding_).all()
    assert_allclose(weights @ model.embedding_, 0.0, atol=1e-4 * np.abs(model.embedding_).max() * 150)
    assert_allclose(point_costs(model).sum(), model.kl_divergence_, rtol=1e-4)
    cost = kl_divergence(model.affinities_, model.embedding_, joint=kind is TSNE, sample_weight=weights)
    assert_allclose(cost, model.kl_divergence_, rtol=2e-3)
    again = kind(n_jobs=2, **options).fit(X, sample_weight=weights)
    assert_array_equal(model.embedding_, again.embedding_)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", [1, 1.0, np.ones(60), [1] * 60, pd.Series(np.ones(60)), np.float32(1.0)])
def test_weights_of_one_change_no_bit(kind, weights, X):
    plain = kind(**QUICK).fit(X)
    weighted = kind(**QUICK).fit(X, sample_weight=weights)
    assert_array_equal(plain.embedding_, weighted.embedding_)
    assert plain.kl_divergence_ == weighted.kl_divergence_
    assert_array_equal(plain.transform(X + 0.1), weighted.transform(X + 0.1))


@pytest.mark.parametrize("kind", KINDS)
def test_one_number_weighs_all_rows(kind, X):
    for weight in 2, 0.7:
        one, each = (kind(**QUICK).fit(X, sample_weight=w) for w in (weight, np.full(60, weight)))
        assert_array_equal(one.embedding_, each.embedding_)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["exact", "fft"])
def test_rows_of_weight_zero_pull_nobody(kind, method, X, rng):
    weights = np.ones(60)
    weights[[3, 17, 40]] = 0.0
    model = kind(method=method, **QUICK).fit(X, sample_weight=weights)
    others = np.flatnonzero(weights)
    plain = kind(method=method, **QUICK).fit(X[others])
    assert_array_equal(model.embedding_[others], plain.embedding_)
    assert_allclose(model.embedding_, plain.transform(X), atol=1e-9)
    assert_array_equal(model.transform(X[::-1]), model.embedding_[::-1])
    assert model.affinities_.shape == (60, 60)
    p = dense(model.affinities_)
    assert not p[[3, 17, 40]].any()
    assert not p[:, [3, 17, 40]].any()
    assert_allclose(p[np.ix_(others, others)].sum(), plain.affinities_.sum())
    assert_allclose(point_costs(model)[others], point_costs(plain))
    assert not point_costs(model)[[3, 17, 40]].any()
    if method == "exact":
        cost = kl_divergence(model.affinities_, model.embedding_, joint=kind is TSNE, sample_weight=weights)
        assert_allclose(cost, model.kl_divergence_, rtol=1e-9)
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.transform(X + 0.1), model.transform(X + 0.1))


def test_errors_name_rows_by_their_numbers_in_all_of_x(X):
    weights = np.ones(60)
    weights[:10] = 0.0
    affinities = pairwise_distances(X)
    affinities[30], affinities[:, 30] = 0.0, 0.0
    with pytest.raises(ValueError, match="row 30 has no affinity"):
        TSNE(affinities="precomputed", init="random").fit(affinities, sample_weight=weights)
    X[30] = 0.0
    with pytest.raises(ValueError, match="rows 10 and 30"):
        TSNE(metric="correlation", perplexity=5).fit(X, sample_weight=weights)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(59), r"sample_weight has shape \(59,\), must have shape \(60,\)"),
        (np.ones((60, 1)), r"sample_weight has shape \(60, 1\), must have shape \(60,\)"),
        (np.full(60, np.nan), "sample_weight contains NaN"),
        (np.full(60, np.inf), "sample_weight contains infinity"),
        (np.arange(60) - 1.0, r"sample_weight\[0\] == -1.0, must not be negative"),
        (np.arange(60) == 3, "sample_weight is zero for 59 of 60 rows, must be positive for at least two"),
        (np.full(60, 1e300), "sample_weight has values from 1e[+]300"),
        (np.full(60, 1e-300), "sample_weight has values from 1e-300"),
        (0, "sample_weight == 0, must be a number above 0"),
        (-1.0, "sample_weight == -1.0, must be a number above 0"),
        ("balanced", "sample_weight"),
        (np.array(["a"] * 60), "sample_weight|could not convert"),
        ({"a": 1}, "sample_weight is a dict"),
    ],
    ids=str,
)
def test_wrong_weights_are_refused_before_any_work(weights, message, X):
    def neither(*_):
        raise AssertionError

    with pytest.raises((TypeError, ValueError), match=message):
        TSNE(metric=neither).fit(X, sample_weight=weights)


def test_a_rule_without_weights_is_refused(X):
    class Own:
        uses_scale = False

        def count_neighbors(self, n_samples):
            return 3

        def probabilities(self, distances, workers):
            return np.full(distances.shape, 1.0 / distances.shape[1])

    TSNE(affinities=Own(), max_iter=5).fit(X)
    with pytest.raises(ValueError, match="its method probabilities has no parameter weights"):
        TSNE(affinities=Own(), max_iter=5).fit(X, sample_weight=np.full(60, 2.0))


def test_weights_that_leave_no_neighbors_warn(X):
    with pytest.warns(UserWarning, match="sample_weight gives most rows so many copies"):
        TSNE(**QUICK).fit(X, sample_weight=np.full(60, 500.0))
    with pytest.warns(UserWarning, match="perplexity == 30 needs at least 32 samples and X has 0.6: using"):
        TSNE(**QUICK).fit(X, sample_weight=np.full(60, 0.01))


def test_reliability_refuses_weighted_fits(X):
    model = TSNE(**QUICK).fit(X, sample_weight=np.full(60, 2.0))
    with pytest.raises(ValueError, match="estimator was fitted with sample_weight, must be fitted without"):
        singularity(model)


def test_weights_are_not_changed_and_not_kept(X):
    weights = np.linspace(0.5, 2.0, 60)
    given = weights.copy()
    model = TSNE(**QUICK).fit(X, sample_weight=weights)
    assert_array_equal(weights, given)
    before = model.transform(X + 0.1)
    weights[:] = 9.0
    assert_array_equal(model.transform(X + 0.1), before)
    again = model.fit(X)
    assert_array_equal(again.embedding_, TSNE(**QUICK).fit(X).embedding_)


def test_pipelines_searches_and_routing(X):
    weights = np.linspace(0.5, 2.0, 60)
    expected = TSNE(**QUICK).fit(StandardScaler().fit_transform(X), sample_weight=weights).embedding_
    pipeline = make_pipeline(StandardScaler(), TSNE(**QUICK))
    assert_array_equal(pipeline.fit_transform(X, tsne__sample_weight=weights), expected)
    with config_context(enable_metadata_routing=True):
        step = TSNE(**QUICK).set_fit_request(sample_weight=True, targets=False, target_strength=False)
        routed = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), step)
        assert_array_equal(routed.fit(X, sample_weight=weights)[-1].embedding_, expected)
        search = GridSearchCV(step, {"perplexity": [5.0, 18.0]}, scoring=lambda model, X, y=None: -model.kl_divergence_)
        search.fit(X, sample_weight=weights)
    assert search.best_params_["perplexity"] == 18.0
    best = TSNE(**{**QUICK, "perplexity": 18.0}).fit(X, sample_weight=weights)
    assert_array_equal(search.best_estimator_.embedding_, best.embedding_)


def test_a_checkpoint_of_other_weights_is_refused(X, tmp_path):
    path, weights = tmp_path / "fit", np.linspace(0.5, 2.0, 60)

    def stop(iteration, cost, embedding):
        raise KeyboardInterrupt

    def model(**changes):
        return TSNE(**{**QUICK, "max_iter": 120, "checkpoint": path, "callback_every": 100, **changes})

    with pytest.raises(KeyboardInterrupt):
        model(callback=stop).fit(X, sample_weight=weights)
    with pytest.raises(ValueError, match="another fit"):
        model().fit(X)
    with pytest.raises(ValueError, match="another fit"):
        model().fit(X, sample_weight=weights[::-1])
    continued = model().fit(X, sample_weight=weights)
    assert_array_equal(continued.embedding_, model(checkpoint=None).fit(X, sample_weight=weights).embedding_)


def test_a_warm_start_continues_with_the_same_weights_only(X):
    weights = np.linspace(0.5, 2.0, 60)
    model = TSNE(**QUICK, warm_start=True).fit(X, sample_weight=weights)
    model.set_params(max_iter=90).fit(X, sample_weight=weights)
    expected = TSNE(**{**QUICK, "max_iter": 90}).fit(X, sample_weight=weights)
    assert_array_equal(model.embedding_, expected.embedding_)
    model.fit(X)
    assert_array_equal(model.embedding_, TSNE(**{**QUICK, "max_iter": 90}).fit(X).embedding_)


def test_callbacks_get_the_rows_that_count(X):
    shapes, weights = [], np.ones(60)
    weights[:7] = 0.0
    TSNE(**QUICK, callback=lambda i, cost, Y: shapes.append(Y.shape), callback_every=20).fit(X, sample_weight=weights)
    assert set(shapes) == {(53, 2)}


def test_single_precision_and_graphs(X):
    weights = np.linspace(0.5, 2.0, 60)
    model = TSNE(**QUICK, method="fft").fit(X.astype(np.float32), sample_weight=weights)
    assert model.embedding_.dtype == model.affinities_.dtype == np.float32
    assert model.transform(X.astype(np.float32) + 0.1).dtype == np.float32
    graph = kneighbors_graph(X, 40, mode="distance")
    weights[5] = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = TSNE(**QUICK, metric="precomputed", init="random").set_params(perplexity=4.0)
        model.fit(graph, sample_weight=weights)
    assert_array_equal(model.transform(graph), model.embedding_)
