"""New rows in a fitted map: at a minimum of their cost, each on its own, and nothing about the estimator changes."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from registries import APPROXIMATE, KERNELS
from scipy.sparse import csr_array, csr_matrix, issparse
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsClassifier, KNeighborsTransformer, NearestNeighbors
from sklearn.pipeline import make_pipeline

from sktsne import SNE, TSNE
from sktsne.affinities import FixedBandwidth, Uniform, given_affinities_of_others
from sktsne.kernels import BarnesHutKernel, ExactKernel, FFTKernel
from sktsne.neighbors import ClusteredSearch
from sktsne.parallel import Workers
from sktsne.placement import STARTS
from sktsne.similarities import similarity_of

QUICK = {"perplexity": 5.0, "max_iter": 30, "early_exaggeration_iter": 10, "init": "random", "random_state": 0}


class OwnKernel:
    """A kernel of the user's, in float64 and without any of our code."""

    dtype = np.float64

    def __init__(self, similarity, workers):
        self.similarity = similarity

    def set_points(self, Y):
        self.Y = Y

    def potential(self, charges=None, at=None):
        places = self.Y if at is None else at
        r2 = pairwise_distances(places, self.Y, "sqeuclidean")
        w = self.similarity.weight(r2)
        if at is None:
            np.fill_diagonal(w, 0.0)
        w = w if charges is None else w * charges
        pull = w * self.similarity.decay(r2)
        return w.sum(axis=1), 2.0 * ((pull[:, :, None] * self.Y).sum(axis=1) - pull.sum(axis=1)[:, None] * places)


@pytest.fixture
def X(rng):  # noqa: N802
    return rng.normal(size=(80, 4)) + np.repeat([0.0, 6.0], 40)[:, None]


@pytest.fixture
def new(rng):
    return rng.normal(size=(30, 4)) + np.repeat([0.0, 6.0], 15)[:, None]


def blobs(n, n_columns, rng):
    return 5.0 * np.eye(4, n_columns)[rng.integers(0, 4, n)] + rng.normal(size=(n, n_columns))


