"""Conditional probabilities of a perplexity; compiled twin of ``search_precisions_reference`` in perplexity.py."""

from libc.math cimport INFINITY, exp, fabs, isfinite, log

from sktsne._native.pairs cimport MAX_EXPONENT, exp_negative


cdef enum:
    MAX_T = 709  # the largest integer at which exp(t) is finite


def search_precisions(
    const double[:, ::1] distances,
    const double[:, ::1] weights,
    double perplexity,
    double tolerance,
    Py_ssize_t max_steps,
    double[:, ::1] probabilities,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill rows ``start`` to ``stop`` of ``probabilities`` from the distances and the weights, which may be None."""
    cdef Py_ssize_t i, k = distances.shape[1]
    cdef bint weighted = weights is not None
    if start >= stop or k == 0:
        return
    with nogil:
        for i in range(start, stop):
            search_row(
                &distances[i, 0],
                &weights[i, 0] if weighted else NULL,
                k,
                perplexity,
                tolerance,
                max_steps,
                &probabilities[i, 0],
            )


cdef void search_row(
    const double* distance,
    const double* weight,
    Py_ssize_t k,
    double perplexity,
    double tolerance,
    Py_ssize_t max_steps,
    double* p,
) noexcept nogil:
    # Without weights (NULL) every neighbor has the weight 1.
    cdef Py_ssize_t j, step, n_finite = 0, n_nearest = 0
    cdef double all_weight, nearest_weight
    cdef double nearest = INFINITY, farthest = 0.0, spread = 0.0, limit
    cdef double target = log(perplexity), gap, last_gap = INFINITY, t, next_t, low = -INFINITY, high = INFINITY
    cdef double reach = 4.0, total, mean, square, cube, slope, curvature
    for j in range(k):
        if isfinite(distance[j]):
            n_finite += 1
            nearest = min(nearest, distance[j])
            farthest = max(farthest, distance[j])
    # Until the end p holds squared distances minus the smallest one, scaled to the range from 0 to 1; -1 marks a
    # missing neighbor.
    for j in range(k):
        if not isfinite(distance[j]):
            p[j] = -1.0
        elif farthest == 0.0:
            p[j] = 0.0
        else:
            p[j] = (distance[j] / farthest - nearest / farthest) * (distance[j] / farthest + nearest / farthest)
        spread = max(spread, p[j])
    mean = 0.0
    for j in range(k):
        if p[j] > 0.0:
            p[j] /= spread
            mean += p[j]
        elif p[j] == 0.0:
            n_nearest += 1
    all_weight, nearest_weight = n_finite, n_nearest
    # Weights have loops of their own, here and at the end, because conditions in the other loops would slow down
    # searches without weights by 7 %.
    if weight != NULL:
        all_weight = nearest_weight = mean = 0.0
        for j in range(k):
            if p[j] >= 0.0:
                all_weight += weight[j]
                mean += weight[j] * p[j]
            if p[j] == 0.0:
                nearest_weight += weight[j]
    if all_weight <= perplexity or nearest_weight >= perplexity:
        # No precision gives an entropy beyond its limits. p is proportional to the weights, of all neighbors or of the
        # nearest ones.
        limit = INFINITY if all_weight <= perplexity else 0.0
        total = all_weight if all_weight <= perplexity else nearest_weight
        for j in range(k):
            p[j] = weight_of(weight, j) / total if 0.0 <= p[j] <= limit else 0.0
        return
    t = min(log(2.0 * all_weight / mean), MAX_T)
    for step in range(max_steps):
        entropy_sums(p, weight, k, exp(t), &total, &mean, &square, &cube)
        gap = log(total) + mean - target
        if fabs(gap) <= tolerance:
            break
        if gap > 0.0:
            low = t
        else:
            high = t
        slope = mean * mean - square
        curvature = 2.0 * slope + cube - 3.0 * mean * square + 2.0 * mean * mean * mean
        next_t = t - 2.0 * gap * slope / (2.0 * slope * slope - gap * curvature)
        # A step is replaced by a safe one if it is NaN, leaves the bracket or is longer than `reach`, or if the step
        # before did not halve the gap. The safe step bisects the bracket, or has the length `reach`.
        if not (low < next_t < high and fabs(next_t - t) <= reach and fabs(gap) <= 0.5 * last_gap):
            if low > -INFINITY and high < INFINITY:
                next_t = 0.5 * (low + high)
            else:
                next_t = t + (reach if gap > 0.0 else -reach)
                reach *= 2.0
        last_gap = fabs(gap)
        t = min(next_t, MAX_T)
    else:
        entropy_sums(p, weight, k, exp(t), &total, &mean, &square, &cube)
    for j in range(k):
        p[j] = kernel(p[j], exp(t)) / total
    if weight != NULL:
        for j in range(k):
            p[j] *= weight[j]


cdef inline double weight_of(const double* weight, Py_ssize_t j) noexcept nogil:
    return 1.0 if weight == NULL else weight[j]


cdef inline double kernel(double d, double beta) noexcept nogil:
    # exp(-beta d), or 0 for a missing neighbor and where the exponential would underflow.
    cdef double x = beta * d if beta * d < MAX_EXPONENT else MAX_EXPONENT
    x = x if x > 0.0 else 0.0
    return exp_negative(x) if 0.0 <= d and x < MAX_EXPONENT else 0.0


cdef void entropy_sums(
    const double* d,
    const double* weight,
    Py_ssize_t k,
    double beta,
    double* total,
    double* mean,
    double* square,
    double* cube,
) noexcept nogil:
    # total is the sum S of e = w exp(-beta d) with the weights w. mean, square and cube are the means of x = beta d,
    # x^2 and x^3 with the weights e / S. With a literal NULL the compiler leaves the weights out of the loop.
    if weight == NULL:
        add_terms(d, NULL, k, beta, total, mean, square, cube)
    else:
        add_terms(d, weight, k, beta, total, mean, square, cube)


cdef inline void add_terms(
    const double* d,
    const double* weight,
    Py_ssize_t k,
    double beta,
    double* total,
    double* mean,
    double* square,
    double* cube,
) noexcept nogil:
    cdef Py_ssize_t j
    cdef double s = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0, e, x
    for j in range(k):
        e = weight_of(weight, j) * kernel(d[j], beta)
        x = beta * d[j] if e > 0.0 else 0.0
        s += e
        s1 += e * x
        s2 += e * x * x
        s3 += e * x * x * x
    total[0] = s
    mean[0] = s1 / s
    square[0] = s2 / s
    cube[0] = s3 / s
