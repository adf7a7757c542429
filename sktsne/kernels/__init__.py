"""Gradient kernels: the parts that sum over all pairs of points.

The repulsive force of both methods is the gradient of a potential, so a kernel computes potentials and knows
nothing of objectives. The kernels differ in cost and in the numbers of components that they serve.
"""

from __future__ import annotations

from .. import _native
from ..similarities import GAUSSIAN_FROM
from .barnes_hut import BarnesHutKernel
from .contract import GradientKernel, KernelFactory
from .exact import ExactKernel
from .fft import FFTKernel

# The kernels by the names that `method` takes. Whoever asks what a kernel can do asks the kernel.
KERNELS: dict[str, KernelFactory] = {
    "exact": ExactKernel,
    "fft": FFTKernel,
    "barnes_hut": BarnesHutKernel,
}

# Numbers of points from which "auto" replaces the exact sums by another kernel, for each number of components: where
# the other kernel is faster over a fit of MNIST (benchmarks/crossover.py). The exact kernel takes a tenth of the time
# for a pair under Student's t with one degree of freedom, because that needs no exponential and no power.
Crossovers = dict[int, list[tuple[int, str]]]
STUDENT_T: Crossovers = {1: [(600, "fft")], 2: [(1000, "barnes_hut"), (3000, "fft")], 3: [(1000, "barnes_hut")]}
OTHER_TAILS: Crossovers = {1: [(500, "fft")], 2: [(500, "fft")], 3: [(500, "barnes_hut")]}
GAUSSIAN: Crossovers = {**OTHER_TAILS, 3: [(4000, "barnes_hut")]}
NUMPY: Crossovers = {**OTHER_TAILS, 3: [(5000, "barnes_hut")]}


def fastest_kernel(n: int, d: int, dof: float) -> str:
    """Return the name of the kernel that takes the least time for n points with d components, under ``dof``.

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
