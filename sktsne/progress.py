"""Callbacks, which watch a fit: their contract, and a progress bar for long fits.

The bar needs tqdm, an optional extra that is imported when a fit begins: ``pip install "sktsne[progress]"``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Callback(Protocol):
    """The type of the parameter ``callback``: a function, or an object that is called like a function.

    A callback may have a method ``stage(name, estimator)`` that returns a context manager. Each stage of the fit, named
    as in ``timings_``, runs in that context.

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
    and the time left if ``max_iter`` is reached, the cost, and whether early exaggeration lasts. It moves every
    ``callback_every`` iterations. No bar appears where standard error is a file or a pipe; ``verbose=2`` prints lines.

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
        self._bar: Any = None

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
            from tqdm.auto import tqdm
        except ImportError as error:
            raise ImportError('ProgressBar needs tqdm, which pip install "sktsne[progress]" gets.') from error
        last = name == "optimization"
        with tqdm(
            desc=estimator._label,
            total=estimator.max_iter if last else None,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
            if last
            else "{desc}: " + name,
            leave=last,
            dynamic_ncols=True,
            disable=None,  # no bar unless standard error is a terminal
        ) as self._bar:
            try:
                self._early = estimator.early_exaggeration_iter
                yield
                if last:  # a fit that has converged is complete, too
                    done = estimator.n_iter_ + 1
                    self._move(estimator.max_iter, done, done, estimator.kl_divergence_)
            finally:
                self._bar = None

    def __call__(self, iteration: int, cost: float, embedding: Any = None) -> None:
        """Move the bar.

        Parameters
        ----------
        iteration : int
            Iterations done.
        cost : float
            The cost.
        embedding : ndarray of shape (n_samples, n_components), default=None
            Not used.
        """
        self._move(iteration, iteration, self._bar.total, cost)

    def _move(self, place: int, iteration: int, n_iter: int, cost: float) -> None:
        # The bar's text has the iterations, because a notebook's bar cannot change the number that it counts to.
        phase = ", early exaggeration" if iteration < self._early else ""
        self._bar.set_postfix_str(f"{iteration}/{n_iter}, cost {cost:.4f}{phase}", refresh=False)
        self._bar.update(place - self._bar.n)
