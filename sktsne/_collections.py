"""Collections of Dask: arrays and data frames, recognized without an import of Dask."""

from __future__ import annotations

import sys
from typing import Any


def is_dask(X: Any) -> bool:
    """Return whether X is a Dask array or data frame; raise an error for a collection of Dask that is no matrix."""
    dask = sys.modules.get("dask")
    if dask is None or not dask.is_dask_collection(X):
        return False
    if not is_frame(X) and not hasattr(type(X), "map_blocks"):
        raise TypeError(f"X must be an array, or a Dask array or data frame, not {type(X).__name__}.")
    if X.ndim != 2:  # a series, too, has columns
        raise ValueError(
            f"X has {X.ndim} dimensions, must have 2: (n_samples, n_features). Reshape your data, one row for example "
            "to X.reshape(1, -1)."
        )
    return True


def is_frame(X: Any) -> bool:
    """Return whether X, a collection of Dask, is a data frame."""
    # The class is asked because an instance of Dask's Delayed has every attribute.
    return hasattr(type(X), "columns")


def whole_rows(X: Any) -> Any:
    """Return a Dask array whose chunks are whole rows, from a Dask array of two dimensions."""
    return X if X.numblocks[1] == 1 else X.rechunk({1: -1})


def blocks_of(X: Any) -> list[Any]:
    """Return the blocks of whole rows of a Dask array or data frame, each as a Delayed."""
    return list(X.to_delayed() if is_frame(X) else whole_rows(X).to_delayed().ravel())
