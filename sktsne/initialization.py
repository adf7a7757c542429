"""Starts: the embeddings from which the optimization begins, and their scale, ties and order.

A start is small, so that early exaggeration can rearrange it; see `START_SCALE`. Starts of rows with weights are those
of a data set in which each row is repeated as often as its weight says: means, scatter matrices, standard deviations
and numbers of points are weighted.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from scipy.linalg import eigh
from scipy.sparse import csr_array, issparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from sklearn.utils import check_random_state
from sklearn.utils.sparsefuncs import mean_variance_axis

from ._checks import as_affinities, as_floats, as_indices, check_number
from ._process import one_blas_thread
from .affinities import weighted_rows
from .conditioning import scale_exponent, scaled
from .neighbors.contract import as_rows
from .perplexity import as_weights

# Standard deviation of a start's first component: small, so that early exaggeration can rearrange clusters freely
# (Kobak & Berens 2019).
START_SCALE = 1e-4
# Up to this many numbers, rows of float32 get the start that the same rows in float64 have. A copy of many would take
# more memory and time than the start itself.
DOUBLED = 2**24
# Up to this many rows of a sparse matrix, all of its eigenvectors are computed.
DENSE_SPECTRUM = 100
# Up to this many columns of dense rows, the scatter matrix is computed; with more columns, only its products are.
SCATTER_COLUMNS = 1000
# Numbers in a block of dense rows that is centered at a time. Ctrl-C is heard between two blocks.
NUMBERS_AT_ONCE = 2**20
EIGENVALUE_TOLERANCE = 1e-4


def random_start(n_samples: int, n_components: int, random_state: np.random.RandomState) -> NDArray[np.float64]:
    """Return independent normal coordinates with standard deviation 1e-4, shape (n_samples, n_components).

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.initialization import random_start
    >>> start = random_start(1000, 2, np.random.RandomState(0))
    >>> start.shape, bool(0.9e-4 < start.std() < 1.1e-4)
    ((1000, 2), True)
    """
    check_number("n_samples", n_samples, Integral, 1)
    check_number("n_components", n_components, Integral, 1)
    start: NDArray[np.float64] = check_random_state(random_state).standard_normal((n_samples, n_components))
    return START_SCALE * start


def _varies(X: Any) -> bool:
    """Return whether any two rows differ."""
    variances = mean_variance_axis(X, axis=0)[1] if issparse(X) else np.ptp(X, axis=0)
    return bool(np.any(variances > 0.0))


def _deviations(Y: NDArray[np.floating], weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return the standard deviation of each column."""
    if weights is None:
        return np.asarray(Y.std(axis=0))
    squares = (Y - np.average(Y, axis=0, weights=weights)) ** 2
    return np.asarray(np.sqrt(np.average(squares, axis=0, weights=weights)))


