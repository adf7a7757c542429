"""What a fit is told about each of its rows beside ``X``: weights, targets and an arrangement."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from hashlib import blake2b
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from ._checks import as_input, check_number
from .affinities import Affinities
from .anchors import Anchors, Arrangement, Places
from .optimizer import LARGEST, Frame


@dataclass(frozen=True)
class RowArguments:
    """The arguments of a fit that have an entry for each row, after their checks.

    Parameters
    ----------
    n : int
        The number of rows.
    weights : ndarray of shape (n,), float64, or None
        The weights, of which at least two are above 0. ``None`` stands for weights of 1.
    targets : ndarray of shape (n, d), float64, or None
        The places in the map to which rows are tied, NaN for rows without one.
    strengths : ndarray of shape (n,), float64, or None
        The strengths of the targets.
    start : ndarray of shape (n, d), float64, or None
        The positions at which the optimization starts.
    arrangement : ndarray of shape (n, d), float64, or None
        The targets that count up to their scale and their center.
    """

    n: int
    weights: NDArray[np.float64] | None = None
    targets: NDArray[np.float64] | None = None
    strengths: NDArray[np.float64] | None = None
    start: NDArray[np.float64] | None = None
    arrangement: NDArray[np.float64] | None = None

    @property
    def total(self) -> float:
        """The number N of rows, where each row counts with its weight."""
        return self.n if self.weights is None else float(self.weights.sum())

    @property
    def frame(self) -> Frame:
        """The frame of a map of the rows."""
        return Frame(self.weights, fixed=self.targets is not None)

    @property
    def counted(self) -> NDArray[np.intp] | None:
        """The rows with a positive weight, or None if all have one."""
        if self.weights is None or self.weights.all():
            return None
        return np.flatnonzero(self.weights)

    def count_rows(self, rule: Affinities) -> int:
        """Return the number of neighbors to search for each row, so that a usual row has enough of them by weight."""
        if self.weights is None:
            return rule.count_neighbors(self.n)
        count = count_by_weight(rule, self.total)
        return min(self.n - 1, math.ceil(count / min(1.0, self.total / self.n)))

    def take(self, rows: NDArray[np.intp] | None) -> RowArguments:
        """Return the arguments of some of the rows, or of all rows in another order."""
        if rows is None:
            return self
        arrays = {field.name: getattr(self, field.name) for field in fields(self)[1:]}
        taken = {name: None if array is None else array[rows] for name, array in arrays.items()}
        return RowArguments(len(rows), **{**taken, "weights": _unless_ones(taken["weights"])})

    def anchors(self, n_distributions: float, anchor_strength: float) -> list[Anchors]:
        """Return the terms that tie the points to their targets, for a cost of so many distributions."""
        terms: list[Anchors] = []
        if self.arrangement is not None:
            terms.append(Arrangement(self.arrangement, anchor_strength, n_distributions, self.weights))
        if self.targets is not None and self.strengths is not None:
            terms.append(Places(self.targets, self.strengths, n_distributions, self.weights))
        return terms

    def identify(self, hashes: NDArray[np.bytes_]) -> NDArray[np.bytes_]:
        """Return the hashes of the rows, and one more of the arguments that are given to ``fit``, if there are any."""
        given = [array for array in (self.weights, self.targets, self.strengths) if array is not None]
        if not given:
            return hashes
        digest = blake2b(digest_size=16)
        for array in given:
            digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return np.append(hashes, np.frombuffer(digest.digest(), dtype="S16"))


def count_by_weight(rule: Affinities, total: float) -> int:
    """Return the number of neighbors that a rule gives a row, where neighbors count with their weights."""
    return rule.count_neighbors(max(2, math.floor(total)))


def check_row_arguments(
    n: int, n_components: int, sample_weight: Any, targets: Any, target_strength: Any
) -> RowArguments:
    """Return the arguments of ``fit`` after checking them; raise a TypeError or ValueError that names a wrong one."""
    weights = as_sample_weight(sample_weight, n)
    if targets is None:
        default = isinstance(target_strength, Real) and target_strength == np.inf
        if not default:
            raise ValueError(f"target_strength == {target_strength!r} is given without targets, which it belongs to.")
        return RowArguments(n, weights)
    places = _numbers("targets", targets, (n, n_components), missing=True)
    missing = np.isnan(places)
    partly = missing.any(axis=1) & ~missing.all(axis=1)
    if partly.any():
        row = int(partly.argmax())
        raise ValueError(f"targets[{row}] == {places[row].tolist()}, must be finite, or NaN in all components.")
    if missing.all():
        raise ValueError("targets are all NaN, must be finite for one row at least.")
    farthest = float(np.nanmax(np.abs(places), initial=0.0))
    if farthest > LARGEST:
        raise ValueError(f"targets has values up to {farthest:g}, must have none beyond {LARGEST:g}.")
    if weights is not None and missing[weights > 0.0].all():
        raise ValueError("targets are NaN for all rows but those of weight 0, must be finite for another row at least.")
    return RowArguments(n, weights, places, _as_strengths(target_strength, n))


def as_sample_weight(sample_weight: Any, n: int) -> NDArray[np.float64] | None:
    """Return the weights of n rows as an array of their own, or None if all are 1, after checking them."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, Real):
        check_number("sample_weight", sample_weight, Real, 0, low_included=False)
        weights = np.full(n, float(sample_weight))
    else:
        weights = _numbers("sample_weight", sample_weight, (n,))
    if (weights < 0.0).any():
        row = int(weights.argmin())
        raise ValueError(f"sample_weight[{row}] == {weights[row]}, must not be negative.")
    positive = np.count_nonzero(weights)
    if positive < 2:
        raise ValueError(f"sample_weight is zero for {n - positive} of {n} rows, must be positive for at least two.")
    with np.errstate(over="ignore", under="ignore"):
        # Products of two weights and sums of weights must neither overflow nor vanish.
        if not (weights.sum() < LARGEST_WEIGHT and weights[weights > 0.0].min() > 1.0 / LARGEST_WEIGHT):
            raise ValueError(
                f"sample_weight has values from {weights[weights > 0.0].min():g} to {weights.max():g}, must be above "
                f"{1.0 / LARGEST_WEIGHT:g} or 0, and their sum below {LARGEST_WEIGHT:g}."
            )
    return _unless_ones(weights)


