r"""Affinities: conditional and joint probabilities of neighbors, from their distances δ_ij.

An affinity rule gives row i the conditional probabilities p_{j|i} of its nearest neighbors j, with p_{i|i} = 0 and
Σ_j p_{j|i} = 1:

========================= ======================================================================================
:class:`Perplexity`       p_{j|i} ∝ exp(−β_i δ_ij²), where β_i gives row i the wanted perplexity. For several
                          perplexities, the mean of their p_{j|i} (Lee et al. 2015).
:class:`FixedBandwidth`   p_{j|i} ∝ exp(−δ_ij² / 2σ²), with the same bandwidth σ for all rows.
:class:`Uniform`          p_{j|i} = 1/k for each of the k nearest neighbors.
========================= ======================================================================================

t-SNE uses the joint probabilities, which sum to 1 over all pairs:

    p_ij = (p_{j|i} + p_{i|j}) / 2n

A row of weight m_j counts as m_j equal rows, its copies. With weights, conditional probabilities are those of all
copies of a row together, M_{j|i} = m_j p_{j|i}. The other copies of row i itself are neighbors of row i at the distance
0, with the weight max(m_i − 1, 0), so that M_{i|i} may be positive. The joint probabilities are, with N = Σ_i m_i,

    P_ij = (m_i M_{j|i} + m_j M_{i|j}) / 2N

As in a data set that has all the copies as rows, only the nearest copies of a row have affinities.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
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
    check_type,
    precision_of,
    without_rounding,
)
from ._documentation import LinksToDocumentation
from ._row_errors import RowError, numbering
from ._sparse import symmetrize
from .neighbors import NeighborGraph
from .parallel import Workers
from .perplexity import as_weights, check_neighbors, check_range, conditional_probabilities

SORT_COST = 32  # elementary operations to sort one neighbor, roughly
ROWS_AT_ONCE = 2**13  # the number of rows whose probabilities a rule computes at a time, in float64


class Affinities(Protocol):
    """The contract of an affinity rule, which turns the distances of neighbors into conditional probabilities.

    The probabilities of a row must not depend on other rows, for example by a mean over all distances: `probabilities`
    is called several times for many rows, each time with some of them, and again for the new rows of a transform.

    Examples
    --------
    This rule gives the nearest neighbor of a row the probability 2/3, and the second nearest 1/3:

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
        """Return the conditional probabilities p_{j|i}.

        Fits with ``sample_weight`` need a rule whose method has a third parameter, ``weights=None``. Where it is an
        array, the method returns M_{j|i}, the probability of all copies of a neighbor together.

        Parameters
        ----------
        distances : ndarray of shape (n, k), float64
            The distances from each row to its neighbors, in any order, not squared. Infinity marks a missing neighbor.
            The n rows may be any part of the rows of a fit.
        workers : Workers
            The threads to use.
        weights : ndarray of shape (n, k), float64, optional parameter of a rule
            The weight of each neighbor, which counts as this number of neighbors at the same distance. The weight 0
            marks a missing neighbor.

        Returns
        -------
        probabilities : ndarray of shape (n, k), float64
            The probabilities; each row sums to 1.
        """


class Perplexity:
    """Gaussian affinities whose bandwidth in each row gives the row a wanted perplexity.

    The perplexity is the effective number of neighbors of a row. For several perplexities the conditional probabilities
    are averaged, so that the map shows small and large neighborhoods at once (Lee et al. 2015, "Multi-scale
    similarities in stochastic neighbour embedding"; Kobak & Berens 2019).

    Parameters
    ----------
    perplexities : sequence of float
        The perplexities, each at least 1 and below ``n_samples - 1``.

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
        """Return three times the largest perplexity plus 1, at most ``n_samples - 1``."""
        return min(n_samples - 1, int(3.0 * max(self.perplexities) + 1))

    def probabilities(
        self, distances: NDArray[np.float64], workers: Workers, weights: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return p_{j|i}, or M_{j|i} with weights; see :class:`Affinities`."""
        total = conditional_probabilities(distances, self.perplexities[0], workers, weights)
        for perplexity in self.perplexities[1:]:
            total += conditional_probabilities(distances, perplexity, workers, weights)
        total /= len(self.perplexities)
        return total


