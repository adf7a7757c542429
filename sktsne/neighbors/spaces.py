r"""Spaces: the rows of a fit under a metric, and the distances of blocks of pairs of rows.

A space first maps each row x to a point f(x). From the points it computes a *value* for each pair of a block. Values
order the pairs of a row as distances do, and cost less. Four spaces serve all metrics:

==================  ==========================================================================================
`EuclideanSpace`    Values are \|f(x) − f(y)\|² = \|f(x)\|² + \|f(y)\|² − 2 f(x)·f(y), from one matrix product.
                    f(x) is x (euclidean, sqeuclidean), x / \|x\| (cosine), (x − mean(x)) / \|x − mean(x)\|
                    (correlation), x divided by the standard deviation of each column (seuclidean), or x times a
                    root of the inverse covariance matrix (mahalanobis).
`SparseSpace`       The same values for sparse rows: euclidean, sqeuclidean, cosine and correlation.
`CountSpace`        Rows of true and false. Values are distances, computed from the number a of columns that are
                    true in x, the number b in y, and the number s in both, which one matrix product gives.
`DirectSpace`       All other metrics. Values are distances, as scikit-learn computes them pair by pair.
==================  ==========================================================================================

For the angular metrics, cosine and correlation, the distance is 1 − cos(x, y) = \|f(x) − f(y)\|² / 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from scipy.spatial.distance import cdist
from sklearn.metrics import pairwise_distances

from .._caching import Caching
from ..parallel import Workers
from .contract import raise_without_distances
from .metrics import Metric, traits_of
from .selection import pair_distances

# A squared distance computed as |x|² + |y|² − 2x·y has lost half of its digits if it is below this fraction of
# |x|² + |y|².
CANCELLATION = 1e-8
PAIRS_AT_ONCE = 2**16  # pairs of sparse rows whose differences are computed at a time
NUMBERS_AT_ONCE = 2**16  # numbers of rows that are converted to float64 at a time, so that they stay in the cache
# The bound on coordinates, in units of the largest coordinate of the fit. Within the bound squares do not overflow in
# float32, and rows beyond it are equally far from all rows of the fit.
MAX_COORDINATE = 1e15
# Dense metrics that scikit-learn computes by SciPy's cdist, with their names in SciPy.
SCIPY_NAMES = {
    **dict.fromkeys(("manhattan", "cityblock", "l1"), "cityblock"),
    **{name: name for name in ("chebyshev", "minkowski", "canberra", "braycurtis")},
}
MEDIAN_ROWS = 1000  # the number of rows, roughly, whose median is the center of the fit
POWER_COST = 32  # the cost of a power, as in "minkowski", in units of the cost of a product


class Space(Protocol):
    """The contract of a space: the rows of a fit under a metric.

    Attributes
    ----------
    n, n_columns : int
        The shape of the rows of the fit.
    rounds : bool
        Whether the value of a pair depends, by rounding, on the block that the pair is in.
    faster_in_float32 : bool
        Whether values take less time in float32. Where this is False, values are float64.
    direct : bool
        Whether values are computed pair by pair, not by matrix products.
    calls_python : bool
        Whether a Python function computes the values, so that threads save no time.
    products : bool
        Whether operands are arrays ``a`` and ``b``, and the values their product ``a @ b.T``.
    pair_cost : int
        The time that the value of a pair takes, in units of the time for one difference or one product.
    points : {ndarray, csr_array} of shape (n, n_points_columns)
        The points of the rows of the fit.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.neighbors.spaces import Space, space_of
    >>> X = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    >>> space: Space = space_of(X, "jaccard", {})
    >>> space.values(space.operand(space.points), space.operand(space.points)).tolist()
    [[0.0, 0.5], [0.5, 0.0]]
    """

    n: int
    n_columns: int
    rounds: bool
    faster_in_float32: bool
    direct: bool
    calls_python: bool
    products: bool
    pair_cost: int
    points: Any

    def points_of(self, rows: Any) -> Any:
        """Return the points f(x) of rows x, which may be new rows or those of the fit."""

    def operand(self, points: Any, left: bool = True, dtype: Any = np.float64) -> Any:
        """Return the left or right operand of `values` for points; its rows can be selected by indices."""

    def values(self, a: Any, b: Any) -> NDArray[np.floating]:
        """Return the values of all pairs of a row of ``a``, a left operand, and a row of ``b``, as a new array."""

    def distances(
        self, values: NDArray[np.floating], points: Any, indices: NDArray[np.int32], workers: Workers
    ) -> NDArray[np.float64]:
        """Return the distances from points to the rows ``indices`` of the fit, whose ``values`` are known."""

    def exact_distances(self, points: Any, indices: NDArray[np.int32], workers: Workers) -> NDArray[np.float64]:
        """Return the distances from points to the rows ``indices`` of the fit, which depend on no other pair."""

    def rounding(
        self, points: Any, dtype: Any = np.float64, within: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return for each point a bound on the rounding error, in ``dtype``, of its squared distances.

        The bound holds for the squared distances to all rows of the fit, or to the rows at most ``within`` a distance,
        which is given for each point.
        """

    def coordinates(self, points: Any) -> Any:
        """Return dense or sparse coordinates in which similar rows are close to each other, for k-means."""


