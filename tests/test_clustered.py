"""The search in lists: as many of the neighbors as promised, with distances by differences, and the same everywhere."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
import rows as made
from numpy.testing import assert_allclose, assert_array_equal
from rows import assert_same_in_every_batch, blobs, brute_force, digits_like, naive, rows_for
from scipy.sparse import csr_array, csr_matrix, issparse
from scipy.spatial.distance import cdist

from sktsne.conditioning import Conditioning
from sktsne.neighbors import METRICS, ClusteredSearch, ExactSearch, clustered, faster_search, resolve, traits_of
from sktsne.neighbors.clustered import RECALL
from sktsne.neighbors.spaces import DirectSpace
from sktsne.parallel import Workers

MAKERS = [
    made.blobs,
    made.digits_like,
    made.heavy_tails,
    made.duplicates,
    made.few_duplicates,
    made.grid,
    made.lonely_rows,
    made.tight_groups,
    made.far_groups,
    made.huge,
]
PRODUCTS = ["euclidean", "sqeuclidean", "seuclidean", "mahalanobis", "cosine", "correlation"]
DIRECT = ["manhattan", "chebyshev", "canberra"]


def fitted(X, k, metric="euclidean", params=None, n_threads=1):
    search = ClusteredSearch(k, metric, params)
    with Workers(n_threads) as workers:
        return search, search.fit(X, workers)


def in_lists(search):
    return search._lists is not None


def recall(graph, farthest):
    """Return the part of neighbors that are no farther than the farthest: of those at equal distances, any is right."""
    return np.mean(graph.distances <= farthest[:, None] * (1.0 + 1e-6))


def assert_is_a_graph(graph, n, k):
    assert graph.indices.shape == graph.distances.shape == (n, k)
    assert graph.indices.min() >= 0
    assert graph.indices.max() < n
    assert (graph.indices != np.arange(n)[:, None]).all()
    assert (np.diff(np.sort(graph.indices, axis=1)) > 0).all()
    assert (np.diff(graph.distances, axis=1) >= 0.0).all()
    assert graph.distances.flags.c_contiguous
    assert graph.distances.dtype == np.float64


def assert_distances(graph, X, metric, params=None, **tolerances):
    """Check distances against SciPy's, of every tenth row."""
    X = X.toarray() if issparse(X) else X
    name, params = resolve(X, metric, params)
    X = X != 0.0 if traits_of(name).boolean else X.astype(np.float64)
    rows = np.arange(0, len(X), 10)
    D = cdist(X[rows], X, {"manhattan": "cityblock"}.get(name, name), **params)
    assert_allclose(graph.distances[rows], np.take_along_axis(D, graph.indices[rows], 1), **tolerances)


