"""Singularity: whether a point lies where the map is fractured, by the Hessian of its leave-one-out cost."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..objectives import objective_of_fit
from ..parallel import Workers, effective_n_threads
from .rows import embedder_of_fit


def singularity(estimator: Any) -> NDArray[np.float64]:
    r"""Return for each point how easily it slides in the map: 1 / the least stiffness with which it is held.

    All other points are held fixed, and the cost is a function :math:`L_i` of the place :math:`y_i` of one point. Its
    second derivatives say how stiffly the point is held. Where the smallest eigenvalue of this Hessian is near 0, a
    tiny change of the row moves the point far, or lets it settle elsewhere [1]_:

    .. math:: s_i = 1 / \lambda_{\min}(\partial^2 L_i / \partial y_i^2)

    with n times the cost as :math:`L_i` for t-SNE, so that scores do not depend on n, and the cost for SNE. A score is
    infinite where the eigenvalue is not positive: the cost is lower on both sides of the point, as it may be where the
    fit has not converged.

    High scores are common all over a map that is fractured into many small pieces, as by a small perplexity, and rare
    in a map of whole groups; see :func:`perturbation` for gaps between groups. In t-SNE a point that lies alone at the
    mean distance 1 from its neighbors has an infinite score, because the attraction of a heavy tail has no stiffness
    there. The score uses only the affinities and the map of the fit, and serves all fits. It does not say where else a
    point could be.

    Parameters
    ----------
    estimator : TSNE, SNE, Pipeline or search
        A fitted estimator, a pipeline with one, or a search whose best estimator is one of these.

    Returns
    -------
    scores : ndarray of shape (n_samples,), float64
        The scores, positive or infinite. Sums over all pairs compute them, in a time proportional to n². For t-SNE with
        one or two components and more than 10,000 rows, a mesh does, with errors of about 0.2 % of the curvature.

    Raises
    ------
    NotFittedError, TypeError
        If ``estimator`` is not a fitted estimator of these kinds.

    See Also
    --------
    perturbation : How far a point moves when its row moves.

    References
    ----------
    .. [1] Z. Liu, R. Ma and Y. Zhong, "Assessing and improving reliability of neighbor embedding methods: a
       map-continuity perspective", Nature Communications 16, 5037, 2025, section "Singularity score".

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sktsne import TSNE
    >>> from sktsne.reliability import singularity
    >>> X = load_digits().data[:500]
    >>> scores = [np.quantile(singularity(TSNE(perplexity=p, random_state=0).fit(X)), 0.95) for p in (3, 30)]
    >>> bool(scores[0] > 2 * scores[1])
    True
    """
    embedder = embedder_of_fit(estimator)
    with Workers(effective_n_threads(embedder.n_jobs)) as workers:
        objective, Y = objective_of_fit(embedder, workers)
        hessians = objective.point_hessians(Y, embedder._map.exaggeration)
    least = np.linalg.eigvalsh(hessians)[:, 0]
    with np.errstate(divide="ignore"):
        return np.where(least > 0.0, 1.0 / np.maximum(least, 0.0), np.inf)