class TestCost:
    """C_x(y) = Σ_j p_{j|x} log(p_{j|x} / w_j) + log φ_1(y), written out."""

    @staticmethod
    def probabilities(model, new):
        graph = model._search.neighbors_of(new, Workers())
        return model._affinity_rule.probabilities(graph.distances, Workers()), graph.indices

    @staticmethod
    def cost(model, P, neighbors, Y):
        r2 = ((Y[:, None] - model.embedding_) ** 2).sum(axis=-1)
        log_w = -r2 if np.isinf(model.dof) else -model.dof * np.log1p(r2 / model.dof)
        entropy = -(P * np.log(np.where(P > 0.0, P, 1.0))).sum(axis=1)
        attraction = (P * np.take_along_axis(log_w, neighbors, 1)).sum(axis=1)
        return -entropy - model.exaggeration * attraction + np.log(np.exp(log_w).sum(axis=1))

    @pytest.mark.parametrize(
        ("estimator", "params"),
        [
            (SNE, {}),
            (TSNE, {}),
            (TSNE, {"dof": 0.5}),
            (TSNE, {"dof": 2.0}),
            (TSNE, {"exaggeration": 3.0}),
            (SNE, {"exaggeration": 3.0}),
        ],
        ids=lambda x: x.__name__ if isinstance(x, type) else "".join(map(str, x.values())),
    )
    @pytest.mark.parametrize(
        ("method", "n_components"),
        [
            *(("exact", d) for d in (1, 2, 3, 4)),
            (OwnKernel, 2),
            *(("fft", d) for d in (1, 2)),
            *(("barnes_hut", d) for d in (1, 2, 3)),
        ],
        ids=str,
    )
    def test_is_least_where_a_row_is_placed(self, estimator, params, method, n_components, rng):
        X, new = blobs(120, 6, rng), blobs(40, 6, rng)
        model = estimator(n_components, method=method, perplexity=10.0, max_iter=120, random_state=0, **params).fit(X)
        Y = model.transform(new)
        P, neighbors = self.probabilities(model, new)
        assert_allclose(np.exp(-(P * np.log(np.maximum(P, 1e-300))).sum(axis=1)), 10.0, rtol=1e-5)
        cost = self.cost(model, P, neighbors, Y)
        exact = method in ("exact", OwnKernel)

        steps = 1e-4 * np.eye(n_components)
        gradient = np.transpose(
            [self.cost(model, P, neighbors, Y + h) - self.cost(model, P, neighbors, Y - h) for h in steps]
        )
        size = np.linalg.norm(gradient / 2e-4, axis=1) / model.exaggeration
        # Over eight seeds the medians are up to 3e-7, of approximate kernels 5e-3.
        assert np.median(size) < (1e-5 if exact else 2e-2)
        # Where a cost is a narrow valley between two clusters, the steps may not settle: of 40 rows up to three do not.
        settled = size < (1e-3 if exact else 5e-2)
        assert settled.mean() >= 0.8

        at_neighbors = [self.cost(model, P, neighbors, model.embedding_[j]) for j in neighbors[:, :STARTS].T]
        assert (cost <= np.min(at_neighbors, axis=0) + (1e-9 if exact else 1e-3)).all()
        for direction in rng.normal(size=(5, *Y.shape)):
            direction *= 0.1 / np.linalg.norm(direction, axis=1, keepdims=True)
            higher = self.cost(model, P, neighbors, Y + direction) - cost
            assert (higher >= -(1e-6 if exact else 4e-3))[settled].all()  # at least -7e-4 over eight seeds

    def test_kernels_agree(self, rng):
        X, new = blobs(600, 6, rng), blobs(60, 6, rng)
        start = TSNE(max_iter=150, random_state=0).fit(X).embedding_
        places = {}
        for method in KERNELS:
            model = TSNE(method=method, affinities=Uniform(30), init=start, max_iter=1, learning_rate=1e-9)
            places[method] = model.fit(X).transform(new)
        for method in APPROXIMATE:
            distance = np.linalg.norm(places[method] - places["exact"], axis=1)
            assert np.median(distance) < 0.01 * places["exact"].std()  # 3e-4 over eight seeds


SEVERAL = {
    "TSNE": (TSNE, {}),
    "SNE": (SNE, {}),
    "exact": (TSNE, {"method": "exact"}),
    "four components": (SNE, {"n_components": 4}),
    "fft": (TSNE, {"method": "fft"}),
    "fft, one component": (SNE, {"n_components": 1, "method": "fft"}),
    "barnes_hut": (SNE, {"n_components": 3, "method": "barnes_hut"}),
    "own kernel": (TSNE, {"method": OwnKernel}),
    "several perplexities": (TSNE, {"perplexity": [3.0, 10.0]}),
    "uniform": (TSNE, {"affinities": Uniform(7)}),
    "bandwidth": (SNE, {"affinities": FixedBandwidth(0.5, 20)}),
    "cosine": (TSNE, {"metric": "cosine"}),
    "correlation": (TSNE, {"metric": "correlation"}),
    "manhattan": (SNE, {"metric": "manhattan"}),
    "minkowski": (TSNE, {"metric": "minkowski", "metric_params": {"p": 3}}),
    "function": (TSNE, {"metric": lambda a, b: float(np.abs(a - b).max())}),
}


def assert_independent(model, rows, rng, sizes=(1, 1, 2, 19, 21, 257)):
    """Check positions bit for bit, for batches of several sizes and orders, and for numbers of threads."""
    expected = model.set_params(n_jobs=1).transform(rows)
    n = rows.shape[0]
    assert np.isfinite(expected).all()
    assert len(np.unique(expected, axis=0)) > n / 4
    choices = [rng.permutation(n)] + [rng.integers(0, n - m + 1) + np.arange(m) for m in sizes if m <= n]
    for number, chosen in enumerate(choices):
        found = model.set_params(n_jobs=3 - number % 3).transform(rows[chosen])
        assert_array_equal(found, expected[chosen])