class Uniform(LinksToDocumentation, BaseEstimator):
    """Equal affinities for the k nearest neighbors of each row.

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

    def probabilities(
        self, distances: NDArray[np.float64], workers: Workers, weights: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return p_{j|i}, or M_{j|i} with weights; see :class:`Affinities`."""
        distances, weights = check_neighbors(distances, weights)
        present = np.isfinite(distances)
        present = present if weights is None else np.where(present, weights, 0.0)
        probabilities: NDArray[np.float64] = present / present.sum(axis=1, keepdims=True)
        return probabilities


class FixedBandwidth(LinksToDocumentation, BaseEstimator):
    """Gaussian affinities of the same bandwidth for all rows, p_{j|i} proportional to exp(-δ² / 2σ²).

    Parameters
    ----------
    bandwidth : float, default=1.0
        The standard deviation σ, in the unit of the distances.
    n_neighbors : int, default=90
        The number of nearest neighbors of each row that have an affinity. In a data set of at most ``n_neighbors``
        rows, all other rows have an affinity.

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

    def probabilities(
        self, distances: NDArray[np.float64], workers: Workers, weights: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return p_{j|i}, or M_{j|i} with weights; see :class:`Affinities`."""
        self._check_bandwidth()
        distances, weights = check_neighbors(distances, weights)
        with np.errstate(over="ignore", invalid="ignore"):
            x = distances / self.bandwidth
            nearest = x.min(axis=1, keepdims=True)
            # They are divided by the one of the nearest neighbor, so that a row cannot consist of zeros.
            exponentials: NDArray[np.float64] = np.exp(-0.5 * (x - nearest) * (x + nearest))
        exponentials[~np.isfinite(x)] = 0.0
        if not np.isfinite(nearest).all():
            raise ValueError(f"affinities == {self}: distances / bandwidth overflow, bandwidth must be larger.")
        if weights is not None:
            exponentials *= weights
        exponentials /= exponentials.sum(axis=1, keepdims=True)
        return exponentials

    def _check_bandwidth(self) -> None:
        """Raise unless the bandwidth is a positive finite number."""
        check_number(f"affinities == {self}: bandwidth", self.bandwidth, Real, 0, low_included=False)


def given_affinities(X: Any, weights: NDArray[np.float64] | None = None) -> csr_array | NDArray[np.float64]:
    """Return affinities that the user computed, with a zero diagonal and scaled so that the largest is 1.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n, n)
        The affinities, which are not changed.
    weights : ndarray of shape (n,), default=None
        The positive weights m_j of the rows. With weights, the affinity from row i to row j is multiplied by m_j. The
        diagonal, which holds the affinity between two copies of a row, is multiplied by max(m_j − 1, 0).

    Returns
    -------
    affinities : csr_array or ndarray of shape (n, n), float64
        The affinities, sparse if X is sparse.

    Raises
    ------
    ValueError
        If X is not square, or has a negative entry, or a row has no affinity to or from another row.

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
        raise ValueError(f"{name}: X has shape {X.shape}, must be square.")
    X = without_rounding(name, X, precision)
    X = _without_diagonal(X) if weights is None else _to_copies(X, as_weights(weights, X.shape[0]))
    values = X.data if issparse(X) else X
    check_not_negative("X", values)
    values /= max(values.max(initial=0.0), np.finfo(np.float64).smallest_subnormal)
    empty = np.asarray(X.sum(axis=0) + X.sum(axis=1)).ravel() == 0.0
    if empty.any():
        raise RowError(
            f"{name}, and row {{row}} has no affinity to or from another row. Remove such rows, which a subset of a "
            "larger graph may have, or compute the affinities of the subset anew.",
            int(empty.argmax()),
        )
    return X


def other_copies(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the number of other copies that a copy of each row has."""
    return np.maximum(weights - 1.0, 0.0)


def _without_diagonal(X: Any) -> csr_array | NDArray[np.float64]:
    """Return a copy of a matrix in float64, with a zero diagonal and without duplicate entries."""
    if issparse(X):
        entries = X.tocoo()
        others = entries.row != entries.col
        places = entries.row[others], entries.col[others]
        return csr_array((entries.data[others].astype(np.float64), places), shape=X.shape)  # sums duplicates
    others_only = np.array(X, dtype=np.float64)
    np.fill_diagonal(others_only, 0.0)
    return others_only


