r"""Affinities: from distances δ_ij to conditional and joint probabilities.

============================= ==================================================================================
perplexity                    p_{j|i} ∝ exp(−β_i δ_ij²), with β_i such that row i has the perplexity
several perplexities          the mean of their p_{j|i} (Lee et al. 2015)
a bandwidth σ for all rows    p_{j|i} ∝ exp(−δ_ij² / 2σ²) (:class:`FixedBandwidth`)
none                          p_{j|i} = 1/k for the k nearest (:class:`Uniform`)
============================= ==================================================================================

Each p_{j|i} is over the nearest neighbors j of row i, with p_{i|i} = 0 and Σ_j p_{j|i} = 1. The joint probabilities are

    p_ij = (p_{j|i} + p_{i|j}) / 2n                                         (sums to 1)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator

from ._checks import (
    as_affinities,
    as_csr,
    as_floats,
    as_indices,
    check_not_negative,
    check_number,
    precision_of,
    without_rounding,
)
from ._documentation import LinksToDocumentation
from ._row_errors import RowError
from .neighbors import NeighborGraph
from .parallel import Workers
from .perplexity import check_neighbor_distances, conditional_probabilities


class Affinities(Protocol):
    """The contract of an affinity rule: an object that gives the rows conditional probabilities over their neighbors.

    Examples
    --------
    A rule of your own takes the two nearest neighbors of a row, and counts the nearest one twice:

    >>> import numpy as np
    >>> from sktsne import TSNE
    >>> class TwoNearest:
    ...     uses_scale = False
    ...
    ...     def count_neighbors(self, n_samples):
    ...         return min(n_samples - 1, 2)
    ...
    ...     def probabilities(self, distances, workers):
    ...         order = distances.argsort(axis=1).argsort(axis=1)
    ...         return np.where(order == 0, 2.0, 1.0) / 3.0
    >>> X = np.random.default_rng(0).normal(size=(50, 5))
    >>> TSNE(affinities=TwoNearest(), random_state=0).fit_transform(X).shape
    (50, 2)
    """

    uses_scale: bool
    """Whether the probabilities change when all distances are multiplied by the same number."""

    def count_neighbors(self, n_samples: int) -> int:
        """Return the number of neighbors that a row has among ``n_samples`` rows, at most ``n_samples - 1``."""

    def probabilities(self, distances: NDArray[np.float64], workers: Workers) -> NDArray[np.float64]:
        """Return p_{j|i}, an array of the shape of ``distances`` whose rows sum to 1.

        Parameters
        ----------
        distances : ndarray of shape (n, k)
            The distances from each row to its neighbors, in any order, not squared. Infinity marks a missing neighbor.
        workers : Workers
            The threads to use.
        """


class Perplexity:
    """Affinities of a given perplexity, or the mean of the conditional probabilities for several perplexities.

    Several perplexities show small and large neighborhoods at once (Lee et al. 2015, "Multi-scale similarities in
    stochastic neighbour embedding"; Kobak & Berens 2019).

    Parameters
    ----------
    perplexities : sequence of float
        Each at least 1 and below ``n_samples - 1``.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.parallel import Workers
    >>> from sktsne.affinities import Perplexity
    >>> rule = Perplexity([2.0])
    >>> rule.count_neighbors(n_samples=1000)
    7
    >>> p = rule.probabilities(np.array([[1.0, 2.0, 3.0, 4.0]]), Workers())
    >>> bool(abs(np.exp(-(p * np.log(p)).sum()) - 2.0) < 1e-4)  # the perplexity of the row
    True
    """

    uses_scale = False

    def __init__(self, perplexities: Sequence[float]) -> None:
        if (
            not isinstance(perplexities, Sequence | np.ndarray)
            or isinstance(perplexities, str)
            or len(perplexities) == 0
        ):
            raise ValueError(f"perplexities == {perplexities!r}, must be a sequence of at least one number.")
        for perplexity in perplexities:
            check_number("perplexity", perplexity, Real, 1)
        self.perplexities = perplexities

    def __repr__(self) -> str:
        return f"Perplexity({np.asarray(self.perplexities).tolist()})"

    def __str__(self) -> str:
        return ", ".join(f"{perplexity:.4g}" for perplexity in self.perplexities)

    def count_neighbors(self, n_samples: int) -> int:
        """Return three times the largest perplexity, plus one."""
        return min(n_samples - 1, int(3.0 * max(self.perplexities) + 1))

    def probabilities(self, distances: NDArray[np.float64], workers: Workers) -> NDArray[np.float64]:
        """Return p_{j|i}; see :class:`Affinities`."""
        total = conditional_probabilities(distances, self.perplexities[0], workers)
        for perplexity in self.perplexities[1:]:
            total += conditional_probabilities(distances, perplexity, workers)
        total /= len(self.perplexities)
        return total


class Uniform(LinksToDocumentation, BaseEstimator):
    """Equal affinities for the k nearest neighbors of a row, and none for the others.

    Parameters
    ----------
    n_neighbors : int, default=15
        The number k of neighbors. In a data set of at most k rows, all other rows are neighbors.

    Examples
    --------
    >>> from sktsne import TSNE
    >>> from sktsne.affinities import Uniform
    >>> TSNE(affinities=Uniform(n_neighbors=10))
    TSNE(affinities=Uniform(n_neighbors=10))
    """

    uses_scale = False

    def __init__(self, n_neighbors: int = 15) -> None:
        self.n_neighbors = n_neighbors

    def count_neighbors(self, n_samples: int) -> int:
        """Return k, or ``n_samples - 1`` if k is larger."""
        check_number(f"affinities == {self}: n_neighbors", self.n_neighbors, Integral, 1)
        return min(n_samples - 1, int(self.n_neighbors))

    def probabilities(self, distances: NDArray[np.float64], workers: Workers) -> NDArray[np.float64]:
        """Return p_{j|i}; see :class:`Affinities`."""
        present = np.isfinite(check_neighbor_distances(distances))
        probabilities: NDArray[np.float64] = present / present.sum(axis=1, keepdims=True)
        return probabilities


class FixedBandwidth(LinksToDocumentation, BaseEstimator):
    """Gaussian affinities of the same bandwidth for all rows, p_{j|i} proportional to exp(-δ² / 2σ²).

    Parameters
    ----------
    bandwidth : float, default=1.0
        The standard deviation σ, in the unit of the distances.
    n_neighbors : int, default=90
        The number of nearest neighbors with an affinity. In a data set of at most that many rows, all others have one.

    Examples
    --------
    >>> from sktsne import TSNE
    >>> from sktsne.affinities import FixedBandwidth
    >>> grid = {"affinities__bandwidth": [0.5, 1.0, 2.0]}
    >>> TSNE(affinities=FixedBandwidth()).set_params(affinities__bandwidth=0.5)
    TSNE(affinities=FixedBandwidth(bandwidth=0.5))
    """

    uses_scale = True

    def __init__(self, bandwidth: float = 1.0, n_neighbors: int = 90) -> None:
        self.bandwidth = bandwidth
        self.n_neighbors = n_neighbors

    def count_neighbors(self, n_samples: int) -> int:
        """Return ``n_neighbors``, or ``n_samples - 1`` if ``n_neighbors`` is larger."""
        self._check_bandwidth()
        check_number(f"affinities == {self}: n_neighbors", self.n_neighbors, Integral, 1)
        return min(n_samples - 1, int(self.n_neighbors))

    def probabilities(self, distances: NDArray[np.float64], workers: Workers) -> NDArray[np.float64]:
        """Return p_{j|i}; see :class:`Affinities`."""
        self._check_bandwidth()
        distances = check_neighbor_distances(distances)
        with np.errstate(over="ignore", invalid="ignore"):
            x = distances / self.bandwidth
            nearest = x.min(axis=1, keepdims=True)
            # The nearest neighbor has the weight 1, so that no row vanishes.
            weights: NDArray[np.float64] = np.exp(-0.5 * (x - nearest) * (x + nearest))
        weights[~np.isfinite(x)] = 0.0
        if not np.isfinite(nearest).all():
            raise ValueError(f"affinities == {self}: distances over the bandwidth overflow; bandwidth must be larger.")
        weights /= weights.sum(axis=1, keepdims=True)
        return weights

    def _check_bandwidth(self) -> None:
        check_number(f"affinities == {self}: bandwidth", self.bandwidth, Real, 0, low_included=False)


def given_affinities(X: Any) -> csr_array | NDArray[np.float64]:
    """Return affinities that the user computed, without the diagonal, the largest being 1.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n, n)
        Affinities; not changed.

    Returns
    -------
    affinities : csr_array or ndarray of shape (n, n), float64
        Sparse where X is.

    Raises
    ------
    ValueError
        If X is not square, or has a negative entry, or no affinity of a row to or from any other.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.affinities import given_affinities
    >>> given_affinities(np.array([[9.0, 4.0], [2.0, 9.0]]))
    array([[0. , 1. ],
           [0.5, 0. ]])
    """
    name = "With affinities='precomputed' X must hold affinities"
    precision = precision_of(X)
    X = as_csr("X", X) if issparse(X) else as_floats("X", X, ("n_rows", "n_columns"))
    if X.shape[0] != X.shape[1]:
        raise ValueError(f"{name}, a square matrix of them, got shape {X.shape}.")
    X = without_rounding(name, X, precision)
    if issparse(X):
        entries = X.tocoo()
        others = entries.row != entries.col
        places = entries.row[others], entries.col[others]
        X = csr_array((entries.data[others].astype(np.float64), places), shape=X.shape)  # sums duplicates
    else:
        X = np.array(X, dtype=np.float64)
        np.fill_diagonal(X, 0.0)
    values = X.data if issparse(X) else X
    check_not_negative("X", values)
    values /= max(values.max(initial=0.0), np.finfo(np.float64).smallest_subnormal)
    empty = np.asarray(X.sum(axis=0) + X.sum(axis=1)).ravel() == 0.0
    if empty.any():
        raise ValueError(
            f"{name}, and row {empty.argmax()} has none to or from another row: leave out such rows, which a subset of "
            "a larger graph may have, or compute the affinities of the rows that are left."
        )
    return X


def given_affinities_of_others(X: Any) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the probabilities of new rows from affinities that the user computed.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (m, n)
        Affinities of new rows to those of a fit; not changed.

    Returns
    -------
    probabilities : ndarray of shape (m, k)
        In each row from the likeliest row of the fit on; rows sum to 1.
    indices : ndarray of shape (m, k)
        The rows of the fit that have these probabilities. A row with fewer than k affinities is filled up with its
        likeliest one and the probability 0.

    Raises
    ------
    ValueError
        If X has a negative entry, or a row without a positive one.
    """
    name = "With affinities='precomputed' X must hold affinities"
    X = csr_array(without_rounding(name, X, precision_of(X)), dtype=np.float64, copy=True)
    X.sum_duplicates()
    X.eliminate_zeros()
    counts = np.diff(X.indptr)
    if not counts.all():
        raise RowError(f"{name} to rows of the fit, and row {{row}} has none.", int(counts.argmin()))
    rows = np.repeat(np.arange(X.shape[0]), counts)
    order = np.lexsort((X.indices, -X.data, rows))
    place = np.arange(X.nnz) - np.repeat(X.indptr[:-1], counts)
    probabilities = np.zeros((X.shape[0], counts.max()))
    indices = np.repeat(X.indices[order[X.indptr[:-1]], None].astype(np.intp), counts.max(), axis=1)
    probabilities[rows, place], indices[rows, place] = X.data[order], X.indices[order]
    probabilities /= probabilities[:, :1]  # so that no sum overflows
    # Sums one by one, because those by pairs would depend on the zeros, and so on the other rows.
    probabilities /= np.cumsum(probabilities, axis=1)[:, -1:]
    return probabilities, indices


