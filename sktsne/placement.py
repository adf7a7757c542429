r"""New points in a map that stays as it is.

A new row x has probabilities p_{j|x} over the rows of the fit, and its point y minimizes one row of the cost of SNE,
with the similarity of the map and the potential φ_1 of its points (the mathematics page, *New points*):

    C_x(y) = Σ_j p_{j|x} log(p_{j|x} / w_j) + log φ_1(y)
    ∂C_x/∂y = 2 A + ∇φ_1 / φ_1,      A = Σ_j p_{j|x} a_j (y − y_j),   κ = 2 Σ_j p_{j|x} a_j

The map is frozen, so that its potential is prepared once, and every point is placed as if it were alone: it starts at
the best of its nearest neighbors, and takes steps y ← y − g ∂C_x/∂y / κ, a fixed number of them. A step that does not
lower the cost is not taken, and the next ones are shorter by the factor g; after one that does they are longer.
Exaggeration multiplies the sums with p.

A fit may end before its map is in balance, and C_x is then least outside the map: while all points are close together,
attraction and repulsion grow with the distance alike. New rows are placed in such a map with the exaggeration ρ with
which the map's own attraction A would cancel its repulsion R along R: (ρ A + R) · R = 0.
"""

from __future__ import annotations

from functools import cached_property
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
from .optimizer import Objective
from .parallel import Workers
from .similarities import similarity_of

# Neighbors whose places are compared for the start. Of MNIST's 10,000 last rows, ten place none better than five do.
STARTS = 5
# Ten bring half of the rows of digits to their minima, to 1e-5 of the map's deviation, and sixty 99 %. Between clusters
# under Gaussians, where log φ is curved the more the farther these are apart, it takes many short ones.
STEPS = 60
LONGER, SHORTER = 1.5, 0.4
LEAST_CURVATURE = 1e-12
# On eight sets ρ was at most 1.04 times the last exaggeration where the fit ended by itself, and 1.1 to 140 where it
# ended after one iteration without exaggeration.
IN_BALANCE = 1.1
# With this factor a new point in a narrow map differs from the mean of its neighbors' points by a thousandth of the
# distance of that mean from the center of the map.
LARGEST_EXAGGERATION = 1000.0
# With coordinates up to this one all weights are above 0.9 in two components, so that forces are nearly proportional to
# the distance. A random start is in balance without exaggeration, and yet needs a factor of 2 at least: new points are
# then no farther from the center than twice the mean of their neighbors' points.
NARROW = 0.1
# Several threads may place rows in one map, and a kernel that is being prepared is for one of them.
_PREPARING = RLock()


def _renew_lock() -> None:
    global _PREPARING
    _PREPARING = RLock()


call_in_forked_processes(_renew_lock)


def exaggeration_in_balance(objective: Objective, Y: NDArray[np.float64], last: float) -> float:
    """Return the exaggeration with which new rows are placed in a map.

    Parameters
    ----------
    objective : Objective
        What the fit minimized.
    Y : ndarray of shape (n, d)
        The map, centered.
    last : float
        The exaggeration of the fit's last iteration, which is returned for a map in balance.

    Returns
    -------
    exaggeration : float
        ``last``, or a larger factor.
    """
    with np.errstate(all="ignore"):
        repulsion = objective(Y, 0.0).gradient.copy()
        attraction = objective(Y, 1.0).gradient - repulsion
        balanced = -np.sum(repulsion * repulsion) / np.sum(attraction * repulsion)
    exaggeration = min(balanced, LARGEST_EXAGGERATION) if balanced > IN_BALANCE * last else last
    return float(max(exaggeration, 2.0) if np.abs(Y).max() < NARROW else exaggeration)


