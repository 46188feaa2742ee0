"""Reads that are under way, so that those for which nobody waits any more can be stopped."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from modelry_server.kernel import caller
from modelry_server.kernel.errors import DeadlinePassed


class Reads:
    """Knows of each connection that is read from when its caller gives up; `stop` ends what it is doing."""

    def __init__(self, stop: Callable[[Any], object]) -> None:
        self._stop = stop
        self._until: dict[Any, float] = {}
        self._change = threading.Lock()

    @contextmanager
    def begun(self, connection: Any) -> Iterator[None]:
        """Notes that a connection is read from in the block. Raises DeadlinePassed if nobody waits for that."""
        deadline = caller.current().deadline
        if deadline is not None and deadline <= time.monotonic():
            raise DeadlinePassed
        self._until[connection] = float("inf") if deadline is None else deadline
        try:
            yield
        finally:
            with self._change:  # else the next reader of this connection might be the one who is stopped
                del self._until[connection]

    def stop_overdue(self) -> None:
        """Stops the reads of callers whose time has run out."""
        self._stop_until(time.monotonic())

    def stop_all(self) -> None:
        """Stops all reads."""
        self._stop_until(float("inf"))

    def _stop_until(self, moment: float) -> None:
        with self._change:
            for connection, until in list(self._until.items()):
                if until <= moment:
                    self._stop(connection)
