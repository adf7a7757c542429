"""The clustered search on a cluster: rows in shards, and the nearest neighbors of all rows and of new rows.

k-means on a sample of the rows gives centers, and each row belongs to the list of a center, as in
`neighbors.clustered`. Successive lists, which are near to each other, form a *shard*, so that most neighbors of a row
are in its own shard. In its shard a row has a new number: the number of rows in earlier shards plus its place.

The rows of a shard are searched among the members of the lists that they probe, which come from all shards: first
from their own, and at most `MOST_NUMBERS` of their coordinates at a time. A task takes the k nearest neighbors that are
known of each row, and returns the k nearest after its members. All tasks are the same for any number of workers, and so
is the result.

The neighbors of rows whose distances float32 does not resolve are not searched again in float64, as the search on one
machine does, unless a large part of the sample is such rows: it would need one more search of all shards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain, islice, pairwise, zip_longest
from operator import getitem
from typing import Any, NamedTuple

import dask
import numpy as np
from numpy.typing import NDArray

from .._process import one_blas_thread
from ..neighbors import Metric, canonical
from ..neighbors.all_pairs import following_duplicates, nearest_among
from ..neighbors.clustered import ROWS_AT_ONCE, offer_members
from ..neighbors.exact import EXTRA_CANDIDATES, uncertain_rows
from ..neighbors.selection import Nearest, no_own_index, sort_neighbors
from ..parallel import Workers
from ._cluster import Cluster
from ._index import Index, coordinates_of, indexed
from ._rows import Rows, asked

# The number of coordinates of the members among which a task searches, unless those of one shard have more. They are in
# the memory of its worker three times.
MOST_NUMBERS = 2**24
# If more than this part of a shard is needed, the whole shard is taken in place of a copy of the part.
MOST_COPIED = 0.75


class Shard(NamedTuple):
    """The rows of successive lists.

    Parameters
    ----------
    points : ndarray of shape (m, n_columns)
        The conditioned rows, list by list.
    rows : ndarray of shape (m,), int64
        Their numbers in the order of the user.
    of_rows : ndarray of shape (m,), int32
        Their lists, in ascending order.
    """

    points: NDArray[np.floating]
    rows: NDArray[np.int64]
    of_rows: NDArray[np.int32]


class Probes(NamedTuple):
    """The lists to search for each row: row i probes ``lists[starts[i] : starts[i + 1]]``.

    Parameters
    ----------
    starts : ndarray of shape (m + 1,), int64
        The bounds of the rows.
    lists : ndarray of shape (n_probes,), uint16 or int32
        The lists.
    """

    starts: NDArray[np.int64]
    lists: NDArray[np.integer]


class Piece(NamedTuple):
    """Members of some lists of a shard, or of several shards.

    Parameters
    ----------
    points : ndarray of shape (m, n_columns)
        The conditioned rows, list by list.
    numbers : ndarray of shape (m,), int32
        The new numbers of the members, in ascending order.
    of_rows : ndarray of shape (m,), int32
        Their lists, in ascending order.
    """

    points: NDArray[np.floating]
    numbers: NDArray[np.int32]
    of_rows: NDArray[np.int32]

    def bounds(self, index: Index) -> NDArray[np.intp]:
        """Return the bounds of all lists: list i has the members ``bounds[i]`` to ``bounds[i + 1]``.

        If all lists are searched, all members form one list.
        """
        if index.exhaustive:
            return np.array([0, len(self.points)])
        return np.searchsorted(self.of_rows, np.arange(len(index.lists.centers) + 1))


class State(NamedTuple):
    """The nearest neighbors of each row that are known, sorted by distance.

    Parameters
    ----------
    ids : ndarray of shape (m, k), int32
        The new numbers of the neighbors, -1 for a neighbor that is not yet known.
    distances : ndarray of shape (m, k), float32
        Their distances divided by `Index.distance_unit`; infinity for a neighbor that is not yet known.
    """

    ids: NDArray[np.int32]
    distances: NDArray[np.float32]


class Neighbors(NamedTuple):
    """The rows of a fit in shards, and their nearest neighbors.

    Parameters
    ----------
    shards : list of Future of Shard
        The shards, some of which may be empty.
    sizes : list of int
        The number of rows of each shard.
    offsets : ndarray of shape (n_shards + 1,), int64
        Shard s has the rows with the new numbers ``offsets[s]`` to ``offsets[s + 1]``.
    list_bounds : ndarray of shape (n_shards + 1,), int64
        Shard s has the lists ``list_bounds[s]`` to ``list_bounds[s + 1]``.
    index : Future of Index
        The index of the search.
    n_neighbors : int
        The number of neighbors.
    metric : str
        The canonical name of the metric.
    graphs : list of Future of State
        The neighbors of the rows of each shard. The list is empty as soon as `affinities_of` no longer needs them.
    """

    shards: list[Any]
    sizes: list[int]
    offsets: NDArray[np.int64]
    list_bounds: NDArray[np.int64]
    index: Any
    n_neighbors: int
    metric: str
    graphs: list[Any]


def find_neighbors(cluster: Cluster, rows: Rows, metric: Metric, n_neighbors: int) -> Neighbors:
    """Divide rows into shards and find the nearest neighbors of every row.

    Parameters
    ----------
    cluster : Cluster
        The cluster.
    rows : Rows
        The rows, whose ranges are released.
    metric : str
        "euclidean", "sqeuclidean", "cosine" or "correlation", or another name of one of these metrics.
    n_neighbors : int
        The number of neighbors, at most n - 1.
    """
    metric = str(canonical(metric))
    index, of_rows, sizes_of_lists = indexed(cluster, rows, metric, n_neighbors)
    n, n_shards = rows.n, len(rows.ranges)
    # A list belongs to the shard in whose part of the n rows its middle member is.
    middles = 2 * np.cumsum(sizes_of_lists) - sizes_of_lists
    list_bounds = np.searchsorted(np.minimum(middles * n_shards // (2 * n), n_shards - 1), np.arange(n_shards + 1))
    sizes = [int(sizes_of_lists[first:end].sum()) for first, end in pairwise(list_bounds)]
    shards = _exchanged(cluster, rows, of_rows, list_bounds)
    found = Neighbors(shards, sizes, np.cumsum([0, *sizes]), list_bounds, index, n_neighbors, metric, [])
    found.graphs.extend(_searched(cluster, found, sizes_of_lists, MOST_NUMBERS // rows.n_columns))
    return found


def _exchanged(cluster: Cluster, rows: Rows, of_rows: list[Any], list_bounds: NDArray[np.int64]) -> list[Any]:
    """Return the futures of the shards, and release the ranges.

    Plain tasks exchange the rows and not Dask's shuffle, because they keep the order of the rows, and because a part
    that is lost is computed again alone.
    """
    firsts = np.cumsum([0, *rows.lengths[:-1]]).tolist()
    splits = [
        cluster.run("split", _split, *part, list_bounds) for part in zip(rows.ranges, of_rows, firsts, strict=True)
    ]
    parts = [[cluster.run("part", getitem, split, s) for split in splits] for s in range(len(splits))]
    shards = [cluster.run("shard", _shard, *of_shard) for of_shard in parts]
    cluster.release([*rows.ranges, *of_rows, *splits, *chain(*parts)])
    rows.ranges.clear()
    of_rows.clear()
    return shards


def _split(
    rows: NDArray[np.floating], of_rows: NDArray[np.int32], first: int, list_bounds: NDArray[np.int64]
) -> list[Shard]:
    """Return the parts of a range that belong to each shard."""
    parts = []
    for start, stop in pairwise(list_bounds):
        places = np.flatnonzero((of_rows >= start) & (of_rows < stop))
        parts.append(Shard(rows[places], first + places, of_rows[places]))
    return parts


def _shard(*parts: Shard) -> Shard:
    """Return a shard, from its parts in the order of the ranges."""
    points, rows, of_rows = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(of_rows, kind="stable")
    return Shard(points[order], rows[order], of_rows[order])


def _searched(cluster: Cluster, neighbors: Neighbors, sizes_of_lists: NDArray[np.int64], most: int) -> list[Any]:
    """Return the futures of the neighbors of the rows of each shard, which are searched among ``most`` members."""
    shards, offsets, index, k = neighbors.shards, neighbors.offsets, neighbors.index, neighbors.n_neighbors
    probes = [cluster.run("probes", _probes, index, shard, k + 1) for shard in shards]
    needed = asked(cluster, "needed", _needed, probes, index)
    groups = [
        _groups(s, np.where(lists, sizes_of_lists, 0), neighbors.list_bounds, most) if neighbors.sizes[s] else []
        for s, lists in enumerate(needed)
    ]
    states: list[Any] = [None] * len(shards)
    # The first group of each shard, then the second of each, and so on.
    searches = iter([(s, group) for step in zip_longest(*groups) for s, group in enumerate(step) if group])

    def prepared(s: int, group: list[int]) -> tuple[int, list[Any]]:
        """Return the number of a shard, and the members of a group of shards among which it is searched."""
        lists = [(t, *neighbors.list_bounds[t : t + 2].tolist()) for t in group]
        return s, [
            cluster.run("members", _members, shards[t], int(offsets[t]), needed[s][first:end], first, priority=1)
            for t, first, end in lists
        ]

    # One search is under way for each thread, because the members that all shards need may be more than fit in memory.
    # The members for the next ones are there already, because they would have to wait for the search under way on the
    # worker that has them.
    n_threads, under_way, next_ones = max(1, cluster.n_threads), deque[Any](), deque[Any]()
    while True:
        next_ones.extend(prepared(*search) for search in islice(searches, n_threads + 1 - len(next_ones)))
        if not next_ones:
            break
        if len(under_way) == n_threads:
            cluster.wait([under_way.popleft()])
        s, pieces = next_ones.popleft()
        old = states[s]
        states[s] = cluster.run("search", _search, index, k, shards[s], int(offsets[s]), probes[s], old, *pieces)
        under_way.append(states[s])
        # A worker frees them as soon as the search has ended.
        cluster.release(pieces if old is None else [old, *pieces])
        del old, pieces
    graphs = [
        cluster.run("neighbors", _spread, index, k, state, shard, int(offset))
        for state, shard, offset in zip(states, shards, offsets, strict=False)
    ]
    cluster.release([*probes, *(state for state in states if state is not None)])
    return graphs


def _groups(s: int, sizes: NDArray[np.int64], list_bounds: NDArray[np.int64], most: int) -> list[list[int]]:
    """Return the groups of shards among whose members shard s is searched, from the members it needs of each list.

    Of a group of several shards, at most ``most`` members are needed.
    """
    groups: list[list[int]] = []
    n_shards, total = len(list_bounds) - 1, 0
    for t in np.roll(np.arange(n_shards), -s).tolist():
        size = int(sizes[slice(*list_bounds[t : t + 2])].sum())
        if size == 0:
            continue
        if not groups or total + size > most:
            groups.append([])
            total = 0
        groups[-1].append(t)
        total += size
    return [sorted(group) for group in groups]


def _probes(index: Index, shard: Shard, wanted: int) -> Probes | None:
    """Return the lists that the rows of a shard probe, or None if they probe all lists."""
    if index.exhaustive:
        return None
    space = index.space(shard.points)

    def probes_of(start: int, stop: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        coordinates, of_rows = coordinates_of(space, shard.points[start:stop]), shard.of_rows[start:stop]
        rows, lists = index.lists.probes_of_members(coordinates, of_rows, wanted)
        # Each row probes its own list, even if the centers of others are nearer.
        others = lists != of_rows[rows]
        own = np.arange(len(of_rows), dtype=np.int32)
        return np.concatenate([own, rows[others]]), np.concatenate([of_rows, lists[others]])

    return _compressed([probes_of(*block) for block in _blocks(len(shard.points))], index)


def _blocks(n: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of blocks of n rows."""
    for start in range(0, n, ROWS_AT_ONCE):
        yield start, min(start + ROWS_AT_ONCE, n)


