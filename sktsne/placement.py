r"""Placement of new points in a fitted map, whose own points do not move.

A new row x has conditional probabilities p_{j|x} over the rows j of the fit. Its point y minimizes one row of the cost
of SNE, with the similarity of the map and the potential φ_1 of the points of the map (the mathematics page, *New
points*):

    C_x(y)  = Σ_j p_{j|x} log(p_{j|x} / w_j) + log φ_1(y)
    ∂C_x/∂y = 2 A + ∇φ_1 / φ_1,      A = Σ_j p_{j|x} a_j (y − y_j),      κ = 2 Σ_j p_{j|x} a_j

The potential is prepared once for the map. New points do not act on each other, so each is placed as if it were alone.
A point starts at the one of its nearest neighbors where C_x is smallest, and descends by steps y ← y − g B ∂C_x/∂y. B
begins as 1/κ and becomes, by the updates of Broyden, Fletcher, Goldfarb and Shanno (Nocedal & Wright 2006, section
6.1), an estimate of the inverse Hessian of C_x. A step that does not lower the cost is rejected, and the rate g, which
is 1 otherwise, shrinks. Exaggeration multiplies the sums over p.

A fit may end before attraction and repulsion balance each other in the map. The minimum of C_x is then outside the map,
because both forces grow alike with the distance as long as all points are close together. In such a map new points are
placed with an exaggeration ρ. It is the factor with which the attraction A of the map would cancel its repulsion R in
the direction of R: (ρ A + R) · R = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from numbers import Real
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ._caching import Caching
from ._checks import as_floats, as_indices, check_dof, check_not_negative, check_number
from ._process import call_in_forked_processes
from ._row_errors import RowError
from .kernels.attraction import Attraction
from .kernels.contract import GradientKernel, KernelFactory, make_kernel, potential_of
from .optimizer import Frame, Objective
from .parallel import Workers
from .similarities import Similarity, similarity_of

# The number of nearest neighbors whose positions are compared for the start. For the last 10,000 rows of MNIST, ten
# neighbors give no better positions than five.
STARTS = 5
# A point has arrived when its next step is shorter than this fraction of the standard deviation of the map.
PRECISION = 1e-6
# The largest number of steps. Of 10,000 rows of MNIST, half arrive after four steps, and all but twenty after 22.
MOST_STEPS = 60
# The longest step, in units of the map. The weight of two points changes over distances of about 1, so that a longer
# step could miss a minimum.
LONGEST_STEP = 4.0
SHORTER = 0.3  # the factor on the rate after a rejected step
SUFFICIENT = 1e-4  # a step must lower the cost by this fraction of what the gradient promises
LEAST_CURVATURE = 1e-12
# A map is in balance if ρ is at most this multiple of the exaggeration of the last iteration. On eight data sets the
# multiple was at most 1.04 where the fit converged, and from 1.1 to 140 where the fit ended after one iteration
# without exaggeration.
IN_BALANCE = 1.1
# The largest ρ. With this factor a new point in a narrow map differs from the mean of its neighbors' points by a
# thousandth of the distance of this mean from the center of the map.
LARGEST_EXAGGERATION = 1000.0
# In a map with coordinates up to this number all weights are above 0.9 in two components, so that forces are nearly
# proportional to the distance. A random start is in balance without exaggeration, but its new points need a factor of
# at least 2. Then they are at most twice as far from the center as the mean of their neighbors' points.
NARROW = 0.1
# Held by the thread that prepares the kernel of a map, because several threads may place rows in the same map.
_PREPARING = RLock()


def _renew_lock() -> None:
    """Replace the lock in a forked process, where the thread that held it may not exist."""
    global _PREPARING
    _PREPARING = RLock()


call_in_forked_processes(_renew_lock)


def exaggeration_in_balance(objective: Objective, Y: NDArray[np.float64], last: float) -> float:
    """Return the exaggeration with which new rows are placed in a map.

    Parameters
    ----------
    objective : Objective
        The objective that the fit minimized.
    Y : ndarray of shape (n, d), float64
        The centered map.
    last : float
        The exaggeration of the last iteration of the fit, which is returned for a map in balance.

    Returns
    -------
    exaggeration : float
        The factor on the attraction of new points: ``last``, or a larger one.
    """
    with np.errstate(all="ignore"):
        repulsion = objective(Y, 0.0).gradient.copy()
        attraction = objective(Y, 1.0).gradient - repulsion
        squares, products = np.sum(repulsion * repulsion), np.sum(attraction * repulsion)
    return balance(float(squares), float(products), last, float(np.abs(Y).max()))


def balance(squares: float, products: float, last: float, largest: float) -> float:
    """Return what `exaggeration_in_balance` does, from sums over the points of a map.

    ``squares`` is the sum of the squares of the repulsion, ``products`` the sum of its products with the attraction,
    and ``largest`` the largest coordinate.
    """
    with np.errstate(all="ignore"):
        balanced = float(-np.float64(squares) / np.float64(products))
    exaggeration = min(balanced, LARGEST_EXAGGERATION) if balanced > IN_BALANCE * last else last
    return float(max(exaggeration, 2.0) if largest < NARROW else exaggeration)


class RowAttraction:
    """The attraction of rows to the points of a map, for a descent in which fewer and fewer rows take part.

    Parameters
    ----------
    affinities : csr_array of shape (m, n)
        The affinities of m rows to the n points.
    similarity : Similarity
        The similarity of the map.
    workers : Workers
        The threads to use.
    dtype : type
        The precision of the arithmetic, numpy.float32 or numpy.float64.
    points : ndarray of shape (n, d), float64
        The points.
    """

    def __init__(
        self,
        affinities: csr_array,
        similarity: Similarity,
        workers: Workers,
        dtype: type[np.floating],
        points: NDArray[np.float64],
    ) -> None:
        self._affinities = affinities
        self._make = partial(Attraction, similarity=similarity, workers=workers, dtype=dtype, fixed=points)
        self._rows, self._attraction = np.arange(affinities.shape[0]), self._make(affinities)

    def __call__(
        self, rows: NDArray[np.intp], Y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return A, k and the sums of −p log w of some rows at the positions ``Y``; see `kernels.attraction`.

        ``rows`` are indices in ascending order, all of them among the indices of the last call.
        """
        if 2 * len(rows) < len(self._rows):
            self._rows, self._attraction = rows, self._make(self._affinities[rows])
        if len(rows) == len(self._rows):
            force, stiffness, _ = self._attraction(Y, with_cost=True)
            return force.copy(), stiffness.copy(), self._attraction.costs.copy()
        places = np.searchsorted(self._rows, rows)
        positions = np.zeros((len(self._rows), Y.shape[1]))
        positions[places] = Y
        force, stiffness, _ = self._attraction(positions, with_cost=True)
        return force[places], stiffness[places], self._attraction.costs[places]


