"""A base class for objects that compute values when they first need them, and leave these values out of pickles."""

from __future__ import annotations

from functools import cached_property
from threading import RLock
from typing import Any

from ._process import call_in_forked_processes


class Caching:
    """An object whose cached properties are computed anew after unpickling.

    From Python 3.12 on, two threads may compute a property at once. Both get the same value, because it follows from
    attributes that do not change after the fit. A property whose computation changes an object needs a lock, as the
    kernel of `placement.FrozenMap` does.
    """

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes without cached properties."""
        cached = {name for kind in type(self).__mro__ for name, value in vars(kind).items() if is_cached(value)}
        attributes = self.__dict__.copy()  # in one step, because another thread may cache a property meanwhile
        return {name: value for name, value in attributes.items() if name not in cached}


def is_cached(value: Any) -> bool:
    """Return whether a class's attribute is a cached property."""
    return isinstance(value, cached_property)


def _renew_locks() -> None:
    """Give cached properties new locks in a forked process; only those of Python 3.11 have locks."""
    kinds = [Caching]
    for kind in kinds:
        kinds += kind.__subclasses__()
        for value in vars(kind).values():
            if is_cached(value) and hasattr(value, "lock"):
                value.lock = RLock()


call_in_forked_processes(_renew_locks)
