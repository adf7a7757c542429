"""The nearest-neighbour graph: of rows, of distances that the user computed, or as the user's transformer finds it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import VALID_METRICS_SPARSE, NearestNeighbors

from ._native.parallel import one_blas_thread, sklearn_on_threads

Metric = str | Callable[[ArrayLike, ArrayLike], float]

# Metrics that see no translation, and follow the scale of the rows by some power. Affinities don't see the scale.
TRANSLATION_INVARIANT = {
    "euclidean", "l2", "sqeuclidean", "minkowski", "p", "cityblock", "manhattan", "l1", "chebyshev", "infinity",
}  # fmt: skip
# These follow the scale too, or do not see it at all, and take squares of the rows as they are.
FOLLOW_SCALE = TRANSLATION_INVARIANT | {
    "cosine", "correlation", "canberra", "braycurtis", "seuclidean", "mahalanobis", "nan_euclidean",
}  # fmt: skip

# Names that only some of scikit-learn's searches know.
ALIASES = {"infinity": "chebyshev", "p": "minkowski", "sokalmichener": "rogerstanimoto"}
# They are of rows that are true or false, and warn about others.
BOOLEAN = {"dice", "jaccard", "kulsinski", "matching", "rogerstanimoto", "russellrao", "sokalsneath", "yule"}
# scikit-learn would search a tree with these, which loses neighbours where the triangle inequality does not hold.
NOT_METRIC = {"braycurtis", "dice"}

# Metrics whose last bits depend on how threads divide the rows; one for which scikit-learn's tree returns wrong
# neighbours on several threads (scikit-learn issue 32753); and three under which a row may not be at distance 0 from
# itself, which several threads don't correct.
ONE_THREAD = {"cosine", "nan_euclidean", "correlation", "mahalanobis", "dice", "russellrao", "sokalsneath"}

# A squared Euclidean distance from |x|² + |y|² − 2x·y has lost half of its digits below this part of |x|² + |y|².
CANCELLATION = 1e-8
PAIRS_AT_ONCE = 2**16
# Coordinates are at most so large, and those of new rows at most so many times the largest of the fit.
FARTHEST = 1e150
FAR = 1e20
DISTANCES_AT_ONCE = 2**22
ROWS_PER_THREAD = 1024

# Up to so many columns a tree beats matrix products: 20,000 rows with 3 take it a fourth of their time, with 6 less or
# the same; with 10 it is two to four times as slow, and with 15 scikit-learn would still choose it.
TREE_FEATURES = 6


class NeighborGraph(NamedTuple):
    """The k nearest neighbours of each row, the row itself not among them.

    Parameters
    ----------
    indices : ndarray of shape (n, k), int32 or int64
        The neighbours.
    distances : ndarray of shape (n, k), float64, C-contiguous
        Their distances, not squared.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.neighbors import nearest_neighbors
    >>> graph = nearest_neighbors(np.array([[0.0], [1.0], [3.0], [7.0]]), n_neighbors=2)
    >>> graph.indices.tolist()
    [[1, 2], [0, 2], [1, 0], [2, 1]]
    >>> graph.distances.tolist()
    [[1.0, 3.0], [1.0, 2.0], [2.0, 3.0], [4.0, 6.0]]
    """

    indices: NDArray[np.integer]
    distances: NDArray[np.float64]


def scale_exponent(X: Any) -> int:
    """Return the exponent of the power of two that keeps squares of X from overflow and from vanishing, mostly 0.

    LAPACK scales matrices of squares below 1e-122, by numbers that are no powers of two.
    """
    largest = _largest(X)
    return 0 if largest == 0.0 or 1e-30 < largest < 1e30 else -int(np.frexp(largest)[1])


def scaled(X: Any, exponent: int) -> Any:
    """Return an array or a sparse matrix in float64, times a power of two; ``X`` is never changed."""
    if issparse(X) and exponent:
        X = X.astype(np.float64)
        X.data = scaled(X.data, exponent)
        return X
    X = X.astype(np.float64, copy=False)
    with np.errstate(over="ignore"):
        return np.ldexp(X, exponent) if exponent else X


class Conditioning:
    """Takes rows to where distances between them are computed most accurately.

    They are scaled by a power of two when their squares would overflow or vanish, and if they are dense, and the metric
    does not see translations, centred, so that a large common offset does not swamp what makes them differ. The
    affinities of the result are those of the rows.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n, n_features)
        The rows that say where to; matrices of distances stay as they are.
    metric : str or callable
        The metric to be used.
    rescale : bool, default=True
        Whether the affinities allow the rows to be scaled.

    Raises
    ------
    ValueError
        If the rows would have to be scaled, and can't be.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[3e200, 1e8], [1e200, 1e8]])
    >>> Conditioning(X, "euclidean")(X)[:, 0] > 0
    array([ True, False])
    """

    def __init__(self, X: Any, metric: Metric, rescale: bool = True) -> None:
        self._offset: NDArray[np.float64] | None = None
        self._exponent, self._rest = 0, 0
        self._farthest = math.inf
        if not isinstance(metric, str) or metric not in FOLLOW_SCALE:
            return
        if rescale:
            self._exponent = scale_exponent(X)
        if metric not in TRANSLATION_INVARIANT:
            return
        largest = _largest(self.scaled(X))
        if largest > FARTHEST:
            raise ValueError(
                f"affinities with a bandwidth in the unit of X take values up to {FARTHEST:g}, and X has {largest:g}: "
                "scale X and the bandwidth."
            )
        if not issparse(X):
            X = self.scaled(X)
            low, high = X.min(axis=0), X.max(axis=0)
            # The mean of equal numbers may be another in its last bit, which may be more than all other columns.
            self._offset = np.where(low == high, low, X.mean(axis=0))
            differences = np.maximum(high - self._offset, self._offset - low)
            largest = _largest(differences)
            if rescale:
                self._rest = scale_exponent(differences)
                largest = float(np.ldexp(largest, self._rest))
        self._farthest = FAR * largest if rescale and largest > 0.0 else FARTHEST

    def scaled(self, X: Any) -> Any:
        """Return rows in float64, scaled, not centred."""
        return scaled(X, self._exponent)

    def __call__(self, X: Any) -> Any:
        """Return rows in float64, conditioned; ``X`` is never changed."""
        X = self.scaled(X)
        # Rows farther than any other, by far, are all the same to them: nothing is lost, and no power overflows.
        if self._offset is not None:
            return np.clip(scaled(X - self._offset, self._rest), -self._farthest, self._farthest)
        if math.isfinite(self._farthest) and _largest(X) > self._farthest:
            X = X.copy()
            X.data = np.clip(X.data, -self._farthest, self._farthest)
        return X


def _largest(X: Any) -> float:
    """Return the largest absolute value of an array or a sparse matrix."""
    values = X.data if issparse(X) else X
    return float(max(values.max(initial=0.0), -values.min(initial=0.0)))


def nearest_neighbors(
    X: Any,
    n_neighbors: int,
    metric: Metric = "euclidean",
    metric_params: dict[str, Any] | None = None,
    n_threads: int = 1,
) -> NeighborGraph:
    """Find the nearest neighbours of every row, exactly.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n, n_features) or (n, n)
        Rows, or with ``metric="precomputed"`` their distances: all of them (dense), or a sparse graph of some, in
        which explicit zeros are distances. Entries of the diagonal are ignored.
    n_neighbors : int
        How many, at most n - 1.
    metric : str or callable, default="euclidean"
        A metric of :mod:`sklearn.neighbors`, or "precomputed".
    metric_params : dict, default=None
        Further arguments of the metric.
    n_threads : int, default=1
        The threads to use.

    Returns
    -------
    graph : NeighborGraph
        Neighbours from near to far, up to rounding.

    Raises
    ------
    ValueError
        If a row of a precomputed graph has fewer than ``n_neighbors`` neighbours, or a metric can't do with its
        parameters or with ``X``.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.neighbors import nearest_neighbors
    >>> graph = nearest_neighbors(np.array([[0.0], [1.0], [3.0], [7.0]]), n_neighbors=2)
    >>> graph.indices.tolist()
    [[1, 2], [0, 2], [1, 0], [2, 1]]
    """
    with errors_that_name(metric, metric_params):
        metric, params = resolve(X, metric, metric_params)
        if metric == "precomputed":
            return nearest_of_graph(X, n_neighbors) if issparse(X) else _nearest_of_matrix(X, n_neighbors)
        return _search(X, n_neighbors, metric, params, n_threads)


def _search(X: Any, n_neighbors: int, metric: Metric, params: dict[str, Any], n_threads: int) -> NeighborGraph:
    n_threads = 1 if needs_one_thread(X, metric) else n_threads
    search = NearestNeighbors(
        n_neighbors=n_neighbors,
        algorithm=search_algorithm(X, metric),
        metric=metric,
        p=params.pop("p", 2),  # scikit-learn wants it apart
        metric_params=params or None,
        n_jobs=n_threads,
    )
    # Threads that share few rows divide the candidates among them, and which of two equally distant neighbours is kept
    # then depends on their number. With a thread for at least so many rows each row is one thread's.
    n_openmp = min(n_threads, max(1, (X.shape[0] - 1) // ROWS_PER_THREAD))
    with sklearn_on_threads(n_openmp):
        distances, indices = search.fit(rows_of(X, metric)).kneighbors()
    if metric in ("euclidean", "l2"):
        restore_small_distances(X, indices, distances)
    check_distances(distances, indices)
    return NeighborGraph(indices, np.ascontiguousarray(distances, dtype=np.float64))


def resolve(X: Any, metric: Metric, metric_params: dict[str, Any] | None) -> tuple[Metric, dict[str, Any]]:
    """Return the metric as every search of scikit-learn knows it, with parameters that it would take from the rows."""
    params = dict(metric_params or {})
    if not isinstance(metric, str):
        return metric, params
    metric = ALIASES.get(metric, metric)
    if metric in ("euclidean", "l2", "precomputed") and params:
        raise ValueError(f"{metric} takes no parameters; metric_params must be None.")
    if metric == "minkowski" and not (isinstance(params.get("p", 2), Real) and params.get("p", 2) > 0):
        raise ValueError("p must be a number above 0.")
    if metric == "minkowski" and params.get("w") is None and params.get("p", 2) in (1, 2, math.inf):
        metric, params = {1: "manhattan", 2: "euclidean", math.inf: "chebyshev"}[params.get("p", 2)], {}
    if issparse(X) and metric not in VALID_METRICS_SPARSE["brute"]:
        accepted = ", ".join(map(repr, sorted(VALID_METRICS_SPARSE["brute"])))
        raise ValueError(f"it takes no sparse rows; metric must be one of {accepted} or a callable, or X dense.")
    if metric == "seuclidean" and params.get("V") is None:
        with np.errstate(over="ignore"):
            variances = X.var(axis=0, ddof=1, dtype=np.float64)
        # What does not vary has no part in a distance, though its mean may be rounded.
        variances[(variances == 0.0) | (np.ptp(X, axis=0) == 0.0)] = 1.0
        if not np.isfinite(variances).all():
            raise ValueError("the variances of X, which are V, overflow: scale X.")
        params["V"] = variances
    if metric == "mahalanobis" and params.get("VI") is None:
        given = params.pop("V", None)
        with one_blas_thread():
            covariance = np.cov(X.T, dtype=np.float64) if given is None else given
            params["VI"] = np.linalg.pinv(np.atleast_2d(covariance))
    return metric, params


@contextmanager
def errors_that_name(metric: Metric, metric_params: dict[str, Any] | None) -> Iterator[None]:
    """Have the errors of scikit-learn and SciPy say for which parameters of ours they are."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if not isinstance(metric, str) or (metric == "precomputed" and not metric_params):
            raise
        raise ValueError(f"metric == {metric!r}, metric_params == {metric_params!r}: {error}") from error