class TestEveryRowIsOnItsOwn:
    @pytest.mark.parametrize("name", SEVERAL)
    def test_for_any_batch_order_and_number_of_threads(self, name, rng):
        estimator, params = SEVERAL[name]
        n_new = 30 if name == "function" else 260
        X, new = blobs(120, 5, rng), blobs(n_new, 5, rng)
        assert_independent(estimator(**{**QUICK, **params}).fit(X), np.concatenate([new, X[:9]]), rng)

    @pytest.mark.parametrize("storage", [np.asarray, csr_array, np.float32])
    @pytest.mark.parametrize("n_columns", [7, 8])
    def test_with_ties_and_duplicates(self, storage, n_columns, rng):
        X, new = np.round(blobs(60, n_columns, rng)), np.round(blobs(300, n_columns, rng))
        model = TSNE(method="barnes_hut", **QUICK).fit(storage(np.concatenate([X, X[:20]])))
        assert_independent(model, storage(new), rng)

    @pytest.mark.parametrize("method", ["exact", "auto"])
    def test_precomputed_distances(self, method, rng):
        X, new = blobs(100, 5, rng), blobs(300, 5, rng)
        model = TSNE(metric="precomputed", method=method, **QUICK).fit(pairwise_distances(X))
        assert_independent(model, pairwise_distances(new, X), rng)

    def test_a_graph_of_distances(self, rng):
        X, new = blobs(100, 5, rng), blobs(300, 5, rng)
        search = KNeighborsTransformer(n_neighbors=16)
        model = TSNE(metric="precomputed", **QUICK).fit(search.fit_transform(X))
        assert_independent(model, search.transform(new), rng)

    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    @pytest.mark.parametrize("estimator", [TSNE, SNE])
    def test_given_affinities(self, estimator, storage, rng):
        # From one to all of them in a row, so that rows of a batch differ in length.
        X, new = blobs(100, 5, rng), blobs(300, 5, rng)
        P, others = np.exp(-(pairwise_distances(X) ** 2)), np.exp(-(pairwise_distances(new, X) ** 2))
        least = np.quantile(others, rng.uniform(size=300), axis=1).diagonal()
        others = np.where(others >= np.minimum(least, others.max(axis=1))[:, None], others, 0.0)
        assert_independent(estimator(affinities="precomputed", **{**QUICK}).fit(storage(P)), storage(others), rng)

    def test_given_affinities_of_a_row_do_not_depend_on_the_other_rows(self, rng):
        others = csr_array(rng.uniform(size=(60, 200)) * (rng.uniform(size=(60, 200)) < rng.uniform(size=(60, 1))))
        P, neighbors = given_affinities_of_others(others)
        for row in range(60):
            alone, its_neighbors = given_affinities_of_others(others[row : row + 1])
            k = alone.shape[1]
            assert_array_equal(P[row, :k], alone[0])
            assert_array_equal(neighbors[row, :k], its_neighbors[0])

    def test_given_affinities_are_filled_up_with_the_likeliest(self):
        # A start is sought among the first indices of a row: they must not hang on the others of the batch.
        P, neighbors = given_affinities_of_others(csr_array([[0.0, 0.0, 2.0, 8.0], [1.0, 2.0, 3.0, 4.0]]))
        assert neighbors.tolist() == [[3, 2, 3, 3], [3, 2, 1, 0]]
        assert_allclose(P, [[0.8, 0.2, 0.0, 0.0], [0.4, 0.3, 0.2, 0.1]])

    @pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
    def test_clustered_search(self, metric, rng):
        centers = 20.0 * rng.normal(size=(20, 7))
        X, new = (centers[rng.integers(0, 20, n)] + rng.normal(size=(n, 7)) for n in (2000, 300))
        model = TSNE(neighbors="clustered", metric=metric, method="barnes_hut", **QUICK).fit(X)
        assert isinstance(model._search, ClusteredSearch)
        assert_independent(model, np.concatenate([new, X[:5]]), rng)
        copy = pickle.loads(pickle.dumps(model))
        assert_array_equal(copy.transform(new), model.transform(new))

    def test_rows_beyond_one_block(self, X, new, monkeypatch):
        model = TSNE(**QUICK).fit(X)
        expected = model.transform(new)
        monkeypatch.setattr(TSNE, "_rows_at_once", 7)
        assert_array_equal(model.transform(new), expected)

    @pytest.mark.parametrize(
        ("params", "data", "n_pairs"),
        [
            ({"method": "exact"}, lambda D: D, 60),
            ({"metric": "precomputed"}, lambda D: D @ D.T, 60),
            ({"affinities": "precomputed"}, lambda D: D @ D.T, 60),
            ({"affinities": "precomputed"}, lambda D: csr_array(D @ D.T), 60),
            ({}, lambda D: D, 31),
        ],
    )
    def test_the_pairs_of_one_block_are_bounded(self, params, data, n_pairs, rng, monkeypatch):
        D = data(rng.uniform(0.5, 1.0, size=(100, 4)))
        fitted = D[:60] if D.shape[1] == 4 else D[:60, :60]
        model = TSNE(**{**QUICK, "perplexity": 10.0, **params}).fit(fitted)
        new = D[60:, : fitted.shape[1]]
        expected, blocks, place = model.transform(new), [], TSNE._place

        def watched(self, rows, workers):
            blocks.append(rows.shape[0])
            return place(self, rows, workers)

        monkeypatch.setattr(TSNE, "_pairs_at_once", 10 * n_pairs + 1)
        monkeypatch.setattr(TSNE, "_place", watched)
        assert_array_equal(model.transform(new), expected)
        assert blocks == [10, 10, 10, 10]

    @pytest.mark.parametrize("kind", ["graph", "transformer", "affinities", "distances"])
    def test_errors_number_rows_as_the_user_does(self, kind, X, rng, monkeypatch):
        new, params = rng.normal(size=(40, X.shape[1])), {}
        D = pairwise_distances(X)
        fitted, message = X, r"row 33 has 3\."
        if kind == "distances":
            params["metric"] = lambda a, b: np.nan if 99.0 in (a[0], b[0]) else float(np.abs(a - b).sum())
            new[33, 0], message = 99.0, "gives nan for rows 33 and"
        elif kind == "affinities":
            params["affinities"] = "precomputed"
            fitted, new, message = 1.0 / (1.0 + D), np.ones((40, len(X))), "row 33 has none"
            new[33] = 0.0
        else:
            graph = csr_array(np.where(np.arange(len(X)) < np.where(np.arange(40) == 33, 3, 40)[:, None], 1.0, 0.0))
            if kind == "graph":
                params["metric"] = "precomputed"
                fitted, new = csr_array(D), graph
            else:
                monkeypatch.setattr(
                    KNeighborsTransformer, "transform", lambda self, rows: graph[rows[:, 0].astype(int)]
                )
                new[:, 0] = np.arange(40)
                params["neighbors"] = KNeighborsTransformer(n_neighbors=40)
        model = TSNE(**{**QUICK, **params}).fit(fitted)
        monkeypatch.setattr(TSNE, "_rows_at_once", 7)
        with pytest.raises(ValueError, match=message) as caught:
            model.transform(new)
        assert caught.type is ValueError

    @pytest.mark.parametrize("name", ["TSNE", "exact", "fft", "bandwidth", "cosine"])
    def test_from_several_threads(self, name, rng):
        estimator, params = SEVERAL[name]
        X, new = blobs(120, 5, rng), blobs(80, 5, rng)
        model = estimator(**{**QUICK, **params}).fit(X)
        expected = pickle.loads(pickle.dumps(model)).transform(new)
        with ThreadPoolExecutor(4) as threads:  # nothing is prepared yet
            for found, first in zip(threads.map(lambda i: model.transform(new[i:]), range(8)), range(8), strict=True):
                assert_array_equal(found, expected[first:])
        assert model._map.workers._pool is None


