"""A transaction is interrupted once its deadline has passed, and nobody else's is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.errors import DatabaseUnavailable, DeadlinePassed
from modelry_server.kernel.sql.running import RunningTransactions


@contextmanager
def waiting(seconds: float | None) -> Iterator[None]:
    """A caller who waits so long."""
    deadline = None if seconds is None else time.monotonic() + seconds
    with caller.using(caller.Caller("ada", "0" * 32, deadline=deadline)):
        yield


@pytest.fixture
def interrupted() -> list[str]:
    return []


class Interrupted(Exception):
    """What a connection raises that was interrupted."""


def was_interrupted(error: Exception) -> bool:
    return isinstance(error, Interrupted)


@pytest.fixture
def running(interrupted: list[str]) -> RunningTransactions:
    return RunningTransactions(interrupted.append, was_interrupted, "tracking")


def test_only_reads_past_their_deadline_are_interrupted(running: RunningTransactions, interrupted: list[str]) -> None:
    with waiting(None), running.reading("patient"), waiting(3600), running.reading("in time"):
        with waiting(0.001), running.reading("late"):
            while not interrupted:
                running.interrupt_overdue()

        assert interrupted == ["late"]


def test_all_reads_are_interrupted_when_the_database_closes(
    running: RunningTransactions, interrupted: list[str]
) -> None:
    with waiting(None), running.reading("patient"), waiting(3600), running.reading("in time"):
        running.close()

    assert interrupted == ["patient", "in time"]


def test_a_long_read_that_is_in_the_way_is_told_so(running: RunningTransactions, interrupted: list[str]) -> None:
    def read() -> None:
        with running.reading("long"):
            while not interrupted:
                running.interrupt_long_reads(0.01)
            with running.reading("short"):
                running.interrupt_long_reads(60)
            raise Interrupted

    with pytest.raises(DatabaseUnavailable, match="tracking ended a read") as raised:
        read()
    assert "change" not in raised.value.message

    assert interrupted == ["long"]


def test_a_read_that_has_ended_is_not_interrupted(running: RunningTransactions, interrupted: list[str]) -> None:
    with waiting(3600), running.reading("done"):
        pass
    with pytest.raises(RuntimeError), waiting(3600), running.reading("failed"):
        raise RuntimeError

    running.close()

    assert interrupted == []


def test_what_is_past_its_deadline_does_not_begin(running: RunningTransactions, interrupted: list[str]) -> None:
    with waiting(-1), pytest.raises(DeadlinePassed), running.reading("late"):
        pytest.fail("it began")
    with pytest.raises(DeadlinePassed), running.writing("late", time.monotonic() - 1):
        pytest.fail("it began")

    running.close()

    assert interrupted == []


def test_a_write_is_interrupted_at_its_deadline_and_not_when_its_caller_leaves(
    running: RunningTransactions, interrupted: list[str]
) -> None:
    gone = caller.Caller("ada", "0" * 32, is_here=lambda: False)
    with caller.using(gone), running.reading("read"), running.writing("in time", time.monotonic() + 3600):
        with running.writing("late", time.monotonic() + 0.001):
            while "late" not in interrupted:
                running.interrupt_overdue()
        running.interrupt_long_reads(-1)

    assert set(interrupted) == {"read", "late"}


def test_only_what_was_interrupted_is_told_why(running: RunningTransactions) -> None:
    def fail(error: Exception) -> None:
        with running.writing("late", time.monotonic() + 0.001) as late:
            while late.why is None:
                running.interrupt_overdue()
            raise error

    with pytest.raises(DeadlinePassed):
        fail(Interrupted())
    with pytest.raises(RuntimeError):
        fail(RuntimeError())


def test_deadlines_that_are_near_are_met(running: RunningTransactions, interrupted: list[str]) -> None:
    until = time.monotonic() + 0.05
    with running.writing("far", until + 3600), running.writing("near", until), running.writing("nearer", until - 0.02):
        running.interrupt_overdue(0.1)
        took = time.monotonic() - until

    assert set(interrupted) == {"near", "nearer"}
    assert 0 <= took < 0.1


def test_the_log_says_that_a_write_was_ended_only_if_it_was(caplog: pytest.LogCaptureFixture) -> None:
    running = RunningTransactions(lambda connection: None, was_interrupted, "a room that nothing was said of")

    def write(error: Exception | None) -> None:
        with running.writing("late", time.monotonic() + 0.001) as late:
            while late.why is None:
                running.interrupt_overdue()
            if error is not None:
                raise error

    def said() -> list[str]:
        return [record.message for record in caplog.records]

    write(None)  # its COMMIT was there first
    assert said() == []
    with pytest.raises(DeadlinePassed):
        write(Interrupted())
    assert said() == ["database.write_ended"]


def test_nothing_begins_once_the_database_is_being_closed(running: RunningTransactions) -> None:
    running.close()

    with pytest.raises(DatabaseUnavailable, match="being closed"), running.reading("late"):
        pytest.fail("it began")
    with pytest.raises(DatabaseUnavailable, match="being closed"), running.writing("late", time.monotonic() + 3600):
        pytest.fail("it began")


def test_a_read_does_not_end_while_it_is_being_interrupted() -> None:
    """Otherwise the interrupt could hit the next read on the same connection."""
    interrupting, ended, go_on = threading.Event(), threading.Event(), threading.Event()

    def interrupt(connection: str) -> None:
        interrupting.set()
        go_on.wait(10)
        seen.append(ended.is_set())

    seen: list[bool] = []
    running = RunningTransactions(interrupt, was_interrupted, "tracking")

    def read() -> None:
        with waiting(None), running.reading("connection"):
            begun.set()
            interrupting.wait(10)
            leaving.set()
        ended.set()

    begun, leaving = threading.Event(), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        pool.submit(read)
        assert begun.wait(10)
        pool.submit(running.close)
        assert leaving.wait(10)
        assert not ended.wait(0.05)
        go_on.set()

    assert seen == [False]
    assert ended.is_set()
