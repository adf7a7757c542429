"""Settings that all threads of the process share (BLAS, OpenMP, memory), and the state after a fork."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import repeat
from threading import Lock, get_ident
from typing import Any, Protocol
from weakref import WeakSet

import joblib
from threadpoolctl import ThreadpoolController


class UsesThreads(Protocol):
    """An object with locks or threads, of which a forked process inherits the state but not the threads."""

    def after_fork(self) -> None:
        """Forget, in the forked process, the threads that only the parent process has."""


# Needs no lock: adding an object is one step, and only a forked process, which has one thread, goes through the
# objects.
_users_of_threads: WeakSet[UsesThreads] = WeakSet()
_forked = False


def call_in_forked_processes(function: Callable[[], None]) -> None:
    """Have ``function`` called in every process that is forked from this one.

    A lock that another thread held at the fork stays locked in the forked process for ever.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def tell_of_forks(user: UsesThreads) -> None:
    """Have ``user.after_fork`` called in every forked process, for as long as ``user`` lives."""
    _users_of_threads.add(user)


def _after_fork() -> None:
    global _forked
    _forked = True
    for user in list(_users_of_threads):
        user.after_fork()


call_in_forked_processes(_after_fork)


class SharedSetting:
    """A setting of the whole process, which the first thread in the context changes and the last one restores.

    If each thread restored the setting that it had found, one thread would undo a change that another still needs.

    Parameters
    ----------
    change : callable
        Returns the context manager that makes the change.

    Examples
    --------
    >>> from contextlib import nullcontext
    >>> with SharedSetting(nullcontext):
    ...     pass
    """

    def __init__(self, change: Callable[[], AbstractContextManager[Any]]) -> None:
        self._change = change
        self._changed: AbstractContextManager[Any] | None = None
        self._users: list[int] = []
        self._lock = Lock()
        tell_of_forks(self)

    def __enter__(self) -> None:
        with self._lock:
            if self._changed is None:
                changed = self._change()
                changed.__enter__()
                self._changed = changed
            self._users.append(get_ident())

    def __exit__(self, *error: Any) -> None:
        with self._lock:
            self._users.remove(get_ident())
            self._undo_if_unused()

    def _undo_if_unused(self) -> None:
        if not self._users and self._changed is not None:
            changed, self._changed = self._changed, None
            changed.__exit__(None, None, None)

    def after_fork(self) -> None:
        """Forget, in a forked process, the threads that only the parent process has."""
        self._lock = Lock()
        self._users = [user for user in self._users if user == get_ident()]
        self._undo_if_unused()


# Needs no lock: two threads that both find the libraries find the same, and storing the pair is one step.
_controller: tuple[int, ThreadpoolController] | None = None


def _libraries() -> ThreadpoolController:
    """Return the controller of the loaded libraries, which is kept because finding them takes longer than some fits."""
    global _controller
    found, n_modules = _controller, len(sys.modules)
    if found is None or found[0] != n_modules:
        found = _controller = n_modules, ThreadpoolController()
    return found[1]


@contextmanager
def _blas_on_one_thread() -> Iterator[None]:
    blas = [library for library in _libraries().lib_controllers if library.user_api == "blas"]
    libraries = [library for library in blas if getattr(library, "threading_layer", None) != "openmp"]
    before = [library.num_threads for library in libraries]
    _set_threads(libraries, repeat(1))
    try:
        yield
    finally:
        _set_threads(libraries, before)


def _set_threads(libraries: Iterable[Any], numbers: Iterable[int]) -> None:
    for library, number in zip(libraries, numbers, strict=False):
        # From version 3.8 on, threadpoolctl obeys only one controlling thread, which may not be the calling thread.
        release = getattr(library, "clear_controlling_thread", lambda force: None)
        release(force=True)
        library.set_num_threads(number)
        release(force=True)


_one_thread_for_all = SharedSetting(_blas_on_one_thread)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Have BLAS use one thread, because threaded matrix products round differently."""
    of_each_thread = _libraries().select(threading_layer="openmp")
    with _one_thread_for_all, of_each_thread.limit(limits=1, user_api="blas"):
        yield


@contextmanager
def sklearn_on_threads(n_threads: int) -> Iterator[None]:
    """Have scikit-learn use ``n_threads`` threads of OpenMP, and one of BLAS, when the calling thread calls it.

    In a forked process OpenMP gets one thread, because GNU's OpenMP hangs there if it had several before the fork.
    """
    n_openmp = 1 if _forked else n_threads
    # joblib's default backend warns in processes that may not start processes, although only threads are wanted here.
    threads = joblib.parallel_backend("threading", n_jobs=1)
    with one_blas_thread(), _libraries().limit(limits=n_openmp, user_api="openmp"), threads:
        yield


def openmp_on_one_thread() -> None:
    """Have OpenMP use one thread when the calling thread calls it; every thread has its own setting."""
    _set_threads(_libraries().select(user_api="openmp").lib_controllers, repeat(1))


# The options of glibc's function mallopt, and its default for the first.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, DEFAULT_MMAP_THRESHOLD = -3, -1, 2**17
# The most that glibc accepts for the first, and more than the arrays of a task take.
MOST_FROM_HEAP, MOST_KEPT = 2**25, 2**30


@contextmanager
def _freed_memory_kept() -> Iterator[None]:
    given_back = _trim_threshold_of_dask()
    libc = ctypes.CDLL(None) if given_back is not None else None
    # Other C libraries have neither function.
    if libc is None or not (hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")):
        yield
        return
    libc.mallopt(M_MMAP_THRESHOLD, MOST_FROM_HEAP)
    libc.mallopt(M_TRIM_THRESHOLD, MOST_KEPT)
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_THRESHOLD, DEFAULT_MMAP_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, given_back)
        libc.malloc_trim(0)


def _trim_threshold_of_dask() -> int | None:
    """Return the value of ``MALLOC_TRIM_THRESHOLD_``, or None where nothing or more than this is set."""
    value = os.environ.get("MALLOC_TRIM_THRESHOLD_", "")
    if not sys.platform.startswith("linux") or "MALLOC_MMAP_THRESHOLD_" in os.environ or not value.isdecimal():
        return None
    return min(int(value), MOST_KEPT)


#: Have the C library keep the memory of arrays that are freed in the context, and give it back at the end.
#:
#: Dask starts worker processes with ``MALLOC_TRIM_THRESHOLD_``. With this variable, glibc gives the memory of every
#: array of more than 128 KiB back to the system, which has to provide it anew, page by page, for the next array. This
#: takes a quarter of the time of a search for neighbors. Other processes keep such memory anyway.
freed_memory_kept = SharedSetting(_freed_memory_kept)
