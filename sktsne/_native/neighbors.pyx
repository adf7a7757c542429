"""Distances of chosen pairs of rows; twin of ``pair_distances_reference`` in search.py."""

from libc.math cimport sqrt
from libc.stdint cimport int64_t


def pair_distances(
    const double[:, ::1] new,
    const double[:, ::1] X,
    const int64_t[:, ::1] indices,
    double[:, ::1] distances,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill rows ``start`` to ``stop`` of ``distances``: from rows of ``new`` to the rows ``indices`` of ``X``."""
    cdef Py_ssize_t i, j, k, m = X.shape[1]
    cdef double difference, total
    cdef const double* x
    cdef const double* y
    if m == 0:
        distances[start:stop] = 0.0
    if m == 0 or start >= stop:
        return
    with nogil:
        for i in range(start, stop):
            x = &new[i, 0]
            for j in range(indices.shape[1]):
                y = &X[indices[i, j], 0]
                total = 0.0
                for k in range(m):
                    difference = x[k] - y[k]
                    total += difference * difference
                distances[i, j] = sqrt(total)