def _compressed(blocks: list[tuple[NDArray[np.int32], NDArray[np.int32]]], index: Index) -> Probes:
    """Return the probes of successive blocks of rows, given as pairs of a row and a list."""
    # The probes of all rows may take more memory than the rows, so they have the smallest dtype.
    dtype = np.uint16 if len(index.lists.centers) < 2**16 else np.int32
    counts, lists = [np.zeros(1, dtype=np.int64)], [np.zeros(0, dtype=dtype)]
    for rows, probed in blocks:
        counts.append(np.bincount(rows))
        lists.append(probed[np.argsort(rows, kind="stable")].astype(dtype))
    return Probes(np.cumsum(np.concatenate(counts)), np.concatenate(lists))


def _needed(probes: Probes | None, index: Index) -> NDArray[np.bool_]:
    """Return whether each list has members and is probed by any row."""
    needed = np.full(len(index.lists.centers), probes is None)
    if probes is not None:
        needed[probes.lists] = True
    return needed & (index.lists.sizes > 0)


def _members(shard: Shard, offset: int, needed: NDArray[np.bool_], first_list: int) -> Piece:
    """Return the members of the lists of a shard that are needed, the first of which is ``first_list``."""
    places = np.flatnonzero(needed[shard.of_rows - first_list])
    if len(places) > MOST_COPIED * len(shard.points):
        return Piece(shard.points, np.arange(offset, offset + len(shard.points), dtype=np.int32), shard.of_rows)
    return Piece(shard.points[places], (offset + places).astype(np.int32), shard.of_rows[places])


