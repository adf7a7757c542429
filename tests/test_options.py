"""What a user may choose beyond perplexity: affinities, starts, metrics, exaggeration, momentum and the steps."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from registries import KERNELS
from scipy.sparse import coo_array, csc_array, csr_array, csr_matrix
from sklearn.base import clone
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsTransformer, RadiusNeighborsTransformer

from sktsne import SNE, TSNE
from sktsne._parameters import METRICS
from sktsne.affinities import FixedBandwidth, Uniform
from sktsne.initialization import rescale
from sktsne.kernels import ExactKernel
from sktsne.objectives import ConditionalKL, JointKL
from sktsne.parallel import Workers
from sktsne.similarities import Gaussian, StudentT

ESTIMATORS = [TSNE, SNE]
QUICK = {"perplexity": 5.0, "max_iter": 60, "random_state": 0}

pytestmark = pytest.mark.parametrize("estimator", ESTIMATORS)


@pytest.fixture
def X(rng):  # noqa: N802
    return rng.normal(size=(50, 4)) + np.repeat([0.0, 6.0], 25)[:, None]


def dense(affinities):
    return affinities if isinstance(affinities, np.ndarray) else affinities.toarray()


def cost_of(model):
    """Return the true cost of a model's map, by the exact sums."""
    objective, similarity = (JointKL, StudentT()) if isinstance(model, TSNE) else (ConditionalKL, Gaussian())
    workers = Workers()
    evaluate = objective(model.affinities_, similarity, ExactKernel(similarity, workers), workers)
    return evaluate(np.ascontiguousarray(model.embedding_, dtype=float), with_cost=True).cost


def own_spread(embedding):
    """Return the mean distance of a point of two halves from the center of its half."""
    halves = np.split(embedding, 2)
    return np.mean([np.linalg.norm(half - half.mean(axis=0), axis=1).mean() for half in halves])


# Affinities


@pytest.mark.parametrize("perplexity", [(3.0, 9.0), [9, 3], np.array([3.0, 9.0]), range(3, 10, 6)])
def test_several_perplexities_are_the_mean_of_each(estimator, perplexity, X):
    model = estimator(perplexity=perplexity, max_iter=1, method="exact").fit(X)
    each = [estimator(perplexity=float(p), max_iter=1, method="exact").fit(X).affinities_ for p in (3, 9)]
    assert_allclose(model.affinities_, (each[0] + each[1]) / 2, rtol=1e-12)
    nearest = estimator(perplexity=perplexity, max_iter=1).fit(X)
    assert_allclose(dense(nearest.affinities_), model.affinities_, atol=0.1 * model.affinities_.max())
    assert model.perplexity is perplexity
    clone(model)


def test_each_of_several_perplexities_is_checked(estimator, X):
    with pytest.raises(ValueError, match=r"perplexity == \[\], must be a number or a sequence with at least one"):
        estimator(perplexity=[]).fit(X)
    with pytest.raises(ValueError, match=r"perplexity == 0\.5, must be a number at least 1"):
        estimator(perplexity=[5.0, 0.5]).fit(X)
    for bad in ([5.0, "a"], np.array(5.0), "5", {3.0, 7.0}):
        with pytest.raises(TypeError, match=r"perplexity == .*, must be a number, not (str|ndarray|set)\."):
            estimator(perplexity=bad).fit(X)
    with pytest.warns(
        UserWarning, match=r"perplexity == 60 needs at least 62 samples and X has 50: using perplexity=48\.5\."
    ):
        model = estimator(perplexity=[5.0, 60.0], max_iter=1).fit(X)
    with pytest.warns(UserWarning, match="perplexity == 60"):
        assert_array_equal(
            dense(estimator(perplexity=[60.0, 5.0], max_iter=1).fit(X).affinities_), dense(model.affinities_)
        )