def pca_start(
    X: Any, n_components: int, random_state: np.random.RandomState, weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the principal components of ``X``, the first one with standard deviation 1e-4.

    Missing components (the rows vary in fewer directions, or not at all, or by less than rounding) are filled with
    random coordinates, so that no two components start equal.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n_samples, n_features)
        The rows.
    n_components : int
        Components of the embedding.
    random_state : RandomState
        For the random coordinates, and for the solvers that begin at random.
    weights : ndarray of shape (n_samples,), default=None
        The positive weights of the rows. By default all rows have the weight 1.

    Returns
    -------
    start : ndarray of shape (n_samples, n_components), float64
        The start.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.initialization import pca_start
    >>> start = pca_start(np.random.RandomState(0).normal(size=(100, 5)), 2, np.random.RandomState(0))
    >>> print(f"{start[:, 0].std():.1e}")
    1.0e-04
    """
    X, random_state, weights = _for_components(X, random_state, weights)
    start = random_start(X.shape[0], n_components, random_state)
    available = min(n_components, *X.shape)
    if _varies(X):
        place_components(start, principal_components(X, available, random_state, weights), weights)
    return start


def place_components(
    start: NDArray[np.float64], components: NDArray[np.floating], weights: NDArray[np.float64] | None = None
) -> None:
    """Replace the first columns of a random start by principal components, the first with standard deviation 1e-4.

    Components that vary by no more than rounding stay random. ``start`` is changed.
    """
    deviations = _deviations(components, weights)
    if not deviations[0] > 0.0:  # the rows differ by less than rounding
        return
    real = deviations > 1e-7 * deviations[0]
    start[:, : components.shape[1]][:, real] = components[:, real] * (START_SCALE / deviations[0])


def pca_arrangement(
    X: Any, n_components: int, random_state: np.random.RandomState, weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the principal components of ``X`` for the anchors of a map, where missing components are 0.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n_samples, n_features)
        The rows, which must differ.
    n_components : int
        Components of the embedding.
    random_state : RandomState
        For the solvers that begin at random.
    weights : ndarray of shape (n_samples,), default=None
        The positive weights of the rows. By default all rows have the weight 1.

    Returns
    -------
    arrangement : ndarray of shape (n_samples, n_components), float64
        The components, in a unit that depends on the largest value.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.initialization import pca_arrangement
    >>> pca_arrangement(np.array([[0.0], [1.0], [2.0]]), 2, np.random.RandomState(0)).shape
    (3, 2)
    """
    check_number("n_components", n_components, Integral, 1)
    X, random_state, weights = _for_components(X, random_state, weights)
    if not _varies(X):
        raise ValueError("anchors == 'pca' needs rows that differ, and all rows of X are equal.")
    available = min(n_components, *X.shape)
    components = principal_components(X, available, random_state, weights)
    return np.pad(components, ((0, 0), (0, n_components - available)))


def _for_components(
    X: Any, random_state: Any, weights: Any
) -> tuple[Any, np.random.RandomState, NDArray[np.float64] | None]:
    """Return the rows, the random numbers and the weights in the form that `principal_components` takes."""
    X = as_rows("X", X)
    weights = None if weights is None else as_weights(weights, X.shape[0])
    X = scaled(X, scale_exponent(X))
    if X.size <= DOUBLED:
        X = X.astype(np.float64, copy=False)
    return X, check_random_state(random_state), weights


