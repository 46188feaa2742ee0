"""Streams that are open: how many there may be, and which of them makes room for one that comes.

A stream that waits for its client costs the client nothing and the server a thread, and a byte now and then costs it
hardly more. So once all places are taken, those who hold many give them up to those who hold few.
"""

import itertools
import math
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

import grpc

from modelry_server.kernel.errors import TooManyStreams
from modelry_server.kernel.transport.limits.held import SHORT_S, end, ended_total

_SLOW_BYTES = 4 << 10  # in a second: a link is hardly slower, also where a few streams share it
_BEST_RATIO = 1032  # deflate makes one byte of so many at most
_PIECE_BYTES = 64 << 10
_Message = TypeVar("_Message", bound=Sized)


class Stream:
    """An open stream: since when it is open, and since when it waits for its client; `inf` while it does not wait."""

    __slots__ = ("_behind_s", "context", "opened", "peer", "waits_since")

    def __init__(self, context: grpc.ServicerContext, holder: str = "") -> None:
        self.context = context
        self.peer = holder or context.peer() or ""
        self.opened = time.monotonic()
        self.waits_since = math.inf
        self._behind_s = 0.0

    def received(self, messages: Iterable[bytes]) -> Iterator[bytes]:
        """The messages of the client; it waits for each of them."""
        given = iter(messages)
        while True:
            self.waits_since = time.monotonic()
            found = list(itertools.islice(given, 1))
            if not found:
                self.waits_since = math.inf
                return
            self._moved(_size_on_the_wire(found[0], self.behind_s() * _SLOW_BYTES))
            yield found.pop()

    def sent(self, messages: Iterable[_Message]) -> Iterator[_Message]:
        """The messages to the client; it waits until the client takes each of them."""
        given = iter(messages)
        while made := list(itertools.islice(given, 1)):
            size = len(made[0])
            self.waits_since = time.monotonic()
            yield made.pop()  # so that a message is not kept twice while its reader is slow
            self._moved(size)

    def behind_s(self) -> float:
        """For how many seconds it has waited for its client, beyond what its messages take on a slow link.

        There is no credit: a stream that was fast before falls behind like any other.
        """
        return self._behind_s + max(0.0, time.monotonic() - self.waits_since)

    def age_s(self) -> float:
        """For how many seconds it has been open."""
        return time.monotonic() - self.opened

    def _moved(self, size: int) -> None:
        """Notes that a message of this size came or went."""
        behind_s, self.waits_since = self.behind_s(), math.inf
        self._behind_s = max(0.0, behind_s - size / _SLOW_BYTES)


def _size_on_the_wire(message: bytes, enough: float) -> int:
    """How many bytes a message may have come in, if these are not `enough`; else any number that is.

    gRPC does not say whether it was compressed, so this compresses it, and no more of it than it must.
    """
    size = len(message)
    if size >= enough * _BEST_RATIO:
        return size
    packer, packed = zlib.compressobj(1), 0
    for at in range(0, size, _PIECE_BYTES):
        packed += len(packer.compress(message[at : at + _PIECE_BYTES]))
        if packed >= enough:
            return size
    return min(size, packed + len(packer.flush()))


class Streams:
    """The open streams of a kind: at most `places`, and `of_one` of one connection.

    If all places are taken, one more ends another one, so that a connection with few gets its place. That is one with
    a `lateness` of more than a second, of a connection that holds more than its own. If there is none, it is one of a
    connection that would still hold as many as its own, however busy they are. Of these, it is the latest one of the
    connection that holds the most. If there is none either, the new one is refused. By default, `lateness` is for how
    long a stream has waited for its client. Streams that wait for it longer than `idle_s` at a time are ended anyway.
    To end a stream is to cancel it. `kind` tells the log and the metrics what they are.
    """

    def __init__(
        self,
        kind: str,
        places: int,
        of_one: int,
        idle_s: float,
        *,
        lateness: Callable[[Stream], float] = Stream.behind_s,
    ) -> None:
        self._kind, self.places, self.of_one, self._idle_s, self._lateness = kind, places, of_one, idle_s, lateness
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
    def place(self, context: grpc.ServicerContext, holder: str = "") -> Iterator[Stream]:
        """A place for a stream, within a block. Raises TooManyStreams if there is none.

        It counts as one of the `holder`: the caller's principal if callers are known, by default its connection.
        """
        stream = Stream(context, holder)
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
        more = [streams for streams in self._open.values() if len(streams) > own]
        found = {each: (len(streams), self._lateness(each)) for streams in more for each in streams}
        late = [each for each, (_, lateness) in found.items() if lateness > SHORT_S]
        may_end = late or [each for each, (count, _) in found.items() if count > own + 1]
        return max(may_end, key=found.__getitem__, default=None)

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