def _joined(*pieces: Piece) -> Piece:
    """Return members of several shards, which are given in the order of the shards."""
    return pieces[0] if len(pieces) == 1 else Piece(*(np.concatenate(arrays) for arrays in zip(*pieces, strict=True)))


def _begun(state: State | None, shard: Shard, k: int) -> State:
    """Return a copy of the state of a shard, or its first state before any search."""
    if state is not None:
        return State(state.ids.copy(), state.distances.copy())
    shape = len(shard.points), k
    return State(np.full(shape, -1, dtype=np.int32), np.full(shape, np.inf, dtype=np.float32))


def _probes_in(
    probes: Probes | None, bounds: NDArray[np.intp], start: int, stop: int
) -> tuple[NDArray[np.intp], tuple[NDArray[np.int32], NDArray[np.int32]]]:
    """Return which rows of a block probe lists that have members, and their probes for `offer_members`."""
    n = stop - start
    if probes is None:
        return np.arange(start, stop), (np.arange(n, dtype=np.int32), np.zeros(n, dtype=np.int32))
    starts = probes.starts[start : stop + 1]
    lists = probes.lists[starts[0] : starts[-1]].astype(np.int32)
    here = (np.diff(bounds) > 0)[lists]
    of_rows = np.repeat(np.arange(n), np.diff(starts))[here]
    searched = np.bincount(of_rows, minlength=n) > 0
    places = np.cumsum(searched, dtype=np.int32) - 1
    return start + np.flatnonzero(searched), (places[of_rows], lists[here])


