"""The contract of gradient kernels, and the checks at its two sides: of what kernels get, and of what they return."""

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

    A kernel computes the potential of the charges and its gradient::

        φ_c(y) = Σ_j c_j w(|y − y_j|²)            ∇φ_c(y) = −2 Σ_j c_j a w (y − y_j)

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
    """The precision of the attraction beside the kernel, float32 or float64: that of the kernel's own sums."""

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
            The places where to evaluate. ``None`` is at the sources themselves, each without its own term.
        """


KernelFactory = Callable[..., GradientKernel]


class KernelWithOptions:
    """A factory of kernels with fixed options, which pickle and skops load where the factory itself is loaded.

    Parameters
    ----------
    factory : callable
        Called as ``factory(similarity, workers, **options)``.
    options : dict
        The keyword arguments.
    """

    def __init__(self, factory: KernelFactory, options: dict[str, Any]) -> None:
        self._factory, self._options = factory, options

    def __call__(self, similarity: Similarity, workers: Workers) -> GradientKernel:
        """Return a kernel."""
        return self._factory(similarity, workers, **self._options)


def make_kernel(factory: KernelFactory, similarity: Similarity, workers: Workers) -> GradientKernel:
    """Return the kernel that a factory makes; raise a TypeError if the factory returns something else."""
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
    """Return ``kernel.potential(charges, at)`` with the shapes and dtype of the contract, whoever wrote the kernel.

    ``shape`` is that of the gradient; a ValueError names the kernel that returns anything else, or a φ that is not
    finite. ∇φ may overflow at places extremely far from the points.
    """
    result = kernel.potential(charges, at)
    name = f"{type(kernel).__name__}.potential"
    if not isinstance(result, tuple) or len(result) != 2:
        raise ValueError(f"{name} must return the two arrays φ and ∇φ, got {type(result).__name__}.")
    phi = as_floats(f"φ of {name}", result[0], shape[:1])
    gradient = as_floats(f"∇φ of {name}", result[1], shape, finite=False)
    # The caller changes the arrays, and those of other libraries may be read-only.
    return tuple(array if array.flags.writeable else array.copy() for array in (phi, gradient))  # type: ignore[return-value]


def check_parts(similarity: Similarity, workers: Workers) -> None:
    """Raise unless compiled loops can rely on what a kernel or an attraction is made of."""
    if isinstance(similarity, type) or not hasattr(similarity, "dof"):
        raise TypeError(f"similarity == {similarity!r}, must be a Similarity, such as StudentT().")
    check_dof(similarity.dof)
    # Compiled loops trust the row ranges that workers call them with.
    check_type("workers", workers, Workers)


def check_points(Y: Any, max_components: int | None) -> NDArray[np.float64]:
    """Return points (n, d) as compiled loops read them: finite, at least one, with 1 to ``max_components`` columns."""
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
    """Return points, charges (n,) and places (m, d) as compiled loops read them; ``None`` stays ``None``."""
    if points is None:
        raise RuntimeError("The kernel has no points: call set_points before potential.")
    n, d = points.shape
    charges = None if charges is None else as_floats("charges", charges, (n,))
    return points, charges, None if at is None else as_floats("at", at, ("m", d))
