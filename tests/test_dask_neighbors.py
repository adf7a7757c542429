"""Neighbors and affinities of a fit on a cluster of Dask."""

import math
import time
from hashlib import blake2b

import numpy as np
import pandas as pd
import pytest
import rows as made
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array, vstack
from scipy.spatial.distance import cdist

from sktsne._sparse import negative_entropy, symmetrize
from sktsne.affinities import FixedBandwidth, Perplexity, Uniform, conditional_affinities, joint_affinities
from sktsne.conditioning import Conditioning
from sktsne.neighbors import ExactSearch, NeighborGraph, canonical, clustered
from sktsne.parallel import Workers

dask = pytest.importorskip("dask", reason="Dask is not installed: pip install 'sktsne[dask]'")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
distributed = pytest.importorskip("distributed")

from sktsne.dask import _neighbors, _rows  # noqa: E402
from sktsne.dask._affinities import affinities_of  # noqa: E402
from sktsne.dask._cluster import Cluster  # noqa: E402
from sktsne.dask._neighbors import find_neighbors, neighbors_of_block  # noqa: E402
from sktsne.dask._rows import as_rows_of, check_collection, count_shards  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # sockets that Dask closes late

RECALL = 0.99
MAKERS = [made.blobs, made.digits_like, made.heavy_tails, made.few_duplicates, made.grid, made.lonely_rows]


def connected(n_workers):
    """Return a cluster of threads, and its client, as context managers."""
    return distributed.LocalCluster(n_workers=n_workers, threads_per_worker=2, processes=False, dashboard_address=":0")