def _squared_lengths(X: Any) -> NDArray[np.float64]:
    """Return the squared lengths of rows."""
    if issparse(X):
        return np.asarray(X.multiply(X).sum(axis=1), dtype=np.float64).ravel()
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", X, X, dtype=np.float64)
    return squares


def product_rounding(n_columns: int, dtype: Any) -> float:
    """Return a bound on the rounding error of a product of two rows, relative to the product of their lengths.

    The bound on the sum of n_columns products assumes that libraries sum the products in several partial sums.
    """
    return float(np.finfo(dtype).eps) * (8.0 + n_columns / 8.0)


class _RowSpace(Caching):
    """The base class of all spaces, with the defaults for spaces whose values are distances and do not round."""

    rounds = faster_in_float32 = direct = calls_python = products = False

    def __init__(self, X: Any) -> None:
        self.n, self.n_columns = map(int, X.shape)
        self._X = X

    @cached_property
    def points(self) -> Any:
        """The points of the rows of the fit."""
        return self.points_of(self._X)

    def points_of(self, rows: Any) -> Any:
        """Return the points of rows; see `Space`."""
        raise NotImplementedError

    @cached_property
    def pair_cost(self) -> int:
        """The cost of a pair: the number of columns, or the mean number of nonzero entries of a sparse row."""
        return max(1, int(self.points.nnz // self.n if issparse(self.points) else self.n_columns))

    def distances(
        self, values: NDArray[np.floating], points: Any, indices: NDArray[np.int32], workers: Workers
    ) -> NDArray[np.float64]:
        """Return the values, which are distances; see `Space`."""
        return np.ascontiguousarray(values)


class _SquaredSpace(_RowSpace):
    """The base class of spaces whose values are squared Euclidean distances of points.

    Values are lower than the squared distances by the constant ``_shift``, which saves a pass over the values.
    """

    def __init__(self, X: Any, metric: str) -> None:
        super().__init__(X)
        self._metric = metric
        self._angular = metric in ("cosine", "correlation")
        self.rounds, self.faster_in_float32, self._shift = True, not issparse(X), 0.0

    def _pairs(self, points: Any, indices: NDArray[np.int32], workers: Workers) -> NDArray[np.float64]:
        """Return the Euclidean distances from points to the points ``indices`` of the fit, by differences."""
        raise NotImplementedError

    def _squares_of(self, points: Any) -> NDArray[np.float64]:
        """Return the squared lengths of points, as the products use them."""
        raise NotImplementedError

    def _known_squares(self, points: Any) -> NDArray[np.float64]:
        """Return the squared lengths of points, which are cached for the points of the fit."""
        return self.squares if points is self.points else self._squares_of(points)

    @cached_property
    def squares(self) -> NDArray[np.float64]:
        """The squared lengths of the points of the fit, as the products use them."""
        return self._squares_of(self.points)

    @cached_property
    def _has_direction(self) -> NDArray[np.bool_]:
        """Whether each point of the fit is not 0, and so has an angle to other points."""
        return _squared_lengths(self.points) > 0.0

    def exact_distances(self, points: Any, indices: NDArray[np.int32], workers: Workers) -> NDArray[np.float64]:
        """Return distances, computed by differences of coordinates; see `Space`."""
        distances = self._pairs(points, indices, workers)
        if self._angular or self._metric == "sqeuclidean":
            np.square(distances, out=distances)
        if self._angular:  # a row of zeros has no direction, and its distance from every row is defined as 1
            distances /= 2.0
            if not self._has_direction.all():
                distances[~self._has_direction[indices]] = 1.0
            distances[_squared_lengths(points) == 0.0] = 1.0
        return distances

    def to_squared(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return distances in the measure of `rounding`: squared distances, or 1 − cos for angular metrics."""
        return distances if self._angular or self._metric == "sqeuclidean" else distances**2

    def squared_values(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Change float64 values to the measure of `rounding`, in place, and return them."""
        values += self._shift
        return np.divide(values, 2.0, out=values) if self._angular else values

    def distances(
        self, values: NDArray[np.floating], points: Any, indices: NDArray[np.int32], workers: Workers
    ) -> NDArray[np.float64]:
        """Return distances, computed from the values, or by differences where the values have lost too many digits."""
        if values.dtype == np.float32:
            return self.exact_distances(points, indices, workers)
        distances: NDArray[np.float64] = np.maximum(values + self._shift, 0.0)
        near = distances <= CANCELLATION * (self._known_squares(points)[:, None] + self.squares[indices])
        if self._angular:
            distances /= 2.0
        elif self._metric != "sqeuclidean":
            np.sqrt(distances, out=distances)
        distances[near] = self.exact_distances_where(near, points, indices, workers)
        return distances

    def exact_distances_where(
        self, chosen: NDArray[np.bool_], points: Any, indices: NDArray[np.int32], workers: Workers
    ) -> NDArray[np.float64]:
        """Return a flat array of the `exact_distances` of those pairs that ``chosen`` of shape (m, k) marks."""
        if 2 * np.count_nonzero(chosen) > chosen.size:  # single pairs take three times as long, because they are copied
            distances: NDArray[np.float64] = self.exact_distances(points, np.where(chosen, indices, 0), workers)
            return distances[chosen]
        own, place = np.nonzero(chosen)
        distances, step = np.empty(len(own)), max(1, NUMBERS_AT_ONCE // self.pair_cost)
        for first in range(0, len(own), step):
            i, j = own[first : first + step], place[first : first + step]
            distances[first : first + step] = self.exact_distances(points[i], indices[i, j][:, None], workers)[:, 0]
        return distances

    @cached_property
    def _unit(self) -> float:
        """A power of two by which coordinates are divided, because squares of large ones would overflow in float32."""
        scaled = not self._angular and self._longest > 0.0
        return float(np.ldexp(1.0, np.frexp(self._longest)[1])) if scaled else 1.0

    @property
    def distance_unit(self) -> float:
        """The power of two by which distances are divided, so that they fit into float32."""
        return self._unit**2 if self._metric == "sqeuclidean" else self._unit

    def values_of(self, distances: NDArray[np.floating], dtype: Any) -> NDArray[np.floating]:
        """Return the values of pairs, in ``dtype``, from their distances divided by `distance_unit`."""
        squared = self.to_squared(distances.astype(np.float64))
        factor = 2.0 if self._angular else self._unit**2 if dtype == np.float64 else 1.0
        values: NDArray[np.floating] = (squared * factor - self._shift).astype(dtype)
        return values

    @cached_property
    def _longest(self) -> float:
        """The length of the longest point of the fit."""
        return math.sqrt(self.squares.max())

    def rounding(
        self, points: Any, dtype: Any = np.float64, within: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return a bound on the rounding error of squared distances; see `Space`."""
        bound, lengths = product_rounding(self.n_columns, dtype), np.sqrt(self._known_squares(points))
        others = (
            self._longest if within is None else np.minimum(self._longest, lengths + np.sqrt(self.to_squared(within)))
        )
        squared: NDArray[np.float64] = bound * (lengths + others) ** 2 + float(np.finfo(dtype).tiny) * self._unit**2
        return squared / 2.0 if self._angular else squared


class Scale(NamedTuple):
    """The origin and the scale of the points of a `EuclideanSpace`.

    Parameters
    ----------
    origin : ndarray of shape (n_columns,), float64
        The point that is subtracted from all points before products.
    longest : float
        The length of the longest point, relative to the origin.
    """

    origin: NDArray[np.float64]
    longest: float


class EuclideanSpace(_SquaredSpace):
    """Dense rows under a metric that is Euclidean for points f(x), or a function of that Euclidean distance.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        The rows of the fit.
    metric : str
        A metric whose `Traits.euclidean` is True.
    root : ndarray of shape (n_features,) or (n_features, n_features), default=None
        The factor for "seuclidean" and "mahalanobis": f(x) is ``(x - center) * root`` or ``(x - center) @ root``.
    scale : Scale, default=None
        The scale of a larger set of rows that X is a part of, so that operands and values fit those of other parts. By
        default the scale of X.
    """

    def __init__(
        self,
        X: NDArray[np.floating],
        metric: str,
        root: NDArray[np.float64] | None = None,
        scale: Scale | None = None,
    ) -> None:
        super().__init__(X, metric)
        self.products = True
        self._root, self._scale = root, scale
        self._middle = center_of(X) if root is not None else None

    def points_of(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return points; see `Space`."""
        if self._angular:
            return self._directions(rows)
        if self._root is None or self._middle is None:
            return rows
        rows = rows - self._middle
        if self._root.ndim == 1:
            return rows * self._root
        points = np.empty((len(rows), self._root.shape[1]))
        # Row by row, because in a product of many rows the rounding of a row depends on the other rows.
        for row, point in zip(rows, points, strict=True):
            np.matmul(row, self._root, out=point)
        if not np.isfinite(points).all():
            row = int(np.argmin(np.isfinite(points).all(axis=1)))
            raise_without_distances(row, self.n)
        return points

    def _directions(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the rows, centered for "correlation", divided by their lengths; rows of zeros stay 0."""
        points = np.empty(rows.shape)
        step = max(1, NUMBERS_AT_ONCE // rows.shape[1])
        for first in range(0, len(rows), step):
            part = rows[first : first + step].astype(np.float64)
            largest = np.abs(part).max(axis=1, keepdims=True)
            part /= np.where(largest > 0.0, largest, 1.0)  # so that no square underflows and parallel rows become equal
            if self._metric == "correlation":
                constant = np.flatnonzero((part == part[:, :1]).all(axis=1))
                if len(constant):  # the correlation with a constant row is not defined
                    row = first + int(constant[0])
                    raise_without_distances(row, self.n)
                part -= part.mean(axis=1, keepdims=True)
            lengths = np.sqrt(_squared_lengths(part))[:, None]
            np.divide(part, np.where(lengths > 0.0, lengths, 1.0), out=points[first : first + step])
        return points

    @cached_property
    def _origin(self) -> NDArray[np.float64]:
        """The point subtracted from all points before products, because a large common offset would cost digits."""
        if self._angular:  # the products for angular metrics rely on the length 1 of directions
            return np.zeros(self.points.shape[1])
        return center_of(self.points) if self._scale is None else self._scale.origin

    @cached_property
    def _longest(self) -> float:
        """The length of the longest point of the fit, or of the larger set that the scale is of."""
        return super()._longest if self._scale is None else self._scale.longest

    def _squares_of(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        if self._angular:
            return np.ones(len(points))
        step = max(1, NUMBERS_AT_ONCE // points.shape[1])
        parts = [_squared_lengths(points[i : i + step] - self._origin) for i in range(0, len(points), step)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _pairs(self, points: NDArray[np.floating], indices: NDArray[np.int32], workers: Workers) -> NDArray[np.float64]:
        return pair_distances(points, self.points, indices, workers)

    def coordinates(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the points relative to the origin, scaled so that the largest is of about unit length."""
        centered: NDArray[np.float64] = points - self._origin
        centered /= self._unit
        return np.clip(centered, -MAX_COORDINATE, MAX_COORDINATE, out=centered)

    def operand(self, points: NDArray[np.floating], left: bool = True, dtype: Any = np.float64) -> NDArray[np.floating]:
        """Return points with two more columns, so that one product gives |x|² + |y|² − 2x·y.

        A left operand has the rows (−2x, |x|², 1), a right operand the rows (y, 1, |y|²).
        """
        n, p = points.shape
        operand = np.empty((n, p + 2), dtype=dtype)
        step = max(1, NUMBERS_AT_ONCE // p)
        for first in range(0, n, step):
            rows = slice(first, first + step)
            part = points[rows] - self._origin if dtype == np.float64 else self.coordinates(points[rows])
            operand[rows, p + (not left)] = 1.0
            operand[rows, p + left] = 1.0 if self._angular else _squared_lengths(part)
            np.multiply(part, -2.0 if left else 1.0, out=operand[rows, :p], casting="same_kind")
        return operand

    def values(self, a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return squared distances of points, or in float32 of their scaled `coordinates`; see `Space`."""
        return a @ b.T


def center_of(X: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the median of about `MEDIAN_ROWS` rows, which a single outlier does not shift as it would shift a mean."""
    return median_of(X[:: median_stride(len(X))])


def median_stride(n: int) -> int:
    """Return the stride at which n rows are taken for their center."""
    return max(1, n // MEDIAN_ROWS)


def median_of(X: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the median of each column, in float64."""
    median: NDArray[np.float64] = np.median(X.astype(np.float64), axis=0)
    return median


class _Sparse(NamedTuple):
    """An operand of `SparseSpace`: the points, their squared lengths, and their means as `_means` scales them."""

    rows: Any
    squares: NDArray[np.float64]
    means: NDArray[np.float64]

    def __getitem__(self, index: Any) -> Any:
        return _Sparse(self.rows[index], self.squares[index], self.means[index])


class SparseSpace(_SquaredSpace):
    """Sparse rows under a Euclidean metric, with points that are as sparse as the rows.

    For "correlation" the rows are not centered, because centered rows would be dense. Each row is divided by the length
    that it would have after centering. The product of two centered rows is the product of the rows minus n_columns
    times the product of their means.

    Parameters
    ----------
    X : csr_array of shape (n, n_features)
        The rows of the fit.
    metric : str
        "euclidean", "sqeuclidean", "cosine" or "correlation".
    """

    def __init__(self, X: Any, metric: str) -> None:
        super().__init__(X, metric)
        self._shift = 2.0 if self._angular else 0.0  # |x|² + |y|² of two directions

    def points_of(self, rows: Any) -> Any:
        """Return points; see `Space`."""
        rows = csr_array(rows, dtype=np.float64)
        if not self._angular:
            return rows
        largest = abs(rows).max(axis=1).toarray().ravel()
        rows = _divide_rows(rows, largest)
        squares = _squared_lengths(rows)
        if self._metric == "correlation":
            sums, p = rows.sum(axis=1), rows.shape[1]
            constant = (rows.max(axis=1).toarray() == rows.min(axis=1).toarray()).ravel()
            if constant.any():  # the correlation with a constant row is not defined
                row = int(np.argmax(constant))
                raise_without_distances(row, self.n)
            squares -= sums**2 / p
        return _divide_rows(rows, np.sqrt(squares))

    def _means(self, points: Any) -> NDArray[np.float64]:
        """Return the mean of each point times √n_columns, for products of centered rows; zeros for other metrics."""
        if self._metric != "correlation":
            return np.zeros(points.shape[0])
        return np.asarray(points.sum(axis=1)).ravel() / math.sqrt(points.shape[1])

    def _squares_of(self, points: Any) -> NDArray[np.float64]:
        return np.ones(points.shape[0]) if self._angular else _squared_lengths(points)

    def _pairs(self, points: Any, indices: NDArray[np.int32], workers: Workers) -> NDArray[np.float64]:
        squared = np.empty(indices.shape)
        means, others = self._means(points), self._means(self.points)
        step = max(1, PAIRS_AT_ONCE // indices.shape[1])
        for first in range(0, points.shape[0], step):
            here = indices[first : first + step]
            own = np.repeat(np.arange(first, first + len(here)), here.shape[1])
            squares = _squared_lengths(points[own] - self.points[here.ravel()])
            squares -= (means[own] - others[here.ravel()]) ** 2
            squared[first : first + step] = np.maximum(squares, 0.0).reshape(here.shape)
        return np.sqrt(squared)

    def coordinates(self, points: Any) -> Any:
        """Return the scaled points; see `Space`."""
        return points / self._unit

    def operand(self, points: Any, left: bool = True, dtype: Any = np.float64) -> _Sparse:
        """Return points with their squared lengths and means; see `Space`."""
        return _Sparse(-2.0 * points if left else points, self._squares_of(points), self._means(points))

    def values(self, a: _Sparse, b: _Sparse) -> NDArray[np.floating]:
        """Return the squared distances minus ``_shift``; see `Space`."""
        values: NDArray[np.float64] = (a.rows @ b.rows.T).toarray()
        if self._metric == "correlation":
            values += np.outer(2.0 * a.means, b.means)
        if not self._angular:
            values += a.squares[:, None]
            values += b.squares
        return values


def _divide_rows(rows: Any, numbers: Any) -> Any:
    """Return sparse rows, each divided by its number, or unchanged where the number is not positive."""
    numbers = np.asarray(numbers).ravel()
    divisors = np.where(numbers > 0.0, numbers, 1.0)
    return csr_array((rows.data / np.repeat(divisors, np.diff(rows.indptr)), rows.indices, rows.indptr), rows.shape)


class _Counted(NamedTuple):
    """An operand of `CountSpace`: rows of true and false as numbers, and how many columns of each row are true."""

    rows: Any
    counts: NDArray[np.float64]

    def __getitem__(self, index: Any) -> Any:
        return _Counted(self.rows[index], self.counts[index])


Count = NDArray[np.float64]


def _ratio(a: Count, b: Count) -> Count:
    """Return a / b, and 0 where b is 0, as for two rows without any true column, which do not differ."""
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0.0)


def _yule(different: Count, s: Count, a: Count, b: Count, p: int) -> Count:
    """Return the Yule dissimilarity 2RS / (TU + RS), with R = a − s, S = b − s, T = s and U = p − a − b + s."""
    half = (a - s) * (b - s)
    return _ratio(2.0 * half, s * (p - a - b + s) + half)


# The metrics of rows of true and false. Each function returns distances from the number of columns in which two rows
# differ, which is a + b − 2s, from s, a and b as in the head of this module, and from the number p of columns.
COUNT_METRICS: dict[str, Callable[[Count, Count, Count, Count, int], Count]] = {
    "jaccard": lambda different, s, a, b, p: _ratio(different, different + s),
    "dice": lambda different, s, a, b, p: _ratio(different, a + b),
    "hamming": lambda different, s, a, b, p: different / p,
    "matching": lambda different, s, a, b, p: different / p,
    "rogerstanimoto": lambda different, s, a, b, p: 2.0 * different / (p + different),
    "russellrao": lambda different, s, a, b, p: (p - s) / p,
    "sokalsneath": lambda different, s, a, b, p: _ratio(2.0 * different, 2.0 * different + s),
    "yule": _yule,
}


class CountSpace(_RowSpace):
    """Rows of true and false under a metric that is a function of counts.

    Counts are integers, or halves for "hamming", which products in float32 add without rounding. Therefore the distance
    of a pair does not depend on the block that the pair is in.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n, n_features)
        The rows of the fit. Numbers other than 0 are true. For "hamming" all numbers must be 0 or 1; new rows may have
        other numbers.
    metric : str
        A key of `COUNT_METRICS`.
    """

    def __init__(self, X: Any, metric: str) -> None:
        super().__init__(X)
        self._metric = metric

    def points_of(self, rows: Any) -> Any:
        """Return points: sparse rows of ones, dense rows of booleans, or for "hamming" of numbers; see `Space`."""
        if issparse(rows):
            rows = csr_array(rows, copy=True)
            rows.sum_duplicates()
            rows.eliminate_zeros()
            return csr_array((np.ones(rows.nnz, dtype=np.float32), rows.indices, rows.indptr), shape=rows.shape)
        if self._metric != "hamming":
            return rows != 0.0
        # A number of a new row that is neither 0 nor 1 differs from both, so its column must add 1 to a + b − 2s. The
        # point has ½ in this column: `operand` counts the column as 1 in a, and the product adds b/2 to s.
        return np.where((rows == 0.0) | (rows == 1.0), rows, 0.5).astype(np.float32)

    def coordinates(self, points: Any) -> Any:
        """Return the points as float32; see `Space`."""
        return points.astype(np.float32)

    def operand(self, points: Any, left: bool = True, dtype: Any = np.float64) -> _Counted:
        """Return points with their counts; see `Space`."""
        counts = np.asarray(points.sum(axis=1), dtype=np.float64).ravel()
        if self._metric == "hamming":
            counts += 0.5 * np.count_nonzero(points == 0.5, axis=1)
        return _Counted(points, counts)

    def values(self, a: _Counted, b: _Counted) -> NDArray[np.floating]:
        """Return the distances; see `Space`."""
        products = a.rows.astype(np.float32) @ b.rows.astype(np.float32).T  # no rounding up to 2**24 columns
        s = (products.toarray() if issparse(products) else products).astype(np.float64)
        x, y = a.counts[:, None], b.counts
        return COUNT_METRICS[self._metric](x + y - 2.0 * s, s, x, y, self.n_columns)


class DirectSpace(_RowSpace):
    """Rows under any metric of scikit-learn, or under a function of the user's, computed pair by pair.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n, n_features)
        The rows of the fit.
    metric : str or callable
        The metric, as `resolve` returns it.
    params : dict
        The parameters of the metric, as `resolve` returns them.
    """

    def __init__(self, X: Any, metric: Metric, params: dict[str, Any]) -> None:
        super().__init__(X)
        self.metric, self.params = metric, params
        self.direct, self.calls_python = True, callable(metric)

    @cached_property
    def pair_cost(self) -> int:
        """The cost of a pair; see `Space`."""
        return super().pair_cost * (POWER_COST if self.metric == "minkowski" and not self.calls_python else 1)

    @cached_property
    def _center_and_unit(self) -> tuple[NDArray[np.float64] | None, float]:
        """The center of the points, None for sparse points, and a power of two above the largest coordinate."""
        center = None if issparse(self.points) else center_of(self.points)
        largest = max(float(abs(self._centered(self.points, center)).max()), np.finfo(np.float64).tiny)
        return center, float(np.ldexp(1.0, np.frexp(largest)[1]))

    @staticmethod
    def _centered(points: Any, center: NDArray[np.float64] | None) -> Any:
        """Return points relative to the center, or the points themselves without a center."""
        return points if center is None else points - center

    def points_of(self, rows: Any) -> Any:
        """Return rows, as booleans if the metric is for booleans; see `Space`."""
        if traits_of(self.metric).boolean:
            return rows != 0.0
        return rows if issparse(rows) else rows.astype(np.float64, copy=False)

    def coordinates(self, points: Any) -> Any:
        """Return points relative to their center, or to 0 for sparse points, scaled to about unit size; see `Space`."""
        center, unit = self._center_and_unit
        coordinates = self._centered(points, center) / unit
        if issparse(coordinates):
            coordinates.data = np.clip(coordinates.data, -MAX_COORDINATE, MAX_COORDINATE)
            return coordinates
        return np.clip(coordinates, -MAX_COORDINATE, MAX_COORDINATE)

    def operand(self, points: Any, left: bool = True, dtype: Any = np.float64) -> Any:
        """Return the points; see `Space`."""
        return points

    def values(self, a: Any, b: Any) -> NDArray[np.floating]:
        """Return the distances; see `Space`."""
        if isinstance(self.metric, str) and self.metric in SCIPY_NAMES and not issparse(a):
            # scikit-learn would call cdist too, but its checks take longer than a small block.
            return np.asarray(cdist(a, b, SCIPY_NAMES[self.metric], **self.params))
        if isinstance(self.metric, str) and self.metric == "nan_euclidean":
            # Row by row, because scikit-learn uses products, whose rounding depends on the other rows of a batch.
            rows = [pairwise_distances(a[i : i + 1], b, metric=self.metric, **self.params) for i in range(len(a))]
            return np.concatenate(rows, dtype=np.float64)
        return np.ascontiguousarray(pairwise_distances(a, b, metric=self.metric, **self.params), dtype=np.float64)


def space_of(X: Any, metric: Metric, params: dict[str, Any]) -> Any:
    """Return the space of rows under a metric and parameters as `resolve` returns them.

    Matrix products are used wherever the metric allows; see the head of this module.
    """
    traits = traits_of(metric)
    standardized = metric in ("seuclidean", "mahalanobis") and isinstance(metric, str)
    if not isinstance(metric, str) or (params and not standardized):
        return DirectSpace(X, metric, params)
    if metric == "hamming" and (issparse(X) or not np.isin(X, (0.0, 1.0)).all()):
        return DirectSpace(X, metric, params)
    if traits.counts:
        return CountSpace(X, metric)
    if not traits.euclidean:
        return DirectSpace(X, metric, params)
    if issparse(X):
        return SparseSpace(X, metric)
    if not standardized:
        return EuclideanSpace(X, metric)
    root = _root(X.shape[1], metric, **params)
    return DirectSpace(X, metric, params) if root is None else EuclideanSpace(X, metric, root)


def direct_space_of(X: Any, metric: Metric, params: dict[str, Any]) -> Any:
    """Return the space of rows without products for dense Euclidean metrics, so that no distance loses digits.

    `space_of` returns a faster space whose small distances would have to be computed again.
    """
    space = space_of(X, metric, params)
    if not isinstance(space, EuclideanSpace):
        return space
    return DirectSpace(X, "minkowski", {"p": 2}) if metric == "euclidean" else DirectSpace(X, metric, params)


def _root(n_columns: int, metric: str, V: Any = None, VI: Any = None, **others: Any) -> NDArray[np.float64] | None:
    """Return the factor for rows that makes "seuclidean" or "mahalanobis" Euclidean; see `EuclideanSpace`.

    None is returned where there is no such factor, or the parameters of the metric are not valid.
    """
    weights = np.asarray(V if metric == "seuclidean" else VI, dtype=np.float64)
    fits = weights.shape == ((n_columns,) if metric == "seuclidean" else (n_columns, n_columns))
    if others or not fits or not np.isfinite(weights).all():
        return None
    if metric == "seuclidean":
        return 1.0 / np.sqrt(weights) if weights.min() > 0.0 else None
    values, vectors = np.linalg.eigh((weights + weights.T) / 2.0)
    if values[0] < -1e-12 * max(values[-1], 0.0) or values[-1] <= 0.0:
        return None  # the matrix has a negative eigenvalue, so some squared distances would be negative
    root: NDArray[np.float64] = vectors * np.sqrt(np.maximum(values, 0.0))
    return root
