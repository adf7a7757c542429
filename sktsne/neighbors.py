"""The nearest-neighbor graph: of rows, of distances that the user computed, or as the user's transformer finds it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import VALID_METRICS_SPARSE, NearestNeighbors
from sklearn.preprocessing import normalize

from ._checks import as_csr, as_floats, check_number, precision_of, without_rounding
from ._process import one_blas_thread, sklearn_on_threads
from .parallel import Workers

Metric = str | Callable[[ArrayLike, ArrayLike], float]

# Metrics that no translation of the rows changes, and that follow a power of their scale. Affinities do not depend on
# the scale.
TRANSLATION_INVARIANT = {
    "euclidean", "sqeuclidean", "minkowski", "cityblock", "manhattan", "l1", "chebyshev",
}  # fmt: skip
# Metrics whose rows are scaled, and not centered unless in the set above: the others follow the scale, too, or do not
# depend on the scale, and take squares of the rows as they are.
FOLLOW_SCALE = TRANSLATION_INVARIANT | {
    "cosine", "correlation", "canberra", "braycurtis", "seuclidean", "mahalanobis", "nan_euclidean",
}  # fmt: skip

# Names that only some of scikit-learn's searches know, and other names of a metric.
ALIASES = {"l2": "euclidean", "infinity": "chebyshev", "p": "minkowski", "sokalmichener": "rogerstanimoto"}
# Metrics of boolean rows, which warn about other rows.
BOOLEAN = {"dice", "jaccard", "kulsinski", "matching", "rogerstanimoto", "russellrao", "sokalsneath", "yule"}
# scikit-learn would search a tree with these metrics, and lose neighbors: the triangle inequality does not hold.
NOT_METRIC = {"braycurtis", "dice"}

# With this metric scikit-learn's tree returns wrong neighbors on several threads (scikit-learn issue 32753).
ONE_THREAD = {"mahalanobis"}

BY_PRODUCTS = ("euclidean", "sqeuclidean", "cosine")
# Pairs times columns in one call, of matrix products and of other metrics. Ctrl-C has to wait for a call to end; these
# take some tenths of a second. Fewer rows than the least make products slower, and calls that search a tree or prepare
# all rows.
PRODUCTS_AT_ONCE, TERMS_AT_ONCE = 2**31, 2**26
LEAST_ROWS_OF_PRODUCTS, LEAST_ROWS_OF_TREE, LEAST_ROWS_OF_CORRELATION, MOST_ROWS = 128, 128, 32, 512

# A squared Euclidean distance from |x|² + |y|² − 2x·y has lost half of its digits below this part of |x|² + |y|².
CANCELLATION = 1e-8
PAIRS_AT_ONCE = 2**16
NUMBERS_AT_ONCE = 2**18  # of differences of rows, which stay in the cache: equal rows make many
# The bound on coordinates, and the bound on those of new rows in units of the largest coordinate of the fit.
FARTHEST = 1e150
FAR = 1e20
DISTANCES_AT_ONCE = 2**22

# Up to this many columns a tree beats matrix products. For 20,000 rows the tree takes a fourth of their time with 3
# columns, at most their time with 6, and two to four times as long with 10; scikit-learn chooses the tree up to 15.
TREE_FEATURES = 6
SKLEARN_TREE_FEATURES = 15


class RowError(ValueError):
    """An error that knows the number of its row; users get a plain ValueError, see `numbering`.

    Parameters
    ----------
    message : str
        The message, with ``{row}`` in the place of the number.
    row : int
        The number of the row.
    """

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message, row)
        self.message, self.row = message, row

    def __str__(self) -> str:
        return self.message.replace("{row}", str(self.row))


@contextmanager
def numbering(rows: NDArray[np.intp] | None = None) -> Iterator[None]:
    """Raise errors of a block with the user's number of the row; ``rows`` are the block's numbers, by default all."""
    try:
        yield
    except RowError as error:
        number = error.row if rows is None else int(rows[error.row])
        raise ValueError(str(RowError(error.message, number))) from error


def as_rows(name: str, X: Any, n_columns: int | None = None) -> Any:
    """Return rows as a dense array or a CSR matrix of finite float64 with a row and a column, or ``n_columns`` columns.

    Raises
    ------
    ValueError
        If there is no such matrix.
    """
    if issparse(X):
        X = as_csr(name, X)
        as_floats(f"the values of {name}", X.data, X.data.shape)
    X = X if issparse(X) else as_floats(name, X, ("n", "n_features"), empty=False)
    if 0 in X.shape or X.shape[1] != (n_columns or X.shape[1]):
        wanted = f"{n_columns} columns" if n_columns else "at least one row and one column"
        raise ValueError(f"{name} has shape {X.shape}, must have {wanted}.")
    return X


def _as_distances(X: Any, precision: type[np.floating]) -> Any:
    """Return a square matrix of distances, without what rounding made negative; raise a ValueError for any other."""
    if X.shape[0] != X.shape[1]:
        raise ValueError(f"X has shape {X.shape}, must be a square distance matrix.")
    return without_rounding("X must hold distances", X, precision)


class NeighborGraph(NamedTuple):
    """The k nearest neighbors of each row, without the row itself.

    Parameters
    ----------
    indices : ndarray of shape (n, k), int32 or int64
        The neighbors.
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

    LAPACK would scale matrices of squares below 1e-122, by numbers that are no powers of two.
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
    """Scales and centers rows, so that distances between them are accurate.

    Rows are scaled by a power of two if their squares would overflow or vanish. Dense rows are centered if no
    translation changes the metric, so that a large common offset does not swamp their differences. The affinities of
    the result are those of the rows.

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
    >>> X = np.array([[3e200, 1e8], [1e200, 1e8]])
    >>> Conditioning(X, "euclidean")(X)[:, 0] > 0
    array([ True, False])
    """

    def __init__(self, X: Any, metric: Metric, rescale: bool = True) -> None:
        self._offset: NDArray[np.float64] | None = None
        self._exponent, self._rest = 0, 0
        self._n_columns = X.shape[1]
        self._farthest = math.inf
        metric = canonical(metric)
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
            # The mean of equal numbers may differ from them in its last bit, which may exceed all other columns.
            self._offset = np.where(low == high, low, X.mean(axis=0))
            differences = np.maximum(high - self._offset, self._offset - low)
            largest = _largest(differences)
            if rescale:
                self._rest = scale_exponent(differences)
                largest = float(np.ldexp(largest, self._rest))
        self._farthest = FAR * largest if rescale and largest > 0.0 else FARTHEST

    def scaled(self, X: Any) -> Any:
        """Return rows in float64, scaled, not centered."""
        if X.shape[1] != self._n_columns:
            raise ValueError(f"X has shape {X.shape}, and the conditioning is for rows with {self._n_columns} columns.")
        return scaled(X, self._exponent)

    def __call__(self, X: Any) -> Any:
        """Return rows in float64, conditioned; ``X`` is never changed."""
        X = self.scaled(X)
        # New rows far beyond all others are equally far from them: clipping loses nothing, and no power overflows.
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
    """Find the nearest neighbors of every row, exactly.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n, n_features) or (n, n)
        Rows, or with ``metric="precomputed"`` their distances: all of them (dense), or a sparse graph of some, in
        which explicit zeros are distances. Entries of the diagonal are ignored.
    n_neighbors : int
        The number of neighbors, at most n - 1.
    metric : str or callable, default="euclidean"
        A metric of :mod:`sklearn.neighbors`, or "precomputed".
    metric_params : dict, default=None
        Further arguments of the metric.
    n_threads : int, default=1
        The threads to use.

    Returns
    -------
    graph : NeighborGraph
        Neighbors from near to far, up to rounding.

    Raises
    ------
    ValueError
        If a row of a precomputed graph has fewer than ``n_neighbors`` neighbors, or the metric does not accept
        its parameters or ``X``.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.neighbors import nearest_neighbors
    >>> graph = nearest_neighbors(np.array([[0.0], [1.0], [3.0], [7.0]]), n_neighbors=2)
    >>> graph.indices.tolist()
    [[1, 2], [0, 2], [1, 0], [2, 1]]
    """
    precision, X = precision_of(X), as_rows("X", X)
    check_number("n_neighbors", n_neighbors, Integral, 1, X.shape[0] - 1)
    with errors_that_name(metric, metric_params), Workers(n_threads) as workers:
        metric, params = resolve(X, metric, metric_params)
        if metric == "precomputed":
            X = _as_distances(X, precision)
            return nearest_of_graph(X, n_neighbors) if issparse(X) else _nearest_of_matrix(X, n_neighbors)
        return search_all(X, n_neighbors, metric, params, workers)


