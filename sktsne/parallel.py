"""Threads over blocks of rows, with results that do not depend on the number of threads.

The rows are cut into blocks whose boundaries depend on the problem only. Threads take whole blocks in any order, and
the results of the blocks come back in block order, so a sum over the results is the same, bit for bit, for any number
of threads.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
from threading import Lock, get_ident
from types import TracebackType
from typing import Any

import joblib

from ._checks import check_number
from ._process import openmp_on_one_thread, tell_of_forks

# Elementary operations of a block, some 0.1 ms of compiled code: much more than handing out a block costs, and little
# enough for all threads to finish at about the same time.
BLOCK_COST = 100_000
MAX_BLOCKS = 128
# Waking a thread and waiting for it takes some 0.1 ms, so the calling thread does less work than this alone.
THREADED_COST = 400_000


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
            return max(1, most)  # effective_n_jobs would ask whether processes are possible, and threads always are
        # Dask's backend answers with the cores of the cluster, whatever it is asked.
        return max(1, min(most, int(joblib.effective_n_jobs(n_jobs))))
    if isinstance(backend, joblib.parallel.SequentialBackend):
        return 1
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if limit.isdigit() and int(limit) > 0:
        return min(int(limit), n_cores)
    return 1 if backend.nesting_level or _in_task_of_dask() else n_cores


def _in_task_of_dask() -> bool:
    """Return whether the calling thread belongs to a worker of Dask's distributed scheduler."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return False
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


class Workers:
    """Threads that run a function of a row range on blocks of rows, to be used as a context manager.

    Several threads may be in the context at a time; when the last one leaves, the threads of the context end.

    Parameters
    ----------
    n_threads : int, default=1
        How many threads work, the calling one included.

    Examples
    --------
    >>> from sktsne.parallel import Workers
    >>> def total(start, stop):
    ...     return sum(range(start, stop))
    >>> with Workers(n_threads=2) as workers:
    ...     parts = workers.run(total, n_rows=1000, row_cost=1000)
    >>> sum(parts) == sum(range(1000))
    True
    """

    def __init__(self, n_threads: int = 1) -> None:
        check_number("n_threads", n_threads, Integral, 1)
        self.n_threads = n_threads
        self._pool: ThreadPoolExecutor | None = None
        self._users: list[int] = []
        self._lock = Lock()
        tell_of_forks(self)

    def run(self, function: Callable[[int, int], Any], n_rows: int, row_cost: int) -> list[Any]:
        """Call ``function(start, stop)`` for each block of rows.

        Parameters
        ----------
        function : callable
            Must be free of side effects outside its rows, and should release the GIL.
        n_rows : int
            The number of rows, which may be 0.
        row_cost : int
            Elementary operations per row, roughly, which set the size of a block.

        Returns
        -------
        results : list
            What the calls returned, in the order of the rows.
        """
        size = max(1, BLOCK_COST // max(1, row_cost), -(-n_rows // MAX_BLOCKS))
        return self._run_blocks(function, n_rows, size, n_rows * row_cost)

    def divide(self, function: Callable[[int, int], Any], n_rows: int, cost: int) -> None:
        """Call ``function(start, stop)`` for one block of rows per thread.

        For a function that reads all of its input for every block, and whose result does not depend on where the blocks
        end.

        Parameters
        ----------
        function : callable
            Must be free of side effects outside its rows, and should release the GIL.
        n_rows : int
            The number of rows.
        cost : int
            Elementary operations of all rows together, roughly.
        """
        self._run_blocks(function, n_rows, max(1, -(-n_rows // self.n_threads)), cost)

    def run_blocks(self, function: Callable[[int, int], Any], n_rows: int, size: int) -> list[Any]:
        """Call ``function(start, stop)`` for blocks of ``size`` rows (the last may be shorter), each worth a thread."""
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
                self._pool = ThreadPoolExecutor(n_threads - 1, "sktsne", openmp_on_one_thread)
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

    def after_fork(self) -> None:
        """Forget, in a forked process, the threads that only the parent process has."""
        self._lock, self._pool = Lock(), None
        self._users = [user for user in self._users if user == get_ident()]
