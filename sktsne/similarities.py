r"""Similarities: how similar two points of the embedding are, as a function of their squared distance r².

A similarity is a weight ``w(r²)`` with its decay ``a(r²) = -d log w / d r²``:

============ ===================== ==================== =======================================
Gaussian     ``exp(-r²)``          ``1``                SNE, Hinton & Roweis (2002), without ½
Student-t    ``(1 + r²/α)^(-α)``   ``1 / (1 + r²/α)``   t-SNE is α = 1, van der Maaten & Hinton
                                                        (2008); other α: Kobak et al. (2019)
============ ===================== ==================== =======================================

The Gaussian is the limit of Student's t for α → ∞. The degrees of freedom α, called ``dof`` in the code, therefore
determine a similarity, and are all that compiled code needs.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ._checks import check_dof, check_number

# The smallest weight. exp(-708) is the smallest integer power of e that is a normal float64. Because no weight is
# smaller, the normalization of a point that has another point anywhere is positive.
MAX_EXPONENT = 708.0
LEAST_WEIGHT = math.exp(-MAX_EXPONENT)
# From this many degrees of freedom on, the Gaussian is used, because it is nearer to the exact weight of Student's t
# than the rounded power is. 1 + r²/α loses the last digits of r²/α, which changes the weight by about α · 1e-16 of
# itself; from α = 1e16 on it loses all digits.
GAUSSIAN_FROM = 1e9


class Similarity(Protocol):
    """The contract of a similarity, which kernels, attraction and objectives use.

    All methods take an array of squared distances of any shape, and return an array of the same shape.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.similarities import Similarity, StudentT
    >>> similarity: Similarity = StudentT()
    >>> similarity.dof
    1.0
    >>> r2 = np.array([0.0, 1.0, 9.0])
    >>> similarity.weight(r2), similarity.decay(r2)
    (array([1. , 0.5, 0.1]), array([1. , 0.5, 0.1]))
    >>> np.allclose(similarity.negative_log_weight(r2), -np.log(similarity.weight(r2)))
    True
    """

    dof: float

    def weight(self, r2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``w(r²)``."""

    def decay(self, r2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``a(r²) = -d log w / d r²``."""

    def negative_log_weight(self, r2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``-log w(r²)``."""


class Gaussian:
    """The similarity of SNE, ``w = exp(-r²)``.

    This is equation 3 of Hinton and Roweis (2002) without the factor ½. No weight is below exp(-708), so that all
    weights are positive.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.similarities import Gaussian
    >>> Gaussian().weight(np.array([0.0, 1.0, 4.0])).round(2)
    array([1.  , 0.37, 0.02])
    """

    dof = math.inf

    def weight(self, r2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``exp(-r²)``."""
        return np.exp(-np.minimum(r2, MAX_EXPONENT))

    def decay(self, r2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ones, because -log w is r²."""
        return np.ones_like(r2)

    def negative_log_weight(self, r2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``r²``."""
        return r2


class StudentT:
    """The similarity of t-SNE, ``w = (1 + r²/α)^(-α)`` with α degrees of freedom.

    Parameters
    ----------
    dof : float, default=1.0
        The degrees of freedom α, above 0. t-SNE has 1 (van der Maaten & Hinton 2008, eq. 4). Smaller values have
        heavier tails (Kobak et al. 2019).

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.similarities import StudentT
    >>> StudentT().weight(np.array([0.0, 1.0, 9.0]))
    array([1. , 0.5, 0.1])
    >>> StudentT(dof=0.5).weight(np.array([0.0, 1.0, 9.0])).round(2)  # a heavier tail
    array([1.  , 0.58, 0.23])
    """

    def __init__(self, dof: float = 1.0) -> None:
        check_number("dof", dof, Real, 0, low_included=False)
        self.dof = dof

    def weight(self, r2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``(1 + r²/α)^(-α)``, at least ``exp(-708)``."""
        return np.maximum((1.0 + r2 / self.dof) ** -self.dof, LEAST_WEIGHT)

    def decay(self, r2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``1 / (1 + r²/α)``."""
        return 1.0 / (1.0 + r2 / self.dof)

    def negative_log_weight(self, r2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``α log(1 + r²/α)``."""
        return self.dof * np.log1p(r2 / self.dof)


def similarity_of(dof: float) -> Similarity:
    """Return the similarity with ``dof`` degrees of freedom, which is the Gaussian from 1e9 on and for infinity.

    Examples
    --------
    >>> import math
    >>> from sktsne.similarities import similarity_of
    >>> type(similarity_of(1.0)).__name__, type(similarity_of(math.inf)).__name__
    ('StudentT', 'Gaussian')
    """
    check_dof(dof)
    return Gaussian() if dof >= GAUSSIAN_FROM else StudentT(dof)
