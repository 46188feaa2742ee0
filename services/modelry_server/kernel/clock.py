"""The time, as something that tests can replace."""

import time


class Clock:
    """Tells the time."""

    def now(self) -> int:
        """The current time, in milliseconds since the epoch."""
        return time.time_ns() // 1_000_000
