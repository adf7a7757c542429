"""Threads and processes: the same map to the last bit in all of them, no deadlock after a fork, nothing left behind."""

import ctypes
import gc
import multiprocessing
import os
import pickle
import platform
import subprocess
import sys
import sysconfig
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array, csr_matrix
from sklearn.datasets import make_blobs
from threadpoolctl import threadpool_info, threadpool_limits

from sktsne import SNE, TSNE, _native, parallel
from sktsne._native import COMPILED, warn_if_not_compiled
from sktsne._process import SharedSetting, freed_memory_kept, one_blas_thread
from sktsne.affinities import conditional_affinities
from sktsne.kernels.attraction import Attraction
from sktsne.neighbors import NeighborGraph, resolve
from sktsne.parallel import Workers
from sktsne.similarities import similarity_of

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked there")
# Real work of several threads: each of these is above THREADED_COST with so many rows.
N = 1200
MODES = {
    "exact": ({"method": "exact", "init": "spectral"}, False),
    "exact components": ({"method": "exact", "n_components": 4}, False),
    "fft": ({"method": "fft", "neighbors": "exact"}, False),
    "fft clustered spectral": ({"method": "fft", "neighbors": "clustered", "init": "spectral"}, False),
    "fft sparse spectral": ({"method": "fft", "init": "spectral"}, True),
    "barnes_hut": ({"method": "barnes_hut", "n_components": 3, "neighbors": "clustered"}, False),
    "barnes_hut sparse": ({"method": "barnes_hut", "dof": 2.0}, True),
}
KINDS = [
    pytest.param(estimator, mode, id=f"{estimator.__name__} {mode}")
    for mode in MODES
    for estimator in ((TSNE,) if mode == "exact components" else (TSNE, SNE))
]


def rows(sparse=False, n=N, n_features=40):
    X = make_blobs(n, n_features, centers=8, cluster_std=3.0, random_state=0)[0]
    return csr_matrix(np.where(np.abs(X) < 6.0, 0.0, X)) if sparse else X


def fit_and_place(estimator, mode, n_jobs, n=N, **parameters):
    """Return the map of n rows, and the places of others in it."""
    parameters, sparse = {"max_iter": 20, "random_state": 0, **MODES[mode][0], **parameters}, MODES[mode][1]
    X = rows(sparse, n)
    new = X[:30] * 1.01
    model = estimator(n_jobs=n_jobs, **parameters).fit(X)
    return model.embedding_, model.transform(new)


def small_fit(X, estimator=TSNE, **parameters):
    return estimator(max_iter=20, random_state=0, **parameters).fit_transform(X)


def blas_threads():
    """Return the numbers that hold for all threads of the process."""
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return [library["num_threads"] for library in libraries if library.get("threading_layer") != "openmp"]


