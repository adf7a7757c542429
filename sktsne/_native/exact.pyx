"""The potential by sums over all pairs; compiled twin of ``pair_potential_reference`` in kernels/exact.py."""

from sktsne._native.pairs cimport LEAST_WEIGHT, MAX_EXPONENT, add_run

# Numbers that similarities.py has, too; a test compares them.
CONSTANTS = {"MAX_EXPONENT": MAX_EXPONENT, "LEAST_WEIGHT": LEAST_WEIGHT}


def pair_potential(
    const double[:, ::1] at,
    const double[:, ::1] coordinates,
    const double[::1] charges,
    bint exclude_self,
    double dof,
    double[::1] phi,
    double[:, ::1] grad_phi,
    Py_ssize_t start,
    Py_ssize_t stop,
):
    """Fill rows ``start`` to ``stop`` of ``phi`` and ``grad_phi``, the potential at ``at`` and its gradient."""
    cdef Py_ssize_t i, k, n = coordinates.shape[1], d = coordinates.shape[0]
    cdef const double* x = NULL
    cdef const double* c = NULL
    if n > 0:
        x, c = &coordinates[0, 0], &charges[0]
    with nogil:
        for i in range(start, stop):
            phi[i] = 0.0
            for k in range(d):
                grad_phi[i, k] = 0.0
            if exclude_self:
                # Two runs leave out point i. Subtracting w(0) from a single run would lose the digits of the small
                # potential of an isolated point.
                add_run(&at[i, 0], x, c, n, d, dof, 0, i, &phi[i], &grad_phi[i, 0])
                add_run(&at[i, 0], x, c, n, d, dof, i + 1, n, &phi[i], &grad_phi[i, 0])
            else:
                add_run(&at[i, 0], x, c, n, d, dof, 0, n, &phi[i], &grad_phi[i, 0])
