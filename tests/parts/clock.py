"""A clock that a test holds."""

from __future__ import annotations

from modelry_server.kernel.clock import Clock


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
