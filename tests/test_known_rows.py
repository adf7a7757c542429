"""Rows of a fit are found again by their values."""

import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix

from sktsne.known_rows import KnownRows


@pytest.mark.parametrize("storage", [np.asarray, csr_array, csr_matrix])
def test_the_first_of_equal_rows_and_one_kind_of_zero(storage):
    X = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0], [0.0, 0.0]])
    known = KnownRows(storage(X))
    found, places = known.find(storage(np.array([[0.0, 2.0], [1.0, -0.0], [2.0, 0.0], [-0.0, 0.0]])))
    assert found.tolist() == [True, True, False, True]
    assert places.tolist() == [1, 0, 3]
    assert known.match(storage(-0.0 + X))
    assert not known.match(storage(X[:3]))
    assert not known.match(storage(X[::-1]))


def test_precision_is_no_part_of_a_row(rng):
    X = rng.normal(size=(20, 3)).astype(np.float32)
    known = KnownRows(X)
    assert known.match(X.astype(np.float64))
    assert not known.find(X + np.float32(1e-6))[0].any()


def test_sparse_rows_are_told_by_their_values():
    row = csr_array((np.array([2.0, 1.0]), np.array([3, 0]), np.array([0, 2])), shape=(1, 4))
    zeros = csr_array((np.array([1.0, 0.0, 2.0]), np.array([0, 2, 3]), np.array([0, 3])), shape=(1, 4))
    assert KnownRows(row).match(zeros)
    assert KnownRows(row).match(csr_array(row.toarray()))
    assert row.indices.tolist() == [3, 0]
    assert zeros.nnz == 3
    assert not KnownRows(row).find(csr_array(np.array([[1.0, 2.0, 0.0, 0.0]])))[0].any()


def test_zeros_of_a_graph_are_distances():
    # Two groups of equal rows: the neighbors of each are its own, at distance 0.
    graph = csr_array((np.zeros(8), np.array([0, 1, 0, 1, 2, 3, 2, 3]), np.arange(0, 9, 2)), shape=(4, 4))
    found, places = KnownRows(graph, explicit_zeros=True).find(graph[2:])
    assert found.all()
    assert places.tolist() == [2, 2]
    assert KnownRows(graph, explicit_zeros=True).match(-1.0 * graph)


@pytest.mark.parametrize("storage", [np.asarray, csr_array])
def test_equal_rows_have_a_group_in_common(storage):
    X = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, -0.0], [0.0, 0.0], [0.0, 2.0]])
    groups = KnownRows(storage(X)).groups
    assert np.array_equal(groups[:, None] == groups, (X[:, None] == X).all(axis=-1))


def test_precisions_give_the_same_hashes_in_any_layout(rng):
    X = rng.normal(size=(30, 4)).astype(np.float32)
    hashes = KnownRows(X).hashes
    for same in X.astype(np.float64), np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2]:
        assert np.array_equal(KnownRows(same).hashes, hashes)
