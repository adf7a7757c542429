"""Potentials and their Hessians by sums over all pairs; compiled twins of kernels/exact.py and kernels/hessians.py."""

from libc.math cimport INFINITY

from sktsne._native.pairs cimport CHUNK, LEAST_WEIGHT, MAX_EXPONENT, add_run, squared_distances, weights

# Numbers that similarities.py has, too; a test compares them.
CONSTANTS = {"MAX_EXPONENT": MAX_EXPONENT, "LEAST_WEIGHT": LEAST_WEIGHT}


def pair_potential(
    const double[:, ::1] at,
    const double[:, ::1] coordinates,
    const double[::1] charges,
    bint exclude_self,
    double dof,
    double[::1] phi,
    double[:, ::1] grad_phi,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill rows ``start`` to ``stop`` of ``phi`` and ``grad_phi``, the potential at ``at`` and its gradient."""
    cdef Py_ssize_t i, k, n = coordinates.shape[1], d = coordinates.shape[0]
    cdef const double* x = NULL
    cdef const double* c = NULL
    if n > 0:
        x, c = &coordinates[0, 0], &charges[0]
    with nogil:
        for i in range(start, stop):
            phi[i] = 0.0
            for k in range(d):
                grad_phi[i, k] = 0.0
            if exclude_self:
                # Two runs leave out point i. Subtracting w(0) from a single run would lose the digits of the small
                # potential of an isolated point.
                add_run(&at[i, 0], x, c, n, d, dof, 0, i, &phi[i], &grad_phi[i, 0])
                add_run(&at[i, 0], x, c, n, d, dof, i + 1, n, &phi[i], &grad_phi[i, 0])
            else:
                add_run(&at[i, 0], x, c, n, d, dof, 0, n, &phi[i], &grad_phi[i, 0])


def pair_hessians(
    const double[:, ::1] coordinates,
    const double[::1] charges,
    bint of_logarithm,
    double dof,
    double[:, :, ::1] hessians,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill matrices ``start`` to ``stop`` of ``hessians``, the second derivatives of potentials at the points."""
    cdef Py_ssize_t i, k, l, n = coordinates.shape[1], d = coordinates.shape[0]
    cdef const double* x = &coordinates[0, 0]
    cdef const double* c = &charges[0]
    cdef double[::1] y = coordinates[:, 0].copy()
    with nogil:
        for i in range(start, stop):
            for k in range(d):
                y[k] = coordinates[k, i]
                for l in range(d):
                    hessians[i, k, l] = 0.0
            # Point i is left out, as in pair_potential.
            add_second(&y[0], x, c, of_logarithm, n, d, dof, 0, i, &hessians[i, 0, 0])
            add_second(&y[0], x, c, of_logarithm, n, d, dof, i + 1, n, &hessians[i, 0, 0])
            for k in range(d):
                for l in range(k):
                    hessians[i, k, l] = hessians[i, l, k]


cdef inline void add_second(
    const double* y, const double* x, const double* c, bint of_logarithm, Py_ssize_t n, Py_ssize_t d, double dof,
    Py_ssize_t first, Py_ssize_t last, double* hessian,
) noexcept nogil:
    # Adds the terms of the points first to last to the upper triangle of a Hessian at y. With literal d and dof the
    # compiler unrolls the inner loops.
    if dof == 1.0 and d == 2:
        add_second_chunks(y, x, c, of_logarithm, n, 2, 1.0, first, last, hessian)
    elif dof == 1.0 and d == 3:
        add_second_chunks(y, x, c, of_logarithm, n, 3, 1.0, first, last, hessian)
    elif dof == INFINITY and d == 2:
        add_second_chunks(y, x, c, of_logarithm, n, 2, INFINITY, first, last, hessian)
    else:
        add_second_chunks(y, x, c, of_logarithm, n, d, dof, first, last, hessian)


cdef inline void add_second_chunks(
    const double* y, const double* x, const double* c, bint of_logarithm, Py_ssize_t n, Py_ssize_t d, double dof,
    Py_ssize_t first, Py_ssize_t last, double* hessian,
) noexcept nogil:
    cdef double r2[CHUNK]
    cdef double w[CHUNK]
    cdef double aw[CHUNK]
    cdef Py_ssize_t begin = first, m, j, k, l
    cdef double total, scale = 1.0 / dof, trace = 0.0, factor = 4.0 * (1.0 + scale), square = 4.0 * of_logarithm
    cdef const double* x_k
    cdef const double* x_l
    while begin < last:
        m = min(<Py_ssize_t>CHUNK, last - begin)
        squared_distances(y, x + begin, n, d, m, r2)
        weights(r2, m, dof, w, aw)
        for j in range(m):
            aw[j] *= c[begin + j]
            trace += aw[j]
            # w now holds the factor of the products of differences.
            w[j] = factor * aw[j] / (1.0 + r2[j] * scale) - square * aw[j] * aw[j]
        for k in range(d):
            x_k = x + k * n + begin
            for l in range(k, d):
                x_l = x + l * n + begin
                total = 0.0
                for j in range(m):
                    total += w[j] * (y[k] - x_k[j]) * (y[l] - x_l[j])
                hessian[k * d + l] += total
        begin += m
    for k in range(d):
        hessian[k * d + k] -= 2.0 * trace
