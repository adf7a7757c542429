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

# A potential of the other points that is less than this fraction of the point's own is summed anew without it, because
# the difference has lost digits, and on a mesh the own potential is not exact. Such points are isolated.
LEAST_FROM_OTHERS = 1e-2
NUMBERS_AT_ONCE = 2**18  # the number of differences that are computed at a time, so that they stay in the cache


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
        self._kernel.set_points(self.points)
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
            phi, grad_phi = self._potential_of_others(i, Y)
            if self._is_joint:
                n, Z = len(self.points), self._Z - 2.0 * self._phi[i] + 2.0 * phi
                cost += n * np.log(Z)
                gradient += 2.0 * n * grad_phi / Z[:, None]
            else:
                pressure, grad_pressure = self._potential_of_others(i, Y, self._charges)
                cost += np.log(phi) + pressure
                gradient += grad_phi / phi[:, None] + grad_pressure
        return cost, gradient, 2.0 * self.exaggeration * stiffness

    def _potential_of_others(
        self, i: NDArray[np.intp], Y: NDArray[np.float64], charges: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ_c and ∇φ_c of all points but i, at a position for each i."""
        phi, grad_phi = potential_of(self._kernel, Y.shape, charges, at=Y)
        own, slope = self._terms(Y - self.points[i], 1.0 if charges is None else charges[i])
        phi, grad_phi = phi - own, grad_phi - slope
        if self._is_joint:  # whose Z is so large that the rounding of a small φ does not matter
            return phi, grad_phi
        lost = np.flatnonzero(~(phi > LEAST_FROM_OTHERS * own))
        size = max(1, NUMBERS_AT_ONCE // self.points.size)
        c = np.ones(len(self.points)) if charges is None else charges
        for some in (lost[first : first + size] for first in range(0, len(lost), size)):
            values, slopes = self._terms(Y[some, None] - self.points, c)
            values[np.arange(len(some)), i[some]], slopes[np.arange(len(some)), i[some]] = 0.0, 0.0
            phi[some], grad_phi[some] = values.sum(axis=1), slopes.sum(axis=1)
        return phi, grad_phi

    def _terms(
        self, difference: NDArray[np.float64], charges: NDArray[np.float64] | float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the terms c w of a potential and their gradients −2 c a w d, for differences d of shape (..., d)."""
        r2 = np.einsum("...k,...k->...", difference, difference)
        w = charges * self.similarity.weight(r2)
        return w, -2.0 * (self.similarity.decay(r2) * w)[..., None] * difference
