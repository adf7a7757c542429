"""The fit of a map whose rows have places in an earlier map: the step that growing maps and sequences share."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import check_choice, check_number
from .objectives import JointKL

# Maps of SNE are about a tenth as wide as those of t-SNE, so that the squares of distances are a hundredth as large.
STRENGTH_OF_SNE = 100.0


def check_strength(strength: Any) -> None:
    """Raise a TypeError or ValueError unless ``strength`` is "auto" or a number from 0 to infinity."""
    if isinstance(strength, str):
        check_choice("strength", strength, ("auto",), " or a number")
    else:
        check_number("strength", strength, Real, 0, infinite=True)


def fit_anchored(
    embedder: Any,
    X: Any,
    targets: NDArray[np.floating],
    strength: float | str,
    usual: float,
    parameters: dict[str, Any],
    sample_weight: Any = None,
) -> None:
    """Fit an estimator to rows of which some have targets.

    Parameters
    ----------
    embedder : TSNE or SNE
        The estimator, which is fitted. Its parameters are the same before and after.
    X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
        The rows.
    targets : ndarray of shape (n_samples, n_components)
        The places that hold the rows, with NaN for each row that has none.
    strength : float or "auto"
        The strength of the targets, from 0 to infinity.
    usual : float
        The strength that "auto" stands for with t-SNE.
    parameters : dict of str to object
        Parameters that have other values during the fit.
    sample_weight : array-like of shape (n_samples,), default=None
        The weights of the rows.
    """
    if isinstance(strength, str):
        strength = usual if issubclass(embedder._objective, JointKL) else STRENGTH_OF_SNE * usual
    # No checkpoint is saved, because the fits of a sequence would find the files of one another.
    changes = {"checkpoint": None, **parameters}
    kept = {name: getattr(embedder, name) for name in changes}
    for name, value in changes.items():  # not by set_params, because a subclass may hide a parameter
        setattr(embedder, name, value)
    embedder.fit(X, sample_weight=sample_weight, targets=targets, target_strength=strength)
    for name, value in kept.items():
        setattr(embedder, name, value)
