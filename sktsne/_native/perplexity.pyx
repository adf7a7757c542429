"""Conditional probabilities of a perplexity; compiled twin of ``search_precisions_reference`` in perplexity.py."""

from libc.math cimport INFINITY, exp, fabs, isfinite, log

from sktsne._native.pairs cimport MAX_EXPONENT, exp_negative


cdef enum:
    MAX_T = 709  # the largest integer at which exp(t) is finite


def search_precisions(
    const double[:, ::1] distances,
    double perplexity,
    double tolerance,
    Py_ssize_t max_steps,
    double[:, ::1] probabilities,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill rows ``start`` to ``stop`` of ``probabilities`` from the distances."""
    cdef Py_ssize_t i, k = distances.shape[1]
    if start >= stop or k == 0:
        return
    with nogil:
        for i in range(start, stop):
            search_row(&distances[i, 0], k, perplexity, tolerance, max_steps, &probabilities[i, 0])


cdef void search_row(
    const double* distance, Py_ssize_t k, double perplexity, double tolerance, Py_ssize_t max_steps, double* p
) noexcept nogil:
    cdef Py_ssize_t j, step, n_finite = 0, n_nearest = 0
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
    if n_finite <= perplexity or n_nearest >= perplexity:
        # No precision gives an entropy beyond its limits. p is uniform, over all neighbors or over the nearest ones.
        limit = INFINITY if n_finite <= perplexity else 0.0
        total = n_finite if n_finite <= perplexity else n_nearest
        for j in range(k):
            p[j] = 1.0 / total if 0.0 <= p[j] <= limit else 0.0
        return
    t = log(2.0 * n_finite / mean)
    for step in range(max_steps):
        entropy_sums(p, k, exp(t), &total, &mean, &square, &cube)
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
        entropy_sums(p, k, exp(t), &total, &mean, &square, &cube)
    for j in range(k):
        p[j] = kernel(p[j], exp(t)) / total


cdef inline double kernel(double d, double beta) noexcept nogil:
    # exp(-beta d), or 0 for a missing neighbor and where the exponential would underflow.
    cdef double x = beta * d if beta * d < MAX_EXPONENT else MAX_EXPONENT
    x = x if x > 0.0 else 0.0
    return exp_negative(x) if 0.0 <= d and x < MAX_EXPONENT else 0.0


cdef void entropy_sums(
    const double* d, Py_ssize_t k, double beta, double* total, double* mean, double* square, double* cube
) noexcept nogil:
    # total is the sum S of e = exp(-beta d). mean, square and cube are the means of x = beta d, x^2 and x^3 with the
    # weights e / S.
    cdef Py_ssize_t j
    cdef double s = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0, e, x
    for j in range(k):
        e = kernel(d[j], beta)
        x = beta * d[j] if e > 0.0 else 0.0
        s += e
        s1 += e * x
        s2 += e * x * x
        s3 += e * x * x * x
    total[0] = s
    mean[0] = s1 / s
    square[0] = s2 / s
    cube[0] = s3 / s
