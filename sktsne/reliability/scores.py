"""All scores of reliability at once, with the table of which fit serves which score; a scorer for searches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._checks import as_random_state, check_n_jobs
from .distances import count_neighbors, outliers
from .nulls import significance
from .rows import embedder_of_fit, given_matrix, rows_of_fit
from .sensitivity import perturbation, refusal_of, singularity
from .stability import instability


class Score(NamedTuple):
    """A score that `reliability_scores` computes.

    Parameters
    ----------
    compute : callable
        Returns the scores, shape (n_samples,). It is called with the ``estimator``, ``X``, ``random_state`` and
        ``n_jobs`` of `reliability_scores`.
    serves : callable
        Returns whether a fitted `TSNE` or `SNE` and the rows of its fit have what the score needs.
    """

    compute: Callable[[Any, Any, Any, int | None], NDArray[np.float64]]
    serves: Callable[[Any, Any], bool]


def _perturbation(estimator: Any, X: Any, random_state: Any, n_jobs: int | None) -> NDArray[np.float64]:
    return perturbation(estimator, X)


def _singularity(estimator: Any, X: Any, random_state: Any, n_jobs: int | None) -> NDArray[np.float64]:
    return singularity(estimator)


def _significance(estimator: Any, X: Any, random_state: Any, n_jobs: int | None) -> NDArray[np.float64]:
    return significance(estimator, X, random_state=random_state, n_jobs=n_jobs)


def _instability(estimator: Any, X: Any, random_state: Any, n_jobs: int | None) -> NDArray[np.float64]:
    return instability(estimator, random_state=random_state, n_jobs=n_jobs).neighbors


def _outliers(estimator: Any, X: Any, random_state: Any, n_jobs: int | None) -> NDArray[np.float64]:
    return outliers(estimator, X)


def default_of(function: Callable[..., Any], parameter: str) -> Any:
    """Return the default of a parameter."""
    return signature(function).parameters[parameter].default


# The scores in the order in which they are returned.
SCORES: dict[str, Score] = {
    "perturbation": Score(_perturbation, lambda embedder, rows: not refusal_of(embedder)),
    "singularity": Score(_singularity, lambda embedder, rows: True),
    "significance": Score(_significance, lambda embedder, rows: not given_matrix(embedder) and rows.shape[1] > 1),
    "instability": Score(_instability, lambda embedder, rows: rows.shape[0] > default_of(instability, "n_neighbors")),
    "outliers": Score(
        _outliers, lambda embedder, rows: count_neighbors(embedder, rows) >= default_of(outliers, "n_neighbors")
    ),
}


def reliability_scores(
    estimator: Any,
    X: Any,
    *,
    names: Iterable[str] | None = None,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Return several scores of reliability for each point of a map, with their default parameters.

    In every score, low is unremarkable, and high marks a point whose place must not be believed. The scores answer
    different questions, which their own pages explain, so a point may be high in one and low in another.

    Parameters
    ----------
    estimator : TSNE, SNE, Pipeline or search
        A fitted estimator, a pipeline with one, or a search whose best estimator is one of these. It is not changed.
    X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
        The rows of the fit, or their distances or affinities if these are precomputed, as they enter ``estimator``.
    names : sequence of str, default=None
        The names of the scores: "perturbation", "singularity", "significance", "instability" (of the neighbors) and
        "outliers". None is every score that the fit serves: precomputed distances have no "perturbation" and no
        "significance", and precomputed affinities have no "outliers" either. A single column has no "significance",
        and up to 15 rows and 20 distinct rows have no "instability" and no "outliers".
    random_state : int, RandomState instance or None, default=None
        Seeds the scores that make maps again. Pass an int for reproducible results.
    n_jobs : int, default=None
        The number of fits at a time, by :class:`joblib.Parallel`. The result does not depend on ``n_jobs``.

    Returns
    -------
    scores : dict of str to ndarray of shape (n_samples,), float64
        The scores by their names, in the order in which ``names`` lists them above.

    Raises
    ------
    NotFittedError
        If ``estimator`` is not fitted.
    TypeError, ValueError
        If a parameter is not accepted, ``X`` does not hold the rows of the fit, or the fit does not serve a score in
        ``names``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE
    >>> from sktsne.reliability import reliability_scores
    >>> X = load_iris().data
    >>> scores = reliability_scores(TSNE(random_state=0).fit(X), X, random_state=0)
    >>> list(scores)
    ['perturbation', 'singularity', 'significance', 'instability', 'outliers']
    >>> scores["outliers"].shape
    (150,)
    """
    embedder = embedder_of_fit(estimator)
    wanted = None if names is None else _check_names(names)
    check_n_jobs(n_jobs)
    as_random_state(random_state)
    rows = rows_of_fit(estimator, X)[1]  # raises an error before the first score is computed
    served = [name for name, score in SCORES.items() if score.serves(embedder, rows)]
    wanted = served if wanted is None else wanted
    # The scores that the fit does not serve are first, because their functions raise errors with the reason.
    order = sorted(wanted, key=lambda name: name in served)
    found = {name: SCORES[name].compute(estimator, X, random_state, n_jobs) for name in order}
    return {name: found[name] for name in SCORES if name in found}


def singularity_scorer(estimator: Any, X: Any = None, y: Any = None) -> float:
    """Score how little a map is fractured: minus the 0.95 quantile of the singularity of its points.

    Use the function as the ``scoring`` of a search over perplexities. Too small a perplexity breaks a map into pieces,
    and too large a one crowds small groups together; both let many points slide. The authors of the score recommend a
    perplexity where the curve of the scores bends, which the ``mean_test_score`` of a search shows [1]_. The score uses
    the fit alone, so that one split of all rows is enough.

    Parameters
    ----------
    estimator : TSNE, SNE or Pipeline
        A fitted estimator, or a pipeline with one.
    X, y : None
        Ignored.

    Returns
    -------
    score : float
        The score, larger for better maps. Scores of t-SNE and of SNE cannot be compared.

    See Also
    --------
    singularity : The scores of single points.
    sktsne.metrics.pbic : A criterion for the perplexity from the cost of the map.

    References
    ----------
    .. [1] Z. Liu, R. Ma and Y. Zhong, "Assessing and improving reliability of neighbor embedding methods: a
       map-continuity perspective", Nature Communications 16, 5037, 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sktsne import TSNE
    >>> from sktsne.reliability import singularity_scorer
    >>> X = load_digits().data[:500]
    >>> rows = np.arange(len(X))
    >>> search = GridSearchCV(
    ...     TSNE(random_state=0), {"perplexity": [2, 30]}, scoring=singularity_scorer, cv=[(rows, rows)]
    ... )
    >>> search.fit(X).best_params_
    {'perplexity': 30}
    """
    # Without interpolation, which makes NaN of infinite scores.
    return -float(np.quantile(singularity(estimator), 0.95, method="higher"))


def _check_names(names: Any) -> list[str]:
    """Return the names as a list; raise a TypeError or ValueError unless they are names of scores."""
    accepted = ", ".join(map(repr, SCORES))
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"names == {names!r}, must be None or a sequence of names from {accepted}.")
    wanted = list(names)
    for name in wanted:
        if not isinstance(name, str) or name not in SCORES:
            raise ValueError(f"names has {name!r}, must have names from {accepted}.")
    if not wanted:
        raise ValueError(f"names == {names!r}, must have at least one name from {accepted}.")
    return wanted
