"""Threads that work on blocks of rows, with results that do not depend on the number of threads.

The rows are divided into blocks whose boundaries depend on the problem, not on the number of threads. Threads take
whole blocks in any order, and the results are returned in the order of the blocks. Therefore a sum over the results is
the same, to the last bit, for any number of threads.
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

# The number of elementary operations of a block, which take about 0.1 ms of compiled code. This is much longer than a
# thread needs to take a block, and short enough for all threads to finish at about the same time.
BLOCK_COST = 100_000
MAX_BLOCKS = 128  # of a problem
# Waking a thread and waiting for it takes about 0.1 ms. Work with fewer elementary operations than this is done by the
# calling thread alone.
THREADED_COST = 400_000


def effective_n_threads(n_jobs: int | None) -> int:
    """Return the number of threads that ``n_jobs`` stands for in the calling thread.

    Parameters
    ----------
    n_jobs : int or None
        An integer means what it means in joblib: -1 is every core, -2 is all cores but one. ``None`` is every core that
        this process may use under its affinity and the limits of its container, but at most the environment variable
        ``OMP_NUM_THREADS``. joblib and Dask set this variable in their worker processes, so that all workers together
        use each core once. ``None`` is 1 where joblib's backend is "sequential", and in a worker thread of joblib or a
        task of Dask if the variable is not set.

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
            # effective_n_jobs would also check whether new processes are possible, which threads do not need.
            return max(1, most)
        # Dask's backend returns the number of cores of the cluster for every n_jobs, so `most` limits it.
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
    """Run a function on blocks of rows in several threads.

    Use the object as a context manager. Several threads may enter the context at the same time. When the last of them
    leaves it, the threads that the object has started end.

    Parameters
    ----------
    n_threads : int, default=1
        The number of threads that work, including the calling thread.

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

    def run(self, function: Callable[[int, int], Any], n_rows: int, row_cost: int) -> list[Any]:
        """Call ``function(start, stop)`` for each block of rows.

        Parameters
        ----------
        function : callable
            The function, which must not have side effects outside its rows, and should release the GIL.
        n_rows : int
            The number of rows, which may be 0.
        row_cost : int
            The number of elementary operations for a row, roughly, from which the size of a block follows.

        Returns
        -------
        results : list
            The results of the calls, in the order of the rows.
        """
        size = max(1, BLOCK_COST // max(1, row_cost), -(-n_rows // MAX_BLOCKS))
        return self._run_blocks(function, n_rows, size, n_rows * row_cost)

    def divide(self, function: Callable[[int, int], Any], n_rows: int, cost: int) -> None:
        """Call ``function(start, stop)`` for one block of rows per thread.

        This is for a function that reads its whole input for every block, so that few blocks are faster. Its result
        must not depend on the boundaries of the blocks, because these depend on the number of threads.

        Parameters
        ----------
        function : callable
            The function, which must not have side effects outside its rows, and should release the GIL.
        n_rows : int
            The number of rows.
        cost : int
            The number of elementary operations for all rows together, roughly.
        """
        self._run_blocks(function, n_rows, max(1, -(-n_rows // self.n_threads)), cost)

    def run_blocks(self, function: Callable[[int, int], Any], n_rows: int, size: int) -> list[Any]:
        """Call ``function(start, stop)`` for blocks of ``size`` rows, each of which is enough work for a thread.

        The last block may have fewer rows. The results are returned in the order of the rows.
        """
        return self._run_blocks(function, n_rows, size, THREADED_COST)

    def _run_blocks(self, function: Callable[[int, int], Any], n_rows: int, size: int, cost: int) -> list[Any]:
        """Call ``function`` for blocks of ``size`` rows, in one thread if all rows together cost too little."""
        blocks = [(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]
        n_threads = self.n_threads  # read once, because another thread may change the attribute
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

        tell_of_forks(self)
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(n_threads - 1, "sktsne", openmp_on_one_thread)
            pool = self._pool
        futures = [pool.submit(work) for _ in range(min(n_threads, len(blocks)) - 1)]
        try:
            work()
        finally:
            todo.clear()  # after an exception in this thread, the others begin no further block
            for future in futures:
                future.result()
        return results

    def __enter__(self) -> Workers:
        # Not when the object is made: Python code runs when an object dies that is told of forks, and a Ctrl-C that
        # comes meanwhile is lost. Loops make many objects that work in the calling thread alone and die at once.
        tell_of_forks(self)
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
        """Remove, in a forked process, the threads and the lock that belong to the parent process."""
        self._lock, self._pool = Lock(), None
        self._users = [user for user in self._users if user == get_ident()]
