"""The contract of a search for neighbors, and the checks of its rows and distances."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from .._checks import as_csr, as_floats, is_finite
from .._row_errors import RowError
from ..parallel import Workers


class NeighborGraph(NamedTuple):
    """The k nearest neighbors of each row, not counting the row itself.

    Parameters
    ----------
    indices : ndarray of shape (n, k), int32 or int64
        The index of each neighbor among the rows of the fit.
    distances : ndarray of shape (n, k), float64, C-contiguous
        The distance of each neighbor, not squared.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.neighbors import nearest_neighbors
    >>> graph = nearest_neighbors(np.array([[0.0], [1.0], [3.0], [7.0]]), n_neighbors=2)
    >>> graph.indices.tolist()
    [[1, 2], [0, 2], [1, 0], [2, 1]]
    >>> graph.distances.tolist()
    [[1.0, 3.0], [1.0, 2.0], [2.0, 3.0], [4.0, 6.0]]
    """

    indices: NDArray[np.integer]
    distances: NDArray[np.float64]


class NeighborSearch(Protocol):
    """The contract of a search for the nearest neighbors of the rows of a fit, and of new rows among them.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.neighbors import ExactSearch, NeighborSearch
    >>> from sktsne.parallel import Workers
    >>> search: NeighborSearch = ExactSearch(n_neighbors=2)
    >>> search.fit(np.array([[0.0], [1.0], [3.0], [7.0]]), Workers()).indices.tolist()
    [[1, 2], [0, 2], [1, 0], [2, 1]]
    >>> search.neighbors_of(np.array([[6.0]]), Workers()).indices.tolist()
    [[3, 2]]
    """

    def fit(self, X: Any, workers: Workers) -> Any:
        """Find the nearest neighbors of all rows, and keep what `neighbors_of` needs.

        Returns
        -------
        neighbors : NeighborGraph or ndarray of shape (n, n), float64
            The neighbors of each row, sorted by distance. A search that takes all rows for neighbors returns the
            matrix of all distances instead.
        """

    def neighbors_of(self, rows: Any, workers: Workers) -> NeighborGraph:
        """Return the nearest rows of the fit to new rows, sorted by distance.

        The result for a row must not depend on the other new rows.
        """


def as_rows(name: str, X: Any, like: Any = None) -> Any:
    """Return rows as a dense array or a CSR matrix of finite numbers, with at least one row and one column.

    Parameters
    ----------
    name : str
        The name of X in errors.
    X : {array-like, sparse matrix} of shape (n, n_features)
        The rows, which are not changed.
    like : {ndarray, sparse matrix}, default=None
        The rows of the fit. X must have the same number of columns, and be sparse or dense like them.

    Returns
    -------
    rows : {ndarray, csr_array} of shape (n, n_features), float64 or float32
        The rows. X itself is returned where no conversion is needed; float32 stays float32.

    Raises
    ------
    ValueError
        If X is not a matrix of finite numbers, or has another shape or storage.
    """
    if issparse(X):
        X = as_csr(name, X)
        as_floats(f"the values of {name}", X.data, X.data.shape)
        if not X.has_canonical_format:  # SciPy would sum duplicates in the arrays of the user's matrix
            X = X.copy()
            X.sum_duplicates()
    elif isinstance(X, np.ndarray) and X.dtype == np.float32 and X.ndim == 2 and is_finite(X):
        X = np.require(X, np.float32, ["C_CONTIGUOUS", "ALIGNED", "ENSUREARRAY"])
    else:
        X = as_floats(name, X, ("n", "n_features"))
    n_columns = X.shape[1] if like is None else like.shape[1]
    if 0 in X.shape or X.shape[1] != n_columns:
        wanted = "at least one row and one column" if like is None else f"{n_columns} columns"
        raise ValueError(f"{name} has shape {X.shape}, must have {wanted}.")
    if like is not None and issparse(X) != issparse(like):
        raise ValueError(f"{name} must be {'sparse' if issparse(like) else 'dense'}, as the rows of the fit are.")
    return X


def check_distances(distances: NDArray[np.floating], indices: NDArray[np.integer] | None = None) -> None:
    """Raise a ValueError for a distance that is negative or not finite.

    Distances that are negative by rounding only, above -1e-9, are set to 0 in place. Errors name the pair of rows:
    the row and the entry of ``indices``, or the row and the column if there are no ``indices``.
    """
    least = distances.min(initial=0.0)
    if np.isfinite(distances).all() and least >= -1e-9:
        if least < 0.0:
            np.maximum(distances, 0.0, out=distances)
        return
    row, place = np.argwhere(~np.isfinite(distances) | (distances < -1e-9))[0]
    raise_for_distance(distances[row, place], row, place if indices is None else indices[row, place])


def raise_without_distances(row: int, n: int) -> None:
    """Raise the error that the metric is not defined for one of n rows, as the correlation with a constant row."""
    raise_for_distance(math.nan, row, 0 if row else min(1, n - 1))


def raise_for_distance(distance: float, row: int, other: int) -> None:
    """Raise the error that the metric gives two rows a number that is not a distance."""
    raise RowError(
        f"metric must give distances, finite and not negative, and gives {distance} for rows {{row}} and {{other}}. "
        "All distances should be positive, the metric given is not correct.",
        int(row),
        int(other),
    )
