"""The starts."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from sktsne.initialization import pca_start, random_start, space_filling_order


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
def test_the_order_keeps_neighbours_together(d, rng):
    Y = 1e-4 * rng.normal(size=(3000, d))
    order = space_filling_order(Y)
    assert_array_equal(np.sort(order), np.arange(3000))
    steps = np.linalg.norm(np.diff(Y[order, :2], axis=0), axis=1)
    assert np.median(steps) < 0.1 * np.median(np.linalg.norm(np.diff(Y[:, :2], axis=0), axis=1))


def test_points_at_one_place_have_an_order():
    assert_array_equal(space_filling_order(np.zeros((5, 2))), np.arange(5))
