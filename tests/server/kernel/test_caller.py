"""Who calls, and how much time there is left."""

from __future__ import annotations

import threading
import time

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.caller import NOBODY, Caller, Credential

ANN, BOB = Caller("ann", "ab" * 16), Caller("bob", "cd" * 16)


def test_outside_of_a_call_the_server_itself_is_the_caller() -> None:
    assert caller.current() is NOBODY
    assert (NOBODY.credential, NOBODY.is_service) == (Credential.SERVICE, True)


def test_a_caller_is_the_current_one_within_its_block_only() -> None:
    with caller.using(ANN):
        with caller.using(BOB):
            inner = caller.current()
        outer = caller.current()

    assert (inner, outer, caller.current()) == (BOB, ANN, NOBODY)


def test_an_error_ends_the_block_too() -> None:
    with pytest.raises(RuntimeError), caller.using(ANN):
        raise RuntimeError

    assert caller.current() is NOBODY


def test_each_thread_has_a_caller_of_its_own() -> None:
    seen: list[Caller] = []

    with caller.using(ANN):
        other = threading.Thread(target=lambda: seen.append(caller.current()))
        other.start()
        other.join(10)

    assert seen == [NOBODY]


def test_a_caller_is_no_service_and_has_proved_nothing_unless_it_is_said() -> None:
    assert (ANN.credential, ANN.is_service, ANN.peer) == (Credential.NONE, False, "")


def test_time_left_is_unbounded_positive_or_zero() -> None:
    now = time.monotonic()

    left = Caller("ann", "ab" * 16, deadline=now + 100).time_left()

    assert left is not None
    assert 0 < left <= 100
    assert Caller("ann", "ab" * 16, deadline=now - 100).time_left() == 0.0
    assert ANN.time_left() is None