@pytest.mark.parametrize("kind", [Uniform(7), FixedBandwidth(1.5, 12)])
@pytest.mark.parametrize("method", ["auto", "exact"])
def test_other_affinities_are_of_the_nearest_neighbors_and_not_of_the_perplexity(estimator, kind, method, X):
    model = estimator(affinities=kind, perplexity=1000.0, max_iter=60, method=method).fit(X)
    distances = pairwise_distances(X)
    np.fill_diagonal(distances, np.inf)
    farthest = np.sort(distances, axis=1)[:, kind.n_neighbors - 1 : kind.n_neighbors]
    weights = distances <= farthest
    if isinstance(kind, FixedBandwidth):
        weights = weights * np.exp(-(distances**2) / (2 * kind.bandwidth**2))
    P = weights / weights.sum(axis=1, keepdims=True)
    P = (P + P.T) / (2 * len(X)) if estimator is TSNE else P
    assert_allclose(dense(model.affinities_), P, rtol=1e-6, atol=1e-12)
    assert np.isfinite(model.embedding_).all()


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_a_bandwidth_has_the_unit_of_the_rows(estimator, offset, X):
    X = np.round(64 * X) / 64
    one = estimator(affinities=FixedBandwidth(1.0, 10), max_iter=1).fit(X)
    scaled = estimator(affinities=FixedBandwidth(1e-3, 10), max_iter=1).fit(1e-3 * (X + offset))
    assert_allclose(dense(scaled.affinities_), dense(one.affinities_), rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("method", ["auto", "exact", "fft"])
def test_a_number_of_neighbors_stands_for_uniform_affinities(estimator, method, X):
    params = {"method": method, "random_state": 0, "max_iter": 60}
    model = estimator(n_neighbors=7, **params).fit(X)
    expected = estimator(affinities=Uniform(7), **params).fit(X)
    assert_array_equal(model.embedding_, expected.embedding_)
    assert_array_equal(model.transform(X[:5] + 0.1), expected.transform(X[:5] + 0.1))
    assert repr(estimator(n_neighbors=7)) == f"{estimator.__name__}(n_neighbors=7)"
    for default in 30, np.float32(30.0):  # numbers that equal the default may have another type
        assert_array_equal(estimator(n_neighbors=7, perplexity=default, **params).fit(X).embedding_, model.embedding_)


def test_a_number_of_neighbors_in_a_subclass_with_fewer_parameters(estimator, X):
    class Quick(estimator):
        def __init__(self, n_neighbors=7):
            super().__init__(n_neighbors=n_neighbors, max_iter=10, random_state=0)

    expected = estimator(n_neighbors=7, max_iter=10, random_state=0).fit(X)
    assert_array_equal(Quick().fit(X).embedding_, expected.embedding_)


def test_a_number_of_neighbors_that_is_too_large_for_the_rows_is_replaced(estimator, X):
    with pytest.warns(UserWarning, match=r"n_neighbors == 60 needs at least 61 samples and X has 50: using .*=49\."):
        model = estimator(n_neighbors=60, max_iter=1).fit(X)
    assert_array_equal(dense(model.affinities_) > 0.0, ~np.eye(50, dtype=bool))
    assert model.n_neighbors == 60


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors == 0, must be an integer at least 1"),
        ({"n_neighbors": 2.5}, r"n_neighbors == 2\.5, must be an integer, not float"),
        ({"n_neighbors": "15"}, "n_neighbors == '15', must be an integer, not str"),
        ({"perplexity": 20}, r"n_neighbors == 9 and perplexity == 20: only one .* perplexity must .* default, 30\.0"),
        ({"perplexity": [30.0]}, r"n_neighbors == 9 and perplexity == \[30\.0\]: only one of them may be given"),
        ({"perplexity": np.array([30.0, 5.0])}, r"n_neighbors == 9 and perplexity == array.*: only one of them may"),
        ({"affinities": Uniform(9)}, r"n_neighbors == 9 and affinities == Uniform\(n_neighbors=9\): only one of them"),
        ({"affinities": "precomputed", "init": "random"}, "n_neighbors == 9 and affinities == 'precomputed': only one"),
    ],
)
def test_a_number_of_neighbors_is_checked_and_alone(estimator, params, message, X):
    with pytest.raises((TypeError, ValueError), match=message):
        estimator(**{"n_neighbors": 9, **params}).fit(X)


