"""The metrics: the properties of each metric, its canonical name, and its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.neighbors import VALID_METRICS

from .._checks import warn
from .._process import one_blas_thread
from .._row_errors import RowError

Metric = str | Callable[[ArrayLike, ArrayLike], float]


class Traits(NamedTuple):
    """The properties of a metric. The defaults hold for a function of the user's, whose properties are not known.

    Parameters
    ----------
    follows_scale : bool
        Whether multiplying all rows by a number multiplies all distances by a power of this number, or does not change
        them. Affinities of a given perplexity then do not change.
    translation_invariant : bool
        Whether adding the same row to all rows changes no distance.
    euclidean : bool
        Whether the distance is a function of the Euclidean distance of mapped rows, so that matrix products give it.
    boolean : bool
        Whether the metric converts rows to true and false.
    counts : bool
        Whether the distance of rows of true and false follows from the number of columns that are true in one row and
        in both, so that matrix products give it.
    tree : bool
        Whether scikit-learn can search exactly in a tree, because the triangle inequality holds.
    sparse : bool
        Whether rows may be sparse.
    """

    follows_scale: bool = False
    translation_invariant: bool = False
    euclidean: bool = False
    boolean: bool = False
    counts: bool = False
    tree: bool = False
    sparse: bool = False


NORM = Traits(follows_scale=True, translation_invariant=True, tree=True)
ANGLE = Traits(follows_scale=True, euclidean=True, sparse=True)
BOOLEAN = Traits(boolean=True, counts=True, sparse=True)

TRAITS: dict[str, Traits] = {
    "euclidean": NORM._replace(euclidean=True, sparse=True),
    "sqeuclidean": NORM._replace(euclidean=True, sparse=True, tree=False),
    "seuclidean": Traits(follows_scale=True, euclidean=True),
    "mahalanobis": Traits(follows_scale=True, euclidean=True),
    "cosine": ANGLE,
    "correlation": ANGLE,
    "manhattan": NORM._replace(sparse=True),
    "cityblock": NORM._replace(sparse=True),
    "l1": NORM._replace(sparse=True),
    "chebyshev": NORM,
    "minkowski": NORM,
    "canberra": Traits(follows_scale=True, tree=True),
    "braycurtis": Traits(follows_scale=True),
    "nan_euclidean": Traits(follows_scale=True),
    "haversine": Traits(tree=True),
    "hamming": Traits(counts=True),
    "dice": BOOLEAN,
    "jaccard": BOOLEAN,
    "kulsinski": Traits(boolean=True),
    "matching": BOOLEAN,
    "rogerstanimoto": BOOLEAN,
    "russellrao": BOOLEAN,
    "sokalsneath": BOOLEAN,
    "yule": BOOLEAN,
}
UNKNOWN, FUNCTION = Traits(), Traits(sparse=True)  # of a metric that is not in the table, and of a Python function
# Further names of metrics, some of which only some of scikit-learn's searches accept, and their canonical names.
ALIASES = {"l2": "euclidean", "infinity": "chebyshev", "p": "minkowski", "sokalmichener": "rogerstanimoto"}
METRICS = sorted({*VALID_METRICS["brute"], *ALIASES, "precomputed"})


def canonical(metric: Metric) -> Metric:
    """Return the canonical name of a metric, or the metric itself if it is a function."""
    return ALIASES.get(metric, metric) if isinstance(metric, str) else metric


def traits_of(metric: Metric) -> Traits:
    """Return the properties of a metric."""
    return TRAITS.get(str(canonical(metric)), UNKNOWN) if isinstance(metric, str) else FUNCTION


@one_blas_thread()
def _covariance(X: NDArray[np.floating], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the covariance matrix of the columns, where each row stands for several equal rows."""
    total = weights.sum()
    centered = X - np.einsum("i,ij->j", weights, X.astype(np.float64)) / total
    # Of repeated rows the divisor is their number minus 1, which is too small for weights that sum to 1 or less.
    return np.asarray((centered * weights[:, None]).T @ centered / max(total - 1.0, 0.5 * total))


