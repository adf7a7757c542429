"""Perturbation and singularity: how far a point moves, and how stiffly it is held, if all others keep their places."""

from __future__ import annotations

from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from .._checks import as_floats, check_number
from .._row_errors import numbering
from ..neighbors import METRICS
from ..neighbors.exact import RowSearch
from ..neighbors.metrics import traits_of
from ..neighbors.spaces import space_of
from ..objectives import objective_of_fit
from ..parallel import Workers, effective_n_threads
from ..placement import RowAttraction, descend
from .leave_one_out import LeaveOneOut
from .moves import MovedRows, Moves
from .rows import embedder_of_fit, given_matrix, rows_of_fit

# A moved row has arrived when its next step is shorter than this fraction of the standard deviation of the map.
PRECISION = 1e-3
# A moved row starts at its old place, and then at the points of its likeliest neighbors that are farther than this from
# the minimum that was found, because minima that are nearer to each other than the width of w would be one.
FAR = 2.0


def perturbation(estimator: Any, X: Any, *, n_directions: int = 3, step: float = 0.5) -> NDArray[np.float64]:
    r"""Return for each point how far it moves in the map when its row moves a little in the data.

    t-SNE may draw a gap where the data have none: then rows on both sides of the gap are nearly the same, and a row
    that moves a little jumps over it. Row i is taken out of the map, while all others keep their places. It moves by a
    small step along the first principal axes of the rows, forwards and backwards, and is placed again, where its part
    of the cost :math:`L_i` is least [1]_. The score is the farthest distance from the old place,

    .. math:: s_i = \max_{x'} \| f_i(x') - y_i \| \; / \; \operatorname{median}_j \sqrt{\frac{\sum_k p_{jk}
        \| y_j - y_k \|^2}{\sum_k p_{jk}}},

    with the place :math:`f_i(x')` of the moved row. The unit is the typical distance of a point from its neighbors in
    the map, with the affinities :math:`p_{jk}` of the fit (``affinities_``).

    A row that moves by half of the distance of its neighbors usually has a score below 1. Points beside a gap that the
    map invents have scores above 2; so has a point that lies at a place that is not the best one for its row. If rows
    vary in many directions, many scores are between 1 and 3, because such rows have no place in two dimensions, where
    even neighbors are far from each other. A low score does not say that the place is right: moves are along few
    directions, and only one row moves at a time. The map must be that of a fit that has converged: in one that ended
    before attraction and repulsion balance each other, scores mean nothing.

    Parameters
    ----------
    estimator : TSNE, SNE, Pipeline or search
        A fitted estimator, a pipeline with one, or a search whose best estimator is one of these.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        The rows of the fit, as they enter ``estimator``.
    n_directions : int, default=3
        The number of principal axes along which each row moves, forwards and backwards. At most as many are used as
        there are columns.
    step : float, default=0.5
        How far a row moves along an axis, in units of the distance of its neighbors along this axis, the square root of
        :math:`\sum_j p_{j|i} (t_j - t_i)^2` for principal components :math:`t`.

    Returns
    -------
    scores : ndarray of shape (n_samples,), float64
        The scores.

    Raises
    ------
    NotFittedError
        If ``estimator`` is not fitted.
    TypeError, ValueError
        If a parameter is not accepted, ``X`` does not hold the rows of the fit, or these rows cannot be moved:
        precomputed distances and affinities, neighbors of a transformer, and metrics other than "euclidean",
        "sqeuclidean", "seuclidean", "mahalanobis", "cosine" and "correlation" have no principal axes.

    See Also
    --------
    singularity : How easily a point slides in the map.

    Notes
    -----
    The other rows keep their bandwidths, and the neighbors of a moved row are searched among those of the row and the
    rows that have it as a neighbor; for a ``step`` far above 1, they would be others. In the paper all bandwidths are
    computed again, all rows are searched, and the user chooses the length of the moves in the unit of the rows. With
    "cosine" and "correlation" it is the direction of the row that moves.

    References
    ----------
    .. [1] Z. Liu, R. Ma and Y. Zhong, "Assessing and improving reliability of neighbor embedding methods: a
       map-continuity perspective", Nature Communications 16, 5037, 2025, section "Perturbation score".

    Examples
    --------
    Two clouds that overlap a little are drawn as two groups with a gap between them. The rows halfway between the
    centers could be on either side:

    >>> import numpy as np
    >>> from sktsne import TSNE
    >>> from sktsne.reliability import perturbation
    >>> X = np.random.default_rng(0).normal(size=(400, 2))
    >>> X[:200, 0] += 4.5
    >>> scores = perturbation(TSNE(perplexity=50, random_state=0).fit(X), X)
    >>> halfway = np.abs(X[:, 0] - 2.25) < 0.5
    >>> bool(np.mean(scores[halfway] > 2) > 10 * np.mean(scores[~halfway] > 2))
    True
    """
    check_number("n_directions", n_directions, Integral, 1)
    check_number("step", step, Real, 0, low_included=False)
    embedder = embedder_of_fit(estimator)
    if refusal := refusal_of(embedder):
        raise ValueError(refusal)
    embedder, rows = rows_of_fit(estimator, X)
    space = space_of(embedder._conditioning(rows), embedder._search.metric, embedder._search.params)
    with numbering(), Workers(effective_n_threads(embedder.n_jobs)) as workers:
        loo = LeaveOneOut(embedder, workers)
        farthest = np.zeros(len(loo.points))
        for moved in Moves(embedder, space, int(n_directions), float(step), workers):
            distances = np.linalg.norm(_placed(loo, moved, workers) - loo.points[moved.own], axis=1)
            np.maximum.at(farthest, moved.own, distances)
    # The unit is 0 only in a map that is a single place, which no fit returns.
    unit = typical_distance(embedder.affinities_, loo.points)
    return farthest / unit if unit > 0.0 else farthest


