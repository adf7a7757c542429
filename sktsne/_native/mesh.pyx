"""Spreading charges on a mesh, reading a potential, changing the spacing; compiled twins of kernels/mesh.py."""

cdef enum:
    SUPPORT = 4
    COARSENING = 4


# Numbers that kernels/mesh.py has, too; a test compares them.
CONSTANTS = {"SUPPORT": SUPPORT, "COARSENING": COARSENING}


def spread(
    const double[:, ::1] points,
    const double[::1] charges,
    float[:, :, ::1] mesh,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Spread the charges at mesh coordinates ``points`` by the splines, on rows ``start`` to ``stop`` of ``mesh``.

    The charges of a node are added in the order of the points, so the sums do not depend on how threads divide rows.
    """
    # With literal numbers of components the compiler unrolls the inner loops.
    with nogil:
        if points.shape[1] == 1:
            spread_rows(points, charges, mesh, start, stop, 1)
        elif points.shape[1] == 2:
            spread_rows(points, charges, mesh, start, stop, 2)
        else:
            spread_rows(points, charges, mesh, start, stop, 3)


cdef inline void spread_rows(
    const double[:, ::1] points, const double[::1] charges, float[:, :, ::1] mesh, Py_ssize_t start, Py_ssize_t stop,
    Py_ssize_t d,
) noexcept nogil:
    cdef Py_ssize_t p, a, b, k, row, n = points.shape[0]
    cdef Py_ssize_t n_outer = SUPPORT if d >= 2 else 1, n_middle = SUPPORT if d == 3 else 1
    cdef Py_ssize_t planes = mesh.shape[1], width = mesh.shape[2]
    cdef float outer[SUPPORT]
    cdef float middle[SUPPORT]
    cdef float inner[SUPPORT]
    cdef float slope[SUPPORT]
    cdef float c
    cdef float* nodes
    cdef float* first_node = &mesh[0, 0, 0]
    cdef Py_ssize_t first_plane = 0, first_row = 0, first_column
    outer[0] = middle[0] = 1.0
    for p in range(n):
        if d >= 2:
            first_plane = <Py_ssize_t>points[p, 0] - 1
            if first_plane * planes >= stop or (first_plane + SUPPORT) * planes <= start:
                continue
            spline(points[p, 0], outer, slope)
        if d == 3:
            first_row = <Py_ssize_t>points[p, 1] - 1
            spline(points[p, 1], middle, slope)
        first_column = <Py_ssize_t>points[p, d - 1] - 1
        spline(points[p, d - 1], inner, slope)
        for a in range(n_outer):
            for b in range(n_middle):
                row = (first_plane + a) * planes + first_row + b
                if start <= row < stop:
                    nodes = first_node + row * width + first_column
                    c = <float>charges[p] * outer[a] * middle[b]
                    for k in range(SUPPORT):
                        nodes[k] += c * inner[k]


def read(
    const double[:, ::1] points,
    const float[:, :, ::1] mesh,
    const double[::1] charges,
    const float[:, :, :, ::1] self_terms,
    bint exclude_self,
    double[::1] phi,
    double[:, ::1] grad_phi,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Interpolate the potential and its gradient at mesh coordinates ``points``, for rows ``start`` to ``stop``."""
    with nogil:
        if points.shape[1] == 1:
            read_rows(points, mesh, charges, self_terms, exclude_self, phi, grad_phi, start, stop, 1)
        elif points.shape[1] == 2:
            read_rows(points, mesh, charges, self_terms, exclude_self, phi, grad_phi, start, stop, 2)
        else:
            read_rows(points, mesh, charges, self_terms, exclude_self, phi, grad_phi, start, stop, 3)


cdef inline void read_rows(
    const double[:, ::1] points, const float[:, :, ::1] mesh, const double[::1] charges,
    const float[:, :, :, ::1] self_terms, bint exclude_self, double[::1] phi, double[:, ::1] grad_phi,
    Py_ssize_t start, Py_ssize_t stop, Py_ssize_t d,
) noexcept nogil:
    cdef Py_ssize_t p, a, b, k
    cdef Py_ssize_t n_outer = SUPPORT if d >= 2 else 1, n_middle = SUPPORT if d == 3 else 1
    cdef float outer[SUPPORT]
    cdef float outer_slope[SUPPORT]
    cdef float middle[SUPPORT]
    cdef float middle_slope[SUPPORT]
    cdef float inner[SUPPORT]
    cdef float inner_slope[SUPPORT]
    cdef float value, slope, total, total_outer, total_middle, total_inner
    cdef const float* nodes
    cdef const float* own
    cdef Py_ssize_t first_plane = 0, first_row = 0, first_column, i, j
    cdef Py_ssize_t table = self_terms.shape[3], n_terms = self_terms.shape[1] * self_terms.shape[2] * table
    cdef float c
    outer[0] = middle[0] = 1.0
    outer_slope[0] = middle_slope[0] = 0.0
    for p in range(start, stop):
        if d >= 2:
            first_plane = <Py_ssize_t>points[p, 0] - 1
            spline(points[p, 0], outer, outer_slope)
        if d == 3:
            first_row = <Py_ssize_t>points[p, 1] - 1
            spline(points[p, 1], middle, middle_slope)
        first_column = <Py_ssize_t>points[p, d - 1] - 1
        spline(points[p, d - 1], inner, inner_slope)
        total = total_outer = total_middle = total_inner = 0.0
        for a in range(n_outer):
            for b in range(n_middle):
                nodes = &mesh[first_plane + a, first_row + b, first_column]
                value = slope = 0.0
                for k in range(SUPPORT):
                    value += inner[k] * nodes[k]
                    slope += inner_slope[k] * nodes[k]
                total += outer[a] * middle[b] * value
                total_outer += outer_slope[a] * middle[b] * value
                if d == 3:
                    total_middle += outer[a] * middle_slope[b] * value
                total_inner += outer[a] * middle[b] * slope
        if exclude_self:
            i = table_index(points[p, 0], table) if d >= 2 else 0
            j = table_index(points[p, 1], table) if d == 3 else 0
            own = &self_terms[0, i, j, table_index(points[p, d - 1], table)]
            c = <float>charges[p]
            total -= c * own[0]
            total_outer -= c * own[n_terms]
            total_middle -= c * own[2 * n_terms]
            total_inner -= c * own[3 * n_terms]
        phi[p] = total
        if d >= 2:
            grad_phi[p, 0] = total_outer
        if d == 3:
            grad_phi[p, 1] = total_middle
        grad_phi[p, d - 1] = total_inner


def coarsen(
    const float[:, :, ::1] fine,
    const float[:, ::1] weights,
    float[:, :, ::1] coarse,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill planes ``start`` to ``stop`` of ``coarse`` with the charges of ``fine``, spread by the coarse splines."""
    cdef Py_ssize_t i, j, k, row, width = fine.shape[2]
    cdef float weight
    cdef float[:, ::1] plane = fine[0].copy()
    cdef float[::1] scratch = fine[0, 0].copy()
    cdef float* line = &scratch[0] if fine.shape[1] > 1 else &plane[0, 0]  # the middle axis may not be used
    with nogil:
        for i in range(start, stop):
            gather(&fine[0, 0, 0], fine.shape[0], fine.shape[1] * width, weights, i, &plane[0, 0])
            for j in range(coarse.shape[1]):
                if fine.shape[1] > 1:
                    gather(&plane[0, 0], fine.shape[1], width, weights, j, line)
                for k in range(coarse.shape[2]):
                    weight = 0.0
                    for row in range(max(0, COARSENING * (k - SUPPORT + 1)), min(width, COARSENING * (k + 1))):
                        weight += weights[row % COARSENING, k - row // COARSENING] * line[row]
                    coarse[i, j, k] = weight


cdef inline void gather(
    const float* lines, Py_ssize_t n, Py_ssize_t width, const float[:, ::1] weights, Py_ssize_t i, float* total
) noexcept nogil:
    # Fills total with the sum of n lines, weighted by the spline of coarse node i. This spline is not 0 at the 16 nodes
    # from COARSENING * (i - SUPPORT + 1) on. An axis that is not used has one line.
    cdef Py_ssize_t k, row, first = 0, last = 1
    cdef float weight = 1.0
    if n > 1:
        first = max(0, COARSENING * (i - SUPPORT + 1))
        last = min(n, COARSENING * (i + 1))
    for k in range(width):
        total[k] = 0.0
    for row in range(first, last):
        if n > 1:
            weight = weights[row % COARSENING, i - row // COARSENING]
        for k in range(width):
            total[k] += weight * lines[row * width + k]


def refine(
    const float[:, :, ::1] coarse,
    const float[:, ::1] weights,
    float[:, :, ::1] fine,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Add the potential ``coarse``, interpolated by the coarse splines, to planes ``start`` to ``stop`` of ``fine``."""
    cdef Py_ssize_t i, j, k, q, r, width = coarse.shape[2], last = fine.shape[2]
    cdef float[:, ::1] plane = coarse[0].copy()
    cdef float[::1] scratch = coarse[0, 0].copy()
    cdef float* line = &scratch[0] if fine.shape[1] > 1 else &plane[0, 0]
    cdef float* row
    with nogil:
        for i in range(start, stop):
            interpolate(&coarse[0, 0, 0], coarse.shape[0], coarse.shape[1] * width, weights, i, &plane[0, 0])
            for j in range(fine.shape[1]):
                if fine.shape[1] > 1:
                    interpolate(&plane[0, 0], coarse.shape[1], width, weights, j, line)
                row = &fine[i, j, 0]
                for q in range(last // COARSENING):
                    for r in range(COARSENING):
                        row[COARSENING * q + r] += (
                            weights[r, 0] * line[q] + weights[r, 1] * line[q + 1]
                            + weights[r, 2] * line[q + 2] + weights[r, 3] * line[q + 3]
                        )
                q = last // COARSENING
                for r in range(last % COARSENING):
                    for k in range(SUPPORT):
                        row[COARSENING * q + r] += weights[r, k] * line[q + k]


cdef inline void interpolate(
    const float* lines, Py_ssize_t n, Py_ssize_t width, const float[:, ::1] weights, Py_ssize_t i, float* total
) noexcept nogil:
    # Fills total with the interpolation of n lines of coarse nodes at fine node i.
    cdef Py_ssize_t k, q, first = i // COARSENING if n > 1 else 0
    cdef float weight = 1.0
    for k in range(width):
        total[k] = 0.0
    for q in range(SUPPORT if n > 1 else 1):
        if n > 1:
            weight = weights[i % COARSENING, q]
        for k in range(width):
            total[k] += weight * lines[(first + q) * width + k]


cdef inline Py_ssize_t table_index(double x, Py_ssize_t table) noexcept nogil:
    return <Py_ssize_t>((x - <Py_ssize_t>x) * table)


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
