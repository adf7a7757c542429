"""One step of gradient descent with momentum and gains; twin of ``descend_reference`` in optimizer.py."""


def descend(
    const double[:, ::1] gradient,
    double[:, ::1] Y,
    double[:, ::1] velocity,
    double[:, ::1] gain,
    double momentum,
    double learning_rate,
    double increase,
    double decrease,
    double least,
):
    """Change ``Y``, ``velocity`` and ``gain`` in place."""
    cdef Py_ssize_t j, size = Y.shape[0] * Y.shape[1]
    cdef const double* g = &gradient[0, 0]
    cdef double* y = &Y[0, 0]
    cdef double* v = &velocity[0, 0]
    cdef double* a = &gain[0, 0]
    cdef double grown
    with nogil:
        for j in range(size):
            grown = a[j] + increase if v[j] * g[j] < 0.0 else a[j] * decrease
            a[j] = grown if grown > least else least
            v[j] = momentum * v[j] - learning_rate * a[j] * g[j]
            y[j] += v[j]
