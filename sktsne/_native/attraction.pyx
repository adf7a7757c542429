"""Attraction over the affinities of a row range; twins of the references in kernels/attraction.py."""

from libc.stdint cimport int32_t, int64_t

from sktsne._native.pairs cimport CHUNK, cross_entropy, decays, squared_distances

ctypedef fused index_t:
    int32_t
    int64_t


def sparse_attraction(
    const double[::1] data,
    const index_t[::1] indices,
    const index_t[::1] indptr,
    const double[:, ::1] points,
    double dof,
    bint with_cost,
    double[:, ::1] out,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill rows ``start`` to ``stop`` of ``out``; return their sum of -s log w, or 0 without ``with_cost``."""
    cdef Py_ssize_t i, j, k, begin, end, first, m, d = points.shape[1]
    cdef double cost = 0.0, difference
    cdef double r2[CHUNK]
    cdef double sa[CHUNK]
    if start >= stop or data.shape[0] == 0:
        out[start:stop] = 0.0
        return cost
    cdef const double* y = &points[0, 0]
    cdef const double* y_i
    cdef const double* y_j
    cdef const double* s
    cdef const index_t* index
    cdef double* row
    with nogil:
        for i in range(start, stop):
            y_i = y + i * d
            row = &out[i, 0]
            for k in range(d):
                row[k] = 0.0
            first = indptr[i]
            end = indptr[i + 1]
            begin = first
            while begin < end:
                m = min(<Py_ssize_t>CHUNK, end - begin)
                s = &data[0] + begin
                index = &indices[0] + begin
                for j in range(m):
                    y_j = y + index[j] * d
                    r2[j] = 0.0
                    for k in range(d):
                        difference = y_i[k] - y_j[k]
                        r2[j] += difference * difference
                scaled_decays(s, r2, m, dof, sa)
                if with_cost:
                    cost += cross_entropy(s, r2, m, dof)
                for j in range(m):
                    y_j = y + index[j] * d
                    for k in range(d):
                        row[k] += sa[j] * (y_i[k] - y_j[k])
                begin += m
    return cost


def dense_attraction(
    const double[:, ::1] affinities,
    const double[:, ::1] coordinates,
    double dof,
    bint with_cost,
    double[:, ::1] out,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill rows ``start`` to ``stop`` of ``out``; return their sum of -s log w, or 0 without ``with_cost``."""
    cdef Py_ssize_t i, j, k, begin, m, d = coordinates.shape[0], n = coordinates.shape[1]
    cdef double cost = 0.0, total, y_k
    cdef double r2[CHUNK]
    cdef double sa[CHUNK]
    cdef double[::1] y = coordinates[:, 0].copy()
    cdef const double* x
    with nogil:
        for i in range(start, stop):
            for k in range(d):
                y[k] = coordinates[k, i]
                out[i, k] = 0.0
            begin = 0
            while begin < n:
                m = min(<Py_ssize_t>CHUNK, n - begin)
                squared_distances(&y[0], &coordinates[0, begin], n, d, m, r2)
                scaled_decays(&affinities[i, begin], r2, m, dof, sa)
                if with_cost:
                    cost += cross_entropy(&affinities[i, begin], r2, m, dof)
                for k in range(d):
                    x = &coordinates[k, begin]
                    y_k = y[k]
                    total = 0.0
                    for j in range(m):
                        total += sa[j] * (y_k - x[j])
                    out[i, k] += total
                begin += m
    return cost


cdef inline void scaled_decays(
    const double* s, const double* r2, Py_ssize_t m, double dof, double* sa
) noexcept nogil:
    # s a(r2)
    cdef Py_ssize_t j
    decays(r2, m, dof, sa)
    for j in range(m):
        sa[j] *= s[j]
