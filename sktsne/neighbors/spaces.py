r"""The distances of a metric by blocks of pairs: by matrix products, wherever the metric is a function of products.

Values stand for distances: of two neighbors of a row, the one with the lesser value is nearer.

==================  ==========================================================================================
`EuclideanSpace`    \|x − y\|² of the rows after a map: the rows themselves (euclidean, sqeuclidean), divided by
                    their lengths (cosine), centered before (correlation), divided by the columns' deviations
                    (seuclidean), times a root of the inverse covariance (mahalanobis)
`SparseSpace`       the same of sparse rows, for the first four
`CountSpace`        the distances of rows that are true and false, from the numbers a and b of what is true in
                    each, and s in both
`DirectSpace`       the distances of all others, as scikit-learn computes them
==================  ==========================================================================================
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

# A squared Euclidean distance from |x|² + |y|² − 2x·y has lost half of its digits below this part of |x|² + |y|².
CANCELLATION = 1e-8
PAIRS_AT_ONCE = 2**16
NUMBERS_AT_ONCE = 2**16  # of rows in float64, on the way to another type: they stay in the cache
# The bound on coordinates, in units of the largest of the fit: their squares fit into float32, and rows beyond are
# equally far from all.
MAX_COORDINATE = 1e15
# Metrics that scikit-learn has from SciPy, with their names there.
SCIPY_NAMES = {
    **dict.fromkeys(("manhattan", "cityblock", "l1"), "cityblock"),
    **{name: name for name in ("chebyshev", "minkowski", "canberra", "braycurtis")},
}
MEDIAN_ROWS = 1000
POWER_COST = 32  # that take as long as one of "minkowski"


class Space(Protocol):
    """The rows of a fit under a metric.

    ``n`` and ``n_columns`` are the shape of the rows. ``rounds`` tells whether a value depends on the block, by
    rounding, ``single`` whether float32 makes values faster (where it does not, they are float64), ``direct`` whether
    values are computed pair by pair, not by products, and ``calls`` whether a function of Python computes them, which
    runs one at a time. ``terms`` are those of a pair, in units of what a difference or a product costs.

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
    pair_cost: int
    points: Any

    def points_of(self, rows: Any) -> Any:
        """Return rows, new ones or those of the fit, after the map."""

    def operand(self, points: Any, left: bool = True, dtype: Any = np.float64) -> Any:
        """Return points as `values` takes them, on its left or right side: something that takes indices of rows."""

    def values(self, a: Any, b: Any) -> NDArray[np.floating]:
        """Return the values of all pairs of two operands, a new array."""

    def distances(
        self, values: NDArray[np.floating], points: Any, indices: NDArray[np.int32], workers: Workers
    ) -> NDArray[np.float64]:
        """Return the distances from points to the rows ``indices`` of the fit, of which ``values`` are known."""

    def exact_distances(self, points: Any, indices: NDArray[np.int32], workers: Workers) -> NDArray[np.float64]:
        """Return the distances from points to the rows ``indices`` of the fit, each to the last bit as if alone."""

    def rounding(
        self, points: Any, dtype: Any = np.float64, within: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return a bound, for each point, on what rounding in ``dtype`` does to the squares that values stand for.

        They are those of all rows of the fit, or of those ``within`` some distance of each point.
        """

    def coordinates(self, points: Any) -> Any:
        """Return coordinates in which near rows are near to each other, dense or sparse."""


def _squared_lengths(X: Any) -> NDArray[np.float64]:
    """Return the squared lengths of rows."""
    if issparse(X):
        return np.asarray(X.multiply(X).sum(axis=1), dtype=np.float64).ravel()
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", X, X, dtype=np.float64)
    return squares


class _RowSpace(Caching):
    """What spaces share: the rows of the fit; and what holds of those whose values are distances, without rounding."""

    rounds = faster_in_float32 = direct = calls_python = False

    def __init__(self, X: Any) -> None:
        self.n, self.n_columns = map(int, X.shape)
        self._X = X

    @cached_property
    def points(self) -> Any:
        """The rows of the fit after the map."""
        return self.points_of(self._X)

    def points_of(self, rows: Any) -> Any:
        raise NotImplementedError

    @cached_property
    def pair_cost(self) -> int:
        """The terms of a pair: of sparse rows, those that are not 0."""
        return max(1, int(self.points.nnz // self.n if issparse(self.points) else self.n_columns))

    def distances(
        self, values: NDArray[np.floating], points: Any, indices: NDArray[np.int32], workers: Workers
    ) -> NDArray[np.float64]:
        """Return the values; see `Space`."""
        return np.ascontiguousarray(values)


class _SquaredSpace(_RowSpace):
    """What spaces of squared Euclidean distances share: how distances follow from these."""

    def __init__(self, X: Any, metric: str) -> None:
        super().__init__(X)
        self._metric = metric
        self._angular = metric in ("cosine", "correlation")
        self.rounds, self.faster_in_float32, self._shift = True, not issparse(X), 0.0

    def _pairs(self, points: Any, indices: NDArray[np.int32], workers: Workers) -> NDArray[np.float64]:
        raise NotImplementedError

    def _lengths(self, points: Any) -> NDArray[np.float64]:
        raise NotImplementedError

    def _known_lengths(self, points: Any) -> NDArray[np.float64]:
        return self.squares if points is self.points else self._lengths(points)

    @cached_property
    def squares(self) -> NDArray[np.float64]:
        """The squared lengths of the points of the fit, as they go into the products."""
        return self._lengths(self.points)

    @cached_property
    def _has_direction(self) -> NDArray[np.bool_]:
        return _squared_lengths(self.points) > 0.0

    def exact_distances(self, points: Any, indices: NDArray[np.int32], workers: Workers) -> NDArray[np.float64]:
        """Return distances, by differences; see `Space`."""
        distances = self._pairs(points, indices, workers)
        if self._angular or self._metric == "sqeuclidean":
            np.square(distances, out=distances)
        if self._angular:  # 1 − cos = |x − y|² / 2, but 1 for a row without a direction
            distances /= 2.0
            if not self._has_direction.all():
                distances[~self._has_direction[indices]] = 1.0
            distances[_squared_lengths(points) == 0.0] = 1.0
        return distances

    def to_squared(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what distances are in the measure of `rounding`."""
        return distances if self._angular or self._metric == "sqeuclidean" else distances**2

    def squared_values(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the squares that values in float64 stand for, in the measure of `rounding`."""
        values += self._shift
        return np.divide(values, 2.0, out=values) if self._angular else values

    def distances(
        self, values: NDArray[np.floating], points: Any, indices: NDArray[np.int32], workers: Workers
    ) -> NDArray[np.float64]:
        """Return distances: from the values, or by differences where the values have too few digits."""
        if values.dtype == np.float32:
            return self.exact_distances(points, indices, workers)
        distances: NDArray[np.float64] = np.maximum(values + self._shift, 0.0)
        near = distances <= CANCELLATION * (self._known_lengths(points)[:, None] + self.squares[indices])
        if self._angular:
            distances /= 2.0
        elif self._metric != "sqeuclidean":
            np.sqrt(distances, out=distances)
        own, place = np.nonzero(near)
        step = max(1, NUMBERS_AT_ONCE // self.pair_cost)
        for first in range(0, len(own), step):
            i, j = own[first : first + step], place[first : first + step]
            distances[i, j] = self.exact_distances(points[i], indices[i, j][:, None], workers)[:, 0]
        return distances

    @cached_property
    def _unit(self) -> float:
        """A power of two by which lengths are divided, because float32 has a short range."""
        scaled = not self._angular and self._longest > 0.0
        return float(np.ldexp(1.0, np.frexp(self._longest)[1])) if scaled else 1.0

    @cached_property
    def _longest(self) -> float:
        return math.sqrt(self.squares.max())

    def rounding(
        self, points: Any, dtype: Any = np.float64, within: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return a bound on the rounding of squares by products of rows, whose terms are summed in parts."""
        bound, lengths = float(np.finfo(dtype).eps) * (8.0 + self.n_columns / 8.0), np.sqrt(self._known_lengths(points))
        others = (
            self._longest if within is None else np.minimum(self._longest, lengths + np.sqrt(self.to_squared(within)))
        )
        squared: NDArray[np.float64] = bound * (lengths + others) ** 2 + float(np.finfo(dtype).tiny) * self._unit**2
        return squared / 2.0 if self._angular else squared


class EuclideanSpace(_SquaredSpace):
    """Rows whose distances are Euclidean after a map.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        The rows of the fit.
    metric : str
        One of the Euclidean metrics.
    root : ndarray of shape (n_features,) or (n_features, n_features), default=None
        What centered rows are multiplied by, for "seuclidean" and "mahalanobis".
    """

    def __init__(self, X: NDArray[np.floating], metric: str, root: NDArray[np.float64] | None = None) -> None:
        super().__init__(X, metric)
        self._root = root
        self._middle = _center(X) if root is not None else None

    def points_of(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return rows after the map; see `Space`."""
        if self._angular:
            return self._directions(rows)
        if self._root is None or self._middle is None:
            return rows
        rows = rows - self._middle
        if self._root.ndim == 1:
            return rows * self._root
        points = np.empty((len(rows), self._root.shape[1]))
        for row, point in zip(rows, points, strict=True):  # a product of many rows would round each differently
            np.matmul(row, self._root, out=point)
        if not np.isfinite(points).all():
            row = int(np.argmin(np.isfinite(points).all(axis=1)))
            raise_without_distances(row, self.n)
        return points

    def _directions(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        points = np.empty(rows.shape)
        step = max(1, NUMBERS_AT_ONCE // rows.shape[1])
        for first in range(0, len(rows), step):
            part = rows[first : first + step].astype(np.float64)
            largest = np.abs(part).max(axis=1, keepdims=True)
            part /= np.where(largest > 0.0, largest, 1.0)  # no square vanishes, and parallel rows become equal
            if self._metric == "correlation":
                constant = np.flatnonzero((part == part[:, :1]).all(axis=1))
                if len(constant):  # has no correlation with anything
                    row = first + int(constant[0])
                    raise_without_distances(row, self.n)
                part -= part.mean(axis=1, keepdims=True)
            lengths = np.sqrt(_squared_lengths(part))[:, None]
            np.divide(part, np.where(lengths > 0.0, lengths, 1.0), out=points[first : first + step])
        return points

    @cached_property
    def _origin(self) -> NDArray[np.float64]:
        """What is subtracted before products, so that a large common offset does not swamp the differences."""
        # Rows without a direction have the same distance from all: directions stay as long as they are.
        return np.zeros(self.points.shape[1]) if self._angular else _center(self.points)

    def _lengths(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        if self._angular:
            return np.ones(len(points))
        step = max(1, NUMBERS_AT_ONCE // points.shape[1])
        parts = [_squared_lengths(points[i : i + step] - self._origin) for i in range(0, len(points), step)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _pairs(self, points: NDArray[np.floating], indices: NDArray[np.int32], workers: Workers) -> NDArray[np.float64]:
        return pair_distances(points, self.points, indices, workers)

    def coordinates(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the points around the origin, of about unit size."""
        centered: NDArray[np.float64] = (points - self._origin) / self._unit
        return np.clip(centered, -MAX_COORDINATE, MAX_COORDINATE, out=centered)

    def operand(self, points: NDArray[np.floating], left: bool = True, dtype: Any = np.float64) -> NDArray[np.floating]:
        """Return points with two columns more, so that one product gives |x|² + |y|² − 2x·y."""
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
        """Return the squared distances, of coordinates where they are in float32; see `Space`."""
        return a @ b.T


def _center(X: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the median of some rows, which one that is far from all others does not draw away from these."""
    median: NDArray[np.float64] = np.median(X[:: max(1, len(X) // MEDIAN_ROWS)].astype(np.float64), axis=0)
    return median


class _Sparse(NamedTuple):
    """Sparse rows with numbers of their own."""

    rows: Any
    squares: NDArray[np.float64]
    means: NDArray[np.float64]

    def __getitem__(self, index: Any) -> Any:
        return _Sparse(self.rows[index], self.squares[index], self.means[index])


class SparseSpace(_SquaredSpace):
    """Sparse rows whose distances are Euclidean after a map that keeps zeros.

    Rows for "correlation" are not centered, but divided by the lengths that they would have then; their means count
    in the products.

    Parameters
    ----------
    X : csr_array of shape (n, n_features)
        The rows of the fit.
    metric : str
        One of the Euclidean metrics that sparse rows may have.
    """

    def __init__(self, X: Any, metric: str) -> None:
        super().__init__(X, metric)
        self._shift = 2.0 if self._angular else 0.0  # |x|² + |y|², which no pass over the values has to add

    def points_of(self, rows: Any) -> Any:
        """Return rows after the map; see `Space`."""
        rows = csr_array(rows, dtype=np.float64)
        if not self._angular:
            return rows
        largest = abs(rows).max(axis=1).toarray().ravel()
        rows = _divide_rows(rows, largest)
        squares = _squared_lengths(rows)
        if self._metric == "correlation":
            sums, p = rows.sum(axis=1), rows.shape[1]
            constant = (rows.max(axis=1).toarray() == rows.min(axis=1).toarray()).ravel()
            if constant.any():  # has no correlation with anything
                row = int(np.argmax(constant))
                raise_without_distances(row, self.n)
            squares -= sums**2 / p
        return _divide_rows(rows, np.sqrt(squares))

    def _means(self, points: Any) -> NDArray[np.float64]:
        if self._metric != "correlation":
            return np.zeros(points.shape[0])
        return np.asarray(points.sum(axis=1)).ravel() / math.sqrt(points.shape[1])

    def _lengths(self, points: Any) -> NDArray[np.float64]:
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
        """Return the points."""
        return points / self._unit

    def operand(self, points: Any, left: bool = True, dtype: Any = np.float64) -> _Sparse:
        """Return points with their squares and means; see `Space`."""
        return _Sparse(-2.0 * points if left else points, self._lengths(points), self._means(points))

    def values(self, a: _Sparse, b: _Sparse) -> NDArray[np.floating]:
        """Return the squared distances, less `_shift`; see `Space`."""
        values: NDArray[np.float64] = (a.rows @ b.rows.T).toarray()
        if self._metric == "correlation":
            values += np.outer(2.0 * a.means, b.means)
        if not self._angular:
            values += a.squares[:, None]
            values += b.squares
        return values


def _divide_rows(rows: Any, numbers: Any) -> Any:
    """Return sparse rows divided by a number each, where that is not 0."""
    numbers = np.asarray(numbers).ravel()
    divisors = np.where(numbers > 0.0, numbers, 1.0)
    return csr_array((rows.data / np.repeat(divisors, np.diff(rows.indptr)), rows.indices, rows.indptr), rows.shape)


class _Counted(NamedTuple):
    """Rows that are true and false, as numbers, with the numbers of what is true."""

    rows: Any
    counts: NDArray[np.float64]

    def __getitem__(self, index: Any) -> Any:
        return _Counted(self.rows[index], self.counts[index])


Count = NDArray[np.float64]


def _ratio(a: Count, b: Count) -> Count:
    """Return a / b, and 0 where both are: of two rows of which nothing is true, none differs from the other."""
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0.0)


def _yule(different: Count, s: Count, a: Count, b: Count, p: int) -> Count:
    half = (a - s) * (b - s)
    return _ratio(2.0 * half, s * (p - a - b + s) + half)


# Each from the number of coordinates in which two rows differ, s, a, b, and the number of columns p.
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
    """Rows that are true and false, whose distances follow from counts: exact, whatever else is in a block.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n, n_features)
        The rows of the fit; what is not 0 is true. For "hamming" they are 0 and 1, and new rows may be anything.
    metric : str
        One of `COUNT_METRICS`.
    """

    def __init__(self, X: Any, metric: str) -> None:
        super().__init__(X)
        self._metric = metric

    def points_of(self, rows: Any) -> Any:
        """Return rows as numbers; see `Space`."""
        if issparse(rows):
            rows = csr_array(rows, copy=True)
            rows.sum_duplicates()
            rows.eliminate_zeros()
            return csr_array((np.ones(rows.nnz, dtype=np.float32), rows.indices, rows.indptr), shape=rows.shape)
        if self._metric != "hamming":
            return rows != 0.0
        # What is neither 0 nor 1 differs from both: a half adds a half to the number of differences with either.
        return np.where((rows == 0.0) | (rows == 1.0), rows, 0.5).astype(np.float32)

    def coordinates(self, points: Any) -> Any:
        """Return the points as numbers."""
        return points.astype(np.float32)

    def operand(self, points: Any, left: bool = True, dtype: Any = np.float64) -> _Counted:
        """Return points with their counts; see `Space`."""
        counts = np.asarray(points.sum(axis=1), dtype=np.float64).ravel()
        if self._metric == "hamming":
            counts += 0.5 * np.count_nonzero(points == 0.5, axis=1)
        return _Counted(points, counts)

    def values(self, a: _Counted, b: _Counted) -> NDArray[np.floating]:
        """Return the distances; see `Space`."""
        products = a.rows.astype(np.float32) @ b.rows.astype(np.float32).T  # exact up to 2**24 columns
        s = (products.toarray() if issparse(products) else products).astype(np.float64)
        x, y = a.counts[:, None], b.counts
        return COUNT_METRICS[self._metric](x + y - 2.0 * s, s, x, y, self.n_columns)


class DirectSpace(_RowSpace):
    """Rows under any metric that scikit-learn has; also exact, whatever else is in a block.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n, n_features)
        The rows of the fit.
    metric : str or callable
        The metric, as `resolve` returns it.
    params : dict
        Its parameters.
    """

    def __init__(self, X: Any, metric: Metric, params: dict[str, Any]) -> None:
        super().__init__(X)
        self.metric, self.params = metric, params
        self.direct, self.calls_python = True, callable(metric)

    @cached_property
    def pair_cost(self) -> int:
        """The terms of a pair, which take longer where they are powers."""
        return super().pair_cost * (POWER_COST if self.metric == "minkowski" and not self.calls_python else 1)

    @cached_property
    def _center_and_unit(self) -> tuple[NDArray[np.float64] | None, float]:
        center = None if issparse(self.points) else _center(self.points)
        largest = max(float(abs(self._centered(self.points, center)).max()), np.finfo(np.float64).tiny)
        return center, float(np.ldexp(1.0, np.frexp(largest)[1]))

    @staticmethod
    def _centered(points: Any, center: NDArray[np.float64] | None) -> Any:
        return points if center is None else points - center

    def points_of(self, rows: Any) -> Any:
        """Return rows, as booleans if the metric is of such; see `Space`."""
        if traits_of(self.metric).boolean:
            return rows != 0.0
        return rows if issparse(rows) else rows.astype(np.float64, copy=False)

    def coordinates(self, points: Any) -> Any:
        """Return the points around their center, or sparse ones around 0, of about unit size."""
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
            # What scikit-learn calls, whose checks take longer than many a block.
            return np.asarray(cdist(a, b, SCIPY_NAMES[self.metric], **self.params))
        if isinstance(self.metric, str) and self.metric == "nan_euclidean":  # products, rounded as the batch is long
            rows = [pairwise_distances(a[i : i + 1], b, metric=self.metric, **self.params) for i in range(len(a))]
            return np.concatenate(rows, dtype=np.float64)
        return np.ascontiguousarray(pairwise_distances(a, b, metric=self.metric, **self.params), dtype=np.float64)


def space_of(X: Any, metric: Metric, params: dict[str, Any]) -> Any:
    """Return the space of the rows under a metric and parameters as `resolve` returns them."""
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
    """Return the space of the rows that takes differences of dense rows, so that all distances keep their digits."""
    space = space_of(X, metric, params)
    if not isinstance(space, EuclideanSpace):
        return space
    return DirectSpace(X, "minkowski", {"p": 2}) if metric == "euclidean" else DirectSpace(X, metric, params)


def _root(n_columns: int, metric: str, V: Any = None, VI: Any = None, **others: Any) -> NDArray[np.float64] | None:
    """Return what rows are multiplied by to make the metric Euclidean; None where it is not, or not defined."""
    weights = np.asarray(V if metric == "seuclidean" else VI, dtype=np.float64)
    fits = weights.shape == ((n_columns,) if metric == "seuclidean" else (n_columns, n_columns))
    if others or not fits or not np.isfinite(weights).all():
        return None
    if metric == "seuclidean":
        return 1.0 / np.sqrt(weights) if weights.min() > 0.0 else None
    values, vectors = np.linalg.eigh((weights + weights.T) / 2.0)
    if values[0] < -1e-12 * max(values[-1], 0.0) or values[-1] <= 0.0:
        return None  # squares of some distances are negative
    root: NDArray[np.float64] = vectors * np.sqrt(np.maximum(values, 0.0))
    return root
