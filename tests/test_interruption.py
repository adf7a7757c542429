"""Fits that are stopped, go on, are watched, or fail: nothing is lost, and nothing is half done."""

import _thread
import functools
import json
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from registries import KERNELS
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sktsne import SNE, TSNE, _base
from sktsne._memory import estimated_memory
from sktsne.kernels import ExactKernel
from sktsne.parallel import Workers

ESTIMATORS = [TSNE, SNE]
METHODS = [*KERNELS, ExactKernel]
LONG = {"perplexity": 10.0, "tol": 0.0, "n_iter_without_progress": 10_000, "min_grad_norm": 0.0, "random_state": 0}


@pytest.fixture
def X(digits):  # noqa: N802
    return digits[0][:300]


@pytest.fixture(scope="module")
def fit_at_once(digits):
    """Return a function that returns a fit of 100 rows and 160 iterations, the same one to all that ask for it."""
    return functools.cache(
        lambda estimator, method: estimator(method=method, max_iter=160, **LONG).fit(digits[0][:100])
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("half", [37, 100, 150])
def test_a_fit_in_two_halves_equals_one(estimator, method, half, X, fit_at_once):
    once = fit_at_once(estimator, method)
    twice = estimator(method=method, max_iter=half, warm_start=True, **LONG).fit(X[:100])
    assert twice.n_iter_ == half - 1
    twice.set_params(max_iter=160).fit(X[:100])
    assert twice.n_iter_ == 159
    assert_array_equal(twice.embedding_, once.embedding_)
    assert twice.kl_divergence_ == once.kl_divergence_


@pytest.mark.parametrize("early", [0, 51, 100])
@pytest.mark.parametrize("half", [37, 51, 100, 150])
def test_points_that_are_put_in_a_new_order(half, early, X, monkeypatch):
    """Large fits renew the order of their points when early exaggeration ends."""
    params = {"max_iter": 160, "early_exaggeration_iter": early, "init": "random", "method": "fft", **LONG}
    kept = TSNE(**params).fit(X)
    monkeypatch.setattr(_base, "POINTS_TO_ARRANGE", 300)
    orders = []
    arrange = _base.Points.arrange
    monkeypatch.setattr(_base.Points, "arrange", lambda self: (arrange(self), orders.append(self.order)))
    once = TSNE(**params).fit(X)
    assert len(orders) == 1
    assert sorted(orders[0]) == list(range(300))
    assert abs(once.kl_divergence_ - kept.kl_divergence_) < 0.05 * kept.kl_divergence_  # rounding decides on the rest
    twice = TSNE(**{**params, "max_iter": half}, warm_start=True, n_jobs=2).fit(X).set_params(max_iter=160).fit(X)
    assert_array_equal(twice.embedding_, once.embedding_)
    assert_array_equal(twice.transform(X[:3] + 0.25), once.transform(X[:3] + 0.25))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_points_keep_their_order_if_a_callback_ends_early_exaggeration(estimator, X, monkeypatch):
    """A fit that continues would otherwise put the points in another order than an uninterrupted fit does."""
    monkeypatch.setattr(_base, "POINTS_TO_ARRANGE", 100)
    params = {"n_components": 3, "method": "barnes_hut", "early_exaggeration_iter": 60, **LONG}
    once = estimator(max_iter=130, **params).fit(X[:150])
    model = estimator(max_iter=130, callback=lambda *_: True, warm_start=True, **params).fit(X[:150])
    assert_array_equal(model.embedding_, estimator(max_iter=50, **params).fit(X[:150]).embedding_)
    assert_array_equal(model.set_params(callback=None).fit(X[:150]).embedding_, once.embedding_)


def test_stopping_rules_see_both_halves(X):
    once = TSNE(random_state=0).fit(X)
    twice = TSNE(random_state=0, warm_start=True, max_iter=110).fit(X).set_params(max_iter=1000).fit(X)
    assert twice.n_iter_ == once.n_iter_ < 999
    assert_array_equal(twice.embedding_, once.embedding_)
    assert_array_equal(twice.fit(X).embedding_, once.embedding_)  # it has ended


def test_other_rows_or_no_warm_start_begin_anew(X):
    model = TSNE(max_iter=30, warm_start=True, **LONG).fit(X)
    other = clone(model).fit(X[:200])
    assert_array_equal(model.fit(X[:200]).embedding_, other.embedding_)
    assert_array_equal(model.set_params(warm_start=False).fit(X[:200]).embedding_, other.embedding_)
    wider = clone(model).set_params(n_components=3).fit(X[:200])
    assert_array_equal(model.set_params(n_components=3, warm_start=True).fit(X[:200]).embedding_, wider.embedding_)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("method", METHODS)
def test_a_callback_watches_and_changes_nothing(estimator, method, X):
    seen = []

    def watch(iteration, cost, embedding):
        seen.append((iteration, cost))
        assert embedding.shape == (300, 2)
        embedding[...] = np.nan  # a copy

    expected = estimator(method=method, max_iter=90, **LONG).fit(X)
    model = estimator(method=method, max_iter=90, callback=watch, callback_every=20, **LONG).fit(X)
    assert [iteration for iteration, _ in seen] == [20, 40, 60, 80]
    assert np.isfinite([cost for _, cost in seen]).all()
    assert_array_equal(model.embedding_, expected.embedding_)


def test_a_callback_sees_the_map_in_the_order_of_the_rows(X):
    maps = []
    model = TSNE(max_iter=50, callback=lambda _, __, embedding: maps.append(embedding), callback_every=49, **LONG).fit(
        X
    )
    moved = np.linalg.norm(maps[0] - model.embedding_, axis=1)
    assert np.median(moved) < 0.1 * model.embedding_.std()


def test_a_callback_ends_a_fit(X):
    model = TSNE(callback=lambda iteration, *_: iteration >= 60, callback_every=30, **LONG).fit(X)
    assert model.n_iter_ == 59
    assert_array_equal(model.embedding_, TSNE(max_iter=60, **LONG).fit(X).embedding_)


class Watch:
    """Notes what happens in a list that several callbacks share, and returns always the same."""

    def __init__(self, name, events, returned=None):
        self.name, self.events, self.returned = name, events, returned

    @contextmanager
    def stage(self, name, estimator):
        self.events.append(f"{self.name} begins {name}")
        yield
        self.events.append(f"{self.name} ends {name}")

    def __call__(self, iteration, cost, embedding):
        assert np.isfinite(embedding).all()
        embedding[...] = np.nan  # each callback has a copy
        self.events.append(f"{self.name} sees {iteration}")
        return self.returned


@pytest.mark.parametrize("container", [list, tuple])
def test_several_callbacks_are_called_in_their_order_and_their_stages_nest(container, X):
    events, costs = [], []
    callbacks = container([Watch("a", events), lambda i, cost, Y: costs.append(cost), Watch("b", events)])
    model = TSNE(init=X[:, :2], max_iter=50, callback=callbacks, callback_every=20, **LONG).fit(X)
    assert events == [
        *("a begins neighbors", "b begins neighbors", "b ends neighbors", "a ends neighbors"),
        *("a begins affinities", "b begins affinities", "b ends affinities", "a ends affinities"),
        *("a begins optimization", "b begins optimization", "a sees 20", "b sees 20", "a sees 40", "b sees 40"),
        *("b ends optimization", "a ends optimization"),
    ]
    assert len(costs) == 2
    assert_array_equal(model.embedding_, TSNE(init=X[:, :2], max_iter=50, **LONG).fit(X).embedding_)
    assert_array_equal(TSNE(max_iter=5, callback=[], **LONG).fit(X).n_iter_, 4)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_the_stage_of_a_callback_suppresses_no_error(error, X):
    class Suppresses:
        def stage(self, name, estimator):
            return suppress(error)

        def __call__(self, iteration, cost, embedding):
            raise error

    model = TSNE(callback=Suppresses(), **LONG)
    with pytest.raises(error):
        model.fit(X)
    assert not hasattr(model, "affinities_")


@pytest.mark.parametrize("returned", [(True, None), (False, True), (True, True)])
def test_any_of_several_callbacks_ends_a_fit(returned, X):
    events = []
    callbacks = [Watch(name, events, stop) for name, stop in zip("ab", returned, strict=True)]
    assert TSNE(callback=callbacks, callback_every=30, **LONG).fit(X).n_iter_ == 29
    assert events[-4:] == ["a sees 30", "b sees 30", "b ends optimization", "a ends optimization"]


class StopFit(Exception):  # noqa: N818
    """A user's own."""


def stop(*_):
    raise StopFit


@pytest.mark.parametrize("error", [StopFit, KeyboardInterrupt])
def test_an_exception_leaves_the_estimator_as_it_was(error, X):
    def fail(*_):
        raise error

    model = TSNE(callback=fail, **LONG)
    with pytest.raises(error):
        model.fit(X)
    assert vars(model) == vars(TSNE(callback=fail, **LONG))
    with pytest.raises(NotFittedError):
        model.transform(X)
    model.set_params(callback=None, max_iter=20).fit(X)
    before = vars(model).copy()
    with pytest.raises(error):
        model.set_params(callback=fail, max_iter=100).fit(X[:250])
    assert model.embedding_ is before["embedding_"]
    assert model.n_iter_ == 19


@pytest.mark.parametrize("save", ["warm_start", "checkpoint"])
def test_an_interrupted_fit_goes_on(save, X, tmp_path):
    expected = TSNE(max_iter=200, **LONG).fit(X)
    options = {"warm_start": True} if save == "warm_start" else {"checkpoint": tmp_path / "fit.npz"}
    iterations = []

    def interrupt(iteration, *_):
        iterations.append(iteration)
        if len(iterations) == 4:
            raise KeyboardInterrupt

    model = TSNE(max_iter=200, callback=interrupt, callback_every=30, **options, **LONG)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert not hasattr(model, "embedding_")
    model.fit(X)
    assert iterations == [30, 60, 90, 120, 120, 150, 180]  # on from the 100th
    assert_array_equal(model.embedding_, expected.embedding_)
    assert list(tmp_path.iterdir()) == []  # the fit is done


def test_a_checkpoint_of_another_fit_is_refused(X, tmp_path):
    path = tmp_path / "fit.npz"
    with pytest.raises(StopFit):
        TSNE(checkpoint=path, callback=stop, callback_every=60, **LONG).fit(X)
    for other, rows in ((TSNE(checkpoint=path, dof=2.0, **LONG), X), (TSNE(checkpoint=path, **LONG), X + 1.0)):
        with pytest.raises(ValueError, match=r"checkpoint == .*fit\.npz' holds the checkpoint of another fit.*delete"):
            other.fit(rows)
    TSNE(checkpoint=str(path), n_jobs=1, max_iter=70, **LONG).fit(X)
    path.write_bytes(b"PK\x03\x04 not one")
    with pytest.raises(ValueError, match=r"checkpoint == .*fit\.npz' is a file that holds no checkpoint, delete"):
        TSNE(checkpoint=path, **LONG).fit(X)


def test_a_checkpoint_is_never_half_written(X, tmp_path, monkeypatch):
    path, params = tmp_path / "fit.npz", {"max_iter": 200, "checkpoint": tmp_path / "fit.npz", **LONG}
    savez, calls = np.savez, []

    def savez_half(file, **arrays):
        calls.append(file)
        if len(calls) < 3:
            return savez(file, **arrays)
        file.write(b"PK half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", savez_half)
    with pytest.raises(OSError, match="No space left"):
        TSNE(**params).fit(X)
    monkeypatch.undo()
    assert path.exists()
    iterations = []
    model = TSNE(callback=lambda iteration, *_: iterations.append(iteration), callback_every=10, **params).fit(X)
    assert iterations[0] == 100  # that of the second checkpoint
    assert_array_equal(model.embedding_, TSNE(max_iter=200, **LONG).fit(X).embedding_)


SCRIPT = """
import sys, time
import numpy as np
from sktsne import TSNE
def watch(iteration, *_):
    print(iteration, flush=True)
    if iteration == int(sys.argv[3]):
        time.sleep(60)  # until it is killed
TSNE(max_iter=260, checkpoint=sys.argv[1], callback=watch, callback_every=10, **LONG).fit(np.load(sys.argv[2]))
"""


@pytest.mark.parametrize("after", [60, 170])
def test_a_killed_process_resumes(after, X, tmp_path):
    path, rows, script = tmp_path / "fit.npz", tmp_path / "X.npy", tmp_path / "script.py"
    np.save(rows, X)
    script.write_text(f"LONG = {LONG!r}\n{SCRIPT}")
    command = [sys.executable, script, path, rows, str(after)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) == after:
                process.kill()
    assert path.exists()
    iterations = []
    model = TSNE(
        max_iter=260, checkpoint=path, callback=lambda i, *_: iterations.append(i), callback_every=10, **LONG
    ).fit(X)
    assert iterations[0] == after // 50 * 50
    assert_array_equal(model.embedding_, TSNE(max_iter=260, **LONG).fit(X).embedding_)
    assert not path.exists()


# A process that takes stages, each a line of JSON with the name of a function and the code that calls it.
SERVER = """
import json, signal, sys, threading, time, traceback
from pkgutil import resolve_name
import numpy as np
from scipy.sparse import diags
from sklearn.preprocessing import FunctionTransformer
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored in what it runs in the background
from sktsne import SNE, TSNE
from sktsne.affinities import Perplexity, Uniform
rng = np.random.default_rng(0)
def normal(n, n_columns):
    return rng.normal(size=(n, n_columns))
def announce(stage):
    owner, name = stage.rsplit(".", 1)
    owner = resolve_name(owner)
    function = getattr(owner, name)
    def announced(*args, **options):
        global begin
        begin = time.process_time()
        print("begun", flush=True)
        return function(*args, **options)
    setattr(owner, name, announced)
    return lambda: setattr(owner, name, function)
def interrupt(method, X):
    estimator = method.__self__
    before = list(vars(estimator))
    try:
        method(X)
    except KeyboardInterrupt as error:
        seconds = time.process_time() - begin
        calls = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        print(seconds, list(vars(estimator)) == before, threading.active_count(), *calls, flush=True)
for line in sys.stdin:
    stage, code = json.loads(line)
    undo = announce(stage)
    exec(code)
    undo()
"""
FIT = "interrupt({}(n_jobs=2, {}, random_state=0).fit, normal({}, {}))"
ENDLESS = "max_iter=10**7, tol=0.0, n_iter_without_progress=10**7"
BLOCKS = "sktsne.neighbors.exact.brute_force_graph"
LISTS = "sktsne.neighbors.clustered.ClusteredSearch._fit_in_lists"
DIFFERENCES = (
    "interrupt(TSNE(n_jobs=2, neighbors='exact').fit, 1e-9 * normal(10_000, 60) + rng.integers(0, 2, (10_000, 1)))"
)
# A stage, and what takes long there.
STAGES = {
    "beginning": ("sktsne._base.KnownRows", FIT.format("SNE", "method='fft'", 200_000, 50)),
    **{
        f"{name} kernel": (
            "sktsne._base.minimize",
            FIT.format(
                "SNE", f"method={name!r}, n_components={min(kernel.max_components or 2, 3)}, {ENDLESS}", 2000, 20
            ),
        )
        for name, kernel in KERNELS.items()
    },
    **{
        f"products, {metric}": (
            BLOCKS,
            FIT.format("TSNE", f"neighbors='exact', metric={metric!r}", 40_000, n_columns),
        )
        for metric, n_columns in {"euclidean": 100, "cosine": 100, "correlation": 300, "jaccard": 300}.items()
    },
    "sums": (BLOCKS, FIT.format("TSNE", "neighbors='exact', metric='manhattan'", 5000, 500)),
    "tree": ("sktsne.neighbors.exact.ExactSearch._kneighbors", FIT.format("TSNE", "neighbors='exact'", 200_000, 5)),
    "function": (BLOCKS, FIT.format("TSNE", "metric=lambda a, b: abs(a - b).max()", 3000, 5)),
    "all pairs": ("sktsne.neighbors.exact.distances_of_all", FIT.format("TSNE", "method='exact'", 5000, 500)),
    "division": ("sktsne.neighbors.clustered.build_lists", FIT.format("TSNE", "neighbors='clustered'", 200_000, 60)),
    "lists": (LISTS, FIT.format("TSNE", "neighbors='clustered'", 200_000, 8)),
    "lists of sums": (LISTS, FIT.format("TSNE", "metric='manhattan'", 60_000, 8)),
    "differences": ("sktsne.neighbors.all_pairs.rerank_ambiguous", DIFFERENCES),
    "affinities": (
        "sktsne._base.conditional_affinities",
        FIT.format("TSNE", "affinities=Perplexity([300.0] * 9)", 4000, 3),
    ),
    "principal components": (
        "sktsne.initialization.principal_components",
        "n = 100_000; ring = diags([1.0, 1.0], [1, n - 1], shape=(n, n), format='csr')\n"
        "search = FunctionTransformer(lambda X: ring + ring.T)\n"
        "interrupt(TSNE(affinities=Uniform(2), neighbors=search).fit, rng.random((n, 990), dtype=np.float32))",
    ),
    "spectral": (
        "sktsne._starts.spectral_start",
        "n = 100_000; ring = diags([1.0, 1.0], [1, n - 1], shape=(n, n), format='csr')\n"
        "interrupt(TSNE(affinities='precomputed', init='spectral').fit, ring + ring.T)",
    ),
    "placement": (
        "sktsne.placement.FrozenMap.place",
        "interrupt(TSNE(max_iter=5, n_jobs=2).fit(normal(2000, 20)).transform, normal(200_000, 20))",
    ),
}


class Server:
    """A process that runs stages, begun anew where the one before has ended."""

    process = None

    def begin(self, stage, code):
        """Have a stage run, and return the process when it has begun."""
        if self.process is None or self.process.poll() is not None:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self.process = subprocess.Popen([sys.executable, "-c", SERVER], **pipes)
        self.process.stdin.write(json.dumps([stage, code]) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "begun\n"
        return self.process

    def end(self):
        """End the process, which may hang."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.end()


@pytest.mark.skipif(sys.platform == "win32", reason="another process cannot be sent Ctrl-C there")
@pytest.mark.parametrize("stage", STAGES)
def test_control_c_stops_within_a_second(stage, server):
    watchdog = threading.Timer(60, server.end)
    watchdog.start()
    try:
        process = server.begin(*STAGES[stage])
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        output = process.stdout.readline()
        while output == "begun\n":  # the function is called again
            output = process.stdout.readline()
    except BaseException:
        server.end()
        raise
    finally:
        watchdog.cancel()
    seconds, unchanged, n_threads, *calls = output.split()
    assert float(seconds) < 2 * (0.1 + 1.0)  # of two processors, however busy they are
    assert unchanged == "True"
    assert n_threads == "1"
    assert "announced" in calls


def test_an_interruption_of_a_computation_is_not_lost_with_its_workers():
    """Python raises nothing from the destructor that it happens to run when it learns of a Ctrl-C."""

    class Computes:
        __neg__ = staticmethod(_thread.interrupt_main)  # an operator: after a call Python would look for a Ctrl-C

    def compute(workers):
        return -Computes()

    def compute_and_go_on():
        compute(Workers())
        time.sleep(0.0)  # a call

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            compute_and_go_on()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("X", "params"),
    [
        # Of fewer rows, the blocks of pairs take as much as the neighbors, 8 MB in each thread.
        ((16_000, 20), {"method": "fft", "neighbors": "exact"}),
        ((9000, 20), {"method": "fft", "neighbors": "clustered"}),
        ((3000, 300), {"method": "barnes_hut", "neighbors": "exact"}),
        ((900, 20), {"method": "exact"}),
        ((900, 900), {"method": "exact", "metric": "precomputed", "init": "random"}),
        ((900, 900), {"method": "fft", "metric": "precomputed", "init": "random", "perplexity": 3.0}),
        ((900, 900), {"method": "fft", "affinities": "precomputed", "init": "random", "perplexity": 3.0}),
    ],
    ids=str,
)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_memory_of_a_fit_is_about_what_was_estimated(estimator, X, params, rng, monkeypatch):
    needed = []
    monkeypatch.setattr("sktsne._base.check_memory", lambda *args: needed.append(estimated_memory(*args)))
    X = np.abs(rng.normal(size=X))
    model = estimator(max_iter=2, **params)
    model.fit(X[:60, : 60 if "precomputed" in params.values() else None])  # imports what is imported late
    tracemalloc.start()
    model.fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.5 * needed[-1] < peak < 1.5 * needed[-1]


def test_no_fit_that_could_not_fit(monkeypatch, X):
    monkeypatch.setattr("sktsne._memory.available_memory", lambda: 10**6)
    with pytest.raises(
        MemoryError, match=r"300 samples with 91 neighbors each need about .* GB of memory, and 0.001 GB are available"
    ):
        TSNE().fit(X)
    with pytest.raises(MemoryError, match=r"All pairs of 300 samples need .*method must not be 'exact'"):
        TSNE(method="exact").fit(X)
    monkeypatch.setattr("sktsne._memory.available_memory", lambda: None)
    TSNE(max_iter=1).fit(X)
