"""A balanced tree of points, and potentials from its cells; twins of the references in kernels/barnes_hut.py.

The root is node 1, and node k has the children 2k and 2k + 1. Node 2^l + j, which is number j of the 2^l nodes at level
l, holds the points from n j / 2^l to n (j + 1) / 2^l, both rounded down, in the order of the tree.
"""

from libc.math cimport INFINITY, exp, log1p, sqrt

from sktsne._native.pairs cimport MAX_FUSED, add_run

cdef enum:
    LEAF = 32
    LIST = 512
    CELLS = 128
    WIDEST = 64

ctypedef fused real_t:
    float
    double

cdef extern from *:
    """
    #define DIAGONAL 1.7320508075688772  /* of a unit cube, as in kernels/barnes_hut.py */
    #define NEGLIGIBLE 35.0
    #define NOWHERE 1e18f  /* its square does not overflow in float32 */
    #define LEAST_CHARGE 9.332636185032189e-302
    """
    const double DIAGONAL
    const double NEGLIGIBLE
    const float NOWHERE
    const double LEAST_CHARGE


# Numbers that kernels/barnes_hut.py has, too; a test compares them.
CONSTANTS = {
    "LEAF": LEAF, "MAX_COMPONENTS": MAX_FUSED, "DIAGONAL": DIAGONAL, "NEGLIGIBLE": NEGLIGIBLE,
    "LEAST_CHARGE": LEAST_CHARGE,
}


