"""Cross-validation and searches with a map in the middle of a pipeline."""

import numpy as np
import pytest
import sklearn
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
)
from sklearn.neighbors import KNeighborsClassifier, KNeighborsTransformer
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

from sktsne import SNE, TSNE
from sktsne.kernels import ExactKernel

PERPLEXITIES = [5.0, 10.0, 15.0, 20.0, 30.0]


class RecordingKernel(BaseEstimator):
    """A kernel factory that keeps the number of threads of its fit, for a scorer in the same worker."""

    def __call__(self, similarity, workers):
        self.n_threads_ = workers.n_threads
        return ExactKernel(similarity, workers)


class CountingNeighbors(TransformerMixin, BaseEstimator):
    """`KNeighborsTransformer`, which writes a line to a file for every search."""

    def __init__(self, path, n_neighbors=5):
        self.path, self.n_neighbors = path, n_neighbors

    def __sklearn_tags__(self):
        return KNeighborsTransformer().__sklearn_tags__()

    def _count(self):
        with open(self.path, "a") as file:
            file.write("search\n")

    def fit(self, X, y=None):
        self.searching_ = KNeighborsTransformer(n_neighbors=self.n_neighbors).fit(X)
        return self

    def fit_transform(self, X, y=None):
        self._count()
        return self.fit(X).searching_.transform(X)

    def transform(self, X):
        return self.searching_.transform(X)


def classify(estimator=None, **parameters):
    """Return a pipeline that classifies by neighbors in the map."""
    estimator = TSNE(max_iter=40, random_state=0) if estimator is None else estimator
    steps = [("scale", StandardScaler()), ("pca", PCA(10, svd_solver="full")), ("map", estimator)]
    return Pipeline([*steps, ("vote", KNeighborsClassifier(5))]).set_params(**parameters)


def accuracy_and_threads(pipeline, X, y):
    return {"accuracy": pipeline.score(X, y), "threads": pipeline["map"].method.n_threads_}


@pytest.fixture(scope="module")
def data(digits):
    X, y = digits
    return X[:240], y[:240]


@pytest.fixture(scope="module")
def searched(data):
    """The search that others are compared with: one process, one thread at a time."""
    search = GridSearchCV(classify(), {"map__perplexity": [5.0, 30.0]}, cv=3, n_jobs=1, error_score="raise")
    return search.fit(*data)


@pytest.mark.parametrize("estimator", [TSNE, SNE])
def test_held_out_rows_are_placed_among_their_kind(estimator, data):
    pipeline = classify(estimator(max_iter=150, random_state=0))
    scores = cross_val_score(pipeline, *data, cv=3, error_score="raise")
    assert scores.mean() > 0.55  # over ten samples of rows 0.70 to 0.90, by chance 0.1


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_workers_have_the_same_scores_and_their_share_of_the_threads(backend, data, searched):
    pipeline = classify(map__method=RecordingKernel())
    search = GridSearchCV(
        pipeline,
        {"map__perplexity": [5.0, 30.0]},
        cv=3,
        n_jobs=2,
        scoring=accuracy_and_threads,
        refit=False,
        error_score="raise",
    )
    with parallel_config(backend, inner_max_num_threads=1 if backend == "loky" else None):
        search.fit(*data)
    for fold in range(3):
        assert_array_equal(
            search.cv_results_[f"split{fold}_test_accuracy"], searched.cv_results_[f"split{fold}_test_score"]
        )
        assert set(search.cv_results_[f"split{fold}_test_threads"]) == {1}


def test_predictions_of_every_fold_are_those_of_its_scores(data):
    X, y = data
    predicted = cross_val_predict(classify(), X, y, cv=3)
    scores = cross_val_score(classify(), X, y, cv=3)
    assert_allclose(np.mean(predicted == y), scores.mean(), atol=1e-12)  # folds of 80 rows


def test_randomized_and_halving_searches_find_what_the_grid_holds(data, searched):
    space = {"map__perplexity": [5.0, 30.0]}
    randomized = RandomizedSearchCV(classify(), space, n_iter=2, cv=3, random_state=0, refit=False, error_score="raise")
    randomized.fit(*data)
    assert sorted(randomized.cv_results_["mean_test_score"]) == sorted(searched.cv_results_["mean_test_score"])
    halving = HalvingGridSearchCV(
        classify(),
        {"map__perplexity": [2.0, 5.0, 10.0]},
        cv=3,
        factor=3,
        resource="map__max_iter",
        min_resources=20,
        max_resources=60,
        error_score="raise",
    ).fit(*data)
    assert halving.n_resources_ == [20, 60]
    assert halving.best_estimator_["map"].max_iter == 60