@one_blas_thread()
def principal_components(
    X: Any, n_components: int, random_state: np.random.RandomState, weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the first principal components of rows, shape (n_samples, n_components).

    The axes are eigenvectors of the scatter matrix Σ m (x - mean)(x - mean)ᵀ, with the weights m of the rows. The
    largest entry of each axis is positive, as in scikit-learn. No PCA of scikit-learn is fitted here, because tools
    that record the fits of scikit-learn's estimators would record its fit.
    """
    if issparse(X) and not X.has_canonical_format:  # SciPy's max would sum the duplicates in the arrays of the user
        X = X.copy()
        X.sum_duplicates()
    n_columns = X.shape[1]
    if weights is None:
        mean = np.asarray(X.mean(axis=0, dtype=np.float64)).ravel()
    else:
        weights = weights / weights.mean()  # so that a sum of squares has the size that it has without weights
        mean = _weighted_mean(X, weights)
    scale = scatter_scale(max(X.max(), -X.min()))
    scatter = (_scatter_of_sparse if issparse(X) else scatter_of_dense)(X, mean, scale, weights)
    if n_columns <= max(n_components, DENSE_SPECTRUM if issparse(X) else SCATTER_COLUMNS):
        axes = _unsigned_axes(scatter(None), n_components)
    else:
        operator = LinearOperator((n_columns, n_columns), scatter, dtype=np.float64)
        # The products of float32 are not exact enough for the default tolerance, which is the rounding of float64.
        tolerance = 0.0 if issparse(X) else EIGENVALUE_TOLERANCE
        try:
            axes = _largest_eigenvectors(operator, n_components, random_state, tolerance)
        except ArpackError:  # a product vanishes if all columns but one are tiny
            return np.zeros((X.shape[0], n_components))
    _fix_signs(axes)
    return components_along(X, axes, mean)


def scatter_scale(largest: float) -> float:
    """Return the number by which rows are multiplied before their scatter matrix, for their largest absolute value.

    It is a power of two. LAPACK and ARPACK compare with absolute thresholds, and the axes must not depend on the unit.
    """
    return float(np.ldexp(1.0, -int(np.frexp(largest)[1])))


def axes_of_scatter(scatter: NDArray[np.float64], n_components: int) -> NDArray[np.float64]:
    """Return the first principal axes from a scatter matrix, shape (n_columns, n_components)."""
    axes = _unsigned_axes(scatter, n_components)
    _fix_signs(axes)
    return axes


def _unsigned_axes(scatter: NDArray[np.float64], n_components: int) -> NDArray[np.float64]:
    """Return what `axes_of_scatter` does, with any signs."""
    last = len(scatter) - 1
    vectors: NDArray[np.float64] = eigh(scatter, subset_by_index=[last + 1 - n_components, last], check_finite=False)[1]
    return vectors[:, ::-1]


def _fix_signs(axes: NDArray[np.float64]) -> None:
    """Make the largest entry of each axis positive, in place."""
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])


def components_along(X: Any, axes: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the components along principal axes of rows."""
    components: NDArray[np.float64] = X @ axes.astype(X.dtype, copy=False) - mean @ axes
    return components


def _weighted_mean(X: Any, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of rows whose weights have the mean 1, computed in float64 without a copy of all rows."""
    n, n_columns = X.shape
    size = n if issparse(X) else max(1, NUMBERS_AT_ONCE // n_columns)
    total = np.zeros(n_columns)
    for first in range(0, n, size):
        block = slice(first, first + size)
        total += X[block].T @ weights[block]
    total /= n
    return total


Scatter = Callable[[NDArray[np.float64] | None], NDArray[np.float64]]


def _scatter_of_sparse(X: Any, mean: NDArray[np.float64], scale: float, weights: NDArray[np.float64] | None) -> Scatter:
    """Return a function that multiplies the scatter matrix of ``scale * X`` by a vector, or returns it for None.

    The weights have the mean 1.
    """
    n = X.shape[0]
    left = X.T if weights is None else weighted_rows(X, weights).T

    def scatter(v: NDArray[np.float64] | None) -> NDArray[np.float64]:
        if v is None:
            return np.asarray(((left @ X).toarray() - n * np.outer(mean, mean)) * scale**2)
        return np.asarray((left @ (X @ v) - n * mean * (mean @ v.ravel())) * scale**2)

    return scatter


def scatter_of_dense(
    X: NDArray[np.floating], mean: NDArray[np.float64], scale: float, weights: NDArray[np.float64] | None
) -> Scatter:
    """Return what `_scatter_of_sparse` does; blocks of rows are centered, which keeps the digits of small variances."""
    n, n_columns = X.shape
    center, size = mean.astype(X.dtype), max(1, NUMBERS_AT_ONCE // n_columns)
    roots = None if weights is None else np.sqrt(weights).astype(X.dtype)[:, None]

    def scatter(v: NDArray[np.float64] | None) -> NDArray[np.float64]:
        total = np.zeros((n_columns, n_columns) if v is None else v.shape)
        right = None if v is None else v.astype(X.dtype)
        for first in range(0, n, size):
            block = X[first : first + size] - center
            block *= scale
            if roots is not None:
                block *= roots[first : first + size]
            total += block.T @ (block if right is None else block @ right)
        return total

    return scatter


def _largest_eigenvectors(A: Any, k: int, random_state: np.random.RandomState, tol: float = 0.0) -> NDArray[np.float64]:
    """Return the eigenvectors of the k largest eigenvalues, the largest first, the same for the same random state."""
    first = random_state.uniform(-1.0, 1.0, A.shape[0])
    # ARPACK continues at random from a whole invariant subspace, for which SciPy would draw a new seed in each call.
    seed = {"rng": np.random.default_rng(0)} if "rng" in signature(eigsh).parameters else {}
    values, vectors = eigsh(A, k=k, which="LA", tol=tol, v0=first, **seed)
    found: NDArray[np.float64] = vectors[:, np.argsort(-values)]
    return found


def spectral_start(
    affinities: Any,
    n_components: int,
    random_state: np.random.RandomState,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return a spectral embedding of the affinities, whose widest component has the standard deviation 1e-4.

    The components are eigenvectors of the random walk D⁻¹S, with the symmetric affinities S and the diagonal matrix D
    of their row sums. The eigenvector of the largest eigenvalue is constant, and left out. The eigenvectors of the next
    largest eigenvalues are the Laplacian eigenmaps (Belkin & Niyogi 2003), to which t-SNE with large exaggeration
    converges (Linderman & Steinerberger 2019).

    If the graph of the affinities is not connected, each connected part gets eigenvectors of its own. The parts are
    placed on a circle, or from three components on, on a sphere, with areas in proportion to their numbers of points.

    Parameters
    ----------
    affinities : csr_array or ndarray of shape (n, n)
        Conditional or joint affinities, finite and not negative. With weights, they are sums over all pairs of copies
        of two rows, as the joint affinities with weights are.
    n_components : int
        The number of components of the embedding.
    random_state : RandomState
        The random numbers for the first vector of the eigensolver, for components without an eigenvector, and for
        separating points that coincide.
    weights : ndarray of shape (n,), default=None
        The positive weights of the rows. By default all rows have the weight 1.

    Returns
    -------
    start : ndarray of shape (n, n_components), float64
        The start.

    Examples
    --------
    A ring of points, each tied to two others, is laid out as a ring:

    >>> import numpy as np
    >>> from sktsne.initialization import spectral_start
    >>> ring = np.roll(np.eye(40), 1, axis=1)
    >>> start = spectral_start(ring, 2, np.random.RandomState(0))
    >>> radii = np.linalg.norm(start, axis=1)
    >>> bool(np.ptp(radii) < 1e-3 * radii.mean())
    True
    """
    affinities, random_state = as_affinities("affinities", affinities), check_random_state(random_state)
    check_number("n_components", n_components, Integral, 1)
    if affinities.shape[0] == 0:
        raise ValueError("affinities has shape (0, 0), must not be empty.")
    weights = None if weights is None else as_weights(weights, affinities.shape[0])
    affinities = scaled(affinities, scale_exponent(affinities))  # so that no sum of affinities overflows
    S = csr_array(affinities + affinities.T, dtype=np.float64)
    n_parts, labels = connected_components(S, directed=False)
    if n_parts == 1:
        start = _eigenvectors(S, n_components, random_state, weights)
    else:
        start = np.empty((S.shape[0], n_components))
        radii = np.sqrt(np.bincount(labels, weights))
        centers = _centers(radii, n_components)
        for part, radius in enumerate(radii):
            rows = np.flatnonzero(labels == part)
            some = None if weights is None else weights[rows]
            start[rows] = radius / 2.0 * _eigenvectors(S[rows][:, rows], n_components, random_state, some)
            start[rows, : centers.shape[1]] += centers[part]
    # Points with the same neighbors differ only by rounding errors. They are made to coincide, and then separated.
    return _rescaled(separate(np.round(_rescaled(start, 1.0, weights), 9), random_state), START_SCALE, weights)


def _centers(radii: NDArray[np.float64], n_components: int) -> NDArray[np.float64]:
    """Return the centers of parts with the given radii, on a line, a circle or a sphere.

    The centers have one, two or three columns, as ``n_components`` allows.
    """
    if n_components < 3:
        angles = 2.0 * np.pi * (np.cumsum(radii) - radii / 2.0) / radii.sum()
        columns, size = [angles] if n_components == 1 else [np.cos(angles), np.sin(angles)], radii.sum()
    else:
        # The centers are on a spiral from pole to pole, where each part has a share of the sphere in proportion to its
        # area. Turning by the golden angle from part to part keeps the parts of neighboring windings apart.
        areas = radii**2
        z = 1.0 - 2.0 * (np.cumsum(areas) - areas / 2.0) / areas.sum()
        turns, width = np.pi * (3.0 - np.sqrt(5.0)) * np.arange(len(radii)), np.sqrt(1.0 - z**2)
        columns, size = [width * np.cos(turns), width * np.sin(turns), z], np.sqrt(np.pi * areas.sum())
    places: NDArray[np.float64] = size * np.column_stack(columns)
    return places


def _eigenvectors(
    S: csr_array, n_components: int, random_state: np.random.RandomState, weights: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return the eigenvectors for one connected part of the graph, with standard deviations of at most 1.

    Components for which a small part has no eigenvector are random.
    """
    n = S.shape[0]
    vectors = random_state.standard_normal((n, n_components))
    available = min(n_components, n - 2)
    if available < 1:
        return vectors
    roots = np.sqrt(S.sum(axis=1))
    walk = csr_array(S.multiply(1.0 / roots[:, None]).multiply(1.0 / roots))
    with one_blas_thread():
        if n <= DENSE_SPECTRUM:
            found = np.linalg.eigh(walk.toarray())[1][:, ::-1][:, 1 : available + 1]
        else:
            found = _largest_eigenvectors(walk, available + 1, random_state, EIGENVALUE_TOLERANCE)[:, 1:]
    found = found / roots[:, None]
    found /= found[np.abs(found).argmax(axis=0), np.arange(available)]
    vectors[:, :available] = found / np.maximum(_deviations(found, weights), np.finfo(np.float64).tiny)
    return vectors


def rescale(Y: ArrayLike, scale: float = START_SCALE) -> NDArray[np.float64]:
    """Return a map as a start: centered, and scaled so that its widest component has the standard deviation ``scale``.

    Maps of other methods and of earlier fits are too wide for a start, because t-SNE rearranges points best while they
    are close together.

    Parameters
    ----------
    Y : array-like of shape (n, d)
        The map, which is not changed.
    scale : float, default=1e-4
        The standard deviation of the widest component.

    Returns
    -------
    start : ndarray of shape (n, d), float64
        The start, for the parameter ``init``.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.initialization import rescale
    >>> umap = np.array([[-5.0, 1.0], [5.0, -1.0]])  # or the map of an earlier fit
    >>> rescale(umap)
    array([[-1.e-04,  2.e-05],
           [ 1.e-04, -2.e-05]])
    """
    Y = as_floats("Y", Y, ("n", "d"), empty=False)
    check_number("scale", scale, Real, 0, low_included=False)
    return _rescaled(Y, scale, None)


def _rescaled(Y: NDArray[np.float64], scale: float, weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return what `rescale` does, with the center and the standard deviation of weighted points."""
    start: NDArray[np.float64] = scaled(Y, scale_exponent(Y)).copy()
    start -= start[0]  # so that a column of equal coordinates is exactly 0, and its mean, too
    start -= np.average(start, axis=0, weights=weights)
    widest = _deviations(start, weights).max()
    if widest > 0.0:
        start *= scale / widest
    return start


def separate(
    Y: NDArray[np.float64],
    random_state: np.random.RandomState,
    groups: NDArray[np.integer] | None = None,
    precision: DTypeLike = np.float64,
) -> NDArray[np.float64]:
    """Return a start in which points that coincide are moved apart, because equal forces could keep them together.

    Parameters
    ----------
    Y : ndarray of shape (n, d), float64
        The start, which is not changed.
    random_state : RandomState
        The random numbers for the moves.
    groups : ndarray of int of shape (n,), default=None
        The group of each point. Points of the same group, which stand for equal rows, move together. By default every
        point is a group of its own.
    precision : dtype, default=numpy.float64
        The precision in which ``Y`` was computed. Points coincide if they differ only by rounding in this precision.

    Returns
    -------
    start : ndarray of shape (n, d), float64
        The points. Of several groups that coincide, one stays in its place. The moves of the others are normally
        distributed, with 1 % of the standard deviation of the widest component, or with 1e-4 if all points coincide.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.initialization import separate
    >>> start = separate(np.array([[0.0], [1.0], [1.0]]), np.random.RandomState(0))
    >>> len(np.unique(start))
    3
    """
    Y = as_floats("Y", Y, ("n", "d"), empty=False)
    n = len(Y)
    groups = np.arange(n) if groups is None else as_indices("groups", groups, (n,), n)
    exponent = scale_exponent(Y)
    scaled_Y = scaled(Y, exponent)
    rounding = float(np.finfo(precision).eps) ** 0.75
    # The standard deviation of equal coordinates is set to 0, because rounding could make it positive.
    widest = scaled_Y.std(axis=0).max() if np.ptp(scaled_Y, axis=0).any() else 0.0
    places = _places(scaled_Y, rounding * widest)
    # A key stands for a place and a group that has points at this place, and keys are sorted by place. The first group
    # of each place stays there.
    keys, members = np.unique(places * n + groups, return_inverse=True)
    moved = np.concatenate([[False], np.diff(keys // n) == 0])
    if not moved.any():
        return Y
    scale = 0.01 * np.ldexp(widest, -exponent) if widest > 0.0 else START_SCALE
    moves = np.zeros((len(keys), Y.shape[1]))
    with np.errstate(over="ignore"):
        moves[moved] = scale * check_random_state(random_state).standard_normal((np.count_nonzero(moved), Y.shape[1]))
        return Y + moves[members]


def _places(Y: NDArray[np.float64], tolerance: float) -> NDArray[np.intp]:
    """Return the number of the place of each point, from 0 on; points within ``tolerance`` share a place."""
    places = np.zeros(len(Y), dtype=np.intp)
    for y in Y.T:
        order = np.lexsort((y, places))
        differ = (np.diff(y[order]) > tolerance) | (np.diff(places[order]) > 0)
        places[order] = np.concatenate([[0], np.cumsum(differ)])
    return places


def space_filling_order(Y: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the order of the points along a Z-curve (Morton 1966) through their first two coordinates.

    In this order, points that are near each other in the start are near each other in memory, and so are many of their
    neighbors. The attraction, which reads the neighbors of each point in every iteration, then finds them in the cache.

    Parameters
    ----------
    Y : ndarray of shape (n, d)
        The start.

    Returns
    -------
    order : ndarray of shape (n,)
        The indices of the points along the curve.

    Examples
    --------
    >>> import numpy as np
    >>> space_filling_order(np.array([[9.0, 9.0], [0.0, 0.0], [9.0, 8.0], [1.0, 0.0]]))
    array([1, 3, 2, 0])
    """
    Y = as_floats("Y", Y, ("n", "d"), empty=False)
    Y = scaled(Y, scale_exponent(Y))
    low, extent = Y.min(axis=0), np.ptp(Y, axis=0).max()
    code = np.zeros(len(Y), dtype=np.uint32)
    for axis in range(min(2, Y.shape[1])):
        cell = ((Y[:, axis] - low[axis]) / (extent if extent > 0.0 else 1.0) * 0xFFFF).astype(np.uint32)
        for shift, mask in (
            (8, 0x00FF00FF),
            (4, 0x0F0F0F0F),
            (2, 0x33333333),
            (1, 0x55555555),
        ):  # inserts a zero bit after each bit of the cell
            cell = (cell | (cell << shift)) & mask
        code |= cell << axis
    return np.argsort(code, kind="stable")
