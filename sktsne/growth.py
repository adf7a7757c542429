"""Maps that grow: a fitted map and new rows become a map of all of them, in which the old rows keep their places."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from ._anchored import check_strength, fit_anchored
from ._base import BaseEmbedding
from ._pipeline import embedder_of
from .reliability.rows import given_matrix

# With this strength, 898 digits in a t-SNE map moved on average by 0.02 of the standard deviation of the map when 899
# other digits came, of which 98.6 % had mostly neighbors of their own kind. In a map without targets, 98.7 % had.
STRENGTH = 0.1


def extend(estimator: Any, X: Any, *, strength: float | str = "auto", sample_weight: Any = None) -> Any:
    """Return a new estimator whose map shows the rows of a fitted map and new rows, the old ones near their places.

    The new rows start among their neighbors, and then all rows are fitted together from there, without early
    exaggeration. Unlike points that ``transform`` places one by one, new points of the extended map also attract and
    repel each other, and the old ones make room for them. See :doc:`/guide/sequences`.

    Parameters
    ----------
    estimator : TSNE, SNE, Pipeline or search
        A fitted estimator, a pipeline that ends with one, or a search whose best estimator is one of these. It is not
        changed.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The old and the new rows, in any order. Old rows are recognized by their values, as in ``transform``. Rows of
        the fit that ``X`` lacks are left out of the new map. If ``X`` has more copies of a row than the fit has, the
        further ones count as old, too, and share a place.
    strength : float or "auto", default="auto"
        How firmly the old rows are held at their places, as ``target_strength`` of ``fit``: 0 lets them move freely,
        and with ``numpy.inf`` they do not move at all. "auto" is 0.1 for t-SNE, with which they hardly move, and 10 for
        SNE, whose maps are about a tenth as wide.
    sample_weight : float or array-like of shape (n_samples,), default=None
        The weights of the rows of ``X``, as in ``fit``. They must be given if ``estimator`` was fitted with weights.

    Returns
    -------
    extended : TSNE, SNE or Pipeline
        A fitted estimator with the parameters of the old one, whose ``embedding_`` has the rows of ``X`` in their
        order. The earlier steps of a pipeline are copies of the fitted ones.

    Raises
    ------
    NotFittedError
        If ``estimator`` is not fitted.
    TypeError
        If ``estimator`` or ``strength`` is of another kind, or ``X`` holds no numbers.
    ValueError
        If ``X`` has other columns than the rows of the fit, or holds none of these rows; if weights are missing or not
        accepted; if a pipeline does not end with the embedding; if ``anchors`` is an array, which has no entries for
        new rows; or if the fit got distances or affinities in place of rows.

    See Also
    --------
    sktsne.TSNE.transform : Places new rows one by one in a map that does not change.
    sktsne.sequences.fit_sequence : Maps of sets whose common rows change from set to set.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE
    >>> from sktsne.growth import extend
    >>> X = load_iris().data
    >>> half = TSNE(random_state=0).fit(X[::2])
    >>> whole = extend(half, X, strength=np.inf)
    >>> whole.embedding_.shape
    (150, 2)
    >>> np.array_equal(whole.embedding_[::2], half.embedding_)
    True
    """
    check_strength(strength)
    estimator = getattr(estimator, "best_estimator_", estimator)
    old = _fitted_embedder(estimator)
    if old._map.weights is not None and sample_weight is None:
        raise ValueError("sample_weight == None, must hold the weights of X, because the fitted rows have weights.")
    if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
        X = estimator[:-1].transform(X)
    places = old._find(old._validate(X, reset=False))
    places = _each_with_its_own(places, old._known_rows.groups)
    is_old = places >= 0
    if not is_old.any():
        raise ValueError(f"X must hold rows of the fit, to extend its map, and none of its {len(places)} rows is one.")
    embedder = clone(old)
    targets = np.full((len(places), old.embedding_.shape[1]), np.nan)
    targets[is_old] = old.embedding_[places[is_old]]
    changes = {"init": "random", "early_exaggeration_iter": 0}  # with targets, new rows start near their neighbors
    fit_anchored(embedder, X, targets, strength, STRENGTH, changes, sample_weight)
    # A copy of a pipeline has copies of its steps, but the new embedding in place of the old one.
    return deepcopy(estimator, {id(old): embedder})


def _fitted_embedder(estimator: Any) -> Any:
    """Return the estimator with the map; raise a TypeError or ValueError if its map cannot be extended."""
    embedder = embedder_of(estimator) if hasattr(estimator, "get_params") else estimator
    if not isinstance(embedder, BaseEmbedding):
        raise TypeError(
            f"estimator == {embedder!r}, must be a TSNE or SNE of sktsne, or a pipeline that ends with one."
        )
    if isinstance(estimator, Pipeline) and estimator.steps[-1][1] is not embedder:
        raise ValueError(f"estimator must end with {embedder!r}, and its last step is {estimator.steps[-1][1]!r}.")
    if not (embedder.anchors is None or isinstance(embedder.anchors, str)):
        raise ValueError(
            "anchors is an array with an entry for each row of the fit, must be None or 'pca' to extend its map, for "
            "example by set_params(anchors=None)."
        )
    if given_matrix(embedder):
        raise ValueError(
            f"{given_matrix(embedder)} has no rows by whose values extend could recognize the old ones: use "
            "sktsne.sequences.fit_sequence, whose keys name the rows."
        )
    return embedder


def _each_with_its_own(places: NDArray[np.intp], groups: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the places of rows in a fit, of which equal rows have different ones as far as the fit has as many.

    Parameters
    ----------
    places : ndarray of shape (n_rows,), intp
        For each row, the place in the fit of any row that equals it, or -1 if there is none.
    groups : ndarray of shape (n_samples,), intp
        The group of each row of the fit, from 0 on; equal rows have the same group.

    Returns
    -------
    own : ndarray of shape (n_rows,), intp
        The place of the k-th equal row of the fit for the k-th of equal rows; for further ones, their ``places``.
    """
    of_fit, counts = np.argsort(groups, kind="stable"), np.bincount(groups)
    known = np.flatnonzero(places >= 0)
    known = known[np.argsort(groups[places[known]], kind="stable")]
    group = groups[places[known]]
    rank = np.arange(len(known)) - np.searchsorted(group, group)
    fits = rank < counts[group]
    own = places.copy()
    own[known[fits]] = of_fit[(np.cumsum(counts) - counts)[group[fits]] + rank[fits]]
    return own
