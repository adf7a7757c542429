"""Fits and transforms on a cluster of processes: their bits, their results, and what they refuse."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from test_progress import Terminal

import sktsne
from sktsne.affinities import Uniform
from sktsne.metrics import trustworthiness
from sktsne.progress import ProgressBar

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'sktsne[dask]'")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

import clusters  # noqa: E402
from clusters import ESTIMATORS, FAST, blobs, blocks, digest, result  # noqa: E402

from sktsne.dask import SNE, TSNE, _rows  # noqa: E402
from sktsne.dask._estimators import ACCEPTED  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # sockets that Dask closes late
both = pytest.mark.parametrize("estimator", ESTIMATORS)

SHORT = {**FAST, "max_iter": 4, "early_exaggeration_iter": 2, "callback_every": 2}
N = 640  # rows, in four shards


@pytest.fixture(scope="module")
def client():
    with clusters.connected(2) as client:
        yield client


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Divide 640 rows or more into four shards. Only the client counts them."""
    monkeypatch.setattr(_rows, "SHARDS", 4)
    monkeypatch.setattr(_rows, "LEAST_ROWS", 160)


@pytest.fixture
def bits(shared, client):
    """Return a function of an estimator that returns the digest of its map of N rows on two workers."""

    def of(estimator):
        fit = lambda: digest(client, estimator(client=client, **SHORT).fit(blocks(blobs(N))))  # noqa: E731
        return shared(estimator, fit)

    return of


@pytest.fixture
def fitted(shared, client):
    """Return a function of an estimator that returns it fitted to 300 rows, of which 30 are equal to others."""

    def of(estimator):
        return shared(
            ("fitted", estimator), lambda: estimator(client=client, **FAST).fit(blocks(rows_with_copies(), 100, 200))
        )

    return of


def rows_with_copies():
    X = blobs(300)
    X[-30:] = X[:30]
    return X


class TestBits:
    @both
    def test_blocks_do_not_matter(self, estimator, bits, client):
        X = blocks(blobs(N), 1, 0, 400, 239)
        unknown = X[X[:, 0] > -np.inf]
        assert np.isnan(unknown.chunks[0]).all()
        assert digest(client, estimator(client=client, **SHORT).fit(unknown)) == bits(estimator)

    def test_data_frames_do_not_matter(self, bits, client):
        frame = dd.from_pandas(pd.DataFrame(blobs(N)).add_prefix("column "), npartitions=3)
        model = TSNE(client=client, **SHORT).fit(frame)
        assert digest(client, model) == bits(TSNE)
        assert model.feature_names_in_.tolist() == [f"column {i}" for i in range(8)]

    @both
    def test_threads_of_the_same_process_do_not_matter(self, estimator, bits):
        with clusters.connected(3, threads_per_worker=2, processes=False) as others:
            assert digest(others, estimator(client=others, **SHORT).fit(blocks(blobs(N)))) == bits(estimator)

    @pytest.mark.parametrize("n_workers", [4, 1])
    def test_the_number_of_workers_does_not_matter(self, n_workers, bits, client):
        expected = {estimator: bits(estimator) for estimator in ESTIMATORS}
        clusters.scale(client, n_workers)
        for estimator in ESTIMATORS:
            assert digest(client, estimator(client=client, **SHORT).fit(blocks(blobs(N)))) == expected[estimator]

    def test_another_random_state_gives_another_start(self, client):
        params = {**SHORT, "init": "random", "client": client}
        maps = [TSNE(**{**params, "random_state": seed}).fit(blocks(blobs(300))) for seed in (0, 1, 0)]
        first, second, third = (digest(client, model) for model in maps)
        assert first == third != second


def test_fits_at_the_same_time_end(client):
    params = {**SHORT, "max_iter": 60, "early_exaggeration_iter": 30, "callback": lambda *_: None, "callback_every": 1}

    def fit():
        return digest(client, TSNE(client=client, **params).fit(blocks(blobs(N))))

    expected = fit()
    with ThreadPoolExecutor(3) as threads:
        fits = [threads.submit(fit) for _ in range(3)]
        assert [one.result(clusters.SECONDS) for one in fits] == [expected] * 3


