r"""Gradient descent with momentum and gains; knows arrays only, nothing of embeddings.

    gain   ← gain + 0.2  where gradient and velocity point in opposite directions,  0.8 gain  elsewhere
    v      ← momentum · v − rate · gain · ∂C/∂Y
    Y      ← Y + v, centered

The gains are the delta-bar-delta rule of Jacobs (1988), as in van der Maaten & Hinton (2008, section 3.4). The rate is
a number, or a number over the curvature that the objective states for each point: the steps are then those of Jacobi's
method, do not depend on the scales of affinities and exaggeration, and are shorter where the attraction is stiff.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from numbers import Integral, Real
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ._checks import as_floats, check_number, check_stop, check_type
from ._native import choose
from .parallel import Workers

GAIN_INCREASE = 0.2
GAIN_DECREASE = 0.8
MIN_GAIN = 0.01
CHECK_EVERY = 50
LARGEST = 1e18  # coordinates beyond it have squared distances that overflow in float32, in which costs are computed
STEP_COST = 4  # elementary operations of a step, per coordinate


class Objective(Protocol):
    """A function to minimize, with its gradient, of n points with d components.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.optimizer import Evaluation, Phase, minimize
    >>> class Bowl:
    ...     gradient_scale = 1.0
    ...
    ...     def __call__(self, Y, exaggeration=1.0, with_cost=False):
    ...         cost = float((Y**2).sum())
    ...         return Evaluation(2.0 * Y, np.full(len(Y), 2.0), cost, cost)
    >>> result = minimize(Bowl(), np.array([[1.0], [-1.0]]), [Phase(200, 1.0, 0.5, 0.1)], tol=0.0)
    >>> bool(result.cost < 1e-9)
    True
    """

    gradient_scale: float
    """The factor by which the Frobenius norm of the gradient does not depend on n."""

    def __call__(self, Y: NDArray[np.float64], exaggeration: float = 1.0, with_cost: bool = False) -> Evaluation:
        """Evaluate at Y; the next call may reuse the arrays of the result."""


class Evaluation(NamedTuple):
    """What an objective returns.

    Parameters
    ----------
    gradient : ndarray of shape (n, d)
        The gradient of the exaggerated cost.
    curvature : ndarray of shape (n,)
        The stiffness of each point, above 0: relative steps are divided by it.
    cost : float
        The cost without exaggeration, NaN if no cost was asked for.
    exaggerated : float
        The exaggerated cost, NaN if no cost was asked for.
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
        Iterations. Only the last phase may end earlier.
    exaggeration : float
        Factor on the attraction.
    momentum : float
        Fraction of the velocity that is kept.
    learning_rate : float
        Step per unit of gradient, or, if ``relative``, of gradient over curvature.
    relative : bool, default=False
        Whether the steps are relative to the curvature.
    largest_gain : float, default=inf
        The largest gain of a coordinate. Relative steps need a bound, and have no wrong scale that gains must correct.

    Examples
    --------
    Early exaggeration, and what comes after it:

    >>> from sktsne.optimizer import Phase
    >>> phases = [Phase(50, 12.0, 0.9, 1.75, relative=True), Phase(950, 1.0, 0.9, 1.75, relative=True)]
    >>> sum(phase.n_iter for phase in phases)
    1000
    """

    n_iter: int
    exaggeration: float
    momentum: float
    learning_rate: float
    relative: bool = False
    largest_gain: float = math.inf


class Progress(NamedTuple):
    """Where the optimization stands, for `~sktsne.optimizer.minimize` to report, with the scaled norm.

    Examples
    --------
    `minimize` passes it to ``report``:

    >>> import numpy as np
    >>> from sktsne.optimizer import Progress, State
    >>> def report(progress):
    ...     return progress.cost < 0.5  # ends the optimization
    >>> report(Progress(50, 0.3, 1e-3, State.at(np.zeros((2, 1)))))
    True
    """

    iteration: int
    cost: float
    gradient_norm: float
    state: State


class Result(NamedTuple):
    """What an optimization returns: the embedding, its cost and scaled gradient norm, iterations done, why it ended.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.optimizer import Result
    >>> result = Result(np.zeros((2, 1)), cost=0.3, gradient_norm=1e-8, n_iter=150, reason="min_grad_norm")
    >>> result.n_iter, result.reason
    (150, 'min_grad_norm')
    """

    Y: NDArray[np.float64]
    cost: float
    gradient_norm: float
    n_iter: int
    reason: str


@dataclass
class State:
    """All that an optimization needs to continue with the same iterations, to the last bit.

    Parameters
    ----------
    Y : ndarray of shape (n, d)
        The embedding, not centered yet after the last step.
    velocity, gain : ndarray of shape (n, d)
        The last step, and the factors on the rate.
    shift : ndarray of shape (d,)
        The center of Y, which the next step subtracts.
    iteration : int
        Iterations done.
    best_cost : float
        The exaggerated cost at the last progress, a fall by more than ``tol``.
    best_iteration : int
        The iteration of ``best_cost``.
    """

    Y: NDArray[np.float64]
    velocity: NDArray[np.float64]
    gain: NDArray[np.float64]
    shift: NDArray[np.float64]
    iteration: int = 0
    best_cost: float = math.inf
    best_iteration: int = 0

    @classmethod
    def at(cls, Y: NDArray[np.float64]) -> State:
        """Return the state of rest at an embedding, which is copied."""
        Y = as_floats("Y", Y, ("n", "d"), empty=False).copy()
        with np.errstate(all="ignore"):  # a mean that overflows is a divergence
            Y -= Y.mean(axis=0)
        return cls(Y, np.zeros_like(Y), np.ones_like(Y), np.zeros(Y.shape[1]))

    def copy(self) -> State:
        """Return a copy that the optimization does not change."""
        return replace(
            self, Y=self.Y.copy(), velocity=self.velocity.copy(), gain=self.gain.copy(), shift=self.shift.copy()
        )


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
    """Change rows ``start`` to ``stop`` of Y, ``velocity`` and ``gain`` in place; return the sum of these rows of Y."""
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
    """Return the Frobenius norm, summed by one thread: when a fit stops must not depend on the number of threads."""
    return math.sqrt(np.sum(gradient * gradient))


def minimize(
    objective: Objective,
    start: NDArray[np.float64] | State,
    phases: Sequence[Phase],
    *,
    n_iter_without_progress: int = 50,
    tol: float = 1e-6,
    min_grad_norm: float = 1e-7,
    max_step_norm: float = math.inf,
    workers: Workers | None = None,
    report: Callable[[Progress], bool | None] | None = None,
    report_every: int = CHECK_EVERY,
    tick: Callable[[int], None] | None = None,
) -> Result:
    """Minimize an objective from ``start``, phase by phase.

    Only the last phase may end early, which is checked every 50 iterations: when the gradient has vanished, or when the
    exaggerated cost has fallen by less than ``tol`` times the true cost in ``n_iter_without_progress`` iterations.

    Parameters
    ----------
    objective : Objective
        Gradient and cost.
    start : ndarray of shape (n, d), float64, or State
        The start, which is not changed; or the state to continue from, which is changed.
    phases : sequence of Phase
        The phases in their order, counted from iteration 0 even if ``start`` is a later state.
    n_iter_without_progress : int, default=50
        Iterations of the last phase in which the cost must fall.
    tol : float, default=1e-6
        The fraction of the true cost by which the cost must fall.
    min_grad_norm : float, default=1e-7
        The gradient has vanished when its norm times ``objective.gradient_scale`` is at most ``min_grad_norm`` times
        the root mean square distance of the points from their center. The rule is relative because all points close
        together are near a saddle point, where the gradient is small because the map is.
    max_step_norm : float, default=inf
        The largest distance by which a point moves in an iteration, before the map is centered.
    workers : Workers, default=None
        The threads to use; ``None`` is the calling thread.
    report : callable, default=None
        Called with a Progress every 50 and every ``report_every`` iterations; ends the optimization by returning True.
        It may evaluate the objective.
    report_every : int, default=50
        Iterations between further calls of ``report``.
    tick : callable, default=None
        Called after every iteration with the number of iterations done. Unlike ``report`` it needs no cost, so that it
        takes no time but its own.

    Returns
    -------
    result : Result
        The centered embedding, with its cost and gradient norm.

    Raises
    ------
    FloatingPointError
        If the optimization diverges: cost or embedding are not finite any more.
    TypeError, ValueError
        If an argument is out of its range, or the objective returns arrays of other shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.optimizer import Evaluation, Phase, minimize
    >>> class Bowl:  # an Objective
    ...     gradient_scale = 1.0
    ...
    ...     def __call__(self, Y, exaggeration=1.0, with_cost=False):
    ...         cost = float((Y**2).sum())
    ...         return Evaluation(2.0 * Y, np.full(len(Y), 2.0), cost, cost)
    >>> result = minimize(Bowl(), np.array([[1.0], [-1.0]]), [Phase(200, 1.0, 0.5, 0.1)], tol=0.0)
    >>> result.n_iter, result.reason, bool(result.cost < 1e-9)
    (200, 'max_iter', True)
    """
    if isinstance(objective, type) or not callable(objective) or not hasattr(objective, "gradient_scale"):
        raise TypeError(f"objective == {objective!r}, must be callable and have a gradient_scale, as an Objective has.")
    if report is not None and not callable(report):
        raise TypeError(f"report == {report!r}, must be callable or None.")
    if tick is not None and not callable(tick):
        raise TypeError(f"tick == {tick!r}, must be callable or None.")
    _check_phases(phases)
    for name, value in ("tol", tol), ("min_grad_norm", min_grad_norm), ("gradient_scale", objective.gradient_scale):
        check_number(name, value, Real, 0)
    check_number("n_iter_without_progress", n_iter_without_progress, Integral, -1)
    check_number("max_step_norm", max_step_norm, Real, 0, low_included=False, infinite=True)
    check_number("report_every", report_every, Integral, 1)
    workers = Workers() if workers is None else workers
    check_type("workers", workers, Workers)
    descend = choose("descent", "descend", descend_reference)
    state = start if isinstance(start, State) else State.at(as_floats("start", start, ("n", "d"), empty=False))
    Y, velocity, gain, shift = _arrays(state, phases)
    n, d = Y.shape
    early = sum(phase.n_iter for phase in phases[:-1])
    reason = "max_iter"
    for phase in _iterations(phases, state.iteration):
        check = state.iteration % CHECK_EVERY == 0 < state.iteration
        due = check or state.iteration % report_every == 0 < state.iteration
        last = state.iteration >= early
        if state.iteration == early:
            state.best_cost, state.best_iteration = math.inf, state.iteration
        with np.errstate(all="ignore"):  # a divergence is detected and raised below
            try:
                gradient, curvature, cost, minimized = _evaluate(objective, Y, phase.exaggeration, due)
            except FloatingPointError as error:  # the map is too wide for the kernel
                raise _divergence(state.iteration, phase) from error
            norm = _norm(gradient) * objective.gradient_scale if due else 0.0
        if due:
            if not math.isfinite(cost + norm):
                raise _divergence(state.iteration, phase)
            if report:
                # The report may evaluate the objective, whose next call may reuse its arrays.
                gradient, curvature = gradient.copy(), curvature.copy()
                if check_stop(f"report == {report!r}", report(Progress(state.iteration, cost, norm, state))):
                    reason = "report"
                    break
                Y, velocity, gain, shift = _arrays(state, phases, (n, d))
        if check:
            ended = _reason_to_end(state, last, cost, minimized, norm, n_iter_without_progress, tol, min_grad_norm)
            if ended is not None:
                reason = ended
                break
        step = partial(
            descend, gradient, curvature, phase.relative, phase.learning_rate, phase.momentum, GAIN_INCREASE,
            GAIN_DECREASE, MIN_GAIN, phase.largest_gain, max_step_norm, shift, Y, velocity, gain,
        )  # fmt: skip
        with np.errstate(all="ignore"):
            # The next step subtracts the center, because it goes through the points anyway.
            state.shift = shift = sum(workers.run(step, n, STEP_COST * d)) / n
        if not np.isfinite(shift).all():
            raise _divergence(state.iteration, phase)
        state.iteration += 1
        if tick is not None:
            tick(state.iteration)
    with np.errstate(all="ignore"):
        centered = Y - Y.mean(axis=0)
        if not np.abs(centered).max() <= LARGEST:
            raise _divergence(state.iteration, phases[-1])
        gradient, _, cost, _ = _evaluate(objective, centered, 1.0, True)
        norm = _norm(gradient) * objective.gradient_scale
    if not math.isfinite(cost + norm):
        raise _divergence(state.iteration, phases[-1])
    return Result(centered, cost, norm, state.iteration, reason)


def _reason_to_end(
    state: State,
    last: bool,
    cost: float,
    minimized: float,
    norm: float,
    n_iter_without_progress: int,
    tol: float,
    min_grad_norm: float,
) -> str | None:
    """Return why the ``last`` phase ends at a check, or None if it goes on, and note the best cost in the state."""
    if last and norm <= min_grad_norm * _extent(state.Y):
        return "min_grad_norm"
    if state.best_cost == math.inf or state.best_cost - minimized > tol * abs(cost):
        state.best_cost, state.best_iteration = minimized, state.iteration
    elif last and state.iteration - state.best_iteration >= n_iter_without_progress:
        return "n_iter_without_progress"
    return None


def _check_phases(phases: Any) -> None:
    """Raise unless there are phases, and each has numbers that the optimization can do with."""
    if not isinstance(phases, Sequence) or len(phases) == 0:
        raise TypeError(f"phases == {phases!r}, must be a sequence of at least one Phase.")
    for phase in phases:
        check_type("phases", phase, Phase)
        check_number("n_iter of a phase", phase.n_iter, Integral, 0, sys.maxsize)
        check_number("exaggeration of a phase", phase.exaggeration, Real, 0)
        check_number("momentum of a phase", phase.momentum, Real, 0, 1)
        check_number("learning_rate of a phase", phase.learning_rate, Real, 0, low_included=False)
        check_number("largest_gain of a phase", phase.largest_gain, Real, 0, low_included=False, infinite=True)


def _arrays(
    state: State, phases: Sequence[Phase], shape: tuple[int | str, ...] = ("n", "d")
) -> list[NDArray[np.float64]]:
    """Return ``Y``, ``velocity``, ``gain`` and ``shift`` of a state as compiled loops read and change them."""
    check_number("iteration of the state", state.iteration, Integral, 0, sys.maxsize)
    check_number("best_iteration of the state", state.best_iteration, Integral, 0, sys.maxsize)
    check_number("best_cost of the state", state.best_cost, Real, -math.inf, infinite=True)
    shape = as_floats("Y of the state", state.Y, shape, finite=False, empty=False).shape
    for name, wanted in ("Y", shape), ("velocity", shape), ("gain", shape), ("shift", shape[1:]):
        given = getattr(state, name)
        array = as_floats(f"{name} of the state", given, wanted, finite=False)
        # The optimization changes the arrays of a state, and nothing else that may share its memory with one.
        setattr(state, name, array if array is given and array.flags.writeable else array.copy())
    if not np.isfinite(state.Y).all():
        raise _divergence(state.iteration, next(_iterations(phases, state.iteration), phases[-1]))
    return [state.Y, state.velocity, state.gain, state.shift]


def _evaluate(objective: Objective, Y: NDArray[np.float64], exaggeration: float, with_cost: bool) -> Evaluation:
    """Return what an objective returns, as compiled loops rely on it, whoever wrote the objective."""
    name, result = type(objective).__name__, objective(Y, exaggeration, with_cost=with_cost)
    if not isinstance(result, tuple) or len(result) != len(Evaluation._fields):
        raise TypeError(f"{name} must return an Evaluation, got {type(result).__name__}.")
    gradient, curvature, *costs = result
    gradient = as_floats(f"gradient of {name}", gradient, Y.shape, finite=False)
    curvature = as_floats(f"curvature of {name}", curvature, Y.shape[:1], finite=False)
    if not with_cost:
        return Evaluation(gradient, curvature, math.nan, math.nan)
    try:
        if not all(isinstance(cost, Real) for cost in costs):
            raise TypeError("not a number")
        return Evaluation(gradient, curvature, *map(float, costs))
    except (TypeError, OverflowError) as error:
        raise TypeError(f"{name} must return costs that are numbers, got {costs!r}: {error}.") from error


def _iterations(phases: Sequence[Phase], first: int) -> Iterator[Phase]:
    """Yield the phase of each iteration, from number ``first`` on."""
    for phase in phases:
        yield from repeat(phase, max(0, phase.n_iter - first))
        first = max(0, first - phase.n_iter)


def _extent(Y: NDArray[np.float64]) -> float:
    """Return the root mean square of the points' distances from the origin."""
    return math.sqrt(np.mean(Y * Y) * Y.shape[1])


def _divergence(iteration: int, phase: Phase) -> FloatingPointError:
    if phase.relative:
        advice = "The start may be too wide: sktsne.initialization.rescale(init) makes it narrow."
    else:
        advice = 'Lower learning_rate (learning_rate="auto" is safe).'
    return FloatingPointError(
        f"The optimization diverged at iteration {iteration} with learning_rate={phase.learning_rate:g}. {advice}"
    )
