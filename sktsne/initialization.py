"""Where the optimisation starts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.decomposition import PCA
from sklearn.utils.sparsefuncs import mean_variance_axis
from threadpoolctl import threadpool_limits

# Standard deviation of a start's first component: small, so that early exaggeration can rearrange clusters freely
# (Kobak & Berens 2019).
START_SCALE = 1e-4


def random_start(n_samples: int, n_components: int, random_state: np.random.RandomState) -> NDArray[np.float64]:
    """Return independent normal coordinates with standard deviation 1e-4, shape (n_samples, n_components)."""
    return START_SCALE * random_state.standard_normal((n_samples, n_components))


def _varies(X: Any) -> bool:
    """Return whether any two rows differ."""
    variances = mean_variance_axis(X, axis=0)[1] if issparse(X) else np.ptp(X, axis=0)
    return bool(np.any(variances > 0.0))


def pca_start(X: Any, n_components: int, random_state: np.random.RandomState) -> NDArray[np.float64]:
    """Return the principal components of ``X``, the first one with standard deviation 1e-4.

    Components that the rows do not have (they vary in fewer directions, or not at all) are filled with random
    coordinates, so that no two components start equal.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n_samples, n_features)
        The rows.
    n_components : int
        Components of the embedding.
    random_state : RandomState
        For the filling, and for PCA's randomized solver where that is used.

    Returns
    -------
    start : ndarray of shape (n_samples, n_components), float64
        The start.
    """
    start = random_start(X.shape[0], n_components, random_state)
    available = min(n_components, *X.shape)
    if issparse(X):
        available = min(available, min(X.shape) - 1)  # ARPACK's limit
    if available == 0 or not _varies(X):
        return start
    pca = PCA(
        available,
        svd_solver="arpack" if issparse(X) else "auto",
        random_state=random_state,
    ).set_output(transform="default")
    # One thread: threaded sums differ in their last bits.
    with threadpool_limits(1, "blas"):
        components = pca.fit_transform(X)
    deviations = components.std(axis=0)
    real = deviations > 1e-7 * deviations[0]
    start[:, :available][:, real] = components[:, real] * (START_SCALE / deviations[0])
    return start


def space_filling_order(Y: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the order of the points along a Z-curve (Morton 1966) through their first two coordinates.

    Points that are near to each other in the start are so in memory then, and many of their neighbours with them: what
    gathers these at every iteration finds them in the cache.

    Parameters
    ----------
    Y : ndarray of shape (n, d)
        The start.

    Returns
    -------
    order : ndarray of shape (n,)
        A permutation.

    Examples
    --------
    >>> import numpy as np
    >>> space_filling_order(np.array([[9.0, 9.0], [0.0, 0.0], [9.0, 8.0], [1.0, 0.0]]))
    array([1, 3, 2, 0])
    """
    low, extent = Y.min(axis=0), np.ptp(Y, axis=0).max()
    code = np.zeros(len(Y), dtype=np.uint32)
    for axis in range(min(2, Y.shape[1])):
        cell = ((Y[:, axis] - low[axis]) / (extent if extent > 0.0 else 1.0) * 0xFFFF).astype(np.uint32)
        for shift, mask in (
            (8, 0x00FF00FF),
            (4, 0x0F0F0F0F),
            (2, 0x33333333),
            (1, 0x55555555),
        ):  # a zero after each bit
            cell = (cell | (cell << shift)) & mask
        code |= cell << axis
    return np.argsort(code, kind="stable")
