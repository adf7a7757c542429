"""Compiled routines and the threads that run them.

A routine here has a NumPy twin of the same signature beside the code that calls it: the readable statement of
the algorithm, the oracle of the tests, and what runs where nothing was compiled. ``choose`` picks.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from threading import Lock
from typing import Any

from .._checks import warn


def _load(module: str) -> Any:
    try:
        return importlib.import_module(f"sktsne._native.{module}")
    except ImportError:
        return None


_MODULES = {name: _load(name) for name in ("attraction", "descent", "exact", "mesh", "neighbors", "perplexity", "tree")}
COMPILED = all(_MODULES.values())
# The thread that acquires this lock gives the warning of missing extensions. Nobody releases the lock.
_warned = Lock()


def choose(module: str, routine: str, reference: Callable[..., Any], *types: str) -> Callable[..., Any]:
    """Return the compiled ``routine`` of ``module`` where there is one, ``reference`` otherwise.

    ``types`` name one version of a routine that is compiled for several, because to find the version anew in every call
    would take longer than many a call.
    """
    if _MODULES[module] is None:
        return reference
    compiled: Any = getattr(_MODULES[module], routine)
    found: Callable[..., Any] = compiled[types] if types else compiled
    return found


def warn_if_not_compiled() -> None:
    """Warn, once in a process, that the NumPy reference runs in place of compiled code."""
    if COMPILED or not _warned.acquire(blocking=False):
        return
    warn(
        "sktsne's compiled extensions are missing: it runs on its NumPy reference, which is many times slower. For the "
        "fast build, install a C compiler and then sktsne again: pip install --force-reinstall --no-deps "
        "--no-cache-dir sktsne, or pip install -e . in a checkout."
    )
