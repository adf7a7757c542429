"""People's own data: equal rows, rounding, frames, and maps that are not done; each case is one of its kind."""

import itertools
import re
import warnings
from datetime import date
from threading import Lock

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from scipy.spatial.distance import pdist
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors, kneighbors_graph

from sktsne import SNE, TSNE, EmbeddingDisplay, _native
from sktsne._checks import float_types, precision_of
from sktsne.affinities import FixedBandwidth, Perplexity, Uniform, conditional_affinities, mean_bandwidth
from sktsne.initialization import separate
from sktsne.kernels import ExactKernel
from sktsne.known_rows import KnownRows
from sktsne.large import embed_large
from sktsne.metrics import kl_divergence, knn_accuracy, rnx_auc, trustworthiness
from sktsne.neighbors import all_distances, nearest_neighbors
from sktsne.optimizer import Evaluation
from sktsne.parallel import Workers
from sktsne.placement import exaggeration_in_balance
from sktsne.progress import ProgressBar
from sktsne.similarities import StudentT

both = pytest.mark.parametrize("estimator", [TSNE, SNE])


class TestEqualRowsInTheStart:
    """Groups of equal rows part, whatever the start, and the rows of a group stay together."""

    GROUPS = np.repeat(np.arange(16), 12)
    DESIGN = np.array(list(itertools.product((0.0, 1.0), repeat=4)))[GROUPS]
    DATA = {"design": DESIGN + 0.1, "one hot": csr_array(np.eye(16)[GROUPS])}  # noqa: RUF012

    @both
    @pytest.mark.parametrize("n_components", [1, 2])
    @pytest.mark.parametrize("init", ["pca", "random", "spectral", "zeros", "float32"])
    @pytest.mark.parametrize("data", DATA)
    def test_have_a_place_each(self, estimator, n_components, init, data):
        X = self.DATA[data]
        if init == "zeros":
            init = np.zeros((len(self.GROUPS), n_components))
        elif init == "float32":  # two places, and differences by rounding
            places = 1e-4 * (self.GROUPS % 2) * (1.0 + 1e-7 * self.GROUPS)
            init = np.repeat(places[:, None], n_components, axis=1).astype(np.float32)
        Y = estimator(n_components, perplexity=8.0, init=init, random_state=0, max_iter=400).fit_transform(X)
        centers = np.array([Y[group == self.GROUPS].mean(axis=0) for group in range(16)])
        spread = max(np.ptp(Y[group == self.GROUPS], axis=0).max() for group in range(16))
        # Over three seeds of each case: 2.8 to 14 apart, and groups narrower than 0.004.
        assert pdist(centers).min() > 1.0
        assert spread < 0.1

    def test_a_move_is_that_of_the_group(self):
        Y = np.array([[0.0, 0.0], [1e-22, 0.0], [-1e-22, 1e-22], [1.0, 1.0], [0.0, 0.0]])
        moved = separate(Y, np.random.RandomState(0), groups=np.array([0, 1, 2, 3, 1]))
        assert_array_equal(moved[[0, 3]], Y[[0, 3]])
        assert_array_equal(moved[1] - Y[1], moved[4] - Y[4])
        assert pdist(moved[:3]).min() > 1e-3

    def test_other_points_are_left_alone(self, rng):
        Y = rng.normal(size=(1000, 2))
        assert separate(Y, np.random.RandomState(0)) is Y
        assert separate(Y + 1e9, np.random.RandomState(0)) is not None

    def test_known_rows_tell_which_rows_are_equal(self):
        groups = KnownRows(np.array([[1.0, 2.0], [0.0, 1.0], [1.0, 2.0], [-0.0, 1.0]])).groups
        assert groups[0] == groups[2] != groups[1] == groups[3]