def _to_copies(X: Any, weights: NDArray[np.float64]) -> csr_array | NDArray[np.float64]:
    """Return, up to a factor, the affinities X from each row to all copies of each row, in float64.

    The entry ij is multiplied by m_j for i ≠ j, and by max(m_j − 1, 0) on the diagonal.
    """
    values = X.data if issparse(X) else X
    check_not_negative("X", values)
    largest = max(float(values.max(initial=0.0)), float(np.finfo(np.float64).smallest_subnormal))
    most = weights.max()  # both are divided by their maxima, so that no product overflows
    copies, own = weights / most, other_copies(weights) / most
    if issparse(X):
        entries = X.tocoo()
        factors = np.where(entries.row == entries.col, own[entries.row], copies[entries.col])
        data = entries.data.astype(np.float64) / largest * factors
        X = csr_array((data, (entries.row, entries.col)), shape=X.shape)  # sums duplicates
        X.eliminate_zeros()
        return X
    scaled: NDArray[np.float64] = X / largest
    diagonal = scaled.diagonal() * own
    scaled *= copies
    np.fill_diagonal(scaled, diagonal)
    return scaled


def given_affinities_of_others(
    X: Any, weights: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the conditional probabilities of new rows, from affinities that the user computed.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (m, n)
        The affinities of m new rows to the n rows of a fit, which are not changed.
    weights : ndarray of shape (n,), default=None
        The positive weights of the rows of the fit, by which their affinities are multiplied.

    Returns
    -------
    probabilities : ndarray of shape (m, k), float64
        The probabilities of each row in descending order; each row sums to 1.
    indices : ndarray of shape (m, k), intp
        The rows of the fit with these probabilities. A row with fewer than k affinities is filled with its likeliest
        row of the fit and the probability 0.

    Raises
    ------
    ValueError
        If X has a negative entry, or a row of X has no positive entry.
    """
    name = "With affinities='precomputed' X must hold affinities"
    X = csr_array(without_rounding(name, X, precision_of(X)), dtype=np.float64, copy=True)
    if weights is not None:
        weights = as_weights(weights, X.shape[1])
        X.data *= (weights / weights.max())[X.indices]
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
    probabilities /= probabilities[:, :1]  # the largest is then 1, so that no sum overflows
    # cumsum adds in order. The pairwise summation of sum would depend on the number of zeros, and so on other rows.
    probabilities /= np.cumsum(probabilities, axis=1)[:, -1:]
    return probabilities, indices


def conditional_affinities(
    graph: NeighborGraph | NDArray[np.float64],
    rule: Affinities,
    workers: Workers,
    dtype: type[np.floating] = np.float64,
    weights: NDArray[np.float64] | None = None,
    count: float | None = None,
) -> csr_array | NDArray[np.float64]:
    """Return the matrix of conditional probabilities p_{j|i}, or M_{j|i} with weights, whose rows sum to 1.

    Parameters
    ----------
    graph : NeighborGraph or ndarray of shape (n, n)
        The neighbors of each row and their distances, or the distances of all pairs.
    rule : Affinities
        The affinity rule.
    workers : Workers
        The threads to use.
    dtype : type, default=numpy.float64
        The type of the probabilities of a NeighborGraph, float32 or float64. They are computed in float64.
    weights : ndarray of shape (n,), default=None
        The positive weights of the rows. By default all rows have the weight 1.
    count : float, default=None
        The number of nearest copies to which a row of a NeighborGraph has affinities, if there are weights; see
        `counted_weights`. By default a row has affinities to all copies of its neighbors.

    Returns
    -------
    conditional : csr_array or ndarray of shape (n, n)
        The probabilities: sparse for a NeighborGraph, with int32 indices if they suffice; dense and float64 for all
        pairs. Only with weights, a sparse matrix has entries on the diagonal, one in each row.

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
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"dtype == {dtype!r}, must be numpy.float32 or numpy.float64.")
    if count is not None:
        check_number("count", count, Real, 0, low_included=False)
    if isinstance(graph, NeighborGraph):
        return _of_neighbors(graph, rule, workers, dtype, weights, count)
    distances = np.array(graph, dtype=np.float64)
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1]:
        raise ValueError(f"graph has shape {distances.shape}, must be a NeighborGraph or have shape (n, n).")
    if weights is None:
        np.fill_diagonal(distances, np.inf)
        return probabilities_of(rule, distances, workers)
    np.fill_diagonal(distances, 0.0)
    weights = as_weights(weights, len(distances))
    for rows in row_blocks(len(distances)):
        with numbering(rows):
            distances[rows] = probabilities_of(rule, distances[rows], workers, _weights_of_all(weights, rows))
    return distances


