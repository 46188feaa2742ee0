"""Who is at work at once: a bound for a listener, and a smaller one for each connection.

gRPC gives each open call a thread, also one whose message has not come. So the number of threads is no bound, and this
is: a call needs a place only once its message is here, and gives it back when it is answered. Who waits for a place
holds a thread, too, so how many wait is bounded as well.
"""

import threading
import time
from collections import OrderedDict, deque

from modelry_server.kernel.caller import Caller
from modelry_server.kernel.errors import DeadlinePassed, TooManyCalls
from modelry_server.kernel.transport.limits.held import ended_total


class Gate:
    """Hands out `places`, at most `of_one` of them to one connection. Connections that wait take turns.

    At most `waiters` wait. One more refuses the newest of the connection that has the most; if several have as many,
    that is the one which has just come. So a connection with few always gets its turn. `kind` tells the metrics what
    the places are.
    """

    def __init__(self, kind: str, places: int, of_one: int, waiters: int) -> None:
        self._places, self._of_one, self._waiters = places, of_one, waiters
        self._refused = ended_total.labels(f"{kind}_waiting")
        self._free = places
        self._lock = threading.Lock()
        self._taken: dict[str, int] = {}
        self._waiting: OrderedDict[str, deque[_Waiter]] = OrderedDict()
        self._count = 0

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._places - self._free

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return self._count

    def enter(self, peer: str, until: float | None = None) -> bool:
        """Takes a place, if need be after waiting until this reading of `time.monotonic()`. False: there was none.

        Raises TooManyCalls if too many wait.
        """
        with self._lock:
            if self._free and self._taken.get(peer, 0) < self._of_one:
                self._take(peer)
                return True
            waiter = _Waiter()
            self._waiting.setdefault(peer, deque()).append(waiter)
            self._count += 1
            if self._count > self._waiters:
                self._refuse_one(peer)
        if not waiter.told.wait(None if until is None else max(0.0, until - time.monotonic())):
            with self._lock:
                if not waiter.told.is_set():
                    self._waiting[peer].remove(waiter)
                    self._no_longer_waits(peer)
                    return False
        if waiter.is_refused:
            self._refused.inc()
            raise TooManyCalls(self._waiters)
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
                    waiters.popleft().told.set()
                    self._waiting.move_to_end(name)
                    self._no_longer_waits(name)
                    return

    def _take(self, peer: str) -> None:
        self._free -= 1
        self._taken[peer] = self._taken.get(peer, 0) + 1

    def _refuse_one(self, peer: str) -> None:
        """Refuses one that waits, after one of this connection has come."""
        most = max(self._waiting, key=lambda each: (len(self._waiting[each]), each == peer))
        newest = self._waiting[most].pop()
        newest.is_refused = True
        newest.told.set()
        self._no_longer_waits(most)

    def _no_longer_waits(self, peer: str) -> None:
        self._count -= 1
        if not self._waiting[peer]:
            del self._waiting[peer]


class Turn:
    """A turn of a caller at a gate, within a block.

    Raises DeadlinePassed if there is none in time, or if the caller is gone by then; TooManyCalls.
    """

    __slots__ = ("_caller", "_gate")

    def __init__(self, gate: Gate, caller: Caller) -> None:
        self._gate = gate
        self._caller = caller

    def __enter__(self) -> None:
        present = self._caller
        if self._gate.try_to_enter(present.peer):
            return
        if not self._gate.enter(present.peer, present.deadline):
            raise DeadlinePassed
        if not present.is_here():
            self._gate.leave(present.peer)
            raise DeadlinePassed

    def __exit__(self, *_: object) -> None:
        self._gate.leave(self._caller.peer)


class _Waiter:
    """A call that waits; it is told that it has a place, or that it is refused."""

    __slots__ = ("is_refused", "told")

    def __init__(self) -> None:
        self.told = threading.Event()
        self.is_refused = False