class TestReproducibility:
    @pytest.mark.parametrize(("estimator", "mode"), KINDS)
    def test_any_number_of_threads_gives_the_same_bits(self, estimator, mode, monkeypatch):
        # Blocks are so small that every routine has several with 300 rows; every one of them is for threads.
        monkeypatch.setattr(parallel, "BLOCK_COST", 2_000 if COMPILED else 100_000)
        monkeypatch.setattr(parallel, "THREADED_COST", 0)
        expected = None
        for n_jobs, n_limit in ((1, 1), (1, 2), (2, 2), (3, 1), (7, 2)):
            with threadpool_limits(n_limit):
                maps = fit_and_place(estimator, mode, n_jobs, n=300, max_iter=6)
            expected = maps if expected is None else expected
            for found, map_ in zip(maps, expected, strict=True):
                assert_array_equal(found, map_)

    def test_covariances_do_not_depend_on_threads_of_blas(self):
        X = rows(n=4000, n_features=200)
        found = []
        for n_limit in (1, 2):
            with threadpool_limits(n_limit, "blas"):
                found.append(resolve(X, "mahalanobis", None)[1]["VI"])
        assert_array_equal(*found)

    @pytest.mark.parametrize("mode", ["exact", "fft", "barnes_hut"])
    def test_threads_are_used(self, mode, monkeypatch):
        used = set()
        run = Workers._run_blocks

        def watched(self, function, *args):
            return run(
                self, lambda *block: used.add(threading.get_ident()) or time.sleep(1e-4) or function(*block), *args
            )

        monkeypatch.setattr(Workers, "_run_blocks", watched)
        fit_and_place(TSNE, mode, 2)
        assert len(used) > 1

    def test_workers_of_joblib_and_processes_with_limits_give_the_same_bits(self, tmp_path):
        cases = [(TSNE, "fft"), (SNE, "exact"), (TSNE, "barnes_hut")]
        expected = [fit_and_place(*case, 2, max_iter=5) for case in cases]
        for backend in ("loky", "threading", "multiprocessing"):
            found = joblib.Parallel(n_jobs=2, backend=backend, timeout=60)(
                joblib.delayed(fit_and_place)(*case, n_jobs, max_iter=5)
                for case, n_jobs in zip(cases, (None, 2, 3), strict=True)
            )
            for maps, expected_maps in zip(found, expected, strict=True):
                assert_array_equal(np.concatenate(maps), np.concatenate(expected_maps))

    @pytest.mark.parametrize("n_threads", ["1", "3"])
    def test_omp_num_threads_changes_nothing(self, n_threads, tmp_path):
        script = "import sys; sys.path[:0] = sys.argv[2:]; import numpy as np; from test_processes import *\n"
        script += "np.save(sys.argv[1], np.concatenate(fit_and_place(TSNE, 'fft sparse spectral', None)))"
        paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
        environment = {**os.environ, "OMP_NUM_THREADS": n_threads}
        environment.pop("OPENBLAS_NUM_THREADS", None)
        path = tmp_path / "maps.npy"
        subprocess.run([sys.executable, "-c", script, path, *paths], env=environment, check=True, timeout=60)
        assert_array_equal(np.load(path), np.concatenate(fit_and_place(TSNE, "fft sparse spectral", 2)))


N_THREADS = 16