class TestNewRowsInAMapThatIsNotDone:
    """New rows feel the forces of the map's last iteration, or such as would hold the map together."""

    @both
    @pytest.mark.parametrize("max_iter", [10, 30, 70])
    @pytest.mark.parametrize("params", [{}, {"exaggeration": 4.0}, {"method": "fft"}])
    def test_are_near_their_neighbors(self, estimator, max_iter, params, digits):
        X, y = digits[0][:300], digits[1][:300]
        model = estimator(max_iter=max_iter, random_state=0, **params).fit(X[:200])
        new = model.transform(X[200:])
        assert np.abs(new).max() < 1.5 * np.abs(model.embedding_).max()
        accuracy = KNeighborsClassifier(5).fit(model.embedding_, y[:200]).score(new, y[200:])
        # 0.22 to 0.42 where new rows feel no exaggeration, 0.60 to 0.84 with it, over five sets of rows.
        assert accuracy > 0.5

    @both
    @pytest.mark.parametrize(
        "params",
        [
            {"early_exaggeration_iter": 0, "max_iter": 1},
            {"early_exaggeration_iter": 0, "max_iter": 1, "method": "fft"},
            {"early_exaggeration_iter": 0, "max_iter": 1, "init": "spectral"},
            {"early_exaggeration_iter": 0, "max_iter": 5},
            {"early_exaggeration": 1.0, "max_iter": 5},
            {"early_exaggeration_iter": 10, "max_iter": 10},
            {"early_exaggeration_iter": 10, "max_iter": 12},
        ],
    )
    def test_are_near_their_neighbors_while_the_map_grows(self, estimator, params, digits):
        X = digits[0][:300]
        model = estimator(random_state=0, **params).fit(X[:200])
        new = model.transform(X[200:])
        # Over three sets of rows the ratio is 0.45 to 0.92, and without balanced forces 1.6 to 67,000. The median
        # distance is 0.12 to 0.28 standard deviations of the map, and without balanced forces 0.83 or more.
        assert np.abs(new).max() < 1.2 * np.abs(model.embedding_).max()
        nearest = NearestNeighbors(n_neighbors=1).fit(X[:200]).kneighbors(X[200:], return_distance=False)[:, 0]
        distances = np.linalg.norm(new - model.embedding_[nearest], axis=1)
        assert np.median(distances) < 0.5 * model.embedding_.std()

    @both
    def test_are_not_outside_a_random_start(self, estimator, digits):
        X = digits[0][:300]
        params = {"perplexity": 100, "early_exaggeration_iter": 0, "max_iter": 1, "learning_rate": 1e-9}
        model = estimator(init="random", random_state=0, **params).fit(X[:200])
        # Thousands of times farther where the exaggeration is 1. The means of neighbors' points are near the center.
        assert np.abs(model.transform(X[200:])).max() < np.abs(model.embedding_).max()

    # A factor that is negative, little above the last one, or smaller, is not taken, and a large one is bounded.
    @pytest.mark.parametrize(
        ("factor", "last", "expected"),
        [(3.0, 1.0, 3.0), (1e9, 1.0, 1000.0), (2.1, 2.0, 2.0), (0.5, 2.0, 2.0), (-3.0, 1.0, 1.0)],
    )
    def test_the_exaggeration_cancels_the_repulsion(self, factor, last, expected, rng):
        # Attraction -R / factor cancels the repulsion R at the exaggeration `factor`, whatever is orthogonal to R.
        repulsion, other = rng.normal(size=(2, 10, 2))
        other -= repulsion * np.sum(other * repulsion) / np.sum(repulsion**2)

        def objective(Y, exaggeration):
            gradient = exaggeration * (other - repulsion / factor) + repulsion
            return Evaluation(gradient, np.ones(10), np.nan, np.nan)

        assert exaggeration_in_balance(objective, repulsion, last) == pytest.approx(expected, rel=1e-6)

    @both
    def test_a_callback_sees_the_map_of_its_iteration(self, estimator, digits):
        model = estimator(max_iter=500, random_state=0, callback=lambda iteration, cost, Y: iteration == 50)
        model.fit(digits[0][:200])
        assert model.n_iter_ == 49
        assert np.abs(model.transform(digits[0][200:300])).max() < 1.5 * np.abs(model.embedding_).max()

    def test_after_exaggeration_the_map_is_that_of_exaggeration_1(self, digits):
        model = TSNE(random_state=0).fit(digits[0][:200])
        assert model._map.exaggeration == 1.0


