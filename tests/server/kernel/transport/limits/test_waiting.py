"""Calls that wait for their client: those that have waited longest are ended when it is too much."""

from __future__ import annotations

from typing import Any

from modelry_server.kernel.transport.limits.waiting import Waiting


class Calls:
    """A place to wait with `most` 3 and `idle_s` 60, a clock that the test holds, and the calls that were ended."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ended: list[Any] = []
        self.waiting = Waiting("message", 3, 60.0, clock=lambda: self.now)

    def enter(self, name: str, size: int = 1, peer: str = "1") -> Any:
        """One more call of a connection waits."""
        call: Any = _Call(name, self.ended, peer)
        self.waiting.enter(call, size)
        return call


class _Call:
    def __init__(self, name: str, ended: list[Any], peer: str) -> None:
        self.name, self.ended, self._peer = name, ended, peer

    def peer(self) -> str:
        return self._peer

    def cancel(self) -> None:
        self.ended.append(self.name)


def test_a_call_may_wait_long_while_few_do() -> None:
    calls = Calls()
    calls.enter("a")

    calls.now += 60
    calls.waiting.end_overdue()
    assert calls.ended == []
    calls.now += 0.1
    calls.waiting.end_overdue()
    assert calls.ended == ["a"]


def test_one_too_many_ends_the_one_that_has_waited_longest() -> None:
    calls = Calls()
    for name in "abc":
        calls.enter(name)
        calls.now += 1.1

    calls.enter("d")

    assert calls.ended == ["a"]


def test_a_slow_client_is_not_ended_for_what_others_hold() -> None:
    calls = Calls()
    calls.enter("slow", peer="honest")
    for name in "abcde":
        calls.now += 1.1
        calls.enter(name, peer="greedy")

    assert calls.ended == ["a", "b", "c"]


def test_calls_that_have_just_come_may_be_too_many_for_a_second() -> None:
    calls = Calls()
    for name in "abcdef":
        calls.enter(name)
        calls.now += 0.1
    before = list(calls.ended)
    calls.now += 1
    calls.waiting.end_overdue()

    assert (before, calls.ended) == ([], ["a", "b", "c"])


def test_twice_too_many_end_the_oldest_at_once_but_not_the_last() -> None:
    calls = Calls()
    for name in "abcdefg":
        calls.enter(name)
        calls.now += 0.01
    calls.enter("large", size=7)

    assert calls.ended == list("abcdefg")


def test_a_call_leaves_once_and_hears_whether_it_was_ended() -> None:
    calls = Calls()
    first, second = calls.enter("a"), calls.enter("b", size=2)
    calls.now += 2
    calls.enter("c")

    assert calls.ended == ["a"]
    assert [calls.waiting.leave(each) for each in (first, second, second)] == [False, True, False]
    calls.enter("d", size=2)
    assert calls.ended == ["a"]
