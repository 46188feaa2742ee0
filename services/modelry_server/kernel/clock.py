"""The time, in a form that tests can hold."""

import time


class Clock:
    """Tells the time as milliseconds since the epoch."""

    def now(self) -> int:
        """The present time in milliseconds since the epoch."""
        return time.time_ns() // 1_000_000


class HeldClock(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self._now = now

    def now(self) -> int:
        """The time that was set."""
        return self._now

    def advance(self, milliseconds: int) -> None:
        """Moves the time on."""
        self._now += milliseconds