def search_all(X: Any, n_neighbors: int, metric: Metric, params: dict[str, Any], workers: Workers) -> NeighborGraph:
    """Return the nearest neighbors of all rows, under a metric and parameters as `resolve` returns them."""
    rows = rows_of(X, metric)
    search = exact_index(rows, n_neighbors + 1, metric, params)  # the row itself is usually the nearest
    distances, indices = kneighbors(search, rows, rows, metric, Workers() if needs_one_thread(metric) else workers)
    others = indices != np.arange(X.shape[0])[:, None]
    others[others.all(axis=1), -1] = False  # duplicates have displaced the row itself
    if np.count_nonzero(others) != others.shape[0] * n_neighbors:  # NaN has the search find a row several times
        check_distances(distances, indices)
    distances, indices = distances[others].reshape(-1, n_neighbors), indices[others].reshape(-1, n_neighbors)
    if metric == "euclidean":
        restore_small_distances(X, indices, distances)
    check_distances(distances, indices)
    return NeighborGraph(indices, distances)


class Index(Protocol):
    """The contract of an index of rows: a fitted :class:`sklearn.neighbors.NearestNeighbors` meets it."""

    n_neighbors: int

    def kneighbors(self, rows: Any) -> tuple[NDArray[np.floating], NDArray[np.integer]]:
        """Return distances and indices of the nearest rows of the fit, from near to far."""