def check_distances(distances: NDArray[np.floating], indices: NDArray[np.integer] | None = None) -> None:
    """Raise a ValueError for a distance that is none."""
    if np.isfinite(distances).all() and distances.min(initial=0.0) >= -1e-9:  # some round below zero
        return
    row, place = np.argwhere(~np.isfinite(distances) | (distances < -1e-9))[0]
    other = place if indices is None else indices[row, place]
    raise ValueError(
        f"metric must give distances, finite and not negative, and gives {distances[row, place]} for rows {row} and "
        f"{other}."
    )


def rows_of(X: Any, metric: Metric) -> Any:
    """Return the rows as the metric takes them."""
    return X != 0.0 if isinstance(metric, str) and metric in BOOLEAN else X


def needs_one_thread(X: Any, metric: Metric) -> bool:
    """Return whether the result of a search would depend on the number of threads."""
    # Python's functions run one at a time, and of some pairs in the other order with several threads.
    return callable(metric) or metric in ONE_THREAD or (metric in ("euclidean", "l2") and issparse(X))


def search_algorithm(X: Any, metric: Metric) -> str:
    """Return the algorithm for :class:`sklearn.neighbors.NearestNeighbors`."""
    if callable(metric) or metric in NOT_METRIC:
        return "brute"
    if metric not in ("euclidean", "l2") or issparse(X):
        return "auto"
    return "kd_tree" if X.shape[1] <= TREE_FEATURES else "brute"


