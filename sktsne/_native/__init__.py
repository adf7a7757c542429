"""Compiled routines, and the choice between them and their references in NumPy.

Every compiled routine has a reference of the same signature beside the code that calls it. The reference states the
algorithm readably, the tests compare the compiled routine with it, and it runs where the extensions were not compiled.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np

from .._checks import warn


def _load(module: str) -> Any:
    """Return a compiled module, or None if it was not compiled."""
    try:
        return importlib.import_module(f"sktsne._native.{module}")
    except ImportError:
        return None


_NAMES = ("attraction", "descent", "exact", "mesh", "moves", "neighbors", "perplexity", "sparse", "tree")
_MODULES = {name: _load(name) for name in _NAMES}
COMPILED = all(_MODULES.values())
# The thread that acquires this lock gives the warning of missing extensions. Nobody releases the lock.
_warned = Lock()


def choose(module: str, routine: str, reference: Callable[..., Any], *types: str) -> Callable[..., Any]:
    """Return the compiled ``routine`` of ``module``, or its ``reference`` if the module was not compiled.

    ``types`` are the C types that select one version of a routine that was compiled for several types. Without them
    Cython would find the version in every call, which takes longer than many calls.
    """
    if _MODULES[module] is None:
        return reference
    compiled: Any = getattr(_MODULES[module], routine)
    found: Callable[..., Any] = compiled[types] if types else compiled
    return found


def c_type(dtype: Any) -> str:
    """Return the C name of a floating dtype, which selects the version of a compiled routine."""
    return "float" if dtype == np.float32 else "double"


def warn_if_not_compiled() -> None:
    """Warn, once in a process, that the NumPy reference runs in place of compiled code."""
    if COMPILED or not _warned.acquire(blocking=False):
        return
    warn(
        "The compiled extensions of sktsne are missing, so that it runs on its NumPy reference, which is many times "
        "slower. For the fast build, install a C compiler and then sktsne again: pip install --force-reinstall "
        "--no-deps --no-cache-dir sktsne, or pip install -e . in a checkout."
    )