class Rounded(TransformerMixin, BaseEstimator):
    """A neighbor transformer in float32 whose distances of 0 are rounded below 0."""

    def __init__(self, n_neighbors=5, below=2.4e-7):
        self.n_neighbors = n_neighbors
        self.below = below

    def fit(self, X, y=None):
        self.X_ = X
        return self

    def fit_transform(self, X, y=None):
        return self.fit(X).transform(X)

    def transform(self, X):
        both = np.concatenate([self.X_, X])
        graph = kneighbors_graph(self.X_, self.n_neighbors, mode="distance", include_self=True).astype(np.float32)
        if len(X) != len(self.X_) or (X != self.X_).any():
            graph = csr_array(np.linalg.norm(both[len(self.X_) :, None] - self.X_[None], axis=2).astype(np.float32))
        graph.data[graph.data == 0.0] = -self.below
        graph.data -= np.float32(self.below) * (graph.data < 1e-6)
        return graph


class TestRounding:
    """Distances within rounding of 0, in the precision that they came in, are 0; negative ones stay an error."""

    @pytest.fixture
    def X(self, rng):  # noqa: N802
        X = np.abs(rng.normal(size=(60, 6)))
        return np.concatenate([X, 3.0 * X[:10]])

    @both
    @pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
    @pytest.mark.parametrize("storage", [np.asarray, pd.DataFrame, csr_array])
    def test_distances_of_a_fit_and_of_new_rows(self, estimator, dtype, storage, X):
        D = np.array(1.0 - cosine_similarity(X))
        np.fill_diagonal(D, 0.0)
        unit = float(np.finfo(dtype).eps)
        D[0, 60] = D[60, 0] = -2.0 * unit * D.max()
        if storage is csr_array and dtype is np.float16:
            pytest.skip("SciPy has no sparse matrices of float16")
        given = storage(D.astype(dtype))
        model = estimator(metric="precomputed", init="random", perplexity=5.0, max_iter=30, random_state=0).fit(given)
        clipped = np.maximum(D.astype(dtype), 0).astype(np.float32 if dtype == np.float32 else np.float64)
        if storage is csr_array:
            clipped = csr_array(clipped)
            assert model.embedding_.shape == (70, 2)
        else:
            expected = estimator(metric="precomputed", init="random", perplexity=5.0, max_iter=30, random_state=0)
            assert_array_equal(model.embedding_, expected.fit(clipped).embedding_)
        one = np.array(D[5:6] + 0.01)
        one[0, 5] = -3.0 * unit * D.max()
        assert np.isfinite(model.transform(storage(one.astype(dtype)))).all()
        with pytest.raises(ValueError, match="must hold distances, got negative values"):
            estimator(metric="precomputed", init="random", perplexity=5.0).fit(storage((D - 0.2).astype(dtype)))
        with pytest.raises(ValueError, match="must hold distances, got negative values"):
            model.transform(storage((one - 0.2).astype(dtype)))

    @both
    def test_a_neighbor_transformer(self, estimator, X):
        model = estimator(neighbors=Rounded(20), perplexity=5.0, max_iter=20, init="random").fit(X)
        assert np.isfinite(model.transform(X[3:4] + 0.01)).all()
        with pytest.raises(ValueError, match="must return distances, got negative values"):
            estimator(neighbors=Rounded(20, 0.01), perplexity=5.0, init="random").fit(X)

    def test_measures_and_parts(self, X):
        D = 1.0 - cosine_similarity(X)
        D[0, 60] = D[60, 0] = -4.4e-16
        Y = X[:, :2]
        exact = np.maximum(D, 0.0)
        for measure in (trustworthiness, rnx_auc):
            assert measure(D, Y, metric="precomputed") == measure(exact, Y, metric="precomputed")
            with pytest.raises(ValueError, match="got negative values"):
                measure(D - 0.01, Y, metric="precomputed")
        assert_array_equal(
            nearest_neighbors(D, 5, "precomputed").distances, nearest_neighbors(exact, 5, "precomputed")[1]
        )
        P = np.exp(-D)
        np.fill_diagonal(P, 0.0)
        P[0, 1] = -1e-17
        assert kl_divergence(P, Y) == kl_divergence(np.maximum(P, 0.0), Y)
        with pytest.raises(ValueError, match="got negative values"):
            kl_divergence(-P, Y)

    def test_affinities(self, X):
        P = np.exp(-1.0 + cosine_similarity(X))
        P[0, 1] = -1e-17
        model = TSNE(affinities="precomputed", init="random", max_iter=10, random_state=0).fit(P)
        assert model.affinities_.min() >= 0.0