class TestRowsOfTheFit:
    @pytest.mark.parametrize("estimator", [TSNE, SNE])
    @pytest.mark.parametrize("kind", ["plain", "duplicates", "single", "constant", "csr_array", "csr_matrix", "frame"])
    @pytest.mark.parametrize("method", ["auto", "exact", "fft"])
    def test_have_their_positions(self, estimator, kind, method, X):
        rows = {
            "plain": lambda: X,
            "duplicates": lambda: np.concatenate([X[:30], X[:30]]),
            "single": lambda: X.astype(np.float32),
            "constant": lambda: np.full((40, 3), 4.2),
            "csr_array": lambda: csr_array(np.maximum(X, 0.0)),
            "csr_matrix": lambda: csr_matrix(np.round(X)),
            "frame": lambda: pd.DataFrame(X, columns=list("abcd")),
        }[kind]()
        embedding = estimator(method=method, **QUICK).fit_transform(rows)
        model = estimator(method=method, **QUICK).fit(rows)
        again = model.transform(rows)
        assert_array_equal(again, embedding)
        assert again.dtype == embedding.dtype == (np.float32 if kind == "single" else np.float64)
        again[:] = 0.0  # the caller's
        assert_array_equal(model.embedding_, embedding)
        dense = rows.toarray() if issparse(rows) else np.asarray(rows)
        _, first, which = np.unique(dense, axis=0, return_index=True, return_inverse=True)
        others = rows[5:] if kind == "frame" else rows[:4:-1]
        found = embedding[first[which]][5:]
        assert_array_equal(model.transform(others), found if kind == "frame" else found[::-1])

    @pytest.mark.parametrize("method", ["auto", "exact"])
    def test_with_distances_of_all_pairs(self, method, X, new):
        D = pairwise_distances(X)
        model = TSNE(metric="precomputed", method=method, **QUICK).fit(D)
        assert_array_equal(model.transform(D), model.embedding_)
        mixed = model.transform(np.concatenate([pairwise_distances(new, X), D[::-1]]))
        assert_array_equal(mixed[30:], model.embedding_[::-1])
        assert not (mixed[:30, None] == model.embedding_).all(axis=2).any()

    def test_with_a_graph_of_distances(self, X):
        X[20:40], X[40:60] = X[20], X[40]  # more equal rows than neighbors: every distance of the graph is 0
        search = KNeighborsTransformer(n_neighbors=16)
        graph = search.fit_transform(X)
        model = TSNE(metric="precomputed", **QUICK).fit(graph)
        assert_array_equal(model.transform(graph), model.embedding_)
        for rows in slice(0, 20), slice(60, 80):
            assert_array_equal(model.transform(graph[rows]), model.embedding_[rows])
        assert not np.array_equal(model.transform(graph[40:41]), model.transform(graph[20:21]))
        for row in 25, 45:
            same = np.flatnonzero((X[row] == X).all(axis=1))
            assert (model.transform(graph[[row]]) == model.embedding_[same]).all(axis=1).any()

    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    def test_with_given_affinities(self, storage, X):
        P = np.where(pairwise_distances(X) < 4.0, 1.0, 0.0) * np.exp(-pairwise_distances(X))
        model = TSNE(affinities="precomputed", **QUICK).fit(storage(P))
        assert_array_equal(model.transform(storage(P)), model.embedding_)
        assert_array_equal(model.transform(P[10:20]), model.embedding_[10:20])
        assert_array_equal(model.transform(csr_array(P)[10:20]), model.embedding_[10:20])

    def test_zero_has_no_sign(self, X):
        X[:, 1] = 0.0
        model = TSNE(**QUICK).fit(X)
        X[:, 1] = -0.0
        assert_array_equal(model.transform(X[5:]), model.embedding_[5:])

    def test_sparse_or_dense_does_not_matter(self, X, new):
        X, new = np.maximum(np.round(X), 0.0), np.maximum(np.round(new), 0.0)
        for model in TSNE(**QUICK).fit(X), TSNE(**QUICK).fit(csr_array(X)):
            assert_array_equal(model.transform(csr_array(X)[3:9]), model.transform(X[3:9]))
            assert_array_equal(model.transform(csr_array(new)), model.transform(new))

    def test_precision_is_that_of_the_input(self, X, new):
        single, double = TSNE(**QUICK).fit(X.astype(np.float32)), TSNE(**QUICK).fit(X)
        assert single.transform(new.astype(np.float32)).dtype == np.float32
        assert single.transform(X.astype(np.float32).astype(np.float64)).dtype == np.float64
        assert double.transform(new.astype(np.float32)).dtype == np.float32
        assert_allclose(double.transform(new.astype(np.float32)), double.transform(new), rtol=1e-2, atol=1e-2)
        assert double.transform(np.round(new).astype(int)).dtype == np.float64


