"""What the recorder's thread has to do next. Here it meets the threads that log, flush and close.

Whoever logs, flushes or closes takes no lock here, since a signal may interrupt it at any place, and its handler may do
the same: a message is one call of `SimpleQueue.put`, which may be interrupted by itself. What a message says is only
when to look; what there is to do is found where it is. So nothing stays undone because a message was never sent.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from modelry._sdk.recording.buffer import Buffer

_AT_ONCE = 0.0
_NEVER = float("inf")
_SHORTEST_WAIT = 0.001


class Flush:
    """A wish that everything that was logged so far is delivered, and the answer to it."""

    def __init__(self) -> None:
        self.answered = False
        self.complete = False
        """Whether everything was delivered."""
        self._waits = threading.Lock()
        self._waits.acquire()

    def answer(self, *, complete: bool) -> None:
        """Ends the wait. Called once."""
        self.complete, self.answered = complete, True
        self._waits.release()

    def wait(self, timeout: float | None) -> bool:
        """Waits for the answer, for one thread; says whether everything was delivered."""
        if not self.answered:
            self._waits.acquire(timeout=-1 if timeout is None else max(0.0, min(timeout, threading.TIMEOUT_MAX)))
        return self.answered and self.complete


@dataclass(frozen=True, slots=True)
class Task:
    """What the thread was woken for: `flushes` wait for it, and perhaps `closing` too."""

    flushes: list[Flush]
    closing: bool

    @property
    def asked(self) -> bool:
        """Whether somebody waits for it."""
        return self.closing or bool(self.flushes)


class Agenda:
    """Collects buffers with news, flushes, and the wish to close.

    `buffers` has the buffers of all runs that have not ended, and may change at any time.
    """

    def __init__(self, flush_interval: float, buffers: Mapping[str, Buffer]) -> None:
        self._flush_interval = flush_interval
        self._buffers = buffers
        self._late: dict[Buffer, None] = {}
        """Buffers of runs that have ended, to which something was logged nevertheless."""
        self._moments: SimpleQueue[float] = SimpleQueue()
        self._flushes: deque[Flush] = deque()
        self._closings: deque[Flush] = deque()
        self._close_by: float | None = None
        self._took_all = False
        """Whether everything was taken since it is to be closed. What comes then holds up nothing."""
        self._due_at = _NEVER

    # --- for those who log, flush and close --------------------------------------------------------------------------

    def keep(self, buffer: Buffer) -> None:
        """Makes sure that a buffer is found, also that of a run which has ended."""
        if self._buffers.get(buffer.run_id) is not buffer:
            self._late[buffer] = None

    def add(self, buffer: Buffer, urgent: bool) -> None:
        """Notes that a buffer has news."""
        self.keep(buffer)
        self._moments.put(_AT_ONCE if urgent else time.monotonic() + self._flush_interval)

    def ask(self) -> Flush:
        """Asks for everything that was logged so far to be delivered."""
        flush = Flush()
        self._flushes.append(flush)
        self._moments.put(_AT_ONCE)
        return flush

    def close(self, timeout: float) -> Flush:
        """Asks the thread to end within so many seconds; answered when it ends."""
        closing = Flush()
        self._took_all = False
        self._closings.append(closing)
        self._close_by = time.monotonic() + timeout
        self._moments.put(_AT_ONCE)
        return closing

    def hurry(self) -> None:
        """Asks the thread to end at once."""
        self._close_by = time.monotonic()
        self._moments.put(_AT_ONCE)

    @property
    def has_news(self) -> bool:
        """Whether something was logged that nobody has taken."""
        return any(buffer.has_news for buffer in self.all())

    @property
    def points(self) -> int:
        """The number of points that nobody has taken."""
        return sum(buffer.points for buffer in self.all())

    # --- for the recorder's thread -----------------------------------------------------------------------------------

    def wait(self, until: float | None) -> Task:
        """Waits until there is something to do, or until a moment."""
        while True:
            self._read_moments()
            now = time.monotonic()
            task = Task(list(self._flushes), self._close_by is not None)
            if task.asked:
                self._due_at = _AT_ONCE
                return task
            if now >= self._due_at or (until is not None and now >= until):
                return task
            soonest = min(self._due_at, _NEVER if until is None else until)
            timeout = None if soonest == _NEVER else max(_SHORTEST_WAIT, soonest - now)
            with suppress(Empty):
                self._due_at = min(self._due_at, self._moments.get(timeout=timeout))

    @property
    def is_due(self) -> bool:
        """Whether what was logged is to be taken now."""
        self._read_moments()
        if self._close_by is not None:
            return not self._took_all
        return time.monotonic() >= self._due_at

    @property
    def is_closing(self) -> bool:
        """Whether the thread is to end."""
        return self._close_by is not None

    @property
    def is_late(self) -> bool:
        """Whether the time to close has passed."""
        return self._close_by is not None and time.monotonic() >= self._close_by

    def take(self) -> Iterator[Buffer]:
        """Takes the buffers with news, one after the other."""
        self._took_all = self._close_by is not None
        found = [buffer for buffer in self.all() if buffer.has_news]
        self._due_at = _NEVER
        for buffer in found:
            self._late.pop(buffer, None)
            yield buffer

    def answer(self, flushes: list[Flush], *, complete: bool) -> None:
        """Ends these flushes."""
        for flush in flushes:
            self._flushes.remove(flush)
            flush.answer(complete=complete)

    def answer_all(self, *, complete: bool) -> None:
        """Ends all flushes."""
        self.answer(list(self._flushes), complete=complete)

    def end(self) -> None:
        """Ends all flushes and closings, since the thread ends: nobody has looked whether they are complete."""
        self._close_by, self._took_all = None, False
        self.answer_all(complete=False)
        while self._closings:
            self._closings.popleft().answer(complete=False)

    def _read_moments(self) -> None:
        with suppress(Empty):
            while True:
                self._due_at = min(self._due_at, self._moments.get_nowait())

    def all(self) -> list[Buffer]:
        """All buffers in which something may be."""
        return [*list(self._buffers.values()), *list(self._late)]
