r"""Anchors: terms of an objective that tie points to targets, for maps that keep an arrangement or places.

With targets t_i, weights m_i of the points (Σ m_i = N), strengths s and the number D of distributions that the cost
compares (1 for t-SNE, N for SNE):

==================== ============================ ============================================================
\                    cost                         gradient of one copy of point i
==================== ============================ ============================================================
:class:`Places`      D/N Σ_i s_i m_i |y_i − t_i|² 2 s_i D/N (y_i − t_i)
:class:`Arrangement` s D Q / (c N + S)            2 s D/(c N + S) (ŷ_i − α t̂_i − Q/(c N + S) ŷ_i)
==================== ============================ ============================================================

with ŷ_i = y_i − ȳ and t̂_i = t_i − t̄ for the weighted means ȳ and t̄, and

    S = Σ_i m_i |ŷ_i|²      α = Σ_i m_i ŷ_i·t̂_i / Σ_i m_i |t̂_i|²      Q = Σ_i m_i |ŷ_i − α t̂_i|²

α is the scale of the targets that fits the map best; it may be negative. In a wide map, the cost of an arrangement is
s D (1 − r²), where r² = 1 − Q/S is the squared correlation of the map with its targets. This cost depends neither on
the scale of the map nor on the number of rows. Kury, Kobak and Damrich (2025, "DREAMS", arXiv:2508.13747) add λ times
the mean of |ŷ_i − α t̂_i|² in its place, where α gives the targets the width of the map. That mean is smaller the
narrower the map is, so that it also draws the whole map together. The summand c N keeps the anchors of a narrow map
from being much stiffer than its attraction, because the map would hardly grow.

The factor D makes strengths mean the same for both methods, whose costs change by about D/N when one point moves by one
unit. An infinite s_i holds a point at its target: the point has no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ._checks import as_affinities, as_floats, check_number
from .conditioning import scale_exponent, scaled
from .kernels.attraction import Attraction
from .optimizer import LARGEST, Evaluation, Frame, Objective, frame_of
from .parallel import Workers
from .similarities import StudentT

# The root mean square distance of points from their center below which a map counts as narrow, the square root of c.
# With half of this distance, strong anchors would still slow the growth of maps down.
WIDTH = 5.0
# The number of times that points without a target move to the mean of their neighbors. Each time, positions reach
# points one neighbor farther from a target.
SWEEPS = 10


class Anchors(Protocol):
    """The contract of a term of an objective that ties points to targets.

    Examples
    --------
    This term draws all points to the line y_2 = 0:

    >>> import numpy as np
    >>> from sktsne.anchors import Anchored
    >>> from sktsne.optimizer import Evaluation
    >>> class Line:
    ...     fixed, held = True, np.empty(0, dtype=int)
    ...
    ...     def __call__(self, Y):
    ...         heights = Y * [0.0, 1.0]
    ...         return 2.0 * heights, np.full(len(Y), 2.0), float((heights**2).sum())
    >>> class Nothing:
    ...     gradient_scale = 1.0
    ...
    ...     def __call__(self, Y, exaggeration=1.0, with_cost=False):
    ...         return Evaluation(np.zeros_like(Y), np.zeros(len(Y)), 0.0, 0.0)
    >>> Anchored(Nothing(), [Line()])(np.array([[3.0, 1.0]]), with_cost=True).gradient
    array([[0., 2.]])
    """

    fixed: bool
    """Whether the cost changes when the whole map moves."""

    held: NDArray[np.intp]
    """The points that do not move."""

    def __call__(self, Y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Return the gradient of one copy of each point (n, d), its curvature (n,), and the cost."""