@pytest.fixture
def often_switched():
    """Have the interpreter switch between threads 5,000 times as often, in case that it has a GIL."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class TestThreads:
    @pytest.mark.parametrize(
        ("estimator", "mode"), [(TSNE, "fft"), (SNE, "barnes_hut"), (TSNE, "fft clustered spectral")]
    )
    def test_concurrent_fits_are_independent(self, estimator, mode):
        expected, before = fit_and_place(estimator, mode, 2, max_iter=10), blas_threads()

        def fit(delay):
            time.sleep(delay)
            return fit_and_place(estimator, mode, 2, max_iter=10)

        with ThreadPoolExecutor(4) as pool:
            for maps in pool.map(fit, (0.0, 0.03, 0.06, 0.09), timeout=60):
                assert_array_equal(np.concatenate(maps), np.concatenate(expected))
        assert blas_threads() == before

    def test_one_blas_thread_is_for_all_until_the_last_has_left(self):
        with threadpool_limits(2, "blas"), ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
            before = blas_threads()
            assert set(before) == {2}
            one, other = one_blas_thread(), one_blas_thread()
            first.submit(one.__enter__).result(10)
            second.submit(other.__enter__).result(10)
            first.submit(one.__exit__, None, None, None).result(10)
            assert set(blas_threads()) == {1}
            second.submit(other.__exit__, None, None, None).result(10)
            assert blas_threads() == before

    def test_concurrent_transforms_share_a_model(self):
        X = rows()
        model = TSNE(max_iter=20, random_state=0, n_jobs=2).fit(X)
        expected = TSNE(max_iter=20, random_state=0, n_jobs=2).fit(X).transform(X[:200] * 1.01)
        with ThreadPoolExecutor(4) as pool:
            for place in pool.map(model.transform, [X[:200] * 1.01] * 8, timeout=60):
                assert_array_equal(place, expected)
        assert model._map.workers._pool is None

    @pytest.mark.parametrize("mode", ["exact", "fft clustered spectral", "barnes_hut sparse"])
    def test_many_threads_at_once_on_a_shared_estimator_and_on_their_own(self, mode, monkeypatch, often_switched):
        # Every routine has several blocks, for the two threads of each fit and of the shared estimator. As pickling
        # drops what is computed when it is first needed, all threads need that for the first time together.
        monkeypatch.setattr(parallel, "BLOCK_COST", 20_000 if COMPILED else 100_000)
        monkeypatch.setattr(parallel, "THREADED_COST", 0)
        parameters, sparse = MODES[mode]
        X = rows(sparse, n=300)
        new, start = X[:40] * 1.01, threading.Barrier(N_THREADS)
        make = partial(TSNE, max_iter=5, random_state=0, n_jobs=2, **parameters)
        map_ = make().fit(X)
        places, shared = map_.transform(new), pickle.loads(pickle.dumps(map_))

        def transform_and_fit(_):
            start.wait(60)
            copied = pickle.dumps(shared)
            found = shared.transform(new)
            own = make().fit(X)
            return found, own.embedding_, own.transform(new), pickle.loads(copied).transform(new)

        with ThreadPoolExecutor(N_THREADS) as pool:
            for found in pool.map(transform_and_fit, range(N_THREADS), timeout=120):
                for positions, expected in zip(found, (places, map_.embedding_, places, places), strict=True):
                    assert_array_equal(positions, expected)
        assert shared._map.workers._pool is None

    def test_of_many_threads_one_warns_of_missing_extensions(self, monkeypatch, often_switched):
        monkeypatch.setattr(_native, "COMPILED", False)
        monkeypatch.setattr(_native, "_warned", threading.Lock())
        given = []
        monkeypatch.setattr(_native, "warn", given.append)
        start = threading.Barrier(N_THREADS)
        with ThreadPoolExecutor(N_THREADS) as pool:
            for done in [pool.submit(lambda: (start.wait(60), warn_if_not_compiled())) for _ in range(N_THREADS)]:
                done.result(60)
        assert len(given) == 1

    @pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this interpreter always has a GIL")
    def test_importing_leaves_the_gil_off(self):
        script = "import sys; from sktsne._native import COMPILED; assert COMPILED and not sys._is_gil_enabled()"
        subprocess.run([sys.executable, "-c", script], check=True)


def in_child(function, timeout=20):
    """Return what a function returns in a forked child, which must be true or false; fail where it does not end."""
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            code = 0 if function() else 1
        finally:
            os._exit(code)
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return {0: True, 1: False}[os.waitstatus_to_exitcode(status)]
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    pytest.fail("a deadlock in the forked process")


FAULTS = """
import resource
import numpy as np
from sktsne._process import freed_memory_kept
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(10**6, dtype=np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
found = [faults()]
with freed_memory_kept, freed_memory_kept:
    found += [faults(), faults()]
print(*found, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such settings")
class TestMemory:
    """Processes that give freed memory back at once, as Dask starts them, do not while they need it again."""

    def faults(self, **variables):
        """Return how often pages were missing, before, two times in the context, and after it."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
        result = subprocess.run(
            [sys.executable, "-c", FAULTS], env={**environment, **variables}, capture_output=True, text=True, check=True
        )
        return [int(number) for number in result.stdout.split()]

    def test_is_kept_in_the_context(self):
        before, first, second, after = self.faults(MALLOC_TRIM_THRESHOLD_="65536")
        pages = 20 * 10**6 // os.sysconf("SC_PAGE_SIZE")
        assert min(before, after) > 0.9 * pages
        assert first < 0.2 * pages
        assert second < 0.05 * pages

    @pytest.mark.parametrize("value", ["65536", "-1", "x", ""])
    def test_other_settings_stay(self, value, monkeypatch):
        """The user has set more than Dask does, or what the C library does not understand."""
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", value)
        if value == "65536":
            monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "131072")
        monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("the C library is called"))
        with freed_memory_kept:
            pass


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
class TestForks:
    @pytest.mark.parametrize("mode", ["exact", "fft", "fft clustered spectral", "barnes_hut"])
    def test_a_child_forked_after_fits_and_transforms_does_both(self, mode):
        # Enough rows for scikit-learn's OpenMP to have had several threads, after which GNU's hangs in a child.
        X = rows(n=1000 if mode == "exact" else 2200)
        parameters = {**MODES[mode][0], "n_jobs": 2}
        new = X[:2100] * 1.01 if mode == "fft" else X[:30] * 1.01
        model = TSNE(max_iter=5, random_state=0, **parameters).fit(X)

        def fit():
            found = TSNE(max_iter=5, random_state=0, **parameters).fit_transform(X)
            return np.array_equal(found, model.embedding_)

        assert in_child(fit)
        places = model.transform(new)
        assert in_child(fit)
        assert in_child(lambda: np.array_equal(model.transform(new), places))

    def test_a_child_forked_while_other_threads_hold_everything(self):
        X = rows(n=400)
        model = TSNE(max_iter=20, random_state=0, n_jobs=2).fit(X)
        new = X[:50] * 1.01
        expected = pickle.loads(pickle.dumps(model)).transform(new)
        begun, over = threading.Event(), threading.Event()
        factory = model._map._factory

        def prepare(*args):
            begun.set()
            assert over.wait(60)
            return factory(*args)

        model._map._factory = prepare  # the other thread is in the middle of the map's preparation, with its locks
        busy = Workers(2)

        def work(start, stop):
            assert over.wait(60)

        with busy, ThreadPoolExecutor(2) as pool:
            others = [pool.submit(model.transform, new), pool.submit(busy.run, work, 4, 10**6)]
            assert begun.wait(20)
            while busy._pool is None:
                time.sleep(0.001)

            def do_all():
                model._map._factory = factory
                assert threading.active_count() == 1
                with busy:
                    assert busy.run(lambda start, stop: start, 4, 10**6) == [0, 1, 2, 3]
                return np.array_equal(model.transform(new), expected)

            try:
                assert in_child(do_all)
            finally:
                over.set()
            assert_array_equal(others[0].result(20), expected)

    @pytest.mark.parametrize("inside", [False, True])
    def test_a_child_has_the_settings_of_its_own_thread_only(self, inside):
        state = []

        def change():
            state.append("changed")
            return CallAtExit(state.clear)

        setting = SharedSetting(change)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(setting.__enter__).result(10)
            with setting if inside else nullcontext():
                assert in_child(lambda: state == (["changed"] if inside else []))
            assert state
            pool.submit(setting.__exit__).result(10)
        assert not state

    def test_a_fit_may_fork(self):
        X = rows(n=300)
        ends = []

        def fork(*_):
            ends.append(in_child(lambda: np.array_equal(small_fit(X), expected)))

        expected = small_fit(X, n_jobs=2)
        found = small_fit(X, n_jobs=2, callback=fork, callback_every=10)
        assert ends == [True]
        assert_array_equal(found, expected)


class CallAtExit:
    def __init__(self, function):
        self._function = function

    def __enter__(self):
        pass

    def __exit__(self, *_):
        self._function()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("start", multiprocessing.get_all_start_methods())
def test_fits_in_child_processes(start):
    X = rows(n=300)
    expected = {estimator: small_fit(X, estimator) for estimator in (TSNE, SNE)}
    context = multiprocessing.get_context(start)
    with context.Pool(1) as pool:
        running = {estimator: pool.apply_async(small_fit, (X, estimator)) for estimator in expected}
        for estimator, result in running.items():
            assert_array_equal(result.get(timeout=60), expected[estimator])


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells the resident memory there")
def test_hundreds_of_fits_leave_nothing_behind(monkeypatch):
    """``SKTSNE_EXAMPLES`` is the number of fits that are watched, after 60 others."""
    number = int(os.environ.get("SKTSNE_EXAMPLES", "120"))
    monkeypatch.setattr(parallel, "THREADED_COST", 0)
    monkeypatch.setattr(parallel, "BLOCK_COST", 2_000)
    X = rows(n=60, n_features=8)
    kinds = [
        partial(estimator, perplexity=5, max_iter=2, n_jobs=2, random_state=0, **parameters)
        for estimator in (TSNE, SNE)
        for parameters in ({"method": "exact"}, {"method": "fft"}, {"method": "barnes_hut", "init": "spectral"})
    ]

    def fits(number):
        for i in range(number):
            kinds[i % len(kinds)]().fit(X).transform(X[:3] * 1.01)
        gc.collect()
        return resident_bytes()

    n_threads = threading.active_count()
    before = fits(60)
    assert fits(number) - before < 1e4 * number  # bytes; a model of 60 rows has twice that
    assert threading.active_count() == n_threads


PICKLES = [
    {"method": "exact"},
    {"method": "fft"},
    {"method": "barnes_hut", "n_components": 3, "angle": 0.4},
    {"method": "fft", "neighbors": "clustered"},
    {"method": "barnes_hut", "sparse": True, "init": "spectral"},
]


@pytest.fixture(scope="module", params=PICKLES, ids=lambda case: " ".join(map(str, case.values())))
def fitted(request):
    parameters = dict(request.param)
    X = rows(parameters.pop("sparse", False), n=500)
    return TSNE(max_iter=5, random_state=0, **parameters).fit(X), X[:50] * 1.01, X


class TestPickles:
    def test_round_trips_by_pickle_and_joblib(self, fitted, tmp_path):
        model, new, _ = fitted
        loaded = pickle.loads(pickle.dumps(model))
        joblib.dump(model, tmp_path / "model.joblib")
        expected = model.transform(new)
        for other in (loaded, joblib.load(tmp_path / "model.joblib"), pickle.loads(pickle.dumps(model))):
            assert_array_equal(other.transform(new), expected)
            assert_array_equal(other.embedding_, model.embedding_)

    def test_has_the_size_of_its_data_and_grows_by_no_transform(self, fitted):
        model, new, X = fitted
        affinities = model.affinities_
        data = [model.embedding_, affinities.data, getattr(affinities, "indices", model.embedding_)]
        data += [X.data, X.indices] if hasattr(X, "indices") else [X]
        before = len(pickle.dumps(pickle.loads(pickle.dumps(model))))
        assert before < sum(part.nbytes for part in data) + 100 * X.shape[0]
        model.transform(new)
        assert len(pickle.dumps(model)) <= before + 200

    def test_round_trips_by_skops(self, fitted):
        skops = pytest.importorskip("skops.io")
        model, new, _ = fitted
        written = skops.dumps(model)
        types = skops.get_untrusted_types(data=written)
        # skops trusts what scikit-learn and NumPy have; our own classes it has to be told, and SciPy's matrices.
        matrices = {"scipy.sparse._csr.csr_array", "scipy.sparse._csr.csr_matrix"}
        assert all(name.startswith("sktsne.") for name in set(types) - matrices)
        assert_array_equal(skops.loads(written, trusted=types).transform(new), model.transform(new))


class TestBeyond32Bits:
    @pytest.mark.parametrize("index", [np.int32, np.int64])
    def test_both_kinds_of_indices_attract_alike(self, index, rng):
        n, k = 300, 12
        indices = rng.integers(0, n, (n, k)).astype(index)
        indptr = np.arange(0, n * k + 1, k, dtype=index)
        S = csr_array(
            (rng.random(n * k), np.zeros(n * k, dtype=np.int32), np.arange(n + 1, dtype=np.int32) * k), (n, n)
        )
        S.indices, S.indptr = indices.ravel(), indptr  # as SciPy has them where 32 bits are too few
        Y = rng.normal(size=(n, 2))
        force, _, cross = Attraction(S, similarity_of(1.0), Workers())(Y, with_cost=True)
        differences = Y[:, None] - Y[indices]
        a = S.data.reshape(n, k) / (1.0 + (differences**2).sum(axis=2))
        np.testing.assert_allclose(force, np.einsum("ij,ijk->ik", a, differences), rtol=1e-10, atol=1e-12)
        assert cross == pytest.approx(np.sum(S.data.reshape(n, k) * np.log1p((differences**2).sum(axis=2))))

    @pytest.mark.parametrize(("largest", "index"), [(2 * 40 * 3, np.int32), (2 * 40 * 3 - 1, np.int64)])
    def test_affinities_take_the_indices_that_their_joint_ones_need(self, largest, index, rng, monkeypatch):
        class Numpy:
            """NumPy with small integers."""

            def __getattr__(self, name):
                return getattr(np, name)

            def iinfo(self, kind):
                return SimpleNamespace(max=largest)

        seen = []

        def spy(arrays, shape):
            seen.extend(part.dtype for part in arrays[1:])
            return csr_array(arrays, shape=shape)

        monkeypatch.setattr("sktsne.affinities.np", Numpy())
        monkeypatch.setattr("sktsne.affinities.csr_array", spy)

        class Equal:
            def probabilities(self, distances, workers):
                return np.full(distances.shape, 1.0 / distances.shape[1])

        graph = NeighborGraph(rng.integers(0, 40, (40, 3)), np.ones((40, 3)))
        conditional_affinities(graph, Equal(), Workers())
        assert seen == [index, index]
