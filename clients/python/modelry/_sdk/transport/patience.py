"""A limit on waiting for the next message of a stream.

gRPC has a deadline for a whole stream only, which must be long, since a stream may bring gigabytes. So a server that
hangs in the middle would hold its caller for minutes. Here one thread looks at all open streams, about once a second.
What a caller does between two messages does not count.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from typing import Any

from modelry._sdk.transport import process
from modelry._sdk.transport.interruptions import start

_END = object()
_LONGEST_PAUSE_S = 1.0


class Patience:
    """Cancels a stream of gRPC when a message takes longer than `limit` seconds. Then `is_over` is true.

    Where no thread can be started, as while Python ends, there is no limit but the deadline of the stream.
    """

    def __init__(self, stream: Any, limit: float) -> None:
        self._stream = stream
        self._until = math.inf
        self.limit = limit
        self.is_over = False
        process.current().part(_Watch).begin(self)

    def messages(self) -> Iterator[Any]:
        """The messages of the stream. Raises what gRPC raises."""
        while True:
            self._until = time.monotonic() + self.limit
            message = next(self._stream, _END)
            self._until = math.inf
            if message is _END:
                return
            yield message

    def end(self) -> None:
        """Stops watching."""
        process.current().part(_Watch).end(self)

    def look(self) -> None:
        """Cancels the stream if its next message is overdue."""
        if not self.is_over and time.monotonic() > self._until:
            self.is_over = True
            self._stream.cancel()


class _Watch(process.Part):
    """The open streams of this process, and the thread that looks at them while there are any.

    A forked child has none: it inherits gRPC, so it opens no stream.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[Patience] = set()
        self._is_watched = False

    def begin(self, patience: Patience) -> None:
        with self._lock:
            self._open.add(patience)
            if self._is_watched:
                return
            self._is_watched = True
        if start(threading.Thread(target=self._watch, name="modelry-streams", daemon=True)):
            self._is_watched = False  # there are no more threads, or Python ends

    def end(self, patience: Patience) -> None:
        with self._lock:
            self._open.discard(patience)

    def _watch(self) -> None:
        while True:
            with self._lock:
                streams = list(self._open)
                if not streams:
                    self._is_watched = False
                    return
            for each in streams:
                each.look()
            time.sleep(min(_LONGEST_PAUSE_S, *(each.limit / 4 for each in streams)))
