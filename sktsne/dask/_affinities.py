"""Affinities on a cluster: the conditional probabilities of each shard, and their sums with the transposed ones.

The matrix of conditional probabilities is divided into blocks of the rows of shard s and the columns of shard t. Shard
t needs the blocks of its rows, and those of its columns, which are transposed and added.
"""

from __future__ import annotations

import math
from itertools import chain, pairwise
from operator import getitem
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from .._sparse import negative_entropy
from ..affinities import Affinities, probabilities_of, row_blocks, sorted_columns
from ..parallel import Workers
from ._cluster import Cluster
from ._index import Index
from ._neighbors import Neighbors, State

# The number of rows whose sums are computed at a time, because SciPy needs several times the memory of a sum.
ROWS_AT_ONCE = 2**12


class ShardAffinities(NamedTuple):
    """The affinities of the rows of a shard, m rows of the symmetric matrix in CSR form.

    Parameters
    ----------
    data : ndarray of shape (n_entries,), float32
        The affinities: joint probabilities p_ij, or p_{j|i} + p_{i|j}.
    indices : ndarray of shape (n_entries,), int32
        The new numbers of the columns, ascending in each row.
    indptr : ndarray of shape (m + 1,), int32
        The bounds of the rows.
    negative_entropy : float
        The part of the rows in Σ p log p, where p are the joint or the conditional probabilities.
    """

    data: NDArray[np.float32]
    indices: NDArray[np.int32]
    indptr: NDArray[np.int32]
    negative_entropy: float


def affinities_of(cluster: Cluster, neighbors: Neighbors, rule: Affinities, joint: bool) -> list[Any]:
    """Return the futures of the affinities of each shard.

    Parameters
    ----------
    cluster : Cluster
        The cluster.
    neighbors : Neighbors
        The neighbors, whose graphs are released.
    rule : Affinities
        The affinity rule.
    joint : bool
        Whether the affinities are the joint probabilities p_ij = (p_{j|i} + p_{i|j}) / 2n, as for t-SNE, and not the
        sums p_{j|i} + p_{i|j}, as for SNE.
    """
    offsets, n_shards = neighbors.offsets, len(neighbors.shards)
    rows = [
        cluster.run("conditional", _conditional, neighbors.index, rule, graph, offsets) for graph in neighbors.graphs
    ]
    cluster.release(neighbors.graphs)
    neighbors.graphs.clear()
    blocks = [[cluster.run("block", getitem, row, t) for t in range(n_shards)] for row in rows]
    divisor = 2 * int(offsets[-1]) if joint else None
    affinities = [
        cluster.run("affinities", _symmetric, offsets, divisor, *blocks[t], *(of_rows[t] for of_rows in blocks))
        for t in range(n_shards)
    ]
    cluster.release([*rows, *chain(*blocks)])
    return affinities


def _conditional(index: Index, rule: Affinities, graph: State, offsets: NDArray[np.int64]) -> list[csr_array]:
    """Return the blocks of the conditional probabilities of a shard, one for the columns of each shard."""
    m, k = graph.ids.shape
    ids, p = np.empty((m, k), dtype=np.int32), np.empty((m, k), dtype=np.float32)
    for rows in row_blocks(m):
        distances = index.distance_unit * graph.distances[rows].astype(np.float64)
        p[rows] = probabilities_of(rule, distances, Workers())
        ids[rows], p[rows] = sorted_columns(graph.ids[rows], p[rows])
    blocks = []
    for first, end in pairwise(offsets.tolist()):
        here = (ids >= first) & (ids < end)
        indptr = np.concatenate([[0], np.cumsum(here.sum(axis=1))]).astype(np.int32)
        blocks.append(csr_array((p[here], ids[here] - np.int32(first), indptr), shape=(m, end - first)))
    return blocks


def _symmetric(offsets: NDArray[np.int64], divisor: int | None, *blocks: csr_array) -> ShardAffinities:
    """Return the affinities of a shard from the blocks of its rows and the blocks of its columns.

    The sums are divided by ``divisor`` unless it is None.
    """
    of_rows, of_columns = blocks[: len(blocks) // 2], [block.T.tocsr() for block in blocks[len(blocks) // 2 :]]
    m = of_rows[0].shape[0]
    parts: tuple[list[Any], ...] = [np.empty(0, np.float32)], [np.empty(0, np.int32)], [np.zeros(1, np.int32)]
    for start in range(0, m, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        of_part, others = (hstack([block[rows] for block in side], format="csr") for side in (of_rows, of_columns))
        total = of_part + others
        for part, array in zip(parts, (total.data, total.indices, np.diff(total.indptr)), strict=True):
            part.append(array)
    data, indices, counts = (_concatenated(part) for part in parts)
    indptr = np.cumsum(counts, dtype=np.int32)
    if divisor is None:
        return ShardAffinities(data, indices, indptr, math.fsum(map(negative_entropy, of_rows)))
    data /= np.float32(divisor)
    return ShardAffinities(data, indices, indptr, negative_entropy(data))


def _concatenated(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """Return the arrays as one array of the dtype of the first, and empty the list, so that they are freed."""
    whole = np.concatenate(arrays, dtype=arrays[0].dtype, casting="same_kind")
    arrays.clear()
    return whole
