"""Starts on a cluster: principal components from sums over shards, random numbers, or the positions of the user."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import precision_of
from .._parameters import INITS, check_map
from ..initialization import (
    DOUBLED,
    axes_of_scatter,
    components_along,
    place_components,
    random_start,
    scatter_of_dense,
    scatter_scale,
    separate,
)
from ..known_rows import KnownRows
from ._cluster import Cluster
from ._neighbors import Neighbors, Shard
from ._rows import Rows


def start_of(
    cluster: Cluster,
    rows: Rows,
    neighbors: Neighbors,
    order: NDArray[np.int64],
    init: Any,
    n_components: int,
    random_state: np.random.RandomState,
) -> NDArray[np.float64]:
    """Return the start of a fit, of shape (n, n_components), in the order of the shards.

    Parameters
    ----------
    cluster : Cluster
        The cluster.
    rows : Rows
        The rows.
    neighbors : Neighbors
        The rows in shards.
    order : ndarray of shape (n,), int64
        The number of each row in the order of the user.
    init : {"pca", "random"} or array-like of shape (n, n_components)
        The kind of start, or the positions in the order of the user.
    n_components : int
        The number of components.
    random_state : RandomState
        The random numbers.
    """
    if not isinstance(init, str):
        given = check_map("init", np.asarray(init), INITS, rows.n, n_components)
        return separate(given, random_state, precision=precision_of(init))[order]
    start = random_start(rows.n, n_components, random_state)[order]
    if init == "random" or not (rows.low < rows.high).any():
        return start
    found = _components(cluster, rows, neighbors, min(n_components, rows.n, rows.n_columns))
    place_components(start, np.concatenate([components for components, _ in found]))
    # Equal rows are in the same shard.
    groups = np.concatenate([first + of_shard for first, (_, of_shard) in zip(neighbors.offsets, found, strict=False)])
    return separate(start, random_state, groups)


def _components(
    cluster: Cluster, rows: Rows, neighbors: Neighbors, n_components: int
) -> list[tuple[NDArray[np.float64], NDArray[np.intp]]]:
    """Return the principal components of the rows of each shard, and the groups of equal rows."""
    doubled = rows.n * rows.n_columns <= DOUBLED
    sums = [cluster.run("mean", _sum, shard) for shard in neighbors.shards]
    mean = np.sum(cluster.results(sums), axis=0) / rows.n
    scale = scatter_scale(float(max(rows.high.max(), -rows.low.min())))
    scatters = [cluster.run("covariance", _scatter, shard, mean, scale, doubled) for shard in neighbors.shards]
    axes = axes_of_scatter(cluster.run("covariance", _total, *scatters).result(), n_components)
    found = [cluster.run("components", _along, shard, axes, mean, doubled) for shard in neighbors.shards]
    results = cluster.results(found)
    cluster.release([*sums, *scatters, *found])
    return results


def _sum(shard: Shard) -> NDArray[np.float64]:
    """Return the sum of the rows of a shard."""
    return np.asarray(shard.points.sum(axis=0, dtype=np.float64))


def _points(shard: Shard, doubled: bool) -> NDArray[np.floating]:
    """Return the rows of a shard, in float64 if there are few rows, as `pca_start` computes."""
    return shard.points.astype(np.float64, copy=False) if doubled else shard.points


def _scatter(shard: Shard, mean: NDArray[np.float64], scale: float, doubled: bool) -> NDArray[np.float64]:
    """Return the scatter matrix of the rows of a shard about the mean of all rows."""
    return scatter_of_dense(_points(shard, doubled), mean, scale, None)(None)


def _total(*scatters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of matrices, in their order."""
    return np.asarray(sum(scatters))


def _along(
    shard: Shard, axes: NDArray[np.float64], mean: NDArray[np.float64], doubled: bool
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the components of the rows of a shard, and the groups of equal rows."""
    components = components_along(_points(shard, doubled), axes, mean)
    groups = KnownRows(shard.points).groups if len(shard.points) else np.zeros(0, dtype=np.intp)
    return components, groups
