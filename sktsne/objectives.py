r"""The objectives of t-SNE and SNE: cost, gradient and curvature, from an attraction and a potential.

============= ======================================= ==========================================================
\             t-SNE (:class:`JointKL`)                SNE (:class:`ConditionalKL`)
============= ======================================= ==========================================================
affinities    p_ij, joint                             p_{j|i}, conditional
attraction    A_i = Σ_j p_ij a_ij (y_i − y_j)         A_i = Σ_j (p_{j|i} + p_{i|j}) a_ij (y_i − y_j)
normalization Z = Σ_i φ_1(y_i)                        Z_i = φ_1(y_i)
gradient      4 A_i + 2 ∇φ_1(y_i) / Z                 2 A_i + ∇φ_1(y_i) / Z_i + ∇φ_{1/Z}(y_i)
cost          Σ p log(p/w) + log Z                    Σ p log(p/w) + Σ_i log Z_i
============= ======================================= ==========================================================

The gradients have the factors of the papers, 4 (van der Maaten & Hinton 2008, eq. 5) and 2 (Hinton & Roweis 2002,
eq. 6). The mathematics page of the documentation derives them as equations (6) and (12).

Exaggeration multiplies only the attraction A. The cost that is reported never has exaggeration; the cost that is
minimized has its term Σ −p log w multiplied by the exaggeration.

The curvature is the stiffness of the attraction at each point: 4 k_i for t-SNE and 2 k_i for SNE, times the
exaggeration, with k_i of the attraction. It is the diagonal of the Hessian of the attraction with the a_ij held fixed.
Steps that are divided by the curvature do not depend on the scale of the affinities.

A point i of weight m_i stands for m_i points in one place, and N = Σ m_i is their number. The affinities of weighted
points belong to all copies together: p_ij is the sum of the joint probabilities of all pairs of a copy of i and a copy
of j, and p_{j|i} the probability that one copy of i gives to all copies of j. The diagonal holds those of the copies of
one point, which add no force and a constant cost. With weights:

============= ======================================= ==========================================================
springs       p_ij                                    m_i p_{j|i} + m_j p_{i|j}
normalization Z = Σ_i m_i (φ_m(y_i) + (m_i − 1)₊)     Z_i = φ_m(y_i) + (m_i − 1)₊
gradient      4 A_i/m_i + 2 ∇φ_m(y_i) / Z             2 A_i/m_i + ∇φ_m(y_i) / Z_i + ∇φ_{m/Z}(y_i)
cost          Σ p log(p/w) − Σ p log c + log Z        Σ_i m_i (Σ_j p log(p/w) − Σ_j p log c + log Z_i)
============= ======================================= ==========================================================

Gradient and curvature are those of one copy, so that a step does not depend on the weight of its point. c_ij is the
number of pairs of copies: m_i m_j for t-SNE and m_j for SNE, and on the diagonal m_i (m_i − 1) and m_i − 1.

The cost of one point is the part of the cost in its row of affinities: Σ_j p_ij log(p_ij / q_ij) for t-SNE and
Σ_j p_{j|i} log(p_{j|i} / q_{j|i}) for SNE. The costs of all points sum to the cost.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import xlogy

from ._checks import as_affinities, as_floats, check_number
from ._sparse import freeze, negative_entropy, symmetrize
from .affinities import joint_affinities, normalize_rows, other_copies, weighted_rows
from .kernels import GradientKernel
from .kernels.attraction import Attraction
from .kernels.contract import check_parts, potential_of
from .kernels.hessians import attraction_hessians, potential_hessians
from .optimizer import LARGEST, Evaluation, Frame
from .parallel import Workers
from .similarities import Similarity, similarity_of

Matrix: TypeAlias = csr_array | NDArray[np.float64]

# The lower bound on the curvature of a point, as a fraction of the curvature of an average point that coincides with
# all of its neighbors. Without a bound, a point far from its neighbors would have a curvature near 0, and repulsion
# would move it by a huge step. For more than one degree of freedom each objective has a larger bound,
# `least_curvature_light`, because repulsion is stronger relative to the attraction while such a map grows. With the
# smaller bound, single points of t-SNE left the map and did not return.
LEAST_CURVATURE = 1.0 / 8.0


def _row_sums(affinities: Matrix) -> NDArray[np.float64]:
    """Return the sum of each row, in float64."""
    return np.asarray(affinities.sum(axis=1, dtype=np.float64)).ravel()


def _times_log(affinities: Matrix) -> Matrix:
    """Return the matrix of p log p, which is 0 where p is 0."""
    if isinstance(affinities, np.ndarray):
        return np.asarray(xlogy(affinities, affinities))
    logarithms = xlogy(affinities.data, affinities.data)
    return csr_array((logarithms, affinities.indices, affinities.indptr), shape=affinities.shape)


def _check_weights(weights: NDArray[np.float64] | None, affinities: Matrix) -> Frame:
    """Return the frame of points with these weights; raise a ValueError for weights that affinities contradict."""
    frame = Frame.of(weights, affinities.shape[0])
    if frame.weights is None:
        return frame
    weights = frame.weights
    alone = (affinities.diagonal() > 0.0) & (weights <= 1.0)
    if alone.any():
        i = int(alone.argmax())
        raise ValueError(
            f"affinities of row {i} to itself are those of its copies, and must be 0 for weights[{i}] == {weights[i]}."
        )
    return frame


def _refuse_weights(weights: NDArray[np.float64] | None) -> None:
    """Raise a ValueError if points have weights, for which there are no second derivatives of the cost here."""
    if weights is not None:
        raise ValueError("weights must be None for second derivatives, which are those of points without weights.")


def _log_counts(affinities: Matrix, weights: NDArray[np.float64], of_rows: bool) -> NDArray[np.float64]:
    """Return Σ_j p_ij log c_ij for each row i, where c_ij is the number of pairs of copies of points i and j.

    With ``of_rows``, c_ij counts the copies of point j only.
    """
    logarithms, sums, own = np.log(weights), _row_sums(affinities), affinities.diagonal().astype(np.float64)
    logs = affinities @ logarithms + xlogy(own, other_copies(weights)) - own * logarithms
    return np.asarray(logs if of_rows else logs + sums * logarithms, dtype=np.float64)


def check_normalization(least: float) -> None:
    """Raise a FloatingPointError unless the smallest of the normalizations Z is positive."""
    if not least > 0.0:
        raise FloatingPointError(f"The points of Y are so far apart that their weights sum to {least}.")


def _potential(
    kernel: GradientKernel, Y: NDArray[np.float64], charges: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return φ and ∇φ at the points ``Y``; raise a ValueError that names the kernel if ∇φ is not finite."""
    phi, grad_phi = potential_of(kernel, np.shape(Y), charges)
    # If coordinates exceed LARGEST, ∇φ may overflow in any kernel, and `minimize` reports a divergence.
    if not math.isfinite(grad_phi.sum()) and np.abs(Y).max() <= LARGEST:
        as_floats(f"∇φ of {type(kernel).__name__}.potential", grad_phi, grad_phi.shape)
    return phi, grad_phi