def resolve(
    X: Any, metric: Metric, metric_params: dict[str, Any] | None, weights: NDArray[np.float64] | None = None
) -> tuple[Metric, dict[str, Any]]:
    """Return the canonical metric with all of its parameters; parameters that are not given are computed from X.

    ``weights`` of shape (n,), above 0, are the numbers of equal rows that each row stands for.

    Metrics with a faster equivalent are replaced: "minkowski" with p = 1, 2 or infinity by "manhattan", "euclidean" or
    "chebyshev", and "nan_euclidean" by "euclidean". A ValueError is raised for parameters that the metric does not
    take, and for sparse rows under a metric for dense rows only.
    """
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
        metric = "euclidean"  # rows with NaN are refused before
    if issparse(X) and metric != "precomputed" and not traits_of(metric).sparse:
        accepted = ", ".join(repr(name) for name in METRICS if traits_of(name).sparse)
        raise ValueError(f"X is sparse, must be dense for {metric}; metrics for sparse X are {accepted} and callables.")
    if metric == "haversine":
        _check_places(X)
    for name in {"V", "VI"} & params.keys():  # SciPy accepts lists of some sizes only
        params[name] = None if params[name] is None else np.asarray(params[name], dtype=np.float64)
    if metric == "seuclidean" and params.get("V") is None:
        with np.errstate(over="ignore"):
            if weights is None:
                variances = X.var(axis=0, ddof=1, dtype=np.float64)
            else:
                variances = np.diag(_covariance(X, weights)).copy()
        # A constant column adds 0 to every distance, whatever its variance. The variance is set to 1, because a divisor
        # cannot be 0, and because the rounding of the mean may have made the variance tiny instead of 0.
        variances[(variances == 0.0) | (np.ptp(X, axis=0) == 0.0)] = 1.0
        if not np.isfinite(variances).all():
            raise ValueError("The variances of the columns of X, which are the default of V, overflow. Scale X down.")
        params["V"] = variances
    if metric == "mahalanobis" and params.get("VI") is None:
        given = params.pop("V", None)
        with one_blas_thread():
            if given is not None:
                covariance = given
            else:
                covariance = np.cov(X.T, dtype=np.float64) if weights is None else _covariance(X, weights)
            params["VI"] = np.linalg.pinv(np.atleast_2d(covariance))
    # SciPy does not check the shape, and would read beyond the end of a smaller matrix.
    if metric == "mahalanobis" and params["VI"].shape != (X.shape[1], X.shape[1]):
        raise ValueError(f"VI has shape {params['VI'].shape}, must have {(X.shape[1], X.shape[1])}.")
    return metric, params


def _check_places(X: Any) -> None:
    """Raise a ValueError unless rows are latitude and longitude; warn if they are not in radians."""
    if X.shape[1] != 2:
        columns = f"{X.shape[1]} column" + "s" * (X.shape[1] != 1)
        raise ValueError(f"X has {columns}, must have 2 for haversine: the latitude and the longitude, in radians.")
    latitude, longitude = np.abs(X).max(axis=0, initial=0.0)
    # Longitudes are counted to pi in both directions, or to 2 pi in one. The factor allows for rounding to float32.
    if latitude > math.pi / 2 * (1 + 1e-6) or longitude > 2 * math.pi * (1 + 1e-6):
        warn(
            f"metric == 'haversine' takes X for radians, but its latitudes reach {latitude:g} and its longitudes reach "
            f"{longitude:g} (beyond pi/2 or 2 pi); numpy.radians(X) turns degrees into radians"
        )


@contextmanager
def errors_that_name(metric: Metric, metric_params: dict[str, Any] | None) -> Iterator[None]:
    """Put the metric and its parameters, as the user gave them, before the messages of errors that libraries raise."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if not isinstance(metric, str) or (metric == "precomputed" and not metric_params):
            raise
        source = f"metric == {metric!r}, metric_params == {metric_params!r}: "
        if isinstance(error, RowError):  # keeps the row separate, because a caller may have to change its number
            raise RowError(source + error.message, error.row, error.other) from error
        raise ValueError(f"{source}{error}") from error