def restore_small_distances(
    X: Any,
    indices: NDArray[np.integer],
    distances: NDArray[np.float64],
    sources: NDArray[np.integer] | None = None,
    squares: NDArray[np.float64] | None = None,
    inaccurate: float = CANCELLATION,
) -> None:
    """Recompute, in place, distances of pairs that lie so near to each other that rounding ruined them.

    scikit-learn expands |x - y|², and equal rows come out as far apart as 1e-8 times their length.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n, n_features)
        The rows.
    indices, distances : ndarray of shape (m, k)
        Neighbours, and their distances.
    sources : ndarray of shape (m,), default=None
        The rows whose neighbours these are; by default all.
    squares : ndarray of shape (n,), default=None
        The squared lengths |x|² of the rows, where they are known.
    inaccurate : float, default=1e-8
        The part of |x|² + |y|² up to which a squared distance is recomputed.
    """
    if sources is None:
        sources = np.arange(X.shape[0])
    if squares is None:
        squares = np.asarray((X.multiply(X) if issparse(X) else X * X).sum(axis=1)).ravel()
    limits = inaccurate * squares
    rows, places = np.nonzero(distances * distances <= limits[indices] + limits[sources][:, None])
    for first in range(0, len(rows), PAIRS_AT_ONCE):
        row, place = rows[first : first + PAIRS_AT_ONCE], places[first : first + PAIRS_AT_ONCE]
        differences = X[sources[row]] - X[indices[row, place]]
        if issparse(X):
            squared = np.asarray(differences.multiply(differences).sum(axis=1)).ravel()
        else:
            squared = np.einsum("ij,ij->i", differences, differences)
        distances[row, place] = np.sqrt(squared)