class TestPrecision:
    """float32 stays float32, whatever holds it."""

    @both
    @pytest.mark.parametrize("kind", ["float32", "Float32", "float64", "mixed", "float[pyarrow]"])
    def test_of_frames_of_pandas(self, estimator, kind, rng):
        frame = pd.DataFrame(rng.normal(size=(60, 3)).astype(np.float32), columns=list("abc"))
        if "pyarrow" in kind:
            pytest.importorskip("pyarrow")
        frame = frame.astype({"a": "float64"}) if kind == "mixed" else frame.astype(kind)
        model = estimator(perplexity=5.0, max_iter=10).fit(frame)
        expected = np.float64 if kind in ("mixed", "float64") else np.float32
        assert model.embedding_.dtype == expected
        assert model.transform(frame[:5]).dtype == expected

    def test_of_frames_of_polars(self, rng):
        polars = pytest.importorskip("polars")
        X = rng.normal(size=(60, 3)).astype(np.float32)
        frame = polars.DataFrame(X, schema=list("abc"))
        Y = TSNE(perplexity=5.0, max_iter=10, random_state=0).fit_transform(frame)
        assert Y.dtype == np.float32
        assert_array_equal(Y, TSNE(perplexity=5.0, max_iter=10, random_state=0).fit_transform(X))

    def test_is_that_of_the_coarsest_part(self):
        frame = pd.DataFrame({"a": [1.0], "b": np.array([1.0], dtype=np.float32), "c": [1]})
        assert float_types(frame.dtypes) == {np.float32, np.float64}
        assert precision_of(frame) is np.float32
        assert precision_of([[1.0]]) is np.float64
        assert precision_of(np.zeros(3, dtype=">f4")) is np.float32
        assert precision_of(np.zeros(3, dtype=int)) is np.float64

    def test_of_tables_of_arrow(self, rng):
        pa = pytest.importorskip("pyarrow")
        X = rng.normal(size=(60, 3)).astype(np.float32)
        table = pa.table({name: X[:, column] for column, name in enumerate("abc")})
        assert precision_of(table) is np.float32
        assert TSNE(perplexity=5.0, max_iter=10).fit(table).embedding_.dtype == np.float32


class SimpleCallback:
    """A callback that returns always the same, and may have an attribute ``stage``."""

    def __init__(self, returned=None, **attributes):
        self.returned = returned
        vars(self).update(attributes)

    def __call__(self, iteration, cost, embedding):
        return self.returned


