"""A gradient kernel written with NumPy: the worked example of the user guide."""

import numpy as np


class ArrayKernel:
    """Compute the potentials of both methods with NumPy, a block of rows at a time."""

    dtype = np.float64

    def __init__(self, similarity, workers, rows=256):
        self.similarity = similarity
        self.rows = rows

    def set_points(self, Y):
        """Keep the points."""
        self.Y = Y

    def potential(self, charges=None, at=None):
        """Return the potential and its gradient, at the points or at other places."""
        targets = self.Y if at is None else at
        phi, grad_phi = np.empty(len(targets)), np.empty(targets.shape)
        for start in range(0, len(targets), self.rows):
            block = slice(start, start + self.rows)
            differences = targets[block, None, :] - self.Y[None, :, :]
            r2 = np.sum(differences**2, axis=2)
            weights = self.similarity.weight(r2)
            if at is None:
                np.fill_diagonal(weights[:, start:], 0.0)  # no point acts on itself
            if charges is not None:
                weights *= charges
            phi[block] = weights.sum(axis=1)
            slopes = -2.0 * weights * self.similarity.decay(r2)
            grad_phi[block] = np.sum(slopes[:, :, None] * differences, axis=1)
        return phi, grad_phi
