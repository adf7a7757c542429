"""Searches for the nearest neighbors of rows: exact, approximate, or from distances that the user computed.

`SEARCHES` holds the searches in rows by name. Every search meets the contract `NeighborSearch`.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from .._checks import check_number
from ..parallel import Workers
from .clustered import ClusteredSearch
from .contract import NeighborGraph, NeighborSearch
from .exact import TREE_FEATURES, AllPairs, ExactSearch
from .given import GivenDistances, TransformerSearch
from .metrics import METRICS, Metric, canonical, resolve, traits_of

__all__ = [
    "METRICS",
    "SEARCHES",
    "AllPairs",
    "ClusteredSearch",
    "ExactSearch",
    "GivenDistances",
    "Metric",
    "NeighborGraph",
    "NeighborSearch",
    "TransformerSearch",
    "all_distances",
    "canonical",
    "faster_search",
    "nearest_neighbors",
    "resolve",
    "traits_of",
]

SEARCHES: dict[str, type[ExactSearch] | type[ClusteredSearch]] = {"exact": ExactSearch, "clustered": ClusteredSearch}
CLUSTERED_FROM = 5000  # the number of rows from which the clustered search is faster than the exact one


def faster_search(X: Any, metric: Metric) -> str:
    """Return the name of the search that is faster for the rows X under a metric."""
    many = X.shape[0] >= CLUSTERED_FROM and X.shape[1] > TREE_FEATURES
    return "clustered" if many and isinstance(metric, str) and not issparse(X) else "exact"


def nearest_neighbors(
    X: Any,
    n_neighbors: int,
    metric: Metric = "euclidean",
    metric_params: dict[str, Any] | None = None,
    n_threads: int = 1,
) -> NeighborGraph:
    """Find the exact nearest neighbors of every row.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n, n_features) or (n, n)
        Rows, or with ``metric="precomputed"`` the distances of rows: a dense matrix of all distances, or a sparse graph
        of some distances, in which explicit zeros are distances. Entries on the diagonal are ignored.
    n_neighbors : int
        The number of neighbors, at most n - 1.
    metric : str or callable, default="euclidean"
        A metric of :mod:`sklearn.neighbors`, or "precomputed".
    metric_params : dict, default=None
        Further arguments of the metric.
    n_threads : int, default=1
        The number of threads.

    Returns
    -------
    graph : NeighborGraph
        The neighbors of each row, sorted by distance.

    Raises
    ------
    ValueError
        If a row of a precomputed graph has fewer than ``n_neighbors`` neighbors, or the metric does not accept
        its parameters or ``X``.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.neighbors import nearest_neighbors
    >>> graph = nearest_neighbors(np.array([[0.0], [1.0], [3.0], [7.0]]), n_neighbors=2)
    >>> graph.indices.tolist()
    [[1, 2], [0, 2], [1, 0], [2, 1]]
    """
    check_number("n_neighbors", n_neighbors, Integral, 1)
    if isinstance(metric, str) and metric == "precomputed" and not metric_params:
        search: Any = GivenDistances(n_neighbors)
    else:
        search = ExactSearch(n_neighbors, metric, metric_params)
    with Workers(n_threads) as workers:
        graph: NeighborGraph = search.fit(X, workers)
        return graph


def all_distances(
    X: Any,
    metric: Metric = "euclidean",
    metric_params: dict[str, Any] | None = None,
    n_threads: int = 1,
) -> NDArray[np.float64]:
    """Return the distances of all pairs of rows.

    Parameters
    ----------
    X, metric, metric_params, n_threads
        As in `nearest_neighbors`; a precomputed ``X`` must be dense.

    Returns
    -------
    distances : ndarray of shape (n, n), float64
        The distances. Precomputed distances are returned as they are.
    """
    given = isinstance(metric, str) and metric == "precomputed" and not metric_params
    search: Any = GivenDistances() if given else AllPairs(metric, metric_params)
    with Workers(n_threads) as workers:
        distances: NDArray[np.float64] = search.fit(X, workers)
        return distances