def conditional_affinities(
    graph: NeighborGraph | NDArray[np.float64], rule: Affinities, workers: Workers
) -> csr_array | NDArray[np.float64]:
    """Return the matrix of p_{j|i}, whose rows sum to 1.

    Parameters
    ----------
    graph : NeighborGraph or ndarray of shape (n, n)
        Neighbors and their distances, or the distances of all pairs.
    rule : Affinities
        Gives the rows their probabilities.
    workers : Workers
        The threads to use.

    Returns
    -------
    conditional : csr_array or ndarray of shape (n, n)
        Sparse for neighbors, with int32 indices where they fit; dense for all pairs.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.parallel import Workers
    >>> from sktsne.affinities import Uniform, conditional_affinities
    >>> from sktsne.neighbors import nearest_neighbors
    >>> graph = nearest_neighbors(np.array([[0.0], [1.0], [3.0], [7.0]]), n_neighbors=2)
    >>> conditional_affinities(graph, Uniform(n_neighbors=2), Workers()).toarray()
    array([[0. , 0.5, 0.5, 0. ],
           [0.5, 0. , 0.5, 0. ],
           [0.5, 0.5, 0. , 0. ],
           [0. , 0.5, 0.5, 0. ]])
    """
    if isinstance(graph, NeighborGraph):
        probabilities = _probabilities(rule, graph.distances, workers)
        n, k = probabilities.shape
        index_dtype = np.int32 if 2 * n * k <= np.iinfo(np.int32).max else np.int64
        indptr = np.arange(0, n * k + 1, k, dtype=index_dtype)
        indices = as_indices("graph.indices", graph.indices, (n, k), n).astype(index_dtype).ravel()  # sorted below
        conditional = csr_array((probabilities.ravel(), indices, indptr), shape=(n, n))
        conditional.sort_indices()
        return conditional
    distances = np.array(graph, dtype=np.float64)
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1]:
        raise ValueError(f"graph has shape {distances.shape}, must be a NeighborGraph or have shape (n, n).")
    np.fill_diagonal(distances, np.inf)
    return _probabilities(rule, distances, workers)