def test_affinities_of_few_rows_take_all_and_say_so(estimator, X):
    with pytest.warns(UserWarning, match=r"affinities == Uniform\(n_neighbors=50\) takes 50 neighbors, and X has 50"):
        model = estimator(affinities=Uniform(50), max_iter=1).fit(X)
    assert_allclose(dense(model.affinities_)[~np.eye(50, dtype=bool)], (1 / 50 if estimator is TSNE else 1) / 49)
    estimator(affinities=Uniform(49), max_iter=1).fit(X)


def test_affinities_have_parameters_that_clones_and_searches_set(estimator, X):
    model = estimator(affinities=FixedBandwidth(2.0), **QUICK)
    name = estimator.__name__
    assert "affinities=FixedBandwidth(bandwidth=2.0)" in repr(model)
    assert model.get_params()["affinities__bandwidth"] == 2.0
    copy = clone(model).set_params(affinities__bandwidth=0.5, affinities__n_neighbors=9)
    assert (copy.affinities.bandwidth, model.affinities.bandwidth) == (0.5, 2.0)
    assert repr(estimator(affinities=Uniform(4))) == f"{name}(affinities=Uniform(n_neighbors=4))"
    copy.fit(X)
    assert copy.affinities.get_params() == {"bandwidth": 0.5, "n_neighbors": 9}


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_grids_hold_affinities_and_their_parameters(estimator, n_jobs, X):
    def score(model, X, y=None):
        return -float(np.abs(dense(model.affinities_)).max())

    def search(model, grid):
        every_row = [(np.arange(50), np.arange(50))]
        found = GridSearchCV(model, grid, scoring=score, cv=every_row, error_score="raise", n_jobs=n_jobs).fit(X)
        assert len(set(found.cv_results_["mean_test_score"])) == 3
        return found.best_estimator_.affinities

    quick = {"max_iter": 2, "perplexity": 5.0}
    assert search(estimator(**quick), {"affinities": [Uniform(4), Uniform(9), "perplexity"]}).n_neighbors == 9
    grid = {"affinities__n_neighbors": [3, 12, 6]}
    assert search(estimator(affinities=Uniform(), **quick), grid).n_neighbors == 12
    grid = {"affinities__bandwidth": [0.3, 9.0, 1.0]}
    assert search(estimator(affinities=FixedBandwidth(n_neighbors=9), **quick), grid).bandwidth == 9.0


def test_affinities_of_ones_own(estimator, X):
    class Nearest:
        uses_scale = False

        def count_neighbors(self, n_samples):
            return min(3, n_samples - 1)

        def probabilities(self, distances, workers):
            return (distances <= distances.min(axis=1, keepdims=True)).astype(float)

    model = estimator(affinities=Nearest(), **QUICK).fit(X)
    expected = estimator(affinities=Uniform(1), **QUICK).fit(X)
    assert_allclose(dense(model.affinities_), dense(expected.affinities_))
    assert_allclose(model.embedding_, expected.embedding_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Uniform", r"affinities == 'Uniform', must be one of 'perplexity', 'precomputed', or an object such as"),
        (Uniform, r"affinities == <class .*, must be one of 'perplexity'"),
        (None, r"affinities == None, must be one of 'perplexity'"),
        (Uniform(0), r"affinities == Uniform\(n_neighbors=0\): n_neighbors == 0, must be an integer at least 1"),
        (Uniform(2.5), r"affinities == .*: n_neighbors == 2\.5, must be an integer, not float"),
        (FixedBandwidth(0.0), r"affinities == .*: bandwidth == 0\.0, must be a number above 0 and finite"),
        (FixedBandwidth(np.nan), r"affinities == .*: bandwidth == nan, must be a number above 0 and finite"),
        (FixedBandwidth("1"), r"affinities == .*: bandwidth == '1', must be a number, not str"),
        (FixedBandwidth(1.0, True), r"affinities == .*: n_neighbors == True, must be an integer, not bool"),
    ],
)
def test_affinities_that_are_none_are_named(estimator, kind, message, X):
    with pytest.raises((ValueError, TypeError), match=message):
        estimator(affinities=kind).fit(X)


