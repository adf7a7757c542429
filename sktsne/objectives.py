r"""The objectives: cost and gradient from an attraction and a potential.

============= ======================================= ==========================================================
\             t-SNE (:class:`JointKL`)                SNE (:class:`ConditionalKL`)
============= ======================================= ==========================================================
affinities    p_ij, joint                             p_{j|i}, conditional
attraction    A_i = Σ_j p_ij a_ij (y_i − y_j)         A_i = Σ_j (p_{j|i} + p_{i|j}) a_ij (y_i − y_j)
normalization Z = Σ_i φ_1(y_i)                        Z_i = φ_1(y_i)
gradient      4 A_i + 2 ∇φ_1(y_i) / Z                 2 A_i + ∇φ_1(y_i) / Z_i + ∇φ_{1/Z}(y_i)
cost          Σ p log(p/w) + log Z                    Σ p log(p/w) + Σ_i log Z_i
============= ======================================= ==========================================================

These are the true gradients, with their factors 4 (van der Maaten & Hinton 2008, eq. 5) and 2 (Hinton & Roweis 2002,
eq. 6); the mathematics page of the documentation derives them as equations (6) and (12). Exaggeration multiplies A
alone, so the cost is that of the true affinities at every time; what is minimized is that with Σ −p log w exaggerated.

Beside the gradient an objective says how stiff the springs are that hold each point: 4 k_i for t-SNE and 2 k_i for SNE,
with the attraction's k_i and exaggerated like it. That is the diagonal of the Hessian of the attraction with the a_ij
held fixed, and an optimizer whose steps are inversely proportional to it needs no scale from elsewhere.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import xlogy

from .affinities import symmetrize
from .kernels import GradientKernel
from .kernels.attraction import Attraction
from .optimizer import Evaluation
from .parallel import Workers
from .similarities import Similarity

# The least curvature of a point that counts, as a part of that of an average point whose neighbors are all where it
# is: far from them its springs get soft, and repulsion alone would decide on its steps. With more than one degree of
# freedom repulsion is stronger beside the springs of a map that grows: points of t-SNE flew off, and did not come back.
LEAST_CURVATURE = 1.0 / 8.0
LEAST_CURVATURE_LIGHT = {"joint": 1.0, "conditional": 1.0 / 2.0}  # a point's own p_{j|i} are half of SNE's springs


def _negative_entropy(affinities: csr_array | NDArray[np.float64]) -> float:
    """Return Σ p log p."""
    p = affinities if isinstance(affinities, np.ndarray) else affinities.data
    return float(xlogy(p, p).sum(dtype=np.float64))


class JointKL:
    """The cost of t-SNE: KL divergence of the joint probabilities, summed over all pairs.

    Parameters
    ----------
    affinities : csr_array or ndarray of shape (n, n)
        Joint probabilities: symmetric, summing to 1.
    similarity : Similarity
        Its w and a.
    kernel : GradientKernel
        Potentials for the same similarity.
    workers : Workers
        The threads to use.

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

    def __init__(
        self,
        affinities: csr_array | NDArray[np.float64],
        similarity: Similarity,
        kernel: GradientKernel,
        workers: Workers,
    ) -> None:
        self.gradient_scale = math.sqrt(affinities.shape[0])
        part = LEAST_CURVATURE if similarity.dof <= 1.0 else LEAST_CURVATURE_LIGHT["joint"]
        self._least_curvature = part / affinities.shape[0]
        self._attraction = Attraction(affinities, similarity, workers, kernel.dtype)
        self._kernel = kernel
        self._negative_entropy = _negative_entropy(affinities)

    def __call__(self, Y: NDArray[np.float64], exaggeration: float = 1.0, with_cost: bool = False) -> Evaluation:
        """Return gradient, curvature and costs; see :class:`sktsne.optimizer.Objective`."""
        gradient, curvature, cross = self._attraction(Y, with_cost)
        self._kernel.set_points(Y)
        phi, grad_phi = self._kernel.potential()
        Z = phi.sum()
        gradient *= 4.0 * exaggeration
        grad_phi *= 2.0 / Z
        gradient += grad_phi
        np.maximum(curvature, self._least_curvature, out=curvature)
        curvature *= 4.0 * exaggeration
        cost = self._negative_entropy + cross + math.log(Z) if with_cost else math.nan
        return Evaluation(gradient, curvature, cost, cost + (exaggeration - 1.0) * cross)


class ConditionalKL:
    """The cost of SNE: KL divergences of the rows' conditional probabilities, summed over the rows.

    Parameters
    ----------
    affinities : csr_array or ndarray of shape (n, n)
        Conditional probabilities: rows sum to 1.
    similarity : Similarity
        Its w and a.
    kernel : GradientKernel
        Potentials for the same similarity.
    workers : Workers
        The threads to use.

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

    def __init__(
        self,
        affinities: csr_array | NDArray[np.float64],
        similarity: Similarity,
        kernel: GradientKernel,
        workers: Workers,
    ) -> None:
        self.gradient_scale = 1.0 / math.sqrt(affinities.shape[0])
        part = LEAST_CURVATURE if similarity.dof <= 1.0 else LEAST_CURVATURE_LIGHT["conditional"]
        self._least_curvature = 2.0 * part  # a row of affinities sums to 1, and so does a column on average
        self._attraction = Attraction(symmetrize(affinities), similarity, workers, kernel.dtype)
        self._kernel = kernel
        self._negative_entropy = _negative_entropy(affinities)

    def __call__(self, Y: NDArray[np.float64], exaggeration: float = 1.0, with_cost: bool = False) -> Evaluation:
        """Return gradient, curvature and costs; see :class:`sktsne.optimizer.Objective`."""
        gradient, curvature, cross = self._attraction(Y, with_cost)
        self._kernel.set_points(Y)
        Z, grad_phi = self._kernel.potential()
        inverse_Z = 1.0 / Z
        gradient *= 2.0 * exaggeration
        np.maximum(curvature, self._least_curvature, out=curvature)
        curvature *= 2.0 * exaggeration
        for part in np.multiply(grad_phi, inverse_Z[:, None], out=grad_phi), self._kernel.potential(inverse_Z)[1]:
            gradient += part
        # The attraction's affinities hold every pair in both directions: half of its cross entropy.
        cross *= 0.5
        cost = float(self._negative_entropy + cross + np.log(Z).sum()) if with_cost else math.nan
        return Evaluation(gradient, curvature, cost, cost + (exaggeration - 1.0) * cross)
