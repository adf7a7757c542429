"""The estimators as a user meets them: parameters, attributes, input of every kind, warnings and errors."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.manifold import trustworthiness
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktsne import SNE, TSNE
from sktsne.affinities import FixedBandwidth, Uniform

ESTIMATORS = [TSNE, SNE]
QUICK = {"perplexity": 5.0, "max_iter": 60}

pytestmark = pytest.mark.parametrize("estimator", ESTIMATORS)


@pytest.fixture
def X(rng):  # noqa: N802
    return rng.normal(size=(50, 4)) + np.repeat([0.0, 6.0], 25)[:, None]


def test_maps_of_digits_keep_classes_together(estimator, digits):
    X, y = digits[0][:600], digits[1][:600]
    model = estimator(random_state=0).fit(X)
    # Over ten samples of rows 0.93 to 0.99 for SNE and TSNE, and 0.85 to 0.97.
    assert trustworthiness(X, model.embedding_, n_neighbors=10) > 0.9
    assert cross_val_score(KNeighborsClassifier(10), model.embedding_, y, cv=3).mean() > 0.75


def test_the_gradient_vanishes(estimator, rng):
    X = rng.normal(size=(100, 4))
    params = {"perplexity": 10.0, "max_iter": 10_000, "n_iter_without_progress": 10_000}
    model = estimator(min_grad_norm=1e-6 if estimator is TSNE else 1e-7, **params).fit(X)
    assert model.n_iter_ < 9_999  # ended by min_grad_norm: over eight seeds t-SNE does after 800 to 3650
    shorter = estimator(min_grad_norm=1e-4, **params).fit(X)
    assert shorter.n_iter_ < model.n_iter_
    assert shorter.kl_divergence_ == pytest.approx(model.kl_divergence_, rel=5e-2)  # 8e-3 over eight seeds


def test_rows_that_exaggeration_contracts_to_a_point_are_spread_again(estimator, rng):
    # Nearly equidistant rows shrink towards one point while exaggerated: a saddle, with a small gradient.
    model = estimator(max_iter=2000, init=1e-14 * rng.normal(size=(50, 2))).fit(rng.normal(size=(50, 5)))
    assert model.embedding_.std() > 0.1


def test_attributes(estimator, X):
    model = estimator(**QUICK)
    assert model.fit(X) is model
    assert model.embedding_.shape == (50, 2)
    assert np.isfinite(model.embedding_).all()
    assert_allclose(model.embedding_.mean(axis=0), 0.0, atol=1e-9)
    assert model.n_iter_ == 59
    assert model.method_ == "exact"
    assert model.n_features_in_ == 4
    assert model.learning_rate_ == (1.75 if estimator is TSNE else 1.2)
    assert set(model.timings_) == {"neighbors", "initialization", "affinities", "optimization"}
    assert model.affinities_.shape == (50, 50)
    assert model.affinities_.nnz >= 50 * 16
    total = 1.0 if estimator is TSNE else 50.0
    assert model.affinities_.sum() == pytest.approx(total)
    assert 0.0 < model.kl_divergence_ < total * np.log(50)


def test_all_pairs_agree_with_neighbors_where_the_others_are_far(estimator, X):
    # With a perplexity of 5 a row's 16 nearest hold nearly all of its probability.
    exact = estimator(method="exact", perplexity=2.0, max_iter=1).fit(X)
    sparse = estimator(perplexity=2.0, max_iter=1).fit(X)
    assert isinstance(exact.affinities_, np.ndarray)
    assert_allclose(exact.affinities_, sparse.affinities_.toarray(), atol=0.02 * exact.affinities_.max())


@pytest.mark.parametrize("method", ["exact", "auto"])
@pytest.mark.parametrize("n_components", [1, 3, 5])
def test_any_number_of_components(estimator, n_components, method, X):
    model = estimator(n_components, method=method, **QUICK).fit(X)
    assert model.embedding_.shape == (50, n_components)
    assert (model.embedding_.std(axis=0) > 1e-6).all()
    assert model.get_feature_names_out().tolist() == [f"{estimator.__name__.lower()}{i}" for i in range(n_components)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.float64, np.float64),
        (np.float32, np.float32),
        (np.float16, np.float64),
        (np.int32, np.float64),
        (bool, np.float64),
    ],
)
def test_dtype_of_the_embedding(estimator, given, expected, rng):
    X = 4 * rng.normal(size=(30, 6))
    X = X > 0 if given is bool else X.astype(given)
    model = estimator(**QUICK).fit(X)
    assert model.embedding_.dtype == expected
    assert_allclose(model.embedding_, estimator(**QUICK).fit(X.astype(np.float64)).embedding_, rtol=1e-6)


@pytest.mark.parametrize(
    "storage", [csr_array, csr_matrix, lambda X: csr_array(X).tocsc(), lambda X: csr_array(X).tocoo()]
)
@pytest.mark.parametrize("method", ["exact", "auto"])
def test_sparse_rows_give_the_dense_rows_result(estimator, storage, method, rng):
    X = np.maximum(rng.normal(size=(80, 12)) - 0.5, 0.0)
    X[:, 0] += rng.uniform(0.1, 1.0, size=80)  # no two rows are zero, whose neighbors would tie
    dense = estimator(method=method, perplexity=5.0, max_iter=30).fit(X)
    sparse = estimator(method=method, perplexity=5.0, max_iter=30).fit(storage(X))
    P, Q = (np.asarray(m.affinities_ if method == "exact" else m.affinities_.todense()) for m in (dense, sparse))
    assert_allclose(P, Q, atol=1e-9)
    # Principal components have no sign.
    assert_allclose(np.abs(sparse.embedding_), np.abs(dense.embedding_), rtol=1e-3, atol=1e-3 * dense.embedding_.std())


def test_data_frames_and_set_output(estimator, X):
    frame = pd.DataFrame(X, columns=list("abcd"), index=range(100, 150))
    model = estimator(**QUICK).set_output(transform="pandas")
    result = model.fit_transform(frame)
    assert isinstance(result, pd.DataFrame)
    assert result.columns.tolist() == model.get_feature_names_out().tolist()
    assert result.index.tolist() == frame.index.tolist()
    assert model.feature_names_in_.tolist() == list("abcd")
    assert_array_equal(result.to_numpy(), estimator(**QUICK).fit_transform(X))
    assert isinstance(model.embedding_, np.ndarray)


def test_lists_are_rows(estimator, X):
    assert_array_equal(estimator(**QUICK).fit_transform(X.tolist()), estimator(**QUICK).fit_transform(X))


@pytest.mark.parametrize("method", ["exact", "auto"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
def test_precomputed_distances_give_the_direct_result(estimator, metric, method, X):
    D = pairwise_distances(X, metric=metric)
    copy = D.copy()
    params = {"perplexity": 5.0, "max_iter": 20, "init": X[:, :2], "method": method}
    direct = estimator(metric=metric, **params).fit(X)
    precomputed = estimator(metric="precomputed", **params).fit(D)
    # Over ten seeds the maps differ by up to 3e-11, after 60 iterations under "cosine" by up to 1e-5.
    assert_allclose(precomputed.embedding_, direct.embedding_, rtol=1e-5, atol=1e-5)
    assert_array_equal(D, copy)


def test_a_graph_of_neighbors_gives_the_direct_result(estimator, X):
    graph = KNeighborsTransformer(mode="distance", n_neighbors=16).fit_transform(X)
    start = X[:, :2]
    direct = estimator(init=start, **QUICK).fit(X)
    precomputed = estimator(metric="precomputed", init=start, **QUICK).fit(graph)
    assert_allclose(precomputed.embedding_, direct.embedding_, rtol=1e-5, atol=1e-5)


def test_a_transformer_searches_the_rows_as_given_and_has_parameters(estimator, X):
    X = X + 5.0  # not centered: the metric sees it
    # Over ten seeds the maps differ by up to 3e-11, after 60 iterations by up to 1e-5.
    params = {"perplexity": 5.0, "max_iter": 20, "init": X[:, :2]}
    expected = estimator(metric="cosine", **params).fit(X)
    model = estimator(neighbors=KNeighborsTransformer(metric="cosine"), **params)
    assert_allclose(model.fit(X).embedding_, expected.embedding_, rtol=1e-5, atol=1e-5)
    assert model.neighbors.n_neighbors == 5
    assert_allclose(model.fit(csr_array(X)).embedding_, expected.embedding_, rtol=1e-5, atol=1e-5)
    assert model.get_params()["neighbors__metric"] == "cosine"
    clone(model).set_params(neighbors__metric="manhattan").fit(X)
    assert model.neighbors.metric == "cosine"


def test_clustered_and_exact_search_give_like_affinities(estimator, rng, capsys):
    X = (20.0 * rng.normal(size=(20, 8)))[rng.integers(0, 20, 3000)] + rng.normal(size=(3000, 8))
    clustered, exact = (
        estimator(neighbors=neighbors, perplexity=10.0, max_iter=1, verbose=1, random_state=0).fit(X)
        for neighbors in ("clustered", "exact")
    )
    assert np.abs(clustered.affinities_ - exact.affinities_).sum() < 0.01 * exact.affinities_.sum()
    out = capsys.readouterr().out
    assert "Computing 31 nearest neighbors... (clustered)" in out
    assert "Computing 31 nearest neighbors... (exact)" in out
    noise = rng.normal(size=(500, 40))  # whose neighbors are in all lists
    found, expected = (
        estimator(neighbors=neighbors, perplexity=10.0, max_iter=1).fit(noise) for neighbors in ("clustered", "exact")
    )
    assert abs(found.affinities_ - expected.affinities_).max() < 1e-9


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "ClusteredSearch"),
        ({"metric": "cosine"}, "ClusteredSearch"),
        ({"metric": "manhattan"}, "ClusteredSearch"),
        ({"metric": "minkowski", "metric_params": {"p": 3}}, "ClusteredSearch"),
        ({"metric": lambda a, b: abs(a - b).sum()}, "ExactSearch"),
        ({"neighbors": "exact"}, "ExactSearch"),
        ({"rows": 59}, "ExactSearch"),
        ({"rows": 59, "neighbors": "clustered"}, "ClusteredSearch"),
        ({"columns": 6}, "ExactSearch"),
        ({"storage": csr_array}, "ExactSearch"),
        ({"storage": csr_array, "metric": "cosine"}, "ExactSearch"),
        ({"method": "exact"}, "AllPairs"),
        ({"neighbors": KNeighborsTransformer()}, "TransformerSearch"),
        ({"storage": pairwise_distances, "metric": "precomputed", "init": "random"}, "GivenDistances"),
    ],
    ids=str,
)
def test_auto_searches_many_rows_in_lists_where_it_can(estimator, change, expected, rng, capsys, monkeypatch):
    monkeypatch.setattr("sktsne.neighbors.CLUSTERED_FROM", 60)
    change = dict(change)
    X = change.pop("storage", np.asarray)(rng.normal(size=(change.pop("rows", 60), change.pop("columns", 7))))
    model = estimator(**{"verbose": 1, "perplexity": 5.0, "max_iter": 1, **change}).fit(X)
    called = {"ClusteredSearch": "clustered", "TransformerSearch": "KNeighborsTransformer"}.get(expected, "exact")
    line = f"Computing 16 nearest neighbors... ({called})"
    assert (line in capsys.readouterr().out) == (expected != "AllPairs")
    assert type(model._search).__name__ == expected


@pytest.mark.parametrize("init", ["pca", "random"])
@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_results_repeat_for_any_number_of_threads(estimator, n_jobs, init, digits):
    X = digits[0][:250]
    params = {"init": init, "random_state": 3, "max_iter": 25}
    expected = estimator(**params).fit_transform(X)
    assert_array_equal(estimator(n_jobs=n_jobs, **params).fit_transform(X), expected)


@pytest.mark.parametrize("method", ["auto", "exact"])
@pytest.mark.parametrize(
    ("metric", "storage"),
    [
        *(
            (metric, np.asarray)
            for metric in ("l2", "cosine", "manhattan", "correlation", "mahalanobis", "nan_euclidean")
        ),
        *((metric, csr_array) for metric in ("l2", "cosine", "manhattan")),
    ],
)
def test_metrics_repeat_for_any_number_of_threads(estimator, metric, method, storage, rng):
    X = storage(np.round(4.0 * rng.normal(size=(200, 4))))
    params = {"metric": metric, "method": method, "max_iter": 8, "perplexity": 20.0, "random_state": 0}
    if metric == "mahalanobis":
        params["metric_params"] = {"VI": np.diag([1.0, 2.0, 3.0, 4.0])}
    expected = estimator(n_jobs=1, **params).fit(X)
    for n_jobs in (2, 3):
        assert_array_equal(estimator(n_jobs=n_jobs, **params).fit(X).embedding_, expected.embedding_)


def test_random_state_seeds_the_random_start(estimator, X):
    first, second, other = (estimator(init="random", random_state=seed, **QUICK).fit_transform(X) for seed in (0, 0, 1))
    assert_array_equal(first, second)
    assert np.abs(first - other).max() > 1e-3


def test_an_array_start_is_used_and_left_alone(estimator, X):
    start = X[:, :2].copy()
    copy = start.copy()
    model = estimator(init=start, perplexity=5.0, max_iter=1, learning_rate=1e-9).fit(X)
    assert_allclose(model.embedding_, start - start.mean(axis=0), atol=1e-6)
    assert_array_equal(start, copy)
    assert model.init is start


def test_fit_changes_no_parameter_and_clone_and_pickle_work(estimator, X):
    model = estimator(random_state=0, **QUICK)
    before = model.get_params()
    model.fit(X)
    assert model.get_params() == before
    assert_array_equal(clone(model).fit(X).embedding_, model.embedding_)
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.embedding_, model.embedding_)
    assert_array_equal(copy.fit(X).embedding_, model.embedding_)
    assert len(pickle.dumps(model)) < 2 * (model.embedding_.nbytes + 12 * model.affinities_.nnz) + 3000


def test_verbose_prints_stages_then_iterations(estimator, X, capsys):
    estimator(perplexity=5.0, max_iter=100).fit(X)
    assert capsys.readouterr().out == ""
    label = "[t-SNE]" if estimator is TSNE else "[SNE]"
    estimator(verbose=1, perplexity=5.0, max_iter=100).fit(X)
    out = capsys.readouterr().out
    assert all(line.startswith(label) for line in out.splitlines())
    assert f"{label} Computing 16 nearest neighbors... (exact)" in out
    assert f"{label} KL divergence after 100 iterations: " in out
    assert "Iteration 50" not in out
    estimator(verbose=True, perplexity=5.0, max_iter=100).fit(X)
    assert f"{label} Computing 16 nearest neighbors... (exact)" in capsys.readouterr().out
    estimator(verbose=2, perplexity=5.0, max_iter=100).fit(X)
    lines = capsys.readouterr().out.splitlines()
    iteration = rf"{re.escape(label)} Iteration 50: cost = [\d.]+, gradient norm = [\d.]+ "
    iteration += r"\(50 iterations in [\d.]+s, early exaggeration\)"
    assert len([line for line in lines if re.fullmatch(iteration, line)]) == 1
    for stage in ("Neighbors", "Initialization", "Affinities", "Optimization"):
        assert len([line for line in lines if re.fullmatch(rf"{re.escape(label)} {stage} done in [\d.]+s", line)]) == 1


def test_n_iter_without_progress_ends_a_fit(estimator, X):
    stopped = estimator(perplexity=5.0, n_iter_without_progress=-1, min_grad_norm=0.0, learning_rate=1e-30).fit(X)
    assert stopped.n_iter_ < 400


class TestWarningsAndErrors:
    @pytest.mark.parametrize(("n_samples", "used"), [(28, 26.5), (20, 18.5), (3, 1.5)])
    def test_a_perplexity_of_n_or_more_is_replaced_with_a_warning(self, estimator, n_samples, used, X):
        with pytest.warns(UserWarning, match=rf"perplexity == 30 .* X has {n_samples}: using perplexity={used:.4g}\."):
            model = estimator(max_iter=1).fit(X[:n_samples])
        assert model.perplexity == 30.0
        expected = estimator(perplexity=used, max_iter=1).fit(X[:n_samples])
        assert_array_equal(model.embedding_, expected.embedding_)

    @pytest.mark.parametrize("affinities", ["perplexity", Uniform(50), FixedBandwidth(n_neighbors=50)])
    def test_warnings_are_of_the_users_line(self, estimator, affinities, X):
        model = estimator(max_iter=1, affinities=affinities)
        for fit in model.fit, model.fit_transform, make_pipeline(StandardScaler(), model).fit_transform:
            with pytest.warns(UserWarning, match="X has 20") as caught:
                fit(X[:20])
            assert [warning.filename for warning in caught] == [__file__]

    @pytest.mark.parametrize(
        ("name", "value", "error", "message"),
        [
            ("n_components", 0, ValueError, "n_components == 0, must be an integer at least 1"),
            ("n_components", 2.0, TypeError, "n_components == 2.0, must be an integer, not float"),
            ("n_components", True, TypeError, "n_components == True, must be an integer, not bool"),
            ("perplexity", 0.5, ValueError, "perplexity == 0.5, must be a number at least 1 and finite"),
            ("perplexity", float("nan"), ValueError, "perplexity == nan, must be a number at least 1"),
            ("perplexity", float("inf"), ValueError, "perplexity == inf, must be a number at least 1 and finite"),
            ("perplexity", "30", TypeError, "perplexity == '30', must be a number, not str"),
            ("early_exaggeration", 0.9, ValueError, "early_exaggeration == 0.9, must be a number at least 1"),
            ("learning_rate", 0.0, ValueError, "learning_rate == 0.0, must be a number above 0 and finite"),
            (
                "learning_rate",
                "fast",
                ValueError,
                "learning_rate == 'fast', must be one of 'auto' or a pos",
            ),
            ("max_iter", 0, ValueError, "max_iter == 0, must be an integer at least 1"),
            ("max_iter", 10.5, TypeError, "max_iter == 10.5, must be an integer, not float"),
            (
                "n_iter_without_progress",
                -2,
                ValueError,
                "n_iter_without_progress == -2, must be an integer at le",
            ),
            ("min_grad_norm", -1.0, ValueError, "min_grad_norm == -1.0, must be a number at least 0"),
            ("metric", "eucl", ValueError, "metric == 'eucl', must be one of .*'euclidean'.* or a callable"),
            ("metric", None, ValueError, "metric == None, must be one of"),
            ("metric_params", 3, TypeError, "metric_params must be a dict or None, not 3"),
            ("init", "PCA", ValueError, "init == 'PCA', must be one of 'pca', 'spectral', 'random' or an array"),
            ("init", np.zeros((50, 3)), ValueError, r"init has shape \(50, 3\), must be .* \(50, 2\)"),
            ("init", np.full((50, 2), np.nan), ValueError, "init contains NaN"),
            ("method", "bh", ValueError, "method == 'bh', must be one of 'auto', 'exact', 'fft', 'barnes_hut' or a"),
            ("angle", 1.5, ValueError, "angle == 1.5, must be a number at least 0 and at most 1"),
            ("verbose", -1, ValueError, "verbose == -1, must be an integer at least 0"),
            ("n_jobs", 0, ValueError, "n_jobs == 0, must be"),
            ("n_jobs", 1.5, TypeError, "n_jobs == 1.5, must be an integer or None, not float"),
            ("random_state", "seed", ValueError, "'seed' cannot be used to seed"),
            ("random_state", -1, ValueError, "random_state == -1, must be None, an integer from 0 to"),
            (
                "neighbors",
                "annoy",
                ValueError,
                "neighbors == 'annoy', must be one of 'auto', 'exact', 'clustered' or",
            ),
            ("neighbors", KNeighborsTransformer, ValueError, "neighbors == <class .* must be one of 'auto'"),
            (
                "neighbors",
                KNeighborsTransformer(mode="connectivity"),
                ValueError,
                r"neighbors == KNeighborsTransformer\(mode='connectivity'\) returns no distances: its mode must be",
            ),
        ],
    )
    def test_parameters_out_of_range_are_named(self, estimator, name, value, error, message, X):
        with pytest.raises(error, match=message):
            estimator(**{name: value}).fit(X)

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            (
                {"neighbors": "clustered", "metric": "precomputed", "init": "random"},
                "neighbors == 'clustered' needs rows and a metric by name, and metric == 'precomputed'",
            ),
            ({"neighbors": "clustered", "metric": max}, "'clustered' needs rows and a metric by name, and metric == <"),
            (
                {"neighbors": "clustered", "metric_params": {"p": 3}},
                r"metric == 'euclidean', metric_params == \{'p': 3\}: euclidean takes no parameters",
            ),
            (
                {"neighbors": "clustered", "method": "exact"},
                "neighbors == 'clustered' finds only some .* == 'exact' uses",
            ),
            ({"neighbors": KNeighborsTransformer(), "method": "exact"}, "neighbors == KN.* method == 'exact' uses"),
            ({"neighbors": KNeighborsTransformer(), "metric": "cosine"}, "neighbors == KN.* metric == 'cosine'"),
            (
                {"neighbors": KNeighborsTransformer(), "metric": "precomputed", "init": "random"},
                "neighbors == KN.* metric == 'precomputed'",
            ),
        ],
    )
    def test_neighbors_that_other_parameters_rule_out(self, estimator, params, message, X):
        X = pairwise_distances(X) if params.get("metric") == "precomputed" else X
        with pytest.raises(ValueError, match=message):
            estimator(**params).fit(X)

    def test_divergence_is_an_error_not_nan(self, estimator):
        X, _ = load_iris(return_X_y=True)
        with pytest.raises(FloatingPointError, match=r"diverged at iteration \d+ with learning_rate=1e\+300.*Lower"):
            estimator(learning_rate=1e300, early_exaggeration=1.0, max_step_norm=None).fit(X)

    def test_an_unfitted_estimator_has_no_names(self, estimator):
        with pytest.raises(AttributeError):
            estimator().get_feature_names_out()
