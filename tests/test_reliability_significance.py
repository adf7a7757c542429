"""Significance: neighborhoods of a map compared with those of rows without structure."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from scipy.stats import false_discovery_control
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktsne import SNE, TSNE
from sktsne.metrics import point_costs, trustworthiness_scorer
from sktsne.reliability import significance
from sktsne.reliability.nulls import _costs, shuffled
from sktsne.similarities import similarity_of

QUICK = {"max_iter": 110, "perplexity": 10, "random_state": 0}


def manhattan(x, y):
    return float(np.abs(x - y).sum())


@pytest.fixture
def noise(rng):
    return rng.normal(size=(120, 6))


def separated(rng, n_groups, size, n_features=10):
    centers = rng.normal(scale=9.0, size=(n_groups, n_features))
    return centers.repeat(size, axis=0) + rng.normal(size=(n_groups * size, n_features))


@pytest.mark.parametrize("method", ["exact", "barnes_hut"])
@pytest.mark.parametrize(("estimator", "dof"), [(TSNE, 1.0), (TSNE, 0.5), (SNE, np.inf)])
def test_costs_are_those_of_a_double_loop(estimator, dof, method, noise):
    model = estimator(**QUICK, dof=dof, method=method, angle=0.0).fit(noise)
    P = model.affinities_.toarray() if method == "barnes_hut" else model.affinities_
    Y, similarity, costs = model.embedding_, similarity_of(dof), np.zeros(120)
    for i in range(120):
        p = P[i] / P[i].sum()
        w = np.array([0.0 if i == j else similarity.weight(np.sum((Y[i] - Y[j]) ** 2)) for j in range(120)])
        q = w / w.sum()
        costs[i] = sum(p[j] * np.log(p[j] / q[j]) for j in range(120) if p[j] > 0.0)
    assert_allclose(_costs(model), costs, rtol=1e-4 if method == "barnes_hut" else 1e-9)
    assert (_costs(model) > 0.0).all()


def test_costs_of_sne_are_its_point_costs(noise):
    model = SNE(**QUICK).fit(noise)
    assert_allclose(_costs(model), point_costs(model), rtol=1e-9)


def test_p_values_are_ranks_among_the_null_costs(noise):
    model = TSNE(**QUICK).fit(noise)
    nulls = np.concatenate(
        [
            _costs(TSNE(**{**QUICK, "random_state": seed}).fit(shuffled(noise, np.random.default_rng(seed))))
            for seed in np.random.RandomState(5).randint(np.iinfo(np.int32).max, size=2)
        ]
    )
    expected = np.array([(1.0 + np.sum(nulls <= cost)) / 241.0 for cost in _costs(model)])
    assert_array_equal(significance(model, noise, n_nulls=2, corrected=False, random_state=5), expected)
    corrected = significance(model, noise, n_nulls=2, random_state=5)
    assert_array_equal(corrected, false_discovery_control(expected, method="bh"))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shuffles_keep_columns_and_no_relation_between_them(sparse, dtype, rng):
    X = np.repeat(rng.normal(size=(300, 1)), 5, axis=1)
    X[rng.uniform(size=X.shape) < 0.5] = 0.0
    X[:, 4] = 0.0
    X = X.astype(dtype)
    given = csr_array(X) if sparse else X
    found = shuffled(given, np.random.default_rng(0))
    assert found.dtype == dtype
    dense = found.toarray() if sparse else found
    assert_array_equal(np.sort(dense, axis=0), np.sort(X, axis=0))
    assert_array_equal(given.toarray() if sparse else given, X)
    correlations = np.corrcoef(np.column_stack([dense[:, :4], X[:, 0]]), rowvar=False)
    assert np.abs(correlations - np.eye(5)).max() < 0.25  # more than four standard deviations


@pytest.mark.parametrize("perplexity", [5, 30])
@pytest.mark.parametrize("estimator", [TSNE, SNE])
def test_a_cloud_has_hardly_any_significant_row(estimator, perplexity, rng):
    X = rng.normal(size=(300, 10))
    model = estimator(perplexity=perplexity, random_state=0).fit(X)
    raw = significance(model, X, n_nulls=3, corrected=False, random_state=0)
    assert np.mean(raw <= 0.05) < 0.2  # expected: 0.05; seen over four seeds: up to 0.093
    assert np.mean(false_discovery_control(raw) <= 0.05) < 0.02


@pytest.mark.parametrize("estimator", [TSNE, SNE])
def test_nearly_all_rows_of_separated_groups_are_significant(estimator, rng):
    X = separated(rng, 8, 40)
    model = estimator(perplexity=30, random_state=0).fit(X)
    assert np.mean(significance(model, X, n_nulls=3, random_state=0) <= 0.05) > 0.8  # seen over four seeds: 1


def test_groups_beside_a_cloud(rng):
    groups = separated(rng, 6, 30)
    X = np.concatenate([groups, groups.std() * rng.normal(size=(150, 10))])
    p_values = significance(TSNE(perplexity=20, random_state=0).fit(X), X, n_nulls=3, random_state=0)
    assert np.mean(p_values[:180] <= 0.05) > 0.8  # seen over four seeds: from 0.97
    assert np.mean(p_values[180:] <= 0.05) < 0.2  # seen over four seeds: up to 0.053


def test_a_correlated_cloud_is_structure_but_not_after_pca(rng):
    X = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 10))
    plain = TSNE(random_state=0).fit(X)
    after_pca = make_pipeline(PCA(3), TSNE(random_state=0)).fit(X)
    assert np.mean(significance(plain, X, n_nulls=3, random_state=0) <= 0.05) > 0.15  # seen over four seeds: from 0.34
    assert np.mean(significance(after_pca, X, n_nulls=3, random_state=0) <= 0.05) < 0.02


@pytest.mark.parametrize(
    "params",
    [
        {"n_components": 1},
        {"n_components": 3},
        {"metric": manhattan, "perplexity": 5},
        {"method": "exact"},
        {"method": "fft"},
        {"init": "array"},
        {"init": "random"},
        {"neighbors": KNeighborsTransformer(n_neighbors=31)},
        {"perplexity": 30.0, "n_neighbors": 8},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_kinds_of_fits(params, dtype, noise):
    X = noise.astype(dtype)[:60]
    if params.get("init") == "array":
        params = {"init": X[:, :2]}
    p_values = significance(TSNE(**{**QUICK, **params}).fit(X), X, n_nulls=1, random_state=0)
    assert p_values.shape == (60,)
    assert p_values.dtype == np.float64
    assert p_values.min() > 0.0
    assert p_values.max() <= 1.0


def test_sparse_rows_give_p_values_like_those_of_dense_rows(rng):
    X = separated(rng, 6, 30)
    X[np.abs(X) < 1.0] = 0.0
    model = TSNE(perplexity=20, random_state=0)
    for rows in (X, csr_array(X)):
        assert np.mean(significance(model.fit(rows), rows, n_nulls=2, random_state=0) <= 0.05) > 0.7


def test_pipelines_and_searches(noise):
    pipeline = make_pipeline(StandardScaler(), TSNE(**QUICK)).fit(noise)
    expected = significance(pipeline[1], pipeline[0].transform(noise), n_nulls=1, random_state=0)
    assert_array_equal(significance(pipeline, noise, n_nulls=1, random_state=0), expected)
    search = GridSearchCV(pipeline, {"tsne__perplexity": [10]}, scoring=trustworthiness_scorer, cv=2).fit(noise)
    assert_array_equal(significance(search, noise, n_nulls=1, random_state=0), expected)


def test_any_number_of_jobs_gives_the_same_bits(noise):
    expected = significance(TSNE(**QUICK, n_jobs=1).fit(noise), noise, n_nulls=2, random_state=0)
    for n_jobs in (None, 2):
        model = TSNE(**QUICK, n_jobs=n_jobs).fit(noise)
        assert_array_equal(significance(model, noise, n_nulls=2, random_state=0, n_jobs=n_jobs), expected)


def test_the_estimator_does_not_change_and_null_fits_are_silent(noise, tmp_path, capsys):
    calls = []
    model = TSNE(
        **QUICK,
        callback=[lambda *arguments: calls.append(arguments)],
        checkpoint=tmp_path / "state",
        warm_start=True,
    ).fit(noise)
    model.verbose = 2
    before, n_calls, X = {name: repr(value) for name, value in vars(model).items()}, len(calls), noise.copy()
    significance(model, noise, n_nulls=1)
    assert {name: repr(value) for name, value in vars(model).items()} == before
    assert len(calls) == n_calls
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().out == ""
    assert_array_equal(noise, X)


def test_random_states(noise):
    model = TSNE(**QUICK).fit(noise)
    seeds = [3, np.random.RandomState(3), 4]
    found = [significance(model, noise, n_nulls=1, corrected=False, random_state=seed) for seed in seeds]
    assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_refusals(noise):
    model = TSNE(**QUICK).fit(noise)
    for params, error, message in (
        ({"n_nulls": 0}, ValueError, "n_nulls == 0, must be an integer at least 1"),
        ({"n_nulls": 2.0}, TypeError, "n_nulls == 2.0, must be an integer"),
        ({"corrected": "bh"}, TypeError, "corrected == 'bh', must be True or False"),
        ({"random_state": "x"}, ValueError, "random_state == 'x', must be None"),
        ({"n_jobs": 0}, ValueError, "n_jobs == 0, must be None or an integer other than 0"),
    ):
        with pytest.raises(error, match=message):
            significance(model, noise, **params)
    with pytest.raises(ValueError, match="X must hold the rows of the fit"):
        significance(model, noise[::-1])
    with pytest.raises(NotFittedError):
        significance(TSNE(), noise)
    D = pairwise_distances(noise)
    for params, X in (({"metric": "precomputed"}, D), ({"affinities": "precomputed"}, np.exp(-D))):
        model = TSNE(**QUICK, **params, init="random").fit(X)
        (name,) = params
        with pytest.raises(ValueError, match=f"{name} == 'precomputed', must be a fit of rows: the null rows"):
            significance(model, X)
    with pytest.raises(ValueError, match="X has 1 column, must have at least 2"):
        significance(TSNE(**QUICK).fit(noise[:, :1]), noise[:, :1])