Evaluate = Callable[
    [NDArray[np.intp], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
]


def descend(
    evaluate: Evaluate, start: NDArray[np.float64], precision: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return positions near the minima of the costs of single points, by the method of BFGS for each point.

    Parameters
    ----------
    evaluate : callable
        ``evaluate(rows, Y)`` returns the costs (m,), their gradients (m, d) and curvatures (m,) of m rows at the
        positions ``Y``. The results for a row must not depend on the other rows.
    start : ndarray of shape (n, d), float64
        The positions of all rows at the start.
    precision : float
        A row has arrived when its next step is shorter than this distance.

    Returns
    -------
    positions : ndarray of shape (n, d), float64
        The positions. No cost is higher than at the start, and no position depends on the other rows.
    costs : ndarray of shape (n,), float64
        The costs at the positions.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.placement import descend
    >>> def parabola(rows, Y):
    ...     return np.sum((Y - 3.0) ** 2, axis=1), 2.0 * (Y - 3.0), np.full(len(Y), 1.0)
    >>> positions, costs = descend(parabola, np.zeros((1, 2)), 1e-6)
    >>> positions.round(3), costs.round(3)
    (array([[3., 3.]]), array([0.]))
    """
    positions, costs, rows, Y = start.copy(), np.empty(len(start)), np.arange(len(start)), start.copy()
    cost, gradient, curvature = evaluate(rows, Y)
    B = np.eye(start.shape[1]) / np.maximum(curvature, LEAST_CURVATURE)[:, None, None]
    rate = np.ones(len(rows))
    for _ in range(MOST_STEPS):
        step = -rate[:, None] * np.einsum("ikl,il->ik", B, gradient)
        length = np.sqrt(np.einsum("ik,ik->i", step, step))
        going = length >= precision  # False where a gradient is NaN
        if not going.all():
            positions[rows], costs[rows] = Y, cost
            rows, Y, step, length = rows[going], Y[going], step[going], length[going]
            cost, gradient, B, rate = cost[going], gradient[going], B[going], rate[going]
            if len(rows) == 0:
                break
        with np.errstate(all="ignore"):
            step *= np.minimum(1.0, LONGEST_STEP / length)[:, None]
            trial = Y + step
            reached = np.isfinite(trial).all(axis=1)
            trial[~reached] = Y[~reached]  # kernels accept finite positions only
            trial_cost, trial_gradient, _ = evaluate(rows, trial)
            lower = trial_cost <= cost + SUFFICIENT * np.einsum("ik,ik->i", step, gradient)  # False where NaN
            lower &= reached
            B = np.where(lower[:, None, None], _updated(B, step, trial_gradient - gradient), B)
        rate = np.where(lower, 1.0, SHORTER * rate)
        Y, gradient = np.where(lower[:, None], trial, Y), np.where(lower[:, None], trial_gradient, gradient)
        cost = np.where(lower, trial_cost, cost)
    positions[rows], costs[rows] = Y, cost
    return positions, costs


def _updated(B: NDArray[np.float64], step: NDArray[np.float64], change: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse Hessians after the BFGS update for steps and the changes of the gradients along them.

    A Hessian is not updated where the slope along the step did not grow, because it would not stay positive.
    """
    growth = np.einsum("ik,ik->i", step, change)
    moved = np.einsum("ikl,il->ik", B, change)
    outer = step[:, :, None] * moved[:, None, :]
    ratio = (1.0 + np.einsum("ik,ik->i", change, moved) / growth)[:, None, None]
    update = (ratio * step[:, :, None] * step[:, None, :] - outer - outer.transpose(0, 2, 1)) / growth[:, None, None]
    usable = (growth > 0.0) & np.isfinite(update).all(axis=(1, 2))
    return np.where(usable[:, None, None], B + update, B)


class FrozenMap(Caching):
    """A fitted map in which new points are placed.

    Parameters
    ----------
    embedding : ndarray of shape (n, d)
        The map, a finite array.
    dof : float
        The degrees of freedom of the similarity of the map.
    factory : callable
        The factory of the kernel that computes the potential; see `sktsne.kernels.GradientKernel`.
    exaggeration : float, default=1.0
        The factor on the attraction, at least 1.
    weights : ndarray of shape (n,), float64, default=None
        The weights of the points, above 0, which are the charges of their potential; by default 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.kernels import ExactKernel
    >>> from sktsne.placement import FrozenMap
    >>> frozen = FrozenMap(np.array([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0]]), dof=1.0, factory=ExactKernel)
    >>> position = frozen.place(probabilities=np.array([[0.5, 0.5]]), indices=np.array([[0, 1]]))
    >>> bool(0.0 <= position[0, 0] <= 1.0)  # between its two neighbors
    True
    """

    def __init__(
        self,
        embedding: NDArray[np.floating],
        dof: float,
        factory: KernelFactory,
        exaggeration: float = 1.0,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        as_floats("embedding", embedding, ("n", "d"), empty=False)
        check_dof(dof)
        if not callable(factory):
            raise TypeError(f"factory == {factory!r}, must be callable.")
        check_number("exaggeration", exaggeration, Real, 1)
        self._embedding, self._factory = embedding, factory
        self.dof, self.exaggeration = dof, exaggeration
        weights = Frame.of(weights, len(embedding)).weights
        self.weights = None if weights is None else weights.copy()

    @property
    def workers(self) -> Workers:
        """The threads, which the kernel holds, too."""
        with _PREPARING:
            return self._workers

    @cached_property
    def _workers(self) -> Workers:
        """The threads."""
        return Workers()

    @cached_property
    def points(self) -> NDArray[np.float64]:
        """A copy of the map."""
        # The map is checked again, because the caller may have changed it. Compiled loops read this copy only.
        return as_floats("embedding", self._embedding, ("n", "d"), empty=False).copy()

    @cached_property
    def _kernel(self) -> GradientKernel:
        """The kernel with the points of the map as sources."""
        kernel = self.new_kernel(self.workers)
        kernel.set_points(self.points)
        return kernel

    def new_kernel(self, workers: Workers) -> GradientKernel:
        """Return a kernel for the similarity of the map, without points."""
        return make_kernel(self._factory, similarity_of(self.dof), workers)

    @cached_property
    def _log_potential(self) -> NDArray[np.float64]:
        """The logarithm of φ_1 at the points of the map, where each point is included in its own sum."""
        return np.log(potential_of(self._kernel, self.points.shape, self.weights, self.points)[0])

    def place(self, probabilities: NDArray[np.float64], indices: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the positions of new rows.

        Parameters
        ----------
        probabilities : ndarray of shape (m, k), float64
            The probabilities p_{j|x} of the k nearest rows of the fit, the nearest first. Each row sums to 1, and has
            a positive entry.
        indices : ndarray of int of shape (m, k)
            The indices of these rows of the fit, from 0 to n - 1.

        Returns
        -------
        positions : ndarray of shape (m, d), float64
            The positions. The position of a row does not depend on the other rows, to the last bit.

        Raises
        ------
        ValueError
            If the arrays have other shapes, or a probability is negative or not finite, or an index is out of range.
        """
        probabilities, indices = self._check_rows(probabilities, indices)
        if len(probabilities) == 0:
            return np.empty((0, self.points.shape[1]))
        with _PREPARING:
            log_potential = self._log_potential  # prepares the kernel while other threads wait
        m, there = len(probabilities), probabilities > 0.0  # a row is padded with zeros to the longest row of its batch
        indptr = np.concatenate([[0], np.cumsum(np.count_nonzero(there, axis=1))])
        affinities = csr_array((probabilities[there], indices[there], indptr), shape=(m, len(self.points)))
        attraction = RowAttraction(affinities, similarity_of(self.dof), self.workers, self._kernel.dtype, self.points)
        rows = np.arange(m)
        start, best = self.points[indices[:, 0]], np.full(m, np.inf)
        nearer = np.zeros(m)  # the number of points, counted by their weights, that are nearer than a candidate
        for candidate in indices[:, :STARTS].T:
            costs = self.exaggeration * attraction(rows, self.points[candidate])[2] + log_potential[candidate]
            better = (costs < best) & (nearer < STARTS)
            nearer += 1.0 if self.weights is None else self.weights[candidate]
            start[better], best[better] = self.points[candidate[better]], costs[better]
        return descend(partial(self._evaluate, attraction), start, PRECISION * self.points.std())[0]

    def _check_rows(self, probabilities: Any, indices: Any) -> tuple[NDArray[np.float64], NDArray[np.integer]]:
        """Return the arguments of `place` after checking them."""
        probabilities = as_floats("probabilities", probabilities, ("m", "k"))
        check_not_negative("probabilities", probabilities)
        empty = ~(probabilities > 0.0).any(axis=1)
        if empty.any():
            raise RowError("probabilities of row {row} must have a positive entry.", int(empty.argmax()))
        return probabilities, as_indices("indices", indices, probabilities.shape, len(self.points))

    def _evaluate(
        self, attraction: RowAttraction, rows: NDArray[np.intp], Y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return C_x without its constant Σ p log p, ∂C_x/∂y and κ, for some of the rows at the positions ``Y``."""
        with np.errstate(all="ignore"):
            phi, grad_phi = potential_of(self._kernel, Y.shape, self.weights, Y)
            force, stiffness, costs = attraction(rows, Y)
            gradient = 2.0 * self.exaggeration * force + grad_phi / phi[:, None]
            return self.exaggeration * costs + np.log(phi), gradient, 2.0 * self.exaggeration * stiffness
