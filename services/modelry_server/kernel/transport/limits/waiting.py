"""Calls that wait for their client: how much they may hold at once, and which of them are ended when it is too much.

A call that waits for its client costs the client nothing and the server a thread or memory. An honest client sends its
message at once and reads its answer at once. So those that have waited longest are ended first.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from modelry_server.kernel.transport.limits.held import SHORT_S, end, ended_total


class Waiting:
    """The calls of a listener that wait for their client, each with the size of what it holds.

    Calls that have waited longer than `idle_s` are ended. Above `most`, calls older than 1 s are ended; above twice
    that, all but the newest. Those of the connection that holds the most come first, and of these the oldest: so a slow
    client is not ended for what one other holds. To end a call is to cancel it. `wanted` tells the log and the metrics
    what they wait for.
    """

    def __init__(self, wanted: str, most: int, idle_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._wanted, self._most, self._idle_s, self._clock = wanted, most, idle_s, clock
        ended_total.labels(wanted)  # so that Prometheus sees it before the first one
        self._held = 0
        self._lock = threading.Lock()
        self._calls: dict[grpc.ServicerContext, _Held] = {}  # the one that has waited longest is first

    @property
    def limit(self) -> int:
        """The size of what they can hold together."""
        return 2 * self._most

    @property
    def held(self) -> int:
        """The size of what the calls hold together."""
        return self._held

    def enter(self, call: grpc.ServicerContext, size: int = 1) -> None:
        """Notes that a call begins to wait, and ends others if they hold too much."""
        with self._lock:
            self._calls[call] = _Held(self._clock(), size)
            self._held += size
            is_too_much = self._held > self._most
        if is_too_much:
            self.end_overdue()

    def leave(self, call: grpc.ServicerContext) -> bool:
        """Notes that a call no longer waits. False if it was ended."""
        with self._lock:
            held = self._calls.pop(call, None)
            if held is None:
                return False
            self._held -= held.size
            return True

    def end_overdue(self) -> None:
        """Ends the calls that have waited too long."""
        with self._lock:
            now = self._clock()
            overdue = [call for call, held in self._calls.items() if now - held.since > self._idle_s]
            for call in overdue:
                self._held -= self._calls.pop(call).size
            while self._held > self._most and (late := self._longest_of_who_holds_most(now)) is not None:
                self._held -= self._calls.pop(late).size
                overdue.append(late)
        for call in overdue:
            end(self._wanted, call)

    def _longest_of_who_holds_most(self, now: float) -> grpc.ServicerContext | None:
        patience_s = SHORT_S if self._held <= self.limit else 0.0
        by_peer: dict[str, int] = {}
        for call, held in self._calls.items():
            held.peer = held.peer or call.peer()
            by_peer[held.peer] = by_peer.get(held.peer, 0) + held.size
        late = [(call, held) for call, held in self._calls.items() if now - held.since > patience_s]
        return max(late, key=lambda each: by_peer[each[1].peer])[0] if late else None


@dataclass(slots=True)
class _Held:
    since: float
    size: int
    peer: str = ""
    """Asked for only when it matters: each call would pay for it."""
