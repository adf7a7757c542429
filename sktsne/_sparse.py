"""Sparse matrices of affinities: their sums with the transposed matrices, and other orders of their rows and columns.

    symmetrize      S_ij = P_ij + P_ji
    reorder         R_ij = P_kl,  k = order_i,  l = order_j
    embedded        E_kl = P_ij,  k = rows_i,   l = rows_j

Matrices are square and in CSR form. SciPy computes the same with one thread, and needs twice the memory. The transposed
matrix, which would take as much memory as the matrix, is made for a panel of its rows at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import xlogy

from ._checks import constant
from ._native import c_type, choose
from .parallel import Workers

PART = 2**18  # the number of affinities whose logarithms are computed at a time, to stay in the cache
# The number of panels, and the smallest number of rows of a panel.
PANELS, PANEL_ROWS = 16, 4096


def count_columns_reference(indices: NDArray[np.integer], counts: NDArray[np.int64], start: int, stop: int) -> None:
    """Fill entries ``start`` to ``stop`` of ``counts`` with the number of entries in each column of a matrix."""
    counts[start:stop] = np.bincount(indices, minlength=stop)[start:stop]


def transpose_reference(
    data: NDArray[np.floating],
    indices: NDArray[np.integer],
    indptr: NDArray[np.int64],
    new_data: NDArray[np.floating],
    new_indices: NDArray[np.integer],
    new_indptr: NDArray[np.int64],
    start: int,
    stop: int,
) -> None:
    """Fill a panel, rows ``start`` to ``stop`` of the transposed matrix, of which ``new_indptr`` is known."""
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    here = np.flatnonzero((start <= indices) & (indices < stop))
    here = here[np.argsort(indices[here], kind="stable")]
    new_indices[:], new_data[:] = rows[here], data[here]


def count_sum_reference(
    data: NDArray[np.floating],
    indices: NDArray[np.integer],
    indptr: NDArray[np.int64],
    other_data: NDArray[np.floating],
    other_indices: NDArray[np.integer],
    other_indptr: NDArray[np.int64],
    counts: NDArray[np.int64],
    start: int,
    stop: int,
) -> None:
    """Fill entries ``start`` to ``stop`` of ``counts`` with the number of entries of the sum that are not 0.

    The other matrix is a panel: rows ``start`` to ``stop`` of the second summand.
    """
    n = len(counts)
    a, b = (
        csr_array((data, indices, indptr), (n, n)),
        csr_array((other_data, other_indices, other_indptr), (stop - start, n)),
    )
    counts[start:stop] = np.diff((a[start:stop] + b).indptr)


def add_reference(
    data: NDArray[np.floating],
    indices: NDArray[np.integer],
    indptr: NDArray[np.int64],
    other_data: NDArray[np.floating],
    other_indices: NDArray[np.integer],
    other_indptr: NDArray[np.int64],
    new_data: NDArray[np.floating],
    new_indices: NDArray[np.integer],
    new_indptr: NDArray[np.int64],
    start: int,
    stop: int,
) -> None:
    """Fill rows ``start`` to ``stop`` of the sum with a panel, of which ``new_indptr`` is known."""
    n = len(new_indptr) - 1
    a, b = (
        csr_array((data, indices, indptr), (n, n)),
        csr_array((other_data, other_indices, other_indptr), (stop - start, n)),
    )
    rows, entries = a[start:stop] + b, slice(new_indptr[start], new_indptr[stop])
    new_data[entries], new_indices[entries] = rows.data, rows.indices


def symmetrize(
    conditional: csr_array | NDArray[np.float64], workers: Workers | None = None
) -> csr_array | NDArray[np.float64]:
    """Return the symmetric matrix of p_{j|i} + p_{i|j}.

    SciPy's sum takes one thread, and twice the memory of all entries of both matrices for the result.
    """
    if isinstance(conditional, np.ndarray):
        return conditional + conditional.T
    workers = Workers() if workers is None else workers
    if not conditional.has_canonical_format:
        conditional = conditional.copy()
        conditional.sum_duplicates()
    n, nnz = conditional.shape[0], conditional.nnz
    data, indices, indptr = conditional.data, conditional.indices, conditional.indptr.astype(np.int64)
    index_t, types = f"{indices.dtype}_t", (c_type(data.dtype), f"{indices.dtype}_t")
    count_columns = choose("sparse", "count_columns", count_columns_reference, index_t)
    transpose = choose("sparse", "transpose", transpose_reference, *types)
    count_sum = choose("sparse", "count_sum", count_sum_reference, *types)
    add = choose("sparse", "add", add_reference, *types)

    counts = np.empty(n, dtype=np.int64)
    workers.divide(partial(count_columns, indices, counts), n, nnz)
    other_indptr = np.concatenate([[0], np.cumsum(counts)])

    def with_panel(function: Callable[..., None], *arguments: Any) -> None:
        """Call ``function`` for each panel with the arrays of both matrices, the arguments and the panel's rows."""

        def of_panel(start: int, stop: int) -> None:
            bounds = other_indptr[start : stop + 1] - other_indptr[start]
            panel = np.empty(bounds[-1], dtype=data.dtype), np.empty(bounds[-1], dtype=indices.dtype), bounds
            transpose(data, indices, indptr, *panel, start, stop)
            function(data, indices, indptr, *panel, *arguments, start, stop)

        workers.run_blocks(of_panel, n, max(PANEL_ROWS, -(-n // PANELS)))

    with_panel(count_sum, counts)
    new_indptr = np.concatenate([[0], np.cumsum(counts)])
    total = int(new_indptr[-1])
    new = np.empty(total, dtype=data.dtype), np.empty(total, dtype=indices.dtype), new_indptr
    with_panel(add, *new)
    # The sum may have twice as many entries, whose number must fit into the dtype of the indices.
    index_dtype = indices.dtype if total <= np.iinfo(indices.dtype).max else np.int64
    return csr_array((new[0], new[1], new_indptr.astype(index_dtype)), shape=conditional.shape)


def reorder_reference(
    data: NDArray[np.floating],
    indices: NDArray[np.integer],
    indptr: NDArray[np.integer],
    order: NDArray[np.intp],
    places: NDArray[np.integer],
    new_data: NDArray[np.floating],
    new_indices: NDArray[np.integer],
    new_indptr: NDArray[np.integer],
    start: int,
    stop: int,
) -> None:
    """Fill rows ``start`` to ``stop`` of the matrix in another order, with values of another type."""
    rows = csr_array((data, indices, indptr), 2 * (len(order),))[order[start:stop]]
    entries = slice(new_indptr[start], new_indptr[stop])
    new_data[entries], new_indices[entries] = rows.data, places[rows.indices]


def reorder(
    affinities: csr_array, order: NDArray[np.intp], dtype: type[np.floating], workers: Workers | None = None
) -> csr_array:
    """Return the affinities with rows and columns in another order, and values of type ``dtype``."""
    workers = Workers() if workers is None else workers
    n, indices = len(order), affinities.indices
    places = np.empty(n, dtype=indices.dtype)
    places[order] = np.arange(n, dtype=indices.dtype)
    indptr = np.concatenate([[0], np.cumsum(np.diff(affinities.indptr)[order])]).astype(indices.dtype)
    new = np.empty(affinities.nnz, dtype=dtype), np.empty_like(indices), indptr
    types = c_type(affinities.dtype), f"{indices.dtype}_t", c_type(dtype)
    fill = choose("sparse", "reorder", reorder_reference, *types)
    fill = partial(fill, affinities.data, indices, affinities.indptr, order, places, *new)
    workers.run(fill, n, 4 * max(1, affinities.nnz // max(1, n)))
    return csr_array(new, shape=affinities.shape)


def embedded(
    affinities: csr_array | NDArray[np.float64], rows: NDArray[np.intp], n: int
) -> csr_array | NDArray[np.float64]:
    """Return a matrix of shape (n, n) with the affinities of some rows, in ascending order, and zeros elsewhere."""
    if isinstance(affinities, np.ndarray):
        larger = np.zeros((n, n))
        larger[np.ix_(rows, rows)] = affinities
        return larger
    indices, indptr = affinities.indices, affinities.indptr
    lengths = np.zeros(n, dtype=indptr.dtype)
    lengths[rows] = np.diff(indptr)
    indptr = np.append(0, np.cumsum(lengths)).astype(indptr.dtype)
    return csr_array((affinities.data, rows[indices].astype(indices.dtype), indptr), shape=(n, n))


def freeze(affinities: csr_array) -> csr_array:
    """Return affinities that nobody else has, with constant indices, so that compiled loops need no copy of them."""
    affinities.indices, affinities.indptr = constant(affinities.indices), constant(affinities.indptr)
    return affinities


def negative_entropy(affinities: csr_array | NDArray[np.float64]) -> float:
    """Return Σ p log p."""
    p = (affinities if isinstance(affinities, np.ndarray) else affinities.data).ravel()
    parts = (p[start : start + PART] for start in range(0, len(p), PART))
    return math.fsum(float(xlogy(part, part).sum(dtype=np.float64)) for part in parts)
