"""Fits on a cluster while workers die, workers come, and users interrupt: the same map, or nothing left behind."""

import gc
import os
import signal
import sys
import threading
from contextlib import contextmanager

import psutil
import pytest

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'sktsne[dask]'")

import clusters
from clusters import FAST, blobs, blocks, digest

from sktsne.dask import SNE, TSNE, _rows

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # sockets that Dask closes late

# The stages, and the number of iterations of a fit in which something happens to a stage while it runs.
STAGES = [("neighbors", 12), ("initialization", 12), ("affinities", 12), ("optimization", 60)]
LOST_AT = 7  # the iteration after which workers die, between two reports


@pytest.fixture(scope="module")
def started():
    with clusters.connected(2) as client:
        yield client


@pytest.fixture
def client(started):
    """Return the client of a cluster whose two workers hold nothing."""
    clusters.scale(started, 2)
    clusters.wait_until(lambda: not has_tasks(started))
    return started


def has_tasks(client):
    """Return whether the scheduler has any task left."""
    gc.collect()  # errors that were caught, as those of dead workers, keep their estimator until then
    return bool(client.who_has())


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Divide 600 rows or more into three shards. Only the client counts them."""
    monkeypatch.setattr(_rows, "SHARDS", 3)
    monkeypatch.setattr(_rows, "LEAST_ROWS", 200)


@pytest.fixture
def bits(shared, client):
    """Return a function of an estimator that returns the digest of its map of 600 rows where nothing happens."""

    def bits_of(estimator=TSNE, max_iter=12):
        return shared((estimator, max_iter), lambda: digest(client, fit(client, estimator, max_iter=max_iter)))

    return bits_of


def fit(client, estimator=TSNE, **params):
    return estimator(client=client, **{**FAST, **params}).fit(blocks(blobs(600)))


def kill(client):
    """Kill a worker, the one with the first address."""
    pids = client.run(os.getpid)
    psutil.Process(pids[min(pids)]).kill()


class DuringStage:
    """A callback that calls a function while a stage runs, after a delay in seconds."""

    def __init__(self, name, function, delay=0.0):
        self._name, self._function, self._delay = name, function, delay
        self.iterations = []

    def __call__(self, iteration, cost, embedding):
        self.iterations.append(iteration)

    @contextmanager
    def stage(self, name, estimator):
        if name != self._name:
            yield
            return
        timer = threading.Timer(self._delay, self._function)
        timer.start()
        try:
            yield
        finally:
            timer.join()


class AtTick:
    """A callback that calls a function once, after an iteration."""

    def __init__(self, iteration, function):
        self._iteration, self._function = iteration, function
        self.iterations, self.ticks = [], []

    def __call__(self, iteration, cost, embedding):
        self.iterations.append(iteration)

    def tick(self, iteration):
        self.ticks.append(iteration)
        if iteration == self._iteration:
            self._function()


class TestWorkersThatDie:
    @pytest.mark.parametrize(("stage", "max_iter"), STAGES)
    def test_while_a_stage_runs(self, stage, max_iter, bits, client):
        expected = bits(max_iter=max_iter)
        callback = DuringStage(stage, lambda: kill(client), 0.1)
        assert digest(client, fit(client, callback=callback, max_iter=max_iter)) == expected
        assert callback.iterations == list(range(4, max_iter, 4))

    @pytest.mark.parametrize("estimator", clusters.ESTIMATORS)
    def test_between_iterations(self, estimator, bits, client):
        expected = bits(estimator)
        callback = AtTick(LOST_AT, lambda: kill(client))
        assert digest(client, fit(client, estimator, callback=callback)) == expected
        assert callback.iterations == [4, 8]
        assert callback.ticks == list(range(1, 13))

    def test_the_only_worker(self, bits, client):
        expected = bits()
        clusters.scale(client, 1)
        callback = AtTick(LOST_AT, lambda: kill(client))
        assert digest(client, fit(client, callback=callback)) == expected
        assert callback.ticks == list(range(1, 13))

    def test_when_a_callback_ends_the_fit(self, client):
        def fit_until_8(before_it_ends):
            def stop(iteration, cost, embedding):
                if iteration == 8:
                    before_it_ends()
                return iteration == 8

            model = fit(client, callback=stop)
            assert model.n_iter_ == 7
            return digest(client, model)

        assert fit_until_8(lambda: kill(client)) == fit_until_8(lambda: None)


def close_connections(dask_worker):
    """Close the connections of the parts of a worker to others, as a network may."""
    for part in dask_worker.state.actors.values():
        for peer in part._exchange._peers.values():
            peer.close()


class TestConnectionsThatBreak:
    def test_between_parts(self, bits, client):
        expected = bits()
        callback = AtTick(LOST_AT, lambda: client.run(close_connections, workers=[min(client.nthreads())]))
        assert digest(client, fit(client, callback=callback)) == expected
        assert callback.iterations == [4, 8]
        assert callback.ticks == list(range(1, 13))


class TestWorkersThatCome:
    def test_get_shards_at_the_next_report(self, bits, client):
        expected = bits()
        clusters.scale(client, 1)
        parts = []

        class Count(AtTick):
            def __call__(self, iteration, cost, embedding):
                super().__call__(iteration, cost, embedding)
                parts.append(sorted(client.run(lambda dask_worker: len(dask_worker.state.actors)).values()))

        callback = Count(2, lambda: clusters.scale(client, 2))
        assert digest(client, fit(client, callback=callback)) == expected
        assert callback.iterations == [4, 8]
        assert callback.ticks == list(range(1, 13))
        assert parts[-1] == [1, 1]


def interrupt():
    """Do what a terminal does when the user presses Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def interrupts_again(monkeypatch):
    """Press Ctrl-C again after an interruption that Python lost because it came while a destructor ran."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored in the background
    report = sys.unraisablehook

    def hook(unraisable):
        if unraisable.exc_type is KeyboardInterrupt:
            threading.Timer(0.01, interrupt).start()
        else:
            report(unraisable)

    monkeypatch.setattr(sys, "unraisablehook", hook)
    yield
    signal.signal(signal.SIGINT, before)


class TestFitsThatFail:
    def assert_nothing_is_left(self, model, before, client):
        assert model.__dict__ == before
        clusters.wait_until(lambda: not client.who_has())  # although the error still refers to the fit

    @pytest.mark.skipif(os.name == "nt", reason="Ctrl-C of Windows goes to all processes of the console")
    @pytest.mark.usefixtures("interrupts_again")
    @pytest.mark.parametrize(("stage", "max_iter"), STAGES)
    def test_interrupted_in_a_stage(self, stage, max_iter, bits, client):
        expected = bits()
        model = TSNE(client=client, callback=DuringStage(stage, interrupt, 0.1), **{**FAST, "max_iter": max_iter})
        before = dict(model.__dict__)
        with pytest.raises(KeyboardInterrupt) as error:
            model.fit(blocks(blobs(600)))
        self.assert_nothing_is_left(model, before, client)
        assert error.tb is not None  # was there until now
        assert digest(client, model.set_params(callback=None, max_iter=12).fit(blocks(blobs(600)))) == expected

    def test_interrupted_by_a_callback(self, bits, client):
        def interrupting(iteration, cost, embedding):
            raise KeyboardInterrupt

        expected = bits()
        model = fit(client)
        clusters.wait_until(lambda: client.who_has())
        held, before = set(client.who_has()), dict(model.__dict__)
        model.set_params(callback=interrupting)
        with pytest.raises(KeyboardInterrupt):
            model.fit(blocks(blobs(300)))
        assert model.__dict__ == {**before, "callback": interrupting}
        clusters.wait_until(lambda: set(client.who_has()) <= held)
        assert digest(client, model) == expected

    @pytest.mark.parametrize("estimator", clusters.ESTIMATORS)
    def test_diverged(self, estimator, client):
        model = estimator(client=client, **{**FAST, "learning_rate": 1e300, "max_step_norm": None})
        before = dict(model.__dict__)
        with pytest.raises(
            FloatingPointError, match=r"^The optimization diverged at iteration \d+ with learning_rate="
        ):
            model.fit(blocks(blobs(600)))
        self.assert_nothing_is_left(model, before, client)
        model.set_params(learning_rate="auto").fit(blocks(blobs(300)))

    def test_rows_that_are_not_finite(self, client):
        X = blobs(600)
        X[450, 3] = float("nan")
        model = SNE(client=client, **FAST)
        before = dict(model.__dict__)
        with pytest.raises(ValueError, match="Input X contains NaN"):
            model.fit(blocks(X))
        self.assert_nothing_is_left(model, before, client)

    def test_errors_of_callbacks(self, client):
        def failing(iteration, cost, embedding):
            raise LookupError("of the user")

        model = TSNE(client=client, callback=failing, **FAST)
        before = dict(model.__dict__)
        with pytest.raises(LookupError, match="of the user"):
            model.fit(blocks(blobs(600)))
        self.assert_nothing_is_left(model, before, client)
