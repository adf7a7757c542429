"""Spreading charges on a mesh, reading a potential, changing the spacing; compiled twins of kernels/mesh.py."""

cdef enum:
    SUPPORT = 4
    TABLE = 64
    COARSENING = 4


# Numbers that kernels/mesh.py has, too; a test compares them.
CONSTANTS = {"SUPPORT": SUPPORT, "TABLE": TABLE, "COARSENING": COARSENING}


def spread(
    const double[:, ::1] points,
    const double[::1] charges,
    float[:, ::1] mesh,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Spread the charges at mesh coordinates ``points`` by the splines, on rows ``start`` to ``stop`` of ``mesh``.

    The charges of a node are added in the order of the points, so the sums do not depend on how threads divide rows.
    """
    cdef Py_ssize_t p, a, b, row, n = points.shape[0], d = points.shape[1]
    cdef Py_ssize_t support = SUPPORT if d == 2 else 1
    cdef float outer[SUPPORT]
    cdef float inner[SUPPORT]
    cdef float slope[SUPPORT]
    cdef float c
    cdef float* nodes
    cdef Py_ssize_t first_row = 0, first_column
    outer[0] = 1.0
    with nogil:
        for p in range(n):
            if d == 2:
                first_row = <Py_ssize_t>points[p, 0] - 1
                if first_row >= stop or first_row + SUPPORT <= start:
                    continue
                spline(points[p, 0], outer, slope)
            first_column = <Py_ssize_t>points[p, d - 1] - 1
            spline(points[p, d - 1], inner, slope)
            for a in range(support):
                row = first_row + a
                if start <= row < stop:
                    nodes = &mesh[row, first_column]
                    c = <float>charges[p] * outer[a]
                    for b in range(SUPPORT):
                        nodes[b] += c * inner[b]


def read(
    const double[:, ::1] points,
    const float[:, ::1] mesh,
    const double[::1] charges,
    const float[:, :, ::1] self_terms,
    bint exclude_self,
    double[::1] phi,
    double[:, ::1] grad_phi,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Interpolate the potential and its gradient at mesh coordinates ``points``, for rows ``start`` to ``stop``."""
    cdef Py_ssize_t p, a, b, i, j, d = points.shape[1]
    cdef Py_ssize_t support = SUPPORT if d == 2 else 1
    cdef float outer[SUPPORT]
    cdef float outer_slope[SUPPORT]
    cdef float inner[SUPPORT]
    cdef float inner_slope[SUPPORT]
    cdef float value, slope, total, total_outer, total_inner
    cdef const float* nodes
    cdef Py_ssize_t first_row = 0, first_column
    cdef float c
    outer[0] = 1.0
    outer_slope[0] = 0.0
    with nogil:
        for p in range(start, stop):
            if d == 2:
                first_row = <Py_ssize_t>points[p, 0] - 1
                spline(points[p, 0], outer, outer_slope)
            first_column = <Py_ssize_t>points[p, d - 1] - 1
            spline(points[p, d - 1], inner, inner_slope)
            total = total_outer = total_inner = 0.0
            for a in range(support):
                nodes = &mesh[first_row + a, first_column]
                value = slope = 0.0
                for b in range(SUPPORT):
                    value += inner[b] * nodes[b]
                    slope += inner_slope[b] * nodes[b]
                total += outer[a] * value
                total_outer += outer_slope[a] * value
                total_inner += outer[a] * slope
            if exclude_self:
                i = table_index(points[p, 0]) if d == 2 else 0
                j = table_index(points[p, d - 1])
                c = <float>charges[p]
                total -= c * self_terms[0, i, j]
                total_outer -= c * self_terms[1, i, j]
                total_inner -= c * self_terms[2, i, j]
            phi[p] = total
            if d == 2:
                grad_phi[p, 0] = total_outer
            grad_phi[p, d - 1] = total_inner


def coarsen(
    const float[:, ::1] fine,
    const float[:, ::1] weights,
    float[:, ::1] coarse,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill rows ``start`` to ``stop`` of ``coarse`` with the charges of ``fine``, spread by the coarse splines."""
    cdef Py_ssize_t i, j, row, width = fine.shape[1]
    cdef float weight
    cdef float[::1] scratch = fine[0].copy()
    cdef float* line
    cdef const float* nodes
    with nogil:
        for i in range(start, stop):
            line = &scratch[0]
            for j in range(width):
                line[j] = fine[0, j] if fine.shape[0] == 1 else 0.0
            if fine.shape[0] > 1:
                # The spline of row i of coarse is not 0 in the 16 rows of fine from COARSENING * (i - SUPPORT + 1) on.
                for row in range(max(0, COARSENING * (i - SUPPORT + 1)), min(fine.shape[0], COARSENING * (i + 1))):
                    weight = weights[row % COARSENING, i - row // COARSENING]
                    nodes = &fine[row, 0]
                    for j in range(width):
                        line[j] += weight * nodes[j]
            for j in range(coarse.shape[1]):
                weight = 0.0
                for row in range(max(0, COARSENING * (j - SUPPORT + 1)), min(width, COARSENING * (j + 1))):
                    weight += weights[row % COARSENING, j - row // COARSENING] * line[row]
                coarse[i, j] = weight


def refine(
    const float[:, ::1] coarse,
    const float[:, ::1] weights,
    float[:, ::1] fine,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Add the potential ``coarse``, interpolated by the coarse splines, to rows ``start`` to ``stop`` of ``fine``."""
    cdef Py_ssize_t i, j, q, r, width = coarse.shape[1], last = fine.shape[1]
    cdef float weight
    cdef float[::1] scratch = coarse[0].copy()
    cdef float* line
    cdef float* row
    cdef const float* nodes
    with nogil:
        for i in range(start, stop):
            line = &scratch[0]
            for j in range(width):
                line[j] = coarse[0, j] if fine.shape[0] == 1 else 0.0
            if fine.shape[0] > 1:
                for q in range(SUPPORT):
                    weight = weights[i % COARSENING, q]
                    nodes = &coarse[i // COARSENING + q, 0]
                    for j in range(width):
                        line[j] += weight * nodes[j]
            row = &fine[i, 0]
            for q in range(last // COARSENING):
                for r in range(COARSENING):
                    row[COARSENING * q + r] += (
                        weights[r, 0] * line[q] + weights[r, 1] * line[q + 1]
                        + weights[r, 2] * line[q + 2] + weights[r, 3] * line[q + 3]
                    )
            q = last // COARSENING
            for r in range(last % COARSENING):
                for j in range(SUPPORT):
                    row[COARSENING * q + r] += weights[r, j] * line[q + j]


cdef inline Py_ssize_t table_index(double x) noexcept nogil:
    return <Py_ssize_t>((x - <Py_ssize_t>x) * TABLE)


cdef inline void spline(double x, float* value, float* slope) noexcept nogil:
    # The values and the slopes at x of the four cubic B-splines that are not 0 there; the first belongs to the node
    # floor(x) - 1. Mesh coordinates are at least 1, so that truncation is floor and needs no call of a library.
    # Constants are variables because Cython writes literals as doubles, and C would then compute in double.
    cdef float t = <float>(x - <Py_ssize_t>x), s = 1.0 - t
    cdef float half = 0.5, sixth = 1.0 / 6.0, two_thirds = 2.0 / 3.0, three_halves = 1.5, two = 2.0
    value[0] = sixth * s * s * s
    value[1] = two_thirds - t * t + half * t * t * t
    value[2] = two_thirds - s * s + half * s * s * s
    value[3] = sixth * t * t * t
    slope[0] = -half * s * s
    slope[1] = (three_halves * t - two) * t
    slope[2] = (two - three_halves * s) * s
    slope[3] = half * t * t
