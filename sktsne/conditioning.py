"""Scaling of rows by powers of two, so that squares of their differences neither overflow nor underflow.

Multiplying by a power of two only changes exponents, so that no digit is lost.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from .neighbors.metrics import Metric, traits_of

FARTHEST = 1e150  # the largest absolute value in rows that must not be scaled
FAR = 1e20  # the largest absolute value in new rows, in units of the largest one in the fit


def scale_exponent(X: Any) -> int:
    """Return the exponent of the power of two by which X must be multiplied, which is 0 for X of common sizes.

    The exponent is not 0 if the largest absolute value of X is below 1e-30 or above 1e30, and then brings this value to
    between 0.5 and 1. Without scaling, LAPACK would multiply matrices of squares below 1e-122 by numbers that are not
    powers of two.
    """
    largest = _largest(X)
    return 0 if largest == 0.0 or 1e-30 < largest < 1e30 else -int(np.frexp(largest)[1])


def scaled(X: Any, exponent: int) -> Any:
    """Return an array or a sparse matrix times 2**exponent, in float64, or X itself for the exponent 0."""
    if not exponent:
        return X
    if issparse(X):
        X = X.astype(np.float64)
        X.data = scaled(X.data, exponent)
        return X
    with np.errstate(over="ignore"):
        return np.ldexp(X.astype(np.float64, copy=False), exponent)


def _largest(X: Any) -> float:
    """Return the largest absolute value of an array or a sparse matrix."""
    values = X.data if issparse(X) else X
    return float(max(values.max(initial=0.0), -values.min(initial=0.0)))


class Conditioning:
    """Scale rows whose squares would overflow or underflow, and clip new rows that are extremely far away.

    Rows of common sizes are returned as they are. Other rows are multiplied by a power of two. Rows that differ only by
    tiny amounts are centered before, if the metric does not change when all rows are translated. Neither operation
    changes the affinities.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n, n_features)
        The rows of the fit, which determine the scale and the center.
    metric : str or callable
        The metric. Rows under a metric that does not follow their scale, as "precomputed", are never changed.
    rescale : bool, default=True
        Whether scaling is allowed, because it does not change the affinities.

    Raises
    ------
    ValueError
        If the rows would have to be scaled and ``rescale`` is False.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.conditioning import Conditioning
    >>> X = np.array([[3e200, 1e8], [1e200, 1e8]])
    >>> bool(np.abs(Conditioning(X, "euclidean")(X)).max() <= 1.0)
    True
    """

    def __init__(self, X: Any, metric: Metric, rescale: bool = True) -> None:
        self._offset: NDArray[np.float64] | None = None
        self._exponent, self._rest = 0, 0
        self._n_columns = X.shape[1]
        self._farthest = math.inf
        traits = traits_of(metric)
        if not traits.follows_scale:
            return
        if rescale:
            self._exponent = scale_exponent(X)
        if not traits.translation_invariant:
            return
        X = scaled(X, self._exponent)
        largest = _largest(X)
        if largest > FARTHEST:
            raise ValueError(
                f"X has the absolute value {largest:g}, must have at most {FARTHEST:g} for affinities with a bandwidth "
                "in the unit of X. Scale X and the bandwidth down."
            )
        if rescale and not issparse(X):
            low, high = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
            self._rest = scale_exponent(high - low)
            if self._rest:
                self._offset = low + (high - low) / 2.0
                largest = float(np.ldexp(_largest(high - low), self._rest))
        self._farthest = FAR * largest if rescale and largest > 0.0 else FARTHEST

    def __call__(self, X: Any) -> Any:
        """Return rows after centering, scaling and clipping; X itself where there is nothing to change."""
        if X.shape[1] != self._n_columns:
            raise ValueError(f"X has shape {X.shape}, must have {self._n_columns} columns.")
        X = scaled(X, self._exponent)
        if self._offset is not None:
            X = scaled(X - self._offset, self._rest)
        # New rows far beyond all rows of the fit are equally far from them. Clipping such rows changes no affinity, and
        # keeps powers of their coordinates from overflow.
        if _largest(X) <= self._farthest:
            return X
        if not issparse(X):
            return np.clip(X, -self._farthest, self._farthest)
        X = X.copy()
        X.data = np.clip(X.data, -self._farthest, self._farthest)
        return X