def _probabilities(rule: Affinities, distances: NDArray[np.float64], workers: Workers) -> NDArray[np.float64]:
    """Return a rule's probabilities, of the shape of ``distances``, whoever wrote the rule."""
    if isinstance(rule, type) or not hasattr(rule, "probabilities"):
        raise TypeError(f"rule == {rule!r}, must be an affinity rule, such as Uniform(15).")
    distances = as_floats("graph.distances", distances, ("n", "k"), finite=False, empty=False)
    name = f"probabilities of {type(rule).__name__}"
    probabilities = as_floats(name, rule.probabilities(distances, workers), distances.shape)
    check_not_negative(name, probabilities)
    return probabilities


def mean_bandwidth(graph: NeighborGraph | NDArray[np.float64], conditional: csr_array | NDArray[np.float64]) -> float:
    """Return the mean standard deviation of the Gaussians that give rows their probabilities, at one perplexity.

    Each follows from the ratio of the largest and the least probability of a row. Rows of equal ones do not count.
    """
    if isinstance(graph, NeighborGraph):
        distances, P = graph.distances, np.reshape(conditional.data, graph.distances.shape)
    else:
        distances, P = graph + np.diag(np.full(len(graph), np.inf)), conditional
    distances, P = np.sort(distances, axis=1), -np.sort(-P, axis=1)  # the likeliest neighbor is the nearest
    rows, last = np.arange(len(P)), np.count_nonzero(P, axis=1) - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = distances[rows, last] ** 2 - distances[:, 0] ** 2
        bandwidths = np.sqrt(spread / (2.0 * np.log(P[:, 0] / P[rows, last])))
    return float(np.mean(bandwidths[np.isfinite(bandwidths)])) if np.isfinite(bandwidths).any() else math.nan


