"""Fits like a fitted one, of other rows or from other starts, several at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import NDArray

from .._checks import as_random_state

# What a fit reports, saves or continues is for the user's own fit, and its anchors are for its own rows.
OF_THE_FIT = {"anchors": None, "callback": None, "checkpoint": None, "verbose": 0, "warm_start": False}


def unfitted(embedder: Any, **changes: Any) -> Any:
    """Return a new estimator, not fitted, with the parameters of ``embedder`` and ``changes``.

    Parameters
    ----------
    embedder : TSNE or SNE
        The fitted estimator, which is not changed. A fit of the new one reports nothing, saves nothing, begins
        anew, and has no anchors.
    **changes
        Parameters that differ from those of ``embedder``.

    Examples
    --------
    >>> from sktsne import TSNE
    >>> from sktsne.reliability.refits import unfitted
    >>> unfitted(TSNE(random_state=0, warm_start=True), perplexity=10)
    TSNE(perplexity=10, random_state=0)
    """
    # sklearn.base.clone would pass scikit-learn's callbacks on, and copy the user's callbacks with all that they hold.
    fresh = type(embedder)(**embedder.get_params(deep=False))
    for name, value in {**OF_THE_FIT, **changes}.items():  # the constructor of a subclass may have fewer parameters
        setattr(fresh, name, value)
    return fresh


def seeds_of(random_state: Any, n: int) -> NDArray[np.integer]:
    """Return n seeds; raise a ValueError for a ``random_state`` that is not accepted."""
    seeds: NDArray[np.integer] = as_random_state(random_state).randint(np.iinfo(np.int32).max, size=n)
    return seeds


def run_fits(
    function: Callable[[Any], Any], embedder: Any, seeds: NDArray[np.integer], n_jobs: int | None, **changes: Any
) -> list[Any]:
    """Return ``function(estimator)`` for an unfitted estimator with each of the seeds, by `joblib.Parallel`.

    Parameters
    ----------
    function : callable
        A function that fits the estimator. Other processes may call it, so that it must be picklable.
    embedder : TSNE or SNE
        The fitted estimator whose parameters the unfitted ones have. A single fit at a time has its ``n_jobs``, too.
        Several fits at a time have ``n_jobs=None``, with which each uses its share of the cores.
    seeds : ndarray of int of shape (n_fits,)
        The ``random_state`` of each estimator.
    n_jobs : int or None
        The number of fits at a time.
    **changes
        Further parameters that differ from those of ``embedder``.
    """
    n_threads = embedder.n_jobs if effective_n_jobs(n_jobs) == 1 else None
    fits = [unfitted(embedder, random_state=int(seed), n_jobs=n_threads, **changes) for seed in seeds]
    found: list[Any] = Parallel(n_jobs)(delayed(function)(fit) for fit in fits)
    return found
