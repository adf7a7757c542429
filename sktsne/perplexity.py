r"""Conditional probabilities of a given perplexity: the search for the precision β_i of each row.

    p_{j|i} = exp(−β_i δ_ij²) / Σ_{k≠i} exp(−β_i δ_ik²),   p_{i|i} = 0
    H_i     = −Σ_j p_{j|i} log p_{j|i} = log(perplexity)                    (defines β_i)

(Hinton & Roweis 2002, section 2; van der Maaten & Hinton 2008, eq. 1). With t = log β, D = δ² and S = Σ exp(−βD):

    H = log S + ⟨x⟩          dH/dt = −Var(x) ≤ 0          d²H/dt² = −2 Var(x) + ⟨(x − ⟨x⟩)³⟩,   x = βD

where ⟨·⟩ is the mean under p. D may be shifted and scaled, because shifts do not change p and β makes up for the scale.
As t grows, the entropy H falls from the logarithm of the number of neighbors to the logarithm of the number of nearest
neighbors at equal distances. Halley's method on t, inside a bracket, finds the root. The third moment that it needs
costs little beside the exponentials and saves at least half of the steps: from the same start, Halley's method reaches
an error of 1e-5 in three steps for 99 % of the rows of nearest neighbors, Newton's method in five to seven.
"""

from __future__ import annotations

import math
from functools import partial
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import as_floats, check_number, check_type
from ._native import choose
from ._row_errors import RowError
from .parallel import Workers
from .similarities import MAX_EXPONENT

# The largest error of the logarithm of the perplexity. Users are promised 1e-5. Because the last step cubes the error,
# 1e-8 costs a fraction of a step more, and the results hardly depend on the step at which the search stops.
TOLERANCE = 1e-8
MAX_STEPS = 100
MAX_T = 709.0  # the largest integer at which exp(t) is finite


def search_precisions_reference(
    distances: NDArray[np.float64],
    perplexity: float,
    tolerance: float,
    max_steps: int,
    probabilities: NDArray[np.float64],
    start: int,
    stop: int,
) -> None:
    """Fill rows ``start`` to ``stop`` of ``probabilities`` from the distances; see `conditional_probabilities`."""
    delta = distances[start:stop]
    finite = np.isfinite(delta)
    scale = np.max(delta, axis=1, initial=0.0, where=finite, keepdims=True)
    delta = np.where(finite, delta, 0.0) / np.where(scale > 0.0, scale, 1.0)
    nearest = np.min(delta, axis=1, initial=np.inf, where=finite, keepdims=True)
    D = np.where(finite, (delta - nearest) * (delta + nearest), np.inf)
    spread = np.max(D, axis=1, initial=0.0, where=finite, keepdims=True)
    D /= np.where(spread > 0.0, spread, 1.0)

    n_finite = np.count_nonzero(finite, axis=1)
    n_nearest = np.count_nonzero(D == 0.0, axis=1)
    # No precision gives an entropy beyond its limits. Such rows are uniform, over all neighbors or over the nearest.
    all_of_them = n_finite <= perplexity
    solvable = ~all_of_them & (n_nearest < perplexity)
    uniform = np.where(all_of_them[:, None], finite, D == 0.0).astype(np.float64)
    P = uniform / np.maximum(uniform.sum(axis=1, keepdims=True), 1.0)
    P[solvable] = _halley(D[solvable], finite[solvable], perplexity, tolerance, max_steps)
    probabilities[start:stop] = P


