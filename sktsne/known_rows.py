"""Recognition of the rows of a fit by their values, so that they keep their positions when they are placed again."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse

from ._checks import as_csr, as_floats

SHAPE = ("n", "n_features")
NUMBERS_AT_ONCE = 2**18  # the number of values that are converted at a time, so that they stay in the cache


class KnownRows:
    """Recognize the rows of a fit by their values.

    Each row is represented by a hash of 16 bytes. The probability that any two of a million different rows have the
    same hash is below 1e-26.

    Parameters
    ----------
    X : ndarray or csr_matrix of shape (n, n_features)
        The rows.
    explicit_zeros : bool, default=False
        Whether a stored zero differs from a missing entry, as in a sparse graph of distances.

    Examples
    --------
    >>> import numpy as np
    >>> from sktsne.known_rows import KnownRows
    >>> known = KnownRows(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> known.find(np.array([[3.0, 4.0], [0.0, 0.0]]))
    (array([ True, False]), array([1]))
    """

    def __init__(self, X: Any, explicit_zeros: bool = False) -> None:
        self._explicit_zeros = explicit_zeros
        self.hashes = _hashes(X, explicit_zeros)
        if len(self.hashes) == 0:
            raise ValueError("X has no rows, must have at least one.")
        self._order = np.argsort(self.hashes, kind="stable")

    @property
    def groups(self) -> NDArray[np.intp]:
        """The group of each row of the fit, an array of shape (n,), where equal rows have the same number."""
        ordered = self.hashes[self._order]
        groups = np.empty(len(ordered), dtype=np.intp)
        groups[self._order] = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])
        return groups

    def match(self, X: Any) -> bool:
        """Return whether X has the same rows as the fit, in the same order."""
        if np.ndim(X) == 2 and np.shape(X)[0] != len(self.hashes):  # so hashes need not be computed
            return False
        return np.array_equal(_hashes(X, self._explicit_zeros), self.hashes)

    def find(self, X: Any) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        """Return which rows of X are in the fit, and where.

        Returns
        -------
        known : ndarray of shape (n_rows,), bool
            Whether each row of X is in the fit.
        indices : ndarray of shape (n_known,), intp
            The index in the fit of each known row. If several rows of the fit are equal, the index of the first one.
        """
        hashes = _hashes(X, self._explicit_zeros)
        ordered = self.hashes[self._order]
        place = np.minimum(np.searchsorted(ordered, hashes), len(ordered) - 1)
        known = ordered[place] == hashes
        return known, self._order[place[known]]


def _hashes(X: Any, explicit_zeros: bool) -> NDArray[np.bytes_]:
    """Return a hash of 16 bytes for each row; rows with the same values have the same hash."""
    if issparse(X):
        X = csr_array(as_csr("X", X), dtype=np.float64, copy=True)
        X.sum_duplicates()
        if explicit_zeros:
            X.data += 0.0  # turns -0.0 into 0.0
        else:
            X.eliminate_zeros()
        indices = X.indices.astype(np.int64)
        bounds = zip(X.indptr, X.indptr[1:], strict=False)
        return _digests(indices[i:j].tobytes() + X.data[i:j].tobytes() for i, j in bounds)
    single = isinstance(X, np.ndarray) and X.dtype == np.float32 and X.ndim == 2
    X = X if single else as_floats("X", X, SHAPE, finite=False)
    step = max(1, NUMBERS_AT_ONCE // max(1, X.shape[1]))
    hashes = np.empty(len(X), dtype="S16")
    for first in range(0, len(X), step):
        hashes[first : first + step] = _digests(_shortened(X[first : first + step]))
    return hashes


def _shortened(X: NDArray[np.floating]) -> list[NDArray[np.floating]]:
    """Return rows in a form whose bytes depend on the values only, not on the dtype or on the sign of 0.

    A row whose values are all exact in float32 is returned in float32, which also halves the bytes to hash.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        short = X.astype(np.float32, order="C") + np.float32(0.0)
        if X.dtype == np.float32:
            return list(short)
        rows = X + 0.0
        fits = (short == rows).all(axis=1)
    return [a if fit else b for a, b, fit in zip(short, rows, fits, strict=True)]


def _digests(rows: Iterable[Any]) -> NDArray[np.bytes_]:
    """Return a hash of 16 bytes for each buffer."""
    return np.frombuffer(b"".join(blake2b(row, digest_size=16).digest() for row in rows), dtype="S16")