@both
def test_the_first_step_and_the_cost_are_those_of_one_machine(estimator, client, monkeypatch):
    monkeypatch.setattr(_rows, "LEAST_ROWS", 2500)
    X, single = blobs(5000), getattr(sktsne, estimator.__name__)
    init = 3.0 * np.random.default_rng(1).normal(size=(5000, 2))
    # The cost of SNE is a sum over rows, and so is its gradient.
    step = {"max_iter": 1, "early_exaggeration_iter": 0, "learning_rate": 1.0 if estimator is TSNE else 1e-4}
    for params in step, {"max_iter": 30, "early_exaggeration_iter": 10}:
        model = estimator(init=init, client=client, **params).fit(blocks(X, 5000))
        expected = single(init=init, method="fft", neighbors="clustered", **params).fit(X)
        assert model.kl_divergence_ == pytest.approx(expected.kl_divergence_, rel=3e-3)
        assert model.n_iter_ == expected.n_iter_
        assert model.learning_rate_ == expected.learning_rate_
        if params is step:
            actual, wanted = (
                map_ - (init - init.mean(axis=0)) for map_ in (result(client, model.embedding_), expected.embedding_)
            )
            assert np.linalg.norm(actual - wanted) < 3e-3 * np.linalg.norm(wanted)


class TestFits:
    @both
    def test_the_map_shows_the_groups(self, estimator, client):
        X = blobs(300)
        model = estimator(client=client, perplexity=15.0, max_iter=100, early_exaggeration_iter=50).fit(blocks(X))
        # Maps of these rows have a trustworthiness of about 0.97 after 100 iterations, and random ones of 0.5.
        assert trustworthiness(X, result(client, model.embedding_)) > 0.9

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_blocks_and_dtype_are_those_of_the_rows(self, dtype, client):
        X = blocks(blobs(300).astype(dtype), 120, 30, 150)
        model = TSNE(client=client, **SHORT)
        embedding = model.fit_transform(X)
        assert embedding is model.embedding_
        assert embedding.dtype == model.transform(X).dtype == dtype
        assert embedding.chunks == model.transform(X).chunks == ((120, 30, 150), (2,))
        assert result(client, embedding).dtype == result(client, model.transform(X)).dtype == dtype

    @pytest.mark.parametrize("n_components", [1, 3])
    def test_other_dimensions(self, n_components, client):
        model = SNE(n_components, client=client, **SHORT).fit(blocks(blobs(300)))
        Y = result(client, model.embedding_)
        assert Y.shape == (300, n_components)
        assert np.isfinite(Y).all()
        assert_allclose(Y.mean(axis=0), 0.0, atol=1e-12 * np.abs(Y).max())
        assert model.get_feature_names_out().tolist() == [f"sne{i}" for i in range(n_components)]

    @pytest.mark.parametrize("metric", ["sqeuclidean", "cosine", "correlation"])
    def test_other_metrics(self, metric, client):
        X = blobs(300)
        model = TSNE(metric=metric, client=client, **SHORT).fit(blocks(X))
        expected = sktsne.TSNE(metric=metric, method="fft", **SHORT).fit(X)
        assert model.kl_divergence_ == pytest.approx(expected.kl_divergence_, rel=3e-3)

    def test_other_affinities(self, client):
        X = blobs(300)
        for change in {"affinities": Uniform(10), "perplexity": 30.0}, {"perplexity": [5.0, 20.0]}:
            params = {**SHORT, **change}
            model = TSNE(client=client, **params).fit(blocks(X))
            expected = sktsne.TSNE(method="fft", **params).fit(X)
            assert model.kl_divergence_ == pytest.approx(expected.kl_divergence_, rel=3e-3)

    def test_positions_of_the_start_are_those_of_the_rows(self, client):
        X, init = blobs(N), np.random.default_rng(1).normal(size=(N, 2))
        # Steps of 1e-9 leave the points where they start.
        params = {**SHORT, "max_iter": 1, "learning_rate": 1e-9, "client": client}
        for start in init, blocks(init, 600, 40), init.tolist():
            Y = result(client, TSNE(init=start, **params).fit(blocks(X)).embedding_)
            assert_allclose(Y, init - init.mean(axis=0), atol=1e-6)

    def test_a_start_of_another_shape_is_refused(self, client):
        with pytest.raises(ValueError, match=r"^init has shape \(299, 2\), must be .* == \(300, 2\)"):
            TSNE(init=np.zeros((299, 2)), client=client, **SHORT).fit(blocks(blobs(300)))

    @both
    @pytest.mark.filterwarnings("ignore:perplexity == 8 needs at least")
    @pytest.mark.parametrize("n", [2, 3, 5, 50])
    def test_few_rows(self, n, estimator, client):
        X = blobs(n)
        model = estimator(client=client, **SHORT).fit(blocks(X, *[1] * n))
        Y = result(client, model.embedding_)
        assert Y.shape == (n, 2)
        assert np.isfinite(Y).all()
        assert len(np.unique(Y, axis=0)) == n
        assert_array_equal(result(client, model.transform(blocks(X))), Y)

    @both
    def test_rows_that_are_all_equal(self, estimator, client):
        model = estimator(client=client, **SHORT).fit(blocks(np.ones((N, 3))))
        Y = result(client, model.embedding_)
        assert np.isfinite(Y).all()
        assert len(np.unique(Y, axis=0)) > 1

    def test_rows_with_many_copies(self, client):
        X = np.repeat(blobs(32), 20, axis=0)
        Y = result(client, TSNE(client=client, **SHORT).fit(blocks(X)).embedding_)
        assert np.isfinite(Y).all()


