"""Background jobs: run from time to time, survive their own failures, end when asked."""

from __future__ import annotations

import threading
import time

import pytest

from modelry_server.kernel.errors import DatabaseUnavailable
from modelry_server.kernel.jobs import Job, JobLoop


def test_a_job_that_fails_is_run_again_and_keeps_no_other_from_running() -> None:
    failing, other = threading.Semaphore(0), threading.Semaphore(0)

    def fail() -> None:
        failing.release()
        raise RuntimeError("again")

    loop = JobLoop([Job("failing", 0.01, fail), Job("other", 0.01, other.release)])
    loop.start()

    assert [failing.acquire(timeout=10) for _ in range(3)] == [True] * 3
    assert [other.acquire(timeout=10) for _ in range(3)] == [True] * 3
    loop.stop()


def test_a_failing_job_is_logged_once_a_minute_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    ran = threading.Semaphore(0)

    def fail() -> None:
        ran.release()
        raise DatabaseUnavailable("tracking")

    loop = JobLoop([Job("merge", 0.01, fail)])
    loop.start()
    assert [ran.acquire(timeout=10) for _ in range(3)] == [True] * 3
    loop.stop()

    [record] = [each for each in caplog.records if each.getMessage() == "job.failed"]
    assert record.__dict__["modelry_fields"]["reason"] == "DATABASE_UNAVAILABLE"
    assert not record.exc_info


def test_stopping_waits_for_what_is_at_work_and_nothing_runs_after_it() -> None:
    begun, end, done = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        end.wait(10)
        done.append(1)

    loop = JobLoop([Job("work", 0.001, work)])
    loop.start()
    assert begun.wait(10)
    stopping = threading.Thread(target=loop.stop)
    stopping.start()
    end.set()
    stopping.join(10)

    assert not stopping.is_alive()
    assert done == [1]


def test_stopping_waits_no_longer_than_it_is_asked_to() -> None:
    begun, end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        end.wait(10)

    loop = JobLoop([Job("work", 0.001, work), Job("other", 3600, work)])
    loop.start()
    assert begun.wait(10)
    loop.stop(time.monotonic() + 0.05)
    at_work = loop.at_work()
    end.set()
    loop.stop()

    assert at_work == ["work"]
    assert loop.at_work() == []


def test_a_job_does_not_run_before_its_time() -> None:
    ran = threading.Event()

    loop = JobLoop([Job("later", 3600, ran.set)])
    loop.start()
    loop.stop()

    assert not ran.is_set()
