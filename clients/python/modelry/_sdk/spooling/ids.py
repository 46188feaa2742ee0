"""Ids that the client chooses, so that it can start without a server."""

from __future__ import annotations

import os
import time

_moment = 0


def run_id() -> str:
    """A new UUIDv7 as 32 hexadecimal characters: sorts by time, to the millisecond."""
    random = int.from_bytes(os.urandom(10), "big")
    number = (time.time_ns() // 1_000_000) << 80 | random
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return f"{number:032x}"


def moment() -> int:
    """The time in nanoseconds since 1970, for names in order: later than each that was given before in this process.

    So the names are in order also if the clock is set back.
    """
    global _moment
    _moment = max(_moment + 1, time.time_ns())
    return _moment


def writer_id() -> str:
    """A new name for a writer of numbered batches: 32 random hexadecimal characters."""
    return os.urandom(16).hex()


def process_name() -> str:
    """A new name for this process, which no earlier process with the same number had."""
    return f"{os.getpid()}-{os.urandom(4).hex()}"


def is_running(process_name: str) -> bool:
    """Whether the process of a name is still running."""
    try:
        os.kill(int(process_name.partition("-")[0]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