class TestRecall:
    @pytest.mark.parametrize("make", MAKERS)
    @pytest.mark.parametrize("k", [10, 91])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_of_euclidean_distances(self, make, k, dtype, rng):
        X = make(rng)
        X = Conditioning(X, "euclidean")(X).astype(dtype)
        _, graph = fitted(X, k, n_threads=2)
        assert_is_a_graph(graph, len(X), k)
        assert recall(graph, brute_force_farthest(X, k)) >= RECALL
        rows = np.arange(0, len(X), 10)
        differences = X[rows, None].astype(np.float64) - X[graph.indices[rows]]
        assert_allclose(graph.distances[rows], np.sqrt((differences**2).sum(axis=-1)), rtol=1e-9)

    @pytest.mark.parametrize("metric", [*PRODUCTS, *DIRECT, "minkowski"])
    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    def test_of_metrics(self, metric, storage, rng, monkeypatch):
        monkeypatch.setattr(clustered, "MAX_PROBED", 1.0)  # lists, even where all pairs would be faster
        params = {"p": 3} if metric == "minkowski" else None
        if storage is csr_array and not traits_of(metric).sparse:
            pytest.skip("not for sparse rows")
        X = 1.0 + digits_like(rng)[:, :20]
        X = storage(np.where(X > 4.0, X, 0.0) + np.eye(1, 20))
        search, graph = fitted(X, 30, metric, params, 2)
        assert in_lists(search) or metric in ("canberra", "mahalanobis")  # whitened rows are much like noise
        n = X.shape[0]
        assert_is_a_graph(graph, n, 30)
        expected = ExactSearch(30, metric, params).fit(X, Workers())
        # Where SciPy takes cosines, small distances have the error of a rounding.
        assert np.mean(graph.distances <= expected.distances[:, -1:] * (1.0 + 1e-6) + 1e-15) >= RECALL
        atol = 1e-14 if metric in ("cosine", "correlation") else 0.0
        assert_distances(graph, X, metric, params, rtol=1e-9, atol=atol)

    @pytest.mark.parametrize("metric", [m for m in METRICS if traits_of(m).counts])
    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    def test_of_rows_that_are_true_and_false(self, metric, storage, rng):
        if storage is csr_array and not traits_of(metric).sparse:
            pytest.skip("not for sparse rows")
        likely = rng.uniform(size=(40, 60))[rng.integers(0, 40, 3000)] ** 3
        X = (rng.uniform(size=(3000, 60)) < likely).astype(float)
        X[:, 0] = 1.0
        _, graph = fitted(storage(X), 30, metric, n_threads=2)
        assert_is_a_graph(graph, 3000, 30)
        assert recall(graph, ExactSearch(30, metric).fit(storage(X), Workers()).distances[:, -1]) >= RECALL
        assert_distances(graph, X, metric, rtol=1e-14, atol=1e-16)

    @pytest.mark.parametrize("metric", ["euclidean", "cosine"])
    def test_of_rows_some_without_a_direction(self, metric, rng):
        X = rng.lognormal(size=(3000, 1)) * (1.0 + blobs(rng))
        X[17] = X[1500] = 0.0
        for storage in np.asarray, csr_array:
            search, graph = fitted(storage(X), 30, metric)
            assert in_lists(search) or metric == "euclidean"
            assert_is_a_graph(graph, 3000, 30)
            expected = ExactSearch(30, metric).fit(X, Workers())
            assert np.mean(graph.distances <= expected.distances[:, -1:] * (1.0 + 1e-6)) >= RECALL
            if metric == "cosine":
                assert (graph.distances[[17, 1500]] == 1.0).all()
                assert not np.isin(graph.indices, [17, 1500])[np.arange(3000) % 1483 != 17].any()

    def test_a_row_of_zeros_is_far_from_all_also_where_it_is_the_nearest_by_difference(self, rng):
        # Directions all over the sphere are √2 apart or more, and 1 from 0: cosine says that both are at 1.
        X = np.vstack([np.repeat(np.eye(30), 70, axis=0), np.zeros((20, 30))])
        for storage in np.asarray, csr_array:
            _, graph = fitted(storage(X), 90, "cosine")
            expected = ExactSearch(90, "cosine").fit(X, Workers())
            assert_allclose(graph.distances, expected.distances, rtol=1e-9, atol=1e-15)

    @pytest.mark.parametrize("k", [10, 91])
    def test_where_lists_do_not_pay_all_pairs_are_compared(self, k, rng):
        X = rng.normal(size=(3000, 50))  # noise has neighbors everywhere
        search, graph = fitted(X, k)
        assert not in_lists(search)
        expected = ExactSearch(k).fit(X, Workers())
        assert np.mean(graph.indices == expected.indices) > 0.9999  # but for near ties under rounding
        assert_allclose(graph.distances, expected.distances, rtol=1e-7)
        assert_distances(graph, X, "euclidean", rtol=1e-9)

    @pytest.mark.parametrize(
        "make",
        [
            lambda rng: np.zeros((500, 3)),
            lambda rng: np.zeros((3000, 20)),
            lambda rng: np.eye(200),
            *(lambda rng, n=n: rng.normal(size=(n, 2)) for n in (2, 3, 4, 5, 10, 50)),
        ],
    )
    @pytest.mark.parametrize("k", [1, 4, 91])
    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    def test_few_or_equal_rows(self, make, k, storage, rng):
        X = make(rng)
        k = min(k, len(X) - 1)
        _, graph = fitted(storage(X), k)
        assert_is_a_graph(graph, len(X), k)
        if len(X) < 1000:
            assert_allclose(graph.distances, brute_force(X, k), rtol=1e-7)
        else:
            assert graph.distances.max() == 0.0

    def test_functions_of_the_user_are_searched_exactly(self, rng):
        X = rng.normal(size=(150, 3))
        search, graph = fitted(X, 9, lambda a, b: np.abs(a - b).sum())
        assert not in_lists(search)
        assert_allclose(graph.distances, naive(X, "manhattan")[1][:, :9], rtol=1e-12)