def _halley(
    D: NDArray[np.float64],
    finite: NDArray[np.bool_],
    perplexity: float,
    tolerance: float,
    max_steps: int,
) -> NDArray[np.float64]:
    """Return the probabilities of rows whose perplexity can be reached, by Halley's method.

    ``D`` holds squared distances minus the smallest one, scaled to the range from 0 to 1; infinity marks a missing
    neighbor, and ``finite`` all others.
    """
    target = np.log(perplexity)
    t = np.log(2.0 * np.sum(finite, axis=1) / np.sum(D, axis=1, where=finite))
    low, high = np.full_like(t, -np.inf), np.full_like(t, np.inf)
    reach, last_gap = np.full_like(t, 4.0), np.full_like(t, np.inf)
    P = np.empty_like(D)
    todo = np.arange(len(D))
    for step in range(max_steps + 1):
        x = np.exp(t[todo])[:, None] * D[todo]
        e = np.where(x < MAX_EXPONENT, np.exp(-np.minimum(x, MAX_EXPONENT)), 0.0)
        x[e == 0.0] = 0.0
        total = e.sum(axis=1)
        P[todo] = e / total[:, None]
        mean, square, cube = ((e * x**power).sum(axis=1) / total for power in (1, 2, 3))
        gap = np.log(total) + mean - target
        going = np.abs(gap) > tolerance
        if step == max_steps or not going.any():
            break
        slope = mean * mean - square
        curvature = 2.0 * slope + cube - 3.0 * mean * square + 2.0 * mean**3
        todo, gap, slope, curvature = todo[going], gap[going], slope[going], curvature[going]
        low[todo] = np.where(gap > 0.0, t[todo], low[todo])
        high[todo] = np.where(gap > 0.0, high[todo], t[todo])
        with np.errstate(divide="ignore", invalid="ignore"):
            move = -2.0 * gap * slope / (2.0 * slope * slope - gap * curvature)
            # A step is replaced by a safe one if it is NaN, leaves the bracket or is longer than `reach`, or if the
            # step before did not halve the gap. The safe step bisects the bracket, or has the length `reach`.
            good = (low[todo] < t[todo] + move) & (t[todo] + move < high[todo])
            good &= (np.abs(move) <= reach[todo]) & (np.abs(gap) <= 0.5 * last_gap[todo])
            middle = 0.5 * (low[todo] + high[todo]) - t[todo]
        safe = np.where(np.isfinite(middle), middle, np.sign(gap) * reach[todo])
        reach[todo] *= np.where(good | np.isfinite(middle), 1.0, 2.0)
        last_gap[todo] = np.abs(gap)
        t[todo] = np.minimum(t[todo] + np.where(good, move, safe), MAX_T)
    return P


def conditional_probabilities(
    distances: NDArray[np.float64], perplexity: float, workers: Workers
) -> NDArray[np.float64]:
    """Return the conditional probabilities p_{j|i} with a given perplexity.

    Some rows cannot have the perplexity. A row with at least ``perplexity`` neighbors at its smallest distance gets
    equal probabilities for these neighbors. A row with at most ``perplexity`` neighbors gets equal probabilities for
    all of its neighbors.

    Parameters
    ----------
    distances : ndarray of shape (n, k), float64
        The distances from each row to its neighbors, in any order, not squared and not negative. Infinity marks a
        missing neighbor; every row must have at least one neighbor.
    perplexity : float
        The effective number of neighbors, at least 1.
    workers : Workers
        The threads to use.

    Returns
    -------
    probabilities : ndarray of shape (n, k), float64
        The probabilities. Each row sums to 1, and missing neighbors have the probability 0.

    Raises
    ------
    ValueError
        If a distance is negative or NaN, or a row has no finite one, or ``perplexity`` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.parallel import Workers
    >>> P = conditional_probabilities(np.array([[1.0, 2.0, 3.0]]), 2.0, Workers())
    >>> entropy = -np.sum(P * np.log(P))
    >>> print(f"{np.exp(entropy):.4f}")
    2.0000
    """
    distances = check_neighbor_distances(distances)
    check_number("perplexity", perplexity, Real, 1)
    check_type("workers", workers, Workers)
    n, k = distances.shape
    probabilities = np.empty_like(distances)
    search = choose("perplexity", "search_precisions", search_precisions_reference)
    workers.run(partial(search, distances, float(perplexity), TOLERANCE, MAX_STEPS, probabilities), n, 20 * k)
    return probabilities


def check_neighbor_distances(distances: Any) -> NDArray[np.float64]:
    """Return distances of shape (n, k) as a C-contiguous float64 array, after checking them.

    A RowError is raised for a row with a distance that is negative or NaN, or without any finite distance.
    """
    checked = as_floats("distances", distances, ("n", "k"), finite=False)
    nearest = checked.min(axis=1, initial=math.inf)  # NaN where the row has NaN
    valid = (nearest >= 0.0) & (nearest < math.inf)
    if not valid.all():
        row = int(valid.argmin())
        raise RowError(
            "distances must not be negative or NaN, and one of each row must be finite; the least of row {row} is "
            f"{nearest[row]}.",
            row,
        )
    return checked
