"""Threads over blocks of rows, with results that do not depend on their number.

The rows are cut into blocks whose boundaries depend on the problem only; threads take whole blocks, in any
order, and the blocks' results come back in block order. So a sum over them is the same, bit for bit, for any
number of threads.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import repeat
from threading import Lock, get_ident
from types import TracebackType
from typing import Any
from weakref import WeakSet

import joblib
from threadpoolctl import ThreadpoolController

# A block holds about this many elementary operations, some 0.1 ms of compiled code: much more than it costs to
# hand it out, little enough for threads to finish together.
BLOCK_COST = 100_000
MAX_BLOCKS = 128
# To wake a thread and wait for it takes some 0.1 ms: less work than this is done by the calling one.
THREADED_COST = 400_000


# What forked processes have to set right.
_shared: WeakSet[Workers | SharedSetting] = WeakSet()
_forked = False


def in_forked_processes(function: Callable[[], None]) -> None:
    """Have a function called in processes that are forked from this one: a lock that was held may not open there."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)


def _leave_others_behind() -> None:
    global _forked
    _forked = True
    for user in list(_shared):
        user.leave_others_behind()


in_forked_processes(_leave_others_behind)


def effective_n_threads(n_jobs: int | None) -> int:
    """Return the number of threads that ``n_jobs`` stands for, here and now.

    Parameters
    ----------
    n_jobs : int or None
        An integer follows joblib: -1 is every core, -2 all but one. ``None`` is every core that this process
        may use (affinity and container limits count), at most ``OMP_NUM_THREADS`` where that is set: joblib and
        Dask set it in their worker processes, so that workers together use each core once. In a joblib worker
        without that limit (its threads), in a task of Dask without it, and where joblib's backend is "sequential",
        ``None`` is 1.

    Returns
    -------
    n_threads : int
        At least 1.
    """
    n_cores = int(joblib.cpu_count())
    backend, _ = joblib.parallel.get_active_backend()
    if n_jobs is not None:
        most = n_jobs if n_jobs > 0 else n_cores + 1 + n_jobs
        if isinstance(backend, joblib.parallel.LokyBackend) and not backend.nesting_level:
            return max(1, most)  # these are threads: it would ask whether processes are possible here
        # Dask's backend answers with the cores of the cluster, whatever it is asked.
        return max(1, min(most, int(joblib.effective_n_jobs(n_jobs))))
    if isinstance(backend, joblib.parallel.SequentialBackend):
        return 1
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if limit.isdigit() and int(limit) > 0:
        return min(int(limit), n_cores)
    return 1 if backend.nesting_level or _in_task_of_dask() else n_cores


def _in_task_of_dask() -> bool:
    """Return whether a worker of Dask's distributed scheduler runs this, on one of the threads of its own."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return False
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


class SharedSetting:
    """A setting of the whole process: the first thread that wants it changes it, the last one undoes that.

    Each undoing its own change would leave what another had set, or take from a third what it still needs.

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
        _shared.add(self)

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

    def leave_others_behind(self) -> None:
        """Forget, in a forked process, the threads that it does not have."""
        self._lock = Lock()
        self._users = [user for user in self._users if user == get_ident()]
        self._undo_if_unused()


_controller: tuple[int, ThreadpoolController] | None = None


def _libraries() -> ThreadpoolController:
    """Return the control of the libraries that are loaded; to find them takes longer than some fits."""
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
        # Since its version 3.8 threadpoolctl listens to one thread of the process at a time, and this may be another.
        release = getattr(library, "clear_controlling_thread", lambda force: None)
        release(force=True)
        library.set_num_threads(number)
        release(force=True)


_one_thread_for_all = SharedSetting(_blas_on_one_thread)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Have BLAS use one thread: threaded matrix products round differently."""
    of_each_thread = _libraries().select(threading_layer="openmp")
    with _one_thread_for_all, of_each_thread.limit(limits=1, user_api="blas"):
        yield


@contextmanager
def sklearn_on_threads(n_threads: int) -> Iterator[None]:
    """Have scikit-learn use so many threads when this one asks it for something: OpenMP's, and none for BLAS.

    In a forked process OpenMP has one: GNU's waits for ever there, if it had several before the fork.
    """
    n_openmp = 1 if _forked else n_threads
    # joblib's default would warn in processes that must not have any of their own, though only threads are wanted.
    threads = joblib.parallel_backend("threading", n_jobs=1)
    with one_blas_thread(), _libraries().limit(limits=n_openmp, user_api="openmp"), threads:
        yield


def _openmp_on_one_thread() -> None:
    """Give this thread none of OpenMP's own, which each thread is asked for anew."""
    _set_threads(_libraries().select(user_api="openmp").lib_controllers, repeat(1))