class TestTransform:
    @both
    def test_rows_of_the_fit_get_their_positions(self, estimator, fitted, client):
        model, X = fitted(estimator), rows_with_copies()
        chosen = np.arange(269, -1, -3)  # without copies, which have several positions
        assert_array_equal(
            result(client, model.transform(blocks(X[chosen], 40, 50))), result(client, model.embedding_)[chosen]
        )
        copies = result(client, model.transform(blocks(X[-30:])))
        Y = result(client, model.embedding_)
        assert all((place == Y[[i, 270 + i]]).all(axis=1).any() for i, place in enumerate(copies))

    @both
    def test_new_rows_are_placed_as_on_one_machine(self, estimator, fitted, client):
        model, X = fitted(estimator), rows_with_copies()
        Y = result(client, model.embedding_)
        params = {**FAST, "max_iter": 1, "early_exaggeration_iter": 0, "learning_rate": 1e-9}
        single = getattr(sktsne, estimator.__name__)(init=Y, method="fft", **params).fit(X)
        new = blobs(400)[300:] + 0.1
        placed, expected = result(client, model.transform(blocks(new, 30, 0, 70))), single.transform(new)
        # Few rows lie between groups, where rounding decides for one of them.
        distances = np.linalg.norm(placed - expected, axis=1) / np.linalg.norm(Y.std(axis=0))
        assert np.quantile(distances, 0.9) < 1e-3

    @both
    def test_a_row_does_not_depend_on_the_others(self, estimator, fitted, client):
        new, model = blobs(400)[300:], fitted(estimator)
        placed = result(client, model.transform(blocks(new)))
        assert_array_equal(result(client, model.transform(blocks(new, 7, 50, 43))), placed)
        assert_array_equal(result(client, model.transform(blocks(new[5:6]))), placed[5:6])

    def test_a_data_frame_gives_a_data_frame(self, client):
        frame = pd.DataFrame(blobs(300), index=np.arange(300) * 10).add_prefix("column ")
        model = TSNE(client=client, **SHORT).fit(dd.from_pandas(frame, npartitions=2))
        lazy = model.transform(dd.from_pandas(frame, npartitions=3))
        found = result(client, lazy)
        assert isinstance(found, pd.DataFrame)
        assert found.columns.tolist() == lazy.columns.tolist() == ["tsne0", "tsne1"]
        assert_array_equal(found.index, frame.index)
        assert_array_equal(found.to_numpy(), result(client, model.embedding_))
        with pytest.raises(ValueError, match="feature names should match"):
            model.transform(dd.from_pandas(frame.add_prefix("other "), npartitions=1))
        with pytest.raises(ValueError, match="feature names should match"):
            model.transform(dd.from_pandas(frame[frame.columns[::-1]], npartitions=1))

    def test_positions_stay_on_the_cluster_whatever_scikit_learn_is_told(self, fitted):
        with config_context(transform_output="pandas"):
            assert isinstance(fitted(TSNE).transform(blocks(blobs(20))), da.Array)

    def test_what_is_no_block_of_rows_is_refused(self, fitted, client):
        model = fitted(TSNE)
        with pytest.raises(ValueError, match="X has 5 features, but TSNE is expecting 8 features as input"):
            model.transform(blocks(blobs(20, 5)))
        with pytest.raises(TypeError, match="X has the type ndarray, must be a Dask array or a Dask data frame"):
            model.transform(blobs(20))
        spoiled = blobs(20)
        spoiled[3, 2] = np.nan
        with pytest.raises(ValueError, match="Input X contains NaN"):
            result(client, model.transform(blocks(spoiled)))

    @both
    def test_an_estimator_that_is_not_fitted(self, estimator):
        with pytest.raises(NotFittedError, match=f"This {estimator.__name__} instance is not fitted yet"):
            estimator().transform(blocks(blobs(20)))