class TestPrecomputedAffinities:
    PARAMS = {"affinities": "precomputed", "init": "spectral", "max_iter": 60, "random_state": 0}  # noqa: RUF012

    @pytest.mark.parametrize("storage", [np.asarray, csr_array, csr_matrix, csc_array, coo_array])
    @pytest.mark.parametrize("method", ["auto", *KERNELS])
    def test_give_the_map_of_the_rows_whatever_their_storage(self, estimator, storage, method, X):
        rows = estimator(init=X[:, :2], perplexity=5.0, max_iter=60, method=method).fit(X)
        A = storage(3.7 * dense(rows.affinities_) + np.diag(np.arange(50.0)))
        copy = A.copy()
        model = estimator(**{**self.PARAMS, "init": X[:, :2], "method": method}).fit(A)
        assert_allclose(dense(model.affinities_), dense(rows.affinities_), atol=1e-12)
        assert_allclose(model.embedding_, rows.embedding_, rtol=1e-4, atol=1e-4 * rows.embedding_.std())
        assert model.kl_divergence_ == pytest.approx(rows.kl_divergence_, rel=1e-4)
        for name in ("indices", "indptr", "data", "row", "col"):
            if not isinstance(A, np.ndarray) and hasattr(A, name):
                assert_array_equal(getattr(A, name), getattr(copy, name))
        assert_array_equal(dense(A), dense(copy))
        assert "neighbors" not in model.timings_

    def test_do_not_look_at_the_perplexity(self, estimator, rng):
        A = rng.uniform(size=(20, 20))  # too few rows for 30: no warning, which would be an error
        assert np.isfinite(estimator(**self.PARAMS).fit(A).embedding_).all()

    def test_of_a_row_that_only_receives(self, estimator, rng):
        A = rng.uniform(size=(20, 20))
        A[7] = 0.0
        if estimator is TSNE:
            assert np.isfinite(estimator(**self.PARAMS).fit(A).embedding_).all()
        else:
            with pytest.raises(
                ValueError, match="every row of X must have an affinity to another row for SNE, and row 7"
            ):
                estimator(**self.PARAMS).fit(A)

    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            (-1.0, "affinities='precomputed' X must hold affinities, got negative values"),
            (np.nan, "Input X contains NaN"),
            (np.inf, "Input X contains infinity"),
        ],
    )
    def test_that_are_none_are_named(self, estimator, storage, bad, message, rng):
        A = rng.uniform(size=(20, 20))
        A[2, 3] = bad
        with pytest.raises(ValueError, match=message):
            estimator(**self.PARAMS).fit(storage(A))

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"metric": "cosine"}, "affinities == 'precomputed' does not use metric.* metric == 'cosine'"),
            ({"metric_params": {"p": 3}}, r"affinities == 'precomputed' .*metric_params == \{'p': 3\}"),
            ({"neighbors": "exact"}, "affinities == 'precomputed' .*neighbors == 'exact'"),
            ({"init": "pca"}, "init == 'pca' needs the rows, and affinities == 'precomputed' does not have them"),
        ],
    )
    def test_leave_nothing_to_other_parameters(self, estimator, params, message, rng):
        with pytest.raises(ValueError, match=message):
            estimator(**{**self.PARAMS, **params}).fit(rng.uniform(size=(20, 20)))


# Metrics


@pytest.mark.parametrize("n_columns", [4, 17])  # where scikit-learn may take a tree, and where not
@pytest.mark.parametrize("metric", [metric for metric in METRICS if metric != "precomputed"])
def test_every_metric_gives_the_affinities_of_its_distances(estimator, metric, n_columns, rng):
    binary = {"dice", "jaccard", "rogerstanimoto", "russellrao", "sokalmichener", "sokalsneath", "yule"}
    X = rng.lognormal(size=(40, n_columns))
    X = rng.uniform([-1.5, -3.0], [1.5, 3.0], size=(40, 2)) if metric == "haversine" else X
    X = np.insert(X > 1.0, 0, True, axis=1) if metric in binary else X
    names = {"infinity": "chebyshev", "p": "minkowski", "sokalmichener": "rogerstanimoto"}
    D = pairwise_distances(X, metric=names.get(metric, metric))
    params = {"init": "random", "max_iter": 1, "perplexity": 5.0, "random_state": 0}
    for method in ["exact"] if metric in binary | {"hamming"} else ["exact", "auto"]:  # these have ties at the 16th
        direct = [estimator(metric=metric, method=method, n_jobs=n_jobs, **params).fit(X) for n_jobs in (1, 2)]
        precomputed = estimator(metric="precomputed", method=method, **params).fit(D)
        assert_array_equal(dense(direct[0].affinities_), dense(direct[1].affinities_))
        largest = precomputed.affinities_.max()
        assert_allclose(dense(direct[0].affinities_), dense(precomputed.affinities_), atol=1e-6 * largest)
    assert np.isfinite(estimator(metric=metric, **{**params, "init": "pca", "max_iter": 20}).fit(X).embedding_).all()


