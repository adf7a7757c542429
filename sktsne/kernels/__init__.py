"""Gradient kernels: the parts that sum over all pairs of points.

The repulsive force of both methods is the gradient of a potential, so a kernel computes potentials and knows
nothing of objectives. The kernels differ in cost and in the numbers of components that they serve.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .._native.parallel import Workers
from ..similarities import Similarity
from .barnes_hut import BarnesHutKernel
from .exact import ExactKernel
from .fft import FFTKernel


class GradientKernel(Protocol):
    """The contract of a kernel, for sources ``y_j`` with charges ``c_j`` and a similarity ``w``.

    It computes the potential and its gradient::

        φ_c(y) = Σ_j c_j w(|y − y_j|²)            ∇φ_c(y) = −2 Σ_j c_j a w (y − y_j)

    A kernel is made by a factory, ``factory(similarity, workers)``: its class, as a rule. Arrays are float64
    and C-contiguous; a kernel may keep references to what it is given and must not write to it. Results belong
    to the caller.
    """

    dtype: type[np.floating]
    """The precision that the kernel's results have, and that of the attraction beside them: float32 or float64."""

    def set_points(self, Y: NDArray[np.float64]) -> None:
        """Place the sources: ``Y`` of shape (n, d). What can be built once, a tree or a grid, is built here."""

    def potential(
        self,
        charges: NDArray[np.float64] | None = None,
        at: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return φ of shape (m,) and ∇φ of shape (m, d).

        Parameters
        ----------
        charges : ndarray of shape (n,), default=None
            The sources' charges; ``None`` is 1 for each.
        at : ndarray of shape (m, d), default=None
            Where to evaluate. ``None`` is at the sources themselves, each without its own term.
        """


KernelFactory = Callable[[Similarity, Workers], GradientKernel]

KERNELS: dict[str, type[ExactKernel] | type[FFTKernel] | type[BarnesHutKernel]] = {
    "exact": ExactKernel,
    "fft": FFTKernel,
    "barnes_hut": BarnesHutKernel,
}

__all__ = ["KERNELS", "BarnesHutKernel", "ExactKernel", "FFTKernel", "GradientKernel", "KernelFactory"]