class Watch:
    """A callback that records its calls, and ends the fit at an iteration."""

    def __init__(self, last=None):
        self.calls, self.ticks, self.maps, self.last = [], [], [], last

    def __call__(self, iteration, cost, embedding):
        self.calls.append(iteration)
        self.maps.append(embedding)
        return iteration == self.last

    def tick(self, iteration):
        self.ticks.append(iteration)


class TestReports:
    def test_callbacks_run_in_the_process_of_the_client(self, client):
        watch = Watch()
        model = TSNE(client=client, callback=watch, **FAST).fit(blocks(blobs(300)))
        assert watch.calls == [4, 8]
        assert watch.ticks == list(range(1, 13))
        assert model.n_iter_ == 11
        assert [map_.shape for map_ in watch.maps] == [(300, 2)] * 2

    def test_a_callback_ends_the_fit(self, client):
        watch, other = Watch(last=4), Watch()
        model = TSNE(client=client, callback=[watch, other], **FAST).fit(blocks(blobs(300)))
        assert watch.calls == other.calls == [4]
        assert model.n_iter_ == 3
        assert_allclose(result(client, model.embedding_), watch.maps[0], rtol=1e-12, atol=1e-15)

    def test_the_progress_bar_ends(self, client):
        pytest.importorskip("tqdm")
        with redirect_stderr(Terminal()) as terminal:
            model = TSNE(client=client, callback=ProgressBar(), **SHORT).fit(blocks(blobs(300)))
        assert f"4/4, cost {model.kl_divergence_:.4f}" in terminal.lines()[-2]

    def test_verbose_fits_tell_their_stages(self, client, capsys):
        model = TSNE(client=client, verbose=2, **{**SHORT, "max_iter": 51}).fit(blocks(blobs(300)))
        lines = capsys.readouterr().out.splitlines()
        stages = ["neighbors", "initialization", "affinities", "optimization"]
        assert list(model.timings_) == stages
        assert all(seconds > 0.0 for seconds in model.timings_.values())
        assert [line.split()[1] for line in lines if "done in" in line] == [stage.capitalize() for stage in stages]
        assert any(line.startswith("[t-SNE] Iteration 50: cost = ") for line in lines)
        assert any(line.startswith("[t-SNE] KL divergence after 51 iterations: ") for line in lines)


# Values that an estimator for one machine accepts, and an estimator for a cluster does not.
REFUSED = {
    "metric_params": {"metric_params": {"p": 3.0}, "metric": "minkowski"},
    "method": {"method": "exact"},
    "n_jobs": {"n_jobs": 2},
    "neighbors": {"neighbors": "exact"},
    "anchors": {"anchors": "pca"},
    "warm_start": {"warm_start": True},
    "checkpoint": {"checkpoint": "fit.npz"},
    "metric": {"metric": "manhattan"},
    "init": {"init": "spectral"},
    "affinities": {"affinities": "precomputed", "init": "random"},
    "n_components": {"n_components": 4},
}


