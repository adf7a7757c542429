"""The contract of gradient kernels, and the checks of the arguments that kernels get and of the arrays they return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._checks import as_floats, check_dof, check_type
from ..parallel import Workers
from ..similarities import Similarity


class GradientKernel(Protocol):
    """The contract of a kernel, for sources ``y_j`` with charges ``c_j`` and a similarity ``w``.

    A kernel computes the potential of the charges at positions ``y``, and its gradient::

        φ_c(y) = Σ_j c_j w(|y − y_j|²)            ∇φ_c(y) = −2 Σ_j c_j a w (y − y_j)

    where ``a = -d log w / d r²`` is the decay of the similarity.

    A factory makes a kernel: as a rule the kernel's class, called as ``factory(similarity, workers)``. A factory may
    have the attribute ``max_components``, the largest number of components that its kernels serve (``None`` is no
    limit), and the attribute ``options``, the names of parameters of the estimator that it takes as further keyword
    arguments.

    The arrays that a kernel gets and returns are float64 and C-contiguous. A kernel may keep references to the arrays
    that it gets, and must not write to them. The arrays that it returns belong to the caller.

    Examples
    --------
    The user guide's *A kernel of your own* writes a kernel from nothing. The kernels of the package meet the contract,
    too:

    >>> import numpy as np
    >>> from sktsne.kernels import ExactKernel, GradientKernel
    >>> from sktsne.parallel import Workers
    >>> from sktsne.similarities import Gaussian
    >>> kernel: GradientKernel = ExactKernel(Gaussian(), Workers())
    >>> kernel.set_points(np.array([[0.0], [1.0]]))
    >>> phi, grad_phi = kernel.potential(at=np.array([[0.5]]))
    >>> phi.round(4), grad_phi.round(4) + 0.0  # halfway between the two points, nothing pulls
    (array([1.5576]), array([[0.]]))
    """

    dtype: type[np.floating]
    """The precision of the sums of the kernel, float32 or float64; the attraction is computed in the same precision."""

    def set_points(self, Y: NDArray[np.float64]) -> None:
        """Set the positions ``Y`` of the sources, of shape (n, d), and build what depends only on them, as a tree."""

    def potential(
        self,
        charges: NDArray[np.float64] | None = None,
        at: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the potential φ of shape (m,) and its gradient ∇φ of shape (m, d).

        Parameters
        ----------
        charges : ndarray of shape (n,), default=None
            The charges of the sources. ``None`` stands for charges of 1.
        at : ndarray of shape (m, d), default=None
            The positions at which to evaluate. ``None`` stands for the sources themselves, where each source is left
            out of its own sum.
        """


KernelFactory = Callable[..., GradientKernel]


class KernelWithOptions:
    """A factory that makes kernels with fixed options. Unlike a closure, it can be saved by pickle and skops.

    Parameters
    ----------
    factory : callable
        The factory, which is called as ``factory(similarity, workers, **options)``.
    options : dict
        The keyword arguments.
    """

    def __init__(self, factory: KernelFactory, options: dict[str, Any]) -> None:
        self._factory, self._options = factory, options

    def __call__(self, similarity: Similarity, workers: Workers) -> GradientKernel:
        """Return a new kernel."""
        return self._factory(similarity, workers, **self._options)


def make_kernel(factory: KernelFactory, similarity: Similarity, workers: Workers) -> GradientKernel:
    """Return a kernel made by a factory; raise a TypeError if the factory returns an object that is no kernel."""
    kernel = factory(similarity, workers)
    lacking = [name for name in ("dtype", "set_points", "potential") if not hasattr(kernel, name)]
    if not lacking and kernel.dtype not in (np.float32, np.float64):
        raise TypeError(f"{type(kernel).__name__}.dtype == {kernel.dtype!r}, must be numpy.float32 or numpy.float64.")
    if lacking:
        raise TypeError(
            f"method == {factory!r} must return a gradient kernel (see sktsne.kernels.GradientKernel), and returns "
            f"{type(kernel).__name__} without {', '.join(lacking)}."
        )
    return kernel


def potential_of(
    kernel: GradientKernel,
    shape: tuple[int, int],
    charges: NDArray[np.float64] | None = None,
    at: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ``kernel.potential(charges, at)`` after checking the arrays, because users can write kernels.

    ``shape`` is the shape of the gradient. A ValueError that names the kernel is raised for arrays of other shapes, and
    for a φ that is not finite. ∇φ is not checked, because it may overflow at positions extremely far from the points.
    """
    result = kernel.potential(charges, at)
    name = f"{type(kernel).__name__}.potential"
    if not isinstance(result, tuple) or len(result) != 2:
        raise ValueError(f"{name} must return the two arrays φ and ∇φ, got {type(result).__name__}.")
    phi = as_floats(f"φ of {name}", result[0], shape[:1])
    gradient = as_floats(f"∇φ of {name}", result[1], shape, finite=False)
    # Arrays that are read-only are copied, because the caller changes the arrays in place.
    return tuple(array if array.flags.writeable else array.copy() for array in (phi, gradient))  # type: ignore[return-value]


def check_parts(similarity: Similarity, workers: Workers) -> None:
    """Raise a TypeError unless the arguments are a similarity and workers, which compiled loops do not check."""
    if isinstance(similarity, type) or not hasattr(similarity, "dof"):
        raise TypeError(f"similarity == {similarity!r}, must be a Similarity, such as StudentT().")
    check_dof(similarity.dof)
    # Compiled loops do not check the ranges of rows that the workers call them with.
    check_type("workers", workers, Workers)


def check_points(Y: Any, max_components: int | None) -> NDArray[np.float64]:
    """Return points of shape (n, d) as a finite, C-contiguous float64 array; raise a ValueError for other points.

    There must be at least one point, and from 1 to ``max_components`` columns; ``None`` is no limit.
    """
    points = as_floats("Y", Y, ("n", "d"))
    n, d = points.shape
    if n == 0 or d == 0:
        raise ValueError(f"Y has shape {points.shape}, must have at least one row and one column.")
    if max_components is not None and d > max_components:
        raise ValueError(f"Y has {d} columns, and the kernel takes at most {max_components} components.")
    return points


def check_request(
    points: NDArray[np.float64] | None, charges: Any, at: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Return the points, charges (n,) and positions (m, d) as C-contiguous float64 arrays; ``None`` stays ``None``."""
    if points is None:
        raise RuntimeError("The kernel has no points: call set_points before potential.")
    n, d = points.shape
    charges = None if charges is None else as_floats("charges", charges, (n,))
    return points, charges, None if at is None else as_floats("at", at, ("m", d))
