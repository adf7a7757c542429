"""What the parts of an optimization exchange: messages that go from worker to worker.

All parts go through the same rounds. In a round each part sends a message to every other, and takes one from each. A
part needs no request, because it knows what comes. Calls of actors, which are requests and answers, would take twice
the time. Nothing goes through the scheduler or the client.

A part waits for another only while both run the same call of the client. A part that fails tells the others so. If this
message does not arrive, because a worker has died or a connection is lost, the client ends the waiting of the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import numpy as np
from distributed.comm import connect
from distributed.core import Status
from distributed.protocol import to_serialize
from numpy.typing import NDArray

from .._kept import Buffers

SECONDS_BETWEEN_CHECKS = 1.0  # how long a part waits for another before it looks whether its worker still runs
# Up to this number of parts, each sends its whole mesh in place of slabs, which is one wait less.
WHOLE_MESHES = 3
# A worker that is asked to retire is closing gracefully for a moment, and refuses because it has a part.
CLOSED = (Status.closing, Status.closed, Status.stopping, Status.stopped, Status.failed)
FAILED = -1  # in place of the number of a round: the part has failed
ENDED = "The optimization has ended."


class PartError(RuntimeError):
    """Another part failed, so that a part cannot go on."""


def in_order_of_shards(shards_of: Sequence[Sequence[int]], of_parts: Sequence[Sequence[Any]]) -> list[Any]:
    """Return values of shards in the order of the shards, from the values that each part has of its own."""
    by_number = {
        number: value
        for numbers, part in zip(shards_of, of_parts, strict=True)
        for number, value in zip(numbers, part, strict=True)
    }
    return [by_number[number] for number in sorted(by_number)]


class Peer:
    """The way from a part to another.

    Parameters
    ----------
    comm : distributed.comm.Comm
        A connection to the worker of the other part.
    key : str
        The key of the other part.
    lost : callable
        Is called in the event loop of the worker if a message cannot be sent.
    """

    def __init__(self, comm: Any, key: str, lost: Callable[[], None]) -> None:
        self._comm, self._key, self._lost = comm, key, lost
        self._loop, self._lock = asyncio.get_running_loop(), asyncio.Lock()

    def send(self, number: int, rank: int, value: Any) -> None:
        """Send a message to the other part, without waiting for it to arrive."""
        asyncio.run_coroutine_threadsafe(self._write([number, rank, to_serialize(value)]), self._loop)

    async def _write(self, arguments: list[Any]) -> None:
        # What Dask sends for a call of an actor, except that no answer is wanted.
        call = {"op": "actor_execute", "actor": self._key, "function": "receive", "args": arguments, "reply": False}
        try:
            async with self._lock:
                await self._comm.write(call)
        except Exception:  # nobody waits for the end of this, and without its message the other part waits for ever
            self._lost()

    def close(self) -> None:
        """Close the connection; messages that are under way may be lost."""
        self._comm.abort()


class Round(NamedTuple):
    """A round of the exchange that has begun.

    Parameters
    ----------
    number : int
        The number of the round.
    own : object
        What this part adds to it.
    """

    number: int
    own: Any


class PartExchange:
    """What a part exchanges with all others: an `~sktsne.kernels.shards.Exchange`.

    Parameters
    ----------
    rank : int
        The number of the part.
    shards_of : tuple of tuples of int
        The shards of each part, in ascending order.
    """

    def __init__(self, rank: int, shards_of: tuple[tuple[int, ...], ...]) -> None:
        self._rank, self._shards_of = rank, shards_of
        self._worker: Any = None
        self._peers: dict[int, Peer] = {}
        self._inbox: SimpleQueue[tuple[int, int, Any] | None] = SimpleQueue()
        self._arrived: dict[tuple[int, int], Any] = {}
        self._buffers, self._number, self._ended = Buffers(), 0, False

    # What runs in the event loop of the worker, while the part computes in a thread.

    async def connect(self, worker: Any, places: Sequence[tuple[str, str]]) -> None:
        """Connect this part, on a worker, to all others, by the address of the worker and the key of each part."""
        self._worker, security = worker, worker.security.get_connection_args("worker")
        for rank, (address, key) in enumerate(places):
            if rank != self._rank and not self._ended:
                self._peers[rank] = Peer(await connect(address, **security), key, self.end)
        if self._ended:  # meanwhile
            self.close()

    def receive(self, number: int, rank: int, value: Any) -> None:
        """Take a message of another part."""
        self._inbox.put((number, rank, value))

    def end(self) -> None:
        """End the waiting of this part for others."""
        self._ended = True
        self._inbox.put(None)

    def close(self) -> None:
        """End the waiting of this part, and its connections."""
        self.end()
        peers, self._peers = self._peers, {}  # which refer to this object
        for peer in peers.values():
            peer.close()

    # What the thread of the part calls.

    def check(self) -> None:
        """Raise PartError if the optimization has ended."""
        if self._ended or (self._worker is not None and self._worker.status in CLOSED):
            raise PartError(ENDED)

    def fail(self) -> None:
        """End the waiting of all other parts for this one."""
        for peer in self._peers.values():
            peer.send(FAILED, self._rank, None)
        self.end()

    def begin(self, own: Any, part: Callable[[int], Any] | None = None) -> Round:
        """Begin a round, to which this part adds ``own``: send it to all others, or to each the part for its rank."""
        self._number += 1
        for rank, peer in self._peers.items():
            peer.send(self._number, self._rank, own if part is None else part(rank))
        return Round(self._number, own)

    def finish(self, begun: Round) -> list[Any]:
        """Return what all parts have added to a round, in the order of their ranks."""
        return [
            begun.own if rank == self._rank else self._taken(begun.number, rank) for rank in range(len(self._shards_of))
        ]

    def _taken(self, number: int, rank: int) -> Any:
        """Return the message of another part in a round, which may have to be awaited."""
        while (number, rank) not in self._arrived:
            self.check()
            try:
                message = self._inbox.get(timeout=SECONDS_BETWEEN_CHECKS)
            except Empty:
                continue
            if message is None:
                continue
            if message[0] == FAILED:
                raise PartError(f"Part {message[1]} of the optimization failed.")
            self._arrived[message[:2]] = message[2]
        return self._arrived.pop((number, rank))

    def offer(self, part: NDArray[np.int64]) -> Any:
        """Begin to add the meshes of all parts; see `~sktsne.kernels.shards.Exchange`."""
        flat, n_parts = part.ravel(), len(self._shards_of)

        def slab(rank: int) -> NDArray[np.int64]:
            return flat[flat.size * rank // n_parts : flat.size * (rank + 1) // n_parts]

        if n_parts > WHOLE_MESHES:
            return part.shape, self.begin(slab(self._rank), slab)
        return part.shape, self.begin(flat)

    def added(self, offer: Any, exponent: int) -> NDArray[np.float32]:
        """Return the sum of meshes; see `~sktsne.kernels.shards.Exchange`."""
        shape, begun = offer
        added = self._sum(self.finish(begun), exponent)
        if len(self._shards_of) > WHOLE_MESHES:
            added = np.concatenate(self.finish(self.begin(added)))
        return added.reshape(shape)

    def _sum(self, meshes: list[NDArray[np.int64]], exponent: int) -> NDArray[np.float32]:
        """Return 2**exponent times the sum of meshes, in memory that the next sum overwrites."""
        shape = meshes[0].shape
        total, scaled = self._buffers("total", shape, np.int64), self._buffers("scaled", shape)
        np.copyto(total, meshes[0])
        for mesh in meshes[1:]:
            total += mesh
        np.multiply(total, 2.0**exponent, out=scaled)
        added: NDArray[np.float32] = self._buffers("added", shape, np.float32)
        np.copyto(added, scaled, casting="same_kind")
        return added

    def all(self, values: Sequence[Any]) -> list[Any]:
        """Return the values of all shards; see `~sktsne.kernels.shards.Exchange`."""
        return self.collected(self.begin(values))

    def collected(self, begun: Round) -> list[Any]:
        """Return the values of all shards, in their order, of a round to which each part adds those of its shards."""
        return in_order_of_shards(self._shards_of, self.finish(begun))
