"""All scores of reliability by their names."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn import config_context
from sklearn.exceptions import NotFittedError
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktsne import SNE, TSNE
from sktsne.reliability import instability, outliers, reliability_scores, significance
from sktsne.reliability.scores import SCORES

QUICK = {"max_iter": 60, "perplexity": 10, "random_state": 0}


@pytest.fixture(name="X")
def rows(rng):
    return rng.normal(size=(80, 4))


@pytest.mark.parametrize("estimator", [TSNE, SNE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_score_is_that_of_its_function(estimator, dtype, X):
    X = X.astype(dtype)
    model = estimator(**QUICK).fit(X)
    scores = reliability_scores(model, X, random_state=0)
    assert list(scores) == list(SCORES)
    assert_array_equal(scores["significance"], significance(model, X, random_state=0))
    assert_array_equal(scores["instability"], instability(model, random_state=0).neighbors)
    assert_array_equal(scores["outliers"], outliers(model, X))
    for values in scores.values():
        assert values.shape == (80,)
        assert values.dtype == np.float64
        assert not np.isnan(values).any()


def test_names_choose_scores_in_the_order_of_the_table(X):
    pipeline = make_pipeline(StandardScaler(), TSNE(**QUICK)).fit(X)
    scores = reliability_scores(pipeline, X, names=("outliers", "instability", "outliers"), random_state=0)
    assert list(scores) == ["instability", "outliers"]
    assert_array_equal(scores["outliers"], outliers(pipeline, X))


def test_scores_that_a_fit_does_not_serve_are_left_out_or_refused(X):
    D = pairwise_distances(X)
    unserved = {"metric": "significance", "affinities": "outliers"}
    for name, matrix in (("metric", D), ("affinities", np.exp(-D))):
        model = TSNE(**QUICK, **{name: "precomputed"}, init="random").fit(matrix)
        scores = reliability_scores(model, matrix, random_state=0)
        assert unserved[name] not in scores
        assert "instability" in scores
        with pytest.raises(ValueError, match=f"{name} == 'precomputed', must be a fit of rows"):
            reliability_scores(model, matrix, names=["instability", unserved[name]])


def test_data_frames(X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    expected = reliability_scores(make_pipeline(StandardScaler(), TSNE(**QUICK)).fit(frame), frame, random_state=0)
    with config_context(transform_output="pandas"):
        pipeline = make_pipeline(StandardScaler(), TSNE(**QUICK)).fit(frame)
        for name, values in reliability_scores(pipeline, frame, random_state=0).items():
            assert_array_equal(values, expected[name])
        found = instability(pipeline, frame, n_fits=1, resample="rows", random_state=0)
        assert isinstance(found.neighbors, np.ndarray)


def test_any_number_of_jobs_gives_the_same_bits(X):
    model = TSNE(**QUICK).fit(X)
    expected = reliability_scores(model, X, random_state=0)
    for name, values in reliability_scores(model, X, random_state=0, n_jobs=2).items():
        assert_array_equal(values, expected[name])


def test_refusals(X):
    model = TSNE(**QUICK).fit(X)
    for params, error, message in (
        ({"names": "outliers"}, TypeError, "names == 'outliers', must be None or a sequence of names from 'perturb"),
        ({"names": 3}, TypeError, "names == 3, must be None or a sequence of names"),
        ({"names": ["outlier"]}, ValueError, "names has 'outlier', must have names from"),
        ({"names": []}, ValueError, r"names == \[\], must have at least one name from"),
        ({"random_state": "x"}, ValueError, "random_state == 'x', must be None"),
        ({"n_jobs": 0}, ValueError, "n_jobs == 0, must be None or an integer other than 0"),
    ):
        with pytest.raises(error, match=message):
            reliability_scores(model, X, **params)
    with pytest.raises(ValueError, match="X must hold the rows of the fit"):
        reliability_scores(model, X[::-1])
    with pytest.raises(NotFittedError):
        reliability_scores(TSNE(), X)


def test_scores_that_few_rows_or_columns_do_not_serve_are_left_out(rng):
    X = rng.normal(size=(8, 3))
    model = TSNE(perplexity=2, max_iter=50, random_state=0).fit(X)
    assert list(reliability_scores(model, X, random_state=0)) == ["perturbation", "singularity", "significance"]
    X = rng.normal(size=(40, 1))
    model = TSNE(perplexity=3, max_iter=50, random_state=0).fit(X)
    assert "significance" not in reliability_scores(model, X, random_state=0)
    X = rng.integers(0, 2, size=(40, 3)).astype(float)  # eight distinct rows
    model = TSNE(perplexity=3, max_iter=50, random_state=0).fit(X)
    assert "outliers" not in reliability_scores(model, X, random_state=0)
    graph = KNeighborsTransformer(n_neighbors=12).fit_transform(rng.normal(size=(40, 3)))
    model = TSNE(metric="precomputed", init="random", perplexity=3, max_iter=50, random_state=0).fit(graph)
    assert list(reliability_scores(model, graph, random_state=0)) == ["singularity", "instability"]
    with pytest.raises(ValueError, match="must have at least 20 neighbors"):
        reliability_scores(model, graph, names=["outliers"], random_state=0)