class TestMistakes:
    """What is easily passed by mistake is named."""

    def test_one_column_in_place_of_a_matrix(self):
        with pytest.raises(ValueError, match=r"Expected a 2-dimensional container|Expected 2D array"):
            TSNE().fit(pd.Series(np.arange(60.0)))

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"callback": SimpleCallback(stage="fit")}, "callback == .* stage == 'fit', must be a method or absent"),
            (
                {"callback": SimpleCallback(stage=lambda *_: None)},
                "callback == .* stage that returned None, must return",
            ),
            ({"callback": SimpleCallback(np.zeros(2))}, "callback == .* type ndarray, must return True, False or None"),
            ({"callback": SimpleCallback(1)}, "callback == .* type int, must return True, False or None"),
            ({"callback": ProgressBar}, "callback == .*must be an instance, not the class"),
            ({"callback": 3}, "callback == 3, must be callable, a list of callables or None"),
            ({"callback": [print, 3]}, r"callback\[1\] == 3, must be callable\."),
            ({"callback": [print, None]}, r"callback\[1\] == None, must be callable\."),
            ({"callback": [ProgressBar]}, r"callback\[0\] == .*must be an instance, not the class"),
            ({"callback": SimpleCallback(tick=50)}, "callback == .* tick == 50, must be a method or absent"),
            (
                {"callback": [SimpleCallback(), SimpleCallback(stage=lambda *_: None)]},
                r"callback\[1\] == .* stage that returned None, must return",
            ),
            (
                {"callback": [SimpleCallback(), SimpleCallback(1)]},
                r"callback\[1\] == .* type int, must return True, False or None",
            ),
            ({"checkpoint": ""}, "checkpoint == '', must be the path of a file"),
            ({"checkpoint": "no folder/x"}, "checkpoint == .*in a folder that exists"),
        ],
    )
    def test_parameters(self, params, message, rng):
        with pytest.raises((ValueError, TypeError), match=message):
            TSNE(perplexity=5.0, **params).fit(rng.normal(size=(30, 3)))

    def test_what_is_no_checkpoint_or_cannot_be_in_one(self, rng, tmp_path):
        (tmp_path / "empty").touch()
        with pytest.raises(ValueError, match="holds no checkpoint"):
            TSNE(perplexity=5.0, checkpoint=tmp_path / "empty").fit(rng.normal(size=(30, 3)))
        unnamed = TSNE(
            perplexity=5.0,
            method=lambda similarity, workers: ExactKernel(similarity, workers),
            checkpoint=tmp_path / "x",
        )
        with pytest.raises(ValueError, match="checkpoint needs parameters that can be pickled"):
            unnamed.fit(rng.normal(size=(30, 3)))

    @pytest.mark.parametrize(
        ("attributes", "message"),
        [
            ({"max_components": "3"}, "max_components of method == .* == '3', must be an integer"),
            ({"options": None}, "has options == None, must be a tuple"),
            ({"options": "angle"}, "has options == 'angle', must be a tuple"),
            ({"dtype": np.float16}, "dtype == .*float16.*, must be numpy.float32 or numpy.float64"),
        ],
    )
    def test_attributes_of_kernels(self, attributes, message, rng):
        kernel = type("Odd", (ExactKernel,), attributes)
        with pytest.raises((ValueError, TypeError), match=message):
            TSNE(perplexity=5.0, method=kernel).fit(rng.normal(size=(30, 3)))

    def test_read_only_arrays_of_a_kernel_are_copied(self, rng):
        class Frozen(ExactKernel):
            def potential(self, charges=None, at=None):
                results = super().potential(charges, at)
                for array in results:
                    array.flags.writeable = False
                return results

        X = rng.normal(size=(30, 3))
        for estimator in TSNE, SNE:
            frozen, plain = (estimator(perplexity=5.0, max_iter=20, method=m).fit(X) for m in (Frozen, ExactKernel))
            assert_array_equal(frozen.embedding_, plain.embedding_)

    @pytest.mark.parametrize("perplexities", [3.0, None, [], "3", [-1.0], [0.5]])
    def test_perplexities(self, perplexities):
        with pytest.raises((ValueError, TypeError), match="perplexit"):
            Perplexity(perplexities)

    def test_classes_in_place_of_instances(self):
        with pytest.raises(TypeError, match=r"similarity == .*, must be a Similarity"):
            ExactKernel(StudentT, Workers())
        graph = nearest_neighbors(np.arange(9.0)[:, None], 3)
        with pytest.raises(TypeError, match=r"rule == .*, must be an affinity rule"):
            conditional_affinities(graph, Uniform, Workers())


class Plan:
    """A frame that is a plan, as the lazy frame of polars: it has columns, but no rows and no shape."""

    columns = ("a", "b")


