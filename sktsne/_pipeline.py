"""The embedding estimator inside a pipeline or a search, and the steps before it."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted


def place_of_embedding(pipeline: Pipeline) -> int:
    """Return the index of the last step with the attribute ``embedding_``."""
    for place in reversed(range(len(pipeline.steps))):
        if hasattr(pipeline.steps[place][1], "embedding_"):
            return place
    steps = ", ".join(type(step).__name__ for _, step in pipeline.steps)
    raise ValueError(f"estimator must have a step with the attribute embedding_, and none of {steps} has it.")


def last_step(estimator: Any) -> Any:
    """Return the last step of a pipeline, and any other estimator itself."""
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def fit_earlier_steps(estimator: Any, X: Any) -> Any:
    """Fit all steps of a pipeline but the last, and return what they make of X; any other estimator leaves X as it is.

    The pipeline then holds the fitted steps.
    """
    if not isinstance(estimator, Pipeline) or len(estimator.steps) == 1:
        return X
    earlier = estimator[:-1]
    X = earlier.fit_transform(X)
    estimator.steps = [*earlier.steps, estimator.steps[-1]]  # a pipeline that caches its steps fits copies of them
    return X


def embedder_of(estimator: Any) -> Any:
    """Return the fitted estimator with the map: ``estimator``, or a step of a pipeline, or the best one of a search."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(estimator, Pipeline):
        estimator = estimator.steps[place_of_embedding(estimator)][1]
    if not hasattr(estimator, "embedding_"):
        check_is_fitted(estimator)
        raise TypeError(
            f"estimator == {estimator!r}, must have the attribute embedding_ with the positions of the rows of its fit."
        )
    return estimator
