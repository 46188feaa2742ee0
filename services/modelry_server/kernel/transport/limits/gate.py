"""Who is at work at once: a bound for a listener, and a smaller one for each connection, or each principal.

Where callers are known, a principal counts as one connection, however many it has.

gRPC gives each open call a thread, also one whose message has not come. So the number of threads is no bound, and this
is: a call needs a place only once its message is here, and gives it back when it is answered. Who waits for a place
holds a thread and its request, so how many wait is bounded as well, and how many bytes.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from modelry_server.kernel.caller import Caller
from modelry_server.kernel.errors import DeadlinePassed, TooManyCalls
from modelry_server.kernel.transport.limits.held import ended_total


class Gate:
    """Hands out `places`, at most `of_one` of them to one connection. Connections that wait take turns.

    At most `waiters` wait, with requests of `waiting_bytes` together. One more refuses the newest of the connection
    that has the most of what there is too much of; if several have as much, that is the one which has just come. So a
    connection with few always gets its turn. `kind` tells the metrics what the places are.
    """

    def __init__(self, kind: str, places: int, of_one: int, waiters: int, waiting_bytes: int) -> None:
        self.places, self._of_one, self.waiters, self.most_bytes = places, of_one, waiters, waiting_bytes
        self._refused = ended_total.labels(f"{kind}_waiting")
        self._free = places
        self._lock = threading.Lock()
        self._taken: dict[str, int] = {}
        self._waiting: OrderedDict[str, deque[_Waiter]] = OrderedDict()
        self._count = 0
        self._bytes = 0

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self.places - self._free

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return self._count

    @property
    def waiting_bytes(self) -> int:
        """The bytes of the requests that wait for a place."""
        return self._bytes

    def enter(self, peer: str, until: float | None = None, size: int = 0) -> bool:
        """Takes a place, if need be after waiting until this reading of `time.monotonic()`. False: there was none.

        `size` is that of the request in bytes. Raises TooManyCalls if too many wait.
        """
        with self._lock:
            if self._free and self._taken.get(peer, 0) < self._of_one:
                self._take(peer)
                return True
            waiter = _Waiter(size)
            self._waiting.setdefault(peer, deque()).append(waiter)
            self._count += 1
            self._bytes += size
            if self._count > self.waiters:
                self._refuse_one(peer, len)
            while self._bytes > self.most_bytes:
                self._refuse_one(peer, _bytes_of)
        if not waiter.told.wait(None if until is None else max(0.0, until - time.monotonic())):
            with self._lock:
                if not waiter.told.is_set():
                    self._waiting[peer].remove(waiter)
                    self._no_longer_waits(peer, waiter)
                    return False
        if waiter.is_refused:
            self._refused.inc()
            raise TooManyCalls(self.waiters, self.most_bytes)
        return True

    def try_to_enter(self, peer: str) -> bool:
        """Takes a place if there is one."""
        with self._lock:
            if not self._free or self._taken.get(peer, 0) >= self._of_one:
                return False
            self._take(peer)
            return True

    def leave(self, peer: str) -> None:
        """Gives a place back, to the next connection that waits and may have one."""
        with self._lock:
            self._free += 1
            self._taken[peer] -= 1
            if not self._taken[peer]:
                del self._taken[peer]
            for name, waiters in self._waiting.items():
                if self._taken.get(name, 0) < self._of_one:
                    self._take(name)
                    first = waiters.popleft()
                    first.told.set()
                    self._waiting.move_to_end(name)
                    self._no_longer_waits(name, first)
                    return

    def _take(self, peer: str) -> None:
        self._free -= 1
        self._taken[peer] = self._taken.get(peer, 0) + 1

    def _refuse_one(self, peer: str, measure: "Callable[[deque[_Waiter]], int]") -> None:
        """Refuses one that waits, after one of this connection has come. `measure` tells what a connection has."""
        most = max(self._waiting, key=lambda each: (measure(self._waiting[each]), each == peer))
        newest = self._waiting[most].pop()
        newest.is_refused = True
        newest.told.set()
        self._no_longer_waits(most, newest)

    def _no_longer_waits(self, peer: str, waiter: "_Waiter") -> None:
        self._count -= 1
        self._bytes -= waiter.size
        if not self._waiting[peer]:
            del self._waiting[peer]


class Turn:
    """A turn of a caller at a gate, within a block. `size` is that of the request in bytes.

    Raises DeadlinePassed if there is none in time, or if the caller is gone by then; TooManyCalls.
    """

    __slots__ = ("_caller", "_gate", "_size")

    def __init__(self, gate: Gate, caller: Caller, size: int = 0) -> None:
        self._gate = gate
        self._caller = caller
        self._size = size

    def __enter__(self) -> None:
        present = self._caller
        if self._gate.try_to_enter(present.holder):
            return
        if not self._gate.enter(present.holder, present.deadline, self._size):
            raise DeadlinePassed
        if not present.is_here():
            self._gate.leave(present.holder)
            raise DeadlinePassed

    def __exit__(self, *_: object) -> None:
        self._gate.leave(self._caller.holder)


class _Waiter:
    """A call that waits; it is told that it has a place, or that it is refused."""

    __slots__ = ("is_refused", "size", "told")

    def __init__(self, size: int) -> None:
        self.told = threading.Event()
        self.is_refused = False
        self.size = size


def _bytes_of(waiters: deque[_Waiter]) -> int:
    return sum(waiter.size for waiter in waiters)