class TestSmallFaults:
    """Each was reported with a small input."""

    @pytest.mark.parametrize("make", [Plan, lambda: (row for row in np.eye(40))], ids=["lazy frame", "generator"])
    @pytest.mark.parametrize(
        ("name", "call"),
        [
            ("X", lambda X, given: TSNE(perplexity=5.0).fit(given)),
            ("X", lambda X, given: TSNE(perplexity=5.0, max_iter=1).fit(X).transform(given)),
            ("X", lambda X, given: trustworthiness(given, X)),
            ("embedding", lambda X, given: trustworthiness(X, given)),
            ("affinities", lambda X, given: kl_divergence(given, X)),
            ("embedding", lambda X, given: knn_accuracy(given, X)),
            ("y", lambda X, given: knn_accuracy(X, given)),
            ("embedding", lambda X, given: EmbeddingDisplay(given).to_html("map.html")),
            ("y", lambda X, given: EmbeddingDisplay(X, given).to_html("map.html")),
            ("features", lambda X, given: EmbeddingDisplay(X).to_html("map.html", features=given)),
        ],
    )
    def test_what_has_no_number_of_rows_is_named(self, make, name, call, rng):
        given = make()
        with pytest.raises(TypeError, match=f"^{name} must .*{type(given).__name__} .*Compute {name} first.*collect"):
            call(rng.normal(size=(40, 2)), given)

    @pytest.mark.parametrize(
        ("name", "call"),
        [
            ("X", lambda X, masked: TSNE(perplexity=5.0).fit(masked)),
            ("X", lambda X, masked: trustworthiness(masked, X)),
            ("embedding", lambda X, masked: trustworthiness(X, masked)),
            ("embedding", lambda X, masked: EmbeddingDisplay(masked).to_html("map.html")),
            ("init", lambda X, masked: TSNE(perplexity=5.0, init=masked).fit(X)),
            ("X", lambda X, masked: embed_large(TSNE(perplexity=5.0), masked)),
        ],
    )
    def test_masked_values_are_not_taken_for_values(self, name, call, rng):
        X = rng.normal(size=(40, 2))
        with pytest.raises(ValueError, match=f"{name} has masked values, must have none"):
            call(X, np.ma.masked_greater(X, 1.0))

    @pytest.mark.parametrize(
        "call",
        [lambda X: TSNE(perplexity=5.0).fit(X), lambda X: trustworthiness(X, np.eye(40))],
        ids=["fit", "measure"],
    )
    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ("b", "could not convert string to float: 'b'"),
            (10**400, "int too large to convert to float"),
            ([1, 2], r"setting an array element with a sequence\. Use numpy\.stack to make a matrix"),
        ],
        ids=lambda each: str(each)[:9],
    )
    @pytest.mark.parametrize("package", ["pandas", "polars"])
    def test_a_column_that_holds_no_numbers_is_named(self, call, value, reason, package):
        frame = pd.DataFrame({"size": np.arange(40.0), "kind": np.arange(40.0).astype(object)})
        frame.at[3, "kind"] = value
        if package == "polars":
            polars = pytest.importorskip("polars")
            columns = {name: polars.Series(frame[name].tolist(), dtype=polars.Object) for name in frame}
            frame = polars.DataFrame(columns)
        with pytest.raises(ValueError, match=f"column 'kind' of X must hold numbers: {reason}"):
            call(frame)

    def test_a_column_with_missing_numbers_is_not_named_for_another_reason(self):
        frame = pd.DataFrame({"age": pd.Series([1, None] * 20, dtype="Int64"), "kind": ["a", "b"] * 20})
        with pytest.raises(ValueError, match="column 'kind' of X must hold numbers"):
            TSNE(perplexity=5.0).fit(frame)
        with pytest.raises(ValueError, match="Input X contains NaN"):
            TSNE(perplexity=5.0).fit(frame[["age"]])

    @pytest.mark.parametrize("container", [pd.Series, lambda rows: np.fromiter(rows, object, len(rows))])
    def test_a_column_of_vectors_tells_how_to_make_a_matrix(self, container, rng):
        vectors = container(list(rng.normal(size=(40, 3))))
        for call in (TSNE(perplexity=5.0).fit, lambda X: trustworthiness(X, np.eye(40))):
            with pytest.raises(
                ValueError, match=r"^X must hold numbers, and its elements are sequences\. Use numpy\.stack to"
            ):
                call(vectors)
        expected = TSNE(perplexity=5.0, max_iter=1).fit(np.array(list(vectors)))
        assert_array_equal(TSNE(perplexity=5.0, max_iter=1).fit(np.stack(vectors)).embedding_, expected.embedding_)

    @pytest.mark.parametrize("kind", ["M8[ns]", "m8[ns]"])
    def test_a_column_of_times_is_named(self, kind):
        frame = pd.DataFrame({"size": np.arange(40.0), "when": np.arange(40).astype(kind)})
        with pytest.raises(ValueError, match="column 'when' of X must hold numbers: got"):
            TSNE(perplexity=5.0).fit(frame)

    def test_errors_of_other_things_than_columns_are_left_alone(self, rng):
        with pytest.raises(TypeError, match="Feature names are only supported if all"):
            TSNE(perplexity=5.0).fit(pd.DataFrame(rng.normal(size=(40, 2)), columns=["a", 1]))

    @pytest.mark.parametrize("shape", [(40, 0), (0, 0)])
    def test_the_shape_of_an_empty_frame_is_named(self, shape):
        with pytest.raises(ValueError, match=re.escape(f"(shape={shape})")):
            TSNE(perplexity=5.0).fit(pd.DataFrame(np.empty(shape)))

    @pytest.mark.parametrize(
        "call",
        [
            lambda X: TSNE(perplexity=5.0).fit(X),
            lambda X: trustworthiness(X, np.eye(40)),
            lambda X: embed_large(TSNE(perplexity=5.0), X),
        ],
    )
    def test_dicts_and_records_are_named(self, call, rng):
        columns = {name: rng.normal(size=40) for name in "ab"}
        with pytest.raises(
            TypeError, match=r"X is a dict, must be an array or a data frame: convert it by pandas\.DataFrame"
        ):
            call(columns)
        with pytest.raises(TypeError, match="X is a structured array, must be"):
            call(pd.DataFrame(columns).to_records(index=False))

    def test_masked_values_of_parts_are_not_taken_for_values(self, rng):
        with pytest.raises(ValueError, match=r"X must be a dense array .*: got masked values"):
            nearest_neighbors(np.ma.masked_greater(rng.normal(size=(40, 2)), 1.0), 5)

    def test_a_mask_of_nothing_is_no_mask(self, rng):
        X = rng.normal(size=(40, 3))
        expected, found = (TSNE(perplexity=5.0, max_iter=5).fit(each).embedding_ for each in (X, np.ma.array(X)))
        assert_array_equal(found, expected)

    @pytest.mark.parametrize(
        "call",
        [
            lambda S, X: TSNE(perplexity=5.0).fit(S),
            lambda S, X: TSNE(perplexity=5.0, max_iter=1).fit(csr_array(X)).transform(S),
            lambda S, X: trustworthiness(S, X),
            lambda S, X: kl_divergence(S, X),
        ],
    )
    @pytest.mark.parametrize("index", [0, 10**6])
    def test_a_sparse_matrix_of_objects_is_checked_like_others(self, call, index, rng):
        X = rng.normal(size=(40, 40))
        S = csr_array(X)
        S.data, S.indices[0] = S.data.astype(object), index
        with pytest.raises(ValueError, match=r"must be a valid sparse matrix: .*dtype object"):
            call(S, X)

    @pytest.mark.parametrize(
        "y",
        [
            ["a", None] * 20,
            np.array([1.0, np.nan] * 20),
            np.array(["a", np.nan] * 20, dtype=object),
            np.ma.array([0, 1] * 20, mask=[False, True] * 20),
            pd.Series(["a", None] * 20, dtype="string"),
            pd.Series([True, None] * 20, dtype="boolean"),
            pd.DataFrame({"kind": pd.Categorical(["a", None] * 20)}),
            pd.Series([pd.Timestamp("2024-01-01"), pd.NaT] * 20),
        ],
        ids=lambda y: f"{type(y).__name__} {getattr(y, 'dtype', '')}",
    )
    def test_missing_classes_are_counted(self, y, rng):
        Y, complete = rng.normal(size=(40, 2)), ["a", "b"] * 20
        with pytest.raises(ValueError, match=r"^y has no labels for 20 of 40 rows, the first of them row 1,"):
            knn_accuracy(Y, y)
        with pytest.raises(ValueError, match=r"^new_y has no labels for 20 of 40 rows"):
            knn_accuracy(Y, complete, Y, y)

    @pytest.mark.parametrize(
        "names",
        [
            [("a", 1), ("b", 2)],
            [date(2024, 1, 1), date(2024, 1, 2)],
            [1, "a"],
            pd.interval_range(0, 2),
            pd.period_range("2024", periods=2, freq="M"),
        ],
        ids=lambda names: type(names[0]).__name__,
    )
    def test_classes_may_be_anything_that_displays_show(self, names, rng):
        numbers = rng.integers(2, size=40)
        Y, y = rng.normal(size=(40, 2)), [names[k] for k in numbers]
        assert knn_accuracy(Y, y) == knn_accuracy(Y, numbers)
        assert knn_accuracy(Y[:20], y[:20], Y[20:], y[20:]) == knn_accuracy(Y[:20], numbers[:20], Y[20:], numbers[20:])
        frame = pd.DataFrame({"kind": y})
        assert knn_accuracy(Y, frame) == knn_accuracy(Y, numbers)  # no warning of a column in place of a vector

    def test_numbers_that_are_no_classes_are_named(self, rng):
        with pytest.raises(ValueError, match=r"^Unknown label type: continuous"):
            knn_accuracy(rng.normal(size=(40, 2)), rng.normal(size=40))

    def test_a_start_with_nan_says_so_first(self, rng):
        start = np.full((40, 2), np.nan)
        with pytest.raises(ValueError, match=r"init == ndarray, must be one of .* Input init contains NaN"):
            TSNE(perplexity=5.0, init=start).fit(rng.normal(size=(40, 3)))

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_nan_is_named_where_scikit_learn_is_told_that_there_is_none(self, bad, rng):
        X = rng.normal(size=(40, 3))
        X[3, 1] = bad
        with config_context(assume_finite=True), pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
            TSNE(perplexity=5.0).fit(X)

    @pytest.mark.parametrize("n_columns", [1, 2, 3, 7])
    @pytest.mark.parametrize(
        ("metric", "name"), [("mahalanobis", "VI"), ("mahalanobis", "V"), ("seuclidean", "V")], ids=str
    )
    def test_parameters_of_metrics_may_be_lists(self, metric, name, n_columns, rng):
        X = rng.normal(size=(30, n_columns))
        value = np.arange(1.0, n_columns + 1.0)
        value = value if metric == "seuclidean" else np.diag(value)
        as_list, as_array = (nearest_neighbors(X, 5, metric, {name: each}) for each in (value.tolist(), value))
        assert_array_equal(as_list.distances, as_array.distances)

    def test_a_graph_with_too_few_neighbors_names_the_perplexities_that_it_allows(self, rng):
        graph = kneighbors_graph(rng.normal(size=(60, 3)), 7, mode="distance")
        with pytest.raises(ValueError, match=r"row \d+ has 7\..*this graph allows perplexities below 2\.333"):
            TSNE(metric="precomputed", init="random", perplexity=5.0).fit(graph)
        model = TSNE(metric="precomputed", init="random", perplexity=2.33, max_iter=5).fit(graph)
        assert model.embedding_.shape == (60, 2)

    def test_a_subset_of_given_affinities_says_what_to_do(self, rng):
        P = np.exp(-rng.uniform(size=(40, 40)))
        P[7], P[:, 7] = 0.0, 0.0
        with pytest.raises(ValueError, match=r"row 7 has no affinity .* Remove such rows"):
            TSNE(affinities="precomputed", init="random").fit(P)

    @pytest.mark.parametrize(("n", "used"), [(32, 30.0), (31, 29.5), (30, 28.5), (20, 18.5), (5, 3.5), (2, 1.0)])
    def test_a_perplexity_does_not_jump_where_rows_get_few(self, n, used, rng):
        X = rng.normal(size=(n, 3))
        with warnings.catch_warnings():
            warnings.simplefilter("error" if used >= 27.0 else "ignore")  # nearly what was asked for
            model = TSNE(max_iter=1, random_state=0).fit(X)
        assert model._affinity_rule.perplexities == [used]

    def test_verbose_names_the_cost(self, rng, capsys):
        TSNE(verbose=2, perplexity=5.0, max_iter=100).fit(rng.normal(size=(40, 3)))
        out = capsys.readouterr().out
        assert "cost = " in out
        assert "error" not in out
        sigma = float(re.search(r"Mean sigma: ([\d.]+)", out)[1])
        assert 0.1 < sigma < 1.0

    def test_the_mean_sigma_is_that_of_the_bandwidths(self, rng):
        X = rng.normal(size=(50, 3))
        for graph in (nearest_neighbors(X, 20), all_distances(X)):
            conditional = conditional_affinities(graph, FixedBandwidth(0.7, 20), Workers())
            assert mean_bandwidth(graph, conditional) == pytest.approx(0.7, rel=1e-6)

    def test_the_warning_of_missing_extensions_is_of_the_users_line(self, monkeypatch, rng):
        monkeypatch.setattr(_native, "COMPILED", False)
        monkeypatch.setattr(_native, "_warned", Lock())
        with pytest.warns(UserWarning, match="compiled extensions of sktsne are missing") as caught:
            TSNE(perplexity=5.0, max_iter=1).fit(rng.normal(size=(30, 3)))
        assert caught[0].filename == __file__
