r"""Gradient descent with momentum and gains; knows arrays only, nothing of embeddings.

    gain   ← gain + 0.2  where gradient and velocity point in opposite directions,  0.8 gain  elsewhere,  ≥ 0.01
    v      ← momentum · v − rate · gain · scale · ∂C/∂Y
    Y      ← Y + v, centred

The gains are the delta-bar-delta rule of Jacobs (1988), as in van der Maaten & Hinton (2008, section 3.4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ._native import choose

GAIN_INCREASE = 0.2
GAIN_DECREASE = 0.8
MIN_GAIN = 0.01
CHECK_EVERY = 50
# A cost that falls by less than this part of itself has not fallen: kernels that compute in float32 resolve no more.
PROGRESS = 1e-6


class Objective(Protocol):
    """A function to minimise, with its gradient, of n points with d components."""

    gradient_scale: float
    """Times the Frobenius norm of the gradient: the root mean square of the points' gradients, free of n."""

    step_scale: NDArray[np.float64] | None
    """Factors on the points' steps, of shape (n, 1): the diagonal of a preconditioner. None is 1 for each."""

    def __call__(
        self, Y: NDArray[np.float64], exaggeration: float = 1.0, with_cost: bool = False
    ) -> tuple[NDArray[np.float64], float]:
        """Return the gradient (n, d) with the attraction exaggerated, and the true cost (NaN if not asked for)."""


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
        Step per unit of gradient.
    """

    n_iter: int
    exaggeration: float
    momentum: float
    learning_rate: float


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
    Y: NDArray[np.float64],
    velocity: NDArray[np.float64],
    gain: NDArray[np.float64],
    momentum: float,
    learning_rate: float,
    increase: float,
    decrease: float,
    least: float,
) -> None:
    """Change ``Y``, ``velocity`` and ``gain`` in place."""
    downhill = velocity * gradient < 0.0
    gain[...] = np.maximum(np.where(downhill, gain + increase, gain * decrease), least)
    velocity *= momentum
    velocity -= learning_rate * gain * gradient
    Y += velocity


def _centre(Y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre Y in place, and return where its centre was; by columns, for which NumPy is much faster."""
    centre = np.array([y.mean() for y in Y.T])
    Y -= centre
    return centre


def _norm(gradient: NDArray[np.float64]) -> float:
    """Return the Frobenius norm, by a sum that no thread takes part in: it decides when to stop."""
    return math.sqrt(np.sum(gradient * gradient))


def minimize(
    objective: Objective,
    Y: NDArray[np.float64],
    phases: Sequence[Phase],
    *,
    n_iter_without_progress: int = 300,
    min_grad_norm: float = 1e-7,
    report: Callable[[Progress], None] | None = None,
) -> Result:
    """Minimise an objective from ``Y``, phase by phase.

    Only the last phase may end early: when the gradient has vanished, or when the cost, which is looked at every 50
    iterations, has not improved by 1e-6 of itself for more than ``n_iter_without_progress``.

    Parameters
    ----------
    objective : Objective
        Gradient and cost.
    Y : ndarray of shape (n, d), float64
        The start; not changed.
    phases : sequence of Phase
        What to do, in this order.
    n_iter_without_progress : int, default=300
        Iterations of the last phase without a lower cost after which to stop.
    min_grad_norm : float, default=1e-7
        The gradient has vanished when its norm times ``objective.gradient_scale`` is at most this part of the points'
        root mean square distance from their centre. Being relative, it does not take the saddle point that all points
        together form, where the gradient is small because the map is, for a minimum.
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
    Y = np.array(Y, dtype=np.float64, order="C")
    _centre(Y)
    velocity, gain = np.zeros_like(Y), np.ones_like(Y)
    best_cost, best_iteration, iteration = math.inf, 0, 0
    reason = "max_iter"
    for number, phase in enumerate(phases, start=1):
        last = number == len(phases)
        if last:
            best_cost, best_iteration = math.inf, iteration
        for _ in range(phase.n_iter):
            check = (iteration + 1) % CHECK_EVERY == 0
            with np.errstate(all="ignore"):  # a divergence is found below, and said
                gradient, cost = objective(Y, phase.exaggeration, with_cost=check)
                norm = _norm(gradient) * objective.gradient_scale
            if not math.isfinite(norm):
                raise _divergence(iteration, phase)
            if last and norm <= min_grad_norm * math.sqrt(np.mean(Y * Y) * Y.shape[1]):
                reason = "min_grad_norm"
                break
            if check:
                if report:
                    report(Progress(iteration + 1, cost, norm))
                if best_cost == math.inf or best_cost - cost > PROGRESS * abs(cost):
                    best_cost, best_iteration = cost, iteration
                elif last and iteration - best_iteration > n_iter_without_progress:
                    reason = "n_iter_without_progress"
                    break
            with np.errstate(all="ignore"):
                if objective.step_scale is not None:
                    gradient *= objective.step_scale
                descend(
                    gradient, Y, velocity, gain, phase.momentum, phase.learning_rate,
                    GAIN_INCREASE, GAIN_DECREASE, MIN_GAIN,
                )  # fmt: skip
                centre = _centre(Y)
            if not np.isfinite(centre).all():
                raise _divergence(iteration, phase)
            iteration += 1
    with np.errstate(all="ignore"):
        gradient, cost = objective(Y, with_cost=True)
        norm = _norm(gradient) * objective.gradient_scale
    if not math.isfinite(cost + norm):
        raise _divergence(iteration, phases[-1])
    return Result(Y, cost, norm, iteration, reason)


def _divergence(iteration: int, phase: Phase) -> FloatingPointError:
    return FloatingPointError(
        f"The optimisation diverged at iteration {iteration} with learning_rate={phase.learning_rate:g}. "
        'Lower learning_rate (learning_rate="auto" is safe).'
    )
