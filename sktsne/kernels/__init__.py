"""Gradient kernels: sums over all pairs of points, exact or approximated.

The repulsion of SNE and of t-SNE follows from a potential φ and its gradient. A kernel computes φ and ∇φ, and does not
depend on the objective. The kernels differ in their time, in their accuracy, and in how many components they allow.
"""

from __future__ import annotations

from .. import _native
from ..similarities import GAUSSIAN_FROM
from .barnes_hut import BarnesHutKernel
from .contract import GradientKernel, KernelFactory
from .exact import ExactKernel
from .fft import FFTKernel

# The kernels by the names that the parameter `method` accepts.
KERNELS: dict[str, KernelFactory] = {
    "exact": ExactKernel,
    "fft": FFTKernel,
    "barnes_hut": BarnesHutKernel,
}

# For each number of components, the numbers of points from which `method="auto"` uses another kernel than the exact
# one, because that kernel is faster in a fit of MNIST (benchmarks/crossover.py). Student's t with one degree of freedom
# has its own numbers: its weight needs no exponential and no power, so that the exact kernel takes a tenth of the time
# of other similarities. Maps of t-SNE with three components are too wide for a mesh.
Crossovers = dict[int, list[tuple[int, str]]]
STUDENT_T: Crossovers = {1: [(600, "fft")], 2: [(1000, "barnes_hut"), (3000, "fft")], 3: [(1000, "barnes_hut")]}
OTHER_TAILS: Crossovers = {1: [(500, "fft")], 2: [(500, "fft")], 3: [(500, "barnes_hut")]}
GAUSSIAN: Crossovers = {**OTHER_TAILS, 3: [(500, "fft")]}
NUMPY: Crossovers = {**OTHER_TAILS, 3: [(5000, "barnes_hut")]}


def fastest_kernel(n: int, d: int, dof: float) -> str:
    """Return the name of the fastest kernel for n points with d components and ``dof`` degrees of freedom.

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
        crossovers = GAUSSIAN if dof >= GAUSSIAN_FROM else OTHER_TAILS
    passed = [name for first, name in crossovers.get(d, []) if n >= first]
    return passed[-1] if passed else "exact"


__all__ = [
    "BarnesHutKernel",
    "ExactKernel",
    "FFTKernel",
    "GradientKernel",
    "fastest_kernel",
]