def symmetrize(
    conditional: csr_array | NDArray[np.float64],
) -> csr_array | NDArray[np.float64]:
    """Return the symmetric matrix of p_{j|i} + p_{i|j}."""
    return conditional + conditional.T


def joint_affinities(
    conditional: csr_array | NDArray[np.float64],
) -> csr_array | NDArray[np.float64]:
    """Return the matrix of p_ij = (p_{j|i} + p_{i|j}) / 2n, which sums to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.affinities import joint_affinities
    >>> joint_affinities(np.array([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]))
    array([[0.  , 0.25, 0.  ],
           [0.25, 0.  , 0.25],
           [0.  , 0.25, 0.  ]])
    """
    joint = symmetrize(as_affinities("conditional", conditional))
    joint /= 2 * joint.shape[0]
    return joint


def reorder(affinities: csr_array, order: NDArray[np.intp], dtype: type[np.floating]) -> csr_array:
    """Return the affinities of the points in another order, with values of type ``dtype``."""
    data = affinities.data.astype(dtype, copy=False)
    rows = csr_array((data, affinities.indices, affinities.indptr), shape=affinities.shape)[order]
    place = np.empty(len(order), dtype=rows.indices.dtype)
    place[order] = np.arange(len(order), dtype=place.dtype)
    return csr_array((rows.data, place[rows.indices], rows.indptr), shape=rows.shape)


def normalize_rows(affinities: csr_array | NDArray[np.float64]) -> csr_array | NDArray[np.float64]:
    """Return the matrix with rows that sum to 1; raise a ValueError for a row without entries."""
    sums = np.asarray(affinities.sum(axis=1)).ravel()
    if not sums.all():
        raise ValueError(
            "With affinities='precomputed' every row of X must have an affinity to another row for SNE, and row "
            f"{np.argmin(sums)} has none."
        )
    if isinstance(affinities, np.ndarray):
        return affinities / sums[:, None]
    data = affinities.data / np.repeat(sums, np.diff(affinities.indptr))
    return csr_array((data, affinities.indices, affinities.indptr), shape=affinities.shape)
