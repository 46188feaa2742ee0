"""The time that the server tells, and the one that tests hold."""

from __future__ import annotations

import time

from modelry_server.kernel.clock import Clock
from tests.parts.clock import HeldClock


def test_the_clock_tells_milliseconds_since_the_epoch() -> None:
    before = time.time_ns() // 1_000_000

    now = Clock().now()

    assert before <= now <= time.time_ns() // 1_000_000


def test_a_held_clock_stands_still_until_it_is_moved() -> None:
    clock = HeldClock(1000)
    seen = [clock.now(), clock.now()]

    clock.advance(5)

    assert [*seen, clock.now()] == [1000, 1000, 1005]
