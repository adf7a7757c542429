r"""Gradient descent with momentum and gains; knows arrays only, nothing of embeddings.

    gain   ← gain + 0.2  where gradient and velocity point in opposite directions,  0.8 gain  elsewhere
    v      ← momentum · v − rate · gain · ∂C/∂Y
    Y      ← Y + v, centred

The gains are the delta-bar-delta rule of Jacobs (1988), as in van der Maaten & Hinton (2008, section 3.4). The rate is
a number, or a number over the curvature that the objective states for each point: the steps are then those of Jacobi's
method, free of the scales of affinities and exaggeration, and shorter where many springs pull at a point.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ._native import choose
from ._native.parallel import Workers

GAIN_INCREASE = 0.2
GAIN_DECREASE = 0.8
MIN_GAIN = 0.01
# With steps relative to the curvature gains need not make up for wrong scales, and may double a rate at most.
MAX_GAIN_RELATIVE = 2.0
CHECK_EVERY = 50
STEP_COST = 4  # elementary operations of a step, per coordinate


class Objective(Protocol):
    """A function to minimise, with its gradient, of n points with d components."""

    gradient_scale: float
    """Times the Frobenius norm of the gradient: the root mean square of the points' gradients, free of n."""

    def __call__(self, Y: NDArray[np.float64], exaggeration: float = 1.0, with_cost: bool = False) -> Evaluation:
        """Evaluate at Y; the arrays may be reused by the next call."""


class Evaluation(NamedTuple):
    """What an objective returns.

    Parameters
    ----------
    gradient : ndarray of shape (n, d)
        Of the exaggerated cost.
    curvature : ndarray of shape (n,)
        Positive: a scale for each point's steps.
    cost : float
        The true cost, NaN if it was not asked for.
    exaggerated : float
        The cost whose gradient it is, NaN likewise.
    """

    gradient: NDArray[np.float64]
    curvature: NDArray[np.float64]
    cost: float
    exaggerated: float


class Phase(NamedTuple):
    """A stretch of iterations with constant settings.

    Parameters
    ----------
    n_iter : int
        Iterations, at most.
    exaggeration : float
        Factor on the attraction. Phases other than the last are run in full.
    momentum : float
        Part of the velocity that is kept.
    learning_rate : float
        Step per unit of gradient, or, if ``relative``, of gradient over curvature.
    relative : bool, default=False
        Whether the steps are relative to the curvature.
    """

    n_iter: int
    exaggeration: float
    momentum: float
    learning_rate: float
    relative: bool = False


class Progress(NamedTuple):
    """Where the optimisation stands; what `minimize` reports every 50 iterations. The norm is the scaled one."""

    iteration: int
    cost: float
    gradient_norm: float


class Result(NamedTuple):
    """What `minimize` returns: the embedding, its cost and scaled gradient norm, iterations done, why it ended."""

    Y: NDArray[np.float64]
    cost: float
    gradient_norm: float
    n_iter: int
    reason: str


def descend_reference(
    gradient: NDArray[np.float64],
    curvature: NDArray[np.float64],
    relative: bool,
    learning_rate: float,
    momentum: float,
    increase: float,
    decrease: float,
    least: float,
    largest: float,
    max_step: float,
    shift: NDArray[np.float64],
    Y: NDArray[np.float64],
    velocity: NDArray[np.float64],
    gain: NDArray[np.float64],
    start: int,
    stop: int,
) -> NDArray[np.float64]:
    """Change rows ``start`` to ``stop`` of ``Y``, ``velocity`` and ``gain`` in place; return the sum of those of Y."""
    rows = slice(start, stop)
    g, v = gradient[rows], velocity[rows]
    rate = learning_rate / curvature[rows, None] if relative else learning_rate
    gain[rows] = np.clip(np.where(v * g < 0.0, gain[rows] + increase, gain[rows] * decrease), least, largest)
    step = momentum * v - rate * gain[rows] * g
    length = np.linalg.norm(step, axis=1, keepdims=True)
    velocity[rows] = np.where(length > max_step, step * (max_step / np.maximum(length, max_step)), step)
    Y[rows] += velocity[rows] - shift
    total: NDArray[np.float64] = Y[rows].sum(axis=0)
    return total


def _norm(gradient: NDArray[np.float64]) -> float:
    """Return the Frobenius norm, by a sum that no thread takes part in: it decides when to stop."""
    return math.sqrt(np.sum(gradient * gradient))


