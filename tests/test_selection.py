"""The nearest candidates and the distances of chosen pairs: compiled routines and references, against full sorts."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from rows import differences

from sktsne import _native
from sktsne.neighbors.selection import (
    BUFFER_SIZE,
    Nearest,
    offer_reference,
    pair_distances,
    pair_distances_reference,
    select_nearest_reference,
    sort_neighbors,
    sort_neighbors_reference,
)
from sktsne.parallel import Workers

compiled = pytest.mark.skipif(not _native.COMPILED, reason="not compiled")
both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def sorted_rows(values, own, n, k, columns=None):
    """Return the first k candidates of each row: by value, and then those that follow the row; as a full sort."""
    columns = np.arange(values.shape[1]) if columns is None else columns
    found = []
    for row, number in zip(values, own, strict=True):
        ranks = np.where(columns >= number, columns - number, columns - number + n)
        keys = zip(row.tolist(), ranks.tolist(), columns.tolist(), strict=True)
        keys = sorted(key for key in keys if key[2] != number and not np.isnan(key[0]))
        found.append([(v, j) for v, _, j in keys[:k]])
    return found


def assert_found(nearest, expected, k, workers=None):
    values, indices, counts = nearest.found(workers or Workers())
    for i, row in enumerate(expected):  # found in no order
        assert sorted(zip(values[i, : counts[i]].tolist(), indices[i, : counts[i]].tolist(), strict=True)) == sorted(
            row
        )


def values_of(kind, rng, m, n, dtype):
    values = rng.normal(size=(m, n))
    if kind == "ties":
        values = np.round(values)
    if kind == "equal":
        values = np.zeros((m, n))
    if kind == "with NaN":
        values[rng.uniform(size=(m, n)) < 0.5] = np.nan
    if kind == "with infinities":
        values = np.round(values)
        values[rng.uniform(size=(m, n)) < 0.3] = np.inf
        values[rng.uniform(size=(m, n)) < 0.1] = -np.inf
    if kind == "descending":
        values = -np.sort(-values, axis=1)
    return values.astype(dtype)


KINDS = ["distinct", "ties", "equal", "with NaN", "with infinities", "descending"]


@pytest.mark.usefixtures("backend")
class TestNearest:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("k", [1, 3, 40, 200])
    @both_types
    def test_of_all_candidates(self, kind, k, dtype, rng):
        values = values_of(kind, rng, 31, 400, dtype)
        own = rng.permutation(400)[:31].astype(np.int32)
        own[3] = own[17] = -1
        nearest = Nearest(own, 400, k, dtype)
        nearest.offer(values, np.arange(400, dtype=np.int32))
        assert_found(nearest, sorted_rows(values, own, 400, k), k)

    @pytest.mark.parametrize("kind", KINDS)
    @both_types
    def test_does_not_depend_on_the_order_of_the_offers(self, kind, dtype, rng):
        n, k = 150, 20
        values, own = values_of(kind, rng, n, n, dtype), np.arange(n, dtype=np.int32)
        expected = sorted_rows(values, own, n, k)
        for sizes in [7, 64, 100], [33]:
            nearest, columns = Nearest(own, n, k, dtype), rng.permutation(n).astype(np.int32)
            first = number = 0
            while first < n:
                part = columns[first : first + sizes[number % len(sizes)]]
                for rows in np.array_split(rng.permutation(n).astype(np.int32), 3):
                    nearest.offer(np.ascontiguousarray(values[np.ix_(rows, part)]), part, rows)
                first, number = first + len(part), number + 1
            with Workers(1 + number % 3) as workers:
                assert_found(nearest, expected, k, workers)

    @both_types
    def test_fewer_candidates_than_neighbors(self, dtype, rng):
        values, own = values_of("with NaN", rng, 20, 30, dtype), np.arange(20, dtype=np.int32)
        values[4] = np.nan
        columns = rng.permutation(1000)[:30].astype(np.int32)
        nearest = Nearest(own, 1000, 50, dtype)
        assert_found(nearest, [[]] * 20, 50)
        nearest.offer(values, columns)
        nearest.offer(np.empty((20, 0), dtype), columns[:0])
        nearest.offer(np.empty((0, 30), dtype), columns, own[:0])
        assert_found(nearest, sorted_rows(values, own, 1000, 50, columns), 50)

    def test_of_equal_candidates_those_that_follow(self):
        nearest = Nearest(np.array([0, 2, 4, -1], dtype=np.int32), 5, 2, np.float64)
        nearest.offer(np.zeros((4, 5)), np.arange(5, dtype=np.int32))
        assert np.sort(nearest.found(Workers())[1], axis=1).tolist() == [[1, 2], [3, 4], [0, 1], [0, 1]]

    @pytest.mark.parametrize("k", [1, 20])
    @both_types
    def test_of_the_lists_that_are_probed(self, k, dtype, rng):
        """Lists of no, one and many members, probed by no, one and many rows; products of integers are exact."""
        sizes = [0, 700, 1, 30, 0, 269, 0]
        members, bounds = rng.permutation(1000).astype(np.int32), np.concatenate([[0], np.cumsum(sizes)])
        left, right = (rng.integers(-9, 10, size=(m, 6)).astype(dtype) for m in (300, 1000))
        own = np.arange(500, 800, dtype=np.int32)
        probes = rng.random((300, 7)) < [1.0, 1.0, 0.5, 0.1, 0.5, 0.0, 0.0]
        probes[7, 1:] = False
        probes[0, 5] = True
        nearest = Nearest(own, 1000, k, dtype)
        for some in probes & (np.arange(7) < 2), probes & (np.arange(7) >= 2):
            lists, rows = np.nonzero(some.T)
            ends = np.searchsorted(lists, np.arange(8))
            nearest.offer_lists(left, right, members, bounds, rows.astype(np.int32), ends)
        values = np.full((300, 1000), np.nan, dtype)
        for row, probed in enumerate(probes):
            at = np.repeat(probed, sizes)
            values[row, members[at]] = left[row] @ right[at].T
        assert_found(nearest, sorted_rows(values, own, 1000, k), k)

    @pytest.mark.parametrize("k", [1, 5, 60])
    def test_neighbors_in_order(self, k, rng):
        distances = np.round(rng.uniform(0.0, 3.0, size=(80, k)))
        indices = np.argsort(rng.uniform(size=(80, 300)), axis=1)[:, :k].astype(np.int32)
        own = np.arange(100, 180, dtype=np.int32)
        order = np.lexsort(((indices - own[:, None]) % 300, distances), axis=1)
        expected = np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1)
        with Workers(2) as workers:
            sort_neighbors(distances, indices, own, 300, workers)
        assert_array_equal(distances, expected[0])
        assert_array_equal(indices, expected[1])


@compiled
class TestTwins:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("k", [1, 8, 150])
    @both_types
    def test_offer_and_select(self, kind, k, dtype, rng):
        """Both find the same, though what is behind the first k differs until the rows are put in order."""
        n, m, named = 500, 40, "float" if dtype == np.float32 else "double"
        own = rng.permutation(n)[:m].astype(np.int32)
        results = []
        routines = [
            (offer_reference, select_nearest_reference),
            tuple(_native.choose("neighbors", name, None, named) for name in ("offer", "select_nearest")),
        ]
        values, columns = values_of(kind, rng, m, n, dtype), rng.permutation(n).astype(np.int32)
        for offer, select in routines:
            best, indices = (
                np.full((m, k + BUFFER_SIZE), -7.0, dtype),
                np.full((m, k + BUFFER_SIZE), -7, dtype=np.int32),
            )
            counts, limits = np.zeros(m, dtype=np.int32), np.full(m, np.inf, dtype)
            for first in range(0, n, 90):
                rows = np.arange(30 if first == 0 else m, dtype=np.int32)[::-1].copy()
                part = columns[first : first + 90]
                some = np.ascontiguousarray(values[np.ix_(rows, part)])
                offer(some, part, rows, own, n, k, best, indices, counts, limits)
            before = best.copy()
            select(best, indices, counts, own, n, k, 5, 33)
            assert_array_equal(best[:5], before[:5])
            assert_array_equal(best[33:], before[33:])
            select(best, indices, counts, own, n, k, 0, 5)
            select(best, indices, counts, own, n, k, 33, m)
            assert counts.max() <= k
            results.append(
                [sorted(zip(best[i, :c].tolist(), indices[i, :c].tolist(), strict=True)) for i, c in enumerate(counts)]
            )
        assert results[0] == results[1]

    @pytest.mark.parametrize("k", [1, 2, 16, 17, 40, 500])
    def test_sort_neighbors(self, k, rng):
        distances = np.round(rng.uniform(0.0, 9.0, size=(30, k)), 1)
        indices = np.argsort(rng.uniform(size=(30, 600)), axis=1)[:, :k].astype(np.int32)
        own, results = rng.permutation(600)[:30].astype(np.int32), []
        for sort in sort_neighbors_reference, _native.choose("neighbors", "sort_neighbors", None):
            copies = distances.copy(), indices.copy()
            sort(*copies, own, 600, 3, 28)
            assert_array_equal(copies[0][:3], distances[:3])
            assert_array_equal(copies[1][28:], indices[28:])
            results.append(copies)
        assert_array_equal(results[0][0], results[1][0])
        assert_array_equal(results[0][1], results[1][1])

    @pytest.mark.parametrize("n_columns", [0, 1, 2, 7, 8, 33])
    @pytest.mark.parametrize("new_type", [np.float32, np.float64])
    @both_types
    def test_pair_distances(self, n_columns, dtype, new_type, rng):
        X, new = rng.normal(size=(30, n_columns)).astype(dtype), rng.normal(size=(50, n_columns)).astype(new_type)
        indices = rng.integers(0, 30, size=(50, 9)).astype(np.int32)
        named = ["float" if type_ == np.float32 else "double" for type_ in (new_type, dtype)]
        routines = pair_distances_reference, _native.choose("neighbors", "pair_distances", None, *named)
        results = np.full((2, 50, 9), -1.0)
        for routine, distances in zip(routines, results, strict=True):
            routine(new, X, indices, distances, 3, 40)
        assert_allclose(results[0], results[1], rtol=1e-14)
        assert_allclose(results[0][3:40], np.take_along_axis(differences(new, X), indices, 1)[3:40], rtol=1e-14)
        assert (results[:, :3] == -1.0).all()
        assert (results[:, 40:] == -1.0).all()


@pytest.mark.usefixtures("backend")
class TestPairDistances:
    def test_many_neighbors_are_taken_in_blocks(self, rng, monkeypatch):
        monkeypatch.setattr("sktsne.neighbors.selection.NUMBERS_AT_ONCE", 60)
        X, new = rng.normal(size=(30, 3)), rng.normal(size=(50, 3))
        indices = rng.integers(0, 30, size=(50, 9)).astype(np.int32)
        with Workers(2) as workers:
            distances = pair_distances(new, X, indices, workers)
        assert_allclose(distances, np.take_along_axis(differences(new, X), indices, 1), rtol=1e-14)

    def test_a_pair_does_not_depend_on_the_others(self, rng):
        X, new = rng.normal(size=(30, 13)), rng.normal(size=(50, 13))
        indices = rng.integers(0, 30, size=(50, 9)).astype(np.int32)
        everything = pair_distances(new, X, indices, Workers())
        for i, j in (0, 0), (7, 3), (49, 8):
            alone = pair_distances(new[i : i + 1], X, indices[i : i + 1, j : j + 1], Workers())
            assert alone[0, 0] == everything[i, j]
