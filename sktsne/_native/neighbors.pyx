"""Selection of the k nearest candidates of each row, and distances of pairs; twins of neighbors/selection.py.

A row keeps up to k + BUFFER_SIZE candidates, unsorted, and a limit that the k-th nearest does not exceed. When the row
is full, about k candidates are kept and the limit falls, so that most of the following values can be rejected at once.
"""

from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy
from scipy.linalg.cython_blas cimport dgemm, sgemm

ctypedef fused real:
    float
    double

ctypedef fused other:
    float
    double

# RUN is the number of values that are compared with the limit of a row together, which compilers vectorize. Up to FEW
# elements are sorted by insertion. HALVINGS bounds the steps of the bisection in reduce_to.
cdef enum:
    RUN = 32
    FEW = 16
    HALVINGS = 30
    # The numbers of rows and of members of a list whose products are computed at a time.
    ROWS_PER_PRODUCT = 128
    MEMBERS_PER_PRODUCT = 512


# A test compares these numbers with those of the references.
CONSTANTS = {"ROWS_PER_PRODUCT": ROWS_PER_PRODUCT, "MEMBERS_PER_PRODUCT": MEMBERS_PER_PRODUCT}


cdef inline int64_t rank_among_equals(int64_t index, int64_t own, int64_t n) noexcept nogil:
    return index - own if index >= own else index - own + n


cdef inline bint before(real a, int32_t i, real b, int32_t j, int64_t own, int64_t n) noexcept nogil:
    if a != b:
        return a < b
    return rank_among_equals(i, own, n) < rank_among_equals(j, own, n)


