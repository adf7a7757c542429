"""A balanced tree of points, and potentials from its cells; twins of the references in kernels/barnes_hut.py.

The root is node 1, and node k has the children 2k and 2k + 1. Node 2^l + j, which is number j of the 2^l nodes at level
l, holds the points from n j / 2^l to n (j + 1) / 2^l, both rounded down, in the order of the tree.
"""

from libc.math cimport INFINITY, exp, log1p, sqrt

from sktsne._native.pairs cimport MAX_FUSED, add_run

cdef enum:
    LEAF = 32
    LIST = 512

cdef extern from *:
    """
    #define DIAGONAL 1.7320508075688772  /* of a unit cube, as in kernels/barnes_hut.py */
    #define NEGLIGIBLE 35.0
    """
    const double DIAGONAL
    const double NEGLIGIBLE


# Numbers that kernels/barnes_hut.py has, too; a test compares them.
CONSTANTS = {"LEAF": LEAF, "MAX_COMPONENTS": MAX_FUSED, "DIAGONAL": DIAGONAL, "NEGLIGIBLE": NEGLIGIBLE}


def split_nodes(
    double[:, ::1] points,
    Py_ssize_t[::1] order,
    double[:, ::1] lower,
    double[:, ::1] upper,
    Py_ssize_t level,
    bint leaves,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Compute the boxes of nodes ``start`` to ``stop`` of a level, and divide their points unless they are leaves."""
    cdef Py_ssize_t n = points.shape[0], d = points.shape[1], j, p, k, axis, first, last
    cdef double* low
    cdef double* high
    with nogil:
        for j in range(start, stop):
            first, last = n * j >> level, n * (j + 1) >> level
            low, high = &lower[(<Py_ssize_t>1 << level) + j, 0], &upper[(<Py_ssize_t>1 << level) + j, 0]
            for k in range(d):
                low[k] = high[k] = points[first, k]
            for p in range(first + 1, last):
                for k in range(d):
                    low[k] = min(low[k], points[p, k])
                    high[k] = max(high[k], points[p, k])
            if leaves:
                continue
            axis = 0
            for k in range(1, d):
                if high[k] - low[k] > high[axis] - low[axis]:
                    axis = k
            select(&points[0, 0], &order[0], d, axis, first, last - 1, n * (2 * j + 1) >> (level + 1))


cdef void select(
    double* y, Py_ssize_t* order, Py_ssize_t d, Py_ssize_t axis, Py_ssize_t left, Py_ssize_t right, Py_ssize_t middle
) noexcept nogil:
    # Quickselect (Hoare 1961): reorders the points from left to right along an axis, so that no point before middle has
    # a larger coordinate than a point after middle.
    cdef Py_ssize_t i, j, k
    cdef double a, b, c, pivot, x
    while left < right:
        a, b, c = y[left * d + axis], y[((left + right) >> 1) * d + axis], y[right * d + axis]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = left, right
        while i <= j:
            while y[i * d + axis] < pivot:
                i += 1
            while y[j * d + axis] > pivot:
                j -= 1
            if i <= j:
                for k in range(d):
                    x = y[i * d + k]
                    y[i * d + k] = y[j * d + k]
                    y[j * d + k] = x
                k = order[i]
                order[i] = order[j]
                order[j] = k
                i += 1
                j -= 1
        if middle <= j:
            right = j
        elif middle >= i:
            left = i
        else:
            return


def tree_potential(
    const double[:, ::1] at,
    bint exclude_self,
    const Py_ssize_t[::1] order,
    const double[:, ::1] points,
    const double[::1] charges,
    const double[::1] masses,
    const double[:, ::1] centers,
    const double[::1] sizes,
    const double[:, ::1] lower,
    const double[:, ::1] upper,
    Py_ssize_t depth,
    double angle,
    double dof,
    double[::1] phi,
    double[:, ::1] grad_phi,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill ``phi`` and ``grad_phi`` for rows ``start`` to ``stop`` of ``at``, or with exclude_self for these leaves."""
    cdef Py_ssize_t n = points.shape[0], d = points.shape[1], row, i, k, first, last
    cdef Cells cells
    cdef double result[LEAF]
    cdef double gradient[LEAF * MAX_FUSED]
    if d > MAX_FUSED or n > <Py_ssize_t>LEAF << depth:
        raise ValueError("The points are more, or have more components, than the arrays of the leaves hold.")
    cells.points, cells.charges = &points[0, 0], &charges[0]
    cells.masses, cells.centers, cells.sizes = &masses[0], &centers[0, 0], &sizes[0]
    cells.n, cells.d, cells.depth, cells.angle, cells.dof = n, d, depth, angle, dof
    with nogil:
        for row in range(start, stop):
            if not exclude_self:
                visit(&cells, &at[row, 0], 1, &at[row, 0], &at[row, 0], 0, &phi[row], &grad_phi[row, 0])
                continue
            first, last = n * row >> depth, n * (row + 1) >> depth
            k = (<Py_ssize_t>1 << depth) + row
            visit(&cells, &points[first, 0], last - first, &lower[k, 0], &upper[k, 0], k, result, gradient)
            for i in range(last - first):
                phi[order[first + i]] = result[i]
                for k in range(d):
                    grad_phi[order[first + i], k] = gradient[i * d + k]


cdef struct Cells:
    const double* points
    const double* charges
    const double* masses
    const double* centers
    const double* sizes
    Py_ssize_t n
    Py_ssize_t d
    Py_ssize_t depth
    double angle
    double dof


cdef void visit(
    const Cells* cells, const double* targets, Py_ssize_t n_targets, const double* low, const double* high,
    Py_ssize_t own, double* phi, double* grad_phi,
) noexcept nogil:
    # The potentials at targets in the box from low to high. One walk through the tree, for all targets, collects a list
    # of cells that count as one point, and of the points of leaves that do not. `own` is the leaf of the targets, or 0.
    cdef Py_ssize_t k = 1, level = 0, d = cells.d, axis, i, p, first, last, m = 0
    cdef double distance2, beyond = INFINITY
    cdef double x[LIST * MAX_FUSED]
    cdef double c[LIST]
    for i in range(n_targets):
        phi[i] = 0.0
        for axis in range(d):
            grad_phi[i * d + axis] = 0.0
    if cells.dof > 1.0:
        beyond = reach(cells, low, high, own)
    while k > 0:
        if m > LIST - LEAF:
            add_list(cells, targets, n_targets, x, c, m, phi, grad_phi)
            m = 0
        if own >> (cells.depth - level) != k:  # k is neither the leaf of the targets nor an ancestor of this leaf
            distance2 = squared_gap(cells, k, low, high)
            if counts_as_point(cells.sizes[k], distance2, cells.angle, cells.dof, beyond):
                for axis in range(d):
                    x[axis * LIST + m] = cells.centers[k * d + axis]
                c[m] = cells.masses[k]
                m += 1
            elif level < cells.depth:
                k, level = 2 * k, level + 1
                continue
            else:
                m += copy_leaf(cells, k, x, c, m)
        elif level < cells.depth:
            k, level = 2 * k, level + 1
            continue
        while k & 1:
            k, level = k >> 1, level - 1
        k += k > 0
    add_list(cells, targets, n_targets, x, c, m, phi, grad_phi)
    if own > 0:
        m = copy_leaf(cells, own, x, c, 0)
        for i in range(n_targets):
            add_run(targets + i * d, x, c, LIST, d, cells.dof, 0, i, &phi[i], &grad_phi[i * d])
            add_run(targets + i * d, x, c, LIST, d, cells.dof, i + 1, m, &phi[i], &grad_phi[i * d])


cdef inline bint counts_as_point(double size, double distance2, double angle, double dof, double beyond) noexcept nogil:
    cdef double distance, slope
    if dof <= 1.0:
        return size * size <= angle * angle * distance2
    distance = sqrt(distance2)
    slope = distance2 / (1.0 + distance2 / dof)
    return size * max(1.0, slope) <= angle * distance or distance > beyond + DIAGONAL * size


cdef double reach(const Cells* cells, const double* low, const double* high, Py_ssize_t own) noexcept nogil:
    # The distance beyond which weights are negligible beside the weight of a nearer point. This point is in the leaf of
    # the targets, or in the leaf at the end of a walk that always takes the child with the nearer center.
    cdef Py_ssize_t k = own, axis
    cdef double nearest, distance2, other
    if own > 0:
        nearest = DIAGONAL * cells.sizes[own]
    else:
        k, distance2 = 1, squared_gap(cells, 1, low, high)
        while k < <Py_ssize_t>1 << cells.depth:
            k = 2 * k
            distance2 = squared_gap(cells, k, low, high)
            other = squared_gap(cells, k + 1, low, high)
            if other < distance2:
                k, distance2 = k + 1, other
        nearest = sqrt(distance2) + DIAGONAL * cells.sizes[k]
    if cells.dof == INFINITY:
        return sqrt(nearest * nearest + NEGLIGIBLE)
    return sqrt(cells.dof * (exp(log1p(nearest * nearest / cells.dof) + NEGLIGIBLE / cells.dof) - 1.0))


cdef inline double squared_gap(const Cells* cells, Py_ssize_t k, const double* low, const double* high) noexcept nogil:
    # The squared distance from the box to the center of cell k.
    cdef Py_ssize_t axis
    cdef double center, gap, total = 0.0
    for axis in range(cells.d):
        center = cells.centers[k * cells.d + axis]
        gap = max(max(low[axis] - center, center - high[axis]), 0.0)
        total += gap * gap
    return total


cdef Py_ssize_t copy_leaf(const Cells* cells, Py_ssize_t k, double* x, double* c, Py_ssize_t m) noexcept nogil:
    # Appends the points of leaf k to the list of m entries, and returns their number.
    cdef Py_ssize_t row = k - (<Py_ssize_t>1 << cells.depth), p, axis
    cdef Py_ssize_t first = cells.n * row >> cells.depth, last = cells.n * (row + 1) >> cells.depth
    for p in range(first, last):
        for axis in range(cells.d):
            x[axis * LIST + m] = cells.points[p * cells.d + axis]
        c[m] = cells.charges[p]
        m += 1
    return last - first


cdef void add_list(
    const Cells* cells, const double* targets, Py_ssize_t n_targets, const double* x, const double* c, Py_ssize_t m,
    double* phi, double* grad_phi,
) noexcept nogil:
    # Adds the terms of the list of m cells and points to the potentials of all targets.
    cdef Py_ssize_t i
    for i in range(n_targets):
        add_run(targets + i * cells.d, x, c, LIST, cells.d, cells.dof, 0, m, &phi[i], &grad_phi[i * cells.d])
