"""What users of other packages reported: a short test for each, named after the reports."""

import pickle
import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from registries import KERNELS
from sklearn.manifold import trustworthiness
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsClassifier, KNeighborsTransformer
from sklearn.pipeline import make_pipeline

from sktsne import SNE, TSNE, parallel
from sktsne.kernels import FFTKernel
from sktsne.kernels.fft import MAX_NODES
from sktsne.parallel import Workers
from sktsne.similarities import StudentT

QUICK = {"perplexity": 5.0, "max_iter": 40, "early_exaggeration_iter": 20, "random_state": 0}
PRECOMPUTED = {**QUICK, "metric": "precomputed", "init": "random"}

both = pytest.mark.parametrize("estimator", [TSNE, SNE])


@pytest.fixture
def X(rng):  # noqa: N802
    return rng.normal(size=(60, 4)) + np.repeat([0.0, 6.0], 30)[:, None]


@both
def test_scikit_learn_5361_19717_10228_transform_serves_a_pipeline(estimator, digits):
    X, y = digits[0][:500], digits[1][:500]
    pipeline = make_pipeline(estimator(max_iter=150, random_state=0), KNeighborsClassifier(5)).fit(X[:400], y[:400])
    # Over ten samples of rows 0.76 to 0.99, and 0.75 to 0.76 where only the last digits of these rows differ.
    assert pipeline.score(X[400:], y[400:]) > 0.6
    assert_array_equal(pipeline[0].transform(X[:400]), pipeline[0].embedding_)


@both
@pytest.mark.parametrize("value", [0.0, 4.2, 1e9])
def test_scikit_learn_28368_29127_constant_data_has_a_finite_map(estimator, value):
    assert np.isfinite(estimator(init="pca", **QUICK).fit_transform(np.full((40, 3), value))).all()


def test_scikit_learn_24776_min_grad_norm_is_free_of_n_and_waits_for_the_end_of_exaggeration(X, rng):
    # A threshold that everything is below ends the fit at the first look after exaggeration, not before.
    model = TSNE(min_grad_norm=1e9, early_exaggeration_iter=120, max_iter=400, perplexity=5.0).fit(X)
    assert model.n_iter_ == 149
    # Ten times the rows need no more than a few times the iterations: the norm that counts is free of n.
    ended = [
        TSNE(method="exact", perplexity=2.0, min_grad_norm=3e-3, tol=0.0, max_iter=2000, n_iter_without_progress=2000)
        .fit(rng.normal(size=(n, 3)))
        .n_iter_
        for n in (30, 300)
    ]
    assert max(ended) < 1999
    assert max(ended) <= 5 * min(ended)


def test_scikit_learn_18990_29665_n_jobs_governs_the_gradient(monkeypatch, rng):
    counts = []
    run = Workers.run

    def note(self, routine, n, *args):
        counts.append(self.n_threads)
        return run(self, routine, n, *args)

    monkeypatch.setattr(Workers, "run", note)
    for n_jobs in (1, 2, 3):
        counts.clear()
        TSNE(n_jobs=n_jobs, **QUICK).fit(rng.normal(size=(50, 3)))
        assert len(counts) > 40
        assert set(counts) == {n_jobs}


def test_opentsne_270_small_work_stays_on_one_thread():
    workers, seen = Workers(4), []
    with workers:
        workers.run(lambda start, stop: seen.append((start, stop)), 6500, 1)
        assert workers._pool is None  # no thread was begun
    assert sum(stop - start for start, stop in seen) == 6500


@both
@pytest.mark.parametrize("method", KERNELS)
def test_cuml_2980_multicore_tsne_22_seeded_results_repeat_on_any_number_of_threads(
    estimator, method, rng, monkeypatch
):
    monkeypatch.setattr(parallel, "THREADED_COST", 0)
    X = rng.normal(size=(200, 5))
    params = {**QUICK, "method": method, "init": "random"}
    first = estimator(n_jobs=1, **params).fit_transform(X)
    for n_jobs in (1, 2, 5, None):
        assert_array_equal(estimator(n_jobs=n_jobs, **params).fit_transform(X), first)


@both
def test_scikit_learn_9691_a_graph_with_too_few_neighbors_says_how_many_are_needed(estimator, X):
    graph = KNeighborsTransformer(n_neighbors=7).fit_transform(X)
    with pytest.raises(ValueError, match=r"at least 16 neighbors .* row 0 has 7\. .*n_neighbors=16\) gives enough"):
        estimator(**PRECOMPUTED).fit(graph)


@both
@pytest.mark.parametrize("perplexity", [59, 60, 1000])
def test_pyrdf2vec_136_scikit_learn_23471_a_perplexity_of_n_or_more_is_replaced(estimator, perplexity, X):
    model = estimator(**{**QUICK, "perplexity": perplexity})
    if perplexity == 1000:
        with pytest.warns(UserWarning, match=r"perplexity == 1000 .* using perplexity=58\.5"):
            Y = model.fit_transform(X)
    else:  # nearly what is used
        Y = model.fit_transform(X)
    assert_array_equal(Y, estimator(**{**QUICK, "perplexity": 58.5}).fit_transform(X))


@both
@pytest.mark.parametrize("method", ["auto", "exact"])
def test_scikit_learn_23428_cuml_5491_precomputed_distances_give_the_direct_map_and_stay(estimator, method, X):
    D, start = pairwise_distances(X), X[:, :2]
    before = D.copy()
    direct = estimator(method=method, init=start, **QUICK).fit_transform(X)
    assert_allclose(
        estimator(method=method, **{**PRECOMPUTED, "init": start}).fit_transform(D), direct, rtol=1e-5, atol=1e-5
    )
    assert_array_equal(D, before)


