r"""Instability: how the neighbors and the position of a point change when the map is made again.

    neighbors_i = 1 − mean over the refits r of |N_i ∩ N_i^r| / k
    positions_i = sqrt(Σ_m ‖z_i^m − z̄_i‖² / n_fits) / sqrt(mean over the points j of ‖y_j − ȳ‖²)

N_i are the k nearest neighbors of point i in the fitted map y, and N_i^r those in the map of refit r. The z^m are all
maps, the fitted one and those of the refits, after Procrustes alignment to the fitted map: each map is centered, scaled
to the size of the fitted map, and turned by the rotation or reflection for which Σ_i ‖z_i^m − y_i‖² is smallest. z̄_i is
the mean of z_i^m over the n_fits + 1 maps. The scale is not that of least squares, which shrinks a map that has little
in common with the fitted one towards a single place, as if all of its points agreed.
"""

from __future__ import annotations

from functools import partial
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import orthogonal_procrustes

from .._checks import as_affinities, as_floats, check_choice, check_n_jobs, check_number
from .._process import one_blas_thread
from ..neighbors import nearest_neighbors
from ..parallel import effective_n_threads
from .refits import run_fits, seeds_of
from .rows import embedder_of_fit, given_matrix, rows_of_fit

RESAMPLES = ("starts", "rows")
# The fraction of the rows that a refit of a sample gets: the expected fraction of distinct rows in a bootstrap sample,
# 1 - 1/e. Its repetitions would be neighbors at the distance 0, of which the rows themselves have none.
SAMPLE = 0.632
# The parameters with which a refit takes the affinities of the fit, in place of those from which the fit computed them.
OF_AFFINITIES = {
    "affinities": "precomputed",
    "metric": "euclidean",
    "metric_params": None,
    "n_neighbors": None,
    "neighbors": "auto",
}


class Instability(NamedTuple):
    """The instability of each point of a map.

    Parameters
    ----------
    neighbors : ndarray of shape (n_samples,), float64
        The mean fraction of the point's nearest neighbors in the map that are not its nearest neighbors in a refit: 0
        for a point that keeps all of its neighbors, 1 for a point that keeps none.
    positions : ndarray of shape (n_samples,), float64
        The spread of the point's positions over the maps, in units of the size of the fitted map: 0 for a point that
        always has the same place, and about 1 for a point that may be anywhere.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktsne import TSNE
    >>> from sktsne.reliability import instability
    >>> found = instability(TSNE(random_state=0).fit(load_iris().data), n_fits=2, random_state=0)
    >>> found.neighbors.shape, found.positions.shape
    ((150,), (150,))
    """

    neighbors: NDArray[np.float64]
    positions: NDArray[np.float64]