class TestRoundings:
    """Float32 does not rank what its rounding exceeds."""

    def test_an_outlier_beside_which_float32_sees_nothing(self, rng):
        X = made.outlier(rng)
        _, graph = fitted(X, 30)
        assert recall(graph, brute_force_farthest(X, 30)) >= RECALL
        assert_distances(graph, X, "euclidean", rtol=1e-9)

    @pytest.mark.parametrize("offset", [0.0, 1e3, 1e6, 1e9])
    @pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
    def test_a_common_offset(self, metric, offset, rng):
        X = np.round(blobs(rng) * 64) / 64 + offset  # exact at every offset
        _, graph = fitted(X, 20, metric)
        expected = ExactSearch(20, metric).fit(X - offset, Workers())
        assert recall(graph, expected.distances[:, -1]) >= RECALL
        assert_distances(graph, X - offset, metric, rtol=1e-9)

    @pytest.mark.parametrize("k", [10, 60])
    @pytest.mark.parametrize("spread", [1e-3, 1e-5, 1e-7, 1e-9, 1e-11])
    def test_tight_groups_far_from_the_others_are_resolved(self, spread, k, rng):
        # They are too few to have the whole search in float64, and each row's neighbors are sought again.
        X = np.vstack([blobs(rng, 8000, 10), 50.0 + spread * rng.normal(size=(70, 10))])
        search, graph = fitted(X, k, n_threads=2)
        assert search._dtype == np.float32
        D = np.sqrt(((X[8000:, None] - X[None, 8000:]) ** 2).sum(axis=-1))
        np.fill_diagonal(D, np.inf)
        assert_allclose(graph.distances[8000:], np.sort(D, axis=1)[:, :k], rtol=1e-9)
        assert (graph.indices[8000:] >= 8000).all()

    @pytest.mark.parametrize("scale", [2.0**-60, 1.0, 2.0**60])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_scales_change_nothing(self, scale, dtype, rng):
        X = blobs(rng).astype(dtype)
        _, expected = fitted(X, 20)
        _, graph = fitted(X * dtype(scale), 20)
        assert_array_equal(graph.indices, expected.indices)
        assert_allclose(graph.distances, scale * expected.distances, rtol=1e-15)


KINDS = {
    "blobs": (lambda rng: blobs(rng, 5003), "euclidean"),
    "single": (lambda rng: blobs(rng, 5003).astype(np.float32), "euclidean"),
    "digits": (digits_like, "euclidean"),
    "angles": (digits_like, "cosine"),
    "duplicates": (made.duplicates, "euclidean"),
    "tight groups": (made.far_groups, "euclidean"),
    "noise": (lambda rng: rng.normal(size=(2500, 50)), "euclidean"),
    "sparse": (lambda rng: csr_array(digits_like(rng)), "euclidean"),
    "sparse angles": (lambda rng: csr_matrix(digits_like(rng)), "correlation"),
    "sums": (lambda rng: blobs(rng, 3000, 10), "manhattan"),
    "counts": (lambda rng: digits_like(rng) > 8.0, "jaccard"),
    "sparse counts": (lambda rng: csr_array((digits_like(rng) > 8.0).astype(float)), "jaccard"),
}
of_every_kind = pytest.mark.parametrize("kind", KINDS)


@of_every_kind
def test_threads_change_nothing_nor_do_they_change_the_rows(kind, rng):
    make, metric = KINDS[kind]
    X = make(rng)
    if kind == "counts":
        X = X.astype(float)
    before = X.copy()
    (_, one), (_, two), (_, three) = (fitted(X, 40, metric, n_threads=n_threads) for n_threads in (1, 2, 3))
    for other in two, three:
        assert_array_equal(other.indices, one.indices)
        assert_array_equal(other.distances, one.distances)
    assert abs(X - before).max() == 0.0


