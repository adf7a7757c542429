"""What every search for neighbors keeps to, and what it gives."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from .._checks import as_csr, as_floats
from .._row_errors import RowError
from ..parallel import Workers


class NeighborGraph(NamedTuple):
    """The k nearest neighbors of each row, without the row itself.

    Parameters
    ----------
    indices : ndarray of shape (n, k), int32 or int64
        The neighbors.
    distances : ndarray of shape (n, k), float64, C-contiguous
        Their distances, not squared.

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
    """The contract of a search for neighbors, of the rows of a fit and of new ones.

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
        """Return the nearest neighbors of all rows, from near to far, and keep what `neighbors_of` needs.

        They are a `NeighborGraph`, or an array of all distances from a search that takes all pairs.
        """

    def neighbors_of(self, rows: Any, workers: Workers) -> NeighborGraph:
        """Return the nearest rows of the fit, from near to far. No row's result depends on the other rows."""


def as_rows(name: str, X: Any, like: Any = None) -> Any:
    """Return rows as a dense array or a CSR matrix of finite numbers, with a row and a column.

    Parameters
    ----------
    name : str
        What errors call it.
    X : {array-like, sparse matrix} of shape (n, n_features)
        Never changed.
    like : {ndarray, sparse matrix}, default=None
        Rows of the fit, of which X must have the number of columns and the storage.

    Returns
    -------
    rows : {ndarray, csr_array} of float64 or float32
        X itself where it is that already. float32 stays float32.

    Raises
    ------
    ValueError
        If there is no such matrix.
    """
    if issparse(X):
        X = as_csr(name, X)
        as_floats(f"the values of {name}", X.data, X.data.shape)
    elif isinstance(X, np.ndarray) and X.dtype == np.float32 and X.ndim == 2 and np.isfinite(X).all():
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
    """Raise a ValueError for a distance that is not finite or is negative; set those to 0 that rounding made so."""
    least = distances.min(initial=0.0)
    if np.isfinite(distances).all() and least >= -1e-9:
        if least < 0.0:
            np.maximum(distances, 0.0, out=distances)
        return
    row, place = np.argwhere(~np.isfinite(distances) | (distances < -1e-9))[0]
    raise_for_distance(distances[row, place], row, place if indices is None else indices[row, place])


def raise_without_distances(row: int, n: int) -> None:
    """Raise the error that a metric gives one of n rows a distance to none of the others."""
    raise_for_distance(math.nan, row, 0 if row else min(1, n - 1))


def raise_for_distance(distance: float, row: int, other: int) -> None:
    """Raise the error that a metric gives two rows something else than a distance."""
    raise RowError(
        f"metric must give distances, finite and not negative, and gives {distance} for rows {{row}} and {other}. All "
        "distances should be positive, the metric given is not correct.",
        int(row),
    )
