"""Scales of rows: powers of two that keep squares from overflow and from vanishing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from .neighbors.metrics import Metric, traits_of

# The bound on coordinates, and the bound on those of new rows in units of the largest coordinate of the fit.
FARTHEST = 1e150
FAR = 1e20


def scale_exponent(X: Any) -> int:
    """Return the exponent of the power of two that keeps squares of X from overflow and from vanishing, mostly 0.

    LAPACK would scale matrices of squares below 1e-122, by numbers that are no powers of two.
    """
    largest = _largest(X)
    return 0 if largest == 0.0 or 1e-30 < largest < 1e30 else -int(np.frexp(largest)[1])


def scaled(X: Any, exponent: int) -> Any:
    """Return an array or a sparse matrix times a power of two, in float64 unless that is 1; ``X`` is never changed."""
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
    """Scales rows whose squares would overflow or vanish, and bounds new rows.

    Rows of common sizes stay as they are. Others are scaled by a power of two, and those that differ by very little
    only are centered before, where no translation changes the metric. The affinities of the result are those of the
    rows.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n, n_features)
        The rows that determine scale and center; matrices of distances are not changed.
    metric : str or callable
        The metric to be used.
    rescale : bool, default=True
        Whether scaled rows have the same affinities.

    Raises
    ------
    ValueError
        If the rows would have to be scaled, and ``rescale`` is False.

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
                f"affinities with a bandwidth in the unit of X take values up to {FARTHEST:g}, and X has {largest:g}: "
                "scale X and the bandwidth."
            )
        if rescale and not issparse(X):
            low, high = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
            self._rest = scale_exponent(high - low)
            if self._rest:
                self._offset = low + (high - low) / 2.0
                largest = float(np.ldexp(_largest(high - low), self._rest))
        self._farthest = FAR * largest if rescale and largest > 0.0 else FARTHEST

    def __call__(self, X: Any) -> Any:
        """Return rows, conditioned; ``X`` is never changed, and returned where it may stay as it is."""
        if X.shape[1] != self._n_columns:
            raise ValueError(f"X has shape {X.shape}, and the conditioning is for rows with {self._n_columns} columns.")
        X = scaled(X, self._exponent)
        if self._offset is not None:
            X = scaled(X - self._offset, self._rest)
        # New rows far beyond all others are equally far from them: clipping loses nothing, and no power overflows.
        if _largest(X) <= self._farthest:
            return X
        if not issparse(X):
            return np.clip(X, -self._farthest, self._farthest)
        X = X.copy()
        X.data = np.clip(X.data, -self._farthest, self._farthest)
        return X