@pytest.fixture(scope="module")
def client():
    with (
        dask.config.set({"distributed.worker.profile.enabled": False}),
        connected(2) as workers,
        distributed.Client(workers) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Divide 1200 rows or more into three shards, and search rows with 20 columns among 2200 others at a time."""
    monkeypatch.setattr(_rows, "SHARDS", 3)
    monkeypatch.setattr(_rows, "LEAST_ROWS", 400)
    monkeypatch.setattr(_neighbors, "MOST_NUMBERS", 2200 * 20)


class Found:
    """The neighbors of rows, gathered from the cluster, in the order of the user."""

    def __init__(self, client, X, k, metric="euclidean", rescale=True):
        self.cluster = Cluster(client)
        self.rows = as_rows_of(self.cluster, X, metric, rescale)
        self.neighbors = find_neighbors(self.cluster, self.rows, metric, k)
        self.shards = self.cluster.results(self.neighbors.shards)
        self.graphs = self.cluster.results(self.neighbors.graphs)
        self.index = self.neighbors.index.result()
        self.order = np.concatenate([shard.rows for shard in self.shards])

    def graph(self):
        """Return the neighbors as the searches on one machine do."""
        ids = np.concatenate([graph.ids for graph in self.graphs])
        distances = np.concatenate([graph.distances for graph in self.graphs]).astype(np.float64)
        places = np.argsort(self.order)
        return NeighborGraph(self.order[ids[places]].astype(np.int32), distances[places] * self.index.distance_unit)

    def affinities(self, rule, joint):
        """Return the affinities as a matrix in the new order, and the negative entropy."""
        parts = self.cluster.results(affinities_of(self.cluster, self.neighbors, rule, joint))
        n = self.rows.n
        for part in parts:
            assert part.data.dtype == np.float32
            assert part.indices.dtype == part.indptr.dtype == np.int32
        matrix = vstack(
            [csr_array((part.data, part.indices, part.indptr), (len(part.indptr) - 1, n)) for part in parts]
        )
        return csr_array(matrix), math.fsum(part.negative_entropy for part in parts)

    def digest(self):
        """Return a hash of all that was found."""
        found = blake2b(digest_size=16)
        for part in [*self.shards, *self.graphs, *self.cluster.results(self._affinities())]:
            for array in part:
                found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def _affinities(self):
        return affinities_of(self.cluster, self.neighbors, Perplexity([6.0]), joint=True)


def assert_is_a_graph(graph, n, k):
    assert graph.indices.shape == graph.distances.shape == (n, k)
    assert graph.indices.min() >= 0
    assert graph.indices.max() < n
    assert (graph.indices != np.arange(n)[:, None]).all()
    assert (np.diff(np.sort(graph.indices, axis=1)) > 0).all()
    assert (np.diff(graph.distances, axis=1) >= 0.0).all()


def recall(graph, expected):
    return np.mean(graph.distances <= expected.distances[:, -1:] * (1.0 + 1e-6) + 1e-15)


class TestRows:
    @pytest.mark.parametrize(
        ("n", "shards"), [(2, 1), (8191, 1), (8192, 2), (32_767, 7), (32_768, 8), (2**20, 8), (2**20 + 1, 9)]
    )
    def test_number_of_shards(self, n, shards, monkeypatch):
        monkeypatch.undo()
        assert count_shards(n) == shards

    @pytest.mark.parametrize("factor", [1.0, 1e-40, 1e60])
    @pytest.mark.parametrize("metric", ["euclidean", "cosine"])
    def test_ranges_are_the_conditioned_rows(self, factor, metric, client, rng):
        X = factor * made.blobs(rng, 1000, 5)
        cluster = Cluster(client)
        rows = as_rows_of(cluster, da.from_array(X, chunks=(130, 2)), metric, True)
        expected = Conditioning(X, metric)(X)
        assert_array_equal(np.concatenate(cluster.results(rows.ranges)), expected)
        assert_array_equal(rows.low, expected.min(axis=0))
        assert_array_equal(rows.high, expected.max(axis=0))
        assert_array_equal(rows.conditioning(X[:9]), expected[:9])
        assert rows[1:6] == ([500, 500], 1000, 5, np.float64, (130,) * 7 + (90,))

    @pytest.mark.parametrize(
        ("dtype", "expected"), [(np.float32, np.float32), (np.float16, np.float64), (int, np.float64)]
    )
    def test_dtypes(self, dtype, expected, client):
        X = np.arange(12).reshape(4, 3).astype(dtype)
        for collection in da.from_array(X, chunks=2), dd.from_pandas(pd.DataFrame(X), npartitions=2):
            cluster = Cluster(client)
            rows = as_rows_of(cluster, collection, "euclidean", True)
            [found] = cluster.results(rows.ranges)
            assert found.dtype == rows.dtype == expected
            assert found.flags.c_contiguous
            assert_array_equal(found, X)

    def test_a_column_of_float64_decides(self, client):
        frame = pd.DataFrame({"a": np.ones(4, np.float32), "b": np.arange(4.0)})
        assert as_rows_of(Cluster(client), dd.from_pandas(frame, npartitions=2), "euclidean", True).dtype == np.float64


class TestErrors:
    def rows_of(self, client, X, metric="euclidean", rescale=True):
        check_collection(X)
        return as_rows_of(Cluster(client), X, metric, rescale)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_numbers_that_are_not_finite(self, bad, client):
        X = np.ones((20, 3))
        X[13, 1] = bad
        with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
            self.rows_of(client, da.from_array(X, chunks=5))

    def test_sparse_blocks(self, client):
        X = da.from_array(np.eye(20), chunks=(5, 20)).map_blocks(csr_array)
        with pytest.raises(TypeError, match=r"X has sparse blocks \(csr_array\), must have dense ones: X.map_blocks"):
            self.rows_of(client, X)

    @pytest.mark.parametrize("shape", [(8,), (4, 3, 2)])
    def test_dimensions(self, shape, client):
        with pytest.raises(ValueError, match=f"X has {len(shape)} dimensions, must have 2"):
            self.rows_of(client, da.ones(shape))

    @pytest.mark.parametrize("shape", [(1, 3), (0, 3), (4, 0)])
    def test_shapes(self, shape, client):
        with pytest.raises(ValueError, match=r"X has shape \(., .\), must have at least two rows and one column"):
            self.rows_of(client, da.ones(shape))

    def test_unknown_columns(self, client):
        X = da.from_delayed(dask.delayed(np.eye)(20), (20, np.nan), dtype=float)
        with pytest.raises(ValueError, match="X has an unknown number of columns"):
            self.rows_of(client, X)

    @pytest.mark.parametrize("length", [15, 25])
    def test_blocks_of_other_lengths_than_are_stated(self, length, client):
        X = da.from_delayed(dask.delayed(np.eye)(20), (length, 20), dtype=float)
        with pytest.raises(ValueError, match=rf"X has blocks of \(20,\) rows, and X.chunks states \({length},\)"):
            self.rows_of(client, X)

    @pytest.mark.parametrize("X", [np.ones((4, 3)), pd.DataFrame({"a": [1.0, 2.0]})])
    def test_what_is_not_a_collection(self, X, client):
        with pytest.raises(TypeError, match="must be a Dask array or a Dask data frame"):
            self.rows_of(client, X)

    def test_texts(self, client):
        frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["one", "two"]})
        with pytest.raises(ValueError, match="could not convert string to float"):
            self.rows_of(client, dd.from_pandas(frame, npartitions=1))

    def test_rows_too_large_for_a_bandwidth(self, client):
        with pytest.raises(ValueError, match=r"X has the absolute value 1e\+200, must have at most 1e\+150"):
            self.rows_of(client, da.full((20, 2), 1e200), rescale=False)

    def test_a_row_without_correlations(self, client, rng):
        X = rng.normal(size=(2500, 4))
        X[1234] = 7.0
        cluster = Cluster(client)
        rows = as_rows_of(cluster, da.from_array(X, chunks=500), "correlation", True)
        with pytest.raises(ValueError, match=r"metric == 'correlation'.* gives nan for rows 1234 and 0"):
            find_neighbors(cluster, rows, "correlation", 5)


class TestNeighbors:
    @pytest.mark.parametrize("make", MAKERS)
    def test_recall(self, make, client, rng):
        X = make(rng)
        found = Found(client, da.from_array(X, chunks=700), 30)
        graph = found.graph()
        assert len(found.shards) == 3
        assert_array_equal(np.sort(found.order), np.arange(len(X)))
        assert_is_a_graph(graph, len(X), 30)
        assert recall(graph, ExactSearch(30).fit(X, Workers())) >= RECALL
        differences = np.linalg.norm(X[:, None] - X[graph.indices], axis=-1)
        assert_allclose(graph.distances, differences, rtol=1e-6)

    @pytest.mark.parametrize("metric", ["sqeuclidean", "l2", "cosine", "correlation"])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_metrics(self, metric, dtype, client, rng):
        X = (rng.lognormal(size=(3000, 1)) * (1.0 + made.blobs(rng))).astype(dtype)
        graph = Found(client, da.from_array(X, chunks=1000), 30, metric).graph()
        assert_is_a_graph(graph, 3000, 30)
        assert recall(graph, ExactSearch(30, metric).fit(X, Workers())) >= RECALL
        D = cdist(X[::10].astype(np.float64), X.astype(np.float64), canonical(metric))
        assert_allclose(graph.distances[::10], np.take_along_axis(D, graph.indices[::10], 1), rtol=1e-6, atol=1e-14)

    def test_rows_without_a_direction(self, client, rng):
        X = rng.lognormal(size=(3000, 1)) * (1.0 + made.blobs(rng))
        X[17] = X[1500] = 0.0
        graph = Found(client, da.from_array(X, chunks=1000), 30, "cosine").graph()
        assert_is_a_graph(graph, 3000, 30)
        assert recall(graph, ExactSearch(30, "cosine").fit(X, Workers())) >= RECALL
        assert (graph.distances[[17, 1500]] == 1.0).all()

    @pytest.mark.parametrize("factor", [1.0, 1e-30, 1e29])
    @pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean"])
    def test_sizes_of_numbers(self, factor, metric, client, rng):
        X = factor * made.blobs(rng)
        graph = Found(client, da.from_array(X, chunks=1000), 10, metric).graph()
        assert recall(graph, ExactSearch(10, metric).fit(X, Workers())) >= RECALL

    def test_a_bandwidth_takes_large_distances(self, client, rng):
        X = 1e140 * made.blobs(rng)
        graph = Found(client, da.from_array(X, chunks=1000), 10, rescale=False).graph()
        assert recall(graph, ExactSearch(10).fit(X, Workers())) >= RECALL

    @pytest.mark.parametrize("offset", [1e6, 1e9])
    def test_rows_with_a_large_offset(self, offset, client, rng):
        X = offset + made.blobs(rng)
        found = Found(client, da.from_array(X, chunks=1000), 30)
        assert recall(found.graph(), ExactSearch(30).fit(X, Workers())) >= RECALL

    @pytest.mark.parametrize("make", [made.outlier, made.tight_groups])
    def test_values_are_in_float64_where_float32_is_too_coarse(self, make, client, rng):
        X = make(rng)
        found = Found(client, da.from_array(X, chunks=1000), 20)
        assert found.index.dtype == np.float64
        assert recall(found.graph(), ExactSearch(20).fit(X, Workers())) >= RECALL

    def test_noise_is_searched_exactly(self, client, rng):
        X = rng.normal(size=(2500, 60))
        found = Found(client, da.from_array(X, chunks=700), 20)
        assert found.index.exhaustive
        assert_allclose(found.graph().distances, ExactSearch(20).fit(X, Workers()).distances, rtol=1e-6)

    def test_many_neighbors_are_searched_exactly(self, client, rng):
        X = made.blobs(rng, 2400, 6)
        found = Found(client, da.from_array(X, chunks=700), 700)
        assert found.index.exhaustive
        assert len(found.shards) == 3
        assert_allclose(found.graph().distances, ExactSearch(700).fit(X, Workers()).distances, rtol=1e-6)

    @pytest.mark.parametrize(
        ("most", "expected"),
        [
            (1, [[[0], [1], [3]], [[1], [3], [0]], [[3], [0], [1]], [[3], [0], [1]]]),
            (7, [[[0, 1], [3]], [[1, 3], [0]], [[0, 3], [1]], [[0, 3], [1]]]),
            (9, [[[0, 1, 3]], [[0, 1, 3]], [[0, 1, 3]], [[0, 1, 3]]]),
        ],
    )
    def test_groups_of_shards(self, most, expected):
        """Of which none has more members than are wanted, unless a shard alone has them."""
        sizes, list_bounds = np.array([1, 2, 0, 3, 0, 0, 3]), np.array([0, 2, 5, 6, 7])
        assert [_neighbors._groups(s, sizes, list_bounds, most) for s in range(4)] == expected

    @pytest.mark.parametrize("most", [1, 2**24])
    def test_the_number_of_members_at_once_changes_rounding_only(self, most, client, rng, monkeypatch):
        X = made.blobs(rng)
        expected = Found(client, da.from_array(X, chunks=700), 30).graph()
        monkeypatch.setattr(_neighbors, "MOST_NUMBERS", most)
        graph = Found(client, da.from_array(X, chunks=700), 30).graph()
        assert np.mean(graph.indices == expected.indices) > 0.999
        assert_allclose(graph.distances, expected.distances, rtol=1e-6)

    @pytest.mark.parametrize("n", [2, 3, 5, 13])
    def test_few_rows(self, n, client, rng):
        X = rng.normal(size=(n, 4))
        for k in {1, n - 1}:
            found = Found(client, da.from_array(X, chunks=2), k)
            assert_array_equal(found.graph().indices, ExactSearch(k).fit(X, Workers()).indices)

    def test_few_columns(self, client, rng):
        X = rng.normal(size=(3000, 1))
        graph = Found(client, da.from_array(X, chunks=1000), 10).graph()
        assert recall(graph, ExactSearch(10).fit(X, Workers())) >= RECALL

    @pytest.mark.parametrize("metric", ["euclidean", "cosine"])
    def test_all_rows_equal(self, metric, client, monkeypatch):
        started, run = [], Cluster.run
        monkeypatch.setattr(
            Cluster,
            "run",
            lambda self, name, *arguments, **options: started.append(name) or run(self, name, *arguments, **options),
        )
        X = np.full((2500, 3), 7.0)
        found = Found(client, da.from_array(X, chunks=700), 10, metric)
        graph = found.graph()
        assert_is_a_graph(graph, 2500, 10)
        assert_array_equal(graph.distances, 0.0)
        assert (np.bincount(graph.indices.ravel()) == 10).all()
        assert 0 in found.neighbors.sizes
        assert started.count("search") == np.count_nonzero(found.neighbors.sizes)
        P, _ = found.affinities(Perplexity([3.0]), joint=True)
        assert_allclose(P.sum(), 1.0, rtol=1e-5)

    def test_duplicates_have_different_neighbors(self, client, rng):
        X = made.duplicates(rng)  # each row a hundred times
        graph = Found(client, da.from_array(X, chunks=700), 30).graph()
        assert_is_a_graph(graph, 3000, 30)
        assert_array_equal(graph.distances, 0.0)
        assert_array_equal(X[graph.indices], np.repeat(X[:, None], 30, axis=1))
        assert (np.bincount(graph.indices.ravel(), minlength=3000) > 0).all()

    def test_equal_rows_share_a_list(self, client, rng):
        """Also where ranges of different lengths round the scores of equal centers differently."""
        X = rng.permutation(np.repeat(rng.normal(size=(60, 50)), 35, axis=0))[:2067]
        found = Found(client, da.from_array(X, chunks=700), 10)
        of_rows = np.concatenate([shard.of_rows for shard in found.shards])
        _, groups = np.unique(X[found.order], axis=0, return_inverse=True)
        assert len(np.unique(np.stack([groups.ravel(), of_rows]), axis=1).T) == 60


class TestSameForEverything:
    @pytest.fixture
    def rows(self, rng):
        return made.blobs(rng).astype(np.float32)

    @pytest.fixture
    def digest(self, rows, client, shared):
        return shared("digest", lambda: Found(client, da.from_array(rows, chunks=(1000, 7)), 20).digest())

    @pytest.mark.parametrize("kind", ["chunks", "lazy", "unknown lengths", "empty blocks", "frame"])
    def test_blocks(self, kind, rows, digest, client):
        X = da.from_array(rows, chunks=((1, 2000, 999), 20))
        if kind == "lazy":
            X = (X * 2.0).rechunk((170, 20)) / 2.0
        elif kind == "unknown lengths":
            X = X[X[:, 0] > -np.inf]
            assert np.isnan(X.shape[0])
        elif kind == "empty blocks":
            X = da.concatenate([X[X[:, 0] > np.inf], X])
        elif kind == "frame":
            X = dd.from_pandas(pd.DataFrame(rows, columns=[f"c{i}" for i in range(20)]), npartitions=4)
        assert Found(client, X, 20).digest() == digest

    @pytest.mark.parametrize("n_workers", [1, 3])
    def test_workers(self, n_workers, rows, digest):
        with connected(n_workers) as workers, distributed.Client(workers, set_as_default=False) as other:
            assert Found(other, da.from_array(rows, chunks=(500, 20)), 20).digest() == digest

    def names_of_results(self, cluster):
        """Return the names of the tasks whose results are on the workers."""
        keys = [key.split("-") for keys in cluster.client.has_what().values() for key in keys]
        return {name for name, token, _ in keys if token == cluster._token}

    def test_nothing_is_kept_that_is_no_longer_needed(self, rows, client):
        cluster = Cluster(client)
        neighbors = find_neighbors(
            cluster, as_rows_of(cluster, da.from_array(rows, chunks=500), "euclidean", True), "euclidean", 20
        )
        affinities = affinities_of(cluster, neighbors, Uniform(20), joint=True)
        distributed.wait(affinities)
        kept, end = {"shard", "index", "affinities"}, time.monotonic() + 20.0
        while (left := self.names_of_results(cluster)) - kept:
            assert time.monotonic() < end, left
            time.sleep(0.05)
        cluster.end()


class TestAffinities:
    @pytest.mark.parametrize("joint", [True, False])
    @pytest.mark.parametrize("rule", [Perplexity([4.0, 8.0]), Uniform(24), FixedBandwidth(2.0, 24)])
    @pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cosine"])
    def test_are_those_of_one_machine(self, joint, rule, metric, client, rng):
        X = made.blobs(rng, 2500)
        found = Found(client, da.from_array(X, chunks=700), 24, metric)
        conditional = conditional_affinities(found.graph(), rule, Workers(), np.float32)
        expected = joint_affinities(conditional) if joint else symmetrize(conditional)
        affinities, entropy = found.affinities(rule, joint)
        assert affinities.has_canonical_format
        assert (affinities != affinities.T).nnz == 0
        expected = expected[found.order][:, found.order]
        expected.sort_indices()
        assert_array_equal(affinities.indices, expected.indices)
        assert_array_equal(affinities.indptr, expected.indptr)
        assert_allclose(affinities.data, expected.data, rtol=1e-6, atol=1e-40)
        assert_allclose(entropy, negative_entropy(expected if joint else conditional), rtol=1e-6)

    def test_parts_of_a_shard_are_added_in_blocks(self, client, rng, monkeypatch):
        X = made.blobs(rng, 2500)
        first = Found(client, da.from_array(X, chunks=700), 10).affinities(Uniform(10), joint=True)[0]
        monkeypatch.setattr("sktsne.dask._affinities.ROWS_AT_ONCE", 100)
        again = Found(client, da.from_array(X, chunks=700), 10).affinities(Uniform(10), joint=True)[0]
        assert (first != again).nnz == 0


class TestNewRows:
    @pytest.mark.parametrize("metric", ["euclidean", "cosine"])
    @pytest.mark.parametrize("kind", ["lists", "all", "float64", "duplicates"])
    def test_have_the_nearest_rows_in_every_batch(self, kind, metric, client, rng, monkeypatch):
        if kind == "all":
            monkeypatch.setattr("sktsne.dask._index.MAX_PROBED", 0.0)
        X = made.duplicates(rng) if kind == "duplicates" else made.blobs(rng)
        X = X if kind == "float64" else X.astype(np.float32)
        new = np.concatenate([X[::30] + 0.1 * rng.normal(size=(100, X.shape[1])), X[:20], [X[0] * 40.0]])
        new = new.astype(X.dtype)
        found = Found(client, da.from_array(X, chunks=1000), 20, metric)
        neighbors = found.neighbors
        ids, distances = neighbors_of_block(neighbors, dask.delayed(new)).compute()
        search = ExactSearch(20, metric)
        search.fit(X, Workers())
        expected = search.neighbors_of(new, Workers())
        assert ids.dtype == np.int32
        assert distances.dtype == np.float64
        assert ids.min() >= 0
        assert (np.diff(np.sort(ids, axis=1)) > 0).all()
        assert (np.diff(distances, axis=1) >= 0.0).all()
        assert np.mean(distances <= expected.distances[:, -1:] * (1.0 + 1e-9) + 1e-15) >= RECALL
        if kind == "all":
            assert_array_equal(distances, expected.distances)
        for some in [[7], np.arange(50, 119), rng.permutation(len(new))]:
            again = neighbors_of_block(neighbors, client.scatter(new[some])).compute()
            assert_array_equal(again[0], ids[some])
            assert_array_equal(again[1], distances[some])

    def test_may_be_fewer_than_their_candidates(self, client, rng):
        X = rng.normal(size=(5, 3))
        found = Found(client, da.from_array(X, chunks=2), 4)
        ids, distances = neighbors_of_block(found.neighbors, dask.delayed(X + 1e-3)).compute()
        assert_array_equal(found.order[ids[:, 0]], np.arange(5))
        assert np.isfinite(distances).all()


def test_blocks_of_rows_within_a_shard(client, rng, monkeypatch):
    """Shards with more rows than are searched at a time."""
    for name in "ROWS_AT_ONCE", "SCORED_AT_ONCE":
        monkeypatch.setattr(clustered, name, 50)
    monkeypatch.setattr("sktsne.dask._neighbors.ROWS_AT_ONCE", 50)
    X = made.blobs(rng, 2500)
    graph = Found(client, da.from_array(X, chunks=700), 20).graph()
    assert_is_a_graph(graph, 2500, 20)
    assert recall(graph, ExactSearch(20).fit(X, Workers())) >= RECALL