class Places:
    """Targets that are places in the map.

    Parameters
    ----------
    targets : ndarray of shape (n, d), float64
        The targets, NaN for points without one.
    strengths : ndarray of shape (n,), float64
        The strength s_i of each point, not negative. Infinity holds a point at its target.
    n_distributions : float
        The number D of distributions that the cost compares.
    weights : ndarray of shape (n,), float64, default=None
        The weights of the points, above 0; by default 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.anchors import Places
    >>> places = Places(np.array([[1.0], [np.nan]]), np.array([2.0, 2.0]), n_distributions=1)
    >>> gradient, curvature, cost = places(np.array([[3.0], [9.0]]))
    >>> gradient.ravel(), curvature, cost
    (array([4., 0.]), array([2., 0.]), 4.0)
    """

    fixed = True

    def __init__(
        self,
        targets: NDArray[np.float64],
        strengths: NDArray[np.float64],
        n_distributions: float,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        targets = as_floats("targets", targets, ("n", "d"), finite=False, empty=False)
        strengths = as_floats("strengths", strengths, (len(targets),), finite=False)
        check_number("n_distributions", n_distributions, Real, 0, low_included=False)
        if np.isinf(targets).any():
            raise ValueError("targets must be finite, or NaN for points without one, and some are infinite.")
        if not (strengths >= 0.0).all():
            raise ValueError(f"strengths must not be negative or NaN, the least is {strengths.min()}.")
        self._frame = Frame.of(weights, len(targets))
        free = _without_target(targets)
        held = ~free & np.isinf(strengths)
        self.held = np.flatnonzero(held)
        scale = n_distributions / self._frame.total(len(targets))
        self._stiffness = 2.0 * scale * np.where(free | held, 0.0, strengths)
        self._targets, self._free = targets, free

    def __call__(self, Y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Return gradient, curvature and cost at an embedding of shape (n, d)."""
        Y = as_floats("Y", Y, self._targets.shape)
        differences = np.where(self._free[:, None], 0.0, Y - self._targets)
        gradient = self._stiffness[:, None] * differences
        return gradient, self._stiffness, 0.5 * self._frame.product(gradient, differences)


class Arrangement:
    """Targets that count up to their scale and their center.

    Parameters
    ----------
    targets : ndarray of shape (n, d), float64
        The targets, which must not all coincide.
    strength : float
        The strength s.
    n_distributions : float
        The number D of distributions that the cost compares.
    weights : ndarray of shape (n,), float64, default=None
        The weights of the points, above 0; by default 1.

    Examples
    --------
    A map that is arranged as its targets, however large it is, feels no force:

    >>> import numpy as np
    >>> from sktsne.anchors import Arrangement
    >>> targets = np.array([[0.0], [1.0], [3.0]])
    >>> gradient, curvature, cost = Arrangement(targets, strength=1.0, n_distributions=1)(5.0 + 20.0 * targets)
    >>> bool(np.allclose(gradient, 0.0)), round(cost, 6)
    (True, 0.0)
    """

    fixed = False

    def __init__(
        self,
        targets: NDArray[np.float64],
        strength: float,
        n_distributions: float,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        targets = as_floats("targets", targets, ("n", "d"), empty=False)
        check_number("strength", strength, Real, 0)
        check_number("n_distributions", n_distributions, Real, 0, low_included=False)
        self._frame = Frame.of(weights, len(targets))
        targets = scaled(targets, scale_exponent(targets))  # so that no square overflows
        self._targets = targets - self._frame.mean(targets)
        self._square = self._frame.norm(self._targets) ** 2
        if np.ptp(targets, axis=0).max() == 0.0 or not self._square > 0.0:
            raise ValueError("targets must not all coincide, because they have no arrangement then.")
        self._strength = float(n_distributions) * float(strength)
        self.held = np.empty(0, dtype=np.intp)

    def __call__(self, Y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Return gradient, curvature and cost at an embedding of shape (n, d)."""
        Y = as_floats("Y", Y, self._targets.shape)
        frame, total = self._frame, self._frame.total(len(Y))
        Y = Y - frame.mean(Y)
        alpha = frame.product(Y, self._targets) / self._square
        gradient = Y - alpha * self._targets
        Q, extent = frame.norm(gradient) ** 2, WIDTH**2 * total + frame.norm(Y) ** 2
        gradient -= Q / extent * Y
        stiffness = 2.0 * self._strength / extent
        return stiffness * gradient, np.full(len(Y), stiffness), self._strength * Q / extent


def _without_target(targets: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows of targets have a NaN."""
    return np.asarray(np.isnan(targets).any(axis=1))


class Anchored:
    """An objective with anchors: the objective of a method plus terms that tie points to targets.

    Parameters
    ----------
    objective : Objective
        The objective of the method.
    anchors : list of Anchors
        The terms, of as many points as the objective has.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.anchors import Anchored, Places
    >>> from sktsne.optimizer import Evaluation
    >>> class Bowl:
    ...     gradient_scale = 1.0
    ...
    ...     def __call__(self, Y, exaggeration=1.0, with_cost=False):
    ...         cost = float((Y**2).sum())
    ...         return Evaluation(2.0 * Y, np.full(len(Y), 2.0), cost, cost)
    >>> objective = Anchored(Bowl(), [Places(np.array([[2.0]]), np.array([1.0]), n_distributions=1)])
    >>> evaluation = objective(np.array([[1.0]]), with_cost=True)
    >>> evaluation.gradient, evaluation.cost  # 1 is the minimum of y² + (y − 2)²
    (array([[0.]]), 2.0)
    """

    def __init__(self, objective: Objective, anchors: Sequence[Anchors]) -> None:
        self._objective, self._anchors = objective, anchors
        self.gradient_scale = objective.gradient_scale
        weights = frame_of(objective).weights
        self.frame = Frame(weights, fixed=any(term.fixed for term in anchors))

    def anchor_cost(self, Y: NDArray[np.float64]) -> float:
        """Return the cost of the anchors, which the costs of an evaluation contain."""
        return sum(term(Y)[2] for term in self._anchors)

    def __call__(self, Y: NDArray[np.float64], exaggeration: float = 1.0, with_cost: bool = False) -> Evaluation:
        """Return gradient, curvature and costs; see :class:`sktsne.optimizer.Objective`."""
        Y = as_floats("Y", Y, ("n", "d"), finite=False)
        gradient, curvature, cost, exaggerated = self._objective(Y, exaggeration, with_cost)
        for term in self._anchors:
            pull, stiffness, anchor_cost = term(Y)
            gradient += pull
            curvature += stiffness
            cost, exaggerated = cost + anchor_cost, exaggerated + anchor_cost
        for term in self._anchors:
            gradient[term.held] = 0.0
        return Evaluation(gradient, curvature, cost, exaggerated)


def interpolated(affinities: Any, targets: NDArray[np.float64], workers: Workers | None = None) -> NDArray[np.float64]:
    """Return positions for all points: the targets, and for the others places among those of their neighbors.

    A point without a target first moves to the mean of its neighbors, weighted by affinities s_ij. A mean may lie
    between two groups. Therefore it then moves to the means with the weights s_ij / (1 + r_ij²/h²), where the width h
    falls from the extent of the map to 1, so that the more distant neighbors count less and less. The point ends among
    most of its neighbors, where t-SNE would draw it: the method is called graduated non-convexity (Blake & Zisserman
    1987, "Visual reconstruction").

    Parameters
    ----------
    affinities : csr_array or ndarray of shape (n, n)
        Symmetric affinities, finite and not negative.
    targets : ndarray of shape (n, d), float64
        The targets, NaN for points without one; at least one point has a target.
    workers : Workers, default=None
        The threads to use. ``None`` uses the calling thread only.

    Returns
    -------
    positions : ndarray of shape (n, d), float64
        The positions. A point without a path to a target has the mean of all targets.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.anchors import interpolated
    >>> chain = np.eye(3, k=1) + np.eye(3, k=-1)
    >>> interpolated(chain, np.array([[0.0], [np.nan], [1.0]])).ravel()
    array([0. , 0.5, 1. ])
    """
    affinities = as_affinities("affinities", affinities)
    targets = as_floats("targets", targets, (affinities.shape[0], "d"), finite=False, empty=False)
    farthest = float(np.abs(targets[~np.isnan(targets)]).max(initial=0.0))
    if farthest > LARGEST:
        raise ValueError(f"targets has values up to {farthest:g}, must have none beyond {LARGEST:g}.")
    free = np.flatnonzero(_without_target(targets))
    if len(free) in (0, len(targets)):
        if len(free):
            raise ValueError("targets are all NaN, must be finite for one point at least.")
        return targets.copy()
    known = np.delete(np.arange(len(targets)), free)
    positions = targets.copy()
    positions[free] = targets[known].mean(axis=0)
    springs = csr_array(affinities[free])
    reached = np.zeros(len(targets))
    reached[known] = 1.0
    for _ in range(SWEEPS):
        mass = springs @ reached
        some = np.flatnonzero(mass)
        means = (springs @ (reached[:, None] * positions))[some] / mass[some, None]
        positions[free[some]], reached[free[some]] = means, 1.0
    extent = max(1.0, float(positions.std()))
    for h in np.geomspace(extent, 1.0, 2 + math.ceil(math.log2(extent))):
        places = positions / h
        attraction = Attraction(springs, StudentT(), workers or Workers(), springs.dtype.type, fixed=places)
        force, stiffness, _ = attraction(places[free])
        some = np.flatnonzero(stiffness)
        positions[free[some]] -= h * force[some] / stiffness[some, None]
    return positions
