"""The start and the arrangement of a fit, which the parameters ``init`` and ``anchors`` and the targets choose."""

from __future__ import annotations

from collections.abc import Callable
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


def with_arrays(estimator: Any, arguments: RowArguments, random_state: np.random.RandomState) -> RowArguments:
    """Return what a fit is told about rows, with the parameters that are arrays with an entry for each row."""
    start, arrangement = None, None
    if not isinstance(estimator.init, str):
        start = check_map("init", estimator.init, INITS, arguments.n, estimator.n_components)
        start = separate(start, random_state, precision=precision_of(estimator.init))
        start = _at_targets(start, arguments, None, random_state)
    if not (estimator.anchors is None or isinstance(estimator.anchors, str)):
        arrangement = check_map("anchors", estimator.anchors, (*ANCHORS, None), arguments.n, estimator.n_components)
        of_counted = arrangement if arguments.counted is None else arrangement[arguments.counted]
        if not np.ptp(of_counted, axis=0).any():
            rows = "" if arguments.counted is None else " for the rows with a positive weight"
            raise ValueError(f"anchors must not all coincide{rows}, because they have no arrangement then.")
    return replace(arguments, start=start, arrangement=arrangement)


def starts_with_components(estimator: Any, arguments: RowArguments) -> bool:
    """Return whether the start is made of principal components of the rows."""
    return arguments.start is None and arguments.targets is None and bool(estimator.init == "pca")


def with_components(
    estimator: Any,
    arguments: RowArguments,
    X: Any,
    groups_of: Callable[[], NDArray[np.intp] | None],
    random_state: np.random.RandomState,
) -> RowArguments:
    """Return what a fit is told about rows, with the start and the anchors that are principal components.

    ``groups_of()`` returns the group of each row, where equal rows have the same number.
    """
    if isinstance(estimator.anchors, str):
        arguments = replace(
            arguments, arrangement=pca_arrangement(X, estimator.n_components, random_state, arguments.weights)
        )
    if starts_with_components(estimator, arguments):
        start = pca_start(X, estimator.n_components, random_state, arguments.weights)
        arguments = replace(arguments, start=separate(start, random_state, groups_of()))
    return arguments


def start_by_affinities(
    estimator: Any,
    affinities: Matrix,
    arguments: RowArguments,
    groups_of: Callable[[], NDArray[np.intp] | None],
    random_state: np.random.RandomState,
    workers: Workers,
) -> NDArray[np.float64]:
    """Return a start that needs the affinities, or nothing but the number of rows.

    ``groups_of()`` returns the group of each row; rows of the same group are equal, and stay together at their targets.
    """
    if arguments.targets is not None:
        springs = estimator._objective.springs(affinities, arguments.weights, workers)
        return _at_targets(interpolated(springs, arguments.targets, workers), arguments, groups_of(), random_state)
    if estimator.init == "spectral":
        masses = estimator._objective.masses(affinities, arguments.weights)
        return spectral_start(masses, estimator.n_components, random_state, arguments.weights)
    return random_start(arguments.n, estimator.n_components, random_state)


def _at_targets(
    start: NDArray[np.float64],
    arguments: RowArguments,
    groups: NDArray[np.intp] | None,
    random_state: np.random.RandomState,
) -> NDArray[np.float64]:
    """Return a start in which the rows with a target are at their targets, unless they would coincide.

    If points that share a target and all their neighbors began in one place, equal forces would keep them together.
    Therefore they begin slightly apart, except for equal rows and for points that are held at their targets.
    """
    if arguments.targets is None or arguments.strengths is None:
        return start
    start = separate(np.where(np.isnan(arguments.targets), start, arguments.targets), random_state, groups)
    held = ~np.isnan(arguments.targets) & np.isinf(arguments.strengths)[:, None]
    return np.where(held, arguments.targets, start)
