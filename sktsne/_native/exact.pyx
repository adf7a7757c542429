"""Potential of all points at the rows of a range; twin of ``pair_potential_reference`` in kernels/exact.py."""

from libc.math cimport INFINITY

from sktsne._native.pairs cimport CHUNK, MAX_EXPONENT, exp_negative, squared_distances, weights

cdef enum:
    MAX_FUSED = 3


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
    """Fill rows ``start`` to ``stop`` of ``phi`` and ``grad_phi``."""
    cdef Py_ssize_t i, k, n = coordinates.shape[1], d = coordinates.shape[0]
    cdef const double* x = &coordinates[0, 0]
    cdef const double* c = &charges[0]
    with nogil:
        for i in range(start, stop):
            phi[i] = 0.0
            for k in range(d):
                grad_phi[i, k] = 0.0
            if exclude_self:
                # Two runs around i: subtracting w(0) afterwards would lose the small potential of an isolated point.
                add_run(&at[i, 0], x, c, n, d, dof, 0, i, &phi[i], &grad_phi[i, 0])
                add_run(&at[i, 0], x, c, n, d, dof, i + 1, n, &phi[i], &grad_phi[i, 0])
            else:
                add_run(&at[i, 0], x, c, n, d, dof, 0, n, &phi[i], &grad_phi[i, 0])


cdef void add_run(
    const double* y, const double* x, const double* c, Py_ssize_t n, Py_ssize_t d, double dof,
    Py_ssize_t first, Py_ssize_t last, double* phi, double* grad_phi,
) noexcept nogil:
    # Add what the points first to last contribute at y. `x` holds one coordinate after the other, (d, n).
    # Literal d and dof let the compiler unroll the inner loops and vectorise over the points.
    if dof == 1.0 and d == 1:
        add_fused(y, x, c, n, 1, 1.0, first, last, phi, grad_phi)
    elif dof == 1.0 and d == 2:
        add_fused(y, x, c, n, 2, 1.0, first, last, phi, grad_phi)
    elif dof == 1.0 and d == 3:
        add_fused(y, x, c, n, 3, 1.0, first, last, phi, grad_phi)
    elif dof == INFINITY and d == 1:
        add_fused(y, x, c, n, 1, INFINITY, first, last, phi, grad_phi)
    elif dof == INFINITY and d == 2:
        add_fused(y, x, c, n, 2, INFINITY, first, last, phi, grad_phi)
    elif dof == INFINITY and d == 3:
        add_fused(y, x, c, n, 3, INFINITY, first, last, phi, grad_phi)
    else:
        add_chunks(y, x, c, n, d, dof, first, last, phi, grad_phi)


cdef inline void add_fused(
    const double* y, const double* x, const double* c, Py_ssize_t n, Py_ssize_t d, double dof,
    Py_ssize_t first, Py_ssize_t last, double* phi, double* grad_phi,
) noexcept nogil:
    # One pass that keeps everything in registers: for the two similarities and the few components of nearly every fit.
    cdef Py_ssize_t j, k
    cdef double r2, w, aw, total = 0.0
    cdef double difference[MAX_FUSED]
    cdef double force[MAX_FUSED]
    for k in range(d):
        force[k] = 0.0
    for j in range(first, last):
        r2 = 0.0
        for k in range(d):
            difference[k] = y[k] - x[k * n + j]
            r2 += difference[k] * difference[k]
        if dof == 1.0:
            w = 1.0 / (1.0 + r2)
            aw = w * w * c[j]
        else:
            w = exp_negative(r2 if r2 < MAX_EXPONENT else MAX_EXPONENT)
            aw = w * c[j]
        total += w * c[j]
        for k in range(d):
            force[k] += aw * difference[k]
    phi[0] += total
    for k in range(d):
        grad_phi[k] -= 2.0 * force[k]


cdef void add_chunks(
    const double* y, const double* x, const double* c, Py_ssize_t n, Py_ssize_t d, double dof,
    Py_ssize_t first, Py_ssize_t last, double* phi, double* grad_phi,
) noexcept nogil:
    # The same for any similarity and any number of components, in vectorised passes over a chunk of points.
    cdef double r2[CHUNK]
    cdef double w[CHUNK]
    cdef double aw[CHUNK]
    cdef Py_ssize_t begin = first, m, j, k
    cdef double total
    while begin < last:
        m = min(<Py_ssize_t>CHUNK, last - begin)
        squared_distances(y, x + begin, n, d, m, r2)
        weights(r2, m, dof, w, aw)
        total = 0.0
        for j in range(m):
            total += c[begin + j] * w[j]
            aw[j] *= c[begin + j]
        phi[0] += total
        for k in range(d):
            total = 0.0
            for j in range(m):
                total += aw[j] * (y[k] - x[k * n + begin + j])
            grad_phi[k] -= 2.0 * total
        begin += m