def _of_neighbors(
    graph: NeighborGraph,
    rule: Affinities,
    workers: Workers,
    dtype: type[np.floating],
    weights: NDArray[np.float64] | None,
    count: float | None,
) -> csr_array:
    """Return what `conditional_affinities` does, for the neighbors of each row."""
    distances = as_floats("graph.distances", graph.distances, ("n", "k"), finite=False, empty=False)
    n = len(distances)
    columns = as_indices("graph.indices", graph.indices, distances.shape, n)
    if weights is not None:
        weights, columns = as_weights(weights, n), _with_own(columns)
    k = columns.shape[1]
    # Joint probabilities may have twice as many entries.
    index_dtype = np.int32 if 2 * n * k <= np.iinfo(np.int32).max else np.int64
    indptr = np.arange(0, n * k + 1, k, dtype=index_dtype)
    indices, probabilities = np.empty((n, k), dtype=index_dtype), np.empty((n, k), dtype=dtype)
    for rows in row_blocks(n):
        with numbering(rows):
            if weights is None:
                probabilities[rows] = probabilities_of(rule, distances[rows], workers)
            else:
                some, counted = _with_own_copies(distances[rows], columns[rows], weights, count)
                probabilities[rows] = probabilities_of(rule, some, workers, counted)

    def sort(start: int, stop: int) -> None:
        rows = slice(start, stop)
        indices[rows], probabilities[rows] = sorted_columns(columns[rows], probabilities[rows])

    workers.run(sort, n, SORT_COST * k)
    return csr_array((probabilities.ravel(), indices.ravel(), indptr), shape=(n, n))


def sorted_columns(
    columns: NDArray[np.integer], probabilities: NDArray[np.floating]
) -> tuple[NDArray[np.integer], NDArray[np.floating]]:
    """Return the columns of each row in ascending order, and the probabilities in the same order."""
    order = np.argsort(columns, axis=1)
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(probabilities, order, axis=1)


def row_blocks(n: int) -> Iterator[NDArray[np.intp]]:
    """Yield the indices of n rows, at most `ROWS_AT_ONCE` at a time."""
    for start in range(0, n, ROWS_AT_ONCE):
        yield np.arange(start, min(start + ROWS_AT_ONCE, n))


