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
    """Fill a panel, rows ``start`` to ``stop`` of the transposed matrix, of which ``new_indptr`` is known."""
    cdef Py_ssize_t i, e, end, middle, n = indptr.shape[0] - 1
    cdef int64_t[::1] places
    if start >= stop:
        return
    places = new_indptr.copy()  # of the next entry of each new row
    with nogil:
        for i in range(n):
            # Columns ascend, so that bisection finds the first one of the panel.
            e, end = indptr[i], indptr[i + 1]
            while e < end:
                middle = e + (end - e) // 2
                if indices[middle] < start:
                    e = middle + 1
                else:
                    end = middle
            while e < indptr[i + 1] and indices[e] < stop:
                new_indices[places[indices[e] - start]] = <index_t>i
                new_data[places[indices[e] - start]] = data[e]
                places[indices[e] - start] += 1
                e += 1


cdef int64_t add_rows(
    const real_t* data, const index_t* indices, int64_t a, int64_t end, const real_t* other_data,
    const index_t* other_indices, int64_t b, int64_t other_end, real_t* new_data, index_t* new_indices,
) noexcept nogil:
    """Return the number of entries of the sum of two rows that are not 0; write them unless ``new_data`` is NULL."""
    cdef int64_t count = 0
    cdef index_t column
    cdef real_t value
    while a < end or b < other_end:
        if b == other_end or (a < end and indices[a] < other_indices[b]):
            column = indices[a]
            value = data[a]
            a += 1
        elif a == end or other_indices[b] < indices[a]:
            column = other_indices[b]
            value = other_data[b]
            b += 1
        else:
            column = indices[a]
            value = data[a] + other_data[b]
            a += 1
            b += 1
        if value != 0:
            if new_data != NULL:
                new_data[count] = value
                new_indices[count] = column
            count += 1
    return count


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
    """Fill entries ``start`` to ``stop`` of ``counts`` with the number of entries of the sum that are not 0.

    The other matrix is a panel: rows ``start`` to ``stop`` of the second summand.
    """
    cdef Py_ssize_t i
    cdef const real_t* values = NULL
    cdef const real_t* other_values = NULL
    cdef const index_t* columns = NULL
    cdef const index_t* other_columns = NULL
    if indices.shape[0] > 0:
        values, columns = &data[0], &indices[0]
    if other_indices.shape[0] > 0:
        other_values, other_columns = &other_data[0], &other_indices[0]
    with nogil:
        for i in range(start, stop):
            counts[i] = add_rows(
                values, columns, indptr[i], indptr[i + 1], other_values, other_columns, other_indptr[i - start],
                other_indptr[i + 1 - start], NULL, NULL,
            )


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
    """Fill rows ``start`` to ``stop`` of the sum with a panel, of which ``new_indptr`` is known."""
    cdef Py_ssize_t i
    cdef const real_t* values = NULL
    cdef const real_t* other_values = NULL
    cdef const index_t* columns = NULL
    cdef const index_t* other_columns = NULL
    if new_indices.shape[0] == 0:
        return
    if indices.shape[0] > 0:
        values, columns = &data[0], &indices[0]
    if other_indices.shape[0] > 0:
        other_values, other_columns = &other_data[0], &other_indices[0]
    with nogil:
        for i in range(start, stop):
            add_rows(
                values, columns, indptr[i], indptr[i + 1], other_values, other_columns, other_indptr[i - start],
                other_indptr[i + 1 - start], &new_data[0] + new_indptr[i], &new_indices[0] + new_indptr[i],
            )


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
