"""Rows are scaled and centered only where their squares would overflow or vanish."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from sktsne.conditioning import FAR, FARTHEST, Conditioning
from sktsne.neighbors import METRICS, all_distances, nearest_neighbors, traits_of

FOLLOWING = [metric for metric in METRICS if traits_of(metric).follows_scale]


def conditioned(X, metric="euclidean"):
    return Conditioning(X, metric)(X)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("storage", [np.asarray, csr_array])
def test_rows_of_common_sizes_stay_as_they_are(metric, storage, rng):
    for dtype in np.float32, np.float64:
        X = storage((1e6 + rng.normal(size=(10, 3))).astype(dtype))
        for rescale in True, False:
            conditioning = Conditioning(X, metric, rescale)
            assert conditioning(X) is X
            new = X[:4]
            assert conditioning(new) is new


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine", "correlation", "chebyshev", "canberra"])
@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**-900, 2.0**-200, 2.0**200, 2.0**900, 2.0**1020])
def test_squares_neither_overflow_nor_vanish(metric, scale, rng):
    X = rng.normal(size=(100, 20))
    expected = nearest_neighbors(X, 10, metric)
    graph = nearest_neighbors(conditioned(X * scale, metric), 10, metric)
    assert_array_equal(graph.indices, expected.indices)
    ratio = graph.distances / expected.distances
    assert_allclose(ratio, ratio[0, 0], rtol=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e10])
@pytest.mark.parametrize("spread", [1.0, 2.0**-140, 2.0**300])
def test_a_common_offset_does_not_swamp_the_differences(offset, spread, rng):
    offset = offset * spread
    X = np.round(rng.normal(size=(100, 20)) * 64) / 64 * spread + offset  # exact at every offset
    graph = nearest_neighbors(conditioned(X), 10)
    expected = nearest_neighbors((X - offset) / spread, 10)
    assert_allclose(graph.distances / graph.distances.max(), expected.distances / expected.distances.max(), rtol=1e-9)


def test_rows_that_differ_by_very_little_are_centered(rng):
    X = np.zeros((50, 3))
    X[:, 0], X[:, 1:] = 7.0, 1e-200 * rng.normal(size=(50, 2))
    before = X.copy()
    graph, expected = nearest_neighbors(conditioned(X), 9), nearest_neighbors(1e200 * X[:, 1:], 9)
    assert_array_equal(graph.indices, expected.indices)
    assert_allclose(graph.distances / graph.distances[0, 0], expected.distances / expected.distances[0, 0], rtol=1e-9)
    assert_array_equal(X, before)


def test_other_metrics_and_the_caller_are_left_alone(rng):
    X = 1e200 * rng.normal(size=(10, 3))
    copy = X.copy()
    for metric in "precomputed", "haversine", "hamming", "jaccard", lambda a, b: 1.0:
        assert Conditioning(X, metric)(X) is X
    for storage in np.asarray, csr_array:
        rows = storage(X)
        assert abs(conditioned(rows)).max() < 10.0
        assert_array_equal(rows.toarray() if storage is csr_array else rows, copy)


def test_one_scale_serves_new_rows_and_those_of_the_fit(rng):
    X, new = 1e200 * rng.normal(size=(30, 4)), 1e200 * rng.normal(size=(5, 4))
    for storage in np.asarray, csr_array:
        conditioning = Conditioning(storage(X), "euclidean")
        everything = conditioning(storage(np.concatenate([X, new])))
        alone = conditioning(storage(new))
        difference = abs(everything[30:] - alone)
        assert difference.max() == 0.0


@pytest.mark.parametrize("storage", [np.asarray, csr_array])
def test_new_rows_far_beyond_all_others_are_bounded(storage, rng):
    X = rng.normal(size=(30, 4))
    conditioning = Conditioning(storage(X), "euclidean")
    far = conditioning(storage(np.full((2, 4), -1e300)))
    assert abs(far).max() == FAR * np.abs(X).max()
    near = storage(1e15 * X[:3])
    assert conditioning(near) is near
    assert abs(Conditioning(storage(X), "euclidean", rescale=False)(storage(np.full((2, 4), 1e300)))).max() == FARTHEST


@pytest.mark.parametrize("metric", FOLLOWING)
def test_rows_whose_scale_counts_are_not_scaled(metric, rng):
    X = 1e100 * rng.normal(size=(20, 3))
    assert Conditioning(X, metric, rescale=False)(X) is X
    if traits_of(metric).translation_invariant:
        with pytest.raises(
            ValueError, match=r"X has the absolute value .*, must have at most 1e\+150 .* Scale X and the bandwidth"
        ):
            Conditioning(1e100 * X, metric, rescale=False)


def test_rows_of_zeros_and_rows_without_differences(rng):
    for X in np.zeros((5, 3)), np.full((5, 3), 1e200), np.full((5, 3), 1e-200):
        rows = conditioned(X)
        assert np.isfinite(rows).all()
        assert all_distances(rows).max() == 0.0


def test_the_number_of_columns_is_checked(rng):
    with pytest.raises(ValueError, match=r"X has shape \(2, 4\), must have 3 columns"):
        Conditioning(np.eye(3), "euclidean")(np.ones((2, 4)))