class FrozenMap(Caching):
    """A map for new points.

    Parameters
    ----------
    embedding : ndarray of shape (n, d)
        The map, finite.
    dof : float
        Degrees of freedom of its similarity.
    factory : callable
        Makes the kernel of its potential.
    exaggeration : float, default=1.0
        Factor on the attraction, at least 1.

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
        self, embedding: NDArray[np.floating], dof: float, factory: KernelFactory, exaggeration: float = 1.0
    ) -> None:
        as_floats("embedding", embedding, ("n", "d"), empty=False)
        check_dof(dof)
        if not callable(factory):
            raise TypeError(f"factory == {factory!r}, must be callable.")
        check_number("exaggeration", exaggeration, Real, 1)
        self._embedding, self._dof, self._factory, self._exaggeration = embedding, dof, factory, exaggeration

    @property
    def workers(self) -> Workers:
        """The threads, which the kernel keeps."""
        with _PREPARING:
            return self._workers

    @cached_property
    def _workers(self) -> Workers:
        return Workers()

    @cached_property
    def _points(self) -> NDArray[np.float64]:
        # Checked again, because the array is the caller's, and this copy is what compiled loops read.
        return as_floats("embedding", self._embedding, ("n", "d"), empty=False).copy()

    @cached_property
    def _kernel(self) -> GradientKernel:
        kernel = make_kernel(self._factory, similarity_of(self._dof), self.workers)
        kernel.set_points(self._points)
        return kernel

    @cached_property
    def _log_potential(self) -> NDArray[np.float64]:
        """The logarithm of φ_1 at the points of the map, their own terms included."""
        return np.log(potential_of(self._kernel, self._points.shape, at=self._points)[0])

    def place(self, probabilities: NDArray[np.float64], indices: NDArray[np.integer]) -> NDArray[np.float64]:
        """Return the positions of new rows.

        Parameters
        ----------
        probabilities : ndarray of shape (m, k)
            p_{j|x} for neighbors in the fit, the likeliest first; rows sum to 1, and must have a positive entry.
        indices : ndarray of int of shape (m, k)
            The neighbors, from 0 to n - 1.

        Returns
        -------
        positions : ndarray of shape (m, d), float64
            Each independent of the other rows, to the last bit.

        Raises
        ------
        ValueError
            If the arrays have other shapes, or a probability is negative or not finite, or an index is out of range.
        """
        probabilities, indices = self._check_rows(probabilities, indices)
        if len(probabilities) == 0:
            return np.empty((0, self._points.shape[1]))
        with _PREPARING:
            log_potential = self._log_potential  # prepares the kernel, before anything else asks for it
        m, there = len(probabilities), probabilities > 0.0  # zeros may fill up a row to the longest of its batch
        indptr = np.concatenate([[0], np.cumsum(np.count_nonzero(there, axis=1))])
        affinities = csr_array((probabilities[there], indices[there], indptr), shape=(m, len(self._points)))
        attraction = Attraction(affinities, similarity_of(self._dof), self.workers, self._kernel.dtype, self._points)
        start, best = self._points[indices[:, 0]], np.full(m, np.inf)
        for candidate in indices[:, :STARTS].T:
            attraction(self._points[candidate], with_cost=True)
            costs = self._exaggeration * attraction.costs + log_potential[candidate]
            better = costs < best
            start[better], best[better] = self._points[candidate[better]], costs[better]
        return self._descend(attraction, start)

    def _check_rows(self, probabilities: Any, indices: Any) -> tuple[NDArray[np.float64], NDArray[np.integer]]:
        """Return the arguments of `place` as it relies on them."""
        probabilities = as_floats("probabilities", probabilities, ("m", "k"))
        check_not_negative("probabilities", probabilities)
        empty = ~(probabilities > 0.0).any(axis=1)
        if empty.any():
            raise RowError("probabilities of row {row} must have a positive entry.", int(empty.argmax()))
        return probabilities, as_indices("indices", indices, probabilities.shape, len(self._points))

    def _descend(self, attraction: Attraction, Y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return minima near ``Y``, where no cost is higher."""
        cost, slope = self._evaluate(attraction, Y)
        rate = np.ones(len(Y))
        for _ in range(STEPS):
            with np.errstate(all="ignore"):
                trial = Y - rate[:, None] * slope
            reached = np.isfinite(trial).all(axis=1)
            trial[~reached] = Y[~reached]  # kernels take finite places only
            trial_cost, trial_slope = self._evaluate(attraction, trial)
            lower = (trial_cost <= cost) & reached  # never by NaN
            Y = np.where(lower[:, None], trial, Y)
            cost, slope = np.where(lower, trial_cost, cost), np.where(lower[:, None], trial_slope, slope)
            rate *= np.where(lower, LONGER, SHORTER)
        return Y

    def _evaluate(
        self, attraction: Attraction, Y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return C_x without its constant, and ∂C_x/∂y over κ, for each point."""
        with np.errstate(all="ignore"):
            phi, grad_phi = potential_of(self._kernel, Y.shape, at=Y)
            force, stiffness, _ = attraction(Y, with_cost=True)
            cost = self._exaggeration * attraction.costs + np.log(phi)
            gradient = 2.0 * self._exaggeration * force + grad_phi / phi[:, None]
            curvature = 2.0 * self._exaggeration * np.maximum(stiffness, LEAST_CURVATURE)
            return cost, gradient / curvature[:, None]
