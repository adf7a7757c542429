"""Labels that name the rows of several sets, and the rows that two sets have in common."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import check_counted
from .plotting.columns import as_array, column_of, is_missing

Keys = Sequence[Hashable]


def read_keys(keys: Any, counts: Sequence[int], name: str) -> list[Keys]:
    """Return the labels of the rows of each set; without labels, the rows are named by their numbers.

    Parameters
    ----------
    keys : iterable of array-like or None
        The labels of each set's rows.
    counts : sequence of int
        The number of rows of each set.
    name : str
        The name of the parameter with the sets, for errors.

    Raises
    ------
    TypeError, ValueError
        If a set does not have a different label for each of its rows, or if there are no labels and the sets differ in
        their numbers of rows.

    Examples
    --------
    >>> from sktsne._keys import read_keys
    >>> read_keys([["a", "b"], ["b", "c", "d"]], [2, 3], "Xs")
    [['a', 'b'], ['b', 'c', 'd']]
    """
    if keys is None:
        if len(set(counts)) > 1:
            raise ValueError(
                f"keys == None needs sets of the same rows, and {name} have {', '.join(map(str, counts))} rows: keys "
                "must name the rows of each set."
            )
        return [range(n) for n in counts]
    check_counted("keys", keys)
    if isinstance(keys, str) or len(keys) != len(counts):
        raise ValueError(f"keys has length {len(keys)}, must have {len(counts)} arrays, one for each of {name}.")
    return [_read(f"keys[{k}]", some, n, f"{name}[{k}]") for k, (some, n) in enumerate(zip(keys, counts, strict=True))]


def _read(name: str, keys: Any, n: int, rows: str) -> Keys:
    """Return the labels of n rows as a list; raise a TypeError or ValueError unless they differ from each other."""
    check_counted(name, keys)
    labels = as_array(column_of(keys))
    if labels.shape != (n,):
        raise ValueError(f"{name} has shape {labels.shape}, must have {(n,)}, a label for each row of {rows}.")
    found: dict[Any, int] = {}
    for place, label in enumerate(labels):
        if is_missing(label):
            raise ValueError(f"{name}[{place}] is missing, must name a row of {rows}.")
        try:
            first = found.setdefault(label, place)
        except TypeError as error:
            raise TypeError(f"{name}[{place}] == {label!r}, must be hashable, to name a row of {rows}.") from error
        if first != place:
            raise ValueError(f"{name}[{first}] and {name}[{place}] are both {label!r}, must differ within a set.")
    return list(found)


def in_common(before: Keys, after: Keys) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the places of the labels that two sets have in common, in the first set and in the second.

    Examples
    --------
    >>> from sktsne._keys import in_common
    >>> in_common(["a", "b", "c"], ["c", "d", "b"])
    (array([2, 1]), array([0, 2]))
    """
    place = {key: k for k, key in enumerate(before)}
    pairs = [(place[key], k) for k, key in enumerate(after) if key in place]
    first, second = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    return first, second
