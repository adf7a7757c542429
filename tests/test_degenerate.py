"""Input at the edge of what can be embedded: the result or the error that it deserves, from fit and from transform.

Warnings are errors here, as in every test. Nothing is NaN, and nothing of the caller's changes.
"""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from registries import APPROXIMATE, KERNELS, takes_components
from scipy.sparse import coo_array, csr_array, csr_matrix, issparse
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import KNeighborsTransformer

from sktsne import SNE, TSNE
from sktsne._parameters import INITS
from sktsne.affinities import FixedBandwidth

QUICK = {"perplexity": 5.0, "max_iter": 12, "early_exaggeration_iter": 6, "random_state": 0}
DISTANCES = {**QUICK, "metric": "precomputed", "init": "random"}
AFFINITIES = {**QUICK, "affinities": "precomputed", "init": "random"}
NEIGHBOR_KERNELS = [name for name in KERNELS if name != "exact"]  # a sparse graph has not the distances of all pairs
LARGEST = np.finfo(np.float64).max

pytestmark = pytest.mark.parametrize("estimator", [TSNE, SNE])
every_kernel = pytest.mark.parametrize("method", KERNELS)


@pytest.fixture
def X(rng):  # noqa: N802
    return rng.normal(size=(40, 4)) + np.repeat([0.0, 6.0], 20)[:, None]


def contents(X):
    """Return what X holds and how, for comparison."""
    if issparse(X):
        X = X.tocoo(copy=True)
        return X.data.dtype, X.data.tobytes(), X.row.tobytes(), X.col.tobytes()
    if isinstance(X, pd.DataFrame):
        return X.dtypes.tolist(), repr(X.to_numpy(dtype=object).tolist())
    return pickle.dumps(X)


def check_fit(model, X, new):
    """Fit and transform, check what holds of every map, and return the estimator."""
    before = contents(X)
    Y = model.fit(X).embedding_
    n, d = X.shape[0], model.n_components
    assert Y.shape == (n, d)
    assert np.isfinite(Y).all()
    assert np.isfinite(model.kl_divergence_)
    # A divergence is not negative, but for the kernel's error of log Z: of every row's, or of t-SNE's one.
    error = {"barnes_hut": 2e-3}.get(model.method_, 1e-2 if model.method_ in APPROXIMATE else 1e-9)
    assert model.kl_divergence_ >= -error * (n if isinstance(model, SNE) else 1)
    assert_array_equal(model.transform(X), Y)
    placed = model.transform(new)
    assert placed.shape == (new.shape[0], d)
    assert np.isfinite(placed).all()
    assert contents(X) == before
    return model


def others(X):
    """Return rows that are like those of X, and far from them."""
    X = np.asarray(X, dtype=np.float64)
    return np.concatenate([X[::-3] / 2.0, -X[:3], np.zeros((1, X.shape[1])), np.full((1, X.shape[1]), 1e15)])


def outlier(value):
    def make(X):
        X[0] = value
        return X

    return make