class _CosineIndex:
    """An index for cosine distances, which scales all rows to length one once; scikit-learn does so in every call."""

    def __init__(self, X: NDArray[np.float64], n_neighbors: int) -> None:
        self._X, self.n_neighbors = normalize(X), n_neighbors

    def kneighbors(self, rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.integer]]:
        return nearest(np.clip(1.0 - normalize(rows) @ self._X.T, 0.0, 2.0), self.n_neighbors)


def exact_index(X: Any, n_neighbors: int, metric: Metric, params: dict[str, Any]) -> Index:
    """Return a fitted index of all rows, for a metric and parameters that `resolve` returned."""
    if metric == "cosine" and not issparse(X):
        return _CosineIndex(X, n_neighbors)
    params = dict(params)
    search = NearestNeighbors(
        n_neighbors=n_neighbors,
        algorithm=search_algorithm(X, metric),
        metric=metric,
        p=params.pop("p", 2),  # a separate argument of scikit-learn's
        metric_params=params or None,
        n_jobs=1,
    )
    fitted: Index = search.fit(X)
    return fitted


def kneighbors(
    index: Index, X: Any, rows: Any, metric: Metric, workers: Workers
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return what ``index.kneighbors(rows)`` does, with an index of X, by blocks of rows.

    Between blocks Ctrl-C is heard. And which of two equally distant neighbors is kept does not depend on the number of
    threads; with scikit-learn's own threads, which divide the candidates, it would.
    """
    distances = np.empty((rows.shape[0], index.n_neighbors))
    indices = np.empty(distances.shape, dtype=np.int64)

    def block(start: int, stop: int) -> None:
        distances[start:stop], indices[start:stop] = index.kneighbors(rows[start:stop])

    in_blocks(block, X, rows.shape[0], metric, workers)
    return distances, indices


def in_blocks(function: Callable[[int, int], Any], X: Any, n_rows: int, metric: Metric, workers: Workers) -> None:
    """Call ``function(start, stop)`` for all rows, by blocks, on whose distances to X scikit-learn spends the time."""

    def unchecked(start: int, stop: int) -> None:
        with config_context(assume_finite=True):  # the setting is per thread
            function(start, stop)

    with sklearn_on_threads(1):
        workers.run_blocks(unchecked, n_rows, _rows_at_once(X, metric))


def _rows_at_once(X: Any, metric: Metric) -> int:
    n, p = map(int, X.shape)
    terms = max(1, int(X.nnz) if issparse(X) else n * p)
    limit, least = TERMS_AT_ONCE, LEAST_ROWS_OF_TREE if p <= SKLEARN_TREE_FEATURES else 1
    if isinstance(metric, str) and metric in BY_PRODUCTS:
        limit, least = PRODUCTS_AT_ONCE, LEAST_ROWS_OF_PRODUCTS
    elif metric == "correlation":
        least = LEAST_ROWS_OF_CORRELATION
    return min(max(limit // terms, least), MOST_ROWS)


def nearest(distances: NDArray[np.float64], n_neighbors: int) -> tuple[NDArray[np.float64], NDArray[np.integer]]:
    """Return the smallest numbers of each row, and where they are, from near to far."""
    near = np.argpartition(distances, n_neighbors - 1, axis=1)[:, :n_neighbors]
    near = np.take_along_axis(near, np.argsort(np.take_along_axis(distances, near, 1), axis=1, kind="stable"), 1)
    return np.take_along_axis(distances, near, 1), near


def canonical(metric: Metric) -> Metric:
    """Return the one name of a metric that has several."""
    return ALIASES.get(metric, metric) if isinstance(metric, str) else metric


def resolve(X: Any, metric: Metric, metric_params: dict[str, Any] | None) -> tuple[Metric, dict[str, Any]]:
    """Return the metric by a name that all searches of scikit-learn know, and its parameters, some of them from X."""
    params = dict(metric_params or {})
    if not isinstance(metric, str):
        return metric, params
    metric = canonical(metric)
    if metric in ("euclidean", "cosine", "precomputed") and params:
        raise ValueError(f"{metric} takes no parameters; metric_params must be None.")
    if metric == "minkowski" and not (isinstance(params.get("p", 2), Real) and params.get("p", 2) > 0):
        raise ValueError("p must be a number above 0.")
    if metric == "minkowski" and params.get("w") is None and params.get("p", 2) in (1, 2, math.inf):
        metric, params = {1: "manhattan", 2: "euclidean", math.inf: "chebyshev"}[params.get("p", 2)], {}
    if metric == "nan_euclidean" and not params:
        metric = "euclidean"  # no row has NaN
    if issparse(X) and metric not in VALID_METRICS_SPARSE["brute"]:
        accepted = ", ".join(map(repr, sorted(VALID_METRICS_SPARSE["brute"])))
        raise ValueError(f"{metric} takes no sparse rows; metric must be one of {accepted} or a callable, or X dense.")
    for name in {"V", "VI"} & params.keys():  # SciPy takes lists of some sizes only
        params[name] = None if params[name] is None else np.asarray(params[name], dtype=np.float64)
    if metric == "seuclidean" and params.get("V") is None:
        with np.errstate(over="ignore"):
            variances = X.var(axis=0, ddof=1, dtype=np.float64)
        # A constant column has no part in a distance, but may have a variance above 0, as its mean is rounded.
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
    """Add the user's parameters to the messages of errors that scikit-learn and SciPy raise."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if not isinstance(metric, str) or (metric == "precomputed" and not metric_params):
            raise
        raise ValueError(f"metric == {metric!r}, metric_params == {metric_params!r}: {error}") from error


def check_distances(distances: NDArray[np.floating], indices: NDArray[np.integer] | None = None) -> None:
    """Raise a ValueError for a distance that is not finite or is negative; set those to 0 that rounding made so."""
    least = distances.min(initial=0.0)
    if np.isfinite(distances).all() and least >= -1e-9:
        if least < 0.0:
            np.maximum(distances, 0.0, out=distances)
        return
    row, place = np.argwhere(~np.isfinite(distances) | (distances < -1e-9))[0]
    other = place if indices is None else indices[row, place]
    raise RowError(
        f"metric must give distances, finite and not negative, and gives {distances[row, place]} for rows {{row}} and "
        f"{other}. All distances should be positive, the metric given is not correct.",
        row,
    )


def rows_of(X: Any, metric: Metric) -> Any:
    """Return the rows, as booleans if the metric is of boolean rows."""
    return X != 0.0 if isinstance(metric, str) and metric in BOOLEAN else X


def needs_one_thread(metric: Metric) -> bool:
    """Return whether several threads would be wrong, or of no use: functions of Python run one at a time."""
    return callable(metric) or metric in ONE_THREAD


def search_algorithm(X: Any, metric: Metric) -> str:
    """Return the algorithm for :class:`sklearn.neighbors.NearestNeighbors`."""
    if callable(metric) or metric in NOT_METRIC:
        return "brute"
    if metric != "euclidean" or issparse(X):
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
    """Recompute, in place, the distances of pairs so near to each other that rounding ruined their distances.

    scikit-learn expands |x - y|², so that equal rows may get a distance of 1e-8 times their length.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n, n_features)
        The rows.
    indices, distances : ndarray of shape (m, k)
        Neighbors, and their distances.
    sources : ndarray of shape (m,), default=None
        The rows that have these neighbors; by default all rows.
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
    step = max(1, NUMBERS_AT_ONCE // X.shape[1])
    for first in range(0, len(rows), step):
        row, place = rows[first : first + step], places[first : first + step]
        differences = X[sources[row]] - X[indices[row, place]]
        if issparse(X):
            squared = np.asarray(differences.multiply(differences).sum(axis=1)).ravel()
        else:
            squared = np.einsum("ij,ij->i", differences, differences)
        distances[row, place] = np.sqrt(squared)


def neighbors_by_transformer(transformer: Any, X: Any, n_neighbors: int) -> tuple[NeighborGraph, Any]:
    """Find neighbors by a user's transformer.

    Parameters
    ----------
    transformer : object
        Has ``fit_transform``, which returns a sparse graph of distances as that of
        :class:`sklearn.neighbors.KNeighborsTransformer` does. A clone of it is used. If it has a parameter
        ``n_neighbors`` below the number needed, that of the clone is raised.
    X : ndarray or sparse matrix of shape (n, n_features)
        The rows.
    n_neighbors : int
        The number of neighbors, at most n - 1.

    Returns
    -------
    graph : NeighborGraph
        Neighbors from near to far.
    transformer : object
        The fitted clone.

    Raises
    ------
    ValueError
        If the transformer returns something else, or too few neighbors of a row.
    """
    n = X.shape[0]
    name = f"neighbors == {transformer!r}"
    transformer = clone(transformer)
    enough = min(n_neighbors + 1, n - 1)  # some transformers count the row itself
    present = transformer.get_params().get("n_neighbors", enough)
    if not isinstance(present, Integral) or present < enough:
        transformer.set_params(n_neighbors=enough)
    with config_context(transform_output="default"):
        graph = transformer.fit_transform(X)
    graph = check_graph(graph, (n, n), f"{name}: fit_transform")
    return nearest_of_graph(graph, n_neighbors, f"{name}: the graph of fit_transform"), transformer


def check_graph(graph: Any, shape: tuple[int, int], source: str, largest: float = 0.0) -> csr_array:
    """Return what a transformer's method returned; raise a ValueError unless it is a sparse matrix of distances.

    ``largest`` is as for `without_rounding`.
    """
    if not issparse(graph) or graph.shape != shape:
        raise ValueError(
            f"{source} must return a sparse matrix of shape {shape} that holds distances, got "
            f"{type(graph).__name__} of shape {np.shape(graph)}."
        )
    precision = precision_of(graph)
    graph = as_csr(f"{source}: its graph", graph)
    if not np.isfinite(graph.data).all():
        raise ValueError(f"{source} must return distances, got values that are not finite.")
    return without_rounding(f"{source} must return distances", graph, precision, largest)


def nearest_of_graph(
    graph: Any, n_neighbors: int, source: str = "A precomputed sparse X", of_others: bool = False
) -> NeighborGraph:
    """Return the nearest neighbors in a sparse matrix of distances, of the rows themselves or ``of_others``."""
    graph = csr_array(graph)
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    others = np.ones(len(rows), dtype=bool) if of_others else rows != graph.indices
    rows, columns, distances = rows[others], graph.indices[others], graph.data[others]
    counts = np.bincount(rows, minlength=graph.shape[0])
    if (least := int(counts.min())) < n_neighbors:
        admitted = f"this graph admits one below {least / 3:.4g}" if least > 3 else "this graph admits none"
        raise RowError(
            f"{source} must have at least {n_neighbors} neighbors in every row, the row itself not "
            f"counted; row {{row}} has {least}. Build the graph with more neighbors "
            f"(KNeighborsTransformer(n_neighbors={n_neighbors}) gives enough), or have the affinities take fewer: a "
            f"perplexity takes int(3 * perplexity + 1), and {admitted}; Uniform and FixedBandwidth take their "
            f"n_neighbors. With the row itself, {n_neighbors + 1} neighbors per samples are required, but some samples "
            f"have only {least + 1}.",
            int(counts.argmin()),
        )
    nearest = (np.cumsum(counts) - counts)[:, None] + np.arange(n_neighbors)
    if np.any((distances[1:] < distances[:-1]) & (rows[1:] == rows[:-1])):  # most graphs are sorted already
        nearest = np.lexsort((distances, rows))[nearest]
    return NeighborGraph(columns[nearest], distances[nearest].astype(np.float64))


def _nearest_of_matrix(distances: NDArray[np.float64], n_neighbors: int) -> NeighborGraph:
    n = len(distances)
    indices, smallest = np.empty((n, n_neighbors), dtype=np.intp), np.empty((n, n_neighbors))
    n_rows = max(1, DISTANCES_AT_ONCE // n)
    for first in range(0, n, n_rows):
        rows = slice(first, first + n_rows)
        block = distances[rows].astype(np.float64)
        np.fill_diagonal(block[:, first:], np.inf)
        smallest[rows], indices[rows] = nearest(block, n_neighbors)
    return NeighborGraph(indices, smallest)


def all_distances(
    X: Any,
    metric: Metric = "euclidean",
    metric_params: dict[str, Any] | None = None,
    n_threads: int = 1,
) -> NDArray[np.float64]:
    """Return the distances of all pairs of rows, an array of shape (n, n), float64; see `nearest_neighbors`."""
    precision, X = precision_of(X), as_rows("X", X)
    with errors_that_name(metric, metric_params), Workers(n_threads) as workers:
        metric, params = resolve(X, metric, metric_params)
        if metric == "precomputed":
            X = _as_distances(X, precision)
            if issparse(X):
                raise ValueError("X must be dense: a sparse one has not the distances of all pairs.")
            return np.asarray(X)
        return distances_of_all(X, metric, params, workers)


def distances_of_all(X: Any, metric: Metric, params: dict[str, Any], workers: Workers) -> NDArray[np.float64]:
    """Return the distances of all pairs of rows, under a metric and parameters as `resolve` returns them."""
    if metric == "euclidean" and not issparse(X):
        # The same metric, computed by differences, not by |x|² + |y|² − 2x·y, so that near pairs keep their digits.
        metric, params = "minkowski", {"p": 2}
    rows = rows_of(X, metric)
    if callable(metric):  # computes each pair once
        with sklearn_on_threads(1):
            distances = np.asarray(pairwise_distances(rows, metric=metric, **params))
    else:
        distances = np.empty((X.shape[0], X.shape[0]))

        def fill(start: int, stop: int) -> None:
            distances[start:stop] = pairwise_distances(rows[start:stop], rows, metric=metric, **params)

        in_blocks(fill, X, X.shape[0], metric, Workers() if needs_one_thread(metric) else workers)
    np.fill_diagonal(distances, 0.0)  # some metrics are not 0 from a row of zeros to itself
    check_distances(distances)
    return distances
