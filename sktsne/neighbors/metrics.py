"""The metrics: what each is, its one name, and its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.neighbors import VALID_METRICS

from .._checks import warn
from .._process import one_blas_thread
from .._row_errors import RowError

Metric = str | Callable[[ArrayLike, ArrayLike], float]


class Traits(NamedTuple):
    """What is known of a metric; the defaults hold for functions of the user's, of which nothing is known.

    Parameters
    ----------
    follows_scale : bool
        Whether distances follow a power of the scale of the rows, or do not depend on it: affinities do not, either.
    translation_invariant : bool
        Whether no translation of the rows changes a distance.
    euclidean : bool
        Whether it is a function of the Euclidean distances of the rows after a map: a matter of matrix products.
    boolean : bool
        Whether rows are true and false.
    counts : bool
        Whether rows that are true and false have distances that follow from the numbers of what is true: also a
        matter of products.
    tree : bool
        Whether scikit-learn has a tree that finds all neighbors: the triangle inequality holds.
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
UNKNOWN, FUNCTION = Traits(), Traits(sparse=True)
# Names that only some of scikit-learn's searches know, and other names of a metric.
ALIASES = {"l2": "euclidean", "infinity": "chebyshev", "p": "minkowski", "sokalmichener": "rogerstanimoto"}
METRICS = sorted({*VALID_METRICS["brute"], *ALIASES, "precomputed"})


def canonical(metric: Metric) -> Metric:
    """Return the one name of a metric that has several."""
    return ALIASES.get(metric, metric) if isinstance(metric, str) else metric


def traits_of(metric: Metric) -> Traits:
    """Return what is known of a metric."""
    return TRAITS.get(str(canonical(metric)), UNKNOWN) if isinstance(metric, str) else FUNCTION


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
    if issparse(X) and metric != "precomputed" and not traits_of(metric).sparse:
        accepted = ", ".join(repr(name) for name in METRICS if traits_of(name).sparse)
        raise ValueError(f"{metric} takes no sparse rows; metric must be one of {accepted} or a callable, or X dense.")
    if metric == "haversine":
        _check_places(X)
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
    if metric == "mahalanobis" and params["VI"].shape != (X.shape[1], X.shape[1]):  # SciPy would read beyond its end
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
    """Add the user's parameters to the messages of errors that scikit-learn and SciPy raise."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if not isinstance(metric, str) or (metric == "precomputed" and not metric_params):
            raise
        source = f"metric == {metric!r}, metric_params == {metric_params!r}: "
        if isinstance(error, RowError):  # of a block, perhaps: who called knows the user's number of its row
            raise RowError(source + error.message, error.row) from error
        raise ValueError(f"{source}{error}") from error
