"""Reads that are running, so that those for which nobody waits any more can be interrupted.

Ten times a second they are looked through: a call-back from gRPC for each call would cost every call something.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from modelry_server.kernel import caller
from modelry_server.kernel.errors import DeadlinePassed


class RunningReads:
    """Knows for whom each connection is being read from; `interrupt` ends what a connection is doing."""

    def __init__(self, interrupt: Callable[[Any], object]) -> None:
        self._interrupt = interrupt
        self._callers: dict[Any, caller.Caller] = {}
        self._lock = threading.Lock()

    @contextmanager
    def tracked(self, connection: Any) -> Iterator[None]:
        """A block that reads from a connection for the present caller. Raises DeadlinePassed if it is too late."""
        present = caller.current()
        if present.deadline is not None and present.deadline <= time.monotonic():
            raise DeadlinePassed
        self._callers[connection] = present
        try:
            yield
        finally:
            with self._lock:  # so that an interrupt meant for this read never hits the next one on this connection
                del self._callers[connection]

    def interrupt_overdue(self) -> None:
        """Interrupts the reads whose deadline has passed, or whose caller has left."""
        now = time.monotonic()
        self._interrupt_if(lambda who: (who.deadline is not None and who.deadline <= now) or not who.is_here())

    def interrupt_all(self) -> None:
        """Interrupts all reads."""
        self._interrupt_if(lambda who: True)

    def _interrupt_if(self, is_wanted: Callable[[caller.Caller], bool]) -> None:
        with self._lock:
            for connection, who in list(self._callers.items()):
                if is_wanted(who):
                    self._interrupt(connection)