@pytest.mark.parametrize("method", ["auto", "exact"])
def test_the_diagonal_of_precomputed_distances_is_nothing(estimator, method, X):
    D = pairwise_distances(X)
    params = {**QUICK, "metric": "precomputed", "method": method, "init": X[:, :2]}
    expected = estimator(**params).fit(D)
    np.fill_diagonal(D, 100.0)
    assert_array_equal(estimator(**params).fit(D).embedding_, expected.embedding_)


@pytest.mark.parametrize("storage", [csr_array, csr_matrix, csc_array, coo_array])
@pytest.mark.parametrize("search", [KNeighborsTransformer(n_neighbors=20), RadiusNeighborsTransformer(radius=12.0)])
def test_graphs_of_distances_in_any_storage_are_read_and_left_alone(estimator, search, storage, X):
    graph = storage(search.fit_transform(X))
    copy = graph.copy()
    model = estimator(metric="precomputed", init=X[:, :2], **QUICK).fit(graph)
    expected = estimator(init=X[:, :2], **QUICK).fit(X)
    assert_allclose(dense(model.affinities_), dense(expected.affinities_), rtol=1e-6, atol=1e-15)
    assert_allclose(model.embedding_, expected.embedding_, rtol=1e-4, atol=1e-4)
    assert type(graph) is type(copy)
    assert_array_equal(graph.data, copy.data)
    assert_array_equal(graph.toarray(), copy.toarray())


def test_graphs_serve_every_kind_of_affinities(estimator, X):
    graph = KNeighborsTransformer(n_neighbors=12).fit_transform(X)
    for kind in (Uniform(12), FixedBandwidth(1.0, 12)):
        params = {"affinities": kind, "init": X[:, :2], "max_iter": 1}
        expected = estimator(**params).fit(X)
        model = estimator(metric="precomputed", **params).fit(graph)
        assert_allclose(dense(model.affinities_), dense(expected.affinities_), rtol=1e-6)
    with pytest.raises(ValueError, match=r"at least 13 neighbors in every row.* row 0 has 12"):
        estimator(metric="precomputed", init="random", affinities=Uniform(13)).fit(graph)


# Starts


@pytest.mark.parametrize("n_components", [1, 2, 3])
@pytest.mark.parametrize("method", ["auto", "exact"])
def test_the_spectral_start_serves_rows_of_every_kind(estimator, n_components, method, rng):
    params = {**QUICK, "n_components": n_components, "method": method, "init": "spectral"}
    blobs = np.repeat([0.0, 50.0, 120.0], [30, 20, 10])[:, None] + rng.normal(size=(60, 3))
    for X in (blobs, np.ones((30, 3)), np.repeat(rng.normal(size=(4, 3)), 20, axis=0), rng.normal(size=(7, 2))):
        model = estimator(**{**params, "perplexity": 2.0}).fit(X)
        assert np.isfinite(model.embedding_).all()
        assert len(np.unique(model.embedding_, axis=0)) == len(X)
    one, two = (estimator(n_jobs=n_jobs, **params).fit_transform(blobs) for n_jobs in (1, 2))
    assert_array_equal(one, two)


@pytest.mark.parametrize("start", [np.zeros((50, 2)), np.full((50, 2), 3.0, dtype=np.float32), [[-0.1, 0.1]] * 50])
def test_a_start_at_one_place_is_spread(estimator, start, X):
    model = estimator(init=start, perplexity=5.0, random_state=0).fit(X)
    assert (model.embedding_.std(axis=0) > 0.1).all()
    assert_array_equal(estimator(init=start, perplexity=5.0, random_state=0).fit(X).embedding_, model.embedding_)
    assert (np.asarray(start) == np.asarray(start)[0]).all()


