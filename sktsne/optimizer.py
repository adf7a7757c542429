r"""Gradient descent with momentum and gains, for any objective that returns a gradient.

An iteration changes the embedding Y, the velocity v and the gain of each coordinate:

    gain   ← gain + 0.2  where gradient and velocity point in opposite directions,  0.8 gain  elsewhere
    v      ← momentum · v − rate · gain · ∂C/∂Y
    Y      ← Y + v, centered

The gains follow the delta-bar-delta rule of Jacobs (1988), as in van der Maaten & Hinton (2008, section 3.4).

The rate is the learning rate, or for relative steps the learning rate divided by the curvature of each point, which the
objective returns, as in Jacobi's method. Relative steps do not depend on the scales of the affinities and of the
exaggeration, and are shorter where the attraction is stiff.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice, repeat
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
# The largest coordinate. Squared distances of points beyond it would overflow in float32, in which costs are computed.
LARGEST = 1e18
STEP_COST = 4  # the number of elementary operations of a step for one coordinate, roughly


class Objective(Protocol):
    """The contract of an objective: a function of n points with d components to minimize, with its gradient.

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
    """The factor for the norm of the gradient that makes this norm comparable between numbers n of points."""

    frame: Frame
    """The weights of the points and the place of the map. An objective without this attribute has ``Frame()``."""

    def __call__(self, Y: NDArray[np.float64], exaggeration: float = 1.0, with_cost: bool = False) -> Evaluation:
        """Return gradient, curvature and costs at an embedding.

        Parameters
        ----------
        Y : ndarray of shape (n, d), float64
            The embedding.
        exaggeration : float, default=1.0
            The factor on the attraction.
        with_cost : bool, default=False
            Whether to compute the costs, which are NaN otherwise.

        Returns
        -------
        evaluation : Evaluation
            The result. The next call may overwrite its arrays.
        """


