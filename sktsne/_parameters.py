"""Checks of the estimators' parameters, and the parts of a fit that the parameters choose.

Each error names the parameter, its value and what is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from inspect import signature
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from ._checks import as_input, as_random_state, check_choice, check_dof, check_n_jobs, check_number, warn
from ._reports import callbacks_by_name
from .affinities import Affinities, Perplexity, Uniform
from .kernels import KERNELS, fastest_kernel
from .kernels.contract import KernelFactory, KernelWithOptions
from .neighbors import METRICS, SEARCHES, AllPairs, GivenDistances, NeighborSearch, TransformerSearch, faster_search

METHODS = ("auto", *KERNELS)
INITS = ("pca", "spectral", "random")
ANCHORS = ("pca",)
AFFINITIES = ("perplexity", "precomputed")
NEIGHBORS = ("auto", *SEARCHES)
# The largest perplexity is n_samples - MARGIN, because a row has only n_samples - 1 neighbors, and with this perplexity
# all of them would have the same affinity. There is no warning if the perplexity that is used is at least NEARLY times
# the perplexity that was asked for.
MARGIN = 1.5
NEARLY = 0.9


# For each parameter that is a number: its kind, the least and the largest value, and whether the least is accepted. An
# exaggeration below 1 is not accepted, because its cost has no minimum: the cost of any map falls as the map grows.
NUMBERS: dict[str, tuple[Any, float, float, bool]] = {
    "n_components": (Integral, 1, math.inf, True),
    "early_exaggeration": (Real, 1, math.inf, True),
    "early_exaggeration_iter": (Integral, 0, math.inf, True),
    "exaggeration": (Real, 1, math.inf, True),
    "momentum": (Real, 0, 1, True),
    "max_iter": (Integral, 1, math.inf, True),
    "n_iter_without_progress": (Integral, -1, math.inf, True),
    "tol": (Real, 0, math.inf, True),
    "min_grad_norm": (Real, 0, math.inf, True),
    "callback_every": (Integral, 1, math.inf, True),
    "angle": (Real, 0, 1, True),
    "anchor_strength": (Real, 0, math.inf, True),
}


def check_parameters(estimator: Any) -> None:
    """Raise a ValueError or TypeError for a parameter whose value is not accepted.

    Parameters
    ----------
    estimator : SNE or TSNE
        The estimator. Its parameters are checked without its data, before any work is done.
    """
    for name, (kind, low, high, low_included) in NUMBERS.items():
        check_number(name, getattr(estimator, name), kind, low, high, low_included=low_included)
    for perplexity in _perplexities(estimator.perplexity):
        check_number("perplexity", perplexity, Real, 1)
    check_dof(estimator.dof)
    _check_affinities(estimator)
    _check_optimization(estimator)
    _check_reports(estimator)
    _check_metric(estimator)
    _check_method(estimator)
    check_n_jobs(estimator.n_jobs)
    _check_neighbors(estimator)
    as_random_state(estimator.random_state)


def _check_optimization(estimator: Any) -> None:
    if estimator.momentum == 1:
        raise ValueError(
            f"momentum == {estimator.momentum!r}, must be below 1: otherwise nothing slows the points down."
        )
    if estimator.max_step_norm is not None:
        check_number("max_step_norm", estimator.max_step_norm, Real, 0, low_included=False)
    if isinstance(estimator.learning_rate, str):
        check_choice("learning_rate", estimator.learning_rate, ("auto",), " or a positive number")
    else:
        check_number("learning_rate", estimator.learning_rate, Real, 0, low_included=False)
    if isinstance(estimator.init, str):
        check_choice("init", estimator.init, INITS, " or an array of shape (n_samples, n_components)")
    if isinstance(estimator.anchors, str):
        check_choice("anchors", estimator.anchors, ANCHORS, ", an array of shape (n_samples, n_components) or None")
    parameter = precomputed(estimator)
    for name, others in ("init", "'spectral', 'random'"), ("anchors", "None"):
        value = getattr(estimator, name)
        if isinstance(value, str) and value == "pca" and parameter:
            raise ValueError(
                f"{name} == 'pca' needs the rows, and {parameter} does not have them; {name} must be {others} "
                f'or an array of shape (n_samples, n_components). The parameter {name}="pca" cannot be used with '
                f'{parameter.partition(" ")[0]}="precomputed".'
            )


def _check_reports(estimator: Any) -> None:
    callback, warm_start, checkpoint = estimator.callback, estimator.warm_start, estimator.checkpoint
    for named, one in callbacks_by_name(callback).items():
        if not callable(one):
            others = ", a list of callables or None" if one is callback else ""
            raise TypeError(f"{named}, must be callable{others}.")
        if isinstance(one, type):
            raise TypeError(f"{named}, must be an instance, not the class.")
        for name in "stage", "tick":
            method = getattr(one, name, None)
            if method is not None and not callable(method):
                raise TypeError(f"{named} has the attribute {name} == {method!r}, must be a method or absent.")
    if not isinstance(warm_start, (bool, np.bool_)):
        raise TypeError(f"warm_start == {warm_start!r}, must be True or False, not {type(warm_start).__name__}.")
    if checkpoint is not None and not isinstance(checkpoint, (str, PathLike)):
        raise TypeError(f"checkpoint == {checkpoint!r}, must be a path or None.")
    if checkpoint is not None and (not str(checkpoint) or not Path(checkpoint).parent.is_dir()):
        raise ValueError(f"checkpoint == {checkpoint!r}, must be the path of a file in a folder that exists.")
    if not isinstance(estimator.verbose, bool):
        check_number("verbose", estimator.verbose, Integral, 0)


def _check_metric(estimator: Any) -> None:
    if not callable(estimator.metric):
        check_choice("metric", estimator.metric, METRICS, " or a callable")
    if estimator.metric_params is not None and not isinstance(estimator.metric_params, dict):
        raise TypeError(f"metric_params must be a dict or None, not {estimator.metric_params!r}.")


def _check_method(estimator: Any) -> None:
    method, n_components = estimator.method, estimator.n_components
    if not callable(method):
        check_choice("method", method, METHODS, " or a kernel factory")
    factory = KERNELS.get(method) if isinstance(method, str) else method
    options, limit = getattr(factory, "options", ()), getattr(factory, "max_components", None)
    if not isinstance(options, tuple | list):
        raise TypeError(f"method == {method!r} has options == {options!r}, must be a tuple of names of parameters.")
    if limit is not None:
        check_number(f"max_components of method == {method!r}", limit, Integral, 1)
    unknown = set(options) - set(estimator.get_params(deep=False))
    if unknown:
        names = ", ".join(sorted(unknown))
        raise ValueError(f"method == {method!r} has options that are not parameters of the estimator: {names}.")
    if limit is None or n_components <= limit:
        return
    limits = {repr(name): getattr(kernel, "max_components", None) for name, kernel in KERNELS.items()}
    others = [name for name, most in limits.items() if most is None or most >= n_components]
    raise ValueError(
        f"method == {method!r} takes at most {limit} components, and n_components == {n_components}: "
        f"method must be 'auto' or {' or '.join(others)}. 'n_components' should be at most {limit} with this method."
    )


def _perplexities(value: Any) -> list[Any]:
    """Return the list of perplexities for the value of the parameter, which is one perplexity or a sequence of them."""
    if isinstance(value, str) or not isinstance(value, (Sequence, np.ndarray)) or getattr(value, "ndim", 1) == 0:
        return [value]
    if len(value) == 0:
        raise ValueError(f"perplexity == {value!r}, must be a number or a sequence with at least one number.")
    return list(value)


def _check_affinities(estimator: Any) -> None:
    value, n_neighbors = estimator.affinities, estimator.n_neighbors
    if n_neighbors is not None:
        check_number("n_neighbors", n_neighbors, Integral, 1)
        _check_nothing_beside_n_neighbors(estimator)
    if hasattr(value, "count_neighbors") and hasattr(value, "probabilities") and not isinstance(value, type):
        value.count_neighbors(2)  # raises an error if a parameter of the object itself is not accepted
        return
    check_choice("affinities", value, AFFINITIES, ", or an object such as sktsne.affinities.Uniform(15)")
    if value == "precomputed" and not (
        isinstance(estimator.metric, str)
        and estimator.metric == "euclidean"
        and not estimator.metric_params
        and estimator.neighbors == "auto"
    ):
        raise ValueError(
            "affinities == 'precomputed' does not use metric, metric_params and neighbors, which must keep their "
            f"defaults, got metric == {estimator.metric!r}, metric_params == {estimator.metric_params!r}, "
            f"neighbors == {estimator.neighbors!r}."
        )


def _check_nothing_beside_n_neighbors(estimator: Any) -> None:
    """Raise a ValueError unless the other parameters that set the affinities have their defaults."""
    parameters = signature(type(estimator)).parameters
    for name in "perplexity", "affinities":
        if name not in parameters:  # the constructor of a subclass may have fewer parameters
            continue
        value, default = getattr(estimator, name), parameters[name].default
        if not isinstance(value, Real | str) or value != default:
            raise ValueError(
                f"n_neighbors == {estimator.n_neighbors!r} and {name} == {value!r}: only one of them may be given. "
                f"{name} must keep its default, {default!r}, or n_neighbors must be None."
            )


def precomputed(estimator: Any) -> str:
    """Return the parameter that makes X a square matrix, as the text "name == value", or "" if X holds rows."""
    for name in "affinities", "metric":
        value = getattr(estimator, name)
        if isinstance(value, str) and value == "precomputed":
            return f"{name} == 'precomputed'"
    return ""


def takes_all_pairs(estimator: Any) -> bool:
    """Return whether a fit uses the affinities of all pairs of rows, and not only those of nearest neighbors."""
    of_neighbors = estimator.n_neighbors is not None or not isinstance(estimator.affinities, str)
    return isinstance(estimator.method, str) and estimator.method == "exact" and not of_neighbors


def _check_neighbors(estimator: Any) -> None:
    value, metric, params = estimator.neighbors, estimator.metric, estimator.metric_params
    name = f"neighbors == {value!r}"
    transforms = hasattr(value, "fit_transform") and hasattr(value, "get_params") and not isinstance(value, type)
    if not transforms:
        check_choice("neighbors", value, NEIGHBORS, " or a transformer that returns a graph of distances")
        if value != "clustered":
            return
    if takes_all_pairs(estimator):
        raise ValueError(
            f"{name} finds only some of the neighbors, and method == 'exact' uses all pairs of rows: neighbors must be "
            "'auto' or 'exact', or method must not be 'exact'."
        )
    if not transforms and (callable(metric) or metric == "precomputed"):
        raise ValueError(
            f"{name} needs rows and a metric by name, and metric == {metric!r}: neighbors must be 'auto' or 'exact'."
        )
    if transforms and not (isinstance(metric, str) and metric == "euclidean" and not params):
        raise ValueError(
            f"{name} has a metric of its own, and metric == {metric!r}, metric_params == {params!r}: metric "
            "must be 'euclidean', the default, and metric_params None."
        )
    if transforms and value.get_params().get("mode") == "connectivity":
        raise ValueError(f"{name} returns no distances: its mode must be 'distance'.")


def choose_search(
    estimator: Any, X: Any, n_neighbors: int, weights: NDArray[np.float64] | None = None
) -> tuple[str, NeighborSearch]:
    """Return the name of the neighbor search that the parameters choose for the rows X, and the search itself."""
    metric, params, value = estimator.metric, estimator.metric_params, estimator.neighbors
    if precomputed(estimator):
        return "exact", GivenDistances(None if takes_all_pairs(estimator) else n_neighbors)
    if takes_all_pairs(estimator):
        return "exact", AllPairs(metric, params, weights)
    if not isinstance(value, str):
        return type(value).__name__, TransformerSearch(value, n_neighbors)
    name = faster_search(X, metric) if value == "auto" else value
    return name, SEARCHES[name](n_neighbors, metric, params, weights)


def choose_affinities(estimator: Any, n_samples: float) -> Affinities:
    """Return the rule that gives rows their affinities; warn if ``n_samples`` is too small for its parameters.

    ``n_samples`` is the sum of the weights of the rows.
    """
    rule = estimator.affinities
    if estimator.n_neighbors is not None:
        used = int(min(estimator.n_neighbors, max(1, n_samples - 1)))
        if used < estimator.n_neighbors:
            warn(
                f"n_neighbors == {estimator.n_neighbors} needs at least {estimator.n_neighbors + 1} samples and X has "
                f"{n_samples:.12g}: using n_neighbors={used}."
            )
        return Uniform(used)
    if not isinstance(rule, str):
        wanted = getattr(rule, "n_neighbors", 0)
        if wanted > n_samples - 1:
            warn(
                f"affinities == {rule!r} takes {wanted} neighbors, and X has {n_samples:.12g} samples: using all "
                f"{n_samples - 1:.12g} other samples."
            )
        chosen: Affinities = rule
        return chosen
    return Perplexity([_effective_perplexity(p, n_samples) for p in _perplexities(estimator.perplexity)])


def _effective_perplexity(perplexity: float, n_samples: float) -> float:
    used = max(1.0, min(float(perplexity), n_samples - MARGIN))
    if used < NEARLY * perplexity:
        warn(
            f"perplexity == {perplexity:g} needs at least {math.ceil(perplexity + MARGIN)} samples and X has "
            f"{n_samples:.12g}: using perplexity={used:.4g}."
        )
    return used


def check_map(
    name: str, value: Any, choices: tuple[str | None, ...], n_samples: int, n_components: int
) -> NDArray[np.float64]:
    """Return a copy of the user's map as a float64 array; raise a ValueError unless it has the right shape."""
    try:
        positions = check_array(
            as_input(name, value), dtype=np.float64, copy=True, input_name=name, ensure_min_samples=0
        )
    except (TypeError, ValueError) as error:
        accepted = f"{', '.join(map(repr, choices))} or an array of shape {(n_samples, n_components)}"
        given = repr(value) if value is None or np.isscalar(value) else type(value).__name__  # an array is long
        raise ValueError(f"{name} == {given}, must be one of {accepted}: {error}") from error
    if positions.shape != (n_samples, n_components):
        raise ValueError(
            f"{name} has shape {positions.shape}, must be (n_samples, n_components) == {(n_samples, n_components)}."
        )
    return np.ascontiguousarray(positions)


def choose_method(estimator: Any, n_samples: int) -> tuple[str, KernelFactory]:
    """Return the name and the factory of the kernel that ``method`` chooses, with the options that it declares."""
    method = estimator.method
    if method == "auto":
        method = fastest_kernel(n_samples, estimator.n_components, estimator.dof)
    factory = method if callable(method) else KERNELS[method]
    name = getattr(method, "__name__", type(method).__name__) if callable(method) else method
    options = {option: getattr(estimator, option) for option in getattr(factory, "options", ())}
    return name, KernelWithOptions(factory, options) if options else factory
