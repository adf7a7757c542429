"""Landmarks and blocks: arrays, memory maps, Dask arrays and data frames, on threads and on a cluster of processes."""

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktsne import SNE, TSNE, large
from sktsne.large import embed_large, sample_rows, transform_blocks
from sktsne.parallel import effective_n_threads

try:
    import dask
    import dask.array as da
    import dask.dataframe as dd
    from distributed import Client, LocalCluster
except ImportError:
    dask = None

needs_dask = pytest.mark.skipif(dask is None, reason="Dask is not installed: pip install 'sktsne[dask]'")
# Dask's own: sockets that its event loop closes late, and the graph that holds the estimator once.
dasks_warnings = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Sending large graph:UserWarning"),
]


@pytest.fixture(scope="module")
def rows(digits):
    return digits[0][:700]


@pytest.fixture(scope="module")
def model(rows):
    return TSNE(perplexity=10.0, max_iter=150, random_state=0).fit(rows[:250])


@pytest.fixture(scope="module")
def positions(model, rows):
    return model.transform(rows)


@pytest.fixture(scope="module")
def client():
    with (
        dask.config.set({"distributed.worker.profile.enabled": False}),
        LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("kind", [np.asarray, list, csr_array, pd.DataFrame])
def test_blocks_of_an_array_are_placed_as_all_rows_at_once(kind, model, rows, positions, monkeypatch):
    monkeypatch.setattr(large, "ROWS_AT_ONCE", 300)
    if kind is csr_array:
        model = clone(model).fit(csr_array(rows[:250]))
        positions = model.transform(csr_array(rows))
    elif kind is pd.DataFrame:
        model = clone(model).fit(pd.DataFrame(rows[:250]))
    assert_array_equal(transform_blocks(model, kind(rows)), positions)


def test_a_memory_map_is_read_in_blocks(model, rows, positions, tmp_path, monkeypatch):
    np.save(tmp_path / "rows.npy", rows)
    X = np.load(tmp_path / "rows.npy", mmap_mode="r")
    read = []
    take = large._take
    monkeypatch.setattr(large, "ROWS_AT_ONCE", 100)
    monkeypatch.setattr(large, "_take", lambda X, rows: read.append(len(taken := take(X, rows))) or taken)
    assert_array_equal(transform_blocks(model, X), positions)
    assert read == [100] * 7
    assert embed_large(clone(model), X, n_landmarks=200, random_state=0).shape == (700, 2)
    assert read[7] == 200
    assert read[8:] == [100] * 7


@pytest.mark.parametrize("estimator", [TSNE, SNE])
def test_landmarks_keep_their_places(estimator, rows):
    model = estimator(perplexity=10.0, max_iter=100, random_state=0)
    placed = embed_large(model, rows, n_landmarks=300, random_state=3)
    landmarks = sample_rows(rows, 300, random_state=3)
    assert_array_equal(model.transform(landmarks), model.embedding_)
    chosen = [np.flatnonzero((rows == row).all(axis=1))[0] for row in landmarks]
    assert_array_equal(placed[chosen], model.embedding_)


@pytest.mark.parametrize("kind", [np.asarray, csr_array, pd.DataFrame])
def test_equal_landmarks_are_merged(kind, rng):
    counts = rng.poisson(0.7, size=(600, 4)).astype(float)
    model = TSNE(perplexity=20.0, max_iter=150, random_state=0)
    placed = embed_large(model, kind(counts), n_landmarks=300, random_state=0, merge=True)
    sample = sample_rows(counts, 300, random_state=0)
    _, first, numbers = np.unique(sample, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first)
    expected = clone(model).fit(kind(sample[first[order]]), sample_weight=numbers[order])
    assert_array_equal(model.embedding_, expected.embedding_)
    assert_array_equal(placed, expected.transform(kind(counts)))
    # Whoever has no equal rows has the fit without merging.
    X = rng.normal(size=(100, 3))
    same = [embed_large(clone(model), X, random_state=0, merge=merge) for merge in (False, True)]
    assert_array_equal(*same)


@pytest.mark.parametrize("cached", [False, True])
def test_earlier_steps_see_all_landmarks_before_equal_rows_are_merged(cached, rng, tmp_path):
    X = rng.normal(size=(200, 3))
    X[:150] = X[rng.integers(0, 30, size=150)]
    memory = joblib.Memory(tmp_path, verbose=0) if cached else None
    model = make_pipeline(StandardScaler(), TSNE(perplexity=10.0, max_iter=100, random_state=0), memory=memory)
    placed = embed_large(model, X, merge=True)
    assert_array_equal(model[0].mean_, X.mean(axis=0))
    assert len(model[-1].embedding_) == len(np.unique(X, axis=0))
    assert_array_equal(placed, model.transform(X))
    for place in placed[:150]:
        assert (place == model[-1].embedding_).all(axis=1).any()


def test_merging_needs_rows_that_differ():
    with pytest.raises(ValueError, match="merge == True needs landmarks that differ"):
        embed_large(TSNE(), np.ones((20, 3)), merge=True)


def test_merge_must_be_a_bool(rows):
    with pytest.raises(TypeError, match=r"merge == 'yes', must be an instance of bool"):
        embed_large(TSNE(), rows, merge="yes")


def test_a_sample_is_spread_over_all_rows():
    X = np.arange(10_000).reshape(-1, 1)
    sample = sample_rows(X, 1000, random_state=0).ravel()
    assert len(np.unique(sample)) == 1000
    assert_array_equal(sample, np.sort(sample))
    of_tenths = np.bincount(sample // 1000, minlength=10)
    assert of_tenths.min() > 70
    assert of_tenths.max() < 130
    assert_array_equal(sample_rows(X[:50], 1000), X[:50])
    assert_array_equal(sample_rows(X, 1000, random_state=0).ravel(), sample)
    assert not np.array_equal(sample_rows(X, 1000, random_state=1).ravel(), sample)


@pytest.mark.parametrize("n_landmarks", [1, 2.5, True, None])
def test_errors_of_the_number_of_landmarks(n_landmarks, model, rows):
    with pytest.raises(ValueError, match="number of landmarks must be an integer of at least 2, got"):
        embed_large(model, rows, n_landmarks=n_landmarks)


def test_an_estimator_has_to_be_fitted(rows):
    with pytest.raises(NotFittedError):
        transform_blocks(TSNE(), rows)


def test_dask_is_not_imported(loaded_modules):
    assert "sktsne.large" in loaded_modules[1]
    assert not loaded_modules[1] & {"dask", "distributed"}


def test_one_thread_where_joblib_runs_one_job(monkeypatch):
    with joblib.parallel_config("sequential"):
        assert effective_n_threads(None) == 1
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert effective_n_threads(None) == 1


@needs_dask
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_a_dask_array_is_placed_lazily(dtype, scheduler, model, rows):
    X = da.from_array(rows.astype(dtype), chunks=(200, 30))
    placed = transform_blocks(model, X)
    assert isinstance(placed, da.Array)
    assert placed.chunks == ((200, 200, 200, 100), (2,))
    expected = model.transform(rows.astype(dtype))
    assert placed.dtype == placed._meta.dtype == expected.dtype
    computed = placed.compute(scheduler=scheduler)
    assert computed.dtype == expected.dtype
    assert_array_equal(computed, expected)


@needs_dask
def test_chunks_of_unknown_length_and_without_rows(model, rows, positions):
    X = da.from_array(rows, chunks=(200, 64))
    some = X[X[:, 0] >= 0]
    placed = transform_blocks(model, some)
    assert np.isnan(placed.chunks[0]).all()
    assert_array_equal(placed.compute(scheduler="synchronous"), positions)
    none = da.concatenate([X[X[:, 0] < 0], X])
    assert_array_equal(transform_blocks(model, none).compute(scheduler="synchronous"), positions)
    with dask.config.set(scheduler="synchronous"):
        assert_array_equal(sample_rows(none, 100, random_state=0), sample_rows(rows, 100, random_state=0))


@needs_dask
def test_the_estimator_is_in_the_graph_once_without_its_affinities(model, rows):
    placed = transform_blocks(model, da.from_array(rows, chunks=(10, 64)))
    found = [getattr(task, "value", task) for task in dict(placed.dask).values()]
    estimators = [value for value in found if isinstance(value, TSNE)]
    assert len(estimators) == 1
    assert not hasattr(estimators[0], "affinities_")
    assert hasattr(model, "affinities_")


@needs_dask
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_dask_data_frame_keeps_index_and_names(dtype, rows):
    frame = pd.DataFrame(rows.astype(dtype), index=np.arange(700) * 2, columns=[f"pixel{i}" for i in range(64)])
    model = TSNE(perplexity=10.0, max_iter=100, random_state=0).fit(frame[:250])
    X = dd.from_pandas(frame, npartitions=3)
    placed = transform_blocks(model, X)
    assert isinstance(placed, dd.DataFrame)
    assert placed.columns.tolist() == ["tsne0", "tsne1"]
    assert (placed.dtypes == dtype).all()
    assert placed.divisions == X.divisions
    computed = placed.compute(scheduler="synchronous")
    assert_array_equal(computed.index, frame.index)
    assert_array_equal(computed, model.transform(frame))
    none = dd.concat([X[X["pixel3"] < 0], X])
    assert_array_equal(transform_blocks(model, none).compute(scheduler="synchronous"), computed)
    with dask.config.set(scheduler="synchronous"):
        landmarks = sample_rows(X, 100, random_state=0)
        assert_array_equal(landmarks, sample_rows(frame, 100, random_state=0))
        assert landmarks.columns.tolist() == frame.columns.tolist()
        assert len(embed_large(clone(model), X, n_landmarks=100, random_state=0)) == 700


@needs_dask
def test_what_is_not_a_matrix_of_dask(model):
    with pytest.raises(TypeError, match="not Delayed"):
        transform_blocks(model, dask.delayed(1))
    with pytest.raises(ValueError, match="X has 1 dimensions, must have 2"):
        transform_blocks(model, da.ones(10))


@needs_dask
def test_threads_of_dask_place_with_one_thread_each(rows):
    seen = []

    class Recording(TSNE):
        def transform(self, X):
            seen.append(effective_n_threads(self.n_jobs))
            return super().transform(X)

    model = Recording(perplexity=10.0, max_iter=50, random_state=0).fit(rows[:250])
    X = da.from_array(rows, chunks=(100, 64))
    transform_blocks(model, X).compute(scheduler="threads", num_workers=2)
    assert seen == [1] * 7


def scaled_map():
    """Return a pipeline that rounds alike in any block of rows."""
    return make_pipeline(StandardScaler(), TSNE(perplexity=10.0, max_iter=100, random_state=0))


def threads_of_a_task(*n_jobs):
    return [effective_n_threads(n) for n in n_jobs]


@needs_dask
class TestCluster:
    """A worker process of one thread."""

    pytestmark = dasks_warnings if dask is not None else []

    def test_places_what_one_process_places(self, client, model, rows, positions):
        X = da.from_array(rows, chunks=(100, 64))
        assert_array_equal(transform_blocks(model, X).compute(), positions)
        pipeline = scaled_map()
        placed = embed_large(pipeline, X, n_landmarks=300, random_state=0)
        again = scaled_map()
        assert_array_equal(placed.compute(), embed_large(again, rows, n_landmarks=300, random_state=0))
        frame = pd.DataFrame(rows, columns=[f"pixel{i}" for i in range(64)])
        by_name = clone(model).fit(frame[:250])
        assert_array_equal(transform_blocks(by_name, dd.from_pandas(frame, npartitions=4)).compute(), positions)

    def test_a_task_has_one_thread(self, client):
        tasks = [client.submit(threads_of_a_task, None, 1, pure=False) for _ in range(8)]
        assert client.gather(tasks) == [[1, 1]] * 8

    def test_tasks_in_threads_without_a_limit_have_one_each(self, monkeypatch):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        with (
            LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster,
            Client(cluster) as here,
        ):
            assert here.submit(threads_of_a_task, None, 2).result() == [1, 2]
            with joblib.parallel_config("dask"):
                [threads] = joblib.Parallel()([joblib.delayed(threads_of_a_task)(None, 1)])
                assert threads == [1, 1]
            assert effective_n_threads(None) == joblib.cpu_count()

    def test_grid_search_on_the_cluster(self, client, digits):
        X, y = digits[0][:200], digits[1][:200]
        pipeline = make_pipeline(
            StandardScaler(), PCA(10, svd_solver="full"), TSNE(max_iter=60, random_state=0), KNeighborsClassifier(5)
        )
        search = GridSearchCV(pipeline, {"tsne__perplexity": [5.0, 20.0]}, cv=3, error_score="raise")
        with joblib.parallel_config("dask"):
            on_cluster = clone(search).fit(X, y).cv_results_["mean_test_score"]
        assert_array_equal(on_cluster, search.fit(X, y).cv_results_["mean_test_score"])


class LazyFrame:
    """A frame that is a plan, as that of polars: no rows, no shape."""


@pytest.mark.parametrize(
    "X", [LazyFrame(), (row for row in range(9)), None, 3.0], ids=["lazy", "generator", "None", "number"]
)
@pytest.mark.parametrize("function", [lambda X: embed_large(TSNE(), X), lambda X: sample_rows(X, 5)])
def test_rows_that_are_not_counted(function, X):
    with pytest.raises(
        TypeError, match=rf"{type(X).__name__} does not tell its number of rows. Compute X first: .*collect"
    ):
        function(X)


def test_rows_that_are_texts():
    texts = np.array([f"text {number}" for number in range(9)])
    assert len(sample_rows(texts, 5, random_state=0)) == len(sample_rows(texts.tolist(), 5, random_state=0)) == 5


def test_rows_of_an_arrow_table(model, rows, positions):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({str(column): values for column, values in enumerate(rows.T)})
    by_name = clone(model).fit(table.slice(0, 250))
    assert_array_equal(transform_blocks(by_name, table), positions)
    assert sample_rows(table, 5, random_state=0).equals(
        table.take(sample_rows(np.arange(len(rows)), 5, random_state=0))
    )