@dataclass(frozen=True)
class Frame:
    """How points count in the means over a map, and whether the map has a place.

    Parameters
    ----------
    weights : ndarray of shape (n,), float64, default=None
        The weights of the points, above 0. ``None`` stands for weights of 1.
    fixed : bool, default=False
        Whether the cost changes when the whole map moves. Otherwise the optimizer centers the map.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.optimizer import Frame
    >>> Y = np.array([[0.0], [3.0]])
    >>> Frame().center(Y), Frame(np.array([2.0, 1.0])).center(Y), Frame(fixed=True).center(Y)
    (array([1.5]), array([1.]), array([0.]))
    """

    weights: NDArray[np.float64] | None = None
    fixed: bool = False

    def __post_init__(self) -> None:
        if self.weights is not None:
            weights = as_floats("weights", self.weights, ("n",), empty=False)
            if not (weights > 0.0).all():
                raise ValueError(f"weights must be above 0, the least is {weights.min()}.")

    @classmethod
    def of(cls, weights: Any, n: int) -> Frame:
        """Return the frame of n points, after a check that there are as many weights."""
        return cls(None if weights is None else as_floats("weights", weights, (n,)))

    @property
    def is_plain(self) -> bool:
        """Whether all points count alike and the optimizer centers the map."""
        return self.weights is None and not self.fixed

    def total(self, n: int) -> float:
        """Return the sum of the weights of n points."""
        return n if self.weights is None else float(self.weights.sum())

    def mean(self, Y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean of the points."""
        # einsum adds in one thread, because the map must not depend on the number of threads.
        mean = Y.mean(axis=0) if self.weights is None else np.einsum("i,ik->k", self.weights, Y) / self.weights.sum()
        return np.asarray(mean)

    def center(self, Y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the position that the optimizer moves to the origin: the origin itself for a map with a place."""
        return np.zeros(Y.shape[1]) if self.fixed else self.mean(Y)

    def product(self, A: NDArray[np.float64], B: NDArray[np.float64]) -> float:
        """Return the sum of the products of two arrays of shape (n, d), where a point counts with its weight."""
        # It is summed in one thread, because the end of a fit must not depend on n_jobs.
        products = A * B
        return float(np.sum(products) if self.weights is None else np.einsum("i,ik->", self.weights, products))

    def norm(self, gradient: NDArray[np.float64]) -> float:
        """Return the Frobenius norm, where a point counts with its weight."""
        return math.sqrt(self.product(gradient, gradient))

    def extent(self, Y: NDArray[np.float64]) -> float:
        """Return the root mean square distance of the points from their center, of a map that is centered or fixed."""
        Y = Y - self.mean(Y) if self.fixed else Y
        return self.norm(Y) / math.sqrt(self.total(len(Y)))


class Evaluation(NamedTuple):
    """The value of an objective: gradient, curvature and costs at an embedding.

    Parameters
    ----------
    gradient : ndarray of shape (n, d), float64
        The gradient of the exaggerated cost.
    curvature : ndarray of shape (n,), float64
        The stiffness of the attraction of each point, above 0, by which relative steps are divided.
    cost : float
        The cost without exaggeration, or NaN if no cost was computed.
    exaggerated : float
        The exaggerated cost, or NaN if no cost was computed.
    """

    gradient: NDArray[np.float64]
    curvature: NDArray[np.float64]
    cost: float
    exaggerated: float


class Phase(NamedTuple):
    """A number of iterations with constant settings.

    Parameters
    ----------
    n_iter : int
        The number of iterations. Only the last phase may end before.
    exaggeration : float
        The factor on the attraction.
    momentum : float
        The fraction of the velocity that is kept in each iteration, from 0 to 1.
    learning_rate : float
        The step for a gradient of 1, or, if ``relative``, for a gradient that is equal to the curvature.
    relative : bool, default=False
        Whether the step of each point is divided by the curvature of the point.
    largest_gain : float, default=inf
        The largest gain of a coordinate. Relative steps are stable only if the gains are bounded.

    Examples
    --------
    A phase of early exaggeration, and the phase after it:

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
    """The state of an optimization that `~sktsne.optimizer.minimize` passes to ``report``.

    Parameters
    ----------
    iteration : int
        The number of iterations done.
    cost : float
        The cost without exaggeration.
    gradient_norm : float
        The norm of the gradient by the frame of the objective, times the ``gradient_scale`` of the objective.
    state : State
        The embedding, and everything else that is needed to continue.

    Examples
    --------
    A report that ends the optimization as soon as the cost is below 0.5:

    >>> import numpy as np
    >>> from sktsne.optimizer import Progress, State
    >>> def report(progress):
    ...     return progress.cost < 0.5
    >>> report(Progress(50, 0.3, 1e-3, State.at(np.zeros((2, 1)))))
    True
    """

    iteration: int
    cost: float
    gradient_norm: float
    state: State


class Result(NamedTuple):
    """The result of an optimization.

    Parameters
    ----------
    Y : ndarray of shape (n, d), float64
        The embedding, centered unless it has a place.
    cost : float
        The cost of the embedding, without exaggeration.
    gradient_norm : float
        The norm of the gradient by the frame of the objective, times the ``gradient_scale`` of the objective.
    n_iter : int
        The number of iterations done.
    reason : str
        Why the optimization ended: "max_iter" after all iterations of all phases, "min_grad_norm" or
        "n_iter_without_progress" when one of these criteria was met, or "report" when ``report`` returned True.

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
    """Everything that an optimization needs to continue exactly as it would have without interruption.

    Parameters
    ----------
    Y : ndarray of shape (n, d), float64
        The embedding, not yet centered after the last step.
    velocity, gain : ndarray of shape (n, d), float64
        The velocity, which is the last step, and the gains of the coordinates.
    shift : ndarray of shape (d,), float64
        The center of Y, which the next step subtracts.
    iteration : int
        The number of iterations done.
    best_cost : float
        The exaggerated cost at the last check that found progress, or infinity before the first check.
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
    def at(cls, Y: NDArray[np.float64], frame: Frame = Frame()) -> State:
        """Return the state at the start of an optimization from an embedding, which is copied and centered."""
        Y = as_floats("Y", Y, ("n", "d"), empty=False).copy()
        with np.errstate(all="ignore"):  # a mean that overflows is reported as a divergence
            Y -= frame.center(Y)
        return cls(Y, np.zeros_like(Y), np.ones_like(Y), np.zeros(Y.shape[1]))

    def copy(self) -> State:
        """Return a copy with arrays of its own, which the optimization does not change."""
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
    """Take one step with rows ``start`` to ``stop`` of Y, ``velocity`` and ``gain``, in place.

    A gain grows by ``increase`` or is multiplied by ``decrease``, and stays between ``least`` and ``largest``. A step
    longer than ``max_step`` is shortened to this length. ``shift`` is subtracted from the rows of Y.

    Returns
    -------
    total : ndarray of shape (d,), float64
        The sum of these rows of Y, from which the center of Y follows.
    """
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
    until: int | None = None,
) -> Result:
    """Minimize an objective by gradient descent from ``start``, phase by phase.

    Only the last phase may end early. Every 50 iterations the optimizer checks two criteria, and ends when the gradient
    has vanished, or when the exaggerated cost has not fallen by more than ``tol`` times the cost without exaggeration
    for ``n_iter_without_progress`` iterations.

    Parameters
    ----------
    objective : Objective
        The function to minimize.
    start : ndarray of shape (n, d), float64, or State
        The embedding to start from, which is not changed; or the state to continue from, which is changed.
    phases : sequence of Phase
        The phases in their order. They begin at iteration 0 even if ``start`` is a later state.
    n_iter_without_progress : int, default=50
        The number of iterations of the last phase without progress after which the optimization ends. Because progress
        is checked every 50 iterations, the number is in effect rounded up to a multiple of 50.
    tol : float, default=1e-6
        The fraction of the cost by which the exaggerated cost must fall to count as progress.
    min_grad_norm : float, default=1e-7
        The gradient has vanished when its norm times ``objective.gradient_scale`` is at most ``min_grad_norm`` times
        the root mean square distance of the points from their center. The criterion is relative to this distance
        because a very small map has a small gradient, too, although it is near a saddle point and not at a minimum.
    max_step_norm : float, default=inf
        The largest distance by which a point moves in an iteration, before the map is centered.
    workers : Workers, default=None
        The threads to use. ``None`` uses the calling thread only.
    report : callable, default=None
        A function that is called with a Progress every 50 iterations, and every ``report_every`` iterations. The
        optimization ends if the function returns True. The function may evaluate the objective.
    report_every : int, default=50
        The number of iterations between additional calls of ``report``.
    tick : callable, default=None
        A function that is called after every iteration with the number of iterations done. The cost is not computed for
        this call, unlike for ``report``.
    until : int, default=None
        The number of the iteration before which the optimization stops, if the phases have more iterations. A later
        call continues from the state.

    Returns
    -------
    result : Result
        The centered embedding, its cost, and why the optimization ended.

    Raises
    ------
    FloatingPointError
        If the optimization diverges, which means that the cost or the embedding is no longer finite.
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
    if until is not None:
        check_number("until", until, Integral, 0)
    workers = Workers() if workers is None else workers
    check_type("workers", workers, Workers)
    frame = frame_of(objective)
    state = start if isinstance(start, State) else State.at(as_floats("start", start, ("n", "d"), empty=False), frame)
    descent = _LocalDescent(objective, frame, state, phases, max_step_norm, workers)
    reason = descend_in_phases(
        descent,
        phases,
        n_iter_without_progress=n_iter_without_progress,
        tol=tol,
        min_grad_norm=min_grad_norm,
        report=report,
        report_every=report_every,
        tick=tick,
        until=until,
    )
    return descent.result(phases, reason)


class Descent(Protocol):
    """The contract of the points that `descend_in_phases` moves, in this process or elsewhere.

    See :class:`_LocalDescent`, and :mod:`sktsne.dask` for points in several processes.
    """

    state: State
    """The counters of the optimization, which the loop changes, and the points, which only reports read."""

    def evaluate(self, phase: Phase, with_cost: bool) -> tuple[float, float, float]:
        """Evaluate the objective; return cost, exaggerated cost and gradient norm, which matter only ``with_cost``."""

    def extent(self) -> float:
        """Return the root mean square distance of the points from their center."""

    def step(self, phases: Sequence[Phase]) -> bool:
        """Take one step along the gradient of the last evaluation, and return whether the points are finite.

        The step is that of the first phase. The other phases are those of the iterations that follow until costs are
        needed, so that distant points may take all these steps in one call.
        """

    def hold(self) -> None:
        """Prepare for a report, which may evaluate the objective, and may change the state."""

    def resume(self) -> None:
        """Continue after a report."""


def descend_in_phases(
    descent: Descent,
    phases: Sequence[Phase],
    *,
    n_iter_without_progress: int,
    tol: float,
    min_grad_norm: float,
    report: Callable[[Progress], bool | None] | None,
    report_every: int,
    tick: Callable[[int], None] | None,
    until: int | None = None,
) -> str:
    """Move points phase by phase, and return why the optimization ended; see `minimize`, which checks the arguments."""
    early = sum(phase.n_iter for phase in phases[:-1])
    iterations = _iterations(phases, descent.state.iteration, until)
    coming = deque(islice(iterations, CHECK_EVERY))
    while coming:
        phase, state = coming[0], descent.state
        check = state.iteration % CHECK_EVERY == 0 < state.iteration
        due = check or state.iteration % report_every == 0 < state.iteration
        last = state.iteration >= early
        if state.iteration == early:
            state.best_cost, state.best_iteration = math.inf, state.iteration
        with np.errstate(all="ignore"):  # a divergence raises an error below
            try:
                cost, minimized, norm = descent.evaluate(phase, due)
            except FloatingPointError as error:  # kernels raise this error for a map that is too wide
                raise divergence(state.iteration, phase) from error
        if due:
            if not math.isfinite(cost + norm):
                raise divergence(state.iteration, phase)
            if report:
                descent.hold()
                if check_stop(f"report == {report!r}", report(Progress(state.iteration, cost, norm, state))):
                    return "report"
                descent.resume()
        if check:
            ended = _reason_to_end(descent, last, cost, minimized, norm, n_iter_without_progress, tol, min_grad_norm)
            if ended is not None:
                return ended
        n_without_cost = min(every - state.iteration % every for every in (CHECK_EVERY, report_every))
        with np.errstate(all="ignore"):
            try:
                finite = descent.step(list(islice(coming, n_without_cost)))
            except FloatingPointError as error:
                raise divergence(state.iteration, phase) from error
        if not finite:
            raise divergence(state.iteration, phase)
        state.iteration += 1
        coming.popleft()
        coming.extend(islice(iterations, 1))
        if tick is not None:
            tick(state.iteration)
    return "max_iter"


class _LocalDescent:
    """The points of an optimization in this process: a `Descent`.

    Parameters
    ----------
    objective : Objective
        The function to minimize.
    frame : Frame
        The frame of the objective.
    state : State
        The state, which is changed.
    phases : sequence of Phase
        The phases.
    max_step_norm : float
        The largest distance by which a point moves in an iteration.
    workers : Workers
        The threads to use.
    """

    def __init__(
        self,
        objective: Objective,
        frame: Frame,
        state: State,
        phases: Sequence[Phase],
        max_step_norm: float,
        workers: Workers,
    ) -> None:
        self.state = state
        self._objective, self._frame, self._phases = objective, frame, phases
        self._max_step_norm, self._workers = max_step_norm, workers
        self._descend = choose("descent", "descend", descend_reference)
        self._arrays = _arrays(state, phases)
        self._shape = self._arrays[0].shape
        if frame.weights is not None:
            as_floats("weights of the objective", frame.weights, self._shape[:1])

    def evaluate(self, phase: Phase, with_cost: bool) -> tuple[float, float, float]:
        """Evaluate the objective; see `Descent`."""
        value = _evaluate(self._objective, self._arrays[0], phase.exaggeration, with_cost)
        self._gradient, self._curvature = value.gradient, value.curvature
        return value.cost, value.exaggerated, self._norm(value.gradient) if with_cost else 0.0

    def _norm(self, gradient: NDArray[np.float64]) -> float:
        return self._frame.norm(gradient) * self._objective.gradient_scale

    def extent(self) -> float:
        """Return the extent of the map; see `Descent`."""
        return self._frame.extent(self.state.Y)

    def hold(self) -> None:
        """Prepare for a report; see `Descent`."""
        # The report may evaluate the objective, which may then overwrite the arrays of the evaluation.
        self._gradient, self._curvature = self._gradient.copy(), self._curvature.copy()

    def resume(self) -> None:
        """Continue after a report; see `Descent`."""
        self._arrays = _arrays(self.state, self._phases, self._shape)

    def step(self, phases: Sequence[Phase]) -> bool:
        """Take one step; see `Descent`."""
        Y, velocity, gain, shift = self._arrays
        n, d = Y.shape
        step = partial(
            self._descend, self._gradient, self._curvature, *step_settings(phases[0], self._max_step_norm), shift, Y,
            velocity, gain,
        )  # fmt: skip
        # The map is centered in the next step, which reads and writes all points anyway.
        mean = sum(self._workers.run(step, n, STEP_COST * d)) / n
        self.state.shift = self._arrays[3] = mean if self._frame.is_plain else self._frame.center(Y)
        return bool(np.isfinite(mean).all())

    def result(self, phases: Sequence[Phase], reason: str) -> Result:
        """Return the result of an optimization that has ended for a reason."""
        Y, iteration = self._arrays[0], self.state.iteration
        with np.errstate(all="ignore"):
            centered = Y - self._frame.center(Y)
            if not np.abs(centered).max() <= LARGEST:
                raise divergence(iteration, phases[-1])
            gradient, _, cost, _ = _evaluate(self._objective, centered, 1.0, True)
            norm = self._norm(gradient)
        if not math.isfinite(cost + norm):
            raise divergence(iteration, phases[-1])
        return Result(centered, cost, norm, iteration, reason)


def step_settings(phase: Phase, max_step_norm: float) -> tuple[Any, ...]:
    """Return the arguments of `descend_reference` from ``relative`` to ``max_step`` for a phase."""
    return (
        phase.relative, phase.learning_rate, phase.momentum, GAIN_INCREASE, GAIN_DECREASE, MIN_GAIN,
        phase.largest_gain, max_step_norm,
    )  # fmt: skip


def _reason_to_end(
    descent: Descent,
    last: bool,
    cost: float,
    minimized: float,
    norm: float,
    n_iter_without_progress: int,
    tol: float,
    min_grad_norm: float,
) -> str | None:
    """Return why the optimization ends at a check, or None if it continues, and keep the best cost in the state.

    ``last`` tells whether the last phase is running, ``cost`` is the cost without exaggeration, and ``minimized`` the
    exaggerated cost.
    """
    state = descent.state
    if last and norm <= min_grad_norm * descent.extent():
        return "min_grad_norm"
    if state.best_cost == math.inf or state.best_cost - minimized > tol * abs(cost):
        state.best_cost, state.best_iteration = minimized, state.iteration
    elif last and state.iteration - state.best_iteration >= n_iter_without_progress:
        return "n_iter_without_progress"
    return None


def frame_of(objective: Any) -> Frame:
    """Return the frame of an objective; objectives that users write need not have one."""
    frame = getattr(objective, "frame", Frame())
    check_type("frame of the objective", frame, Frame)
    return frame


def _check_phases(phases: Any) -> None:
    """Raise unless ``phases`` is a sequence of at least one Phase whose numbers are all in their ranges."""
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
    """Return the arrays Y, velocity, gain and shift of a state, C-contiguous and writable, after checking the state."""
    check_number("iteration of the state", state.iteration, Integral, 0, sys.maxsize)
    check_number("best_iteration of the state", state.best_iteration, Integral, 0, sys.maxsize)
    check_number("best_cost of the state", state.best_cost, Real, -math.inf, infinite=True)
    shape = as_floats("Y of the state", state.Y, shape, finite=False, empty=False).shape
    for name, wanted in ("Y", shape), ("velocity", shape), ("gain", shape), ("shift", shape[1:]):
        given = getattr(state, name)
        array = as_floats(f"{name} of the state", given, wanted, finite=False)
        # An array that had to be converted is copied, because it may share its memory with an array of the user's.
        setattr(state, name, array if array is given and array.flags.writeable else array.copy())
    if not np.isfinite(state.Y).all():
        raise divergence(state.iteration, next(_iterations(phases, state.iteration), phases[-1]))
    return [state.Y, state.velocity, state.gain, state.shift]


def _evaluate(objective: Objective, Y: NDArray[np.float64], exaggeration: float, with_cost: bool) -> Evaluation:
    """Return the value of an objective after checking its arrays and numbers, because users can write objectives."""
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


def phase_at_end(phases: Sequence[Phase], n_iter: int) -> Phase:
    """Return the phase of the last iteration of an optimization that ended after ``n_iter`` iterations."""
    ends = np.cumsum([phase.n_iter for phase in phases])
    return phases[min(int(np.searchsorted(ends, n_iter)), len(phases) - 1)]


def _iterations(phases: Sequence[Phase], first: int, until: int | None = None) -> Iterator[Phase]:
    """Yield the phase of each iteration from number ``first`` on, and before number ``until``."""
    all_phases = chain.from_iterable(repeat(phase, phase.n_iter) for phase in phases)
    return islice(all_phases, first, until)


def divergence(iteration: int, phase: Phase) -> FloatingPointError:
    """Return the error of a divergence, with advice that fits the steps of the phase."""
    if phase.relative:
        advice = "The start may be too wide: sktsne.initialization.rescale(init) makes it narrow."
    else:
        advice = 'Lower learning_rate (learning_rate="auto" is safe).'
    return FloatingPointError(
        f"The optimization diverged at iteration {iteration} with learning_rate={phase.learning_rate:g}. {advice}"
    )
