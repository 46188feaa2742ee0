"""Ids of new things: UUIDv7, rising within a process, never twice."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from modelry_server.kernel.ids import new_id


def test_an_id_is_a_uuid_of_version_7_that_holds_the_time() -> None:
    before = time.time_ns() // 1_000_000
    found = new_id()

    made = uuid.UUID(hex=found)
    assert (made.version, made.variant, len(found), found.lower()) == (7, uuid.RFC_4122, 32, found)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000 + 60_000


def test_ids_rise_in_the_order_in_which_they_were_made() -> None:
    made = [new_id() for _ in range(20_000)]

    assert made == sorted(made)


def test_threads_never_make_the_same_id() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_id(), range(20_000)))

    assert len(set(made)) == 20_000
