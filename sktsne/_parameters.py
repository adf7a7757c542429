"""Checks of the estimators' parameters: an error names the parameter, its value and what is accepted."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import takewhile
from numbers import Integral, Real
from os import PathLike
from traceback import walk_stack
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.neighbors import VALID_METRICS
from sklearn.utils import check_array

from ._checks import check_choice, check_dof, check_number
from ._faiss import FAISS_METRICS
from .affinities import Affinities, Perplexity
from .kernels import KERNELS, KernelFactory, fastest_kernel
from .kernels.barnes_hut import BarnesHutFactory
from .neighbors import ALIASES, TREE_FEATURES

METHODS = ("auto", *KERNELS)
METRICS = sorted({*VALID_METRICS["brute"], *ALIASES, "precomputed"})
INITS = ("pca", "spectral", "random")
AFFINITIES = ("perplexity", "precomputed")
NEIGHBORS = ("auto", "exact", "faiss")
# Rows from which "auto" prefers faiss: on 50 components of MNIST it takes less than half of the exact search's time
# there, and a fifth with 70,000 rows. With fewer rows the exact search is done in a second or two.
FAISS_FROM = 20_000


def check_parameters(estimator: Any) -> None:
    """Raise a ValueError or TypeError for the first parameter that is out of its range.

    Parameters
    ----------
    estimator : SNE or TSNE
        Checked before any work is done and without its data.
    """
    e = estimator
    check_number("n_components", e.n_components, Integral, 1)
    for perplexity in _perplexities(e.perplexity):
        check_number("perplexity", perplexity, Real, 1)
    _check_affinities(e)
    check_dof(e.dof)
    check_number("early_exaggeration", e.early_exaggeration, Real, 1)
    check_number("early_exaggeration_iter", e.early_exaggeration_iter, Integral, 0)
    # Below 1 there is no minimum: a map of any shape costs the less the larger it is.
    check_number("exaggeration", e.exaggeration, Real, 1)
    check_number("momentum", e.momentum, Real, 0, 1)
    if e.momentum == 1:
        raise ValueError(f"momentum == {e.momentum!r}, must be below 1: otherwise nothing slows the points down.")
    if e.max_step_norm is not None:
        check_number("max_step_norm", e.max_step_norm, Real, 0, low_included=False)
    if isinstance(e.learning_rate, str):
        check_choice("learning_rate", e.learning_rate, ("auto",), " or a positive number")
    else:
        check_number("learning_rate", e.learning_rate, Real, 0, low_included=False)
    check_number("max_iter", e.max_iter, Integral, 1)
    check_number("n_iter_without_progress", e.n_iter_without_progress, Integral, -1)
    check_number("tol", e.tol, Real, 0)
    check_number("min_grad_norm", e.min_grad_norm, Real, 0)
    if e.callback is not None and not callable(e.callback):
        raise TypeError(f"callback == {e.callback!r}, must be callable or None.")
    check_number("callback_every", e.callback_every, Integral, 1)
    if not isinstance(e.warm_start, (bool, np.bool_)):
        raise TypeError(f"warm_start == {e.warm_start!r}, must be True or False, not {type(e.warm_start).__name__}.")
    if e.checkpoint is not None and not isinstance(e.checkpoint, (str, PathLike)):
        raise TypeError(f"checkpoint == {e.checkpoint!r}, must be a path or None.")
    if not callable(e.metric):
        check_choice("metric", e.metric, METRICS, " or a callable")
    if e.metric_params is not None and not isinstance(e.metric_params, dict):
        raise TypeError(f"metric_params must be a dict or None, not {e.metric_params!r}.")
    if isinstance(e.init, str):
        check_choice("init", e.init, INITS, " or an array of shape (n_samples, n_components)")
        if e.init == "pca" and precomputed(e):
            raise ValueError(
                f"init == 'pca' needs the rows, and {precomputed(e)} does not have them; "
                "init must be 'spectral', 'random' or an array of shape (n_samples, n_components)."
            )
    if not callable(e.method):
        check_choice("method", e.method, METHODS, " or a kernel factory")
        limit = KERNELS[e.method].max_components if e.method in KERNELS else None
        if limit is not None and e.n_components > limit:
            raise ValueError(
                f"method == {e.method!r} takes at most {limit} components, and n_components == {e.n_components}: "
                f"method must be 'auto' or {' or '.join(_kernels_for(e.n_components))}."
            )
    check_number("angle", e.angle, Real, 0, 1)
    if not isinstance(e.verbose, bool):
        check_number("verbose", e.verbose, Integral, 0)
    if e.n_jobs is not None:
        if not isinstance(e.n_jobs, Integral) or isinstance(e.n_jobs, bool):
            raise TypeError(f"n_jobs == {e.n_jobs!r}, must be an integer or None, not {type(e.n_jobs).__name__}.")
        if e.n_jobs == 0:
            raise ValueError("n_jobs == 0, must be None or an integer other than 0.")
    _check_neighbors(e)


def _kernels_for(n_components: int) -> list[str]:
    limits = {repr(name): kernel.max_components for name, kernel in KERNELS.items()}
    return [name for name, limit in limits.items() if limit is None or limit >= n_components]


def _perplexities(value: Any) -> list[Any]:
    """Return the perplexities that a parameter gives, one or several."""
    if isinstance(value, str) or not isinstance(value, (Sequence, np.ndarray)) or getattr(value, "ndim", 1) == 0:
        return [value]
    if len(value) == 0:
        raise ValueError(f"perplexity == {value!r}, must be a number or a sequence with at least one.")
    return list(value)


def _check_affinities(e: Any) -> None:
    value = e.affinities
    if hasattr(value, "count_neighbors") and hasattr(value, "probabilities") and not isinstance(value, type):
        value.count_neighbors(2)  # raises where its own parameters are out of range
        return
    check_choice("affinities", value, AFFINITIES, ", or an object such as sktsne.affinities.Uniform(15)")
    if value == "precomputed" and not (
        isinstance(e.metric, str) and e.metric == "euclidean" and not e.metric_params and e.neighbors == "auto"
    ):
        raise ValueError(
            "affinities == 'precomputed' leaves nothing to metric, metric_params and neighbors, which must keep their "
            f"defaults, got metric == {e.metric!r}, metric_params == {e.metric_params!r}, neighbors == {e.neighbors!r}."
        )


def precomputed(e: Any) -> str:
    """Return what makes X a square matrix and not rows, "" where nothing does."""
    for name in "affinities", "metric":
        value = getattr(e, name)
        if isinstance(value, str) and value == "precomputed":
            return f"{name} == 'precomputed'"
    return ""


def takes_all_pairs(e: Any) -> bool:
    """Return whether the affinities are those of all pairs of rows, and not of nearest neighbors."""
    return isinstance(e.method, str) and e.method == "exact" and isinstance(e.affinities, str)


def _check_neighbors(e: Any) -> None:
    value, metric = e.neighbors, e.metric
    name = f"neighbors == {value!r}"
    transforms = hasattr(value, "fit_transform") and hasattr(value, "get_params") and not isinstance(value, type)
    if not transforms:
        check_choice("neighbors", value, NEIGHBORS, " or a transformer that returns a graph of distances")
        if value != "faiss":
            return
    if takes_all_pairs(e):
        raise ValueError(
            f"{name} finds some of the neighbors, and method == 'exact' takes all pairs: neighbors must be 'auto' or "
            "'exact', or method another."
        )
    if not transforms and not _faiss_serves(metric, e.metric_params):
        raise ValueError(
            f"{name} has the metrics {', '.join(map(repr, FAISS_METRICS))}, without metric_params, and metric == "
            f"{metric!r}, metric_params == {e.metric_params!r}: neighbors must be 'auto' or 'exact'."
        )
    if transforms and not (isinstance(metric, str) and metric == "euclidean" and not e.metric_params):
        raise ValueError(
            f"{name} has a metric of its own, and metric == {metric!r}, metric_params == {e.metric_params!r}: metric "
            "must be 'euclidean', the default, and metric_params None."
        )
    if transforms and value.get_params().get("mode") == "connectivity":
        raise ValueError(f"{name} returns no distances: its mode must be 'distance'.")


def _faiss_serves(metric: Any, metric_params: dict[str, Any] | None) -> bool:
    """Return whether faiss can search with the metric."""
    return isinstance(metric, str) and metric in FAISS_METRICS and not metric_params


def choose_neighbors(estimator: Any, X: Any) -> Any:
    """Return how the neighbors of X are searched: "exact", "faiss" or a transformer; raise where that can't be."""
    value = estimator.neighbors
    if not isinstance(value, str):
        return value
    if value == "faiss" and issparse(X):
        raise ValueError("neighbors == 'faiss' takes dense rows, and X is sparse: neighbors must be 'auto' or 'exact'.")
    if value == "auto":
        served = _faiss_serves(estimator.metric, estimator.metric_params) and not issparse(X)
        worth_it = X.shape[0] >= FAISS_FROM and X.shape[1] > TREE_FEATURES
        return "faiss" if served and worth_it and find_spec("faiss") else "exact"
    return value