def _with_own(neighbors: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the neighbors of each row, after the row itself."""
    return np.column_stack([np.arange(len(neighbors), dtype=neighbors.dtype), neighbors])


def _with_own_copies(
    distances: NDArray[np.float64], columns: NDArray[np.integer], weights: NDArray[np.float64], count: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distances and the weights of the own copies and of the neighbors of some rows, shape (n, k + 1).

    ``distances`` (n, k) belong to all ``columns`` (n, k + 1) but the first one, which holds the rows themselves.
    """
    distances = np.column_stack([np.zeros(len(distances)), distances])
    counted = weights[columns]
    counted[:, 0] = other_copies(counted[:, 0])
    return distances, counted if count is None else counted_weights(distances, counted, count)


def _weights_of_all(weights: NDArray[np.float64], rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the weights with which all n rows count as neighbors of some rows, shape (n_rows, n)."""
    counted = np.tile(weights, (len(rows), 1))
    counted[np.arange(len(rows)), rows] = other_copies(weights[rows])
    return counted


def counted_weights(distances: NDArray[np.float64], weights: NDArray[np.float64], count: float) -> NDArray[np.float64]:
    """Return the weights with which neighbors count if each row has affinities to its nearest copies only.

    Among rows of which some are equal, the neighbors of a row are its nearest copies up to a number, and of the
    farthest neighbor perhaps only some copies.

    Parameters
    ----------
    distances : ndarray of shape (n, k), float64
        The distances from each row to its neighbors, in any order. Of equal distances, the first one counts as nearer.
    weights : ndarray of shape (n, k), float64
        The weights of the neighbors.
    count : float
        The total weight up to which the nearest neighbors count.

    Returns
    -------
    counted : ndarray of shape (n, k), float64
        The weights, in the order of the neighbors. The neighbor at which the total is reached has the part of its
        weight that is left, and neighbors beyond it have the weight 0.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.affinities import counted_weights
    >>> counted_weights(np.array([[3.0, 1.0, 2.0]]), np.array([[2.0, 2.0, 2.0]]), 3.0)
    array([[0., 2., 1.]])
    """
    distances = as_floats("distances", distances, ("n", "k"), finite=False)
    weights = check_range("weights", as_floats("weights", weights, distances.shape))
    check_number("count", count, Real, 0, low_included=False)
    order = np.argsort(distances, axis=1, kind="stable")
    ordered = np.take_along_axis(weights, order, axis=1)
    nearer = np.zeros_like(ordered)  # the total weight of nearer neighbors
    np.cumsum(ordered[:, :-1], axis=1, out=nearer[:, 1:])
    counted = np.empty_like(ordered)
    np.put_along_axis(counted, order, np.minimum(ordered, np.maximum(count - nearer, 0.0)), axis=1)
    return counted


def check_takes_weights(rule: Affinities) -> None:
    """Raise a ValueError unless the method ``probabilities`` of a rule has the parameter ``weights``."""
    try:
        parameters = inspect.signature(rule.probabilities).parameters
    except (TypeError, ValueError):  # the signatures of some compiled functions are unknown
        return
    if "weights" not in parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        raise ValueError(
            f"affinities == {rule}: its method probabilities has no parameter weights, which sample_weight needs."
        )


def probabilities_of(
    rule: Affinities,
    distances: NDArray[np.float64],
    workers: Workers,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the probabilities of a rule after checking them, because users can write rules."""
    if isinstance(rule, type) or not hasattr(rule, "probabilities"):
        raise TypeError(f"rule == {rule!r}, must be an affinity rule, such as Uniform(15).")
    distances = as_floats("graph.distances", distances, ("n", "k"), finite=False, empty=False)
    options: dict[str, Any] = {}
    if weights is not None:
        check_takes_weights(rule)
        options["weights"] = weights
    name = f"probabilities of {type(rule).__name__}"
    probabilities = as_floats(name, rule.probabilities(distances, workers, **options), distances.shape)
    check_not_negative(name, probabilities)
    return probabilities


def probabilities_of_new_rows(
    rule: Affinities,
    distances: NDArray[np.float64],
    indices: NDArray[np.integer],
    weights: NDArray[np.float64],
    count: float | None,
    workers: Workers,
) -> NDArray[np.float64]:
    """Return M_{j|x}, the probabilities of new rows over their neighbors among the rows of a fit with weights.

    Parameters
    ----------
    rule : Affinities
        The affinity rule of the fit.
    distances : ndarray of shape (m, k), float64
        The distances from each new row to its neighbors.
    indices : ndarray of shape (m, k)
        The neighbors, indices of rows of the fit.
    weights : ndarray of shape (n,), float64
        The positive weights of the rows of the fit.
    count : float or None
        The number of nearest copies that count, as for `conditional_affinities`.
    workers : Workers
        The threads to use.

    Returns
    -------
    probabilities : ndarray of shape (m, k), float64
        The probabilities; each row sums to 1. A new row has no copies of its own.
    """
    counted = weights[indices]
    return probabilities_of(
        rule, distances, workers, counted if count is None else counted_weights(distances, counted, count)
    )


def mean_bandwidth(
    graph: NeighborGraph | NDArray[np.float64],
    conditional: csr_array | NDArray[np.float64],
    weights: NDArray[np.float64] | None = None,
    count: float | None = None,
) -> float:
    """Return the mean over the rows of the standard deviation σ_i of the Gaussian that gives a row its probabilities.

    σ_i follows from the ratio of the largest to the smallest probability of a row and the two distances, if the
    probabilities have a single perplexity. Rows whose probabilities are all equal are left out; without other rows the
    mean is NaN. With weights, the probabilities are those of single copies, and the mean counts each row by its weight.
    ``weights`` and ``count`` are those of `conditional_affinities`.
    """
    blocks = list(row_blocks(conditional.shape[0]))
    found = [_bandwidths(*_row_probabilities(graph, conditional, weights, count, rows)) for rows in blocks]
    bandwidths = np.concatenate(found)
    finite = np.isfinite(bandwidths)
    if not finite.any():
        return math.nan
    return float(np.average(bandwidths[finite], weights=None if weights is None else weights[finite]))


def _row_probabilities(
    graph: NeighborGraph | NDArray[np.float64],
    conditional: csr_array | NDArray[np.float64],
    weights: NDArray[np.float64] | None,
    count: float | None,
    rows: NDArray[np.intp],
) -> tuple[NDArray[np.float64], NDArray[np.floating]]:
    """Return the distances of some rows, and the probabilities of single copies, in any order.

    Distances without a probability, such as those of own copies that are not there, are infinite.
    """
    if isinstance(graph, NeighborGraph):
        distances, P = graph.distances[rows], np.reshape(conditional.data, (conditional.shape[0], -1))[rows]
        if weights is None:
            return distances, P
        columns = _with_own(graph.indices)[rows]
        distances, counted = _with_own_copies(distances, columns, weights, count)
        places = np.argsort(np.argsort(columns, axis=1), axis=1)  # P is in the order of the columns
        P = np.take_along_axis(P, places, axis=1)
    else:
        distances, P = graph[rows], conditional[rows]
        distances[np.arange(len(rows)), rows] = np.inf if weights is None else 0.0
        if weights is None:
            return distances, P
        counted = _weights_of_all(weights, rows)
    copies = np.where(counted > 0.0, counted, np.inf)
    return np.where(counted > 0.0, distances, np.inf), (P / copies).astype(P.dtype)


def _bandwidths(distances: NDArray[np.float64], P: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the standard deviations σ_i of rows, which are not finite where the probabilities are all equal."""
    least = np.finfo(P.dtype).smallest_normal  # smaller probabilities have lost digits
    distances, P = np.sort(distances, axis=1), -np.sort(-P.astype(np.float64), axis=1)  # the likeliest is the nearest
    rows, last = np.arange(len(P)), np.count_nonzero(least <= P, axis=1) - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = distances[rows, last] ** 2 - distances[:, 0] ** 2
        bandwidths: NDArray[np.float64] = np.sqrt(spread / (2.0 * np.log(P[:, 0] / P[rows, last])))
    return bandwidths


def joint_affinities(
    conditional: csr_array | NDArray[np.float64],
    workers: Workers | None = None,
    weights: NDArray[np.float64] | None = None,
) -> csr_array | NDArray[np.float64]:
    """Return the matrix of p_ij = (p_{j|i} + p_{i|j}) / 2n, which sums to 1.

    With weights, the matrix of P_ij = (m_i M_{j|i} + m_j M_{i|j}) / 2N.

    Parameters
    ----------
    conditional : csr_array or ndarray of shape (n, n)
        The conditional probabilities.
    workers : Workers, default=None
        The threads to use. ``None`` uses the calling thread only.
    weights : ndarray of shape (n,), default=None
        The positive weights m of the rows, whose sum is N.

    Returns
    -------
    joint : csr_array or ndarray of shape (n, n)
        The joint probabilities.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.affinities import joint_affinities
    >>> joint_affinities(np.array([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]))
    array([[0.  , 0.25, 0.  ],
           [0.25, 0.  , 0.25],
           [0.  , 0.25, 0.  ]])
    """
    if workers is not None:
        check_type("workers", workers, Workers)
    conditional = as_affinities("conditional", conditional)
    if weights is not None:
        weights = as_weights(weights, conditional.shape[0])
        return symmetrize(weighted_rows(conditional, weights / (2.0 * weights.sum())), workers)
    joint = symmetrize(conditional, workers)
    joint /= 2 * joint.shape[0]
    return joint


def weighted_rows(
    matrix: csr_array | NDArray[np.float64], weights: NDArray[np.float64]
) -> csr_array | NDArray[np.float64]:
    """Return the matrix with row i multiplied by the weight m_i; a sparse one shares its indices and its dtype."""
    if isinstance(matrix, np.ndarray):
        return matrix * weights[:, None]
    data = matrix.data * np.repeat(weights.astype(matrix.dtype), np.diff(matrix.indptr))
    return csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


def normalize_rows(affinities: csr_array | NDArray[np.float64]) -> csr_array | NDArray[np.float64]:
    """Return the affinities with each row divided by its sum; raise a ValueError for a row with the sum 0."""
    sums = np.asarray(affinities.sum(axis=1)).ravel()
    if not sums.all():
        raise RowError(
            "With affinities='precomputed' every row of X must have an affinity to another row for SNE, and row {row} "
            "has none.",
            int(np.argmin(sums)),
        )
    if isinstance(affinities, np.ndarray):
        return affinities / sums[:, None]
    data = affinities.data / np.repeat(sums, np.diff(affinities.indptr))
    return csr_array((data, affinities.indices, affinities.indptr), shape=affinities.shape)