def test_points_that_start_at_one_place_part_and_others_stay(estimator, X):
    start = X[:, :2].copy()
    start[10:20] = start[10]
    params = {"init": start, "perplexity": 5.0, "random_state": 0}
    one_step = estimator(max_iter=1, learning_rate=1e-12, **params).fit_transform(X)
    moved = np.linalg.norm((one_step - one_step[0]) - (start - start[0]), axis=1) > 1e-9
    assert np.flatnonzero(moved).tolist() == list(range(11, 20))
    assert (start[10:20] == start[10]).all()
    model = estimator(**params).fit(X)
    assert len(np.unique(np.round(model.embedding_, 6), axis=0)) == 50


def test_a_list_is_a_start(estimator, X):
    start = rescale(5.0 + X[:, :2])  # as of a map of UMAP
    expected = estimator(init=start, **QUICK).fit_transform(X)
    assert_array_equal(estimator(init=start.tolist(), **QUICK).fit_transform(X), expected)
    assert_array_equal(estimator(init=tuple(map(tuple, start)), **QUICK).fit_transform(X), expected)


@pytest.mark.parametrize("bad", [None, 3.0, np.zeros(50), [["a", "b"]] * 50, [[1.0, 2.0], [3.0]], np.zeros((50, 2, 1))])
def test_what_is_no_start_is_named(estimator, bad, X):
    with pytest.raises(ValueError, match=r"init == (.|\n)*, must be one of 'pca', .* or an array of shape \(50, 2\)"):
        estimator(init=bad).fit(X)


# The optimization


@pytest.mark.parametrize("exaggeration", [1.0, 4.0])
def test_the_cost_of_an_exaggerated_map_is_the_true_one(estimator, exaggeration, X):
    model = estimator(exaggeration=exaggeration, perplexity=5.0).fit(X)
    assert model.kl_divergence_ == pytest.approx(cost_of(model), rel=1e-9)


def test_late_exaggeration_makes_a_denser_map_of_larger_cost(estimator, X):
    models = [estimator(exaggeration=factor, perplexity=5.0, tol=1e-3).fit(X) for factor in (1.0, 2.0, 6.0)]
    spreads = [own_spread(model.embedding_) for model in models]
    # Over eight seeds the ratios are 1.54 to 8.9 and 2.4 to 230, and those of the costs 1.5 to 2.6.
    assert spreads[0] > 1.3 * spreads[1] > 1.3 * 1.1 * spreads[2]
    costs = [model.kl_divergence_ for model in models]
    assert costs[0] < costs[1] < costs[2]


@pytest.mark.parametrize("exaggeration", [2.0, 4.0])
def test_tol_ends_an_exaggerated_fit_by_the_exaggerated_cost(estimator, exaggeration, X):
    params = {"exaggeration": exaggeration, "perplexity": 5.0}
    loose = estimator(tol=0.5, n_iter_without_progress=50, **params).fit(X)
    tight = estimator(tol=0.0, n_iter_without_progress=400, min_grad_norm=0.0, max_iter=400, **params).fit(X)
    assert 100 < loose.n_iter_ + 1 <= 250  # 150 over eight seeds
    assert tight.n_iter_ == 399


