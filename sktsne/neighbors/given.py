"""Searches in distances that the user gives: a matrix of all distances, a sparse graph, or a transformer's graph."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn import config_context
from sklearn.base import clone

from .._checks import as_csr, check_not_negative, check_number, precision_of, without_rounding
from .._row_errors import RowError
from ..parallel import Workers
from .all_pairs import nearest_of_matrix, sorted_by_distance
from .contract import NeighborGraph, as_rows


def as_distances(X: Any, precision: type[np.floating]) -> Any:
    """Return a square matrix of distances with 0 where rounding made them negative; raise a ValueError for others."""
    if X.shape[0] != X.shape[1]:
        raise ValueError(f"X has shape {X.shape}, must be a square distance matrix.")
    return without_rounding("X must hold distances", X, precision)


def nearest_of_graph(
    graph: Any, n_neighbors: int, source: str = "A precomputed sparse X", of_others: bool = False
) -> NeighborGraph:
    """Return the nearest neighbors from a sparse graph of distances.

    Parameters
    ----------
    graph : sparse matrix of shape (n_rows, n)
        Stored entries are distances; entries that are not stored are no neighbors.
    n_neighbors : int
        The number of neighbors that every row must have.
    source : str, default="A precomputed sparse X"
        The name of the graph in the error.
    of_others : bool, default=False
        Whether the rows are new rows. By default they are those of the fit, and entries on the diagonal are ignored.

    Raises
    ------
    RowError
        If a row has fewer than ``n_neighbors`` neighbors.
    """
    graph = csr_array(graph)
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    others = np.ones(len(rows), dtype=bool) if of_others else rows != graph.indices
    rows, columns, distances = rows[others], graph.indices[others], graph.data[others]
    counts = np.bincount(rows, minlength=graph.shape[0])
    if (least := int(counts.min())) < n_neighbors:
        allowed = f"perplexities below {least / 3:.4g}" if least > 3 else "no perplexity"
        raise RowError(
            f"{source} must have at least {n_neighbors} neighbors in every row, not counting the row itself; row "
            f"{{row}} has {least}. Build the graph with more neighbors "
            f"(KNeighborsTransformer(n_neighbors={n_neighbors}) gives enough), or use affinities with fewer neighbors: "
            f"a perplexity needs int(3 * perplexity + 1) neighbors, so this graph allows {allowed}; Uniform and "
            "FixedBandwidth need their n_neighbors. "
            f"With the row itself, {n_neighbors + 1} neighbors per samples are required, but some samples "
            f"have only {least + 1}.",
            int(counts.argmin()),
        )
    nearest = (np.cumsum(counts) - counts)[:, None] + np.arange(n_neighbors)
    if np.any((distances[1:] < distances[:-1]) & (rows[1:] == rows[:-1])):  # most graphs are sorted already
        nearest = np.lexsort((distances, rows))[nearest]
    return NeighborGraph(columns[nearest], distances[nearest].astype(np.float64))


class GivenDistances:
    """Find neighbors from distances that the user computed: to every row of the fit, or in a sparse graph.

    Parameters
    ----------
    n_neighbors : int, default=None
        The number of neighbors. With None all rows of the fit are neighbors, and `fit` returns the given distances.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.neighbors import GivenDistances
    >>> from sktsne.parallel import Workers
    >>> GivenDistances(n_neighbors=2).neighbors_of(np.array([[6.0, 5.0, 3.0, 1.0]]), Workers()).indices
    array([[3, 2]])
    """

    def __init__(self, n_neighbors: int | None = None) -> None:
        if n_neighbors is not None:
            check_number("n_neighbors", n_neighbors, Integral, 1)
        self._n_neighbors = n_neighbors

    def fit(self, X: Any, workers: Workers) -> NeighborGraph | NDArray[np.float64]:
        """Find the nearest neighbors of all rows, or return all distances; see :class:`NeighborSearch`."""
        precision, X = precision_of(X), as_rows("X", X)
        X, k = as_distances(X, precision), self._n_neighbors
        if k is None:
            if issparse(X):
                raise ValueError("X is sparse, must be dense, because the distances of all pairs are needed.")
            return np.asarray(X, dtype=np.float64)
        check_number("n_neighbors", k, Integral, 1, X.shape[0] - 1)
        return nearest_of_graph(X, k) if issparse(X) else nearest_of_matrix(X, k, workers)

    def neighbors_of(self, rows: Any, workers: Workers) -> NeighborGraph:
        """Find the rows of the fit nearest to new rows, from the distances ``rows`` of new rows to those of the fit."""
        rows = as_rows("rows", rows)
        k = rows.shape[1] if self._n_neighbors is None else self._n_neighbors
        check_not_negative("rows", rows.data if issparse(rows) else rows)
        if issparse(rows):
            return nearest_of_graph(rows, k, of_others=True)
        if rows.shape[1] < k:
            raise ValueError(f"rows has shape {rows.shape}, must have at least n_neighbors == {k} columns.")
        return sorted_by_distance(rows.astype(np.float64), k)


class TransformerSearch:
    """Find neighbors by a transformer that the user gives.

    Parameters
    ----------
    transformer : object
        An estimator whose ``fit_transform`` returns a sparse graph of distances, as
        :class:`sklearn.neighbors.KNeighborsTransformer` does. For new rows it needs ``transform``, too. The search
        uses a clone. If the transformer has a parameter ``n_neighbors`` that is too small, the clone gets a larger one.
    n_neighbors : int
        The number of neighbors.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsTransformer
    >>> from sktsne.neighbors import TransformerSearch
    >>> from sktsne.parallel import Workers
    >>> search = TransformerSearch(KNeighborsTransformer(n_neighbors=2), n_neighbors=2)
    >>> search.fit(np.array([[0.0], [1.0], [3.0], [7.0]]), Workers()).indices.tolist()
    [[1, 2], [0, 2], [1, 0], [2, 1]]
    >>> search.neighbors_of(np.array([[6.0]]), Workers()).indices.tolist()
    [[3, 2]]
    """

    def __init__(self, transformer: Any, n_neighbors: int) -> None:
        check_number("n_neighbors", n_neighbors, Integral, 1)
        self._transformer, self._n_neighbors = transformer, n_neighbors
        self._name = f"neighbors == {transformer!r}"

    def fit(self, X: Any, workers: Workers) -> NeighborGraph:
        """Return the nearest neighbors of all rows; see :class:`NeighborSearch`."""
        (X, n), transformer = _counted("X", X), clone(self._transformer)
        enough = min(self._n_neighbors + 1, n - 1)  # some transformers count the row itself as a neighbor
        present = transformer.get_params().get("n_neighbors", enough)
        if not isinstance(present, Integral) or present < enough:
            transformer.set_params(n_neighbors=enough)
        with config_context(transform_output="default"):
            given = transformer.fit_transform(X)
        graph = nearest_of_graph(
            _as_graph(given, (n, n), f"{self._name}: fit_transform"),
            self._n_neighbors,
            f"{self._name}: the graph of fit_transform",
        )
        self._fitted, self._n = transformer, n
        # Bounds the negative distances that rounding can give new rows, which are in proportion to this distance.
        self._largest = float(graph.distances.max())
        return graph

    def neighbors_of(self, rows: Any, workers: Workers) -> NeighborGraph:
        """Find the rows of the fit that are nearest to new rows; see :class:`NeighborSearch`."""
        rows, n_rows = _counted("rows", rows)
        if not hasattr(self._fitted, "transform"):
            raise AttributeError(f"{self._name}, must have a method transform to find the neighbors of new rows.")
        with config_context(transform_output="default"):
            graph = self._fitted.transform(rows)
        graph = _as_graph(graph, (n_rows, self._n), f"{self._name}: transform", self._largest)
        return nearest_of_graph(graph, self._n_neighbors, f"{self._name}: the graph of transform", of_others=True)


def _counted(name: str, X: Any) -> tuple[Any, int]:
    """Return the input of a transformer and its number of rows; raise a ValueError for an input without rows.

    The indices of a sparse matrix are checked, because SciPy and scikit-learn trust them.
    """
    if issparse(X):
        X = as_csr(name, X)
    elif np.ndim(X) == 0:
        raise ValueError(f"{name} == {X!r}, must be a matrix of shape (n_rows, n_features).")
    return X, int(X.shape[0] if hasattr(X, "shape") else len(X))


def _as_graph(graph: Any, shape: tuple[int, int], source: str, largest: float = 0.0) -> csr_array:
    """Return the graph that a method of a transformer returned, as a CSR array of distances.

    A ValueError is raised for a result that is not a sparse matrix of finite distances with the right shape. Distances
    that are negative by rounding are set to 0; ``largest`` is the parameter of `without_rounding`.
    """
    if not issparse(graph) or graph.shape != shape:
        raise ValueError(
            f"{source} must return a sparse matrix of shape {shape} that holds distances, got "
            f"{type(graph).__name__} of shape {np.shape(graph)}."
        )
    precision = precision_of(graph)
    graph = as_csr(f"{source}: its graph", graph)
    if not np.isfinite(graph.data).all():
        raise ValueError(f"{source} must return distances, got values that are not finite.")
    return without_rounding(f"{source} must return distances", graph, precision, largest)
