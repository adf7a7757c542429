"""Instability of neighbors and positions when the map is made again."""

from threading import Lock

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsTransformer, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktsne import SNE, TSNE
from sktsne.reliability import instability
from sktsne.reliability.refits import unfitted
from sktsne.reliability.stability import OF_AFFINITIES, _spread

QUICK = {"max_iter": 110, "perplexity": 10, "random_state": 0}


def neighbors(Y, k):
    return NearestNeighbors(n_neighbors=k).fit(Y).kneighbors(return_distance=False)


@pytest.fixture
def groups(rng):
    return rng.normal(size=(120, 6)) + 12.0 * np.eye(4, 6).repeat(30, axis=0)


@pytest.mark.parametrize("estimator", [TSNE, SNE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", ["exact", "barnes_hut", "fft"])
def test_a_refit_of_the_affinities_is_a_fit_of_the_rows(estimator, dtype, method, groups):
    start = np.random.default_rng(0).normal(scale=1e-4, size=(120, 2))
    model = estimator(perplexity=10, init=start, method=method).fit(groups.astype(dtype))
    refit = unfitted(model, **OF_AFFINITIES).fit(model.affinities_)
    precision = np.finfo(model.affinities_.dtype).eps
    assert_allclose(refit.affinities_.sum(), model.affinities_.sum(), rtol=100 * precision)
    assert abs(refit.affinities_ - model.affinities_).max() < 100 * precision * model.affinities_.max()
    # Affinities that differ in their last digits may lead to another minimum of the cost.
    assert_allclose(refit.kl_divergence_, model.kl_divergence_, rtol=0.02)


def test_scores_are_those_of_a_plain_computation(groups):
    model = TSNE(**QUICK).fit(groups)
    found = instability(model, n_fits=3, n_neighbors=7, random_state=0)
    seeds = np.random.RandomState(0).randint(np.iinfo(np.int32).max, size=3)
    maps = [
        TSNE(affinities="precomputed", init="random", random_state=seed, max_iter=110).fit_transform(model.affinities_)
        for seed in seeds
    ]
    own = neighbors(model.embedding_, 7)
    for i in range(120):
        common = [len(set(own[i]) & set(neighbors(Z, 7)[i])) for Z in maps]
        assert found.neighbors[i] == pytest.approx(1.0 - np.mean(common) / 7)
    assert_allclose(found.positions, _spread(model.embedding_, maps), rtol=1e-12)


def test_positions_do_not_depend_on_translation_rotation_reflection_and_scale(rng):
    Y = rng.normal(size=(50, 2))
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    mirror = np.diag([1.0, -1.0])
    maps = [3.0 * Y @ turn + 7.0, 0.1 * Y @ mirror - 2.0]
    assert_allclose(_spread(100.0 * Y + 5.0, maps), 0.0, atol=1e-12)


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_positions_of_unrelated_maps_are_about_1(n_components, rng):
    for n_fits in (2, 10):
        spread = _spread(rng.normal(size=(2000, n_components)), list(rng.normal(size=(n_fits, 2000, n_components))))
        assert np.sqrt(np.mean(spread**2)) == pytest.approx(1.0, abs=0.1)  # seen: 0.985 to 1


def test_positions_of_a_map_in_one_place():
    assert_array_equal(_spread(np.ones((5, 2)), [np.arange(10.0).reshape(5, 2), np.zeros((5, 2))]) >= 0.0, True)
    assert_array_equal(_spread(np.ones((5, 2)), [np.zeros((5, 2))]), 0.0)


@pytest.mark.parametrize("resample", ["starts", "rows"])
@pytest.mark.parametrize("n_components", [1, 2, 3])
@pytest.mark.parametrize("estimator", [TSNE, SNE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_kinds_of_refits(resample, n_components, estimator, dtype, groups):
    X = groups.astype(dtype)
    model = estimator(**QUICK, n_components=n_components).fit(X)
    found = instability(model, X, n_fits=2, resample=resample, random_state=0)
    for scores in found:
        assert scores.shape == (120,)
        assert scores.dtype == np.float64
        assert np.isfinite(scores).all()
        assert scores.min() >= 0.0
    assert found.neighbors.max() <= 1.0


@pytest.mark.parametrize("resample", ["starts", "rows"])
def test_noise_is_less_stable_than_groups(resample, groups, rng):
    noise = rng.normal(size=(120, 6))
    changes = [
        instability(TSNE(perplexity=20, random_state=0).fit(X), X, n_fits=3, resample=resample, random_state=0)
        for X in (groups, noise)
    ]
    # Seen over three seeds: at most 0.45 times the changes of noise for starts, and 0.66 times for samples of rows.
    assert changes[0].neighbors.mean() < 0.8 * changes[1].neighbors.mean()


def test_a_curve_keeps_its_neighbors():
    t = np.linspace(0.0, 1.0, 200)
    X = np.stack([np.cos(3.0 * t), np.sin(3.0 * t), t], axis=1)
    found = instability(TSNE(perplexity=15, random_state=0).fit(X), n_fits=3, n_neighbors=10, random_state=0)
    assert np.mean(found.neighbors < 0.2) > 0.9  # seen over three seeds: all, with at most 0.1


@pytest.mark.parametrize("kind", ["sparse rows", "pipeline", "distances", "init", "transformer", "sparse affinities"])
@pytest.mark.parametrize("resample", ["starts", "rows"])
def test_all_kinds_of_input(kind, resample, groups):
    params, X = dict(QUICK), groups
    if kind == "sparse rows":
        X = csr_array(np.where(np.abs(X) > 1.0, X, 0.0))
    elif kind == "distances":
        params.update(metric="precomputed", init="spectral")
        X = pairwise_distances(X)
    elif kind == "init":
        params.update(init=X[:, :2])
    elif kind == "transformer":
        params.update(neighbors=KNeighborsTransformer(n_neighbors=31))
    elif kind == "sparse affinities":
        params.update(affinities="precomputed", init="random")
        X = TSNE(**QUICK, method="barnes_hut").fit(X).affinities_
    model = TSNE(**params)
    model = (make_pipeline(StandardScaler(), model) if kind == "pipeline" else model).fit(X)
    if (kind, resample) == ("sparse affinities", "rows"):
        with pytest.raises(ValueError, match=r"resample == 'rows' embeds samples of rows, and affinities == 'precomp"):
            instability(model, X, resample=resample)
        return
    found = instability(model, X, n_fits=1, resample=resample, random_state=0)
    assert np.mean(found.neighbors) < 0.9  # unrelated maps: 1 - 15 / 119 == 0.87


def test_rows_that_were_left_out_are_placed(groups):
    # A row has a place in every map, so all but the neighbors at the border of a group are kept.
    model = TSNE(perplexity=10, random_state=0).fit(groups)
    found = instability(model, groups, n_fits=3, resample="rows", n_neighbors=25, random_state=0)
    assert found.neighbors.max() < 0.4  # the 25 neighbors are in a group of 30; seen over three seeds: 0.16


@pytest.mark.parametrize("resample", ["starts", "rows"])
def test_any_number_of_jobs_gives_the_same_bits(resample, groups):
    expected = instability(TSNE(**QUICK, n_jobs=1).fit(groups), groups, n_fits=2, resample=resample, random_state=0)
    for n_jobs in (None, 2):
        model = TSNE(**QUICK, n_jobs=n_jobs).fit(groups)
        found = instability(model, groups, n_fits=2, resample=resample, random_state=0, n_jobs=n_jobs)
        assert_array_equal(found.neighbors, expected.neighbors)
        assert_array_equal(found.positions, expected.positions)


def test_the_estimator_does_not_change_and_refits_are_silent(groups, tmp_path, capsys):
    calls = []
    model = TSNE(
        **QUICK,
        callback=lambda *arguments: calls.append(arguments),
        checkpoint=tmp_path / "state",
        warm_start=True,
    ).fit(groups)
    model.verbose = 2
    before, n_calls, X = {name: repr(value) for name, value in vars(model).items()}, len(calls), groups.copy()
    for resample in ("starts", "rows"):
        instability(model, groups, n_fits=1, resample=resample)
    assert {name: repr(value) for name, value in vars(model).items()} == before
    assert len(calls) == n_calls
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().out == ""
    assert_array_equal(groups, X)


@pytest.mark.parametrize("resample", ["starts", "rows"])
def test_other_processes_do_not_need_the_callback(resample, groups):
    lock = Lock()  # cannot be pickled
    model = TSNE(**QUICK, callback=lambda iteration, cost, Y: lock.locked()).fit(groups)
    assert instability(model, groups, n_fits=2, resample=resample, n_jobs=2).neighbors.shape == (120,)


def test_random_states(groups):
    model = TSNE(**QUICK).fit(groups)
    same = [instability(model, n_fits=1, random_state=seed).neighbors for seed in (3, np.random.RandomState(3))]
    assert_array_equal(*same)
    assert not np.array_equal(same[0], instability(model, n_fits=1, random_state=4).neighbors)


def test_refusals(groups):
    model = TSNE(**QUICK).fit(groups)
    for params, error, message in (
        ({"n_fits": 0}, ValueError, "n_fits == 0, must be an integer at least 1"),
        ({"n_fits": 1.5}, TypeError, "n_fits == 1.5, must be an integer"),
        ({"resample": "columns"}, ValueError, "resample == 'columns', must be one of 'starts', 'rows'"),
        ({"n_neighbors": 120}, ValueError, "n_neighbors == 120, must be an integer at least 1 and at most 119"),
        ({"random_state": "x"}, ValueError, "random_state == 'x', must be None"),
        ({"n_jobs": 0}, ValueError, "n_jobs == 0, must be None or an integer other than 0"),
        ({"n_jobs": 1.5}, TypeError, "n_jobs == 1.5, must be an integer"),
    ):
        with pytest.raises(error, match=message):
            instability(model, groups, **params)
    with pytest.raises(TypeError, match="X == None, must hold the rows of the fit for resample == 'rows'"):
        instability(model, resample="rows")
    with pytest.raises(ValueError, match="X must hold the rows of the fit"):
        instability(model, groups[::-1], resample="rows")
    with pytest.raises(NotFittedError):
        instability(TSNE())
    graph = KNeighborsTransformer(n_neighbors=40).fit_transform(groups)
    model = TSNE(**QUICK, metric="precomputed", init="random").fit(graph)
    with pytest.raises(ValueError, match="X is a sparse graph of distances, in which a sample lacks some"):
        instability(model, graph, resample="rows")
    assert instability(model, n_fits=1).neighbors.shape == (120,)
