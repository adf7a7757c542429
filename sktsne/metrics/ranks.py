"""Measures of how well a map keeps neighborhoods, computed from ranks of distances."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from scipy.spatial.distance import cdist
from sklearn.utils import check_array, check_consistent_length, check_random_state

from .._checks import as_input, check_choice, check_number, errors_that_name_columns, precision_of, without_rounding
from .._process import one_blas_thread
from ..neighbors.metrics import METRICS, Metric, errors_that_name, resolve
from ..neighbors.spaces import CANCELLATION, direct_space_of
from ..parallel import Workers, effective_n_threads

# The number of distances that each thread computes at once.
DISTANCES_AT_ONCE = 2**20
# Up to this many columns the sum of squared differences takes no longer than a matrix product.
FEW_FEATURES = 6
# A function that returns the distances from the rows with the given numbers to all rows. It may return squares of the
# distances, because only their order counts.
Distances = Callable[[NDArray[np.intp]], NDArray[np.float64]]
# A function that compares the keys of one row's distances in the data with the keys of its distances in the embedding.
Comparison = Callable[[NDArray[np.uint64], NDArray[np.uint64]], Any]


class Estimate(float):
    """A number with its standard error, as the measures of neighborhoods return it.

    Parameters
    ----------
    value : float
        The value. An ``Estimate`` is a float, and can be used like any other float.
    standard_error : float, default=0.0
        The standard error of ``value`` as an estimate of the value for all rows; 0 if all rows were judged.

    Examples
    --------
    >>> from sktsne.metrics import Estimate
    >>> value = Estimate(0.97, standard_error=0.002)
    >>> value > 0.9, value.standard_error
    (True, 0.002)
    """

    standard_error: float

    def __new__(cls, value: float, standard_error: float = 0.0) -> Estimate:
        """Return a new estimate; a float gets its value here and not in ``__init__``."""
        estimate = super().__new__(cls, value)
        estimate.standard_error = standard_error
        return estimate

    def __repr__(self) -> str:
        return f"Estimate({float(self)}, standard_error={self.standard_error})"

    def __str__(self) -> str:
        return float.__repr__(self)


def trustworthiness(
    X: Any,
    embedding: ArrayLike,
    *,
    n_neighbors: int = 15,
    metric: Metric = "euclidean",
    sample_size: int | None = None,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> Estimate:
    """Measure whether the neighbors in a map are neighbors in the data.

    A false neighbor of a row is one of its ``n_neighbors`` nearest neighbors in the map, but not in the data. It lowers
    the value by more, the higher its rank among the neighbors in the data [1]_. A map without false neighbors has the
    value 1, and random positions have about 0.5.

    Compare values only between maps of the same rows and for the same ``n_neighbors``; the maps may come from any
    method and have any perplexity and number of components. A map that tears a group apart may be trustworthy:
    `continuity` measures that error. Both measures judge neighborhoods; `rnx_curve` also judges the large-scale
    arrangement.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
        The rows that were embedded. With ``metric="precomputed"``, a dense matrix of all distances between them.
    embedding : array-like of shape (n_samples, n_components)
        The positions of the rows. Distances between positions are Euclidean.
    n_neighbors : int, default=15
        The number of neighbors in a neighborhood, from 1 to ``n_samples - 2``.
    metric : str or callable, default="euclidean"
        The distance between rows of ``X``, as for :class:`sktsne.TSNE`.
    sample_size : int, default=None
        The number of rows to judge, at least 2. They are drawn at random, and each is compared with all rows. ``None``
        judges all rows.
    random_state : int, RandomState instance or None, default=None
        Seeds the draw of the sample. Pass an int to judge the same rows in every map.
    n_jobs : int, default=None
        Number of threads, as for :class:`sktsne.TSNE`. The result does not depend on ``n_jobs``.

    Returns
    -------
    value : Estimate
        The trustworthiness, a float of at most 1. If a sample was judged, its attribute ``standard_error`` tells how
        far it may be from the value for all rows.

    Raises
    ------
    TypeError, ValueError
        If ``n_neighbors`` or ``sample_size`` is out of its range, if ``metric`` is unknown, or if ``X`` and
        ``embedding`` do not have the same number of rows, at least 3.

    See Also
    --------
    continuity : The measure of neighbors that a map loses.
    sklearn.manifold.trustworthiness : The same measure, except for equal distances; it holds all distances in memory.

    Notes
    -----
    The penalties of a row are divided by their largest possible sum, m(2n - 2k - m - 1)/2, where k is ``n_neighbors``
    and m is the smaller one of k and n - 1 - k. For k below n/2, the divisors of all rows have the sum
    nk(2n - 3k - 1)/2, as in the paper and in scikit-learn.

    References
    ----------
    .. [1] J. Venna and S. Kaski, "Neighborhood preservation in nonlinear projection methods: an experimental study",
       ICANN 2001, 485-491.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sktsne.metrics import trustworthiness
    >>> X = load_iris().data
    >>> Y = PCA(n_components=2).fit_transform(X)
    >>> print(f"{trustworthiness(X, Y):.2f}")
    0.99
    >>> value = trustworthiness(X, Y, sample_size=50, random_state=0)
    >>> bool(0.97 < value < 1.0), bool(0.001 < value.standard_error < 0.005)
    (True, True)
    """
    X, embedding = _check_rows(X, embedding, metric)
    distances = _distances(X, metric), _distances(embedding, "euclidean")
    return _intrusions(*distances, len(embedding), n_neighbors, sample_size, random_state, n_jobs)


def continuity(
    X: Any,
    embedding: ArrayLike,
    *,
    n_neighbors: int = 15,
    metric: Metric = "euclidean",
    sample_size: int | None = None,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> Estimate:
    """Measure whether the neighbors in the data are neighbors in a map.

    Continuity is `trustworthiness` with the data and the map exchanged [1]_. A lost neighbor of a row is one of its
    ``n_neighbors`` nearest neighbors in the data, but not in the map. It lowers the value by more, the higher its rank
    among the neighbors in the map. Continuity ignores false neighbors: a map that lays groups over each other may be
    continuous. Values of continuity can be compared under the same conditions as values of `trustworthiness`.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
        The rows that were embedded. With ``metric="precomputed"``, a dense matrix of all distances between them.
    embedding : array-like of shape (n_samples, n_components)
        The positions of the rows.
    n_neighbors, metric, sample_size, random_state, n_jobs
        As for `trustworthiness`.

    Returns
    -------
    value : Estimate
        The continuity, a float of at most 1, with its ``standard_error``.

    References
    ----------
    .. [1] J. Venna and S. Kaski, "Neighborhood preservation in nonlinear projection methods: an experimental study",
       ICANN 2001, 485-491.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sktsne.metrics import continuity
    >>> X = load_iris().data
    >>> print(f"{continuity(X, PCA(n_components=2).fit_transform(X)):.3f}")
    0.993
    """
    X, embedding = _check_rows(X, embedding, metric)
    distances = _distances(embedding, "euclidean"), _distances(X, metric)
    return _intrusions(*distances, len(embedding), n_neighbors, sample_size, random_state, n_jobs)


def neighborhood_preservation(
    X: Any,
    embedding: ArrayLike,
    *,
    n_neighbors: int = 15,
    metric: Metric = "euclidean",
    sample_size: int | None = None,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> Estimate:
    """Return Q_NX, the fraction of the nearest neighbors in the data that are nearest neighbors in a map, too.

    The measure is stricter than `trustworthiness`: a neighbor just outside the neighborhood counts as lost [1]_.
    Compare values only between maps of the same rows and for the same ``n_neighbors``, because random positions keep
    the fraction ``n_neighbors / (n_samples - 1)`` of the neighbors. `rnx_curve` is corrected for chance.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
        The rows that were embedded. With ``metric="precomputed"``, a dense matrix of all distances between them.
    embedding : array-like of shape (n_samples, n_components)
        The positions of the rows.
    n_neighbors, metric, sample_size, random_state, n_jobs
        As for `trustworthiness`.

    Returns
    -------
    value : Estimate
        The fraction, a float from 0 to 1, with its ``standard_error``.

    References
    ----------
    .. [1] J. A. Lee and M. Verleysen, "Quality assessment of dimensionality reduction: rank-based criteria",
       Neurocomputing 72, 1431-1443, 2009.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sktsne.metrics import neighborhood_preservation
    >>> X = load_iris().data
    >>> print(f"{neighborhood_preservation(X, PCA(n_components=2).fit_transform(X)):.2f}")
    0.80
    """
    X, embedding = _check_rows(X, embedding, metric)
    n = len(embedding)
    check_number("n_neighbors", n_neighbors, Integral, 1, n - 2)

    def kept(x: NDArray[np.uint64], y: NDArray[np.uint64]) -> int:
        return len(np.intersect1d(_nearest(x, n_neighbors), _nearest(y, n_neighbors), assume_unique=True))

    rows = _judged(n, sample_size, random_state)
    compared = _compare_rows(kept, _distances(X, metric), _distances(embedding, "euclidean"), n, rows, n_jobs)
    return _mean(np.array(compared) / n_neighbors, n)


def rnx_curve(
    X: Any,
    embedding: ArrayLike,
    *,
    metric: Metric = "euclidean",
    sample_size: int | None = None,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> NDArray[np.float64]:
    """Return R_NX(k), which tells how much better than random positions a map keeps k nearest neighbors, for every k.

    R_NX(k) is 1 for a map that keeps all neighbors and 0 for random positions [1]_. The left end of the curve tells how
    well the map keeps small neighborhoods, and the right end how well it keeps the large-scale arrangement. Plot the
    curve over the logarithm of k, as :class:`sktsne.plotting.RNXDisplay` does. Curves of the same rows can be compared
    between all methods and parameters. Curves for different numbers of rows are corrected for chance, but not for the
    difficulty of the task.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
        The rows that were embedded. With ``metric="precomputed"``, a dense matrix of all distances between them.
    embedding : array-like of shape (n_samples, n_components)
        The positions of the rows.
    metric, sample_size, random_state, n_jobs
        As for `trustworthiness`.

    Returns
    -------
    curve : ndarray of shape (n_samples - 2,)
        ``curve[k - 1]`` is R_NX(k).

    References
    ----------
    .. [1] J. A. Lee, E. Renard, G. Bernard, P. Dupont and M. Verleysen, "Type 1 and 2 mixtures of Kullback-Leibler
       divergences as cost functions in dimensionality reduction based on similarity preservation", Neurocomputing 112,
       92-108, 2013.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sktsne.metrics import rnx_curve
    >>> X = load_iris().data
    >>> curve = rnx_curve(X, PCA(n_components=2).fit_transform(X))
    >>> curve.shape
    (148,)
    >>> bool(0.6 < curve[4] < 0.65), bool(0.9 < curve[49] < 1.0)  # of 5 and of 50 neighbors
    (True, True)
    """
    X, embedding = _check_rows(X, embedding, metric)
    n = len(embedding)
    rows = _judged(n, sample_size, random_state)
    counts, lock = np.zeros(n, dtype=np.int64), threading.Lock()

    def count(x: NDArray[np.uint64], y: NDArray[np.uint64]) -> None:
        of_row = np.bincount(_worse_ranks(x, y), minlength=n)
        with lock:  # the order of the rows does not change sums of integers
            np.add(counts, of_row, out=counts)

    _compare_rows(count, _distances(X, metric), _distances(embedding, "euclidean"), n, rows, n_jobs)
    k = np.arange(1, n - 1)
    preserved = np.cumsum(counts[1:-1]) / (k * len(rows))  # Q_NX
    curve: NDArray[np.float64] = ((n - 1) * preserved - k) / (n - 1 - k)
    return curve


def rnx_auc(
    X: Any,
    embedding: ArrayLike,
    *,
    metric: Metric = "euclidean",
    sample_size: int | None = None,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> Estimate:
    """Return the area under the curve of R_NX(k) over the logarithm of k.

    The area judges a map by one number, without a choice of ``n_neighbors``. It is the mean of `rnx_curve` with the
    weights 1/k, so that neighborhoods of all sizes count, and small neighborhoods count more [1]_. A perfect map has
    the area 1, and random positions have about 0. Areas can be compared under the same conditions as curves; two maps
    with the same area may be good at different scales.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
        The rows that were embedded. With ``metric="precomputed"``, a dense matrix of all distances between them.
    embedding : array-like of shape (n_samples, n_components)
        The positions of the rows.
    metric, sample_size, random_state, n_jobs
        As for `trustworthiness`.

    Returns
    -------
    value : Estimate
        The area, a float of at most 1, with its ``standard_error``.

    References
    ----------
    .. [1] J. A. Lee, D. H. Peluffo-Ordóñez and M. Verleysen, "Multi-scale similarities in stochastic neighbour
       embedding: Reducing dimensionality while preserving both local and global structure", Neurocomputing 169,
       246-261, 2015.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sktsne.metrics import rnx_auc
    >>> X = load_iris().data
    >>> print(f"{rnx_auc(X, PCA(n_components=2).fit_transform(X)):.2f}")
    0.69
    """
    X, embedding = _check_rows(X, embedding, metric)
    n = len(embedding)
    # Q_NX(k) counts the pairs of rows for which the larger one of their two ranks, m, is at most k. So the area is a
    # sum over pairs, and each pair contributes the sum, over k >= m, of its weighted part of R_NX(k).
    k = np.arange(1, n - 1)
    weights = 1.0 / (k * np.sum(1.0 / k))
    contributions = np.zeros(n)
    contributions[1:-1] = np.cumsum((weights * (n - 1) / (k * (n - 1.0 - k)))[::-1])[::-1]
    at_random = np.sum(weights * k / (n - 1 - k))

    def area(x: NDArray[np.uint64], y: NDArray[np.uint64]) -> float:
        return float(contributions[_worse_ranks(x, y)].sum())

    rows = _judged(n, sample_size, random_state)
    areas = _compare_rows(area, _distances(X, metric), _distances(embedding, "euclidean"), n, rows, n_jobs)
    return _mean(np.array(areas) - at_random, n)


def _check_rows(X: Any, embedding: Any, metric: Metric) -> tuple[Any, NDArray[np.float64]]:
    if not callable(metric):
        check_choice("metric", metric, METRICS, " or a callable")
    precomputed = isinstance(metric, str) and metric == "precomputed"
    precision = precision_of(X)
    X, embedding = as_input("X", X), as_input("embedding", embedding)
    with errors_that_name_columns("X", X):
        X = check_array(X, accept_sparse=False if precomputed else "csr", dtype=np.float64, input_name="X")
    Y = check_array(embedding, dtype=np.float64, order="C", ensure_min_samples=3, input_name="embedding")
    check_consistent_length(X, Y)
    if precomputed and X.shape[0] != X.shape[1]:
        raise ValueError(f"With metric='precomputed' X must be a square distance matrix, got shape {X.shape}.")
    if precomputed:
        X = without_rounding("With metric='precomputed' X must hold distances", X, precision)
    return X, Y


def _judged(n: int, sample_size: int | None, random_state: Any) -> NDArray[np.intp]:
    """Return the numbers of the rows to judge: all of n rows, or a random sample."""
    if sample_size is None:
        return np.arange(n)
    check_number("sample_size", sample_size, Integral, 2)
    if sample_size >= n:
        return np.arange(n)
    return np.sort(check_random_state(random_state).choice(n, sample_size, replace=False))


def _mean(values: NDArray[np.float64], n: int) -> Estimate:
    """Return the mean of values of some of n rows, and its standard error for a sample without replacement."""
    m = len(values)
    return Estimate(float(values.mean()), float(values.std(ddof=1)) * math.sqrt((1.0 - m / n) / m))


def _intrusions(
    true: Distances,
    judged: Distances,
    n: int,
    n_neighbors: int,
    sample_size: int | None,
    random_state: Any,
    n_jobs: int | None,
) -> Estimate:
    """Return 1 minus the scaled mean, over rows, of the excess of neighbors' true ranks above ``n_neighbors``."""
    check_number("n_neighbors", n_neighbors, Integral, 1, n - 2)
    rows = _judged(n, sample_size, random_state)
    excess = np.array(_compare_rows(partial(_excess_ranks, n_neighbors), true, judged, n, rows, n_jobs))
    most = min(n_neighbors, n - 1 - n_neighbors)  # the most false neighbors of a row; their ranks are at most n - 1
    return _mean(1.0 - 2.0 * excess / (most * (2 * n - 2 * n_neighbors - most - 1)), n)


