"""A read is interrupted once its caller's deadline has passed, and nobody else's read is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.errors import DatabaseUnavailable, DeadlinePassed
from modelry_server.kernel.sql.reads import RunningReads


@contextmanager
def waiting(seconds: float | None) -> Iterator[None]:
    """A caller who waits so long."""
    deadline = None if seconds is None else time.monotonic() + seconds
    with caller.using(caller.Caller("ada", "0" * 32, deadline=deadline)):
        yield


@pytest.fixture
def interrupted() -> list[str]:
    return []


@pytest.fixture
def reads(interrupted: list[str]) -> RunningReads:
    return RunningReads(interrupted.append, "tracking")


def test_only_reads_past_their_deadline_are_interrupted(reads: RunningReads, interrupted: list[str]) -> None:
    with waiting(None), reads.tracked("patient"), waiting(3600), reads.tracked("in time"):
        with waiting(0.001), reads.tracked("late"):
            while not interrupted:
                reads.interrupt_overdue()

        assert interrupted == ["late"]


def test_all_reads_are_interrupted_when_the_database_closes(reads: RunningReads, interrupted: list[str]) -> None:
    with waiting(None), reads.tracked("patient"), waiting(3600), reads.tracked("in time"):
        reads.interrupt_all()

    assert interrupted == ["patient", "in time"]


def test_a_long_read_that_is_in_the_way_is_told_so(reads: RunningReads, interrupted: list[str]) -> None:
    def read() -> None:
        with reads.tracked("long"):
            while not interrupted:
                reads.interrupt_long(0.01)
            with reads.tracked("short"):
                reads.interrupt_long(60)
            raise RuntimeError("interrupted")

    with pytest.raises(DatabaseUnavailable, match="tracking ended a read") as raised:
        read()
    assert "change" not in raised.value.message

    assert interrupted == ["long"]


def test_a_read_that_has_ended_is_not_interrupted(reads: RunningReads, interrupted: list[str]) -> None:
    with waiting(3600), reads.tracked("done"):
        pass
    with pytest.raises(RuntimeError), waiting(3600), reads.tracked("failed"):
        raise RuntimeError

    reads.interrupt_all()

    assert interrupted == []


def test_a_read_past_its_deadline_does_not_begin(reads: RunningReads) -> None:
    with waiting(-1), pytest.raises(DeadlinePassed), reads.tracked("late"):
        pytest.fail("it began")


def test_a_read_does_not_end_while_it_is_being_interrupted() -> None:
    """Otherwise the interrupt could hit the next read on the same connection."""
    interrupting, ended, go_on = threading.Event(), threading.Event(), threading.Event()

    def interrupt(connection: str) -> None:
        interrupting.set()
        go_on.wait(10)
        seen.append(ended.is_set())

    seen: list[bool] = []
    reads = RunningReads(interrupt, "tracking")

    def read() -> None:
        with waiting(None), reads.tracked("connection"):
            begun.set()
            interrupting.wait(10)
            leaving.set()
        ended.set()

    begun, leaving = threading.Event(), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        pool.submit(read)
        assert begun.wait(10)
        pool.submit(reads.interrupt_all)
        assert leaving.wait(10)
        assert not ended.wait(0.05)
        go_on.set()

    assert seen == [False]
    assert ended.is_set()
