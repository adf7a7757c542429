"""A base class for objects that compute values when they first need them, and leave these values out of pickles."""

from __future__ import annotations

from functools import cached_property
from threading import RLock
from typing import Any

from ._process import call_in_forked_processes


class Caching:
    """An object whose cached properties are computed anew after unpickling."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes without cached properties."""
        cached = {name for kind in type(self).__mro__ for name, value in vars(kind).items() if is_cached(value)}
        return {name: value for name, value in self.__dict__.items() if name not in cached}


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
