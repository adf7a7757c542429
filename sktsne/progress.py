"""Callbacks, which watch a fit: their contract, and a progress bar for long fits.

The bar needs tqdm, an optional extra that is imported when a fit begins: ``pip install "sktsne[progress]"``.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Callback(Protocol):
    """The type of the parameter ``callback``: a function, an object that is called like a function, or a list of these.

    A callback may have two methods:

    - ``stage(name, estimator)`` returns a context manager, in which a stage of the fit runs. The stages are named as in
      ``timings_``. With several callbacks, the context of the first callback is the outermost. No context can suppress
      an error of the fit.
    - ``tick(iteration)`` is called after every iteration with the number of iterations done. The cost is not computed
      for this call, and what ``tick`` returns has no effect.

    Examples
    --------
    A function that ends a fit as soon as the cost is below 1:

    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE
    >>> from sktsne.progress import Callback
    >>> def good_enough(iteration, cost, embedding):
    ...     return cost < 1.0
    >>> callback: Callback = good_enough
    >>> TSNE(callback=callback, callback_every=10, random_state=0).fit(load_iris().data).n_iter_ < 1000
    True
    """

    def __call__(self, iteration: int, cost: float, embedding: NDArray[np.float64]) -> bool | None:
        """Receive the state of a running fit, and return True to end the fit.

        Parameters
        ----------
        iteration : int
            The number of iterations done.
        cost : float
            The cost in nats, without exaggeration.
        embedding : ndarray of shape (n_samples, n_components)
            A copy of the map.

        Returns
        -------
        stop : bool or None
            Whether the fit should end.
        """


class ProgressBar:
    """Show how far a fit is, in a terminal or a notebook: a ``callback`` for the estimators.

    The bar shows the stage and, during the optimization, how many of ``max_iter`` iterations are done, the time so far
    and the time left if ``max_iter`` is reached, the cost, and whether early exaggeration lasts. The bar moves after
    every iteration, at most ten times a second; the cost is that of the last of every ``callback_every`` iterations. A
    notebook without ipywidgets shows the bar as text. No bar appears where standard error is a file or a pipe, or is
    closed; ``verbose=2`` prints lines there. Fits in several threads may share a bar: each fit shows its own progress.

    See Also
    --------
    sklearn.callback.ProgressBar : From scikit-learn 1.9 on, bars for pipelines and searches with all their steps.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE
    >>> from sktsne.progress import ProgressBar
    >>> X, y = load_iris(return_X_y=True)
    >>> tsne = TSNE(callback=ProgressBar(), callback_every=10, random_state=0).fit(X)
    """

    def __init__(self) -> None:
        self._bars: dict[int, Any] = {}  # the bar of each thread that fits an estimator

    def __repr__(self) -> str:
        return "ProgressBar()"

    @contextmanager
    def stage(self, name: str, estimator: Any) -> Iterator[None]:
        """Show a stage of a fit while it runs.

        Parameters
        ----------
        name : str
            The stage, as in ``timings_``.
        estimator : TSNE or SNE
            The estimator that is fitted.

        Returns
        -------
        context : context manager
            The context in which the stage runs.

        Raises
        ------
        ImportError
            If tqdm is not installed.
        """
        try:
            from tqdm import TqdmWarning

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TqdmWarning)  # that ipywidgets is missing: the bar is text then
                from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError('ProgressBar needs tqdm, which pip install "sktsne[progress]" gets.') from error
        # A process without a console may have no standard error.
        closed = sys.stderr is None or getattr(sys.stderr, "closed", False)
        # Standard error of a notebook shows a bar although it is no terminal.
        in_notebook = type(sys.stderr).__module__.startswith("ipykernel")
        last = name == "optimization"
        with tqdm(
            desc=estimator._label,
            total=estimator.max_iter if last else None,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
            if last
            else "{desc}: " + name,
            leave=last,
            dynamic_ncols=True,
            miniters=1,  # each iteration may move the bar
            disable=closed or (False if in_notebook else None),  # None is no bar unless standard error is a terminal
        ) as bar:
            self._bars[get_ident()] = bar
            try:
                bar.early, bar.cost = estimator.early_exaggeration_iter, ""
                yield
                if last:  # a fit that has converged is complete, too
                    bar.cost = f", cost {estimator.kl_divergence_:.4f}"
                    done = estimator.n_iter_ + 1
                    self._move(estimator.max_iter, done, done)
            finally:
                del self._bars[get_ident()]

    def __call__(self, iteration: int, cost: float, embedding: Any = None) -> None:
        """Show the cost.

        Parameters
        ----------
        iteration : int
            Iterations done.
        cost : float
            The cost.
        embedding : ndarray of shape (n_samples, n_components), default=None
            Not used.
        """
        self._bars[get_ident()].cost = f", cost {cost:.4f}"
        self.tick(iteration)

    def tick(self, iteration: int) -> None:
        """Move the bar.

        Parameters
        ----------
        iteration : int
            Iterations done.
        """
        self._move(iteration, iteration, self._bars[get_ident()].total)

    def _move(self, place: int, iteration: int, n_iter: int) -> None:
        bar = self._bars[get_ident()]
        # The bar's text has the iterations, because a notebook's bar cannot change the number that it counts to.
        phase = ", early exaggeration" if iteration < bar.early else ""
        bar.set_postfix_str(f"{iteration}/{n_iter}{bar.cost}{phase}", refresh=False)
        bar.update(place - bar.n)