def choose_affinities(estimator: Any, n_samples: int) -> Affinities:
    """Return what gives the rows their probabilities; warn where ``n_samples`` do not allow what was asked for."""
    kind = estimator.affinities
    if not isinstance(kind, str):
        wanted = getattr(kind, "n_neighbors", 0)
        if wanted > n_samples - 1:
            _warn(
                f"affinities == {kind!r} takes {wanted} neighbors, and X has {n_samples} samples: using all "
                f"{n_samples - 1} others."
            )
        chosen: Affinities = kind
        return chosen
    return Perplexity([_effective_perplexity(p, n_samples) for p in _perplexities(estimator.perplexity)])


def _effective_perplexity(perplexity: float, n_samples: int) -> float:
    if perplexity < n_samples - 1:
        return float(perplexity)
    used = max(1.0, (n_samples - 1) / 3)
    _warn(
        f"perplexity == {perplexity:g} needs more than {perplexity + 1:g} samples and X has {n_samples}: using "
        f"perplexity={used:.4g}."
    )
    return used


def _warn(message: str) -> None:
    """Warn of the user's line: how many frames lie between depends on Python's version and on who calls."""
    frames = walk_stack(sys._getframe())
    names = (frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in frames)
    level = sum(1 for _ in takewhile(lambda name: name in ("sktsne", "sklearn"), names))
    warnings.warn(message, UserWarning, stacklevel=level + 1)


def check_start(init: Any, n_samples: int, n_components: int) -> NDArray[np.float64]:
    """Return a user's start as a new float64 array of shape (n_samples, n_components); raise a ValueError otherwise."""
    try:
        start = check_array(init, dtype=np.float64, copy=True, input_name="init", ensure_min_samples=0)
    except (TypeError, ValueError) as error:
        accepted = f"{', '.join(map(repr, INITS))} or an array of shape {(n_samples, n_components)}"
        raise ValueError(f"init == {init!r}, must be one of {accepted}: {error}") from error
    if start.shape != (n_samples, n_components):
        raise ValueError(
            f"init has shape {start.shape}, must be (n_samples, n_components) == {(n_samples, n_components)}."
        )
    return np.ascontiguousarray(start)


def choose_method(estimator: Any, n_samples: int) -> tuple[str, KernelFactory]:
    """Return the name and the factory of the kernel that ``method`` stands for."""
    method = estimator.method
    if callable(method):
        return getattr(method, "__name__", type(method).__name__), method
    if method == "auto":
        method = fastest_kernel(n_samples, estimator.n_components, estimator.dof)
    if method == "barnes_hut":
        return method, BarnesHutFactory(estimator.angle)
    return method, KERNELS[method]