def split_nodes(
    double[:, ::1] points,
    Py_ssize_t[::1] order,
    double[:, ::1] lower,
    double[:, ::1] upper,
    Py_ssize_t level,
    Py_ssize_t last,
    Py_ssize_t depth,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Compute the boxes of nodes ``start`` to ``stop`` of a level and of the nodes below, and divide their points."""
    cdef Py_ssize_t n = points.shape[0], d = points.shape[1], here, j, node
    with nogil:
        for j in range(start, stop):
            for here in range(level, last + 1):
                for node in range(j << (here - level), (j + 1) << (here - level)):
                    split_node(
                        &points[0, 0], &order[0], &lower[0, 0], &upper[0, 0], n, d, here, node, here == depth
                    )


cdef void split_node(
    double* y, Py_ssize_t* order, double* lower, double* upper, Py_ssize_t n, Py_ssize_t d, Py_ssize_t level,
    Py_ssize_t j, bint leaf,
) noexcept nogil:
    # Computes the box of node number j of a level, and divides its points unless it is a leaf.
    cdef Py_ssize_t first = n * j >> level, last = n * (j + 1) >> level, axis = 0, p, k
    cdef double* low = lower + ((<Py_ssize_t>1 << level) + j) * d
    cdef double* high = upper + ((<Py_ssize_t>1 << level) + j) * d
    for k in range(d):
        low[k] = high[k] = y[first * d + k]
    for p in range(first + 1, last):
        for k in range(d):
            low[k] = min(low[k], y[p * d + k])
            high[k] = max(high[k], y[p * d + k])
    if leaf:
        return
    for k in range(1, d):
        if high[k] - low[k] > high[axis] - low[axis]:
            axis = k
    select(y, order, d, axis, first, last - 1, n * (2 * j + 1) >> (level + 1))


cdef void select(
    double* y, Py_ssize_t* order, Py_ssize_t d, Py_ssize_t axis, Py_ssize_t left, Py_ssize_t right, Py_ssize_t middle
) noexcept nogil:
    # Quickselect (Hoare 1961): reorders the points from left to right along an axis, so that no point before middle has
    # a larger coordinate than a point after middle.
    cdef Py_ssize_t j
    cdef double a, b, c, pivot
    while left < right:
        a, b, c = y[left * d + axis], y[((left + right) >> 1) * d + axis], y[right * d + axis]
        pivot = max(min(a, b), min(max(a, b), c))
        j = partition(y, order, d, axis, left, right, pivot, False)
        if middle < j:
            right = j - 1
            continue
        if j == left:  # the pivot is the smallest coordinate
            j = partition(y, order, d, axis, left, right, pivot, True)
            if middle < j:
                return
        left = j


cdef inline Py_ssize_t partition(
    double* y, Py_ssize_t* order, Py_ssize_t d, Py_ssize_t axis, Py_ssize_t first, Py_ssize_t last, double pivot,
    bint equal,
) noexcept nogil:
    # Moves the points below the pivot, or with `equal` those up to the pivot, before the others, and returns the end of
    # their range. With literal d the compiler unrolls the inner loop.
    if d == 1:
        return partition_unrolled(y, order, 1, axis, first, last, pivot, equal)
    if d == 2:
        return partition_unrolled(y, order, 2, axis, first, last, pivot, equal)
    return partition_unrolled(y, order, 3, axis, first, last, pivot, equal)


cdef inline Py_ssize_t partition_unrolled(
    double* y, Py_ssize_t* order, Py_ssize_t d, Py_ssize_t axis, Py_ssize_t first, Py_ssize_t last, double pivot,
    bint equal,
) noexcept nogil:
    # The loop has no branch that depends on a coordinate, because half of its predictions would be wrong.
    cdef Py_ssize_t end = first, p, k, place
    cdef double x, coordinate
    for p in range(first, last + 1):
        coordinate = y[p * d + axis]
        for k in range(d):
            x = y[p * d + k]
            y[p * d + k] = y[end * d + k]
            y[end * d + k] = x
        place = order[p]
        order[p] = order[end]
        order[end] = place
        end += coordinate <= pivot if equal else coordinate < pivot
    return end


def sum_cells(
    const double[:, ::1] points,
    const double[::1] charges,
    const double[:, ::1] lower,
    double[::1] masses,
    double[:, ::1] centers,
    double[:, :, ::1] spreads,
    Py_ssize_t level,
    bint leaves,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Compute the total charge, the center of charge and the spread of nodes ``start`` to ``stop`` of a level."""
    cdef Py_ssize_t n = points.shape[0], d = points.shape[1], j, k, first, last
    with nogil:
        for j in range(start, stop):
            k = (<Py_ssize_t>1 << level) + j
            if leaves:
                first, last = n * j >> level, n * (j + 1) >> level
                sum_parts(
                    &points[first, 0], &charges[first], NULL, last - first, d, &lower[k, 0], &masses[k], &centers[k, 0],
                    &spreads[k, 0, 0],
                )
            else:
                sum_parts(
                    &centers[2 * k, 0], &masses[2 * k], &spreads[2 * k, 0, 0], 2, d, &lower[k, 0], &masses[k],
                    &centers[k, 0], &spreads[k, 0, 0],
                )


cdef void sum_parts(
    const double* y, const double* c, const double* q, Py_ssize_t n, Py_ssize_t d, const double* low, double* mass,
    double* center, double* spread,
) noexcept nogil:
    # The total charge, the center and the spread of n points of charges c, or of n cells with the spreads q.
    cdef Py_ssize_t j, a, b
    cdef double total = 0.0, term
    for j in range(n):
        total += c[j]
    mass[0] = total
    for a in range(d):
        center[a] = low[a]
        for b in range(d):
            spread[a * d + b] = 0.0
    if total < LEAST_CHARGE:
        return
    for a in range(d):
        term = 0.0
        for j in range(n):
            term += c[j] / total * y[j * d + a]
        center[a] = term
    for a in range(d):
        for b in range(a, d):
            term = 0.0
            for j in range(n):
                term += c[j] / total * (y[j * d + a] - center[a]) * (y[j * d + b] - center[b])
                if q != NULL:
                    term += c[j] / total * q[(j * d + a) * d + b]
            spread[a * d + b] = spread[b * d + a] = term


def tree_potential(
    const double[:, ::1] at,
    bint exclude_self,
    const Py_ssize_t[::1] order,
    const double[:, ::1] points,
    const double[::1] charges,
    const double[::1] masses,
    const double[:, ::1] centers,
    const double[:, :, ::1] spreads,
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
    cells.spreads = &spreads[0, 0, 0] if spreads.shape[0] > 0 else NULL
    cells.n, cells.d, cells.depth, cells.angle, cells.dof = n, d, depth, angle, dof
    with nogil:
        for row in range(start, stop):
            if not exclude_self:
                visit(&cells, &at[row, 0], 1, &at[row, 0], &at[row, 0], 0, &phi[row], &grad_phi[row, 0])
                continue
            first, last = n * row >> depth, n * (row + 1) >> depth
            k = (<Py_ssize_t>1 << depth) + row
            if cells.spreads != NULL:
                visit_leaf(&cells, last - first, &lower[k, 0], &upper[k, 0], k, result, gradient)
            else:
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
    const double* spreads
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
            distance2 = squared_gap(cells, cells.d, k, low, high)
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
        k, distance2 = 1, squared_gap(cells, cells.d, 1, low, high)
        while k < <Py_ssize_t>1 << cells.depth:
            k = 2 * k
            distance2 = squared_gap(cells, cells.d, k, low, high)
            other = squared_gap(cells, cells.d, k + 1, low, high)
            if other < distance2:
                k, distance2 = k + 1, other
        nearest = sqrt(distance2) + DIAGONAL * cells.sizes[k]
    if cells.dof == INFINITY:
        return sqrt(nearest * nearest + NEGLIGIBLE)
    return sqrt(cells.dof * (exp(log1p(nearest * nearest / cells.dof) + NEGLIGIBLE / cells.dof) - 1.0))


cdef inline double squared_gap(
    const Cells* cells, Py_ssize_t d, Py_ssize_t k, const double* low, const double* high
) noexcept nogil:
    # The squared distance from the box to the center of cell k.
    cdef Py_ssize_t axis
    cdef double center, gap, total = 0.0
    for axis in range(d):
        center = cells.centers[k * d + axis]
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


cdef void visit_leaf(
    const Cells* cells, Py_ssize_t n_targets, const double* low, const double* high, Py_ssize_t own, double* phi,
    double* grad_phi,
) noexcept nogil:
    # The potentials of charges of 1 at the points of the leaf `own`, for one degree of freedom. They are computed in
    # float32, unless the leaf is so wide that the rounded positions of two near points would be wrong.
    cdef float single = 0
    cdef double precise = 0
    # With literal d the compiler unrolls the inner loops.
    if not cells.sizes[own] <= WIDEST:
        walk(cells, cells.d, precise, n_targets, low, high, own, phi, grad_phi)
    elif cells.d == 1:
        walk(cells, 1, single, n_targets, low, high, own, phi, grad_phi)
    elif cells.d == 2:
        walk(cells, 2, single, n_targets, low, high, own, phi, grad_phi)
    else:
        walk(cells, 3, single, n_targets, low, high, own, phi, grad_phi)


cdef inline void walk(
    const Cells* cells, Py_ssize_t d, real_t zero, Py_ssize_t n_targets, const double* low, const double* high,
    Py_ssize_t own, double* phi, double* grad_phi,
) noexcept nogil:
    # One walk through the tree, as in visit, collects a list of cells, with their spreads, and a list of points. All
    # coordinates are relative to the center of the leaf, so that they keep their digits in float32.
    cdef Py_ssize_t k = 1, level = 0, axis, i, n_points = 0, n_cells = 0
    cdef bint divides
    cdef double angle2 = cells.angle * cells.angle
    cdef double origin[MAX_FUSED]
    cdef real_t y[LEAF * MAX_FUSED]
    cdef real_t x[LIST * MAX_FUSED]
    cdef real_t far[CELLS * MAX_FUSED]
    cdef real_t mass[CELLS]
    cdef real_t trace[CELLS]
    cdef real_t spread[CELLS * MAX_FUSED * MAX_FUSED]
    for axis in range(d):
        origin[axis] = 0.5 * (low[axis] + high[axis])
    for i in range(n_targets):
        phi[i] = 0.0
        for axis in range(d):
            grad_phi[i * d + axis] = 0.0
    copy_points(cells, d, own, origin, y, LEAF, 0)
    while k > 0:
        if n_points > LIST - LEAF:
            add_points(y, n_targets, x, d, n_points, -1, phi, grad_phi)
            n_points = 0
        if own >> (cells.depth - level) == k:  # the leaf of the targets, or an ancestor of this leaf
            divides = level < cells.depth
        elif cells.sizes[k] * cells.sizes[k] <= angle2 * squared_gap(cells, d, k, low, high):
            if n_cells == CELLS:
                add_cells(y, n_targets, far, mass, trace, spread, d, n_cells, phi, grad_phi)
                n_cells = 0
            mass[n_cells] = <real_t>cells.masses[k]
            trace[n_cells] = 0
            for axis in range(d):
                far[axis * CELLS + n_cells] = <real_t>(cells.centers[k * d + axis] - origin[axis])
                trace[n_cells] += <real_t>(cells.masses[k] * cells.spreads[(k * d + axis) * d + axis])
            for i in range(d * d):
                spread[i * CELLS + n_cells] = <real_t>(4.0 * cells.masses[k] * cells.spreads[k * d * d + i])
            n_cells += 1
            divides = False
        elif level < cells.depth:
            divides = True
        else:
            n_points += copy_points(cells, d, k, origin, x, LIST, n_points)
            divides = False
        if divides:
            k, level = 2 * k, level + 1
            continue
        while k & 1:
            k, level = k >> 1, level - 1
        k += k > 0
    if n_points > LIST - LEAF:
        add_points(y, n_targets, x, d, n_points, -1, phi, grad_phi)
        n_points = 0
    i = n_points
    n_points += copy_points(cells, d, own, origin, x, LIST, n_points)
    add_points(y, n_targets, x, d, n_points, i, phi, grad_phi)
    add_cells(y, n_targets, far, mass, trace, spread, d, n_cells, phi, grad_phi)


cdef inline Py_ssize_t copy_points(
    const Cells* cells, Py_ssize_t d, Py_ssize_t k, const double* origin, real_t* x, Py_ssize_t stride, Py_ssize_t m
) noexcept nogil:
    # Appends the points of leaf k, relative to the origin, to the m points of x, and returns their number.
    cdef Py_ssize_t row = k - (<Py_ssize_t>1 << cells.depth), p, axis
    cdef Py_ssize_t first = cells.n * row >> cells.depth, last = cells.n * (row + 1) >> cells.depth
    cdef const double* y = cells.points + first * d
    for p in range(last - first):
        for axis in range(d):
            x[axis * stride + m + p] = <real_t>(y[p * d + axis] - origin[axis])
    return last - first


cdef inline void add_points(
    const real_t* y, Py_ssize_t n_targets, real_t* x, Py_ssize_t d, Py_ssize_t m, Py_ssize_t own, double* phi,
    double* grad_phi,
) noexcept nogil:
    # Adds the terms of m points to the potentials of all targets. If own is not negative, point own + i is target i. It
    # is left out of its own sum: it is moved to NOWHERE, where its weight is negligible.
    cdef Py_ssize_t i, j, axis
    cdef real_t one = 1, r2, w, total
    cdef real_t here[MAX_FUSED]
    cdef real_t difference[MAX_FUSED]
    cdef real_t force[MAX_FUSED]
    while m & 3:  # the compiled loop takes four points at a time
        for axis in range(d):
            x[axis * LIST + m] = NOWHERE
        m += 1
    for i in range(n_targets):
        total = 0
        for axis in range(d):
            here[axis] = y[axis * LEAF + i]
            force[axis] = 0
            if own >= 0:
                x[axis * LIST + own + i] = NOWHERE
        for j in range(m):
            r2 = one
            for axis in range(d):
                difference[axis] = here[axis] - x[axis * LIST + j]
                r2 += difference[axis] * difference[axis]
            w = one / r2
            total += w
            w *= w
            for axis in range(d):
                force[axis] += w * difference[axis]
        phi[i] += total
        for axis in range(d):
            grad_phi[i * d + axis] -= 2.0 * force[axis]
            if own >= 0:
                x[axis * LIST + own + i] = here[axis]


cdef inline void add_cells(
    const real_t* y, Py_ssize_t n_targets, real_t* x, real_t* mass, real_t* trace, real_t* spread, Py_ssize_t d,
    Py_ssize_t m, double* phi, double* grad_phi,
) noexcept nogil:
    # Adds the terms of m cells, with `spread` 4 S and `trace` tr S, to the potentials of all targets; see the head of
    # kernels/barnes_hut.py.
    cdef Py_ssize_t i, j, axis, other
    cdef real_t one = 1, two = 2, three = 3, r2, w, w2, along, across, total
    cdef real_t here[MAX_FUSED]
    cdef real_t difference[MAX_FUSED]
    cdef real_t product[MAX_FUSED]
    cdef real_t force[MAX_FUSED]
    while m & 3:
        mass[m] = trace[m] = 0
        for axis in range(d):
            x[axis * CELLS + m] = 0
        for axis in range(d * d):
            spread[axis * CELLS + m] = 0
        m += 1
    for i in range(n_targets):
        total = 0
        for axis in range(d):
            here[axis] = y[axis * LEAF + i]
            force[axis] = 0
        for j in range(m):
            r2 = one
            for axis in range(d):
                difference[axis] = here[axis] - x[axis * CELLS + j]
                r2 += difference[axis] * difference[axis]
            w = one / r2
            w2 = w * w
            along = 0
            for axis in range(d):
                product[axis] = 0
                for other in range(d):
                    product[axis] += spread[(axis * d + other) * CELLS + j] * difference[other]
                along += difference[axis] * product[axis]
            along *= w2
            across = w * trace[j]
            total += w * (mass[j] + along - across)
            along = w2 * (mass[j] + three * along - two * across)
            w2 *= w
            for axis in range(d):
                force[axis] += along * difference[axis] - w2 * product[axis]
        phi[i] += total
        for axis in range(d):
            grad_phi[i * d + axis] -= 2.0 * force[axis]
