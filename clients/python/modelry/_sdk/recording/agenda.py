"""What the recorder's thread has to do next. Here it meets the threads that log, flush and close."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from modelry._sdk.recording.buffer import Buffer

_SHORTEST_WAIT = 0.001


@dataclass(frozen=True, slots=True)
class Task:
    """What the thread was woken for: the flushes up to number `flushes` wait for it, and perhaps `closing` too."""

    flushes: int
    asked: bool
    closing: bool


class Agenda:
    """Collects buffers with news, flushes, and the wish to close."""

    def __init__(self, flush_interval: float) -> None:
        self._flush_interval = flush_interval
        self._changed = threading.Condition()
        self._buffers: dict[Buffer, None] = {}
        self._urgent = False
        self._due_at = 0.0
        self._wanted = 0
        self._answered = 0
        self._complete = True
        self._close_by: float | None = None

    # --- for those who log, flush and close --------------------------------------------------------------------------

    def add(self, buffer: Buffer, urgent: bool) -> bool:
        """Notes that a buffer has news; says whether the thread must know of it now."""
        with self._changed:
            first = not self._buffers
            self._buffers[buffer] = None
            if not first and not urgent:
                return False
            if first:
                self._due_at = time.monotonic() + self._flush_interval
            self._urgent = self._urgent or urgent
            self._changed.notify_all()
            return True

    def ask(self) -> int:
        """Asks for everything that was logged so far to be delivered; returns the number of this flush."""
        with self._changed:
            self._wanted += 1
            self._urgent = self._urgent or bool(self._buffers)
            self._changed.notify_all()
            return self._wanted

    def answered(self, flush: int, timeout: float | None) -> bool:
        """Waits for the end of a flush; says whether everything was delivered."""
        with self._changed:
            return self._changed.wait_for(lambda: self._answered >= flush, timeout) and self._complete

    def close(self, timeout: float) -> None:
        """Asks the thread to end within so many seconds."""
        with self._changed:
            self._close_by = time.monotonic() + timeout
            self._changed.notify_all()

    @property
    def has_news(self) -> bool:
        """Whether something was logged that nobody has taken."""
        with self._changed:
            return bool(self._buffers)

    @property
    def points(self) -> int:
        """The number of points in the buffers with news."""
        with self._changed:
            return sum(buffer.points for buffer in self._buffers)

    # --- for the recorder's thread -----------------------------------------------------------------------------------

    def wait(self, until: float | None) -> Task:
        """Waits until there is something to do, or until a moment."""
        with self._changed:
            while True:
                now = time.monotonic()
                asked = self._wanted > self._answered or self._close_by is not None
                if asked or self._is_due(now) or (until is not None and now >= until):
                    return Task(self._wanted, asked, self._close_by is not None)
                moments = [until] if until is not None else []
                if self._buffers:
                    moments.append(self._due_at)
                self._changed.wait(max(_SHORTEST_WAIT, min(moments) - now) if moments else None)

    @property
    def is_due(self) -> bool:
        """Whether what was logged is to be taken now."""
        with self._changed:
            return self._is_due(time.monotonic())

    @property
    def is_late(self) -> bool:
        """Whether the time to close has passed."""
        with self._changed:
            return self._close_by is not None and time.monotonic() >= self._close_by

    def take(self) -> list[Buffer]:
        """Takes the buffers with news."""
        with self._changed:
            buffers, self._buffers = self._buffers, {}
            self._urgent = False
            return list(buffers)

    def answer(self, flushes: int, *, complete: bool) -> None:
        """Ends the flushes up to a number."""
        with self._changed:
            self._answered = flushes
            self._complete = complete
            self._changed.notify_all()

    def end(self, *, complete: bool) -> None:
        """Ends all flushes, since the thread ends."""
        with self._changed:
            self._complete = self._complete and complete
            self._answered = self._wanted
            self._close_by = None
            self._changed.notify_all()

    def _is_due(self, now: float) -> bool:
        closing = self._close_by is not None
        return bool(self._buffers) and (self._urgent or closing or now >= self._due_at)
