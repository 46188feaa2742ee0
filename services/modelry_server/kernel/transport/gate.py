"""Who is at work at once: a bound for a listener, and a smaller one for each connection.

gRPC gives each open call a thread, also one whose message has not come. So the number of threads is no bound, and this
is: a call needs a place only once its message is here, and gives it back when it is answered.
"""

import threading
import time
from collections import OrderedDict, deque


class Gate:
    """Hands out `places`, at most `of_one` of them to one connection. Connections that wait take turns."""

    def __init__(self, places: int, of_one: int) -> None:
        self.places, self.of_one = places, of_one
        self._free = places
        self._lock = threading.Lock()
        self._taken: dict[str, int] = {}
        self._waiting: OrderedDict[str, deque[_Waiter]] = OrderedDict()

    def enter(self, peer: str, until: float | None = None) -> bool:
        """Takes a place, if need be after waiting until this reading of `time.monotonic()`. False: there was none."""
        with self._lock:
            if self._free and self._taken.get(peer, 0) < self.of_one:
                self._take(peer)
                return True
            waiter = _Waiter()
            self._waiting.setdefault(peer, deque()).append(waiter)
        if waiter.given.wait(None if until is None else max(0.0, until - time.monotonic())):
            return True
        with self._lock:
            if waiter.given.is_set():
                return True
            self._waiting[peer].remove(waiter)
            if not self._waiting[peer]:
                del self._waiting[peer]
            return False

    def try_to_enter(self, peer: str) -> bool:
        """Takes a place if there is one."""
        with self._lock:
            if not self._free or self._taken.get(peer, 0) >= self.of_one:
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
                if self._taken.get(name, 0) < self.of_one:
                    self._take(name)
                    waiters.popleft().given.set()
                    if waiters:
                        self._waiting.move_to_end(name)
                    else:
                        del self._waiting[name]
                    return

    def _take(self, peer: str) -> None:
        self._free -= 1
        self._taken[peer] = self._taken.get(peer, 0) + 1


class _Waiter:
    __slots__ = ("given",)

    def __init__(self) -> None:
        self.given = threading.Event()
