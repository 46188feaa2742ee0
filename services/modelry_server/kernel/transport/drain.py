"""Shutting down in order: new calls are refused, calls in flight may end, open streams end with a reason."""

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Generic, TypeVar

from modelry_server.kernel.errors import Draining

_QUIET_S, _LONGEST_S = 0.1, 0.5
_Message = TypeVar("_Message")


class Drain:
    """Knows the calls in flight at one listener, and whether it is shutting down. Each call is a block of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._in_flight = 0
        self._is_begun = False
        self._last_refusal = 0.0
        self._is_over: Future[None] = Future()

    def __enter__(self) -> None:
        """Begins a call. Raises Draining once the drain has begun."""
        with self._lock:
            if self._is_begun:
                self._last_refusal = time.monotonic()
                raise Draining
            self._in_flight += 1

    def __exit__(self, *_: object) -> None:
        """Ends a call."""
        with self._lock:
            self._in_flight -= 1
            if self._is_begun and not self._in_flight:
                self._changed.notify_all()

    @property
    def in_flight(self) -> int:
        """How many calls are in flight."""
        return self._in_flight

    def begin(self) -> None:
        """Refuses new calls from now on."""
        with self._lock:
            self._is_begun = True
            self._last_refusal = time.monotonic()

    def wait(self, until: float) -> None:
        """Waits until no call is in flight, at most until this reading of `time.monotonic()`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._in_flight, max(0.0, until - time.monotonic()))

    def settle(self) -> None:
        """Waits until no new call has come for a moment: gRPC cancels calls that arrive while it closes."""
        until = time.monotonic() + _LONGEST_S
        while (now := time.monotonic()) < until and (left := self._last_refusal + _QUIET_S - now) > 0:
            time.sleep(left)

    def end(self) -> None:
        """Ends all open streams: they raise Draining at their next message."""
        self._is_over.set_result(None)

    def check_waiting(self) -> None:
        """Raises Draining if a drain has begun: a stream that waits for news has nothing to finish."""
        if self._is_begun:
            raise Draining

    def check(self) -> None:
        """Raises Draining if the time for open streams is over."""
        if self._is_over.done():
            raise Draining

    def may_finish(self, work: "Future[Any]", messages: "Incoming[Any]") -> bool:
        """Waits for the work on the messages of a stream. False if the drain ended while they still came.

        Otherwise the work has ended, or all messages are here and it goes on as that of any call in flight: what it
        writes may be committed already.
        """
        wait((work, self._is_over), return_when=FIRST_COMPLETED)
        return work.done() or messages.are_complete


class Incoming(Generic[_Message]):
    """The messages of a stream. Raises Draining, also at the end of the messages, once the time for streams is over.

    gRPC ends the messages of a refused call as if the client had sent them all: that must not look complete.
    """

    def __init__(self, messages: Iterable[_Message], drain: Drain) -> None:
        self._messages = messages
        self._drain = drain
        self.are_complete = False
        """Whether all have come. If it is false after the drain, nothing of them is written."""

    def __iter__(self) -> Iterator[_Message]:
        for message in self._messages:
            self._drain.check()
            yield message
        self.are_complete = True  # before the check: whoever finds it false after the drain knows that the check fails
        self._drain.check()