class TestNewRows:
    @of_every_kind
    def test_are_the_same_in_every_batch_and_after_unpickling(self, kind, rng):
        make, metric = KINDS[kind]
        X = make(rng) * 1.0
        X, new = X[rng.permutation(X.shape[0])][:-300], X[:300]
        search, _ = fitted(X, 12, metric)
        before = pickle.dumps(search)
        assert_same_in_every_batch(search, new, rng)
        found = search.neighbors_of(new, Workers())
        assert pickle.dumps(search) == before  # nothing that is cached goes along
        again = pickle.loads(before).neighbors_of(new, Workers())
        assert_array_equal(again.indices, found.indices)
        assert_array_equal(again.distances, found.distances)

    @pytest.mark.parametrize("rounded", [False, True])
    @pytest.mark.parametrize("n_columns", [7, 16])
    @pytest.mark.parametrize("metric", ["l2", "cosine", "manhattan", "correlation"])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_have_the_nearest_of_the_fit(self, metric, n_columns, rounded, dtype, rng):
        centers = 20.0 * rng.normal(size=(20, n_columns))
        X, new = (
            (centers[rng.integers(0, 20, n)] + rng.normal(size=(n, n_columns))).astype(dtype) for n in (3000, 1100)
        )
        if rounded:
            X, new = np.round(X), np.round(new)
        new[:5] = X[:5]
        search, _ = fitted(X, 12, metric)
        assert in_lists(search)
        assert_same_in_every_batch(search, new, rng, [*made.BATCHES, 1000])
        found = search.neighbors_of(new, Workers())
        D = cdist(new.astype(float), X.astype(float), {"l2": "euclidean", "manhattan": "cityblock"}.get(metric, metric))
        # Where SciPy takes cosines, small distances have the error of a rounding.
        assert np.mean(found.distances <= np.sort(D, axis=1)[:, 11:12] * (1.0 + 1e-6) + 1e-15) >= RECALL
        assert_allclose(found.distances, np.take_along_axis(D, found.indices, 1), rtol=1e-9, atol=1e-14)
        order = np.lexsort((found.indices, found.distances), axis=1)
        assert_array_equal(order, np.tile(np.arange(12), (len(new), 1)))

    def test_a_search_in_lists_does_not_depend_on_how_it_was_fitted(self, rng):
        X, new = blobs(rng, 5003), blobs(rng, 200)
        found = []
        for n_threads in 1, 3:
            search, _ = fitted(X, 12, n_threads=n_threads)
            found.append(search.neighbors_of(new, Workers()))
        assert_array_equal(found[0].indices, found[1].indices)
        assert_array_equal(found[0].distances, found[1].distances)

    @pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
    def test_far_beyond_all_others(self, metric, rng):
        X = blobs(rng)
        search, _ = fitted(X, 12, metric)
        for far in 1e12, 1e100:
            new = far * rng.normal(size=(30, 20))
            found = search.neighbors_of(new, Workers())
            assert np.isfinite(found.distances).all()
            assert (np.diff(np.sort(found.indices, axis=1)) > 0).all()

    def test_a_second_fit_forgets_the_first(self, rng):
        X, other, new = blobs(rng), blobs(rng, 2500, 20), blobs(rng, 50)
        search, _ = fitted(X, 12)
        search.neighbors_of(new, Workers())
        graph = search.fit(other, Workers())
        fresh, expected = fitted(other, 12)
        pairs = (graph, expected), (search.neighbors_of(new, Workers()), fresh.neighbors_of(new, Workers()))
        for found, wanted in pairs:
            assert_array_equal(found.indices, wanted.indices)
            assert_array_equal(found.distances, wanted.distances)

    def test_a_fit_that_fails_leaves_the_one_before(self, rng):
        X, new = blobs(rng), blobs(rng, 50)
        search, _ = fitted(X, 12, "minkowski", {"p": 3})
        expected = search.neighbors_of(new, Workers())
        with pytest.raises(ValueError, match="X is sparse, must be dense for minkowski"):
            search.fit(csr_array(X[:500]), Workers())
        found = search.neighbors_of(new, Workers())
        assert_array_equal(found.indices, expected.indices)
        assert_array_equal(found.distances, expected.distances)

    @pytest.mark.parametrize("n", [5, 8, 12, 24, 27, 28])
    def test_so_few_rows_that_there_is_less_than_one_list(self, n, rng):
        X = rng.normal(size=(n, 8))
        _, graph = fitted(X, 1)
        assert_allclose(graph.distances, brute_force(X, 1))

    @pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")
    @pytest.mark.parametrize("scale", [1e160, 1e300])
    def test_an_error_names_the_metric_once(self, scale, rng):
        with pytest.raises(ValueError, match="metric == 'euclidean', metric_params == None: metric must give"):
            fitted(scale * blobs(rng), 12)


