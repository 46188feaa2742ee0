"""Ids of new things: UUIDv7 (RFC 9562) as 32 lower-case hexadecimal characters."""

import os
import threading
import time

_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """A new id, higher than every id that this process made before: ids sort by time, so inserts stay local."""
    global _last
    now = (time.time_ns() // 1_000_000) << 12
    with _lock:
        _last = max(now, _last + 1)  # 48 bits of milliseconds and a 12-bit counter, which may run ahead of the clock
        head = _last
    milliseconds, counter = head >> 12, head & 0xFFF
    random = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
    return f"{milliseconds << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | random:032x}"
