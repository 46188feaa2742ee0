"""Reads and writes end at their deadline, whoever holds a lock, and what is told of a write is true."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from modelry_server.kernel import caller
from modelry_server.kernel.errors import DatabaseUnavailable, DeadlinePassed
from modelry_server.kernel.jobs import Job, JobLoop
from modelry_server.kernel.sql.backend import OVERFLOW
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import insert_rows
from tests.server.kernel.sql.conftest import SLOW, ids, metadata, things


def slowly(db: Database, seconds: float | None) -> None:
    """Reads for minutes, for a caller who waits only so long."""
    deadline = None if seconds is None else time.monotonic() + seconds
    with caller.using(caller.Caller("ada", "0" * 32, deadline=deadline)), db.read() as tx:
        tx.execute(sa.text(SLOW))


def test_a_read_ends_when_nobody_waits_for_it_any_more(db: Database, another: Callable[[], Database]) -> None:
    _, interrupt = db.background_jobs()["interrupt-overdue"]
    with ThreadPoolExecutor(2) as pool:
        hasty, patient = pool.submit(slowly, db, 0.3), pool.submit(slowly, db, None)
        while not hasty.done():
            interrupt()
        assert not patient.done()
        db.close()

        with pytest.raises(DeadlinePassed):
            hasty.result()
        with pytest.raises(DatabaseUnavailable, match="being closed"):
            patient.result()
    assert ids(another()) == []


def test_a_read_for_which_nobody_waits_is_not_begun(db: Database) -> None:
    with pytest.raises(DeadlinePassed):
        slowly(db, 0)


def test_a_write_on_sqlite_waits_for_its_turn_until_its_deadline(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'one.db'}", room="kernel", migrations=tmp_path)
    with db.write() as tx:
        metadata.create_all(tx)
    soon = caller.Caller("ann", "0" * 32, deadline=time.monotonic() + 0.2)

    def write_soon(number: int, until: float | None) -> None:
        with caller.using(soon), db.write(until=until) as tx:
            insert_rows(tx, things, [{"id": number, "name": "a"}])

    with ThreadPoolExecutor(2) as pool:
        with db.write():
            late, patient = pool.submit(write_soon, 1, None), pool.submit(write_soon, 2, time.monotonic() + 3600)
            with pytest.raises(DeadlinePassed):
                late.result(10)
        patient.result(10)

    assert ids(db) == [2]
    db.close()


@contextmanager
def locked(database_url: str) -> Iterator[None]:
    """A block in which another program holds a lock that no write gets past."""
    url = sa.make_url(database_url)
    if url.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(str(url.database), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
    else:
        with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
            connection.execute("LOCK TABLE things IN SHARE MODE")
            yield
            connection.rollback()


@contextmanager
def looking_after(db: Database) -> Iterator[None]:
    """A block in which transactions that are overdue are interrupted, without a pause."""
    _, interrupt = db.background_jobs()["interrupt-overdue"]
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.001):
            interrupt()

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        yield
        stop.set()
        looking.result(10)


@contextmanager
def at_its_jobs(db: Database) -> Iterator[None]:
    """A block in which a database does its background jobs, as in a server."""
    jobs = JobLoop([Job(name, *job) for name, job in db.background_jobs().items()])
    jobs.start()
    try:
        yield
    finally:
        jobs.stop()


def insert(db: Database, number: int, wait_s: float | None = None, *, once: bool = False) -> None:
    """Writes a row for a caller who waits so long."""
    deadline = None if wait_s is None else time.monotonic() + wait_s
    with (
        caller.using(caller.Caller("ada", "0" * 32, deadline=deadline)),
        db.write_once() if once else db.write() as tx,
    ):
        insert_rows(tx, things, [{"id": number, "name": "a"}])


@pytest.mark.parametrize("once", [False, True])
def test_a_write_that_waits_for_a_lock_of_another_program_ends_at_its_deadline(
    db: Database, database_url: str, once: bool
) -> None:
    with locked(database_url), looking_after(db):
        begun = time.monotonic()
        with pytest.raises(DeadlinePassed):
            insert(db, 1, 0.3, once=once)
        took = time.monotonic() - begun

    assert 0.3 <= took < 2
    assert ids(db) == []
    insert(db, 2, 20, once=once)
    assert ids(db) == [2]


def test_who_waits_for_a_connection_waits_until_its_deadline(
    another: Callable[[], Database], database_url: str, tmp_path: Path
) -> None:
    another()
    db = Database(database_url, room="kernel", migrations=tmp_path, connections=1)
    uses: list[Callable[[], None]] = [lambda: insert(db, 1, 0.2), lambda: slowly(db, 0.2)]
    took: list[float] = []
    with ExitStack() as stack:
        for _ in range(1 + OVERFLOW):
            stack.enter_context(db.read())
        for use in uses:
            begun = time.monotonic()
            with pytest.raises(DeadlinePassed):
                use()
            took.append(time.monotonic() - begun)
    insert(db, 2, 20)

    assert 0.2 <= min(took) <= max(took) < 2
    assert ids(db) == [2]
    db.close()


def test_a_write_without_a_deadline_waits_for_a_lock_of_another_program_for_a_limited_time(
    another: Callable[[], Database], database_url: str, tmp_path: Path
) -> None:
    another()
    db = Database(database_url, room="kernel", migrations=tmp_path, longest_write_s=0.3)
    with (
        locked(database_url),
        looking_after(db),
        pytest.raises(DatabaseUnavailable, match=r"within 0\.3 s; the change was not made"),
    ):
        insert(db, 1)
    insert(db, 2)

    assert ids(db) == [2]
    db.close()


def test_a_write_that_waits_for_a_lock_of_another_program_ends_when_the_database_is_closed(
    db: Database, another: Callable[[], Database], database_url: str
) -> None:
    with ThreadPoolExecutor(1) as pool, locked(database_url):
        waiting = pool.submit(insert, db, 1)
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
        db.close()
        with pytest.raises(DatabaseUnavailable, match="being closed"):
            waiting.result(2)
    assert ids(another()) == []


@pytest.mark.parametrize("once", [False, True])
def test_a_write_that_gets_its_lock_just_after_its_deadline_is_not_made(
    db: Database, database_url: str, once: bool
) -> None:
    told = []

    def insert_until(number: int, until: float) -> None:
        insert(db, number, until - time.monotonic(), once=once)

    with at_its_jobs(db), ThreadPoolExecutor(1) as pool:
        for number in range(8):
            with locked(database_url):
                until = time.monotonic() + 0.25 + number / 100
                late = pool.submit(insert_until, number, until)
                wait([late], timeout=until + 0.02 - time.monotonic())
            told.append(type(late.exception(10)))

    assert told == [DeadlinePassed] * 8
    assert ids(db) == []


def test_a_write_that_dawdles_between_two_statements_is_not_made_after_its_deadline(db: Database) -> None:
    def dawdle() -> None:
        with db.write(until=time.monotonic() + 0.2) as tx:
            insert_rows(tx, things, [{"id": 1, "name": "a"}])
            threading.Event().wait(0.22)
            insert_rows(tx, things, [{"id": 2, "name": "b"}])

    with pytest.raises(DeadlinePassed):
        dawdle()

    assert ids(db) == []


def test_a_write_between_two_statements_is_not_made_when_the_database_is_closed(
    db: Database, another: Callable[[], Database]
) -> None:
    def close_between() -> None:
        with db.write() as tx:
            insert_rows(tx, things, [{"id": 1, "name": "a"}]).count()
            db.interrupt()

    with pytest.raises(DatabaseUnavailable, match="being closed"):
        close_between()

    assert ids(another()) == []


@pytest.mark.parametrize("once", [False, True])
def test_an_interrupted_write_is_there_exactly_if_its_caller_was_told_so(db: Database, once: bool) -> None:
    """Interrupts come at any moment, that of the COMMIT and that after it too."""
    insert(db, 0)
    begun = time.perf_counter()
    for number in range(1, 21):
        insert(db, number, once=once)
    usual_s = (time.perf_counter() - begun) / 20
    there, refused = set(range(21)), 0
    with looking_after(db):
        for number in range(21, 321):
            try:
                insert(db, number, usual_s * (number % 50) / 30, once=once)
                there.add(number)
            except DeadlinePassed:
                refused += 1

    assert set(ids(db)) == there
    assert 0 < refused < 300
