"""What a fit tells while it runs: lines on the terminal, a user's callback, scikit-learn's callbacks, a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checkpoint import fingerprint, save
from .optimizer import CHECK_EVERY, Progress, Result, State

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9 knows no callbacks

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """In the place of scikit-learn's."""

    def with_callbacks(method: Any) -> Any:
        """Return the method as it is."""
        return method


__all__ = ["CallbackSupportMixin", "Reports", "Tasks", "with_callbacks"]


class Tasks:
    """The tasks of a fit, of which scikit-learn's callbacks hear: its stages, and in the last stretches of iterations.

    Without such callbacks nothing is done.
    """

    def __init__(self, estimator: Any, n_stages: int, X: Any, y: Any) -> None:
        self._arguments = {"estimator": estimator, "X": X, "y": y}
        self._open = []
        if hasattr(estimator, "_skl_callbacks"):
            self._open.append(estimator._init_callback_context(max_subtasks=n_stages))
            self._open[-1].call_on_fit_task_begin(**self._arguments)

    def begin(self, name: str, n_subtasks: int = 0) -> None:
        """Begin a part of the task that was begun last and not ended, itself of at most so many parts."""
        if self._open:
            self._open.append(self._open[-1].subcontext(name, max_subtasks=n_subtasks))
            self._open[-1].call_on_fit_task_begin(**self._arguments)

    def end(self, fitted: Callable[[], dict[str, Any]] | None = None) -> bool:
        """End the task that was begun last, and return whether a callback wants no more of its kind.

        ``fitted`` returns the attributes that the estimator would have if it ended here.
        """
        if not self._open:
            return False
        return bool(self._open.pop().call_on_fit_task_end(**self._arguments, reconstruction_attributes=fitted))


class Reports:
    """Tells from time to time how far the optimization is: the ``report`` of `minimize`.

    ``fitted(n_iter, cost, embedding)`` returns the attributes of the estimator if it ended there.
    """

    def __init__(
        self, estimator: Any, order: NDArray[np.intp], state: State, fitted: Callable[..., dict[str, Any]]
    ) -> None:
        self.estimator = estimator
        self.order = order
        self.state = state
        self.fitted = fitted
        self._checked = self._told = state.iteration
        self._time = time.perf_counter()
        estimator._tasks.begin("iterations")

    @property
    def embedding(self) -> NDArray[np.float64]:
        """The map as it is, centered, with its points in the order of the rows."""
        Y = np.empty_like(self.state.Y)
        Y[self.order] = self.state.Y - self.state.Y.mean(axis=0)
        return Y

    def __call__(self, progress: Progress) -> bool:
        """Tell, save, and return whether the user wants the fit to stop."""
        estimator, (iteration, cost, gradient_norm, _) = self.estimator, progress
        if iteration % CHECK_EVERY == 0:
            self._check(iteration, cost, gradient_norm)
        if iteration % estimator.callback_every:
            return False
        stop = False
        if iteration > self._told:  # not where a fit goes on
            stop = estimator._tasks.end(lambda: self.fitted(iteration, cost, self.embedding))
            estimator._tasks.begin("iterations")
            self._told = iteration
        if estimator.callback is not None:
            stop |= bool(estimator.callback(iteration, cost, self.embedding))
        return stop

    def end(self, result: Result) -> dict[str, Any]:
        """Tell the end, and return the attributes of the fit."""
        attributes = self.fitted(result.n_iter, result.cost, self.embedding)
        new = result.n_iter > self._told
        self.estimator._tasks.end((lambda: attributes) if new else None)  # the last stretch may be empty
        return attributes

    def _check(self, iteration: int, cost: float, gradient_norm: float) -> None:
        estimator, hashes = self.estimator, self.estimator._known_rows.hashes
        before, self._time = self._time, time.perf_counter()
        done, self._checked = iteration - self._checked, iteration
        estimator._log(
            f"Iteration {iteration}: error = {cost:.7f}, gradient norm = {gradient_norm:.7f} "
            f"({done} iterations in {self._time - before:.3f}s)",
            level=2,
        )
        if estimator.warm_start:
            estimator._resumable = self.state.copy(), self.order, hashes
        if estimator.checkpoint is not None:
            save(Path(estimator.checkpoint), self.state, self.order, fingerprint(estimator, hashes))
