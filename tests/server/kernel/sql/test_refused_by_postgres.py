"""What PostgreSQL can't do now is told as that, in its own words, and never as a deadline or as a fault of ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from modelry_server.kernel import caller
from modelry_server.kernel.errors import DatabaseUnavailable, DeadlinePassed, ModelryError
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import insert_rows
from tests.parts.eventually import eventually
from tests.parts.postgres import PostgresServer
from tests.server.kernel.sql.conftest import ids, metadata, things


class Refusing:
    """A database with a table, and a connection of whoever administers it."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = sa.make_url(url), folder
        address = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        self.admin = psycopg.connect(address, autocommit=True)
        with closing(self.opened()) as db, db.write() as tx:
            metadata.create_all(tx)

    def opened(self) -> Database:
        """The database, opened once more."""
        return Database(self._url, room="kernel", migrations=self._folder)

    def set(self, name: str, value: str) -> None:
        """Sets what holds for new connections."""
        self.admin.execute(f"ALTER DATABASE {self._url.database} SET {name} = '{value}'".encode())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A block in which a lock is held that no write gets past."""
        with self.admin.transaction():
            self.admin.execute("LOCK TABLE things IN SHARE MODE")
            yield


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