class Workers:
    """Runs functions of a row range on blocks of rows. Use as a context manager: it owns threads.

    Several threads may be in the context at a time; its own end with the last of them.

    Parameters
    ----------
    n_threads : int, default=1
        How many threads work, the calling one included.

    Examples
    --------
    >>> from sktsne._native.parallel import Workers
    >>> def total(start, stop):
    ...     return sum(range(start, stop))
    >>> with Workers(n_threads=2) as workers:
    ...     parts = workers.run(total, n_rows=1000, row_cost=1000)
    >>> sum(parts) == sum(range(1000))
    True
    """

    def __init__(self, n_threads: int = 1) -> None:
        self.n_threads = n_threads
        self._pool: ThreadPoolExecutor | None = None
        self._users: list[int] = []
        self._lock = Lock()
        _shared.add(self)

    def run(self, function: Callable[[int, int], Any], n_rows: int, row_cost: int) -> list[Any]:
        """Call ``function(start, stop)`` for each block of rows.

        Parameters
        ----------
        function : callable
            Must be free of side effects outside its rows, and should release the GIL.
        n_rows : int
            The rows to cover; none is legal.
        row_cost : int
            Elementary operations that a row costs, roughly; sets the size of a block.

        Returns
        -------
        results : list
            What the calls returned, in the order of the rows.
        """
        size = max(1, BLOCK_COST // max(1, row_cost), -(-n_rows // MAX_BLOCKS))
        return self._run_blocks(function, n_rows, size, n_rows * row_cost)

    def divide(self, function: Callable[[int, int], Any], n_rows: int, cost: int) -> None:
        """Call ``function(start, stop)`` for one block of rows per thread.

        For functions that go through all of their input for every block, and whose result does not depend on where
        the blocks end.

        Parameters
        ----------
        function : callable
            Must be free of side effects outside its rows, and should release the GIL.
        n_rows : int
            The rows to cover.
        cost : int
            Elementary operations in all, roughly.
        """
        self._run_blocks(function, n_rows, max(1, -(-n_rows // self.n_threads)), cost)

    def run_blocks(self, function: Callable[[int, int], Any], n_rows: int, size: int) -> list[Any]:
        """Call ``function(start, stop)`` for blocks of ``size`` rows, each worth a thread; the last may be shorter."""
        return self._run_blocks(function, n_rows, size, THREADED_COST)

    def _run_blocks(self, function: Callable[[int, int], Any], n_rows: int, size: int, cost: int) -> list[Any]:
        blocks = [(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]
        n_threads = self.n_threads  # once: another thread may set it
        if n_threads == 1 or len(blocks) < 2 or cost < THREADED_COST:
            return [function(*block) for block in blocks]
        results: list[Any] = [None] * len(blocks)
        todo = deque(enumerate(blocks))

        def work() -> None:
            while todo:
                try:
                    index, block = todo.popleft()
                except IndexError:  # another thread took the last one
                    return
                results[index] = function(*block)

        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(n_threads - 1, "sktsne", _openmp_on_one_thread)
            pool = self._pool
        futures = [pool.submit(work) for _ in range(min(n_threads, len(blocks)) - 1)]
        try:
            work()
        finally:
            todo.clear()  # after an exception here, no block is begun any more
            for future in futures:
                future.result()
        return results

    def __enter__(self) -> Workers:
        with self._lock:
            self._users.append(get_ident())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._users.remove(get_ident())
            pool, self._pool = (None, self._pool) if self._users else (self._pool, None)
        if pool is not None:
            pool.shutdown()

    def leave_others_behind(self) -> None:
        """Forget, in a forked process, the threads that it does not have."""
        self._lock, self._pool = Lock(), None
        self._users = [user for user in self._users if user == get_ident()]