class JointKL:
    """The objective of t-SNE: the KL divergence between the joint probabilities of the rows and of the map.

    Parameters
    ----------
    affinities : csr_array or ndarray of shape (n, n)
        The joint probabilities p_ij, symmetric and with the sum 1.
    similarity : Similarity
        The similarity that gives w and a.
    kernel : GradientKernel
        A kernel that was made for the same similarity.
    workers : Workers
        The threads to use.
    weights : ndarray of shape (n,), float64, default=None
        The weights of the points, above 0; by default 1. The affinities are those of all copies, see the module's head.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.parallel import Workers
    >>> from sktsne.kernels import ExactKernel
    >>> from sktsne.objectives import JointKL
    >>> from sktsne.similarities import StudentT
    >>> P = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 0.0]]) / 8  # sums to 1
    >>> objective = JointKL(P, StudentT(), ExactKernel(StudentT(), Workers()), Workers())
    >>> evaluation = objective(np.array([[-1.0], [0.0], [1.0]]), with_cost=True)
    >>> evaluation.gradient.shape, evaluation.curvature.shape
    ((3, 1), (3,))
    >>> bool(evaluation.cost > 0.0)
    True
    """

    least_curvature_light = 1.0

    def __init__(
        self,
        affinities: Matrix,
        similarity: Similarity,
        kernel: GradientKernel,
        workers: Workers,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self._affinities = as_affinities("affinities", affinities)
        self.frame = _check_weights(weights, self._affinities)
        weights = self._weights = self.frame.weights
        n = self.frame.total(self._affinities.shape[0])
        self.gradient_scale, self._least_curvature = self.scales(n, similarity.dof)
        self._attraction = Attraction(self._affinities, similarity, workers, kernel.dtype)
        self._similarity, self._kernel, self._workers = similarity, kernel, workers
        self._negative_entropy = negative_entropy(self._affinities)
        if weights is not None:
            self._negative_entropy -= float(_log_counts(self._affinities, weights, of_rows=False).sum())

    @staticmethod
    def from_conditional(
        conditional: Matrix, workers: Workers | None = None, weights: NDArray[np.float64] | None = None
    ) -> Matrix:
        """Return joint probabilities from conditional ones; see :func:`sktsne.affinities.joint_affinities`."""
        return joint_affinities(conditional, workers, weights)

    @staticmethod
    def from_given(affinities: Matrix, weights: NDArray[np.float64] | None = None) -> Matrix:
        """Return joint probabilities from affinities that the user gives: symmetrized and scaled to the sum 1."""
        joint = symmetrize(affinities if weights is None else weighted_rows(affinities, weights))
        joint /= joint.sum()
        return joint

    @staticmethod
    def masses(affinities: Matrix, weights: NDArray[np.float64] | None) -> Matrix:
        """Return the affinities of all copies of each point together, which joint probabilities are."""
        return affinities

    @classmethod
    def springs(cls, affinities: Matrix, weights: NDArray[np.float64] | None, workers: Workers) -> Matrix:
        """Return the symmetric affinities with which points attract each other, which joint probabilities are."""
        return affinities

    @staticmethod
    def count_distributions(n_samples: float) -> float:
        """Return the number of probability distributions that the cost compares: one, over all pairs."""
        return 1

    @classmethod
    def scales(cls, n: float, dof: float) -> tuple[float, float]:
        """Return ``gradient_scale`` and the lower bound on the curvature, for n points."""
        return math.sqrt(n), (LEAST_CURVATURE if dof <= 1.0 else cls.least_curvature_light) / n

    @staticmethod
    def combine(
        gradient: NDArray[np.float64],
        curvature: NDArray[np.float64],
        grad_phi: NDArray[np.float64],
        Z: float,
        exaggeration: float,
        least_curvature: float,
    ) -> None:
        """Turn A and k into gradient and curvature, in place; ∇φ_1 is overwritten."""
        gradient *= 4.0 * exaggeration
        grad_phi *= 2.0 / Z
        gradient += grad_phi
        np.maximum(curvature, least_curvature, out=curvature)
        curvature *= 4.0 * exaggeration

    def __call__(self, Y: NDArray[np.float64], exaggeration: float = 1.0, with_cost: bool = False) -> Evaluation:
        """Return gradient, curvature and costs; see :class:`sktsne.optimizer.Objective`."""
        check_number("exaggeration", exaggeration, Real, 0)
        gradient, curvature, cross = self._attraction(Y, with_cost)
        self._kernel.set_points(Y)
        phi, grad_phi = _potential(self._kernel, Y, self._weights)
        Z = self._normalization(phi)
        if self._weights is not None:
            gradient /= self._weights[:, None]
            curvature /= self._weights
        self.combine(gradient, curvature, grad_phi, Z, exaggeration, self._least_curvature)
        cost = self._negative_entropy + cross + math.log(Z) if with_cost else math.nan
        return Evaluation(gradient, curvature, cost, cost + (exaggeration - 1.0) * cross)

    def _normalization(self, phi: NDArray[np.float64]) -> float:
        """Return Z, for the potential of all points at the points; raise a FloatingPointError unless Z is positive."""
        Z = phi.sum() if self._weights is None else np.sum(self._weights * (phi + other_copies(self._weights)))
        check_normalization(Z)
        return float(Z)

    def point_costs(self, Y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the cost of each point, a float64 array of shape (n,). Costs of single points may be negative."""
        self._attraction(Y, with_cost=True)
        self._kernel.set_points(Y)
        Z = self._normalization(_potential(self._kernel, Y, self._weights)[0])
        p = self._affinities
        costs: NDArray[np.float64] = self._attraction.costs + _row_sums(p) * math.log(Z) + _row_sums(_times_log(p))
        if self._weights is not None:
            costs -= _log_counts(p, self._weights, of_rows=False)
        return costs

    def point_hessians(self, Y: NDArray[np.float64], exaggeration: float = 1.0) -> NDArray[np.float64]:
        """Return n ∂²C/∂y_i², the second derivatives of the cost with respect to one point, shape (n, d, d).

        The factor n makes the matrices comparable with those of SNE, whose cost is a sum over n rows.
        """
        similarity, workers = self._similarity, self._workers
        _refuse_weights(self._weights)
        self._kernel.set_points(Y)
        phi, slope = _potential(self._kernel, Y)
        Z = self._normalization(phi)
        hessians = 2.0 * exaggeration * attraction_hessians(self._affinities, Y, similarity, workers)
        hessians += 2.0 * potential_hessians(Y, similarity, workers) / Z
        hessians -= 4.0 * slope[:, :, None] * slope[:, None, :] / Z**2
        return len(Y) * hessians


class ConditionalKL:
    """The objective of SNE: the sum over the rows of the KL divergences between conditional probabilities.

    Parameters
    ----------
    affinities : csr_array or ndarray of shape (n, n)
        The conditional probabilities p_{j|i}; each row sums to 1.
    similarity : Similarity
        The similarity that gives w and a.
    kernel : GradientKernel
        A kernel that was made for the same similarity.
    workers : Workers
        The threads to use.
    weights : ndarray of shape (n,), float64, default=None
        The weights of the points, above 0; by default 1. The affinities are those of all copies, see the module's head.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.parallel import Workers
    >>> from sktsne.kernels import ExactKernel
    >>> from sktsne.objectives import ConditionalKL
    >>> from sktsne.similarities import Gaussian
    >>> P = np.array([[0.0, 0.2, 0.8], [0.5, 0.0, 0.5], [0.8, 0.2, 0.0]])  # rows sum to 1
    >>> objective = ConditionalKL(P, Gaussian(), ExactKernel(Gaussian(), Workers()), Workers())
    >>> evaluation = objective(np.array([[-1.0], [0.0], [1.0]]), with_cost=True)
    >>> evaluation.gradient.shape, evaluation.curvature.shape
    ((3, 1), (3,))
    >>> bool(evaluation.cost > 0.0)
    True
    """

    least_curvature_light = 1.0 / 2.0  # on average the p_{j|i} of a row contribute half of its p_{j|i} + p_{i|j}

    def __init__(
        self,
        affinities: Matrix,
        similarity: Similarity,
        kernel: GradientKernel,
        workers: Workers,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self._affinities = as_affinities("affinities", affinities)
        self.frame = _check_weights(weights, self._affinities)
        weights = self._weights = self.frame.weights
        n = self.frame.total(self._affinities.shape[0])
        check_parts(similarity, workers)  # before the first compiled loop
        self.gradient_scale, self._least_curvature = self.scales(n, similarity.dof)
        springs = self.springs(self._affinities, weights, workers)
        self._springs = springs if isinstance(springs, np.ndarray) else freeze(springs)
        self._attraction = Attraction(self._springs, similarity, workers, kernel.dtype)
        self._similarity, self._kernel, self._workers = similarity, kernel, workers
        if weights is None:
            self._negative_entropy = negative_entropy(self._affinities)
        else:
            self._negative_entropy = float(np.sum(weights * self._negative_entropies()))

    def _negative_entropies(self) -> NDArray[np.float64]:
        """Return Σ_j p_{j|i} log(p_{j|i} / c_ij) for a copy of each point i."""
        entropies = _row_sums(_times_log(self._affinities))
        if self._weights is not None:
            entropies -= _log_counts(self._affinities, self._weights, of_rows=True)
        return entropies

    @staticmethod
    def from_conditional(
        conditional: Matrix, workers: Workers | None = None, weights: NDArray[np.float64] | None = None
    ) -> Matrix:
        """Return the conditional probabilities, which SNE uses as they are."""
        return conditional

    @staticmethod
    def from_given(affinities: Matrix, weights: NDArray[np.float64] | None = None) -> Matrix:
        """Return conditional probabilities from affinities that the user gives: each row is scaled to the sum 1."""
        return normalize_rows(affinities)

    @staticmethod
    def masses(affinities: Matrix, weights: NDArray[np.float64] | None) -> Matrix:
        """Return the affinities of all copies of each point together."""
        return affinities if weights is None else weighted_rows(affinities, weights)

    @classmethod
    def springs(cls, affinities: Matrix, weights: NDArray[np.float64] | None, workers: Workers) -> Matrix:
        """Return the symmetric affinities with which points attract each other."""
        return symmetrize(cls.masses(affinities, weights), workers)

    @staticmethod
    def count_distributions(n_samples: float) -> float:
        """Return the number of probability distributions that the cost compares: one for each row."""
        return n_samples

    @classmethod
    def scales(cls, n: float, dof: float) -> tuple[float, float]:
        """Return ``gradient_scale`` and the lower bound on the curvature, for n points."""
        # Each row of affinities sums to 1, and so does each column on average.
        return 1.0 / math.sqrt(n), 2.0 * (LEAST_CURVATURE if dof <= 1.0 else cls.least_curvature_light)

    @staticmethod
    def combine(
        gradient: NDArray[np.float64],
        curvature: NDArray[np.float64],
        grad_phi: NDArray[np.float64],
        inverse_Z: NDArray[np.float64],
        grad_of_inverse: NDArray[np.float64],
        exaggeration: float,
        least_curvature: float,
    ) -> None:
        """Turn A and k into gradient and curvature, in place; ∇φ_1 is overwritten."""
        gradient *= 2.0 * exaggeration
        np.maximum(curvature, least_curvature, out=curvature)
        curvature *= 2.0 * exaggeration
        grad_phi *= inverse_Z[:, None]
        gradient += grad_phi
        gradient += grad_of_inverse

    def __call__(self, Y: NDArray[np.float64], exaggeration: float = 1.0, with_cost: bool = False) -> Evaluation:
        """Return gradient, curvature and costs; see :class:`sktsne.optimizer.Objective`."""
        check_number("exaggeration", exaggeration, Real, 0)
        gradient, curvature, cross = self._attraction(Y, with_cost)
        self._kernel.set_points(Y)
        Z, grad_phi = self._normalizations(Y)
        inverse_Z = 1.0 / Z
        if self._weights is not None:
            gradient /= self._weights[:, None]
            curvature /= self._weights
        charges = inverse_Z if self._weights is None else self._weights * inverse_Z
        grad_of_inverse = _potential(self._kernel, Y, charges)[1]
        self.combine(gradient, curvature, grad_phi, inverse_Z, grad_of_inverse, exaggeration, self._least_curvature)
        # The attraction sums over p_{j|i} + p_{i|j} for both directions of each pair, which is twice the cross entropy.
        cross *= 0.5
        logarithms = np.log(Z) if self._weights is None else self._weights * np.log(Z)
        cost = float(self._negative_entropy + cross + logarithms.sum()) if with_cost else math.nan
        return Evaluation(gradient, curvature, cost, cost + (exaggeration - 1.0) * cross)

    def point_costs(self, Y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the cost of each point, a float64 array of shape (n,)."""
        p = self._affinities
        # The cost of point i has its own p_{j|i} only, without the p_{i|j} of the symmetric attraction.
        attraction = Attraction(p, self._similarity, self._workers, self._kernel.dtype)
        attraction(Y, with_cost=True)
        self._kernel.set_points(Y)
        Z, _ = self._normalizations(Y)
        costs: NDArray[np.float64] = attraction.costs + _row_sums(p) * np.log(Z) + self._negative_entropies()
        return costs if self._weights is None else self._weights * costs

    def _normalizations(self, Y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return Z_i and ∇φ of the points; raise a FloatingPointError unless all Z_i are positive."""
        Z, grad_phi = _potential(self._kernel, Y, self._weights)
        if self._weights is not None:
            Z += other_copies(self._weights)
        check_normalization(Z.min(initial=math.inf))
        return Z, grad_phi

    def point_hessians(self, Y: NDArray[np.float64], exaggeration: float = 1.0) -> NDArray[np.float64]:
        """Return ∂²C/∂y_i², the second derivatives of the cost with respect to one point, shape (n, d, d)."""
        similarity, workers = self._similarity, self._workers
        _refuse_weights(self._weights)
        self._kernel.set_points(Y)
        Z, slope = self._normalizations(Y)
        hessians = exaggeration * attraction_hessians(self._springs, Y, similarity, workers)
        hessians += potential_hessians(Y, similarity, workers) / Z[:, None, None]
        slope /= Z[:, None]
        hessians -= slope[:, :, None] * slope[:, None, :]
        hessians += potential_hessians(Y, similarity, workers, 1.0 / Z, of_logarithm=True)
        return hessians


def objective_of_fit(
    estimator: Any, workers: Workers, *, of_rows: bool = False
) -> tuple[JointKL | ConditionalKL, NDArray[np.float64]]:
    """Return the objective that a fitted `TSNE` or `SNE` minimized, with a kernel of its own, and the centered map.

    Both are those of the rows with a positive weight, and the objective does not contain anchors. With ``of_rows``, the
    objective is that of SNE for the similarity of the fit and for its affinities, each row of which is scaled to the
    sum 1, so that the costs of points compare rows and not the masses of rows.
    """
    Y = as_floats("embedding_", estimator.embedding_, ("n", "d"), empty=False)
    frozen = estimator._map  # has the parameters of the fit, which the user may have changed since
    kernel, similarity = frozen.new_kernel(workers), similarity_of(frozen.dof)
    if np.shape(estimator.affinities_)[:1] != Y.shape[:1]:
        shape = np.shape(estimator.affinities_)
        raise ValueError(f"affinities_ has shape {shape}, must have a row for each of the {len(Y)} rows of embedding_.")
    affinities, objective = estimator.affinities_, estimator._objective
    counted, weights = estimator._counted, frozen.weights
    if counted is not None:
        affinities, Y = affinities[counted][:, counted], Y[counted]
    if of_rows:
        affinities, objective = normalize_rows(as_affinities("affinities_", affinities)), ConditionalKL
    return objective(affinities, similarity, kernel, workers, weights), Y - Frame(weights).mean(Y)
