r"""Outliers: rows that are much farther from their neighbors than these are from theirs, which a map draws in.

The score is the local outlier factor (Breunig et al. 2000), from the distances δ_ij of the fit and the k nearest
neighbors N_i of each row:

    reach_ij = max(δ_ij, the distance from j to its k-th neighbor)
    density_i = 1 / mean of reach_ij over j in N_i
    LOF_i = mean of density_j over j in N_i, divided by density_i
"""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.neighbors import LocalOutlierFactor

from .._checks import check_number, warn
from .rows import embedder_of_fit, given_matrix, neighbor_graph, rows_of_fit


def count_neighbors(embedder: Any, rows: Any) -> int:
    """Return the largest ``n_neighbors`` that `outliers` takes for a fit and its rows; 0 without distances."""
    if embedder._search is None:
        return 0
    if embedder._input_kind.distances and embedder._input_kind.sparse:
        others = csr_array(rows)
        return int((np.diff(others.indptr) - (others.diagonal() != 0.0)).min())
    return int(embedder._known_rows.groups.max())  # groups are numbered from 0


def outliers(estimator: Any, X: Any, *, n_neighbors: int = 20) -> NDArray[np.float64]:
    """Return for each row the factor by which its neighbors are closer to their neighbors than the row is to them.

    A map shows neighbors and their order, not distances: it places every row next to its nearest neighbors, however far
    away they are in the data. So an outlier looks like a member of a group, or like a bridge between groups. The local
    outlier factor [1]_, in the implementation of :class:`sklearn.neighbors.LocalOutlierFactor`, compares the distances
    to the neighbors in the data. It uses the metric and the search of the fit.

    The factor is about 1 for a row in a region of even density, whatever this density is, and usually below 2 for the
    rows of a group. Where to draw the line depends on the data: look for a gap between the largest factors. A small
    group that is far from all others is found, too, but the factors of its m rows fall in proportion to
    ``n_neighbors - m + 1``. In a group of more than ``n_neighbors`` rows each row has neighbors as close as theirs, and
    no factor tells how far the group is from others. A row between dense groups may have a high factor although it is a
    member of a sparse one.

    Parameters
    ----------
    estimator : TSNE, SNE, Pipeline or search
        A fitted estimator, a pipeline with one, or a search whose best estimator is one of these.
    X : {array-like, sparse matrix} of shape (n_samples, n_features) or (n_samples, n_samples)
        The rows of the fit, or their distances, as they enter ``estimator``.
    n_neighbors : int, default=20
        The number k of neighbors, below the number of distinct rows. A group of outliers is found if it has at most
        about three quarters of this number of rows. A precomputed sparse graph must have as many neighbors in each row.

    Returns
    -------
    factors : ndarray of shape (n_samples,), float64
        The local outlier factors, above 0. High values mark rows that the map shows too close to others.

    Raises
    ------
    NotFittedError
        If ``estimator`` is not fitted.
    TypeError, ValueError
        If a parameter is not accepted, ``X`` does not hold the rows of the fit, a sparse graph has too few neighbors,
        or the affinities are precomputed, because there are no distances then.

    Warns
    -----
    UserWarning
        If more than ``n_neighbors`` different rows have the distance 0 from each other, as parallel rows under "cosine"
        have. Rows near them then have factors that mean nothing.

    Notes
    -----
    Equal rows count as one row, and have the same factor. Otherwise many of them would be a region of infinite density,
    beside which every row is an outlier.

    References
    ----------
    .. [1] M. M. Breunig, H.-P. Kriegel, R. T. Ng and J. Sander, "LOF: Identifying density-based local outliers",
       SIGMOD, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne import TSNE
    >>> from sktsne.reliability import outliers
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> X[7] = 8.0
    >>> factors = outliers(TSNE(random_state=0).fit(X), X)
    >>> int(factors.argmax())
    7
    """
    check_number("n_neighbors", n_neighbors, Integral, 1)
    n_neighbors = int(n_neighbors)  # an integer of NumPy may be too short for the number of distances
    embedder = embedder_of_fit(estimator)
    if embedder._search is None:
        raise ValueError(
            f"{given_matrix(embedder)}, must be a fit of rows or distances: affinities do not tell how far rows are "
            "from their neighbors."
        )
    embedder, rows = rows_of_fit(estimator, X)
    kind = embedder._input_kind
    members = np.arange(rows.shape[0])
    # A row of a sparse graph has only some neighbors, too few if those that repeat others were left out.
    if not (kind.distances and kind.sparse):
        _, first, members = np.unique(embedder._known_rows.groups, return_index=True, return_inverse=True)
        rows = rows[first][:, first] if kind.distances else rows[first]
    n = rows.shape[0]
    if n_neighbors >= n:
        raise ValueError(f"n_neighbors == {n_neighbors}, must be below {n}, the number of distinct rows in X.")
    graph = neighbor_graph(embedder, rows, n_neighbors)
    if (graph.distances[:, -1] == 0.0).any():
        warn(
            f"Some rows have the distance 0 from at least n_neighbors == {n_neighbors} different rows; the factors of "
            "rows near them mean nothing."
        )
    # LocalOutlierFactor adds 1e-10 to distances, whatever their unit, and takes each row for its first neighbor.
    positive = graph.distances[graph.distances > 0.0]
    unit = np.median(positive) if len(positive) else 1.0
    distances = np.column_stack([np.zeros(n), graph.distances / unit])
    indices = np.column_stack([np.arange(n), graph.indices])
    sparse = csr_array((distances.ravel(), indices.ravel(), np.arange(0, distances.size + 1, n_neighbors + 1)), (n, n))
    model = LocalOutlierFactor(n_neighbors=n_neighbors, metric="precomputed")
    with warnings.catch_warnings():  # it takes every factor above 1e7 for a sign of duplicates
        warnings.filterwarnings("ignore", message="Duplicate values are leading to incorrect results")
        model.fit(sparse)
    factors: NDArray[np.float64] = -model.negative_outlier_factor_[members]
    return factors
