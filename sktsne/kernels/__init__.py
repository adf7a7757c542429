"""Gradient kernels: the parts that sum over all pairs of points.

The repulsive force of both methods is the gradient of a potential, so a kernel computes potentials and knows
nothing of objectives. The kernels differ in cost and in the numbers of components that they serve.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .. import _native
from ..parallel import Workers
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

    Examples
    --------
    What the user guide's *A kernel of your own* writes out; the kernels of the package meet it, too.

    >>> import numpy as np
    >>> from sktsne.parallel import Workers
    >>> from sktsne.kernels import ExactKernel, GradientKernel
    >>> from sktsne.similarities import Gaussian
    >>> kernel: GradientKernel = ExactKernel(Gaussian(), Workers())
    >>> kernel.set_points(np.array([[0.0], [1.0]]))
    >>> phi, grad_phi = kernel.potential(at=np.array([[0.5]]))
    >>> phi.round(4), grad_phi.round(4) + 0.0  # halfway between the two, nothing pulls
    (array([1.5576]), array([[0.]]))
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

# Numbers of points from which "auto" leaves the exact sums for another kernel, by components: where it is faster over
# a fit of MNIST (benchmarks/crossover.py). A pair under Student's t with dof 1 costs a tenth of any other.
Crossovers = dict[int, list[tuple[int, str]]]
STUDENT_T: Crossovers = {1: [(600, "fft")], 2: [(1000, "barnes_hut"), (3000, "fft")], 3: [(1000, "barnes_hut")]}
OTHER_TAILS: Crossovers = {1: [(500, "fft")], 2: [(500, "fft")], 3: [(500, "barnes_hut")]}
GAUSSIAN: Crossovers = {**OTHER_TAILS, 3: [(4000, "barnes_hut")]}
NUMPY: Crossovers = {**OTHER_TAILS, 3: [(5000, "barnes_hut")]}


def fastest_kernel(n: int, d: int, dof: float) -> str:
    """Return the name of the kernel that takes the least time for n points with d components.

    Examples
    --------
    >>> [fastest_kernel(10_000, d, dof=1.0) for d in (2, 3, 4)]
    ['fft', 'barnes_hut', 'exact']
    """
    if not _native.COMPILED:
        crossovers = NUMPY
    elif dof == 1.0:
        crossovers = STUDENT_T
    else:
        crossovers = GAUSSIAN if math.isinf(dof) else OTHER_TAILS
    passed = [name for first, name in crossovers.get(d, []) if n >= first]
    return passed[-1] if passed else "exact"


__all__ = [
    "BarnesHutKernel",
    "ExactKernel",
    "FFTKernel",
    "GradientKernel",
    "fastest_kernel",
]