class TestArguments:
    def test_every_parameter_that_must_keep_its_default_has_a_case(self):
        assert REFUSED.keys() >= ACCEPTED.keys()

    @both
    @pytest.mark.parametrize("name", REFUSED)
    def test_parameters_for_one_machine_only_are_refused(self, name, estimator, client):
        with pytest.raises(ValueError, match=rf"^{name} == .*: on a cluster {name} must be "):
            estimator(client=client, **REFUSED[name]).fit(blocks(blobs(20)))

    def test_metrics_that_cannot_be_searched_are_refused(self, client):
        with pytest.raises(ValueError, match=r"^metric == <.*>: on a cluster metric must be one of 'euclid"):
            TSNE(client=client, metric=lambda x, y: 0.0).fit(blocks(blobs(20)))

    @both
    def test_parameters_are_checked_as_on_one_machine(self, estimator, client):
        with pytest.raises(ValueError, match=r"^perplexity == -1"):
            estimator(client=client, perplexity=-1).fit(blocks(blobs(20)))

    @pytest.mark.parametrize("kind", [np.asarray, csr_array, pd.DataFrame, np.ndarray.tolist])
    def test_rows_in_the_memory_of_the_client_are_refused(self, kind, client):
        X = kind(blobs(20))
        with pytest.raises(
            TypeError, match=rf"^X has the type {type(X).__name__}, must be a Dask array or a Dask data"
        ):
            TSNE(client=client).fit(X)

    @pytest.mark.parametrize("n", [0, 1])
    def test_too_few_rows_are_refused(self, n, client):
        with pytest.raises(ValueError, match=rf"^X has shape \({n}, 8\), must have at least two rows"):
            TSNE(client=client).fit(blocks(blobs(n), n))

    def test_a_fit_needs_a_client(self):
        with pytest.raises(
            ValueError, match=r"^client == None, must be a distributed.Client where there is no current"
        ):
            TSNE().fit(blocks(blobs(20)))

    def test_the_current_client_is_the_default(self, client):
        with client.as_current():
            model = TSNE(**SHORT).fit(blocks(blobs(300)))
        assert digest(client, model) == digest(client, TSNE(client=client, **SHORT).fit(blocks(blobs(300))))

    @pytest.mark.parametrize("known", [True, False])
    def test_too_little_memory_is_refused_before_any_work(self, known, client, monkeypatch):
        info = {"workers": {"one": {"memory_limit": 10**5}, "other": {"memory_limit": 10**5}}}
        monkeypatch.setattr(client, "scheduler_info", lambda **_: info)
        held, X = set(client.who_has()), blocks(blobs(300))
        of_known_lengths = X.map_blocks(lambda block: 1 // 0, dtype=X.dtype, meta=np.empty((0, 8)))  # is not computed
        X = of_known_lengths if known else X[X[:, 0] > -np.inf]
        with pytest.raises(MemoryError, match=r"^300 samples with 25 neighbors .* the 2 workers .* 0.0002 GB together"):
            TSNE(client=client, **SHORT).fit(X)
        clusters.wait_until(lambda: set(client.who_has()) <= held)

    def test_workers_without_a_limit_have_enough_memory(self, client, monkeypatch):
        monkeypatch.setattr(client, "scheduler_info", lambda **_: {"workers": {"one": {"memory_limit": 0}}})
        TSNE(client=client, **SHORT).fit(blocks(blobs(300)))

    @both
    def test_parameters_are_those_of_one_machine_and_a_client(self, estimator, client):
        single = getattr(sktsne, estimator.__name__)
        assert estimator().get_params() == {**single().get_params(), "client": None}
        model = estimator(3, perplexity=7.0, client=client)
        assert model.n_components == 3
        assert model.set_params(perplexity=9.0).get_params()["perplexity"] == 9.0
        assert repr(estimator(perplexity=7.0)) == f"{estimator.__name__}(perplexity=7.0)"
        assert clone(model).get_params() == model.get_params()
        assert clone(model).client is client
        assert pickle.loads(pickle.dumps(estimator(perplexity=7.0))).perplexity == 7.0
        with pytest.raises(TypeError):
            estimator(perplexities=7.0)
        with pytest.raises(ValueError, match="Invalid parameter 'perplexities'"):
            model.set_params(perplexities=7.0)

    def test_a_refit_forgets_the_rows_before(self, client):
        frame = dd.from_pandas(pd.DataFrame(blobs(300)).add_prefix("column "), npartitions=2)
        model = TSNE(client=client, **SHORT).fit(frame)
        model.fit(blocks(blobs(300, 5)))
        assert not hasattr(model, "feature_names_in_")
        assert model.n_features_in_ == 5