cdef inline void swap(real* values, int32_t* indices, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    cdef real value = values[i]
    cdef int32_t index = indices[i]
    values[i] = values[j]
    indices[i] = indices[j]
    values[j] = value
    indices[j] = index


cdef inline void divide(
    real* values, int32_t* indices, Py_ssize_t low, Py_ssize_t high, int64_t own, int64_t n,
    Py_ssize_t* end, Py_ssize_t* start,
) noexcept nogil:
    """Divide candidates low to high by a pivot: those before it go to low to end, those after it to start to high.

    All bounds are included.
    """
    cdef Py_ssize_t i = low, j = high, middle = low + (high - low) // 2
    cdef real value
    cdef int32_t index
    if before(values[middle], indices[middle], values[low], indices[low], own, n):
        swap(values, indices, middle, low)
    if before(values[high], indices[high], values[low], indices[low], own, n):
        swap(values, indices, high, low)
    if before(values[high], indices[high], values[middle], indices[middle], own, n):
        swap(values, indices, high, middle)
    value = values[middle]
    index = indices[middle]
    while i <= j:
        while before(values[i], indices[i], value, index, own, n):
            i += 1
        while before(value, index, values[j], indices[j], own, n):
            j -= 1
        if i <= j:
            swap(values, indices, i, j)
            i += 1
            j -= 1
    end[0] = j
    start[0] = i


cdef void select(real* values, int32_t* indices, Py_ssize_t count, Py_ssize_t k, int64_t own, int64_t n) noexcept nogil:
    """Move the k nearest candidates of a row to its front, the k-th nearest to place k - 1 (quickselect)."""
    cdef Py_ssize_t low = 0, high = count - 1, end, start
    while low < high:
        divide(values, indices, low, high, own, n, &end, &start)
        if k - 1 <= end:
            high = end
        elif k - 1 >= start:
            low = start
        else:
            return


cdef void sort(real* values, int32_t* indices, Py_ssize_t low, Py_ssize_t high, int64_t own, int64_t n) noexcept nogil:
    cdef Py_ssize_t end, start, i, j
    while high - low > FEW:
        divide(values, indices, low, high, own, n, &end, &start)
        if end - low < high - start:  # recursion for the shorter part only, so that its depth is at most log2(count)
            sort(values, indices, low, end, own, n)
            low = start
        else:
            sort(values, indices, start, high, own, n)
            high = end
    for i in range(low + 1, high + 1):
        j = i
        while j > low and before(values[j], indices[j], values[j - 1], indices[j - 1], own, n):
            swap(values, indices, j, j - 1)
            j -= 1


cdef inline Py_ssize_t count_up_to(const real* values, Py_ssize_t count, real limit) noexcept nogil:
    cdef Py_ssize_t i
    cdef int32_t found = 0
    for i in range(count):
        found += values[i] <= limit
    return found


cdef Py_ssize_t reduce_to(
    real* values, int32_t* indices, Py_ssize_t count, Py_ssize_t k, Py_ssize_t most, int64_t own, int64_t n, real* limit,
) noexcept nogil:
    """Reduce the candidates of a row to at least the k nearest and at most ``most``; return their number.

    ``limit`` receives a bound on the values that were kept. Bisection finds a bound below which there are from k to
    ``most`` values. Counting values is fast, so that this takes a fraction of the time of an exact selection. If too
    many values are equal for such a bound, the k nearest candidates are selected exactly.
    """
    cdef real low = values[0], high = values[0], middle
    cdef Py_ssize_t i, found = count, kept = 0
    cdef int step
    for i in range(1, count):
        low = min(low, values[i])
        high = max(high, values[i])
    for step in range(HALVINGS):
        if found <= most:
            break
        middle = low + (high - low) / 2
        if not low < middle or not middle < high:
            break
        i = count_up_to(values, count, middle)
        if i >= k:
            high = middle
            found = i
        else:
            low = middle
    if found > most:
        select(values, indices, count, k, own, n)
        limit[0] = values[k - 1]
        return k
    for i in range(count):
        middle = values[i]
        values[kept] = middle
        indices[kept] = indices[i]
        kept += middle <= high
    limit[0] = high
    return kept


cdef void offer_row(
    const real* value, const int32_t* columns, Py_ssize_t n_columns, int64_t me, Py_ssize_t n, Py_ssize_t k,
    Py_ssize_t capacity, real* kept, int32_t* places, int32_t* n_kept, real* bound,
) noexcept nogil:
    """Offer the candidates ``columns`` with their values to one row, whose own number is ``me``."""
    cdef Py_ssize_t j = 0, t, stop, count = n_kept[0], most = k + (capacity - RUN - k) // 8
    cdef bint any_before
    cdef real limit = bound[0]  # infinite until the row was full for the first time
    while j < n_columns:
        stop = min(j + RUN, n_columns)
        any_before = False
        for t in range(j, stop):
            any_before |= value[t] <= limit
        if any_before:
            if count + RUN > capacity:
                count = reduce_to(kept, places, count, k, most, me, n, &limit)
            # No branches, because processors would often predict them wrongly. Each value is written to the next free
            # place, and the count grows only if the candidate is kept.
            for t in range(j, stop):
                kept[count] = value[t]
                places[count] = columns[t]
                count += (value[t] <= limit) & (columns[t] != me)
        j = stop
    n_kept[0] = count
    bound[0] = limit


def offer(
    const real[:, ::1] values,
    const int32_t[::1] columns,
    const int32_t[::1] rows,
    const int32_t[::1] own,
    Py_ssize_t n,
    Py_ssize_t k,
    real[:, ::1] best,
    int32_t[:, ::1] indices,
    int32_t[::1] counts,
    real[::1] limits,
):
    """Offer the candidates ``columns`` to each of ``rows``, with the values in the corresponding row of ``values``."""
    cdef Py_ssize_t i, row
    if values.shape[0] == 0 or values.shape[1] == 0:
        return
    with nogil:
        for i in range(values.shape[0]):
            row = rows[i]
            offer_row(
                &values[i, 0], &columns[0], values.shape[1], own[row], n, k, best.shape[1], &best[row, 0],
                &indices[row, 0], &counts[row], &limits[row],
            )


cdef inline void products(
    const real* a, Py_ssize_t n_a, const real* b, Py_ssize_t n_b, Py_ssize_t p, real* values
) noexcept nogil:
    """Fill ``values`` (n_a, n_b) with the products of rows of ``a`` and ``b``."""
    # BLAS stores matrices by columns, and is therefore asked for the transposed matrix of products.
    cdef int m = <int>n_b, n = <int>n_a, k = <int>p
    cdef real one = 1.0, zero = 0.0
    if real is float:
        sgemm("T", "N", &m, &n, &k, &one, <float*>b, &k, <float*>a, &k, &zero, values, &m)
    else:
        dgemm("T", "N", &m, &n, &k, &one, <double*>b, &k, <double*>a, &k, &zero, values, &m)


def offer_lists(
    const real[:, ::1] left,
    const real[:, ::1] right,
    const int32_t[::1] members,
    const Py_ssize_t[::1] bounds,
    const int32_t[::1] rows,
    const Py_ssize_t[::1] ends,
    const int32_t[::1] own,
    Py_ssize_t n,
    Py_ssize_t k,
    real[:, ::1] best,
    int32_t[:, ::1] indices,
    int32_t[::1] counts,
    real[::1] limits,
    real[::1] scratch,
):
    """Offer the members of each list to the rows that probe the list, with products of operands as values.

    ``scratch`` has room for the operands of ROWS_PER_PRODUCT rows, and for their products with MEMBERS_PER_PRODUCT members.
    """
    cdef Py_ssize_t number, first, start, i, row, n_rows, n_members, p = left.shape[1]
    cdef real* operands
    cdef real* values
    if rows.shape[0] == 0 or members.shape[0] == 0:
        return
    operands = &scratch[0]
    values = operands + ROWS_PER_PRODUCT * p
    with nogil:
        for number in range(bounds.shape[0] - 1):
            first = ends[number]
            while first < ends[number + 1]:
                n_rows = min(<Py_ssize_t>ROWS_PER_PRODUCT, ends[number + 1] - first)
                for i in range(n_rows):
                    memcpy(operands + i * p, &left[rows[first + i], 0], p * sizeof(real))
                start = bounds[number]
                while start < bounds[number + 1]:
                    n_members = min(<Py_ssize_t>MEMBERS_PER_PRODUCT, bounds[number + 1] - start)
                    products(operands, n_rows, &right[start, 0], n_members, p, values)
                    for i in range(n_rows):
                        row = rows[first + i]
                        offer_row(
                            values + i * n_members, &members[start], n_members, own[row], n, k, best.shape[1],
                            &best[row, 0], &indices[row, 0], &counts[row], &limits[row],
                        )
                    start += n_members
                first += n_rows


def select_nearest(
    real[:, ::1] best,
    int32_t[:, ::1] indices,
    int32_t[::1] counts,
    const int32_t[::1] own,
    Py_ssize_t n,
    Py_ssize_t k,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Move the k nearest candidates of rows ``start`` to ``stop`` to the front, and remove the others."""
    cdef Py_ssize_t i, count
    cdef real limit
    with nogil:
        for i in range(start, stop):
            if counts[i] > k:
                count = reduce_to(&best[i, 0], &indices[i, 0], counts[i], k, k + FEW, own[i], n, &limit)
                select(&best[i, 0], &indices[i, 0], count, k, own[i], n)
                counts[i] = k


def sort_neighbors(
    double[:, ::1] distances,
    int32_t[:, ::1] indices,
    const int32_t[::1] own,
    Py_ssize_t n,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Sort the neighbors of rows ``start`` to ``stop`` by distance, and those at equal distances by cyclic offset."""
    cdef Py_ssize_t i, k = distances.shape[1]
    if k == 0:
        return
    with nogil:
        for i in range(start, stop):
            sort(&distances[i, 0], &indices[i, 0], 0, k - 1, own[i], n)


def pair_distances(
    const other[:, ::1] new,
    const real[:, ::1] X,
    const int32_t[:, ::1] indices,
    double[:, ::1] distances,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill rows ``start`` to ``stop`` of ``distances``, which are from rows of ``new`` to the rows ``indices`` of X."""
    cdef Py_ssize_t i, j, k, m = X.shape[1]
    cdef double difference, total
    cdef const other* x
    cdef const real* y
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
                    difference = <double>x[k] - <double>y[k]
                    total += difference * difference
                distances[i, j] = sqrt(total)
