# Squared distances, similarities and potentials over many pairs, in loops that the compiler vectorizes.
#
# Most functions work on a chunk of at most CHUNK pairs in small buffers on the stack. Every loop then has one simple
# body and serves any number of components, and each similarity is written once for all routines.

from libc.math cimport INFINITY, log1p, pow
from libc.stdint cimport int64_t
from libc.string cimport memcpy

cdef enum:
    CHUNK = 256
    MAX_FUSED = 3

cdef extern from *:
    """
    #define MAX_EXPONENT 708.0  /* as in similarities.py */
    #define LEAST_WEIGHT 3.307553003638408e-308  /* exp(-708) */
    """
    const double MAX_EXPONENT
    const double LEAST_WEIGHT


cdef inline double exp_negative(double x) noexcept nogil:
    # exp(-x) for 0 <= x <= 708, without branches so that the compiler can vectorize loops over it. exp(-x) = 2^k exp(s)
    # with k = round(-x / log 2) and |s| <= log(2) / 2, where exp(s) is a Taylor polynomial of degree 12. Because log 2
    # is a single constant, the relative error is x times the unit roundoff (2e-14 at x = 190), as is the error that
    # comes from rounding x.
    cdef int k = <int>(-x * 1.4426950408889634 - 0.5)
    cdef double s = -x - k * 0.6931471805599453
    cdef double s2 = s * s
    cdef double s4 = s2 * s2
    cdef int64_t bits = (<int64_t>(k + 1023)) << 52
    cdef double power
    # Estrin's scheme has short chains of dependent operations.
    cdef double p0 = (1.0 + s) + s2 * (0.5 + s * (1.0 / 6))
    cdef double p4 = (1.0 / 24 + s * (1.0 / 120)) + s2 * (1.0 / 720 + s * (1.0 / 5040))
    cdef double p8 = (1.0 / 40320 + s * (1.0 / 362880)) + s2 * (1.0 / 3628800 + s * (1.0 / 39916800))
    memcpy(&power, &bits, sizeof(power))
    return (p0 + s4 * (p4 + s4 * (p8 + s4 * (1.0 / 479001600)))) * power


cdef inline void squared_distances(
    const double* y, const double* x, Py_ssize_t n, Py_ssize_t d, Py_ssize_t m, double* r2
) noexcept nogil:
    # Fills r2 with the squared distances from y to m points; coordinate k of point j is x[k * n + j].
    cdef Py_ssize_t j, k
    cdef double difference
    for j in range(m):
        r2[j] = 0.0
    for k in range(d):
        for j in range(m):
            difference = y[k] - x[k * n + j]
            r2[j] += difference * difference


cdef inline void decays(const double* r2, Py_ssize_t m, double dof, double* a) noexcept nogil:
    # Fills a with a(r2).
    cdef Py_ssize_t j
    cdef double scale = 1.0 / dof
    for j in range(m):
        a[j] = 1.0 / (1.0 + r2[j] * scale)


cdef inline void weights(const double* r2, Py_ssize_t m, double dof, double* w, double* aw) noexcept nogil:
    # Fills w with w(r2), and aw with a(r2) w(r2).
    cdef Py_ssize_t j
    cdef double base, x
    if dof == 1.0:
        for j in range(m):
            w[j] = 1.0 / (1.0 + r2[j])
            aw[j] = w[j] * w[j]
    elif dof == INFINITY:
        for j in range(m):
            x = r2[j] if r2[j] < MAX_EXPONENT else MAX_EXPONENT
            w[j] = exp_negative(x)
            aw[j] = w[j]
    else:
        for j in range(m):
            base = 1.0 + r2[j] / dof
            w[j] = pow(base, -dof)
            if w[j] < LEAST_WEIGHT:
                w[j] = LEAST_WEIGHT
            aw[j] = w[j] / base


cdef inline double cross_entropy(const double* p, const double* r2, Py_ssize_t m, double dof) noexcept nogil:
    # Returns the sum of -p log w(r2).
    cdef Py_ssize_t j
    cdef double total = 0.0
    if dof == INFINITY:
        for j in range(m):
            total += p[j] * r2[j]
    else:
        for j in range(m):
            total += p[j] * log1p(r2[j] / dof)
        total *= dof
    return total


cdef inline void add_fused(
    const double* y, const double* x, const double* c, Py_ssize_t n, Py_ssize_t d, double dof,
    Py_ssize_t first, Py_ssize_t last, double* phi, double* grad_phi,
) noexcept nogil:
    # Adds to phi and grad_phi in one pass that keeps all sums in registers, for dof 1 or infinity and at most MAX_FUSED
    # components; see add_run.
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


cdef inline void add_chunks(
    const double* y, const double* x, const double* c, Py_ssize_t n, Py_ssize_t d, double dof,
    Py_ssize_t first, Py_ssize_t last, double* phi, double* grad_phi,
) noexcept nogil:
    # The same sums as in add_fused, for any similarity and number of components, in passes over chunks of points.
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


cdef inline void add_run(
    const double* y, const double* x, const double* c, Py_ssize_t n, Py_ssize_t d, double dof,
    Py_ssize_t first, Py_ssize_t last, double* phi, double* grad_phi,
) noexcept nogil:
    # Adds to phi and grad_phi, at the position y, the terms of the points first to last of x, an array of shape (d, n).
    # With literal d and dof the compiler unrolls the inner loops and vectorizes over the points.
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
