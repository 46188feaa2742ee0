"""What PostgreSQL can't do now is told as that, in its own words, and never as a deadline or as a fault of ours."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from modelry_server.kernel import caller
from modelry_server.kernel.errors import DatabaseUnavailable, DeadlinePassed, ModelryError, Outcome
from modelry_server.kernel.sql import database
from modelry_server.kernel.sql.backend import OVERFLOW
from modelry_server.kernel.sql.database import ConcurrentChange, Database
from modelry_server.kernel.sql.statements import insert_rows
from tests.parts.eventually import eventually
from tests.parts.postgres import PostgresServer
from tests.server.kernel.sql.conftest import ids, metadata, things


class Refusing:
    """A database with a table, and a connection of whoever administers it."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = sa.make_url(url), folder
        self._address = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        self.admin = psycopg.connect(self._address, autocommit=True)
        with closing(self.opened()) as db, db.write() as tx:
            metadata.create_all(tx)

    def opened(self, *, room: str = "kernel", connections: int = 32) -> Database:
        """The database, opened once more."""
        return Database(self._url, room=room, migrations=self._folder, connections=connections)

    def set(self, name: str, value: str) -> None:
        """Sets what holds for new connections."""
        self.admin.execute(f"ALTER DATABASE {self._url.database} SET {name} = '{value}'".encode())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A block in which a lock is held that no write gets past."""
        with psycopg.connect(self._address) as other:
            other.execute("LOCK TABLE things IN SHARE MODE")
            yield
            other.rollback()


@pytest.fixture
def refusing(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Refusing]:
    with postgres_server.database() as url:
        made = Refusing(url, tmp_path)
        yield made
        made.admin.close()


def read_for_long(db: Database, wait_s: float = 600) -> None:
    """Reads for a minute, for a caller who waits so long."""
    patient = caller.Caller("ada", "0" * 32, deadline=time.monotonic() + wait_s)
    with caller.using(patient), db.read() as tx:
        tx.execute(sa.text("SELECT pg_sleep(60)"))


def insert(db: Database) -> None:
    """Writes a row, without a deadline."""
    with db.write() as tx:
        insert_rows(tx, things, [{"id": 1, "name": "a"}])


def insert_once(db: Database) -> None:
    """As `insert`, with a single statement."""
    with db.write_once() as tx:
        insert_rows(tx, things, [{"id": 1, "name": "a"}])


def refusal(use: Callable[[], object]) -> ModelryError:
    """What a use of a database is refused with."""
    with pytest.raises(ModelryError) as caught:
        use()
    return caught.value


@pytest.mark.parametrize("use", [read_for_long, insert, insert_once])
def test_a_statement_timeout_of_postgres_is_no_deadline(refusing: Refusing, use: Callable[[Database], None]) -> None:
    refusing.set("statement_timeout", "100ms")
    with closing(refusing.opened()) as db, refusing.locked():
        told = refusal(lambda: use(db))

    assert type(told) is DatabaseUnavailable
    assert "ended a statement: canceling statement due to statement timeout" in told.message


def test_a_statement_that_somebody_cancels_is_no_deadline(refusing: Refusing) -> None:
    cancel = b"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    with closing(refusing.opened()) as db, ThreadPoolExecutor(1) as pool:
        told = pool.submit(refusal, lambda: read_for_long(db))
        eventually(lambda: refusing.admin.execute(cancel).fetchall() != [])

        assert "canceling statement due to user request" in told.result(10).message
        assert type(told.result()) is DatabaseUnavailable
        assert ids(db) == []


def test_a_statement_timeout_after_the_deadline_is_a_deadline(refusing: Refusing) -> None:
    refusing.set("statement_timeout", "300ms")
    with closing(refusing.opened()) as db:
        assert type(refusal(lambda: read_for_long(db, 0.1))) is DeadlinePassed


# What PostgreSQL can't do now, whole classes by their first state; see "Error Codes" in its manual.
_ROWS = (
    "08000 08001 08003 08004 08006 08007 08P01",
    "25006 25P03 25P04",
    "40000 40002 40003",
    "53000 53100 53200 53300 53400",
    "55006 55P03",
    "57000 57014 57P01 57P02 57P03 57P04 57P05",
    "58000 58030 58P01 58P02",
    "72000",
)
UNAVAILABLE = [state for row in _ROWS for state in row.split()]
CONFLICTS = ["40001", "40P01", "23505"]
MISTAKES = ["0A000", "22003", "23502", "25P02", "42501", "42703", "54001", "XX000", "XX001"]


def refuse_with(db: Database, state: str) -> None:
    """Lets PostgreSQL raise an error with this SQLSTATE in a write."""
    with db.write() as tx:
        insert_rows(tx, things, [{"id": 1, "name": "a"}])
        tx.execute(sa.text(f"DO $$ BEGIN RAISE EXCEPTION 'told' USING ERRCODE = '{state}'; END $$"))


def test_what_postgres_can_not_do_now_is_unavailable_and_is_not_made(refusing: Refusing) -> None:
    with closing(refusing.opened()) as db:
        told = {state: refusal(lambda state=state: refuse_with(db, state)) for state in UNAVAILABLE}  # type: ignore[misc]
        conflicts = {type(refusal(lambda state=state: refuse_with(db, state))) for state in CONFLICTS}  # type: ignore[misc]

        assert ids(db) == []
    assert {state for state, error in told.items() if type(error) is not DatabaseUnavailable} == set()
    assert {state for state, error in told.items() if Outcome.NOT_MADE.value not in error.message} == set()
    assert conflicts == {ConcurrentChange}


@pytest.mark.parametrize("state", MISTAKES)
def test_what_no_repetition_would_help_against_is_no_such_error(refusing: Refusing, state: str) -> None:
    with closing(refusing.opened()) as db:
        with pytest.raises(sa.exc.DBAPIError):
            refuse_with(db, state)
        assert ids(db) == []


@pytest.mark.parametrize("then", ["driver", "sqlalchemy", "commit"])
def test_a_transaction_that_postgres_ends_as_idle_is_unavailable_and_the_log_says_why(
    refusing: Refusing, caplog: pytest.LogCaptureFixture, then: str
) -> None:
    refusing.set("idle_in_transaction_session_timeout", "100ms")

    def dawdle(db: Database) -> None:
        with db.write() as tx:
            insert_rows(tx, things, [{"id": 1, "name": "a"}]).count()
            threading.Event().wait(0.4)
            if then == "driver":
                insert_rows(tx, things, [{"id": 2, "name": "a"}]).count()
            elif then == "sqlalchemy":
                tx.execute(sa.select(things))

    with closing(refusing.opened(room=f"kernel_{then}")) as db:
        told = refusal(lambda: dawdle(db))

        assert ids(db) == []
    assert type(told) is DatabaseUnavailable
    assert "has ended a connection" in told.message or "ended a transaction: terminating" in told.message
    fields = [vars(each)["modelry_fields"] for each in caplog.records if each.message == "database.ended_connection"]
    assert [each["cause"] for each in fields] == ["terminating connection due to idle-in-transaction timeout"]


@pytest.mark.parametrize("use", [insert, insert_once])
def test_a_lock_timeout_of_postgres_is_unavailable(refusing: Refusing, use: Callable[[Database], None]) -> None:
    refusing.set("lock_timeout", "100ms")
    with closing(refusing.opened()) as db, refusing.locked():
        told = refusal(lambda: use(db))

    assert "ended a statement: canceling statement due to lock timeout" in told.message
    assert Outcome.NOT_MADE.value in told.message


def insert_and_wait(db: Database) -> None:
    """As `insert`, but waits for the answer before it commits."""
    with db.write() as tx:
        insert_rows(tx, things, [{"id": 1, "name": "a"}]).count()


@pytest.mark.parametrize(
    ("use", "outcome"),
    [(insert_and_wait, Outcome.NOT_MADE), (insert, Outcome.UNKNOWN), (insert_once, Outcome.UNKNOWN)],
)
def test_a_change_may_have_been_made_only_if_its_commit_was_sent(
    refusing: Refusing, use: Callable[[Database], None], outcome: Outcome
) -> None:
    end = b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with closing(refusing.opened()) as db, ThreadPoolExecutor(1) as pool, refusing.locked():
        told = pool.submit(refusal, lambda: use(db))
        eventually(lambda: refusing.admin.execute(end).fetchall() != [])

        assert "ended a connection" in told.result(10).message
        assert outcome.value in told.result().message


def test_who_gets_no_connection_is_told_that_all_are_in_use(
    refusing: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_PLACE_S", 0.1)
    with closing(refusing.opened(connections=1)) as db, ExitStack() as stack:
        for _ in range(1 + OVERFLOW):
            stack.enter_context(db.read())
        told = refusal(lambda: insert(db))

    assert f"is busy: all {1 + OVERFLOW} connections are in use; {Outcome.NOT_MADE.value}" in told.message
