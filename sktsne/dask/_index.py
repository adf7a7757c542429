"""The index of a search on a cluster: the centers of lists, the list of each row, and the lists that a row probes.

Only the rows of k-means and those of the sample come together on a worker. All others stay in their ranges.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._row_errors import numbering
from ..neighbors.all_pairs import brute_force_candidates
from ..neighbors.clustered import (
    MAX_CENTER_VALUES,
    MAX_PROBED,
    ListIndex,
    as_float32,
    assigned_lists,
    count_lists,
    draw,
    k_means,
    measure,
    suffices_in_float32,
)
from ..neighbors.metrics import errors_that_name
from ..neighbors.selection import no_own_index
from ..neighbors.spaces import EuclideanSpace, Scale, median_of, median_stride, product_rounding
from ..parallel import Workers
from ._cluster import Cluster
from ._rows import Rows, asked, concatenated, take


class Index(NamedTuple):
    """What all searches need to know.

    Parameters
    ----------
    lists : ListIndex
        The index of the lists.
    metric : str
        The canonical name of the metric.
    scale : Scale
        The scale of all rows.
    dtype : type
        The dtype in which values are computed, numpy.float32 or numpy.float64.
    exhaustive : bool
        Whether all lists are searched for each row, because the lists that a row probes would have most of the rows.
    """

    lists: ListIndex
    metric: str
    scale: Scale
    dtype: Any
    exhaustive: bool

    def space(self, rows: NDArray[np.floating]) -> EuclideanSpace:
        """Return the space of conditioned rows, which are a part of the rows of the fit."""
        return EuclideanSpace(rows, self.metric, scale=self.scale)

    @property
    def distance_unit(self) -> float:
        """The power of two by which distances are divided, so that those of rows of any size fit into float32."""
        return self.space(self.scale.origin[None]).distance_unit


def indexed(cluster: Cluster, rows: Rows, metric: str, k: int) -> tuple[Any, list[Any], NDArray[np.int64]]:
    """Return the future of the index, the futures of the list of each row, and the sizes of the lists.

    Parameters
    ----------
    cluster : Cluster
        The cluster.
    rows : Rows
        The rows.
    metric : str
        The canonical name of the metric.
    k : int
        The number of neighbors.
    """
    n, ranges, lengths = rows.n, rows.ranges, rows.lengths
    firsts = np.cumsum([0, *lengths[:-1]]).tolist()
    origin = take(cluster, ranges, lengths, np.arange(0, n, median_stride(n)), _origin)
    squares = [
        cluster.run("length", _largest_square, part, first, metric, origin)
        for part, first in zip(ranges, firsts, strict=True)
    ]
    scale = cluster.run("scale", _scale, origin, *squares)
    # The bound on the number of centers is one on memory.
    draws = draw(n, min(count_lists(n), max(1, MAX_CENTER_VALUES // rows.n_columns)))
    n_lists = len(draws.first)
    centers = take(cluster, ranges, lengths, draws.of_centers, _centers, metric, scale, draws.first)
    of_rows = [cluster.run("lists", _lists_of, part, metric, scale, centers) for part in ranges]
    sizes: NDArray[np.int64] = np.sum(asked(cluster, "sizes", _count, of_rows, n_lists), axis=0)
    if k >= n // 4:
        index = cluster.run("index", _exhaustive_index, centers, sizes, metric, scale)
    else:
        sample = take(cluster, ranges, lengths, draws.sample)
        own = take(cluster, of_rows, lengths, draws.sample)
        for dtype in np.float32, np.float64:
            parts = [
                cluster.run("sample", _sample_in_range, *part, metric, scale, sample, draws.sample, 2 * k, dtype)
                for part in zip(ranges, of_rows, firsts, strict=True)
            ]
            nearest = cluster.run("sample", _nearest_of_parts, min(n - 1, 2 * k), *parts)
            suffices = asked(cluster, "precision", _suffices_in_float32, [nearest], metric, scale, sample, k)[0]
            cluster.release([*parts, nearest])
            if suffices:
                break
        index = cluster.run("index", _measured, centers, sizes, metric, scale, dtype, sample, own, nearest, k)
        cluster.release([sample, own])
    cluster.release([origin, *squares, scale, centers])
    return index, of_rows, sizes


def _origin(*parts: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the median of rows."""
    return median_of(concatenated(*parts))