def typical_distance(affinities: Any, Y: NDArray[np.float64]) -> float:
    """Return the median over the points of the root mean square distance from a point to its neighbors in a map."""
    pairs = coo_array(affinities)
    i, j = pairs.row, pairs.col
    squares = np.zeros(pairs.nnz)
    for y in Y.T:
        squares += (y[i] - y[j]) ** 2
    with np.errstate(invalid="ignore"):
        means = np.bincount(i, pairs.data * squares, len(Y)) / np.bincount(i, pairs.data, len(Y))
    return float(np.sqrt(np.nanmedian(means)))


def _placed(loo: LeaveOneOut, moved: MovedRows, workers: Workers) -> NDArray[np.float64]:
    """Return the places of moved rows, at the lowest minima that were found."""
    precision = PRECISION * loo.points.std()

    def minima(some: NDArray[np.intp], start: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        springs = moved.springs if len(some) == len(moved.own) else moved.springs[some]
        attraction = RowAttraction(springs, loo.similarity, workers, loo.dtype, loo.points)
        return descend(partial(loo.evaluate, moved.own[some], attraction), start, precision)

    positions, costs = minima(np.arange(len(moved.own)), loo.points[moved.own])
    for start in loo.points[moved.likeliest.T]:
        some = np.flatnonzero(np.linalg.norm(start - positions, axis=1) > FAR)
        others, other_costs = minima(some, start[some])
        lower = other_costs < costs[some]
        positions[some[lower]], costs[some[lower]] = others[lower], other_costs[lower]
    return positions


def refusal_of(embedder: Any) -> str:
    """Return why the rows of a fit cannot be moved, or "" if they can."""
    search = embedder._search
    if matrix := given_matrix(embedder):
        return (
            f"{matrix}, must be a fit of rows: a row moves along principal axes, which a matrix of pairs does not have."
        )
    if not isinstance(search, RowSearch):
        return (
            f"neighbors == {embedder.neighbors!r} has a metric of its own, and a row moves along principal axes, which "
            "only some metrics have: neighbors must be 'auto', 'exact' or 'clustered'."
        )
    if not (isinstance(search.metric, str) and traits_of(search.metric).euclidean):
        accepted = ", ".join(repr(name) for name in METRICS if traits_of(name).euclidean)
        return (
            f"metric == {search.metric!r} has no principal axes along which a row could move: metric must be one of "
            f"{accepted}."
        )
    return ""


def singularity(estimator: Any) -> NDArray[np.float64]:
    r"""Return for each point how easily it slides in the map: 1 / the least stiffness with which it is held.

    All other points are held fixed, and the cost is a function :math:`L_i` of the place :math:`y_i` of one point. Its
    second derivatives say how stiffly the point is held. Where the smallest eigenvalue of this Hessian is near 0, a
    tiny change of the row moves the point far, or lets it settle elsewhere [1]_:

    .. math:: s_i = 1 / \lambda_{\min}(\partial^2 L_i / \partial y_i^2)

    with n times the cost as :math:`L_i` for t-SNE, so that scores do not depend on n, and the cost for SNE. A score is
    infinite where the eigenvalue is not positive: the cost is lower on both sides of the point, as it may be where the
    fit has not converged.

    The median is about 2 for t-SNE with two components; it changes with the number of components, ``dof`` and the
    exaggeration, so compare scores between maps with the same parameters. A fit that ended before attraction and
    repulsion balance each other, with ``max_iter=1`` for example, has low scores that mean nothing.

    High scores are common all over a map that is fractured into many small pieces, as by a small perplexity, and rare
    in a map of whole groups. In t-SNE, neighbors across a gap about twice as wide as the similarity make a point
    loosest, and those across a much wider gap hardly count; see :func:`perturbation` for wide gaps. The score uses only
    the affinities and the map of the fit, and serves all fits. It does not say where else a point could be.

    Parameters
    ----------
    estimator : TSNE, SNE, Pipeline or search
        A fitted estimator, a pipeline with one, or a search whose best estimator is one of these.

    Returns
    -------
    scores : ndarray of shape (n_samples,), float64
        The scores, positive or infinite. Sums over all pairs compute them, in a time proportional to n². For t-SNE with
        one or two components and more than 10,000 rows, a mesh replaces these sums, with errors of about 0.2 % of the
        curvature of the repulsion, unless the map is very wide.

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
        hessians = as_floats("∂²L", objective.point_hessians(Y, embedder._map.exaggeration), ("n", "d", "d"))
    least = np.linalg.eigvalsh(hessians)[:, 0]
    with np.errstate(divide="ignore"):
        return np.where(least > 0.0, 1.0 / np.maximum(least, 0.0), np.inf)