def _unless_ones(weights: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Return weights, or None if all are 1, so that such a fit is that without weights to the last bit."""
    return None if weights is None or (weights == 1.0).all() else weights


# The largest sum of weights, and the inverse of the smallest positive weight.
LARGEST_WEIGHT = 1e12


def _as_strengths(target_strength: Any, n: int) -> NDArray[np.float64]:
    """Return the strength of each row."""
    if isinstance(target_strength, Real):
        check_number("target_strength", target_strength, Real, 0, infinite=True)
        return np.full(n, float(target_strength))
    if target_strength is None or getattr(target_strength, "shape", None) == ():
        raise TypeError(
            f"target_strength == {target_strength!r}, must hold numbers: one, or an array of shape {(n,)} for the rows "
            "of X."
        )
    strengths = _numbers("target_strength", target_strength, (n,), infinite=True)
    if not (strengths >= 0.0).all():
        row = int((~(strengths >= 0.0)).argmax())
        raise ValueError(f"target_strength[{row}] == {strengths[row]}, must be at least 0, or infinite.")
    return strengths


def _numbers(
    name: str, value: Any, shape: tuple[int, ...], *, missing: bool = False, infinite: bool = False
) -> NDArray[np.float64]:
    """Return a new float64 array of a shape; NaN is accepted where numbers may be ``missing``."""
    try:
        array: NDArray[np.float64] = check_array(
            as_input(name, value),
            dtype=np.float64,
            copy=True,
            order="C",
            ensure_2d=False,
            allow_nd=True,
            ensure_min_samples=0,
            ensure_min_features=0,
            ensure_all_finite=False if infinite else "allow-nan" if missing else True,
            input_name=name,
        )
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name} must hold numbers, in an array of shape {shape} for the rows of X: {error}") from error
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, must have shape {shape}: one entry for each row of X.")
    return array
