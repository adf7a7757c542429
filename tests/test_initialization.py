"""The starts."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import eigh
from scipy.sparse import block_diag, csr_array
from scipy.spatial.distance import pdist
from threadpoolctl import threadpool_limits

from sktsne.initialization import (
    pca_start,
    random_start,
    rescale,
    separate,
    space_filling_order,
    spectral_start,
)


def state(seed=0):
    return np.random.RandomState(seed)


def test_random_start_has_its_deviation():
    start = random_start(20_000, 3, state())
    assert start.shape == (20_000, 3)
    assert_allclose(start.std(axis=0), 1e-4, rtol=0.05)


@pytest.mark.parametrize("storage", [np.asarray, csr_array])
def test_pca_start_is_the_scaled_principal_components(storage, rng):
    X = rng.normal(size=(100, 5)) * [5.0, 3.0, 1.0, 1.0, 1.0]
    start = pca_start(storage(X), 2, state())
    U, s, _ = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    expected = 1e-4 * (U * s)[:, :2] / (U * s)[:, 0].std()
    assert_allclose(np.abs(start), np.abs(expected), rtol=1e-6)
    assert start[:, 0].std() == pytest.approx(1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3000, 40), (30, 1100), (1300, 1100)])
def test_pca_start_of_any_shape_is_the_principal_components(shape, dtype, rng, monkeypatch):
    """Rows by blocks, of the scatter matrix and of its products."""
    monkeypatch.setattr("sktsne.initialization.DOUBLED", 0)
    monkeypatch.setattr("sktsne.initialization.NUMBERS_AT_ONCE", 2**16)
    X = rng.normal(size=(shape[0], 3)) @ (rng.normal(size=(3, shape[1])) * [[3.0], [2.0], [1.0]])
    X = (X + 0.5 * rng.normal(size=shape) + 100.0).astype(dtype)
    start = pca_start(X, 2, state())
    centered = X - X.mean(axis=0, dtype=np.float64)
    n_columns = shape[1]
    with threadpool_limits(1):  # several threads of BLAS wait for one another on a busy machine
        axes = eigh(centered.T @ centered, subset_by_index=[n_columns - 2, n_columns - 1])[1][:, ::-1]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])  # scikit-learn's signs
    expected = centered @ axes
    assert_allclose(start, 1e-4 * expected / expected[:, 0].std(), atol=2e-4 * 1e-4)
    assert_array_equal(pca_start(X, 2, state()), start)


@pytest.mark.parametrize("storage", [np.asarray, csr_array])
@pytest.mark.parametrize("n_columns", [3, 130, 1100])
def test_pca_start_does_not_depend_on_the_unit_to_the_last_bit(n_columns, storage, rng):
    X = rng.normal(size=(40, n_columns))
    start = pca_start(storage(X), 2, state())
    for power in (-400, -90, -30, -2, 3, 60, 400):
        assert_array_equal(pca_start(storage(np.ldexp(X, power)), 2, state()), start)


def test_pca_start_of_single_precision_takes_rows_whose_squares_overflow(rng, monkeypatch):
    monkeypatch.setattr("sktsne.initialization.DOUBLED", 0)
    X = rng.normal(size=(40, 30)).astype(np.float32)
    assert_allclose(pca_start(1e25 * X, 2, state()), pca_start(X, 2, state()), atol=1e-5 * 1e-4)


@pytest.mark.parametrize("storage", [np.asarray, csr_array])
@pytest.mark.parametrize("scale", [1e-60, 1.0, 1e60])
def test_missing_directions_are_filled(storage, scale, rng):
    line = scale * rng.normal(size=(30, 1)) * np.ones((1, 4))
    start = pca_start(storage(line), 3, state())
    deviations = start.std(axis=0)
    assert deviations[0] == pytest.approx(1e-4)
    assert (deviations[1:] > 5e-5).all()
    assert np.linalg.matrix_rank(start) == 3


@pytest.mark.parametrize("storage", [np.asarray, csr_array])
@pytest.mark.parametrize("X", [np.zeros((10, 3)), np.zeros((2, 1)), np.full((10, 2), 7.0)])
def test_rows_without_variance_start_at_random(storage, X):
    start = pca_start(storage(X), 2, state())
    assert np.isfinite(start).all()
    assert (start.std(axis=0) > 1e-6).all()


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_order_keeps_neighbors_together(d, rng):
    Y = 1e-4 * rng.normal(size=(3000, d))
    order = space_filling_order(Y)
    assert_array_equal(np.sort(order), np.arange(3000))
    steps = np.linalg.norm(np.diff(Y[order, :2], axis=0), axis=1)
    assert np.median(steps) < 0.1 * np.median(np.linalg.norm(np.diff(Y[:, :2], axis=0), axis=1))


def test_points_at_one_place_have_an_order():
    assert_array_equal(space_filling_order(np.zeros((5, 2))), np.arange(5))


def walk_eigenvectors(S):
    """Return the eigenvalues of the random walk on S, from the largest, and the eigenvectors."""
    values, vectors = np.linalg.eig(S / S.sum(axis=1, keepdims=True))
    order = np.argsort(-values.real)
    return values.real[order], vectors.real[:, order]


def path(n):
    return np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1)


def cliques(*sizes):
    return block_diag([np.ones((size, size)) - np.eye(size) for size in sizes]).toarray()


class TestSpectralStart:
    @pytest.mark.parametrize("n", [40, 150])  # all eigenvectors, and ARPACK
    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    def test_is_the_eigenvectors_of_the_random_walk(self, n, storage, rng):
        distances = np.abs(np.subtract.outer(*[np.sort(rng.uniform(size=n))] * 2))
        S = np.exp(-100.0 * distances**2)
        start = spectral_start(storage(S / S.sum()), 3, state())
        expected = walk_eigenvectors(S)[1][:, 1:4]
        assert_allclose(np.abs([np.corrcoef(a, b)[0, 1] for a, b in zip(start.T, expected.T, strict=True)]), 1.0)
        assert_allclose(start.std(axis=0), 1e-4)
        assert_allclose(start.mean(axis=0), 0.0, atol=1e-15)

    @pytest.mark.parametrize("n", [3, 20, 101, 300])
    @pytest.mark.parametrize("d", [1, 2])
    def test_orders_a_path_by_its_ends(self, n, d):
        order = np.argsort(spectral_start(csr_array(path(n)), d, state())[:, 0])
        assert order.tolist() in (list(range(n)), list(range(n))[::-1])

    def test_splits_two_cliques_at_their_link(self):
        S = cliques(12, 8)
        S[0, 12] = S[12, 0] = 0.1
        first = spectral_start(S, 2, state())[:, 0]
        assert (np.sign(first[:12]) == -np.sign(first[12])).all()
        assert (np.sign(first[12:]) == np.sign(first[12])).all()

    def test_does_not_need_symmetric_affinities(self, rng):
        S = rng.uniform(size=(30, 30))
        np.fill_diagonal(S, 0.0)
        assert_allclose(spectral_start(np.triu(S + S.T), 2, state()), spectral_start(S, 2, state()), rtol=1e-6)

    @pytest.mark.parametrize("storage", [np.asarray, csr_array])
    def test_keeps_the_affinities(self, storage, rng):
        S = storage(rng.uniform(size=(30, 30)))
        copy = S.copy()
        spectral_start(S, 2, state())
        assert abs(S - copy).max() == 0.0

    @pytest.mark.parametrize("d", [1, 2, 3, 5])
    @pytest.mark.parametrize("sizes", [(1, 1), (2, 1), (2, 2), (1, 2, 3, 150), (1,) * 20, (120, 110)])
    def test_of_parts_is_finite_and_no_two_points_coincide(self, sizes, d):
        start = spectral_start(csr_array(cliques(*sizes)), d, state())
        assert start.shape == (sum(sizes), d)
        assert np.isfinite(start).all()
        assert len(np.unique(start, axis=0)) == len(start)
        assert start.std(axis=0).max() == pytest.approx(1e-4)
        assert_array_equal(start, spectral_start(csr_array(cliques(*sizes)), d, state()))

    @pytest.mark.parametrize("d", [1, 2, 3])
    def test_keeps_parts_apart(self, d):
        start = spectral_start(csr_array(block_diag([path(40), path(160), path(40)])), d, state())
        labels = np.repeat([0, 1, 2], [40, 160, 40])
        centers = np.array([start[labels == part].mean(axis=0) for part in range(3)])
        spread = [np.linalg.norm(start[labels == part].std(axis=0)) for part in range(3)]
        assert_allclose(spread[0], spread[2], rtol=0.05)
        assert 1.8 < spread[1] / spread[0] < 2.2  # four times the points, four times the area
        gaps = np.linalg.norm(centers[:, None] - centers[None], axis=-1)[np.triu_indices(3, 1)]
        assert gaps.min() > 2.0 * max(spread)

    @pytest.mark.parametrize("d", [3, 5])
    @pytest.mark.parametrize("n_parts", [4, 5, 12, 50])
    def test_lays_parts_over_a_sphere(self, d, n_parts):
        start = spectral_start(csr_array(cliques(*(6,) * n_parts)), d, state())
        centers = start.reshape(n_parts, 6, d).mean(axis=1)[:, :3]
        directions = centers / np.linalg.norm(centers, axis=1, keepdims=True)
        widths = np.linalg.svd(directions - directions.mean(axis=0), compute_uv=False)
        assert widths[2] > 0.4 * widths[0]  # 0 in a plane
        nearest = pdist(directions).min()
        assert nearest > 0.6 * np.sqrt(4.0 * np.pi / n_parts)  # the width of a part's share of the sphere

    def test_parts_points_with_the_same_neighbors(self):
        twins = csr_array(np.kron(path(30), np.ones((2, 2))))
        start = spectral_start(twins, 2, state())
        between = np.linalg.norm(start[::2] - start[1::2], axis=1)
        assert 1e-3 * 1e-4 < np.median(between) < 0.05 * 1e-4

    def test_does_not_join_parts_by_affinities_of_zero(self):
        entries = csr_array(np.maximum(cliques(6, 6), 1e-30))
        entries.data[entries.data == 1e-30] = 0.0
        assert entries.nnz == 144
        assert_allclose(spectral_start(entries, 2, state()), spectral_start(cliques(6, 6), 2, state()))

    @pytest.mark.parametrize("least", [1e-300, 1e-320])
    def test_takes_rows_of_hardly_any_affinity(self, least):
        S = cliques(10)
        S[4] = S[:, 4] = least * (S[4] > 0.0)
        assert np.isfinite(spectral_start(S, 2, state())).all()


class TestRescale:
    def test_centers_a_map_and_keeps_its_shape(self, rng):
        Y = rng.normal(size=(50, 3)) * [1.0, 7.0, 2.0] + 100.0
        copy = Y.copy()
        start = rescale(Y)
        assert_allclose(start.mean(axis=0), 0.0, atol=1e-18)
        assert start.std(axis=0).max() == pytest.approx(1e-4)
        assert_allclose(start / start[0, 0], (Y - Y.mean(axis=0)) / (Y - Y.mean(axis=0))[0, 0], rtol=1e-9)
        assert_array_equal(Y, copy)
        assert rescale(Y, 3.0).std(axis=0).max() == pytest.approx(3.0)

    def test_takes_lists_float32_and_points_at_one_place(self):
        assert_allclose(rescale([[0, 4], [2, 4]]), [[-1e-4, 0.0], [1e-4, 0.0]])
        assert rescale(np.ones((3, 2), dtype=np.float32)).dtype == np.float64
        assert_array_equal(rescale(np.full((30, 1), -0.1)), 0.0)


class TestSeparate:
    def test_leaves_different_points_as_they_are(self, rng):
        Y = np.repeat(rng.normal(size=(20, 1)), 2, axis=1) * [1.0, 0.0] + np.arange(20.0)[:, None] % 2
        assert separate(Y, state()) is Y

    @pytest.mark.parametrize("d", [1, 2, 3])
    def test_moves_all_but_one_of_those_that_coincide_a_little(self, d, rng):
        different = rng.normal(size=(40, d))
        Y = np.vstack([different, different[:3], different[:1]])
        copy = Y.copy()
        start = separate(Y, state())
        assert_array_equal(Y, copy)
        assert len(np.unique(start, axis=0)) == 44
        assert_array_equal(start[3:40], Y[3:40])
        assert np.count_nonzero((start != Y).any(axis=1)) == 4
        assert np.abs(start - Y).max() < 0.05 * Y.std(axis=0).max()
        assert_array_equal(separate(Y, state()), start)

    @pytest.mark.parametrize("Y", [np.zeros((30, 2)), np.full((30, 2), 1e3), np.full((30, 1), -0.1)])
    def test_spreads_points_at_one_place(self, Y):
        start = separate(Y, state())
        assert len(np.unique(start, axis=0)) == 30
        assert 5e-5 < start.std() < 2e-4


@pytest.mark.parametrize("n_columns", [6, 150, 1200])
@pytest.mark.parametrize(("different", "varying"), [(2, 150), (4, 1), (36, 1), (36, 150)])
def test_principal_components_of_sparse_rows_repeat_and_are_those_of_dense_ones(n_columns, different, varying, rng):
    # Where the rows vary in fewer directions than components are wanted, ARPACK goes on at random.
    X = rng.normal(size=(different, n_columns))[np.arange(36) % different]
    X[:, varying:] = 3.7
    first, *others = (pca_start(csr_array(X), 3, state()) for _ in range(20))
    for other in others:
        assert_array_equal(other, first)
    assert_allclose(np.abs(first), np.abs(pca_start(X, 3, state())), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("different", [2, 3, 120])
@pytest.mark.parametrize("n_components", [2, 5])
def test_the_spectral_start_repeats(different, n_components, rng):
    S = rng.uniform(size=(different, different))[np.ix_(np.arange(120) % different, np.arange(120) % different)]
    first, *others = (spectral_start(S, n_components, state()) for _ in range(10))
    for other in others:
        assert_array_equal(other, first)
