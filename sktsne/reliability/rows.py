"""What all scores begin with: the fitted estimator of a pipeline or a search, and the rows of its fit."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from .._base import ROUNDINGS, BaseEmbedding
from .._pipeline import embedder_of, place_of_embedding
from .._row_errors import numbering
from ..neighbors import NeighborGraph
from ..neighbors.all_pairs import nearest_of_matrix
from ..parallel import Workers, effective_n_threads


def embedder_of_fit(estimator: Any) -> Any:
    """Return the fitted `TSNE` or `SNE`: ``estimator``, or a step of a pipeline, or the best one of a search.

    Raises
    ------
    NotFittedError, TypeError, ValueError
        If there is no fitted ``TSNE`` or ``SNE``, or its rows had weights.
    """
    embedder = embedder_of(estimator)
    if not isinstance(embedder, BaseEmbedding):
        raise TypeError(
            f"estimator == {embedder!r}, must be a fitted TSNE or SNE of sktsne, or a pipeline or a search with one."
        )
    if embedder._map.weights is not None or embedder._counted is not None:
        raise ValueError(
            "estimator was fitted with sample_weight, must be fitted without: the scores compare rows that count alike."
        )
    return embedder


def given_matrix(embedder: Any) -> str:
    """Return the parameter that made the X of the fit a square matrix, as the text "name == value", or "" for rows."""
    if embedder._search is None:
        return "affinities == 'precomputed'"
    return "metric == 'precomputed'" if embedder._input_kind.distances else ""


def rows_of_fit(estimator: Any, X: Any) -> tuple[Any, Any]:
    """Return the fitted embedding estimator, and the rows of its fit as they entered it.

    Parameters
    ----------
    estimator : TSNE, SNE, Pipeline or search
        A fitted estimator, a pipeline with one, or a search whose best estimator is one of these.
    X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
        The rows of the fit, or their distances or affinities if these are precomputed, in the order of the fit and as
        they enter ``estimator``.

    Returns
    -------
    embedder : TSNE or SNE
        The fitted estimator.
    rows : ndarray or csr_matrix of shape (n_samples, n_columns), float32 or float64
        ``X`` after the steps of the pipeline before the embedding.

    Raises
    ------
    NotFittedError, TypeError
        If ``estimator`` is not a fitted estimator of these kinds.
    ValueError
        If ``X`` does not hold the rows of the fit in their order. Rows may differ from those of the fit by rounding,
        because the steps of a pipeline may round differently in ``transform`` and in ``fit_transform``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sktsne import TSNE
    >>> from sktsne.reliability.rows import rows_of_fit
    >>> X = load_iris().data
    >>> embedder, rows = rows_of_fit(make_pipeline(StandardScaler(), TSNE(random_state=0)).fit(X), X)
    >>> embedder
    TSNE(random_state=0)
    >>> rows.std(axis=0).round(6).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    embedder = embedder_of_fit(estimator)
    estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(estimator, Pipeline) and (place := place_of_embedding(estimator)) > 0:
        X = estimator[:place].transform(X)
    rows = embedder._validate(X, reset=False)
    n = len(embedder.embedding_)
    if rows.shape[0] != n:
        raise ValueError(f"X has {rows.shape[0]} rows, must have the {n} rows of the fit.")
    if not (embedder._known_rows.match(rows) or _differ_by_rounding(embedder, rows)):
        raise ValueError("X must hold the rows of the fit, in the order of the fit, and some of its rows differ.")
    return embedder, rows


def _differ_by_rounding(embedder: Any, rows: Any) -> bool:
    """Return whether each row differs by rounding only from the row of the fit at its place, as `transform` decides."""
    if embedder._search is None:
        return False
    searched = getattr(embedder._search, "_X", None)
    if isinstance(searched, np.ndarray) and np.shares_memory(rows, searched):
        return False  # the rows have changed since the fit, and the search, which does not copy them, with them
    with numbering(), Workers(effective_n_threads(embedder.n_jobs)) as workers:
        graph = embedder._search.neighbors_of(embedder._conditioning(rows), workers)
    near = graph.distances <= ROUNDINGS * np.finfo(rows.dtype).eps * graph.distances[:, -1:]
    # Of many equal rows of the fit, the nearest neighbors may not include the row at the same place.
    groups = embedder._known_rows.groups
    same = near & (groups[graph.indices] == groups[:, None])
    return bool(same.any(axis=1).all())


def neighbor_graph(embedder: Any, rows: Any, n_neighbors: int | None = None) -> NeighborGraph:
    """Return the nearest neighbors of each row of a fit and their distances, as the search of the fit finds them.

    A copy of the search runs again, because ``affinities_`` does not tell the neighbors of every row: a neighbor beyond
    a small group that is far from others has an affinity that rounds to 0, and t-SNE does not store it.

    Parameters
    ----------
    embedder : TSNE or SNE
        A fitted estimator without precomputed affinities.
    rows : {ndarray, sparse matrix} of shape (n, n_features) or (n, n)
        The rows of the fit, or some of them, or their distances, as they entered ``embedder``.
    n_neighbors : int, default=None
        The number of neighbors, at most n - 1. None is the number that the affinities of n rows take.

    Returns
    -------
    graph : NeighborGraph
        The neighbors of each row, not counting the row itself, sorted by distance.

    Raises
    ------
    ValueError
        If ``rows`` is a sparse graph of distances with fewer neighbors in a row.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne import TSNE
    >>> from sktsne.reliability.rows import neighbor_graph
    >>> X = np.array([[0.0], [1.0], [3.0], [7.0]])
    >>> neighbor_graph(TSNE(perplexity=2, random_state=0).fit(X), X, n_neighbors=2).distances.tolist()
    [[1.0, 3.0], [1.0, 2.0], [2.0, 3.0], [4.0, 6.0]]
    """
    n = rows.shape[0]
    k = int(embedder._affinity_rule.count_neighbors(n)) if n_neighbors is None else n_neighbors
    search = copy(embedder._search)
    if not embedder._input_kind.all_pairs:
        search._n_neighbors = k
    rows = rows if embedder._input_kind.distances else embedder._conditioning(rows)
    with numbering(), Workers(effective_n_threads(embedder.n_jobs)) as workers:
        found = search.fit(rows, workers)
        graph: NeighborGraph = found if isinstance(found, NeighborGraph) else nearest_of_matrix(found, k, workers)
    return graph