@both
def test_cuml_4490_a_precomputed_graph_is_enough(estimator, X):
    graph, start = KNeighborsTransformer(n_neighbors=16).fit_transform(X), X[:, :2]
    Y = estimator(**{**PRECOMPUTED, "init": start}).fit_transform(graph)
    assert_allclose(Y, estimator(init=start, **QUICK).fit_transform(X), rtol=1e-5, atol=1e-5)


@both
@pytest.mark.parametrize("kind", ["all", "graph"])
def test_opentsne_202_transform_takes_precomputed_distances(estimator, kind, X):
    start, new = X[:, :2], X[::7] + 0.1
    search = KNeighborsTransformer(n_neighbors=16).fit(X)
    D, others = (
        (pairwise_distances(X), pairwise_distances(new, X))
        if kind == "all"
        else (search.transform(X), search.transform(new))
    )
    placed = estimator(**{**PRECOMPUTED, "init": start}).fit(D).transform(others)
    direct = estimator(init=start, **QUICK).fit(X).transform(new)
    # Rounding may take a row to the other side of a ridge between two places.
    assert np.median(np.abs(placed - direct)) < 1e-3


@both
def test_opentsne_268_fit_sne_66_many_components_work_or_are_refused(estimator, X):
    for method, n_components in (("auto", 3), ("fft", 3), ("barnes_hut", 3), ("exact", 3), ("auto", 10), ("exact", 10)):
        Y = estimator(n_components, method=method, **QUICK).fit_transform(X)
        assert Y.shape == (60, n_components)
        assert np.isfinite(Y).all()
    for method in ("fft", "barnes_hut"):
        with pytest.raises(ValueError, match=f"method == '{method}' takes at most 3 components"):
            estimator(4, method=method, **QUICK).fit(X)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.filterwarnings("ignore:The map spans")
def test_opentsne_174_fit_sne_120_the_mesh_is_bounded(d, rng):
    kernel = FFTKernel(StudentT(), Workers())
    tracemalloc.start()
    for extent in (1e4, 1e9, 1e30):
        kernel.set_points(extent * rng.uniform(size=(2000, d)))
        phi, grad_phi = kernel.potential()
        assert np.isfinite(phi).all()
        assert np.isfinite(grad_phi).all()
        assert max(kernel._mesh.shape) <= 1.05 * MAX_NODES[d]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e9


def test_opentsne_174_fit_sne_120_memory_is_estimated_first(X, monkeypatch):
    monkeypatch.setattr("sktsne._memory.available_memory", lambda: 10_000)
    with pytest.raises(MemoryError, match=r"60 samples .* need about .* GB of memory, and .* GB are available"):
        TSNE(**QUICK).fit(X)


@both
@pytest.mark.parametrize("method", KERNELS)
@pytest.mark.parametrize("different", [1, 2, 30])
def test_opentsne_180_cuml_3360_rtsne_42_duplicate_rows_are_taken(estimator, method, different, rng):
    X = rng.normal(size=(different, 3))[rng.integers(0, different, 300)]
    tracemalloc.start()
    Y = estimator(method=method, **QUICK).fit_transform(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(Y).all()
    assert peak < 5e7


@both
@pytest.mark.parametrize("method", KERNELS)
def test_opentsne_185_244_286_pickles_place_rows_and_fit_again(estimator, method, X):
    model = estimator(method=method, **QUICK).fit(X)
    model.transform(X[:5] + 0.1)  # what is prepared for it is not in the way
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.transform(X[:5] + 0.2), model.transform(X[:5] + 0.2))
    assert_array_equal(copy.fit(X).embedding_, model.embedding_)


@both
def test_scikit_learn_23707_the_precision_is_that_of_the_input(estimator, X):
    double, single = (estimator(**QUICK).fit(X.astype(dtype)) for dtype in (np.float64, np.float32))
    assert double.embedding_.dtype == double.transform(X[:3] + 1.0).dtype == np.float64
    assert single.embedding_.dtype == single.transform(X[:3].astype(np.float32) + 1).dtype == np.float32
    # More digits than single precision holds.
    assert (double.embedding_ != double.embedding_.astype(np.float32)).any()


def test_opentsne_285_the_fft_uses_the_threads(rng, monkeypatch):
    seen = set()
    run = Workers.run

    def note(self, routine, n, *args):
        owner = getattr(getattr(routine, "func", routine), "__name__", "")
        parts = []
        result = run(self, lambda start, stop: (parts.append(start), routine(start, stop))[1], n, *args)
        if owner in ("_forward", "_multiply", "_backward"):
            seen.add((owner, self.n_threads, len(parts) > 1))
        return result

    monkeypatch.setattr(Workers, "run", note)
    with Workers(2) as workers:
        kernel = FFTKernel(StudentT(), workers)
        kernel.set_points(100.0 * rng.uniform(size=(500, 2)))
        kernel.potential()
    assert {(name, 2, True) for name in ("_forward", "_multiply", "_backward")} <= seen


@both
@pytest.mark.parametrize("method", KERNELS)
@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_opentsne_a_descending_map_of_one_component_is_finite(estimator, method, order):
    line = np.linspace(0.0, 10.0, 300)[order, None]
    model = estimator(1, method=method, init=line, **QUICK).fit(line)
    assert np.isfinite(model.embedding_).all()
    assert trustworthiness(line, model.embedding_, n_neighbors=5) > 0.95