def test_the_refitted_pipeline_knows_its_rows(data, searched):
    X, _ = data
    best = searched.best_estimator_
    assert_array_equal(best[:-1].transform(X), best["map"].embedding_)


def test_rows_that_differ_by_rounding_keep_their_place(digits):
    """PCA computes the rows of a fit in another way than those of a transform."""
    X = digits[0][:200]
    pca = PCA(10, svd_solver="full")
    for rows in (X, X.astype(np.float32)):
        fitted = pca.fit_transform(rows)
        transformed = pca.transform(rows)
        assert not np.array_equal(fitted, transformed)
        model = TSNE(perplexity=10.0, max_iter=60).fit(fitted)
        assert_array_equal(model.transform(transformed), model.embedding_)
        moved = transformed + 1e-3 * pca.explained_variance_**0.5
        assert not np.any(np.all(model.transform(moved.astype(rows.dtype)) == model.embedding_, axis=1))


def test_a_map_beside_other_features(data):
    X, y = data
    embedding = TSNE(perplexity=10.0, max_iter=150, random_state=0)
    union = FeatureUnion([("map", embedding), ("pca", PCA(5, svd_solver="full"))])
    pipeline = make_pipeline(union, StandardScaler(), LogisticRegression(max_iter=1000))
    # Over five samples of rows 0.78 to 0.88, by chance 0.1.
    assert cross_val_score(pipeline, X, y, cv=2, error_score="raise").mean() > 0.6
    columns = ColumnTransformer([("map", embedding, slice(0, 32)), ("rest", "passthrough", slice(32, 64))])
    features = columns.fit_transform(X)
    assert features.shape == (240, 34)
    assert_array_equal(features[:, :2], clone(embedding).fit_transform(X[:, :32]))
    assert_array_equal(columns.transform(X[:50]), features[:50])
    assert columns.get_feature_names_out()[:2].tolist() == ["map__tsne0", "map__tsne1"]


@pytest.mark.skipif(
    parse_version(sklearn.__version__) < parse_version("1.8"), reason="a Pipeline routes none to score there"
)
def test_metadata_is_routed_past_the_map(data, searched):
    X, y = data
    with config_context(enable_metadata_routing=True):
        pipeline = classify()
        pipeline["scale"].set_fit_request(sample_weight=False)
        pipeline["map"].set_fit_request(sample_weight=False)
        pipeline["vote"].set_score_request(sample_weight=True)
        search = GridSearchCV(pipeline, {"map__perplexity": [5.0, 30.0]}, cv=3, error_score="raise")
        search.fit(X, y, sample_weight=np.ones(len(y)))
    assert_array_equal(search.cv_results_["mean_test_score"], searched.cv_results_["mean_test_score"])


@pytest.mark.parametrize("by", ["neighbors", "precomputed"])
def test_one_neighbor_search_serves_every_perplexity(by, data, tmp_path):
    X, y = data
    searching = CountingNeighbors(tmp_path / "searches", n_neighbors=int(3 * max(PERPLEXITIES) + 1))
    memory = str(tmp_path / "memory")
    embedding, vote = TSNE(max_iter=80, random_state=0), KNeighborsClassifier(5)
    if by == "neighbors":
        embedding.set_params(neighbors=Pipeline([("search", searching), ("end", "passthrough")], memory=memory))
        pipeline = Pipeline([("map", embedding), ("vote", vote)])
    else:
        embedding.set_params(metric="precomputed", init="spectral")
        pipeline = Pipeline([("search", searching), ("map", embedding), ("vote", vote)], memory=memory)
    search = GridSearchCV(pipeline, {"map__perplexity": PERPLEXITIES}, cv=3, error_score="raise").fit(X, y)
    searches = (tmp_path / "searches").read_text().count("search")
    assert searches == 3 + 1  # one for each fold, one for all rows: not one for each of 16 fits
    assert search.best_score_ > 0.7  # over ten samples of rows 0.88 to 0.97
    alone = TSNE(perplexity=search.best_params_["map__perplexity"], max_iter=1).fit(X)
    shared = search.best_estimator_["map"].affinities_
    assert abs(shared - alone.affinities_).sum() < 1e-3  # of a sum of 1; pixels are integers, and some distances tie
