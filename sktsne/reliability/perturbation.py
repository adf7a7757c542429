"""Perturbation: how far a point moves in the map when its row moves a little in the data."""

from __future__ import annotations

from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import check_number
from ..neighbors.spaces import space_of
from ..parallel import Workers, effective_n_threads
from ..placement import RowAttraction, descend
from .leave_one_out import LeaveOneOut
from .moves import MovedRows, Moves
from .rows import rows_of_fit

# A moved row has arrived when its next step is shorter than this fraction of the standard deviation of the map.
PRECISION = 1e-3
# A moved row starts at its old place, and then at the points of its likeliest neighbors that are farther than this from
# the minimum that was found, because minima that are nearer to each other than the width of w would be one.
FAR = 2.0


def perturbation(estimator: Any, X: Any, *, n_directions: int = 3, step: float = 0.5) -> NDArray[np.float64]:
    check_number("n_directions", n_directions, Integral, 1)
    check_number("step", step, Real, 0, low_included=False)
    embedder, rows = rows_of_fit(estimator, X)
    search = embedder._search
    space = space_of(embedder._conditioning(rows), search._metric, search._params)
    with Workers(effective_n_threads(embedder.n_jobs)) as workers:
        loo = LeaveOneOut(embedder, workers)
        farthest = np.zeros(len(loo.points))
        for moved in Moves(embedder, space, n_directions, step, workers):
            distances = np.linalg.norm(_placed(loo, moved, workers) - loo.points[moved.own], axis=1)
            np.maximum.at(farthest, moved.own, distances)
        return farthest / np.sqrt(np.mean(np.sum(loo.points**2, axis=1)))


def _placed(loo: LeaveOneOut, moved: MovedRows, workers: Workers) -> NDArray[np.float64]:
    """Return the places of moved rows, at the lowest minima that were found."""
    precision = PRECISION * loo.points.std()

    def minima(some: NDArray[np.intp], start: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        springs = moved.springs if len(some) == len(moved.own) else moved.springs[some]
        attraction = RowAttraction(springs, loo.similarity, workers, loo.dtype, loo.points)
        return descend(partial(loo.evaluate, moved.own[some], attraction), start, precision)

    positions, costs = minima(np.arange(len(moved.own)), loo.points[moved.own])
    for start in loo.points[moved.likeliest.T]:
        some = np.flatnonzero(np.linalg.norm(start - positions, axis=1) > FAR)
        others, other_costs = minima(some, start[some])
        lower = other_costs < costs[some]
        positions[some[lower]], costs[some[lower]] = others[lower], other_costs[lower]
    return positions