class TestManyLists:
    """Of many lists, only those near to a mean of centers or to the row's own list are ranked for a row."""

    @pytest.fixture
    def many_lists(self, monkeypatch):
        """Make lists of about ten rows, whose centers have two levels of means above them."""
        monkeypatch.setattr(clustered, "MIN_LISTS_FACTOR", 6.0)
        monkeypatch.setattr(clustered, "NEAR_A_MEAN", 16)
        monkeypatch.setattr(clustered, "MAX_PROBED", 1.0)  # lists, even where all pairs would be faster

    @pytest.mark.parametrize("near_a_mean", [5, 12, 23])
    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    def test_a_row_is_in_the_nearest_of_the_lists_near_to_its_mean(self, near_a_mean, storage, rng, monkeypatch):
        """Above 46 centers there are two levels of means, one level, or none, as always for sparse rows."""
        monkeypatch.setattr(clustered, "NEAR_A_MEAN", near_a_mean)
        monkeypatch.setattr(clustered, "PER_MEAN", 3)
        centers, X = (rng.normal(size=(n, 5)).astype(np.float32) for n in (46, 3000))
        rows = storage(X)
        with Workers(2) as workers:
            assigned = clustered.assigned_lists(lambda some: rows[some], 3000, centers, workers)
        levels = [centers]
        while len(levels[0]) > 3 * near_a_mean and storage is np.asarray:
            parts = np.split(levels[0], range(3, len(levels[0]), 3))
            levels.insert(0, np.stack([part.mean(axis=0) for part in parts]))
        assert len(levels) == ({5: 3, 12: 2, 23: 1}[near_a_mean] if storage is np.asarray else 1)
        expected = np.argmin(cdist(X, levels[0]), axis=1)
        for above, level in pairwise(levels):
            near = np.argsort(cdist(above, level), axis=1)[:, :near_a_mean]
            others = np.ones((len(above), len(level)), dtype=bool)
            np.put_along_axis(others, near, False, axis=1)
            expected = np.argmin(np.where(others[expected], np.inf, cdist(X, level)), axis=1)
        assert_array_equal(assigned, expected)

    @pytest.mark.parametrize("n_near", [12, 46])
    @pytest.mark.parametrize("wanted", [1, 3, 4, 12, 13, 46])
    def test_a_row_probes_the_nearest_of_the_lists_near_to_its_list(self, n_near, wanted, rng):
        centers, X = (rng.normal(size=(n, 5)).astype(np.float32) for n in (46, 300))
        of_rows = np.sort(rng.integers(0, 40, 300)).astype(np.int32)
        index = clustered.ListIndex(centers, np.ones(46, dtype=np.intp))
        index.n_probes, index.n_near = 3, n_near
        rows, probed = index.probes_of_members(X, of_rows, wanted)
        n_probes = next(number for number in (3, 6, 12, 24, 46) if number >= wanted)
        D = cdist(X, centers)
        if n_probes == 3:
            between = cdist(centers, centers)[of_rows]
            D[between > np.sort(between, axis=1)[:, n_near - 1 : n_near]] = np.inf
        expected = np.zeros(D.shape, dtype=bool)
        np.put_along_axis(expected, np.argsort(D, axis=1)[:, :n_probes], True, axis=1)
        found = np.zeros(D.shape, dtype=int)
        np.add.at(found, (rows, probed), 1)
        assert_array_equal(found, expected)

    @pytest.mark.usefixtures("many_lists")
    @pytest.mark.parametrize("make", MAKERS)
    @pytest.mark.parametrize("k", [10, 91])
    def test_the_recall_is_the_promised_one(self, make, k, rng):
        X = make(rng)
        X = Conditioning(X, "euclidean")(X)
        search, graph = fitted(X, k, n_threads=2)
        assert in_lists(search)
        index = search._lists.index
        assert index.n_probes <= index.n_near
        if make is made.blobs:  # the lists of other blobs need not be ranked
            assert index.n_near < len(index.centers)
        assert_is_a_graph(graph, len(X), k)
        assert recall(graph, brute_force_farthest(X, k)) >= RECALL

    @pytest.mark.usefixtures("many_lists")
    def test_so_many_lists_are_ranked_that_the_neighbors_are_among_them(self, rng):
        """Of lists on a line, a row needs those around it, also where its own list is to the side of them."""
        X = np.repeat(np.arange(300.0), 10)[:, None] + rng.uniform(-0.01, 0.01, size=(3000, 1))
        search, graph = fitted(np.hstack([X, np.zeros((3000, 7))]), 35)
        assert in_lists(search)
        assert 5 <= search._lists.index.n_near < len(search._lists.index.centers)
        assert recall(graph, brute_force_farthest(X, 35)) >= RECALL

    @pytest.mark.usefixtures("many_lists")
    @of_every_kind
    def test_threads_change_nothing_and_new_rows_are_the_same_in_every_batch(self, kind, rng):
        make, metric = KINDS[kind]
        X = make(rng) * 1.0
        X, new = X[rng.permutation(X.shape[0])][:-300], X[:300]
        (search, graph), (_, other) = (fitted(X, 12, metric, n_threads=n_threads) for n_threads in (1, 3))
        assert_array_equal(other.indices, graph.indices)
        assert_array_equal(other.distances, graph.distances)
        assert_same_in_every_batch(search, new, rng)


