"""Sums of sparse matrices and their transposed matrices, and matrices in another order; twins of _sparse.py.

Matrices are square and in CSR form, with the columns of each row in ascending order.
"""

from libc.stdint cimport int32_t, int64_t

ctypedef fused index_t:
    int32_t
    int64_t

ctypedef fused real_t:
    float
    double

ctypedef fused other_t:
    float
    double


def count_columns(const index_t[::1] indices, int64_t[::1] counts, Py_ssize_t start, Py_ssize_t stop):
    """Fill entries ``start`` to ``stop`` of ``counts`` with the number of entries in each column of the matrix."""
    cdef Py_ssize_t e
    counts[start:stop] = 0
    with nogil:
        for e in range(indices.shape[0]):
            if start <= indices[e] < stop:
                counts[indices[e]] += 1


def transpose(
    const real_t[::1] data,
    const index_t[::1] indices,
    const int64_t[::1] indptr,
    real_t[::1] new_data,
    index_t[::1] new_indices,
    const int64_t[::1] new_indptr,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill rows ``start`` to ``stop`` of the transposed matrix, of which ``new_indptr`` is known."""
    cdef Py_ssize_t i, e, n = indptr.shape[0] - 1
    cdef int64_t[::1] places
    if start >= stop:
        return
    places = new_indptr[start:stop].copy()  # of the next entry of each new row
    with nogil:
        for i in range(n):
            for e in range(indptr[i], indptr[i + 1]):
                if start <= indices[e] < stop:
                    new_indices[places[indices[e] - start]] = <index_t>i
                    new_data[places[indices[e] - start]] = data[e]
                    places[indices[e] - start] += 1


cdef inline real_t next_entry(
    const real_t* data, const index_t* indices, int64_t end, const real_t* other_data, const index_t* other_indices,
    int64_t other_end, int64_t* a, int64_t* b, index_t* column,
) noexcept nogil:
    """Return the next entry of the sum of two rows, and move the places ``a`` and ``b`` in the rows behind it."""
    cdef real_t value
    if b[0] == other_end or (a[0] < end and indices[a[0]] < other_indices[b[0]]):
        column[0] = indices[a[0]]
        value = data[a[0]]
        a[0] += 1
        return value
    if a[0] == end or other_indices[b[0]] < indices[a[0]]:
        column[0] = other_indices[b[0]]
        value = other_data[b[0]]
        b[0] += 1
        return value
    column[0] = indices[a[0]]
    value = data[a[0]] + other_data[b[0]]
    a[0] += 1
    b[0] += 1
    return value


def count_sum(
    const real_t[::1] data,
    const index_t[::1] indices,
    const int64_t[::1] indptr,
    const real_t[::1] other_data,
    const index_t[::1] other_indices,
    const int64_t[::1] other_indptr,
    int64_t[::1] counts,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill entries ``start`` to ``stop`` of ``counts`` with the number of entries of the sum that are not 0."""
    cdef Py_ssize_t i
    cdef int64_t a, b, count
    cdef index_t column
    if indices.shape[0] == 0:
        counts[start:stop] = 0
        return
    with nogil:
        for i in range(start, stop):
            a = indptr[i]
            b = other_indptr[i]
            count = 0
            while a < indptr[i + 1] or b < other_indptr[i + 1]:
                count += next_entry(
                    &data[0], &indices[0], indptr[i + 1], &other_data[0], &other_indices[0], other_indptr[i + 1], &a, &b,
                    &column,
                ) != 0
            counts[i] = count


def add(
    const real_t[::1] data,
    const index_t[::1] indices,
    const int64_t[::1] indptr,
    const real_t[::1] other_data,
    const index_t[::1] other_indices,
    const int64_t[::1] other_indptr,
    real_t[::1] new_data,
    index_t[::1] new_indices,
    const int64_t[::1] new_indptr,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill rows ``start`` to ``stop`` of the sum, of which ``new_indptr`` is known."""
    cdef Py_ssize_t i
    cdef int64_t a, b, e
    cdef index_t column
    cdef real_t value
    if indices.shape[0] == 0:
        return
    with nogil:
        for i in range(start, stop):
            a = indptr[i]
            b = other_indptr[i]
            e = new_indptr[i]
            while a < indptr[i + 1] or b < other_indptr[i + 1]:
                value = next_entry(
                    &data[0], &indices[0], indptr[i + 1], &other_data[0], &other_indices[0], other_indptr[i + 1], &a, &b,
                    &column,
                )
                if value != 0:
                    new_indices[e] = column
                    new_data[e] = value
                    e += 1


def reorder(
    const other_t[::1] data,
    const index_t[::1] indices,
    const index_t[::1] indptr,
    const Py_ssize_t[::1] order,
    const index_t[::1] places,
    real_t[::1] new_data,
    index_t[::1] new_indices,
    const index_t[::1] new_indptr,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill rows ``start`` to ``stop`` of the matrix in another order, with values of another type."""
    cdef Py_ssize_t i, e, shift
    with nogil:
        for i in range(start, stop):
            shift = indptr[order[i]] - new_indptr[i]
            for e in range(new_indptr[i], new_indptr[i + 1]):
                new_indices[e] = places[indices[e + shift]]
                new_data[e] = <real_t>data[e + shift]
