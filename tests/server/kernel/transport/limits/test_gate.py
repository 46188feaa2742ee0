"""Places at work: a bound for all, a smaller one for each connection, and turns for those who wait."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from modelry_server.kernel.errors import TooManyCalls
from modelry_server.kernel.transport.limits.gate import Gate
from tests.parts.eventually import eventually

MANY = 1 << 30


def test_one_connection_gets_its_share_and_another_one_the_rest() -> None:
    gate = Gate("work", 4, 2, 0, MANY)

    assert [gate.try_to_enter("a") for _ in range(3)] == [True, True, False]
    assert [gate.try_to_enter("b") for _ in range(3)] == [True, True, False]
    assert not gate.try_to_enter("c")
    gate.leave("a")
    assert gate.try_to_enter("c")


def test_who_waits_gets_the_place_that_is_given_back_and_gives_up_when_its_time_is_over() -> None:
    gate = Gate("work", 1, 1, 100, MANY)
    gate.enter("a")

    begun = time.monotonic()
    assert not gate.enter("b", begun + 0.05)
    assert time.monotonic() >= begun + 0.05
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(gate.enter, "b")
        eventually(lambda: gate._waiting)
        gate.leave("a")
        assert waiting.result(10)
    assert not gate.try_to_enter("a")
    gate.leave("b")
    assert gate.try_to_enter("a")


def test_connections_take_turns_however_many_calls_of_one_wait() -> None:
    gate, order, lock = Gate("work", 1, 1, 100, MANY), [], threading.Lock()
    gate.enter("first")

    def work(peer: str) -> None:
        assert gate.enter(peer)
        with lock:
            order.append(peer)
        gate.leave(peer)

    with ThreadPoolExecutor(12) as pool:
        for count in range(10):
            pool.submit(work, "many")
            eventually(lambda count=count: len(gate._waiting.get("many", ())) == count + 1)  # type: ignore[misc]
        pool.submit(work, "one")
        eventually(lambda: "one" in gate._waiting)
        gate.leave("first")

    assert order.index("one") <= 1
    assert len(order) == 11
    assert gate._taken == {}


def test_one_who_waits_too_many_refuses_the_newest_of_the_connection_that_has_the_most() -> None:
    gate, ended = Gate("work", 1, 1, 3, MANY), list[str]()
    gate.enter("first")

    def work(peer: str, name: str) -> None:
        try:
            gate.enter(peer)
        except TooManyCalls:
            ended.append(f"{name} refused")
        else:
            ended.append(f"{name} worked")
            gate.leave(peer)

    def waits(peer: str, count: int) -> bool:
        return len(gate._waiting.get(peer, ())) == count

    with ThreadPoolExecutor(12) as pool:
        for count in (1, 2, 3):
            pool.submit(work, "many", f"many {count}")
            eventually(lambda count=count: waits("many", count))  # type: ignore[misc]
        pool.submit(work, "few", "few 1")
        eventually(lambda: ended == ["many 3 refused"])
        pool.submit(work, "many", "many 4")
        eventually(lambda: ended == ["many 3 refused", "many 4 refused"])
        pool.submit(work, "few", "few 2")  # as many as the other, once it has come
        eventually(lambda: ended == ["many 3 refused", "many 4 refused", "few 2 refused"])
        assert (waits("many", 2), waits("few", 1)) == (True, True)
        gate.leave("first")

    assert ended[3:] == ["many 1 worked", "few 1 worked", "many 2 worked"]
    assert (gate._taken, gate.waiting) == ({}, 0)


def test_too_many_bytes_refuse_the_newest_of_the_connection_that_has_the_most_of_them() -> None:
    gate, ended = Gate("work", 1, 1, 100, 1000), list[str]()
    gate.enter("first")

    def work(peer: str, size: int) -> None:
        try:
            gate.enter(peer, size=size)
        except TooManyCalls as refusal:
            ended.append(f"{peer} {size} refused: {refusal.metadata['limit_bytes']}")
        else:
            ended.append(f"{peer} {size} worked")
            gate.leave(peer)

    with ThreadPoolExecutor(12) as pool:
        for size, together in ((400, 400), (401, 801)):
            pool.submit(work, "large", size)
            eventually(lambda together=together: gate.waiting_bytes == together)  # type: ignore[misc]
        for size, together in ((10, 811), (11, 822), (12, 834)):
            pool.submit(work, "small", size)
            eventually(lambda together=together: gate.waiting_bytes == together)  # type: ignore[misc]
        pool.submit(work, "other", 300)
        eventually(lambda: ended == ["large 401 refused: 1000"])
        pool.submit(work, "late", 900)  # more than any other: this one goes
        eventually(lambda: ended[1:] == ["late 900 refused: 1000"])
        assert gate.waiting_bytes == 733
        gate.leave("first")

    assert sorted(ended[2:]) == [
        f"{name} worked" for name in ("large 400", "other 300", "small 10", "small 11", "small 12")
    ]
    assert (gate.waiting, gate.waiting_bytes) == (0, 0)
