"""Transactions that are running, so that those for which nobody waits any more can be interrupted.

Ten times a second they are looked through: a call-back from gRPC for each call would cost every call something.

A write asks `Tracked.check` directly before its COMMIT, and may be interrupted until COMMIT is answered: on PostgreSQL,
COMMIT travels together with statements that may wait for a lock. Databases answer an interrupted COMMIT truthfully:
with an error only if nothing was committed.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from modelry_server.kernel import caller
from modelry_server.kernel.errors import DatabaseUnavailable, DeadlinePassed, ModelryError, Outcome
from modelry_server.kernel.telemetry import Log

_log = Log("db")


class RunningTransactions:
    """Knows for whom each connection is at work.

    `interrupt` ends what a connection is doing, with an error for which `was_interrupted` is true. `room` is the
    service whose database it is.
    """

    def __init__(
        self, interrupt: Callable[[Any], object], was_interrupted: Callable[[Exception], bool], room: str
    ) -> None:
        self._interrupt = interrupt
        self.was_interrupted = was_interrupted
        self._room = room
        self.running: dict[Any, Tracked] = {}
        self.is_closed = False

    def reading(self, connection: Any) -> "Tracked":
        """A block that reads from a connection for the present caller.

        Raises DeadlinePassed if it is too late, or if the caller has left; DatabaseUnavailable once the database is
        being closed, or if `interrupt_long_reads` ended it.
        """
        who = caller.current()
        return Tracked(self, connection, who.deadline, who.is_here)

    def writing(self, connection: Any, until: float) -> "Tracked":
        """A block that writes, at most until this reading of `time.monotonic()`, even if its caller has left.

        Raises DeadlinePassed if that is too late; DatabaseUnavailable once the database is being closed.
        """
        return Tracked(self, connection, until, None)

    def interrupt_overdue(self, within_s: float = 0.0) -> None:
        """Interrupts the transactions whose deadline has passed, and the reads whose caller has left.

        Goes on while there are deadlines within so many seconds, and so meets each of them.
        """
        while True:
            now = time.monotonic()
            self._interrupt_if(lambda each, now=now: each.is_overdue(now), lambda each: DeadlinePassed())  # type: ignore[misc]
            coming = [each.until for each in list(self.running.values()) if each.until is not None]
            soon = min((until for until in coming if now < until <= now + within_s), default=None)
            if soon is None:
                return
            time.sleep(max(0.0, soon - time.monotonic()))

    def interrupt_long_reads(self, longest_s: float) -> list[Any]:
        """Interrupts the reads that have taken longer than that, since they are in the way of something.

        Gives the connections of all reads.
        """
        now = time.monotonic()
        self._interrupt_if(
            lambda each: not each.is_write and now - each.begun > longest_s,
            lambda each: DatabaseUnavailable(
                self._room, "ended a read that kept its log from being emptied, so ask for less", each.outcome
            ),
        )
        return [each.connection for each in list(self.running.values()) if not each.is_write]

    def close(self) -> None:
        """Interrupts all transactions, and lets no new ones begin.

        What they raise is not Draining, which says that nothing of a call was begun: an earlier transaction of the same
        call may have been committed.
        """
        self.is_closed = True
        self._interrupt_if(lambda each: True, self.closed)

    def closed(self, each: "Tracked") -> DatabaseUnavailable:
        """The error of what was at work, or came, while the database is being closed."""
        return DatabaseUnavailable(self._room, "is being closed, since the server is shutting down", each.outcome)

    def say_ended(self) -> None:
        """Logs that a write was rolled back at its deadline."""
        _log.seldom("database.write_ended", per=self._room, service=self._room)

    def _interrupt_if(self, is_wanted: Callable[["Tracked"], bool], why: Callable[["Tracked"], ModelryError]) -> None:
        for each in list(self.running.values()):
            with each.lock:  # of this one only: on PostgreSQL an interrupt may take a second
                if not each.has_ended and is_wanted(each):
                    each.why = each.why or why(each)
                    self._interrupt(each.connection)


class Tracked:  # a class, since each call enters one: a generator takes twice as long
    """A block in which a connection is at work. `why` says why it was interrupted."""

    __slots__ = ("_all", "begun", "connection", "has_ended", "is_here", "lock", "until", "why")

    def __init__(
        self,
        all_: RunningTransactions,
        connection: Any,
        until: float | None,
        is_here: Callable[[], bool] | None,
    ) -> None:
        self._all = all_
        self.connection = connection
        self.until = until
        self.is_here = is_here
        self.why: ModelryError | None = None
        self.begun = 0.0
        self.has_ended = False
        self.lock = threading.Lock()
        """Held while it is interrupted, so that an interrupt never hits what follows on this connection."""

    @property
    def is_write(self) -> bool:
        """Whether it writes: then the caller matters no more."""
        return self.is_here is None

    @property
    def outcome(self) -> Outcome:
        """What becomes of it if it is interrupted: an interrupted COMMIT has committed nothing."""
        return Outcome.NOT_MADE if self.is_write else Outcome.READ

    def is_overdue(self, now: float) -> bool:
        """Whether its deadline has passed at this reading of `time.monotonic()`, or its reader has left."""
        return (self.until is not None and self.until <= now) or (self.is_here is not None and not self.is_here())

    def check(self) -> None:
        """Raises why it has to end, if it has to."""
        if self.why is not None:
            raise self.why
        if self._all.is_closed:
            raise self._all.closed(self)
        if self.until is not None and self.until <= time.monotonic():
            raise DeadlinePassed

    def __enter__(self) -> "Tracked":
        self.begun = time.monotonic()
        self._all.running[self.connection] = self
        try:
            self.check()
        except ModelryError:
            self._end()
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._end()
        told = error
        if isinstance(error, Exception) and self._all.was_interrupted(error):
            # Others interrupt, too: a `statement_timeout` of PostgreSQL, or who administers it.
            told = self.why or (DeadlinePassed() if self.is_overdue(time.monotonic()) else error)
        if self.is_write and isinstance(told, DeadlinePassed):
            self._all.say_ended()  # only here: a COMMIT that is interrupted may still succeed
        if told is not None and told is not error:
            raise told from error

    def _end(self) -> None:
        with self.lock:
            self.has_ended = True
        del self._all.running[self.connection]