class TestNothingChanges:
    @pytest.mark.parametrize("name", [name for name in SEVERAL if name not in ("function", "own kernel")])
    def test_in_the_estimator(self, name, X, new):
        estimator, params = SEVERAL[name]
        model = estimator(**{**QUICK, **params}).fit(X)
        attributes, state = dict(vars(model)), pickle.dumps(model)
        placed = model.transform(new)
        assert vars(model).keys() == attributes.keys()
        assert all(vars(model)[key] is value for key, value in attributes.items())
        assert pickle.dumps(model) == state
        assert_array_equal(pickle.loads(state).transform(new), placed)
        with pytest.raises(NotFittedError):
            clone(model).transform(new)

    @pytest.mark.parametrize(
        "change",
        [
            {"metric": "precomputed"},
            {"metric": "cosine", "metric_params": {"p": 7}},
            {"method": "exact", "angle": 1.0},
            {"n_components": 3},
            {"perplexity": 20.0},
            {"affinities": "precomputed"},
            {"neighbors": "clustered"},
            {"dof": 0.5, "exaggeration": 4.0},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("metric", ["euclidean", "precomputed"])
    def test_by_parameters_set_after_the_fit(self, metric, change, X, new):
        rows, others = (X, -new) if metric == "euclidean" else (pairwise_distances(X), pairwise_distances(new, X))
        model = TSNE(metric=metric, **QUICK).fit(rows)
        expected = model.transform(others)
        assert_array_equal(model.set_params(**change).transform(others), expected)
        if metric == "precomputed":
            graph = csr_array(np.where(others < np.sort(others, axis=1)[:, 20:21], others, 0.0))
            assert_array_equal(model.transform(graph), expected)
            with pytest.raises(ValueError, match="must hold distances, got negative"):
                model.transform(-others)

    def test_by_parameters_of_affinities_set_after_the_fit(self, X, new):
        model = TSNE(affinities=FixedBandwidth(1.0, 20), **QUICK).fit(X)
        expected = model.transform(new)
        model.set_params(affinities__bandwidth=0.1, affinities__n_neighbors=3)
        assert_array_equal(model.transform(new), expected)

    @pytest.mark.parametrize("method", ["auto", "exact", "fft"])
    def test_in_the_callers_arrays(self, method, X, new):
        model = TSNE(method=method, **QUICK).fit(X)
        expected, before = model.transform(new), new.copy()
        frozen = new.copy()
        frozen.setflags(write=False)
        for array in frozen, np.asfortranarray(new), np.repeat(new, 2, axis=0)[::2], new.tolist():
            assert_array_equal(model.transform(array), expected)
        assert_array_equal(new, before)

    def test_by_a_second_fit(self, X, new):
        expected = TSNE(**QUICK).fit(X[:50]).transform(new)
        model = TSNE(**QUICK).fit(X)
        model.transform(new)
        assert_array_equal(model.fit(X[:50]).transform(new), expected)

    def test_frames_keep_their_index(self, X, new):
        names, index = list("abcd"), range(100, 130)
        model = TSNE(**QUICK).set_output(transform="pandas").fit(pd.DataFrame(X, columns=names))
        placed = model.transform(pd.DataFrame(new, columns=names, index=index))
        assert placed.index.tolist() == list(index)
        assert placed.columns.tolist() == ["tsne0", "tsne1"]
        assert_array_equal(placed.to_numpy(), TSNE(**QUICK).fit(X).transform(new))


class TestErrors:
    @pytest.mark.parametrize("estimator", [TSNE, SNE])
    def test_of_an_estimator_that_is_not_fitted(self, estimator, X):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            estimator().transform(X)
        failed = estimator(perplexity=0.5)
        with pytest.raises(ValueError, match=r"perplexity == 0\.5"):
            failed.fit(X)
        with pytest.raises(NotFittedError, match="not fitted yet"):
            failed.transform(X)

    def test_of_rows(self, X):
        model = TSNE(**QUICK).fit(X)
        with pytest.raises(ValueError, match="X has 3 features, but TSNE is expecting 4 features as input"):
            model.transform(X[:, :3])
        for bad in np.nan, np.inf:
            with pytest.raises(ValueError, match="Input X contains"):
                model.transform(np.full((2, 4), bad))
        with pytest.raises(ValueError, match="minimum of 1 is required"):
            model.transform(X[:0])

    def test_of_distances(self, X, new):
        D, others = pairwise_distances(X), pairwise_distances(new, X)
        model = TSNE(metric="precomputed", **QUICK).fit(D)
        with pytest.raises(ValueError, match="X has 30 features, but TSNE is expecting 80 features"):
            model.transform(others.T)
        for bad in -others, csr_array(-others):
            with pytest.raises(ValueError, match="metric='precomputed' X must hold distances, got negative values"):
                model.transform(bad)
        few = csr_array(np.where(others <= np.sort(others, axis=1)[:, 9:10], others, 0.0))
        with pytest.raises(ValueError, match=r"must have at least 16 neighbors in every row.* row 0 has 10"):
            model.transform(few)
        with pytest.raises(TypeError, match="method == 'exact' needs the distances of all pairs"):
            TSNE(metric="precomputed", method="exact", **QUICK).fit(D).transform(few)

    def test_of_affinities(self, X, new):
        P, others = np.exp(-pairwise_distances(X)), np.exp(-pairwise_distances(new, X))
        model = TSNE(affinities="precomputed", **QUICK).fit(P)
        with pytest.raises(ValueError, match="X must hold affinities, got negative values"):
            model.transform(-others)
        others[7] = 0.0
        for bad in others, csr_array(others):
            with pytest.raises(ValueError, match="affinities to rows of the fit, and row 7 has none"):
                model.transform(bad)

    def test_of_a_transformer_without_transform(self, X, new):
        class Once(BaseEstimator):
            def __init__(self, n_neighbors=5):
                self.n_neighbors = n_neighbors

            def fit_transform(self, X, y=None):
                return KNeighborsTransformer(n_neighbors=self.n_neighbors).fit_transform(X)

        model = TSNE(neighbors=Once(), **QUICK).fit(X)
        assert_array_equal(model.transform(X), model.embedding_)
        with pytest.raises(AttributeError, match="must have a method transform to find the neighbors of new rows"):
            model.transform(new)


class TestSearchesOfTheUser:
    @pytest.mark.parametrize("estimator", [TSNE, SNE])
    def test_a_transformer_or_its_graph_place_rows_as_the_own_search_does(self, estimator, X, new):
        own = estimator(**QUICK).fit(X)
        given = estimator(neighbors=KNeighborsTransformer(), **QUICK).fit(X)
        piped = make_pipeline(KNeighborsTransformer(n_neighbors=16), estimator(metric="precomputed", **QUICK)).fit(X)
        for model in given, piped:
            fitted = model if model is given else model[-1]
            assert_array_equal(model.transform(X), fitted.embedding_)
            copy = pickle.loads(pickle.dumps(model))
            assert_array_equal(copy.transform(new), model.transform(new))
            assert_allclose(fitted.embedding_, own.embedding_, rtol=1e-3, atol=1e-3)
            # Rows near a ridge of the cost may fall to either side.
            assert np.median(np.abs(model.transform(new) - own.transform(new))) < 1e-2


class TestOutliers:
    @pytest.mark.parametrize("estimator", [TSNE, SNE])
    @pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
    @pytest.mark.parametrize("method", ["auto", "exact"])
    def test_have_a_place(self, estimator, metric, method, X):
        model = estimator(metric=metric, method=method, **QUICK).fit(X)
        rows = np.array([1e12, -1e12, 1e300, -1e300, 0.0])[:, None] * np.array([1.0, 2.0, -1.0, 0.5])
        placed = model.transform(rows)
        assert np.isfinite(placed).all()
        # Rows that are equally far from all others cost the less the farther outside they are.
        assert method == "exact" or np.abs(placed).max() < 10.0 * np.abs(model.embedding_).max()  # 0.5 to 2.6 times


@pytest.mark.parametrize(
    ("estimator", "params", "least"),
    [(TSNE, {}, 0.9), (TSNE, {"exaggeration": 4.0}, 0.9), (SNE, {}, 0.85)],
)
def test_digits_are_placed_in_their_class(estimator, params, least, digits):
    X, y = digits
    train, test = slice(0, 1200), slice(1200, None)
    model = estimator(random_state=0, max_iter=300, **params).fit(X[train])
    classify = KNeighborsClassifier(10).fit(model.embedding_, y[train])
    nearest = NearestNeighbors(n_neighbors=1).fit(X[train]).kneighbors(X[test], return_distance=False)[:, 0]
    accuracy = classify.score(model.transform(X[test]), y[test])
    assert accuracy > least  # over six samples of rows 0.96 to 0.98, with SNE 0.92 to 0.94
    if estimator is TSNE:  # the minimum of SNE's cost lies farther from the nearest, nearer to the gaps
        assert accuracy >= classify.score(model.embedding_[nearest], y[test]) - 0.03  # at least -0.007 there


class TestPotentialsAtPlaces:
    """What is kept from one call of a kernel to the next."""

    @pytest.mark.parametrize("kernel", [FFTKernel, BarnesHutKernel])
    @pytest.mark.parametrize("dof", [1.0, np.inf])
    @pytest.mark.parametrize("d", [1, 2])
    def test_are_not_disturbed_by_other_calls(self, kernel, dof, d, rng):
        Y, other, at = 3.0 * rng.normal(size=(400, d)), 5.0 * rng.normal(size=(300, d)), 3.0 * rng.normal(size=(50, d))

        def fresh(points, charges=None):
            made = kernel(similarity_of(dof), Workers())
            made.set_points(points)
            return made.potential(charges, at)

        kept = kernel(similarity_of(dof), Workers())
        kept.set_points(Y)
        charges = rng.uniform(0.5, 2.0, size=400)
        for c in None, None, charges, None:
            phi, grad_phi = kept.potential(c, at)
            assert_array_equal(phi, fresh(Y, c)[0])
            assert_array_equal(grad_phi, fresh(Y, c)[1])
            phi[:], grad_phi[:] = 0.0, 0.0  # the caller's
            kept.potential()
        kept.set_points(other)
        exact = ExactKernel(similarity_of(dof), Workers())
        exact.set_points(other)
        assert_allclose(kept.potential(at=at)[0], exact.potential(at=at)[0], rtol=5e-2)

    @pytest.mark.parametrize("kernel", [FFTKernel, BarnesHutKernel])
    @pytest.mark.parametrize("d", [1, 2])
    def test_of_gaussians_at_isolated_places(self, kernel, d, rng):
        Y = 3.0 * rng.normal(size=(400, d))
        Y[0] = 40.0  # alone
        at = np.multiply.outer([40.0, 41.0, 44.0, -15.0, 20.0, 60.0, 1e4], np.ones(d))
        results = []
        for factory in kernel, ExactKernel:
            made = factory(similarity_of(np.inf), Workers())
            made.set_points(Y)
            results.append(made.potential(at=at))
        (phi, grad_phi), (exact_phi, exact_grad) = results
        assert_allclose(phi[2:], exact_phi[2:], rtol=1e-3)
        assert_allclose(grad_phi[2:], exact_grad[2:], rtol=1e-3)
        # Beside the lonely point the mesh is read: it is as accurate there as where there are many.
        assert_allclose(phi[:2], exact_phi[:2], rtol=5e-3)
        assert_allclose(grad_phi[:2], exact_grad[:2], rtol=5e-3, atol=1e-2)