def _search(
    index: Index, k: int, shard: Shard, offset: int, probes: Probes | None, state: State | None, *pieces: Piece
) -> State:
    """Return the state of a shard after its rows were compared with the members of some pieces."""
    piece, (ids, distances) = _joined(*pieces), _begun(state, shard, k)
    n_members, bounds, space = len(piece.points), piece.bounds(index), index.space(piece.points)
    right = space.operand(space.points, False, index.dtype)
    # The candidates 0 to k - 1 are the neighbors that are known, and candidate k + i is member i.
    members = np.arange(k, k + n_members, dtype=np.int32)
    for start, stop in _blocks(len(shard.points)):
        rows, (places, lists) = _probes_in(probes, bounds, start, stop)
        if len(rows) == 0:
            continue
        points = space.points_of(shard.points[rows])
        place = np.searchsorted(piece.numbers, offset + rows)
        is_member = piece.numbers[np.minimum(place, n_members - 1)] == offset + rows
        own = np.where(is_member, k + place, -1).astype(np.int32)
        nearest = Nearest(own, k + n_members, k, index.dtype)
        nearest.begin(space.values_of(distances[rows], index.dtype))
        left = space.operand(points, True, index.dtype)
        # Members of its own list are offered to a row first, because most neighbors are among them.
        first = lists == shard.of_rows[rows][places]
        for part in (first, ~first) if first.any() else (~first,):
            offer_members(space, nearest, left, right, members, bounds, (places[part], lists[part]))
        found = nearest.found(Workers())[1]
        new = found >= k
        changed = np.flatnonzero(new.any(axis=1))
        rows, found, new = rows[changed], found[changed], new[changed]
        known = np.where(new, 0, found)
        lengths, numbers = (np.take_along_axis(array[rows], known, axis=1) for array in (distances, ids))
        exact = space.exact_distances_where(new, points[changed], found - k, Workers()) / space.distance_unit
        lengths[new], numbers[new] = exact, piece.numbers[found[new] - k]
        ids[rows], distances[rows] = numbers, lengths
    return State(ids, distances)


def _spread(index: Index, k: int, state: State | None, shard: Shard, offset: int) -> State:
    """Return the sorted neighbors of a shard, where rows with many duplicates have the duplicates that follow them."""
    ids, distances = _begun(state, shard, k)
    n = int(index.lists.sizes.sum())
    for start, stop in _blocks(len(ids)):
        lengths = distances[start:stop].astype(np.float64)
        sort_neighbors(lengths, ids[start:stop], np.arange(offset + start, offset + stop, dtype=np.int32), n, Workers())
        distances[start:stop] = lengths  # which float32 holds exactly
    rows, following = following_duplicates(distances, index.space(shard.points).points)
    ids[rows] = offset + following
    return State(ids, distances)


