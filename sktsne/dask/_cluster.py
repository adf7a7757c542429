"""The tasks of a fit on a cluster of Dask: their names, their results, and their end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4
from weakref import WeakSet

import dask

from .._process import freed_memory_kept, one_blas_thread


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function with one thread of BLAS, because threaded products round differently, and keep freed memory."""
    with one_blas_thread(), freed_memory_kept:
        return function(*arguments)


def result_of(future: Any, seconds: float, check: Callable[[], None]) -> Any:
    """Return the result of a task or of a call of an actor, and call ``check`` after every so many seconds of waiting.

    The call of an actor whose worker has died may never end. An error that ``check`` raises ends the waiting.
    """
    while True:
        try:
            return future.result(seconds)
        except TimeoutError:
            if future.done():  # the error is that of the task
                raise
        check()


class Cluster:
    """The tasks that a fit runs on a cluster.

    Tasks are pure functions of their arguments, so that Dask can compute a result again if its worker dies. Their names
    tell the dashboard what they do.

    Parameters
    ----------
    client : distributed.Client
        The client of the cluster.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self._token = uuid4().hex[:8]
        self._count = 0
        self._futures: list[Any] = []
        self._known: WeakSet[Any] = WeakSet()  # the futures that anything in this process refers to

    @property
    def n_threads(self) -> int:
        """The number of threads of all workers."""
        return sum(self.client.nthreads().values())

    def run(self, name: str, function: Callable[..., Any], *arguments: Any, priority: int = 0) -> Any:
        """Run a function on a worker, and return the future of its result; futures among the arguments are awaited.

        Of the tasks that could begin, a worker begins one of the highest priority.
        """
        future = self.client.submit(alone, function, *arguments, key=self._key(name), pure=False, priority=priority)
        self._keep([future])
        return future

    def compute(self, name: str, function: Callable[..., Any], delayed: Sequence[Any], *arguments: Any) -> list[Any]:
        """Call a function with each of some Delayed objects on the workers, and return the futures of the results."""
        call = dask.delayed(function)
        calls = [call(one, *arguments, dask_key_name=self._key(name)) for one in delayed]
        futures: list[Any] = self.client.compute(calls)
        self._keep(futures)
        return futures

    def actor(self, name: str, address: str, kind: type, *arguments: Any) -> Any:
        """Make an actor on a worker, and return the future of it."""
        future = self.client.submit(kind, *arguments, key=self._key(name), pure=False, actor=True, workers=[address])
        self._keep([future])
        return future

    def _keep(self, futures: Sequence[Any]) -> None:
        """Keep futures until they are released."""
        self._futures += futures
        self._known.update(futures)

    def _key(self, name: str) -> str:
        """Return a new key of a task."""
        self._count += 1
        return f"{name}-{self._token}-{self._count}"

    def scatter(self, values: list[Any]) -> list[Any]:
        """Put values into the memory of the workers, each of one worker, and return their futures.

        Dask cannot compute a value again if its worker dies, and its active memory manager removes second copies.
        """
        futures: list[Any] = self.client.scatter(values, hash=False)
        self._keep(futures)
        return futures

    def results(self, futures: Sequence[Any]) -> list[Any]:
        """Return the results of futures in this process."""
        return list(self.client.gather(list(futures)))

    def wait(self, futures: Sequence[Any]) -> None:
        """Wait until tasks have ended, with a result or with an error."""
        for future in futures:  # distributed.wait asks the default client, which may be another one
            future.exception()

    def release(self, futures: Sequence[Any]) -> None:
        """Forget futures, whose results the workers free as soon as no other task needs them."""
        gone = {future.key for future in futures}
        self._futures = [future for future in self._futures if future.key not in gone]

    def end(self, kept: Sequence[Any] = ()) -> None:
        """End all tasks and free their results, except those of the futures that are ``kept`` elsewhere."""
        self._futures.clear()
        # References are no measure here, because errors that were caught, and their tracebacks, are in cycles. And
        # Client.cancel would fail in the scheduler, which expects that the client has not released any task that needs
        # one of the futures.
        for future in set(self._known).difference(kept):
            future.release()
