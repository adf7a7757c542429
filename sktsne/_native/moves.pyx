"""Neighbors and springs of rows that move; compiled twins of the references in reliability/moves.py."""

from libc.math cimport INFINITY, exp
from libc.stdint cimport int32_t, int64_t


def select_moved(
    const double[:, ::1] squares,
    const int32_t[:, ::1] candidates,
    const int32_t[::1] counts,
    const int64_t[::1] rows,
    const double[:, ::1] components,
    const double[:, ::1] lengths,
    int32_t[:, :, ::1] nearest,
    double[:, :, ::1] distances,
):
    """Fill ``nearest`` and ``distances`` with the places and squared distances of the nearest candidates of moves."""
    cdef Py_ssize_t b, j, move, k = nearest.shape[2], n_candidates
    cdef double length
    cdef double[::1] keys = squares[0].copy()
    cdef double[::1] toward = squares[0].copy()
    cdef int32_t[::1] places = candidates[0].copy()
    with nogil:
        for b in range(rows.shape[0]):
            n_candidates = counts[b]
            for move in range(nearest.shape[1]):
                length = lengths[rows[b], move // 2]
                if move % 2 == 0:
                    along_axis(components, candidates[b], rows[b], move // 2, n_candidates, toward)
                    length = -length
                for j in range(n_candidates):
                    keys[j] = moved_square(squares[b, j], length, toward[j])
                    places[j] = <int32_t>j
                select(&keys[0], &places[0], n_candidates, k)
                for j in range(k):
                    nearest[b, move, j] = places[j] if j < n_candidates else 0
                    distances[b, move, j] = keys[j] if j < n_candidates else INFINITY


cdef inline void along_axis(
    const double[:, ::1] components, const int32_t[::1] candidates, Py_ssize_t row, Py_ssize_t axis, Py_ssize_t n,
    double[::1] toward,
) noexcept nogil:
    # Candidates are far from each other in memory, so their components are read once for both moves along an axis.
    cdef Py_ssize_t j
    cdef double here = components[row, axis]
    for j in range(n):
        toward[j] = components[candidates[j], axis] - here


cdef inline double moved_square(double square, double length, double toward) noexcept nogil:
    cdef double moved = square + length * (length - 2.0 * toward)
    return moved if moved > 0.0 else 0.0


cdef inline void select(double* keys, int32_t* places, Py_ssize_t n, Py_ssize_t k) noexcept nogil:
    # Moves the k smallest keys to the front, with their places, by Hoare's method.
    cdef Py_ssize_t low = 0, high = n - 1, i, j
    cdef double pivot, key
    cdef int32_t place
    while low < high:
        pivot = keys[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while keys[i] < pivot:
                i += 1
            while keys[j] > pivot:
                j -= 1
            if i <= j:
                key, place = keys[i], places[i]
                keys[i], places[i] = keys[j], places[j]
                keys[j], places[j] = key, place
                i += 1
                j -= 1
        if k - 1 <= j:
            high = j
        elif k - 1 >= i:
            low = i
        else:
            return


def moved_springs(
    const double[:, ::1] squares,
    const int32_t[:, ::1] candidates,
    const int32_t[::1] counts,
    const int64_t[::1] rows,
    const double[:, ::1] components,
    const double[:, ::1] lengths,
    const int32_t[:, :, ::1] nearest,
    const double[:, :, ::1] probabilities,
    const double[:, :, :, ::1] lines,
    const double[:, ::1] reach,
    double scale,
    double least,
    double[::1] springs,
    int32_t[::1] indices,
    int64_t[::1] numbers,
):
    """Fill ``springs`` and ``indices`` with the springs of each move, and ``numbers`` with how many there are of it."""
    cdef Py_ssize_t b, j, move, k = nearest.shape[2], n_candidates, n_moves = nearest.shape[1]
    cdef Py_ssize_t total = 0, before, n_lines = lines.shape[2]
    cdef double length, given
    cdef double[::1] toward = squares[0].copy()
    cdef double[::1] own = squares[0].copy()
    cdef double[::1] rest = squares[0].copy()
    with nogil:
        for b in range(rows.shape[0]):
            n_candidates = counts[b]
            for j in range(n_candidates):
                rest[j] = 1.0 - given_at(squares[b, j], scale, reach[b, j], &lines[b, j, 0, 0], n_lines)
            for move in range(n_moves):
                length = lengths[rows[b], move // 2]
                if move % 2 == 0:
                    along_axis(components, candidates[b], rows[b], move // 2, n_candidates, toward)
                    length = -length
                for j in range(n_candidates):
                    own[j] = 0.0
                for j in range(k):
                    own[nearest[b, move, j]] += probabilities[b, move, j]
                before = total
                for j in range(n_candidates):
                    given = given_at(
                        moved_square(squares[b, j], length, toward[j]), scale, reach[b, j], &lines[b, j, 0, 0], n_lines
                    )
                    if given > 0.0:
                        given /= rest[j] + given
                    given += own[j]
                    if given > least:
                        springs[total] = given
                        indices[total] = candidates[b, j]
                        total += 1
                numbers[b * n_moves + move] = total - before


cdef inline double given_at(
    double square, double scale, double end, const double* lines, Py_ssize_t n_lines
) noexcept nogil:
    # The probability that a row gives to another at a squared distance of their points, before it is normalized.
    cdef Py_ssize_t line
    cdef double total = 0.0
    if scale > 0.0:
        square = scale * square * scale * square
    if square > end:
        return 0.0
    for line in range(n_lines):
        total += exp(lines[2 * line] - lines[2 * line + 1] * square)
    return total / n_lines if n_lines > 1 else total
