r"""The leave-one-out cost of a point: the cost of the map as a function of one point, while all others are frozen.

With the springs s_j = p_{j|i} + p_{i|j} of row i, the exaggeration ρ and the sums over all j ≠ i:

    t-SNE   L_i(y) = ρ Σ_j s_j (−log w_j) + n log(Z_{−i} + 2 φ_1(y))                  n times the cost, minus a constant
    SNE     L_i(y) = ρ Σ_j s_j (−log w_j) + log φ_1(y) + φ_{1/Z}(y)

w_j is the weight of y and y_j, φ_c the potential of the charges c of all other points, and Z_{−i} the normalization of
t-SNE without point i. In a converged map y_i is a minimum of L_i. The last term of SNE stands for
Σ_j log(Z_j − w_j(y_i) + w_j(y)), whose gradient it has at y = y_i.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.contract import potential_of
from ..objectives import JointKL
from ..parallel import Workers
from ..placement import RowAttraction
from ..similarities import similarity_of


class LeaveOneOut:
    """The leave-one-out costs of the points of a fitted map.

    Parameters
    ----------
    embedder : TSNE or SNE
        The fitted estimator.
    workers : Workers
        The threads to use.
    """

    def __init__(self, embedder: Any, workers: Workers) -> None:
        frozen = embedder._map
        self.points, self.similarity = frozen.points, similarity_of(frozen.dof)
        self.exaggeration = frozen.exaggeration
        self._kernel = frozen.new_kernel(workers)
        phi, _ = potential_of(self._kernel, self.points.shape)
        self._is_joint = issubclass(embedder._objective, JointKL)
        self._phi, self._Z = phi, phi.sum()
        if not self._is_joint:
            self._charges = 1.0 / phi

    @property
    def dtype(self) -> type[np.floating]:
        """The precision of the attraction."""
        dtype: type[np.floating] = self._kernel.dtype
        return dtype

    def evaluate(
        self, own: NDArray[np.intp], attraction: RowAttraction, rows: NDArray[np.intp], Y: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return L_i, its gradient and its curvature 2ρ Σ s a, for the points ``own[rows]`` at the positions ``Y``.

        Parameters
        ----------
        own : ndarray of shape (m,), intp
            The point that each row of ``attraction`` stands for.
        attraction : RowAttraction
            The attraction by the springs of m points.
        rows : ndarray of shape (k,), intp
            The rows of ``attraction`` to evaluate.
        Y : ndarray of shape (k, d), float64
            The positions.

        Returns
        -------
        cost, gradient, curvature : ndarrays of shape (k,), (k, d) and (k,), float64
            The results.
        """
        i = own[rows]
        with np.errstate(all="ignore"):
            force, stiffness, cost = attraction(rows, Y)
            gradient = 2.0 * self.exaggeration * force
            cost *= self.exaggeration
            difference = Y - self.points[i]
            r2 = np.einsum("ik,ik->i", difference, difference)
            w = self.similarity.weight(r2)
            slope = -2.0 * (self.similarity.decay(r2) * w)[:, None] * difference
            phi, grad_phi = potential_of(self._kernel, Y.shape, at=Y)
            phi, grad_phi = phi - w, grad_phi - slope
            if self._is_joint:
                n, Z = len(self.points), self._Z - 2.0 * self._phi[i] + 2.0 * phi
                cost += n * np.log(Z)
                gradient += 2.0 * n * grad_phi / Z[:, None]
            else:
                charges = self._charges
                pressure, grad_pressure = potential_of(self._kernel, Y.shape, charges, at=Y)
                cost += np.log(phi) + pressure - charges[i] * w
                gradient += grad_phi / phi[:, None] + grad_pressure - charges[i, None] * slope
        return cost, gradient, 2.0 * self.exaggeration * stiffness
