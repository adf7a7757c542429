"""The start and the arrangement of a fit, which the parameters ``init`` and ``anchors`` and the targets choose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import precision_of
from ._parameters import ANCHORS, INITS, check_map
from ._row_arguments import RowArguments
from .anchors import interpolated
from .initialization import pca_arrangement, pca_start, random_start, separate, spectral_start
from .objectives import Matrix
from .parallel import Workers


def with_arrays(estimator: Any, told: RowArguments, random_state: np.random.RandomState) -> RowArguments:
    """Return what a fit is told about rows, with the parameters that are arrays with an entry for each row."""
    start, arrangement = None, None
    if not isinstance(estimator.init, str):
        start = check_map("init", estimator.init, INITS, told.n, estimator.n_components)
        start = separate(start, random_state, precision=precision_of(estimator.init))
        start = _at_targets(start, told, None, random_state)
    if not (estimator.anchors is None or isinstance(estimator.anchors, str)):
        arrangement = check_map("anchors", estimator.anchors, (*ANCHORS, None), told.n, estimator.n_components)
        of_counted = arrangement if told.counted is None else arrangement[told.counted]
        if not np.ptp(of_counted, axis=0).any():
            rows = "" if told.counted is None else " for the rows with a positive weight"
            raise ValueError(f"anchors must not all coincide{rows}, because they have no arrangement then.")
    return replace(told, start=start, arrangement=arrangement)


def starts_with_components(estimator: Any, told: RowArguments) -> bool:
    """Return whether the start is made of principal components of the rows."""
    return told.start is None and told.targets is None and bool(estimator.init == "pca")


def with_components(
    estimator: Any, told: RowArguments, X: Any, groups: NDArray[np.intp] | None, random_state: np.random.RandomState
) -> RowArguments:
    """Return what a fit is told about rows, with the start and the anchors that are principal components.

    Equal rows of X have the same number in ``groups``.
    """
    if isinstance(estimator.anchors, str):
        told = replace(told, arrangement=pca_arrangement(X, estimator.n_components, random_state, told.weights))
    if starts_with_components(estimator, told):
        start = pca_start(X, estimator.n_components, random_state, told.weights)
        told = replace(told, start=separate(start, random_state, groups))
    return told


def start_by_affinities(
    estimator: Any,
    affinities: Matrix,
    told: RowArguments,
    groups: NDArray[np.intp] | None,
    random_state: np.random.RandomState,
    workers: Workers,
) -> NDArray[np.float64]:
    """Return a start that needs the affinities, or nothing but the number of rows.

    Equal rows have the same number in ``groups``, and stay together at their targets.
    """
    if told.targets is not None:
        springs = estimator._objective.springs(affinities, told.weights, workers)
        return _at_targets(interpolated(springs, told.targets, workers), told, groups, random_state)
    if estimator.init == "spectral":
        masses = estimator._objective.masses(affinities, told.weights)
        return spectral_start(masses, estimator.n_components, random_state, told.weights)
    return random_start(told.n, estimator.n_components, random_state)


def _at_targets(
    start: NDArray[np.float64],
    told: RowArguments,
    groups: NDArray[np.intp] | None,
    random_state: np.random.RandomState,
) -> NDArray[np.float64]:
    """Return a start in which the rows with a target are at their targets, unless they would coincide.

    If points that share a target and all their neighbors began in one place, equal forces would keep them together.
    Therefore they begin slightly apart, except for equal rows and for points that are held at their targets.
    """
    if told.targets is None or told.strengths is None:
        return start
    start = separate(np.where(np.isnan(told.targets), start, told.targets), random_state, groups)
    held = ~np.isnan(told.targets) & np.isinf(told.strengths)[:, None]
    return np.where(held, told.targets, start)