def minimize(
    objective: Objective,
    Y: NDArray[np.float64],
    phases: Sequence[Phase],
    *,
    n_iter_without_progress: int = 50,
    tol: float = 1e-6,
    min_grad_norm: float = 1e-7,
    max_step_norm: float = math.inf,
    workers: Workers | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Result:
    """Minimise an objective from ``Y``, phase by phase.

    Only the last phase may end early, by what is looked at every 50 iterations: when the gradient has vanished, or when
    the cost that is minimised has not fallen by ``tol`` of the true one in ``n_iter_without_progress``.

    Parameters
    ----------
    objective : Objective
        Gradient and cost.
    Y : ndarray of shape (n, d), float64
        The start; not changed.
    phases : sequence of Phase
        What to do, in this order.
    n_iter_without_progress : int, default=50
        Iterations of the last phase in which the cost must fall.
    tol : float, default=1e-6
        The part of itself by which it must fall.
    min_grad_norm : float, default=1e-7
        The gradient has vanished when its norm times ``objective.gradient_scale`` is at most this part of the points'
        root mean square distance from their centre. Being relative, it does not take the saddle point that all points
        together form, where the gradient is small because the map is, for a minimum.
    max_step_norm : float, default=inf
        The largest distance by which a point moves in an iteration.
    workers : Workers, default=None
        The threads to use; ``None`` is the calling one.
    report : callable, default=None
        Called with a Progress every 50 iterations.

    Returns
    -------
    result : Result
        With the cost and the gradient at the embedding that is returned.

    Raises
    ------
    FloatingPointError
        If the optimisation diverges: cost or embedding are not finite any more.
    """
    descend = choose("descent", "descend", descend_reference)
    workers = workers or Workers()
    Y = np.array(Y, dtype=np.float64, order="C")
    n, d = Y.shape
    Y -= Y.mean(axis=0)
    velocity, gain, shift = np.zeros_like(Y), np.ones_like(Y), np.zeros(d)
    best_cost, best_iteration, iteration = math.inf, 0, 0
    reason = "max_iter"
    for number, phase in enumerate(phases, start=1):
        last = number == len(phases)
        if last:
            best_cost, best_iteration = math.inf, iteration
        largest = MAX_GAIN_RELATIVE if phase.relative else math.inf
        for _ in range(phase.n_iter):
            check = iteration % CHECK_EVERY == 0 and iteration > 0
            with np.errstate(all="ignore"):  # a divergence is found below, and said
                gradient, curvature, cost, minimized = objective(Y, phase.exaggeration, with_cost=check)
                norm = _norm(gradient) * objective.gradient_scale if check else 0.0
            if check:
                if not math.isfinite(cost + norm):
                    raise _divergence(iteration, phase)
                if report:
                    report(Progress(iteration, cost, norm))
                if last and norm <= min_grad_norm * _extent(Y):
                    reason = "min_grad_norm"
                    break
                if best_cost == math.inf or best_cost - minimized > tol * abs(cost):
                    best_cost, best_iteration = minimized, iteration
                elif last and iteration - best_iteration >= n_iter_without_progress:
                    reason = "n_iter_without_progress"
                    break
            step = partial(
                descend, gradient, curvature, phase.relative, phase.learning_rate, phase.momentum,
                GAIN_INCREASE, GAIN_DECREASE, MIN_GAIN, largest, max_step_norm, shift, Y, velocity, gain,
            )  # fmt: skip
            with np.errstate(all="ignore"):
                # The centre is taken off by the next step, which goes through the points anyway.
                shift = sum(workers.run(step, n, STEP_COST * d)) / n
            if not np.isfinite(shift).all():
                raise _divergence(iteration, phase)
            iteration += 1
    Y -= Y.mean(axis=0)
    with np.errstate(all="ignore"):
        gradient, _, cost, _ = objective(Y, with_cost=True)
        norm = _norm(gradient) * objective.gradient_scale
    if not math.isfinite(cost + norm):
        raise _divergence(iteration, phases[-1])
    return Result(Y, cost, norm, iteration, reason)


def _extent(Y: NDArray[np.float64]) -> float:
    """Return the root mean square of the points' distances from the origin."""
    return math.sqrt(np.mean(Y * Y) * Y.shape[1])


def _divergence(iteration: int, phase: Phase) -> FloatingPointError:
    return FloatingPointError(
        f"The optimisation diverged at iteration {iteration} with learning_rate={phase.learning_rate:g}. "
        'Lower learning_rate (learning_rate="auto" is safe).'
    )
