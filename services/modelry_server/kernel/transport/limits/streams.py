"""Streams that are open: how many there may be, and which of them makes room for one that comes.

A stream that waits for its client costs the client nothing and the server a thread. So once all places are taken, those
who hold many give them up to those who hold few.
"""

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import TypeVar

import grpc

from modelry_server.kernel.errors import TooManyStreams
from modelry_server.kernel.transport.limits.held import SHORT_S, end, ended_total

_END = object()
_Message = TypeVar("_Message")


class Stream:
    """An open stream: since when it is open, and since when it waits for its client; `inf` while it does not wait."""

    __slots__ = ("context", "opened", "peer", "waits_since")

    def __init__(self, context: grpc.ServicerContext) -> None:
        self.context = context
        self.peer = context.peer() or ""
        self.opened = time.monotonic()
        self.waits_since = math.inf

    def received(self, messages: Iterable[_Message]) -> Iterator[_Message]:
        """The messages of the client; it waits for each of them."""
        given = iter(messages)
        while True:
            self.waits_since = time.monotonic()
            message = next(given, _END)
            self.waits_since = math.inf
            if message is _END:
                return
            yield message  # type: ignore[misc]

    def sent(self, messages: Iterable[_Message]) -> Iterator[_Message]:
        """The messages to the client; it waits until the client takes each of them."""
        given = iter(messages)
        while made := list(itertools.islice(given, 1)):
            self.waits_since = time.monotonic()
            yield made.pop()  # so that a message is not kept twice while its reader is slow
            self.waits_since = math.inf


class Streams:
    """The open streams of a kind: at most `places`, and `of_one` of one connection.

    If all places are taken, one more ends a stream of the connection that holds the most, if that one holds more than
    its own: the stream with the earliest `since`, if that is more than a second ago. Otherwise it is refused. By
    default, `since` is when a stream began to wait for its client. Streams that wait for it longer than `idle_s` are
    ended anyway. To end a stream is to cancel it. `kind` tells the log and the metrics what they are.
    """

    def __init__(
        self,
        kind: str,
        places: int,
        of_one: int,
        idle_s: float,
        *,
        since: Callable[[Stream], float] = attrgetter("waits_since"),
    ) -> None:
        self._kind, self.places, self.of_one, self._idle_s, self._since = kind, places, of_one, idle_s, since
        self._ended = ended_total.labels(kind)
        self._lock = threading.Lock()
        self._count = 0
        self._open: dict[str, dict[Stream, None]] = {}  # without those that were ended
        self._threads = threading.Semaphore(places)  # an ended stream keeps its thread for a moment

    @property
    def count(self) -> int:
        """How many are open."""
        return self._count

    @contextmanager
    def place(self, context: grpc.ServicerContext) -> Iterator[Stream]:
        """A place for a stream, within a block. Raises TooManyStreams if there is none."""
        stream = Stream(context)
        self._enter(stream)
        try:
            if not self._threads.acquire(timeout=SHORT_S):
                raise self._too_many()
            try:
                yield stream
            finally:
                self._threads.release()
        finally:
            with self._lock:
                self._forget(stream)

    def end_idle(self) -> None:
        """Ends the streams that have waited too long for their client."""
        overdue = time.monotonic() - self._idle_s
        with self._lock:
            idle = [each for streams in self._open.values() for each in streams if each.waits_since < overdue]
        for stream in idle:
            end(self._kind, stream.context)

    def _enter(self, stream: Stream) -> None:
        ended = None
        with self._lock:
            own = len(self._open.get(stream.peer, ()))
            if own >= self.of_one:
                raise self._too_many()
            if self._count >= self.places:
                ended = self._one_of_most(own)
                if ended is None:
                    raise self._too_many()
                self._forget(ended)
            self._open.setdefault(stream.peer, {})[stream] = None
            self._count += 1
        if ended is not None:
            end(self._kind, ended.context)

    def _one_of_most(self, own: int) -> Stream | None:
        """The stream to end for a connection that holds `own` streams."""
        late = time.monotonic() - SHORT_S
        more = (streams for streams in self._open.values() if len(streams) > own)
        found = (each for streams in more for each in streams if self._since(each) < late)
        return min(found, key=lambda each: (-len(self._open[each.peer]), self._since(each)), default=None)

    def _forget(self, stream: Stream) -> None:
        streams = self._open.get(stream.peer, {})
        if stream in streams:
            del streams[stream]
            self._count -= 1
            if not streams:
                del self._open[stream.peer]

    def _too_many(self) -> TooManyStreams:
        self._ended.inc()
        return TooManyStreams(self.places, self.of_one)