@pytest.mark.usefixtures("reference")
class TestReference:
    def test_finds_the_same(self, rng, reference):
        X, new = digits_like(rng)[:1500], digits_like(rng)[:50]
        compiled = fitted(X, 15)
        before = compiled[1], compiled[0].neighbors_of(new, Workers())
        reference()
        plain = fitted(X, 15)
        after = plain[1], plain[0].neighbors_of(new, Workers())
        for found, expected in zip(after, before, strict=True):
            assert_array_equal(found.indices, expected.indices)
            assert_allclose(found.distances, expected.distances, rtol=1e-14)


@pytest.mark.parametrize("search", [ClusteredSearch, ExactSearch])
@pytest.mark.parametrize(("metric", "params", "cost"), [("minkowski", {"p": 3}, 35.0), ("canberra", None, 1.5)])
def test_a_block_takes_less_than_a_second(search, metric, params, cost, rng, monkeypatch):
    """Ctrl-C waits for the blocks that threads have begun; ``cost`` is that of a term, in nanoseconds."""
    X = 1.0 + np.abs(blobs(rng, 2500, 50))
    search = search(30, metric, params)
    times, run_blocks = [], Workers.run_blocks

    def pretended(space, a, b):
        times[-1] += 1e-9 * cost * len(a) * len(b) * a.shape[1]
        return np.square(a[:, :1] - b[:, 0])

    def counted(workers, function, n_rows, size):
        def block(start, stop):
            times.append(0.0)
            return function(start, stop)

        return run_blocks(workers, block, n_rows, size)

    monkeypatch.setattr(DirectSpace, "values", pretended)
    monkeypatch.setattr(Workers, "run_blocks", counted)
    search.fit(X, Workers())
    search.neighbors_of(X, Workers())
    assert max(times) < 1.0


class TestFasterSearch:
    @pytest.mark.parametrize(
        ("shape", "metric", "expected"),
        [
            ((5000, 7), "euclidean", "clustered"),
            ((5000, 7), "jaccard", "clustered"),
            ((4999, 7), "euclidean", "exact"),
            ((5000, 6), "euclidean", "exact"),
            ((5000, 7), max, "exact"),
        ],
    )
    def test_is_in_lists_for_many_dense_rows_of_several_columns(self, shape, metric, expected):
        assert faster_search(np.empty(shape), metric) == expected
        assert faster_search(csr_array(shape), metric) == "exact"


def brute_force_farthest(X, k):
    """Return the distance of each row's k-th neighbor, by differences."""
    X, farthest = X.astype(np.float64), np.empty(len(X))
    for first in range(0, len(X), 200):
        D = cdist(X[first : first + 200], X)
        D[np.arange(len(D)), first + np.arange(len(D))] = np.inf
        farthest[first : first + 200] = np.partition(D, k - 1, axis=1)[:, k - 1]
    return farthest


@pytest.mark.parametrize("metric", ["nan_euclidean", "haversine", "braycurtis"])
def test_other_metrics_by_name(metric, rng):
    X = rows_for(metric, 1200, 9, rng)
    _, graph = fitted(X, 10, metric)
    assert_is_a_graph(graph, 1200, 10)
    expected = ExactSearch(10, metric).fit(X, Workers())
    assert recall(graph, expected.distances[:, -1]) >= RECALL
