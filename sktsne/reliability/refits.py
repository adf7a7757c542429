"""Fits like a fitted one: of other rows or from other starts, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from numbers import Integral
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from .._checks import check_number

# What a fit reports, saves or continues is for the user's own fit.
SILENT = {"callback": None, "checkpoint": None, "verbose": 0, "warm_start": False}


def refitted(embedder: Any, X: Any, **changes: Any) -> Any:
    """Return a new estimator with the parameters of ``embedder`` and ``changes``, fitted to ``X``.

    Parameters
    ----------
    embedder : TSNE or SNE
        The fitted estimator, which is not changed. The new one reports nothing, saves nothing, and starts anew.
    X : {ndarray, sparse matrix} of shape (n, n_features) or (n, n)
        The rows, or their distances or affinities.
    **changes
        Parameters that differ from those of ``embedder``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE
    >>> from sktsne.reliability.refits import refitted
    >>> X = load_iris().data
    >>> refitted(TSNE(random_state=0, warm_start=True).fit(X), X, perplexity=10)
    TSNE(perplexity=10, random_state=0)
    """
    # sklearn.base.clone would pass scikit-learn's callbacks on, and copy the user's callbacks with all that they hold.
    fresh = type(embedder)(**embedder.get_params(deep=False))
    for name, value in {**SILENT, **changes}.items():  # the constructor of a subclass may have fewer parameters
        setattr(fresh, name, value)
    return fresh.fit(X)


def seeds_of(random_state: Any, n: int) -> NDArray[np.integer]:
    """Return n seeds; raise a ValueError for a ``random_state`` that is not accepted."""
    try:
        generator = check_random_state(random_state)
    except ValueError as error:
        accepted = "None, an integer from 0 to 2**32 - 1 or a RandomState"
        raise ValueError(f"random_state == {random_state!r}, must be {accepted}: {error}") from error
    seeds: NDArray[np.integer] = generator.randint(np.iinfo(np.int32).max, size=n)
    return seeds


def check_n_jobs(n_jobs: Any) -> None:
    """Raise a TypeError or ValueError unless ``n_jobs`` is None or an integer other than 0."""
    if n_jobs is None:
        return
    check_number("n_jobs", n_jobs, Integral, -np.inf)
    if n_jobs == 0:
        raise ValueError("n_jobs == 0, must be None or an integer other than 0.")


def run_fits(function: Callable[..., Any], embedder: Any, n_jobs: int | None, arguments: Iterable[Any]) -> list[Any]:
    """Return ``function(argument, n_jobs=...)`` for each argument, by `joblib.Parallel`.

    Parameters
    ----------
    function : callable
        A function that passes ``n_jobs`` on to a fit, whose result does not depend on it.
    embedder : TSNE or SNE
        The fitted estimator, whose ``n_jobs`` a single fit at a time gets. Several fits at a time get None, with which
        each uses its share of the cores.
    n_jobs : int or None
        The number of fits at a time.
    arguments : iterable
        The first argument of each call.
    """
    n_threads = embedder.n_jobs if effective_n_jobs(n_jobs) == 1 else None
    found: list[Any] = Parallel(n_jobs)(delayed(function)(argument, n_jobs=n_threads) for argument in arguments)
    return found