ROWS = {
    "constant": lambda X: np.full((30, 3), 4.2),
    "zero": lambda X: np.zeros((30, 3)),
    "constant columns": lambda X: np.column_stack([X, np.full(40, 1e9), np.zeros(40)]),
    **{f"{100 - 100 // k} % duplicates": lambda X, k=k: np.repeat(X[: 40 // k], k, axis=0) for k in (2, 4, 10, 20)},
    "all equal but one": lambda X: np.concatenate([np.tile(X[0], (39, 1)), X[1:2]]),
    "ties": lambda X: np.round(X),
    "one column": lambda X: X[:, :1],
    "unit vectors": lambda X: np.eye(30),
    "booleans": lambda X: X > 3.0,
    "integers": lambda X: (1e18 * X / np.abs(X).max()).astype(np.int64),
    "1e300": lambda X: 1e300 * X,
    "the largest": lambda X: LARGEST * (X / np.abs(X).max()),
    "1e-300": lambda X: 1e-300 * X,
    "subnormal": lambda X: 1e-322 * X,
    "every scale": lambda X: X * [1e300, 1e-300, 1.0, 1e150],
    "single precision, huge": lambda X: (3e38 * X / np.abs(X).max()).astype(np.float32),
    "single precision, tiny": lambda X: (1e-44 * X).astype(np.float32),
    "an outlier": outlier(1e12),
    "the farthest outlier": outlier(LARGEST),
}


@every_kernel
@pytest.mark.parametrize("kind", ROWS)
def test_rows_of_any_kind_have_a_finite_map(estimator, method, kind, X):
    X = ROWS[kind](X)
    model = check_fit(estimator(method=method, **QUICK), X, np.clip(others(X), -LARGEST / 2, LARGEST / 2))
    assert model.embedding_.dtype == (np.float32 if X.dtype == np.float32 else np.float64)
    assert np.abs(model.embedding_).max() < 1e3


@every_kernel
@pytest.mark.parametrize("n_samples", [2, 3, 4])
@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.filterwarnings("ignore:perplexity == 5")
def test_few_rows(estimator, method, n_samples, equal, X):
    rows = np.tile(X[0], (n_samples, 1)) if equal else X[:n_samples]
    model = check_fit(estimator(method=method, **QUICK), rows, others(rows))
    if n_samples > 2 and not equal:  # with two rows, or equal ones, p = q where all points are one
        assert model.embedding_.std() > 1e-3


@pytest.mark.parametrize(
    ("method", "n_components"),
    [*((name, d) for name, kernel in KERNELS.items() for d in (1, 3, 7) if takes_components(kernel, d)), ("auto", 3)],
)
@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("kind", ["one column", "constant", "three rows"])
def test_more_components_than_columns_or_rows(estimator, method, n_components, init, kind, X):
    # scikit-learn 28368, 29127: NaN from the PCA start of constant rows
    rows = X[:3] if kind == "three rows" else ROWS[kind](X)
    params = {**QUICK, "perplexity": 1.0}
    check_fit(estimator(n_components, init=init, method=method, **params), rows, others(rows))


@every_kernel
@pytest.mark.parametrize("storage", [np.asarray, csr_array])
@pytest.mark.parametrize("power", [-997, -500, 500, 1020])
def test_the_scale_of_rows_does_not_matter(estimator, method, storage, power, X, shared):
    X = np.maximum(X, 0.0) / 8.0
    expected = shared(("scale", estimator, method, storage), lambda: estimator(method=method, **QUICK).fit(storage(X)))
    model = estimator(method=method, **QUICK).fit(storage(np.ldexp(X, power)))
    assert_allclose(model.embedding_, expected.embedding_, rtol=1e-7, atol=1e-7)
    new = X[:9] / 2.0
    placed = model.transform(storage(np.ldexp(new, power)))
    assert_allclose(placed, expected.transform(storage(new)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "metric",
    [
        "manhattan", "chebyshev", "sqeuclidean", "cosine", "correlation", "canberra", "braycurtis", "seuclidean",
        "mahalanobis", "nan_euclidean", "hamming",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["exact", "auto"])
@pytest.mark.parametrize("power", [-997, 997])
def test_the_scale_of_rows_does_not_matter_under_other_metrics(estimator, metric, method, power, X, shared):
    def fit(rows):
        return estimator(metric=metric, method=method, **QUICK).fit(rows)

    model = fit(np.ldexp(np.abs(X), power))
    expected = shared(("metrics", estimator, metric, method), lambda: fit(np.abs(X)))
    P, Q = (m.affinities_ if method == "exact" else m.affinities_.toarray() for m in (model, expected))
    assert_allclose(P, Q, atol=1e-12)
    new = np.abs(X[:9]) + 0.5
    assert_allclose(model.transform(np.ldexp(new, power)), expected.transform(new), rtol=1e-2, atol=1e-2)


@every_kernel
@pytest.mark.parametrize("offset", [1e12, 1e200, -LARGEST])
@pytest.mark.parametrize("search", ["tree", "products"])
def test_a_column_that_does_not_vary_has_no_part_however_large(estimator, method, offset, search, X, shared):
    X = X if search == "tree" else np.hstack([X, X[::-1] / 2.0])
    start = X[:, :2]
    model = estimator(method=method, init=start, **QUICK).fit(np.column_stack([np.full(40, offset), X]))
    expected = shared(
        ("column", estimator, method, search), lambda: estimator(method=method, init=start, **QUICK).fit(X)
    )
    # Rounding moves maps in single precision by up to 1e-6; the column would by as much as the map is wide.
    assert_allclose(model.embedding_, expected.embedding_, rtol=1e-4, atol=1e-4)
    for metric in ("hamming", "canberra"):  # they see the column, and the PCA start does not fail of it
        Y = estimator(metric=metric, method=method, **QUICK).fit_transform(np.column_stack([np.full(40, offset), X]))
        assert np.isfinite(Y).all()


@pytest.mark.parametrize("storage", [np.asarray, csr_array])
def test_a_bandwidth_has_a_unit_and_rows_beyond_it_are_named(estimator, storage, X):
    with pytest.raises(ValueError, match=r"X has the absolute value .*e\+300, must have at most 1e\+150 .* Scale X"):
        estimator(affinities=FixedBandwidth(n_neighbors=9)).fit(storage(1e300 * X))


@pytest.mark.parametrize("rows", [np.ones((500, 2)), np.eye(500), np.zeros((500, 1))])
def test_ties_make_no_hubs(estimator, rows):
    # Of equally distant neighbors each row gets those that follow it.
    model = estimator(max_iter=300, random_state=0).fit(rows)
    assert np.ptp(np.bincount(model.affinities_.indices, minlength=500)) == 0
    assert np.ptp(model.embedding_) < 1e3


def test_hubs_do_not_make_it_diverge(estimator):
    # A search of the user's that takes the first of equally distant neighbors gives every row the same ones.
    hubs = np.arange(92) + (np.arange(92) >= np.minimum(np.arange(500), 92)[:, None])
    graph = csr_array((np.ones(92 * 500), hubs.ravel(), np.arange(0, 92 * 501, 92)), shape=(500, 500))
    model = estimator(metric="precomputed", init="random", max_iter=300, random_state=0).fit(graph)
    assert np.bincount(model.affinities_.indices).max() > 400
    assert np.ptp(model.embedding_) < 1e3


@pytest.mark.parametrize("neighbors", ["exact", "clustered"])
@pytest.mark.parametrize(("n_columns", "perplexity"), [(6, 30.0), (9, 3.0)])
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan", "jaccard"])
@pytest.mark.parametrize("storage", [np.asarray, csr_array])
def test_every_row_is_a_neighbor_of_some(estimator, storage, metric, n_columns, perplexity, neighbors):
    X = storage(np.repeat(np.eye(n_columns)[:6], [100, 50, 30, 10, 5, 2], axis=0))
    parameters = {"metric": metric, "neighbors": neighbors, "perplexity": perplexity, "init": "random"}
    model = estimator(method="barnes_hut", max_iter=1, random_state=0, **parameters).fit(X)
    assert model.affinities_.sum(axis=0).min() > 1e-6


@pytest.mark.parametrize("neighbors", ["exact", "clustered"])
def test_no_row_is_thrown_out(estimator, neighbors):
    # A row that is nobody's neighbor would be attracted by none under SNE, and thrown out of the map.
    X = np.repeat(np.eye(6), [100, 50, 30, 10, 5, 2], axis=0)
    Y = estimator(neighbors=neighbors, init="random", random_state=0).fit_transform(X)
    kinds = np.argmax(X, axis=1)
    centers = np.array([np.median(Y[kinds == kind], axis=0) for kind in range(6)])
    apart = np.linalg.norm(centers[:, None] - centers, axis=-1).max()
    assert np.linalg.norm(Y - centers[kinds], axis=1).max() < 0.5 * apart  # over four starts at most 0.05


def read_only(X):
    X = X.copy()
    X.setflags(write=False)
    return X


def strided(X):
    wide = np.full((2 * X.shape[0], 2 * X.shape[1]), 7.0)
    wide[::2, ::2] = X
    return wide[::2, ::2]


def long_indices(X):
    X = csr_array(X)
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def with_duplicates(X):
    """Return a sparse matrix whose entries are in two parts, unsorted."""
    rows, columns = np.nonzero(X)
    data, order = X[rows, columns] / 2.0, np.random.default_rng(0).permutation(2 * len(rows))
    return coo_array((np.tile(data, 2)[order], (np.tile(rows, 2)[order], np.tile(columns, 2)[order])), shape=X.shape)


STORAGES = {
    "read-only": read_only,
    "Fortran-ordered": np.asfortranarray,
    "strided": strided,
    "reversed": lambda X: X[::-1].copy()[::-1],
    "big-endian": lambda X: X.astype(">f8"),
    "long double": lambda X: X.astype(np.longdouble),
    "half precision": lambda X: X.astype(np.float16),
    "integers": lambda X: X.astype(np.int16),
    "unsigned integers": lambda X: X.astype(np.uint8),
    "objects": lambda X: X.astype(object),
    "text of numbers": lambda X: X.astype(int).astype(str),
    "lists": lambda X: X.tolist(),
    "frame": pd.DataFrame,
    "nullable frame": lambda X: pd.DataFrame(X.astype(int)).astype("Int64"),
    "sparse frame": lambda X: pd.DataFrame.sparse.from_spmatrix(csr_matrix(X)),
    "masked, nothing hidden": np.ma.asarray,
    "sparse": csr_array,
    "sparse, 64-bit indices": long_indices,
    "sparse, duplicate entries": with_duplicates,
    **{f"sparse, {kind}": lambda X, kind=kind: csr_array(X).asformat(kind) for kind in ("csc", "lil", "dok", "bsr")},
}


@every_kernel
@pytest.mark.parametrize("kind", STORAGES)
def test_storage_does_not_matter(estimator, method, kind, X, shared):
    X = np.maximum(np.round(2.0 * X), 0.0)
    X[:, 0] += np.arange(40)  # no ties, of which searches of sparse and dense rows keep others
    start = X[:, :2] / 8.0
    stored = STORAGES[kind](X)
    before = contents(stored)
    expected = shared(
        ("storage", estimator, method, "sparse" in kind),
        lambda: estimator(method=method, init=start, **QUICK).fit(csr_array(X) if "sparse" in kind else X),
    )
    model = estimator(method=method, init=start, **QUICK)
    assert_array_equal(model.fit_transform(stored), expected.embedding_)
    assert_array_equal(model.transform(stored), expected.embedding_)
    new = STORAGES[kind](X[:7] + 1.0)
    assert_array_equal(model.transform(new), expected.transform(X[:7] + 1.0))
    assert contents(stored) == before


@every_kernel
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_memory_maps_are_read_and_not_written(estimator, method, mode, X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    written = (tmp_path / "X.npy").read_bytes()
    mapped = np.load(tmp_path / "X.npy", mmap_mode=mode)
    model = estimator(method=method, **QUICK).fit(mapped)
    assert_array_equal(model.embedding_, estimator(method=method, **QUICK).fit(X).embedding_)
    assert_array_equal(model.transform(mapped), model.embedding_)
    mapped.flush()
    assert (tmp_path / "X.npy").read_bytes() == written


def put(value):
    def make(X):
        X[3, 2] = value
        return X

    return make


REFUSED = {
    "NaN": (put(np.nan), "Input X contains NaN"),
    "infinity": (put(np.inf), "Input X contains infinity"),
    "sparse NaN": (lambda X: csr_array(put(np.nan)(X)), "Input X contains NaN"),
    "sparse infinity": (lambda X: csr_array(put(-np.inf)(X)), "Input X contains infinity"),
    "NaN in a frame": (lambda X: pd.DataFrame(put(np.nan)(X)), "Input X contains NaN"),
    "NA in a frame": (lambda X: pd.DataFrame(X).astype("Float64").mask(X > 7.0), "Input X contains NaN"),
    "None": (lambda X: put(None)(X.astype(object)), "Input X contains NaN"),
    "half precision infinity": (lambda X: put(np.inf)(X.astype(np.float16)), "Input X contains infinity"),
    "too large for float64": (
        lambda X: X.astype(np.longdouble) * np.longdouble("1e400"), "Input X contains infinity or a value too large",
    ),
    "complex": (lambda X: X + 0j, "Complex data not supported"),
    "sparse complex": (lambda X: csr_array(X + 1j), "Complex data not supported"),
    "words": (lambda X: np.full(X.shape, "word"), "could not convert string to float"),
    "words among objects": (lambda X: put("word")(X.astype(object)), "could not convert string to float: 'word'"),
    "words in a frame": (lambda X: pd.DataFrame(np.full(X.shape, "word")), "could not convert string to float"),
    "no rows": (lambda X: X[:0], r"0 sample\(s\).* minimum of"),
    "no columns": (lambda X: X[:, :0], r"0 feature\(s\).* minimum of 1"),
    "no sparse columns": (lambda X: csr_array((40, 0)), r"0 feature\(s\).* minimum of 1"),
    "one dimension": (lambda X: X[0], "Expected 2D array, got 1D array"),
    "no dimension": (lambda X: 3.0, "Expected 2D array, got scalar array"),
    "three dimensions": (lambda X: X[None], "Found array with dim 3"),
    "rows of several lengths": (lambda X: [[1.0, 2.0], [3.0]], "inhomogeneous shape"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_matrix_of_numbers_is_refused(estimator, kind, X):
    make, message = REFUSED[kind]
    model = estimator(**QUICK).fit(X)
    expected, bad = model.embedding_.copy(), make(X.copy())
    before = contents(bad)
    for method in (model.fit, model.transform, estimator(method="exact").fit):
        with pytest.raises(ValueError, match=message):
            method(bad)
    assert contents(bad) == before
    assert_array_equal(model.transform(X), expected)


def test_one_row_is_refused_by_fit_and_placed_by_transform(estimator, X):
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        estimator().fit(X[:1])
    assert np.isfinite(estimator(**QUICK).fit(X).transform(X[:1] + 0.1)).all()


@every_kernel
def test_rows_to_which_there_is_no_distance_are_refused(estimator, method, X):
    params = {**QUICK, "method": method, "metric": "correlation"}
    with pytest.raises(ValueError, match="metric must give distances, finite and not negative, and gives nan for rows"):
        estimator(**params).fit(np.concatenate([X, X[:1] * 0.0]))
    with pytest.raises(ValueError, match="metric must give distances, finite and not negative, and gives nan for rows"):
        estimator(**params).fit(X).transform(X[:2] * 0.0)


def test_objects_that_are_no_numbers_are_a_type_error(estimator):
    with pytest.raises(TypeError, match=r"float\(\) argument must be"):
        estimator().fit(np.array([[{}, 1.0]] * 9, dtype=object))


class TestDistances:
    @pytest.fixture
    def D(self, X):  # noqa: N802
        return pairwise_distances(X)

    @every_kernel
    @pytest.mark.parametrize(
        "change",
        [
            lambda D: D + np.random.default_rng(0).uniform(size=D.shape),
            np.zeros_like,
            lambda D: 1.0 - np.eye(len(D)),
            lambda D: D + np.eye(len(D)),
            lambda D: 1e300 * D,
            lambda D: 1e-300 * D,
            lambda D: 1e-322 * D,
            lambda D: np.where(D.max() > D, D, LARGEST),
            lambda D: D > 2.0,
            lambda D: np.round(D).astype(int),
            lambda D: read_only(D.astype(np.float32)),
            lambda D: np.where(np.arange(len(D)) % 2 == np.arange(len(D))[:, None] % 2, D, 1e12),
        ],
        ids=[
            "asymmetric", "zero", "equal", "from a row to itself", "huge", "tiny", "subnormal", "one the largest",
            "booleans", "integers", "single precision", "two groups far apart",
        ],
    )  # fmt: skip
    def test_of_any_kind_have_a_finite_map(self, estimator, method, change, D):
        D = change(D)
        check_fit(estimator(method=method, **DISTANCES), D, 0.7 * D[::-1][:9])

    @every_kernel
    @pytest.mark.parametrize("power", [-997, 997])
    def test_have_no_scale(self, estimator, method, power, D):
        model, expected = (estimator(method=method, **DISTANCES).fit(d) for d in (np.ldexp(D, power), D))
        assert_allclose(model.embedding_, expected.embedding_, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("method", NEIGHBOR_KERNELS)
    @pytest.mark.parametrize("init", ["random", "spectral"])
    def test_of_groups_without_a_path_between_them_have_a_finite_map(self, estimator, method, init, D):
        group = np.arange(40) // 20
        graph = csr_array(np.where(group == group[:, None], D, 0.0))
        model = check_fit(estimator(method=method, **{**DISTANCES, "init": init}), graph, 0.7 * graph[:9])
        P = model.affinities_.toarray()
        assert (P[group != group[:, None]] == 0.0).all()

    def test_are_a_square_matrix_without_negative_numbers_and_pca_cannot_start(self, estimator, D):
        model = estimator(**DISTANCES)
        with pytest.raises(ValueError, match=r"square distance matrix, got shape \(30, 40\)"):
            model.fit(D[:30])
        for bad in (D - 1.0, csr_array(D - 1.0), D - np.eye(40)):
            with pytest.raises(ValueError, match="must hold distances, got negative values"):
                model.fit(bad)
        with pytest.raises(ValueError, match="init == 'pca' needs the rows"):
            estimator(metric="precomputed").fit(D)
        with pytest.raises(TypeError, match="method == 'exact' needs the distances of all pairs"):
            estimator(method="exact", **DISTANCES).fit(csr_array(D))

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_that_are_none_are_refused_in_graphs_too(self, estimator, bad, D):
        graph = KNeighborsTransformer(n_neighbors=16).fit_transform(pairwise_distances(D))
        model = estimator(**DISTANCES).fit(graph)
        broken = graph.copy()
        broken.data[17] = bad
        for method in (model.fit, model.transform):
            with pytest.raises(ValueError, match="Input X contains"):
                method(broken)
        D[3, 5] = bad
        for kernel in ("auto", "exact"):
            with pytest.raises(ValueError, match="Input X contains"):
                estimator(method=kernel, **DISTANCES).fit(D)

    def test_to_too_few_neighbors_name_the_row(self, estimator, X):
        graph = KNeighborsTransformer(n_neighbors=20).fit_transform(X).tolil()
        graph[4] = 0.0
        few, empty = KNeighborsTransformer(n_neighbors=5).fit_transform(X), csr_array(graph)
        empty.eliminate_zeros()
        for bad, row, count in ((few, 0, 5), (empty, 4, 0), (csr_array((40, 40)), 0, 0)):
            with pytest.raises(ValueError, match=rf"at least 16 neighbors in every row.* row {row} has {count}\."):
                estimator(**DISTANCES).fit(bad)


class TestAffinities:
    @pytest.fixture
    def P(self, X):  # noqa: N802
        return np.exp(-pairwise_distances(X))

    @every_kernel
    @pytest.mark.parametrize("storage", [np.asarray, csr_array, long_indices])
    @pytest.mark.parametrize(
        "change",
        [
            lambda P: P * np.random.default_rng(0).uniform(size=P.shape),
            lambda P: LARGEST / P.max() * P,
            lambda P: 1e-300 * P,
            lambda P: np.where(np.arange(40) // 20 == np.arange(40)[:, None] // 20, P, 0.0),
            lambda P: np.where((np.arange(40) == 7) & (np.arange(40)[:, None] == 9), 1e300, P),
            lambda P: np.median(P) < P,
        ],
        ids=["asymmetric", "huge", "tiny", "in two parts", "one huge", "booleans"],
    )
    def test_of_any_kind_have_a_finite_map(self, estimator, method, storage, change, P):
        P = change(P)
        check_fit(estimator(method=method, **AFFINITIES), storage(P), storage(P[::-1][:9] * 0.7))

    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    def test_that_are_none_are_refused(self, estimator, storage, P):
        alone = P.copy()
        alone[3] = alone[:, 3] = 0.0
        model = estimator(**AFFINITIES)
        for bad, message in (
            (P[:30], r"X has shape \(30, 40\), must be square"),
            (P - 0.1, "must hold affinities, got negative values"),
            (put(np.nan)(P.copy()), "Input X contains NaN"),
            (put(np.inf)(P.copy()), "Input X contains infinity"),
            (0.0 * P, "row 0 has no affinity to or from another row"),
            (alone, "row 3 has no affinity to or from another row"),
        ):
            with pytest.raises(ValueError, match=message):
                model.fit(storage(bad))


@every_kernel
@pytest.mark.usefixtures("small_meshes")
@pytest.mark.parametrize("scale", [1e-300, 1e-12, 1e6, 1e200, 1e300])
@pytest.mark.filterwarnings("ignore:The map spans")
def test_a_start_of_any_scale_gives_a_map_or_says_that_it_diverges(estimator, method, scale, X):
    start = scale * X[:, :2]
    before = start.copy()
    model = estimator(method=method, init=start, **QUICK)
    if scale < 1e200:
        assert np.isfinite(model.fit(X).embedding_).all()
    else:
        with pytest.raises(
            FloatingPointError, match=r"diverged at iteration \d+ .* The start may be too wide: .*rescale"
        ):
            model.fit(X)
    assert_array_equal(start, before)


@every_kernel
@pytest.mark.usefixtures("small_meshes")
@pytest.mark.parametrize("learning_rate", [1e23, 1e30, 1e45])
@pytest.mark.filterwarnings("ignore:The map spans")
def test_a_map_whose_cost_single_precision_does_not_hold_has_diverged(estimator, method, learning_rate, X):
    params = {**QUICK, "learning_rate": learning_rate, "max_step_norm": None, "max_iter": 1, "method": method}
    with pytest.raises(FloatingPointError, match=r"diverged at iteration [01] with learning_rate=1e\+"):
        estimator(init=X[:, :2] / 10.0, **params).fit(X)


def test_columns_too_large_for_their_variances_are_named_and_those_that_do_not_vary_are_not(estimator, X):
    params = {**QUICK, "affinities": FixedBandwidth(n_neighbors=9), "metric": "seuclidean", "init": X[:, :2]}
    expected = estimator(**params).fit_transform(X)
    constant = estimator(**params).fit_transform(np.column_stack([X, np.full(40, -1e200)]))
    assert_allclose(constant, expected, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match=r"metric == 'seuclidean'.* variances of the columns of X, .* overflow"):
        estimator(**params).fit(1e200 * X)
