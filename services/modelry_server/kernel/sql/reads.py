"""Reads that are running, so that those for which nobody waits any more can be interrupted."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from modelry_server.kernel import caller
from modelry_server.kernel.errors import DeadlinePassed

_NEVER = float("inf")


class RunningReads:
    """Knows the deadline of each connection that is being read from; `interrupt` ends what a connection is doing."""

    def __init__(self, interrupt: Callable[[Any], object]) -> None:
        self._interrupt = interrupt
        self._deadlines: dict[Any, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def tracked(self, connection: Any) -> Iterator[None]:
        """A block that reads from a connection for the present caller. Raises DeadlinePassed if it is too late."""
        deadline = caller.current().deadline
        if deadline is not None and deadline <= time.monotonic():
            raise DeadlinePassed
        self._deadlines[connection] = _NEVER if deadline is None else deadline
        try:
            yield
        finally:
            with self._lock:  # so that an interrupt meant for this read never hits the next one on this connection
                del self._deadlines[connection]

    def interrupt_overdue(self) -> None:
        """Interrupts the reads whose deadline has passed."""
        self._interrupt_until(time.monotonic())

    def interrupt_all(self) -> None:
        """Interrupts all reads."""
        self._interrupt_until(_NEVER)

    def _interrupt_until(self, moment: float) -> None:
        with self._lock:
            for connection, deadline in list(self._deadlines.items()):
                if deadline <= moment:
                    self._interrupt(connection)