def neighbors_by_transformer(transformer: Any, X: Any, n_neighbors: int) -> tuple[NeighborGraph, Any]:
    """Find the neighbours that a transformer finds.

    Parameters
    ----------
    transformer : object
        Has ``fit_transform``, which returns a sparse graph of distances as that of
        :class:`sklearn.neighbors.KNeighborsTransformer` does. A clone of it is used. If it has a parameter
        ``n_neighbors``, and that is less than what is needed, the clone's is raised.
    X : ndarray or sparse matrix of shape (n, n_features)
        The rows.
    n_neighbors : int
        How many, at most n - 1.

    Returns
    -------
    graph : NeighborGraph
        Neighbours from near to far.
    transformer : object
        The fitted clone.

    Raises
    ------
    ValueError
        If the transformer returns something else, or too few neighbours of a row.
    """
    n = X.shape[0]
    name = f"neighbors == {transformer!r}"
    transformer = clone(transformer)
    enough = min(n_neighbors + 1, n - 1)  # some count the row itself
    present = transformer.get_params().get("n_neighbors", enough)
    if not isinstance(present, Integral) or present < enough:
        transformer.set_params(n_neighbors=enough)
    with config_context(transform_output="default"):
        graph = transformer.fit_transform(X)
    graph = check_graph(graph, (n, n), f"{name}: fit_transform")
    return nearest_of_graph(graph, n_neighbors, f"{name}: the graph of fit_transform"), transformer


