"""One step of gradient descent with momentum and gains; compiled twin of ``descend_reference`` in optimizer.py."""

import numpy as np
from libc.math cimport INFINITY, sqrt

def descend(
    const double[:, ::1] gradient,
    const double[::1] curvature,
    bint relative,
    double learning_rate,
    double momentum,
    double increase,
    double decrease,
    double least,
    double largest,
    double max_step,
    const double[::1] shift,
    double[:, ::1] Y,
    double[:, ::1] velocity,
    double[:, ::1] gain,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Take one step with rows ``start`` to ``stop`` of Y, ``velocity`` and ``gain``; return the sum of these rows."""
    cdef Py_ssize_t i, k, d = Y.shape[1]
    cdef double rate = learning_rate, grown, g, v, length
    total = np.zeros(d)
    cdef double[::1] sums = total
    with nogil:
        for i in range(start, stop):
            if relative:
                rate = learning_rate / curvature[i]
            for k in range(d):
                g = gradient[i, k]
                v = velocity[i, k]
                grown = gain[i, k] + increase if v * g < 0.0 else gain[i, k] * decrease
                grown = grown if grown > least else least
                gain[i, k] = grown if grown < largest else largest
                velocity[i, k] = momentum * v - rate * gain[i, k] * g
            if max_step < INFINITY:
                length = 0.0
                for k in range(d):
                    length += velocity[i, k] * velocity[i, k]
                length = sqrt(length)
                if length > max_step:
                    for k in range(d):
                        velocity[i, k] *= max_step / length
            for k in range(d):
                Y[i, k] += velocity[i, k] - shift[k]
                sums[k] += Y[i, k]
    return total
