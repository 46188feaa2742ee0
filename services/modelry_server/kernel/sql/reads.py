"""Reads that are running, so that those for which nobody waits any more can be interrupted.

Ten times a second they are looked through: a call-back from gRPC for each call would cost every call something.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from modelry_server.kernel import caller
from modelry_server.kernel.errors import DatabaseUnavailable, DeadlinePassed, ModelryError


@dataclass(slots=True)
class _Read:
    who: caller.Caller
    begun: float
    is_in_the_way: bool = False


class RunningReads:
    """Knows for whom each connection is being read from; `interrupt` ends what a connection is doing.

    `room` is the service whose database is read.
    """

    def __init__(self, interrupt: Callable[[Any], object], room: str) -> None:
        self._interrupt = interrupt
        self._room = room
        self._running: dict[Any, _Read] = {}
        self._lock = threading.Lock()

    @contextmanager
    def tracked(self, connection: Any) -> Iterator[None]:
        """A block that reads from a connection for the present caller.

        Raises DeadlinePassed if it is too late; DatabaseUnavailable if `interrupt_long` ended it.
        """
        read = self._running[connection] = _Read(caller.current(), time.monotonic())
        try:
            if read.who.deadline is not None and read.who.deadline <= read.begun:
                raise DeadlinePassed
            yield
        except ModelryError:
            raise
        except Exception as error:
            if read.is_in_the_way:
                why = "ended a read that kept its log from being emptied"
                raise DatabaseUnavailable(self._room, why, of_read=True) from error
            raise
        finally:
            with self._lock:  # so that an interrupt meant for this read never hits the next one on this connection
                del self._running[connection]

    def interrupt_overdue(self) -> None:
        """Interrupts the reads whose deadline has passed, or whose caller has left."""
        now = time.monotonic()
        self._interrupt_if(
            lambda read: (read.who.deadline is not None and read.who.deadline <= now) or not read.who.is_here()
        )

    def interrupt_long(self, longest_s: float) -> None:
        """Interrupts the reads that have taken longer than that, since they are in the way of something."""
        now = time.monotonic()

        def is_long(read: _Read) -> bool:
            is_too_long = now - read.begun > longest_s
            read.is_in_the_way |= is_too_long
            return is_too_long

        self._interrupt_if(is_long)

    def interrupt_all(self) -> None:
        """Interrupts all reads."""
        self._interrupt_if(lambda read: True)

    def _interrupt_if(self, is_wanted: Callable[[_Read], bool]) -> None:
        with self._lock:
            for connection, read in list(self._running.items()):
                if is_wanted(read):
                    self._interrupt(connection)