def _excess_ranks(k: int, true: NDArray[np.uint64], judged: NDArray[np.uint64]) -> int:
    ranks = 1 + np.searchsorted(np.sort(true), true[_nearest(judged, k)])
    return int(np.maximum(ranks - k, 0).sum())


def _worse_ranks(x: NDArray[np.uint64], y: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return the larger one of the two ranks of each other row."""
    n = len(x)
    ranks = np.empty(n, dtype=np.intp)
    in_order = np.arange(1, n)
    ranks[_nearest(x, n - 1)] = in_order
    return np.maximum(ranks[_nearest(y, n - 1)], in_order)


def _compare_rows(
    compare: Comparison, x: Distances, y: Distances, n: int, rows: NDArray[np.intp], n_jobs: int | None
) -> list[Any]:
    """Return the result of ``compare`` for each of ``rows``."""
    size = max(1, DISTANCES_AT_ONCE // n)

    def block(start: int, stop: int) -> list[Any]:
        results: list[Any] = []
        for first in range(start, stop, size):
            some = rows[first : min(first + size, stop)]
            results.extend(map(compare, _keys(x(some), some), _keys(y(some), some)))
        return results

    with one_blas_thread(), Workers(effective_n_threads(n_jobs)) as workers:
        return [result for results in workers.run(block, len(rows), n) for result in results]


def _keys(distances: NDArray[np.float64], rows: NDArray[np.intp]) -> NDArray[np.uint64]:
    """Turn distances into integer keys of the same order, with the column in the last bits; the row itself comes last.

    Numbers that are not negative have the same order as their bits, read as integers. The keys put equal distances in
    the order of their columns, so that a plain sort suffices, which is faster than a stable sort of the distances.
    Distances count as equal if they differ only in the bits that the column takes, which for 10,000 rows are the digits
    beyond the 11th.
    """
    n = distances.shape[1]
    keys = distances.view(np.uint64)
    keys &= ~(_column_bits(n) | np.uint64(1 << 63))  # clears the bits of the column, and the sign, which -0 has
    keys |= np.arange(n, dtype=np.uint64)
    keys[np.arange(len(rows)), rows] |= np.uint64(0x7FFF << 48)  # above infinity
    return keys


def _column_bits(n: int) -> np.uint64:
    return np.uint64((1 << (n - 1).bit_length()) - 1)


def _nearest(keys: NDArray[np.uint64], k: int) -> NDArray[np.intp]:
    """Return the columns of the k least keys; if these are all other rows, they are in the order of the keys."""
    least = np.sort(keys)[:-1] if k == len(keys) - 1 else np.partition(keys, k - 1)[:k]
    return (least & _column_bits(len(keys))).astype(np.intp)


def _distances(X: Any, metric: Metric) -> Distances:
    """Return the function that computes the distances from some rows to all rows, as new arrays."""
    with errors_that_name(metric, None):
        metric, parameters = resolve(X, metric, None)
    if metric == "precomputed":
        return lambda rows: np.array(X[rows])
    if metric == "euclidean" and not issparse(X):
        return _squared_distances(X)
    space = direct_space_of(X, metric, parameters)
    columns = space.operand(space.points, left=False)

    def distances(rows: NDArray[np.intp]) -> NDArray[np.float64]:
        with errors_that_name(metric, None):
            block: NDArray[np.float64] = space.values(space.operand(space.points[rows]), columns)
        return np.maximum(block, 0.0, out=block)

    return distances


def _squared_distances(X: NDArray[np.float64]) -> Distances:
    """Return the function that computes squared Euclidean distances, as |x|² + |y|² - 2x·y for many columns.

    A row near the middle becomes the origin, and the scale changes by a power of two. Both changes are exact for
    numbers on a grid, such as integers, so that equal distances stay equal.
    """
    X = np.ldexp(X, -int(np.frexp(np.abs(X).max())[1]))
    X = X - np.partition(X, len(X) // 2, axis=0)[len(X) // 2]
    if X.shape[1] <= FEW_FEATURES:
        return lambda rows: cdist(X[rows], X, "sqeuclidean")
    squares = np.einsum("ij,ij->i", X, X)

    def distances(rows: NDArray[np.intp]) -> NDArray[np.float64]:
        block: NDArray[np.float64] = X[rows] @ X.T
        block *= -2.0
        block += squares
        block += squares[rows, None]
        # The distances of near pairs have lost digits to cancellation. For these pairs |x|² and |y|² are about equal.
        near, columns = np.nonzero(block < 2.01 * CANCELLATION * squares[rows, None])
        size = max(1, DISTANCES_AT_ONCE // X.shape[1])
        for first in range(0, len(near), size):
            pairs = near[first : first + size], columns[first : first + size]
            differences = X[rows[pairs[0]]] - X[pairs[1]]
            block[pairs] = np.einsum("ij,ij->i", differences, differences)
        return block

    return distances