def check_graph(graph: Any, shape: tuple[int, int], source: str) -> csr_array:
    """Return what a transformer's method returned; raise a ValueError unless it is a sparse matrix of distances."""
    if not issparse(graph) or graph.shape != shape:
        raise ValueError(
            f"{source} must return a sparse matrix of shape {shape} that holds distances, got "
            f"{type(graph).__name__} of shape {np.shape(graph)}."
        )
    graph = csr_array(graph)
    if not (np.isfinite(graph.data) & (graph.data >= 0.0)).all():
        raise ValueError(f"{source} must return distances, got values that are negative or not finite.")
    return graph


def nearest_of_graph(
    graph: Any, n_neighbors: int, source: str = "A precomputed sparse X", of_others: bool = False
) -> NeighborGraph:
    """Return the nearest neighbours in a sparse matrix of distances, of the rows themselves or ``of_others``."""
    graph = csr_array(graph)
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    others = np.ones(len(rows), dtype=bool) if of_others else rows != graph.indices
    rows, columns, distances = rows[others], graph.indices[others], graph.data[others]
    counts = np.bincount(rows, minlength=graph.shape[0])
    if counts.min() < n_neighbors:
        raise ValueError(
            f"{source} must have at least {n_neighbors} neighbors in every row, the row itself not "
            f"counted; row {counts.argmin()} has {counts.min()}. Build the graph with more neighbors "
            f"(KNeighborsTransformer(n_neighbors={n_neighbors}) gives enough), or lower the perplexity: it takes "
            "int(3 * perplexity + 1) neighbors."
        )
    nearest = (np.cumsum(counts) - counts)[:, None] + np.arange(n_neighbors)
    if np.any((distances[1:] < distances[:-1]) & (rows[1:] == rows[:-1])):  # most graphs are sorted already
        nearest = np.lexsort((distances, rows))[nearest]
    return NeighborGraph(columns[nearest], distances[nearest].astype(np.float64))


def _nearest_of_matrix(distances: NDArray[np.float64], n_neighbors: int) -> NeighborGraph:
    n = len(distances)
    indices, nearest = np.empty((n, n_neighbors), dtype=np.intp), np.empty((n, n_neighbors))
    n_rows = max(1, DISTANCES_AT_ONCE // n)
    for first in range(0, n, n_rows):
        rows = slice(first, first + n_rows)
        block = distances[rows].astype(np.float64)
        np.fill_diagonal(block[:, first:], np.inf)
        near = np.argpartition(block, n_neighbors - 1, axis=1)[:, :n_neighbors]
        near = np.take_along_axis(near, np.argsort(np.take_along_axis(block, near, 1), axis=1, kind="stable"), 1)
        indices[rows], nearest[rows] = near, np.take_along_axis(block, near, 1)
    return NeighborGraph(indices, nearest)


def all_distances(
    X: Any,
    metric: Metric = "euclidean",
    metric_params: dict[str, Any] | None = None,
    n_threads: int = 1,
) -> NDArray[np.float64]:
    """Return the distances of all pairs of rows, an array of shape (n, n), float64; see `nearest_neighbors`."""
    with errors_that_name(metric, metric_params):
        metric, params = resolve(X, metric, metric_params)
        if metric == "precomputed":
            return np.asarray(X)
        if metric in ("euclidean", "l2") and not issparse(X):
            # The same metric by differences, not by |x|² + |y|² − 2x·y: near pairs keep their digits.
            metric, params = "minkowski", {"p": 2}
        n_threads = 1 if needs_one_thread(X, metric) else n_threads
        with sklearn_on_threads(1):  # the threads are those of n_jobs
            distances = np.asarray(pairwise_distances(rows_of(X, metric), metric=metric, n_jobs=n_threads, **params))
        np.fill_diagonal(distances, 0.0)  # some metrics have none from a row of zeros to itself
        check_distances(distances)
    return distances