def instability(
    estimator: Any,
    X: Any = None,
    *,
    n_fits: int = 5,
    resample: str = "starts",
    n_neighbors: int = 15,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> Instability:
    r"""Return for each point how its neighbors and its position change when the map is made again.

    The cost of a map has many minima, and a fit finds one of them. What differs between the minima is chance. Each
    point of the fitted map is compared with the same point in ``n_fits`` other maps:

    .. math:: \text{neighbors}_i = 1 - \frac{1}{n_\text{fits}} \sum_r \frac{|N_i \cap N_i^r|}{k}, \qquad
        \text{positions}_i = \sqrt{\frac{\sum_m \|z_i^m - \bar z_i\|^2 / n_\text{fits}}
        {\operatorname{mean}_j \|y_j - \bar y\|^2}},

    with the k nearest neighbors :math:`N_i` in the fitted map y and :math:`N_i^r` in the map r, and with the positions
    :math:`z_i^m` in all maps, including y, after Procrustes alignment: all maps are centered, scaled to the size of y,
    and turned or reflected to be nearest to y.

    ``neighbors`` tells whether to believe who is next to a point. ``positions`` tells whether to believe where a point
    is in the whole map: groups may trade their places from map to map while each point keeps its neighbors. Both see
    what changes by chance only. What every map shows may still be an artifact of the method, such as a sphere that is
    always torn open somewhere, or groups of noise that come from the same affinities in every map.

    Parameters
    ----------
    estimator : TSNE, SNE, Pipeline or search
        A fitted estimator, a pipeline with one, or a search whose best estimator is one of these. It is not changed.
    X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples), default=None
        The rows of the fit, or their distances, as they enter ``estimator``. Only ``resample="rows"`` needs and uses
        them.
    n_fits : int, default=5
        The number of refits. For a cloud of 400 rows, whose maps differ much, the standard deviation of ``neighbors``
        between calls was 0.08 with 2 refits, 0.06 with 5 and 0.04 with 10; for 500 digits it was 0.02 with 5.
    resample : {"starts", "rows"}, default="starts"
        What differs between the maps. "starts": refits start from random positions, with the affinities of the fit, so
        that no neighbors are searched again. "rows": refits get random samples of the rows, as in a bootstrap of maps
        [1]_, and the other rows are placed by ``transform``. A sample has 63.2 % of the rows, as many as there are
        distinct rows in a bootstrap sample, because repetitions would be neighbors at the distance 0. The start is that
        of the fit. "rows" also shows how far the map depends on which rows happened to be in the data.
    n_neighbors : int, default=15
        The number k of nearest neighbors in the maps, at most n_samples - 1. Unrelated maps have about
        ``n_neighbors / (n_samples - 1)`` of the neighbors in common.
    random_state : int, RandomState instance or None, default=None
        Seeds the samples and the starts. Pass an int for reproducible results.
    n_jobs : int, default=None
        The number of fits at a time, by :class:`joblib.Parallel`. With several, each uses its share of the cores
        instead of the ``n_jobs`` of the estimator. The result does not depend on ``n_jobs``.

    Returns
    -------
    instability : Instability
        The arrays ``neighbors`` and ``positions``. High values mark points whose place must not be believed.

    Raises
    ------
    NotFittedError
        If ``estimator`` is not fitted.
    TypeError, ValueError
        If a parameter is not accepted, or with ``resample="rows"``, if ``X`` is missing or does not hold the rows of
        the fit, or holds affinities or a sparse graph of distances: a sample would lack some of the neighbors.

    See Also
    --------
    sktsne.reliability.significance : Compares the map with maps of rows without structure.

    References
    ----------
    .. [1] E. D. Sun, R. Ma and J. Zou, "Dynamic visualization of high-dimensional data", Nature Computational Science
       3, 86-100, 2023.

    Examples
    --------
    Four groups keep their neighbors better than noise does:

    >>> import numpy as np
    >>> from sktsne import TSNE
    >>> from sktsne.reliability import instability
    >>> rng = np.random.default_rng(0)
    >>> noise = rng.normal(size=(120, 10))
    >>> groups = noise + rng.normal(scale=9, size=(4, 10)).repeat(30, axis=0)
    >>> changes = [
    ...     instability(TSNE(random_state=0).fit(X), n_fits=2, random_state=0).neighbors.mean() for X in (groups, noise)
    ... ]
    >>> bool(changes[0] < 0.6 * changes[1])
    True
    """
    check_number("n_fits", n_fits, Integral, 1)
    check_choice("resample", resample, RESAMPLES)
    check_n_jobs(n_jobs)
    embedder = embedder_of_fit(estimator)
    n = as_affinities("affinities_", embedder.affinities_).shape[0]
    Y = as_floats("embedding_", embedder.embedding_, (n, "d"), empty=False)
    check_number("n_neighbors", n_neighbors, Integral, 1, n - 1)
    n_neighbors = int(n_neighbors)  # an integer of NumPy may be too short for the number of distances
    seeds = seeds_of(random_state, n_fits)
    if resample == "rows":
        _check_divisible(embedder, X)
        rows = rows_of_fit(estimator, X)[1]
        found = run_fits(partial(_map_of_sample, rows, embedder._input_kind.distances), embedder, seeds, n_jobs)
    else:
        of_affinities = partial(_map_of, embedder.affinities_)
        found = run_fits(of_affinities, embedder, seeds, n_jobs, **OF_AFFINITIES, init="random")
    maps = [map_.astype(np.float64) for map_ in found]
    n_threads = effective_n_threads(embedder.n_jobs)
    own = nearest_neighbors(Y, n_neighbors, n_threads=n_threads).indices
    others = (nearest_neighbors(map_, n_neighbors, n_threads=n_threads).indices for map_ in maps)
    kept = np.mean([_count_common(own, other) for other in others], axis=0) / n_neighbors
    return Instability(1.0 - kept, _spread(Y, maps))


def _check_divisible(embedder: Any, X: Any) -> None:
    """Raise a TypeError or ValueError unless samples of the rows X can be embedded."""
    name = "resample == 'rows'"
    if X is None:
        raise TypeError(f"X == None, must hold the rows of the fit for {name}; resample='starts' needs no rows.")
    if embedder._search is None:
        raise ValueError(
            f"{name} embeds samples of rows, and {given_matrix(embedder)}: the affinities of a sample do not follow "
            "from those of all rows. resample must be 'starts'."
        )
    if embedder._input_kind.distances and embedder._input_kind.sparse:
        raise ValueError(
            f"{name} embeds samples of rows, and X is a sparse graph of distances, in which a sample lacks some of its "
            "neighbors: X must hold the distances of all pairs, or resample must be 'starts'."
        )


def _map_of(X: Any, refit: Any) -> NDArray[np.floating]:
    """Return the map of X that an estimator makes."""
    map_: NDArray[np.floating] = refit.fit(X).embedding_
    return map_


def _map_of_sample(rows: Any, are_distances: bool, refit: Any) -> NDArray[np.floating]:
    """Return a map of all rows that an estimator makes of a random sample, in which it places the other rows."""
    n = rows.shape[0]
    chosen = np.zeros(n, dtype=bool)
    chosen[np.random.default_rng(refit.random_state).choice(n, max(2, round(SAMPLE * n)), replace=False)] = True
    inside, outside = rows[chosen], rows[~chosen]
    if are_distances:
        inside, outside = inside[:, chosen], outside[:, chosen]
    if not isinstance(refit.init, str):
        refit.init = np.asarray(refit.init)[chosen]
    refit.fit(inside)
    map_ = np.empty((n, refit.embedding_.shape[1]), dtype=refit.embedding_.dtype)
    map_[chosen] = refit.embedding_
    if not chosen.all():
        map_[~chosen] = np.asarray(refit.transform(outside))  # a data frame, if the user has set this output
    return map_


def _count_common(a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.intp]:
    """Return for each row how many of its indices in ``a`` are among those in ``b``; no row repeats an index."""
    both = np.sort(np.concatenate([a, b], axis=1), axis=1)
    common: NDArray[np.intp] = np.sum(both[:, 1:] == both[:, :-1], axis=1)
    return common


def _spread(Y: NDArray[np.float64], maps: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the spread of each point's positions in Y and in the aligned maps, in units of the size of Y."""
    Y = _centered(Y)
    with one_blas_thread():
        turned = [Z @ orthogonal_procrustes(Z, Y)[0] for Z in map(_centered, maps)]
    places = np.stack([Y, *turned])
    spread: NDArray[np.float64] = np.sqrt(np.sum((places - places.mean(axis=0)) ** 2, axis=(0, 2)) / len(maps))
    return spread


def _centered(Y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a map with its center at 0 and with the size 1, the root mean square distance of points from the center.

    A map whose points are all in one place keeps the size 0.
    """
    Y = Y - Y.mean(axis=0)
    size = float(np.sqrt(np.mean(np.sum(Y**2, axis=1))))
    return Y / size if size > 0.0 else Y