def neighbors_of_block(neighbors: Neighbors, block: Any) -> Any:
    """Return the nearest rows of the fit to new rows, lazily.

    Parameters
    ----------
    neighbors : Neighbors
        The rows of the fit.
    block : Delayed or Future
        The new rows, checked and conditioned, an ndarray of shape (m, n_columns).

    Returns
    -------
    found : Delayed
        The new numbers of the neighbors of each row, int32 of shape (m, k), and their distances, float64, sorted by
        distance. They do not depend on the other rows of the block.
    """
    k = neighbors.n_neighbors
    probes = dask.delayed(_probes_of_new)(neighbors.index, block, k + EXTRA_CANDIDATES)
    parts = [
        dask.delayed(_nearest_in_shard)(neighbors.index, shard, int(offset), bounds, block, probes, k)
        for shard, offset, bounds, size in zip(
            neighbors.shards, neighbors.offsets, pairwise(neighbors.list_bounds.tolist()), neighbors.sizes, strict=False
        )
        if size
    ]
    return dask.delayed(_nearest_of_shards)(k, *parts)


def _probes_of_new(index: Index, rows: NDArray[np.floating], wanted: int) -> Probes | None:
    """Return the lists that new rows probe, or None if they probe all lists."""
    if index.exhaustive:
        return None
    space, wanted = index.space(rows), min(wanted, int(index.lists.sizes.sum()))
    coordinates = space.coordinates(space.points)
    blocks = [
        index.lists.probes(coordinates[start:stop], index.lists.exact_scores, wanted)
        for start, stop in _blocks(len(rows))
    ]
    return _compressed(blocks, index)


@one_blas_thread()
def _nearest_in_shard(
    index: Index,
    shard: Shard,
    offset: int,
    lists: tuple[int, int],
    new: NDArray[np.floating],
    probes: Probes | None,
    k: int,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the new numbers and the distances of the members of a shard that are nearest to new rows.

    As in `neighbors.exact`, more candidates than neighbors are found by their values, differences of coordinates decide
    among the candidates, and rows for which rounding may have kept a neighbor from being a candidate are searched
    again.
    A neighbor that a row does not find in the shard has the number -1 and an infinite distance.
    """
    piece = _members(shard, offset, _needed(probes, index)[slice(*lists)], lists[0])
    n_members, n_candidates, bounds = len(piece.points), k + EXTRA_CANDIDATES, piece.bounds(index)
    ids, distances = np.full((len(new), k), -1, dtype=np.int32), np.full((len(new), k), np.inf)
    space, new_points = index.space(piece.points), index.space(new).points
    right, members = space.operand(space.points, False, index.dtype), np.arange(n_members, dtype=np.int32)
    for start, stop in _blocks(len(new)):
        rows, pairs = _probes_in(probes, bounds, start, stop)
        if len(rows) == 0 or n_members == 0:
            continue
        points, own = new_points[rows], no_own_index(len(rows))
        nearest = Nearest(own, n_members, n_candidates, index.dtype)
        offer_members(space, nearest, space.operand(points, True, index.dtype), right, members, bounds, pairs)
        _, places, counts = nearest.found(Workers())
        there = np.arange(n_candidates) < counts[:, None]
        found, exact = np.where(there, places, 0), np.full(places.shape, np.inf)
        exact[there] = space.exact_distances_where(there, points, found, Workers())
        sort_neighbors(exact, found, own, n_members, Workers())
        full = np.flatnonzero(there[:, -1])
        for row in full[uncertain_rows(space, points[full], exact[full], k, index.dtype)]:
            columns = [members[bounds[i] : bounds[i + 1]] for i in pairs[1][pairs[0] == row]]
            nearer = nearest_among(space, points[row : row + 1], -1, np.concatenate(columns), k)
            exact[row, :k], found[row, :k] = nearer
        exact, found = exact[:, :k], found[:, :k]
        ids[rows], distances[rows] = np.where(np.isfinite(exact), piece.numbers[found], -1), exact
    return ids, distances


def _nearest_of_shards(
    k: int, *parts: tuple[NDArray[np.int32], NDArray[np.float64]]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the nearest rows of all shards."""
    ids, distances = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
    order = np.lexsort((ids, distances), axis=1)[:, :k]
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(distances, order, axis=1)