class TestPhases:
    def factors(self, estimator, **params):
        phases = estimator(**params)._phases()
        assert sum(phase.n_iter for phase in phases) == params.get("max_iter", 1000)
        return [phase.exaggeration for phase in phases for _ in range(phase.n_iter)]

    @pytest.mark.parametrize("n", [1, 2, 7, 10])
    @pytest.mark.parametrize("late", [1.0, 3.0, 20.0])
    def test_exaggeration_is_held_then_released_geometrically(self, estimator, n, late):
        factors = self.factors(
            estimator, early_exaggeration=9.0, exaggeration=late, early_exaggeration_iter=n, max_iter=30
        )
        held = (n + 1) // 2
        assert factors[:held] == [9.0] * held
        ratios = np.divide(factors[held + 1 : n], factors[held : n - 1])
        assert_allclose(ratios, (late / 9.0) ** (1.0 / (n // 2)) if n > 1 else 1.0)
        assert factors[n:] == [late] * (30 - n)
        between = factors[held:n]
        assert all(min(late, 9.0) * (1 - 1e-12) <= factor <= max(late, 9.0) * (1 + 1e-12) for factor in between)

    def test_without_early_iterations_there_is_none(self, estimator, X):
        assert self.factors(estimator, early_exaggeration_iter=0, max_iter=20) == [1.0] * 20
        none, one = (
            estimator(early_exaggeration_iter=n, early_exaggeration=factor, **QUICK).fit_transform(X)
            for n, factor in ((0, 12.0), (30, 1.0))
        )
        assert_array_equal(none, one)

    def test_longer_than_the_fit_are_cut(self, estimator, X):
        assert self.factors(estimator, early_exaggeration_iter=500, early_exaggeration=5.0, max_iter=20) == [5.0] * 20
        model = estimator(early_exaggeration_iter=500, **QUICK).fit(X)
        assert model.n_iter_ == 59
        assert model.kl_divergence_ == pytest.approx(cost_of(model), rel=1e-9)

    def test_carry_momentum_and_rate(self, estimator):
        phases = estimator(momentum=0.3, learning_rate=7.0, early_exaggeration_iter=4)._phases()
        assert {(phase.momentum, phase.learning_rate, phase.relative) for phase in phases} == {(0.3, 7.0, False)}


def test_momentum_reaches_the_optimizer(estimator, X):
    # From rest the first step is the same; the second keeps part of it.
    params = {"perplexity": 5.0, "init": X[:, :2], "max_step_norm": None}
    maps = {m: estimator(momentum=m, max_iter=2, **params).fit_transform(X) for m in (0.0, 0.5)}
    first = estimator(momentum=0.0, max_iter=1, **params).fit_transform(X)
    start = X[:, :2] - X[:, :2].mean(axis=0)
    assert_allclose(maps[0.5] - maps[0.0], 0.5 * (first - start), atol=1e-6 * np.abs(first - start).max())


@pytest.mark.parametrize("method", KERNELS)
def test_a_limit_bounds_how_far_points_get(estimator, method, X):
    start = X[:, :2] - X[:, :2].mean(axis=0)
    params = {"perplexity": 5.0, "init": start, "method": method, "max_iter": 10}
    free = estimator(max_step_norm=None, **params).fit_transform(X)
    limited = estimator(max_step_norm=1e-3, **params).fit_transform(X)
    assert np.linalg.norm(free - start, axis=1).max() > 0.1
    lengths = np.linalg.norm(limited - start, axis=1)
    assert 1e-3 < lengths.max() <= 2 * 10 * 1e-3  # and as much by the centering
    assert_array_equal(estimator(max_step_norm=1e9, **params).fit_transform(X), free)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("exaggeration", 0.5, ValueError, "exaggeration == 0.5, must be a number at least 1 and finite"),
        ("exaggeration", np.inf, ValueError, "exaggeration == inf, must be a number at least 1 and finite"),
        ("exaggeration", "4", TypeError, "exaggeration == '4', must be a number, not str"),
        ("early_exaggeration_iter", -1, ValueError, "early_exaggeration_iter == -1, must be an integer at least 0"),
        ("early_exaggeration_iter", 2.5, TypeError, "early_exaggeration_iter == 2.5, must be an integer, not float"),
        ("momentum", 1, ValueError, "momentum == 1, must be below 1"),
        ("momentum", -0.1, ValueError, "momentum == -0.1, must be a number at least 0 and at most 1"),
        ("momentum", None, TypeError, "momentum == None, must be a number, not NoneType"),
        ("max_step_norm", 0, ValueError, "max_step_norm == 0, must be a number above 0 and finite"),
        ("max_step_norm", np.inf, ValueError, "max_step_norm == inf, must be a number above 0 and finite"),
        ("max_step_norm", "a", TypeError, "max_step_norm == 'a', must be a number, not str"),
        ("metric_params", {"a": 1}, ValueError, r"metric == 'euclidean', metric_params == \{'a': 1\}: .*must be None"),
    ],
)
def test_options_out_of_range_are_named(estimator, name, value, error, message, X):
    with pytest.raises(error, match=message):
        estimator(**{name: value}).fit(X)
