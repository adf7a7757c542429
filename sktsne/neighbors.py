"""The nearest-neighbour graph: of rows, of distances that the user computed, or as the user's transformer finds it."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

Metric = str | Callable[[ArrayLike, ArrayLike], float]

# Metrics that see no translation, and follow the scale of the rows by some power. Affinities don't see the scale.
TRANSLATION_INVARIANT = {
    "euclidean", "l2", "sqeuclidean", "minkowski", "cityblock", "manhattan", "l1", "chebyshev",
}  # fmt: skip

# Metrics by a matrix product, whose last bits depend on how threads divide it, and one for which scikit-learn's tree
# returns wrong neighbours on several threads (scikit-learn issue 32753).
ONE_THREAD = {"cosine", "nan_euclidean", "mahalanobis"}

# A squared Euclidean distance from |x|² + |y|² − 2x·y has lost half of its digits below this part of |x|² + |y|².
CANCELLATION = 1e-8
PAIRS_AT_ONCE = 2**16
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
    """

    indices: NDArray[np.integer]
    distances: NDArray[np.float64]


def condition(X: Any, metric: Metric, rescale: bool = True) -> Any:
    """Return the rows in float64, moved to where distances between them are computed most accurately.

    Dense rows under a metric that does not see translations are centred, so that a large common offset does not
    swamp what makes them differ, and scaled by a power of two when their squares would overflow or vanish. The
    affinities of the result are those of ``X``, which is never changed.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n, n_features)
        The rows; a matrix of distances stays as it is.
    metric : str or callable
        The metric to be used.
    rescale : bool, default=True
        Whether the affinities allow the rows to be scaled.

    Returns
    -------
    X : ndarray or sparse matrix of shape (n, n_features), float64
        The conditioned rows.

    Examples
    --------
    >>> import numpy as np
    >>> condition(np.array([[3e200, 1e8], [1e200, 1e8]]), "euclidean")[:, 0] > 0
    array([ True, False])
    """
    X = X.astype(np.float64, copy=False)
    if issparse(X) or not isinstance(metric, str) or metric not in TRANSLATION_INVARIANT:
        return X
    largest = np.abs(X).max() if rescale else 1.0
    if largest > 0.0 and not 1e-70 < largest < 1e70:
        X = np.ldexp(X, -int(np.frexp(largest)[1]))
    return X - X.mean(axis=0)


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
        which entries of the diagonal are ignored and explicit zeros are distances.
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
        If a row of a precomputed graph has fewer than ``n_neighbors`` neighbours.
    """
    if metric == "precomputed" and issparse(X):
        return _nearest_of_graph(X, n_neighbors)
    params = dict(metric_params or {})
    p = params.pop("p", 2)  # scikit-learn wants it apart
    n_threads = 1 if _needs_one_thread(X, metric) else n_threads
    search = NearestNeighbors(
        n_neighbors=n_neighbors,
        algorithm=_algorithm(X, metric),
        metric=metric,
        p=p,
        metric_params=params or None,
        n_jobs=n_threads,
    )
    # Threads that share few rows divide the candidates among them, and which of two equally distant neighbours is kept
    # then depends on their number. With a thread for at least so many rows each row is one thread's.
    n_openmp = min(n_threads, max(1, (X.shape[0] - 1) // ROWS_PER_THREAD))
    with threadpool_limits({"openmp": n_openmp, "blas": 1}):
        distances, indices = search.fit(X).kneighbors()
    if metric in ("euclidean", "l2"):
        restore_small_distances(X, indices, distances)
    return NeighborGraph(indices, np.ascontiguousarray(distances, dtype=np.float64))


def _needs_one_thread(X: Any, metric: Metric) -> bool:
    return isinstance(metric, str) and (metric in ONE_THREAD or (metric in ("euclidean", "l2") and issparse(X)))


def _algorithm(X: Any, metric: Metric) -> str:
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


def neighbors_by_transformer(transformer: Any, X: Any, n_neighbors: int) -> NeighborGraph:
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
    if not issparse(graph) or graph.shape != (n, n):
        raise ValueError(
            f"{name}: fit_transform must return a sparse matrix of shape {(n, n)} that holds distances, got "
            f"{type(graph).__name__} of shape {np.shape(graph)}."
        )
    graph = csr_array(graph)
    if not (np.isfinite(graph.data) & (graph.data >= 0.0)).all():
        raise ValueError(f"{name}: fit_transform must return distances, got values that are negative or not finite.")
    return _nearest_of_graph(graph, n_neighbors, f"{name}: the graph of fit_transform")


def _nearest_of_graph(graph: Any, n_neighbors: int, source: str = "A precomputed sparse X") -> NeighborGraph:
    graph = csr_array(graph)
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    others = rows != graph.indices
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


def all_distances(
    X: Any,
    metric: Metric = "euclidean",
    metric_params: dict[str, Any] | None = None,
    n_threads: int = 1,
) -> NDArray[np.float64]:
    """Return the distances of all pairs of rows, an array of shape (n, n), float64; see `nearest_neighbors`."""
    if metric == "precomputed":
        return np.asarray(X)
    if metric in ("euclidean", "l2") and not issparse(X):
        # The same metric by differences, not by |x|² + |y|² − 2x·y: near pairs keep their digits.
        metric, metric_params = "minkowski", {"p": 2}
    n_threads = 1 if _needs_one_thread(X, metric) else n_threads
    with threadpool_limits(1):  # the threads are those of n_jobs
        return np.asarray(pairwise_distances(X, metric=metric, n_jobs=n_threads, **(metric_params or {})))