def _largest_square(rows: NDArray[np.floating], first: int, metric: str, origin: NDArray[np.float64]) -> float:
    """Return the largest squared length of a range's points; raise an error for a row for which there are no angles."""
    with numbering(np.arange(first, first + len(rows))), errors_that_name(metric, None):
        return float(EuclideanSpace(rows, metric, scale=Scale(origin, 0.0)).squares.max())


def _scale(origin: NDArray[np.float64], *squares: float) -> Scale:
    """Return the scale of all rows, from the largest squared length in each range."""
    return Scale(origin, float(np.sqrt(max(squares))))


def coordinates_of(space: EuclideanSpace, rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the coordinates of rows in float32."""
    coordinates: NDArray[np.float32] = as_float32(space.coordinates(space.points_of(rows)))
    return coordinates


def _centers(metric: str, scale: Scale, first: NDArray[np.intp], *parts: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the centers that k-means computes of some rows."""
    space = EuclideanSpace(parts[0], metric, scale=scale)
    return k_means(np.concatenate([coordinates_of(space, rows) for rows in parts]), first, Workers())


def _lists_of(rows: NDArray[np.floating], metric: str, scale: Scale, centers: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return the list of each row of a range. Equal rows of all ranges are in the same list."""
    space, rounding = EuclideanSpace(rows, metric, scale=scale), product_rounding(rows.shape[1], np.float32)
    return assigned_lists(lambda some: coordinates_of(space, rows[some]), len(rows), centers, Workers(), rounding)


def _count(of_rows: NDArray[np.int32], n_lists: int) -> NDArray[np.int64]:
    """Return the number of rows in each list."""
    return np.bincount(of_rows, minlength=n_lists)


def _exhaustive_index(centers: NDArray[np.float32], sizes: NDArray[np.int64], metric: str, scale: Scale) -> Index:
    """Return the index of a search of all lists."""
    return Index(ListIndex(centers, sizes), metric, scale, np.float64, True)


def _sample_in_range(
    rows: NDArray[np.floating],
    of_rows: NDArray[np.int32],
    first: int,
    metric: str,
    scale: Scale,
    sample: NDArray[np.floating],
    numbers: NDArray[np.int32],
    n_neighbors: int,
    dtype: Any,
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return the distances and the lists of the rows of a range that are nearest to each row of the sample."""
    space = EuclideanSpace(rows, metric, scale=scale)
    points = space.points_of(sample)
    # One neighbor more, because a row of the sample may find itself.
    wanted, own = min(len(rows), n_neighbors + 1), no_own_index(len(points))
    values, indices, _ = brute_force_candidates(space, points, own, wanted, Workers(), dtype)
    distances = space.distances(values, points, indices, Workers())
    distances[first + indices == numbers[:, None]] = np.inf
    return distances, of_rows[indices]


def _nearest_of_parts(
    n_neighbors: int, *parts: tuple[NDArray[np.float64], NDArray[np.int32]]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Return the distances and the lists of the nearest rows of all ranges."""
    distances, lists = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
    order = np.argsort(distances, axis=1, kind="stable")[:, :n_neighbors]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(lists, order, axis=1)


def _suffices_in_float32(nearest: Any, metric: str, scale: Scale, sample: NDArray[np.floating], k: int) -> bool:
    """Return whether float32 resolves the neighbors of the sample."""
    space = EuclideanSpace(sample, metric, scale=scale)
    return suffices_in_float32(space, space.points, nearest[0], k)


def _measured(
    centers: NDArray[np.float32],
    sizes: NDArray[np.int64],
    metric: str,
    scale: Scale,
    dtype: Any,
    sample: NDArray[np.floating],
    own: NDArray[np.int32],
    nearest: Any,
    k: int,
) -> Index:
    """Return the index with the numbers of lists that the recall of the sample needs."""
    lists, space = ListIndex(centers, sizes), EuclideanSpace(sample, metric, scale=scale)
    measure(lists, coordinates_of(space, sample), own, nearest[0], nearest[1], k)
    return Index(lists, metric, scale, dtype, bool(lists.n_probed > MAX_PROBED * sizes.sum()))
