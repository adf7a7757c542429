"""Attraction from the affinities of a range of rows; compiled twins of the references in kernels/attraction.py."""

from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy

from sktsne._native.pairs cimport CHUNK, MAX_FUSED, cross_entropy, decays, squared_distances

ctypedef fused index_t:
    int32_t
    int64_t

ctypedef fused real_t:
    float
    double


def sparse_attraction(
    const real_t[::1] data,
    const index_t[::1] indices,
    const index_t[::1] indptr,
    const real_t[:, ::1] points,
    Py_ssize_t first,
    double dof,
    bint with_cost,
    double[:, ::1] force,
    double[::1] stiffness,
    double[::1] costs,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill rows ``start`` to ``stop`` of ``force``, ``stiffness`` and ``costs`` from affinities in CSR format.

    Row i belongs to the point ``first + i``, and the columns to all points.
    """
    cdef Py_ssize_t i, own, length, d = points.shape[1]
    cdef const real_t* values
    cdef const index_t* columns
    if start >= stop or data.shape[0] == 0:
        force[start:stop] = 0.0
        stiffness[start:stop] = 0.0
        costs[start:stop] = 0.0
        return
    cdef const real_t* s = &data[0]
    cdef const index_t* index = &indices[0]
    cdef const real_t* y = &points[0, 0]
    with nogil:
        for i in range(start, stop):
            length = indptr[i + 1] - indptr[i]
            own, values, columns = first + i, s + indptr[i], index + indptr[i]
            # With literal arguments the compiler makes specialized versions of add_row_fused.
            if d == 2 and dof == 1.0 and real_t is float and with_cost:
                costs[i] = add_row_fused(values, columns, length, y, own, 2, False, True, &force[i, 0], &stiffness[i])
            elif d == 3 and dof == 1.0 and real_t is float and with_cost:
                costs[i] = add_row_fused(values, columns, length, y, own, 3, False, True, &force[i, 0], &stiffness[i])
            elif (d == 2 or d == 3) and dof == 1.0:
                costs[i] = 0.0
                if with_cost:
                    costs[i] = add_row(values, columns, length, y, own, d, dof, True, &force[i, 0], &stiffness[i])
                # The force is computed again, because it must be the same, to the last bit, with and without a cost.
                if d == 2:
                    add_row_fused(values, columns, length, y, own, 2, False, False, &force[i, 0], &stiffness[i])
                else:
                    add_row_fused(values, columns, length, y, own, 3, False, False, &force[i, 0], &stiffness[i])
            elif d == 2 and dof == INFINITY:
                costs[i] = add_row_fused(values, columns, length, y, own, 2, True, with_cost, &force[i, 0], &stiffness[i])
            elif d == 3 and dof == INFINITY:
                costs[i] = add_row_fused(values, columns, length, y, own, 3, True, with_cost, &force[i, 0], &stiffness[i])
            else:
                costs[i] = add_row(values, columns, length, y, own, d, dof, with_cost, &force[i, 0], &stiffness[i])


cdef inline double add_row_fused(
    const real_t* s, const index_t* index, Py_ssize_t length, const real_t* y, Py_ssize_t i, Py_ssize_t d,
    bint gaussian, bint with_cost, double* force, double* stiffness,
) noexcept nogil:
    # The force of t-SNE and SNE in two or three components, which takes a large part of the time of most fits. The
    # neighbors of a point are copied to a buffer first, so that the compiler can vectorize the loops over them. The
    # cost of t-SNE is computed in float32 only. Returns the cost, or 0.
    cdef Py_ssize_t begin = 0, m, j
    cdef real_t near[MAX_FUSED * CHUNK]
    cdef real_t sa, r2, dx, dy, dz, x_i = y[d * i], y_i = y[d * i + 1], z_i = y[d * i + d - 1]
    cdef real_t force_x = 0, force_y = 0, force_z = 0, total = 0, cross = 0
    cdef real_t one = 1  # a variable, because with the literal 1.0 C would compute in double
    while begin < length:
        m = min(<Py_ssize_t>CHUNK, length - begin)
        # One copy a neighbor, which takes one load in two components, lets more loads be under way at the same time.
        for j in range(m):
            memcpy(&near[d * j], y + d * <Py_ssize_t>index[begin + j], d * sizeof(real_t))
        for j in range(m):
            dx = x_i - near[d * j]
            dy = y_i - near[d * j + 1]
            r2 = dx * dx + dy * dy
            if d == 3:
                dz = z_i - near[d * j + 2]
                r2 = r2 + dz * dz
            sa = s[begin + j] if gaussian else s[begin + j] / (one + r2)
            total += sa
            force_x += sa * dx
            force_y += sa * dy
            if d == 3:
                force_z += sa * dz
        if with_cost and (gaussian or real_t is float):
            for j in range(m):
                dx = x_i - near[d * j]
                dy = y_i - near[d * j + 1]
                r2 = dx * dx + dy * dy
                if d == 3:
                    dz = z_i - near[d * j + 2]
                    r2 = r2 + dz * dz
                if gaussian:
                    cross += s[begin + j] * r2
                elif real_t is float:
                    cross += s[begin + j] * log_from_one(one + r2)
        begin += m
    force[0] = force_x
    force[1] = force_y
    if d == 3:
        force[2] = force_z
    stiffness[0] = total
    return cross


cdef inline float log_from_one(float x) noexcept nogil:
    # log(x) for finite x >= 1, without branches so that the compiler can vectorize loops over it. x = 2^k m with m from
    # sqrt(1/2) to sqrt(2), and log(m) = 2 artanh((m - 1) / (m + 1)), of whose series five terms have an error below
    # 1e-9. k is multiplied by 2^23 and not shifted by 23 bits, because k may be negative if x is NaN, and C does not
    # define the shift of a negative number. x is NaN for two points that overflow in single precision.
    cdef int32_t bits, k
    cdef float m, t, t2, one = 1
    memcpy(&bits, &x, sizeof(bits))
    k = (bits - 0x3F3504F3) >> 23
    bits -= k * 0x800000
    memcpy(&m, &bits, sizeof(m))
    t = (m - one) / (m + one)
    t2 = t * t
    return k * <float>0.6931471805599453 + <float>2 * t * (
        one + t2 * (<float>(1.0 / 3) + t2 * (<float>0.2 + t2 * (<float>(1.0 / 7) + t2 * <float>(1.0 / 9))))
    )


cdef inline double add_row(
    const real_t* s, const index_t* index, Py_ssize_t length, const real_t* y, Py_ssize_t i, Py_ssize_t d, double dof,
    bint with_cost, double* force, double* stiffness,
) noexcept nogil:
    # The force for any similarity and number of components. Returns the cost, or 0 without with_cost.
    cdef Py_ssize_t begin = 0, m, j, k
    cdef double cost = 0.0, total = 0.0, difference
    cdef double r2[CHUNK]
    cdef double sa[CHUNK]
    cdef double weight[CHUNK]
    cdef const real_t* y_i = y + i * d
    cdef const real_t* y_j
    for k in range(d):
        force[k] = 0.0
    while begin < length:
        m = min(<Py_ssize_t>CHUNK, length - begin)
        for j in range(m):
            y_j = y + <Py_ssize_t>index[begin + j] * d
            weight[j] = s[begin + j]
            r2[j] = 0.0
            for k in range(d):
                difference = y_i[k] - y_j[k]
                r2[j] += difference * difference
        scaled_decays(weight, r2, m, dof, sa)
        if with_cost:
            cost += cross_entropy(weight, r2, m, dof)
        for j in range(m):
            y_j = y + <Py_ssize_t>index[begin + j] * d
            total += sa[j]
            for k in range(d):
                force[k] += sa[j] * (y_i[k] - y_j[k])
        begin += m
    stiffness[0] = total
    return cost


def dense_attraction(
    const double[:, ::1] affinities,
    const double[:, ::1] coordinates,
    double dof,
    bint with_cost,
    double[:, ::1] force,
    double[::1] stiffness,
    double[::1] costs,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill rows ``start`` to ``stop`` of ``force``, ``stiffness`` and ``costs`` from a matrix of affinities."""
    cdef Py_ssize_t i, j, k, begin, m, d = coordinates.shape[0], n = coordinates.shape[1]
    cdef double total, y_k
    cdef double r2[CHUNK]
    cdef double sa[CHUNK]
    cdef double[::1] y = coordinates[:, 0].copy()
    cdef const double* x
    with nogil:
        for i in range(start, stop):
            for k in range(d):
                y[k] = coordinates[k, i]
                force[i, k] = 0.0
            stiffness[i] = 0.0
            costs[i] = 0.0
            begin = 0
            while begin < n:
                m = min(<Py_ssize_t>CHUNK, n - begin)
                squared_distances(&y[0], &coordinates[0, begin], n, d, m, r2)
                scaled_decays(&affinities[i, begin], r2, m, dof, sa)
                if with_cost:
                    costs[i] += cross_entropy(&affinities[i, begin], r2, m, dof)
                total = 0.0
                for j in range(m):
                    total += sa[j]
                stiffness[i] += total
                for k in range(d):
                    x = &coordinates[k, begin]
                    y_k = y[k]
                    total = 0.0
                    for j in range(m):
                        total += sa[j] * (y_k - x[j])
                    force[i, k] += total
                begin += m


cdef inline void scaled_decays(
    const double* s, const double* r2, Py_ssize_t m, double dof, double* sa
) noexcept nogil:
    # Fills sa with s a(r2) for m pairs.
    cdef Py_ssize_t j
    decays(r2, m, dof, sa)
    for j in range(m):
        sa[j] *= s[j]
