"""A running fit: its stages, printed lines, calls of the user's and of scikit-learn's callbacks, and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import check_stop
from .optimizer import CHECK_EVERY, Progress, Result
from .progress import Callback

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9 has no callbacks

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """An empty replacement for the class of scikit-learn."""

    def with_callbacks(method: Any) -> Any:
        """Return the method unchanged."""
        return method


__all__ = [
    "CallbackSupportMixin",
    "Callbacks",
    "EmbeddingMixin",
    "Reports",
    "Tasks",
    "callbacks_by_name",
    "with_callbacks",
]

Callbacks = Callback | list[Callback] | tuple[Callback, ...] | None


def callbacks_by_name(callback: Callbacks) -> dict[str, Callback]:
    """Return the callbacks that the parameter ``callback`` holds, each by what errors call it."""
    if isinstance(callback, list | tuple):
        return {f"callback[{place}] == {one!r}": one for place, one in enumerate(callback)}
    return {} if callback is None else {f"callback == {callback!r}": callback}


@contextmanager
def stages_of(callback: Callbacks, name: str, estimator: Any) -> Iterator[None]:
    """Run a stage in the context managers of the user's callbacks, that of the first callback outermost."""
    failed: BaseException | None = None
    with ExitStack() as stages:
        for named, one in callbacks_by_name(callback).items():
            stage = getattr(one, "stage", None)
            if stage is None:
                continue
            context = stage(name, estimator)
            if not isinstance(context, AbstractContextManager):
                raise TypeError(f"{named} has a method stage that returned {context!r}, must return a context manager.")
            stages.enter_context(context)
        try:
            yield
        except BaseException as error:
            failed = error
            raise
    if failed is not None:  # a context manager has suppressed the error, but the fit lacks the result of the stage
        raise failed


class EmbeddingMixin:
    """What estimators on one machine and on a cluster share: timed stages, messages, and the columns of the map."""

    @contextmanager
    def _stage(self: Any, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        with stages_of(self.callback, name, self):
            yield
        seconds = time.perf_counter() - begin
        self.timings_[name] = self.timings_.get(name, 0.0) + seconds
        self._log(f"{name.capitalize()} done in {seconds:.3f}s")

    def _log(self: Any, message: str, level: int = 1) -> None:
        if self.verbose >= level:
            print(f"[{self._label}] {message}")

    @property
    def _n_features_out(self: Any) -> int:
        return int(self.embedding_.shape[1])


class Tasks:
    """Reports the tasks of a fit to scikit-learn's callbacks: the stages and, within the last stage, the iterations.

    The methods do nothing if the estimator has no such callbacks.
    """

    def __init__(self, estimator: Any, n_stages: int, X: Any, y: Any) -> None:
        self._arguments = {"estimator": estimator, "X": X, "y": y}
        self._open = []
        if hasattr(estimator, "_skl_callbacks"):
            self._open.append(estimator._init_callback_context(max_subtasks=n_stages))
            self._open[-1].call_on_fit_task_begin(**self._arguments)

    def begin(self, name: str, n_subtasks: int = 0) -> None:
        """Begin a task inside the innermost open task; the new task has at most ``n_subtasks`` tasks inside."""
        if self._open:
            self._open.append(self._open[-1].subcontext(name, max_subtasks=n_subtasks))
            self._open[-1].call_on_fit_task_begin(**self._arguments)

    def end(self, fitted: Callable[[], dict[str, Any]] | None = None) -> bool:
        """End the innermost open task, and return whether a callback wants the fit to stop.

        ``fitted`` returns the attributes that the estimator would have if the fit ended here.
        """
        if not self._open:
            return False
        return bool(self._open.pop().call_on_fit_task_end(**self._arguments, reconstruction_attributes=fitted))


class Reports:
    """Reports the progress of an optimization: the ``report`` of `minimize`.

    Parameters
    ----------
    points : sktsne._base.Points
        The points of the optimization, whose state and order change while it runs.
    fitted : callable
        ``fitted(n_iter, cost, embedding)`` returns the attributes of the estimator if the fit ended there.
    tasks : Tasks
        The tasks of the fit.
    log : callable
        Prints a message: ``log(message, level=2)``.
    save : callable
        ``save()`` keeps the state for a later fit.
    callback : Callback, sequence of Callback or None
        The user's.
    callback_every : int
        Number of iterations from one call of the callbacks to the next.
    n_early : int
        Number of iterations with early exaggeration.
    """

    def __init__(
        self,
        points: Any,
        fitted: Callable[[int, float, NDArray[np.float64]], dict[str, Any]],
        *,
        tasks: Tasks,
        log: Callable[..., None],
        save: Callable[[], None],
        callback: Callbacks,
        callback_every: int,
        n_early: int,
    ) -> None:
        self._n_early = n_early
        self._points, self._fitted = points, fitted
        self._tasks, self._log, self._save = tasks, log, save
        self._callbacks, self._callback_every = callbacks_by_name(callback), callback_every
        ticks = [getattr(one, "tick", None) for one in self._callbacks.values()]
        self._ticks = [tick for tick in ticks if tick is not None]
        self._checked = self._reported = points.state.iteration
        self._time = time.perf_counter()
        tasks.begin("iterations")

    def _embedding(self) -> NDArray[np.float64]:
        """Return the current map, centered unless it has a place, with its points in the order of the rows."""
        Y: NDArray[np.float64] = self._points.state.Y
        embedding = np.empty_like(Y)
        embedding[self._points.order] = Y - self._points.objective.frame.center(Y)
        return embedding

    def __call__(self, progress: Progress) -> bool:
        """Report and save, and return whether the user wants the fit to stop."""
        iteration, cost, gradient_norm, _ = progress
        if iteration % CHECK_EVERY == 0:
            self._check(iteration, cost, gradient_norm)
        if iteration % self._callback_every:
            return False
        stop = False
        if iteration > self._reported:  # the interrupted fit has reported the first iteration of a resumed fit
            stop = self._tasks.end(lambda: self._fitted(iteration, cost, self._embedding()))
            self._tasks.begin("iterations")
            self._reported = iteration
        for named, callback in self._callbacks.items():
            stop |= check_stop(named, callback(iteration, cost, self._embedding()))
        return stop

    def tick(self, iteration: int) -> None:
        """Tell the callbacks with a method ``tick`` how many iterations are done."""
        for tick in self._ticks:
            tick(iteration)

    def end(self, result: Result) -> dict[str, Any]:
        """Report the end, and return the attributes of the fit."""
        attributes = self._fitted(result.n_iter, result.cost, self._embedding())
        new = result.n_iter > self._reported
        self._tasks.end((lambda: attributes) if new else None)  # the last task has no iterations if none is new
        return attributes

    def _check(self, iteration: int, cost: float, gradient_norm: float) -> None:
        before, self._time = self._time, time.perf_counter()
        done, self._checked = iteration - self._checked, iteration
        early = ", early exaggeration" if iteration <= self._n_early else ""
        self._log(
            f"Iteration {iteration}: cost = {cost:.7f}, gradient norm = {gradient_norm:.7f} "
            f"({done} iterations in {self._time - before:.3f}s{early})",
            level=2,
        )
        self._save()
