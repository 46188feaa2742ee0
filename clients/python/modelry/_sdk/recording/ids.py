"""Ids that the client chooses, so that it can begin without a server."""

from __future__ import annotations

import os
import time


def run_id() -> str:
    """A new UUIDv7 as 32 hexadecimal characters: sorts by time, to the millisecond."""
    random = int.from_bytes(os.urandom(10), "big")
    number = (time.time_ns() // 1_000_000) << 80 | random
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return f"{number:032x}"


def writer_id() -> str:
    """A new name for one who numbers batches: 32 random hexadecimal characters."""
    return os.urandom(16).hex()
