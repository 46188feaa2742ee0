"""A PostgreSQL that hangs: who waits for it is told so, and all goes on once it answers."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import prometheus_client
import psycopg
import pytest
import sqlalchemy as sa

from modelry_server.kernel.errors import DatabaseUnavailable
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.postgres import Postgres
from modelry_server.kernel.sql.watch import Watch
from tests.parts.eventually import at_once, eventually
from tests.parts.postgres import PostgresServer


@pytest.fixture
def db(own_postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Database]:
    db = Database(own_postgres_server.url, room="kernel", migrations=tmp_path)
    with db.write() as tx:
        tx.execute(sa.text("CREATE TABLE things (id INTEGER)"))
    yield db
    db.close()


def impatient(db: Database, patience_s: float) -> Watch:
    """The watch of a database that waits only so long."""
    assert isinstance(db.backend, Postgres)
    db.backend._watch._patience_s = patience_s
    return db.backend._watch


def is_up() -> float | None:
    return prometheus_client.REGISTRY.get_sample_value("modelry_database_up", {"service": "kernel"})


def insert(db: Database, number: int) -> None:
    with db.write() as tx:
        tx.execute(sa.text(f"INSERT INTO things VALUES ({number})"))


def ids(db: Database) -> list[int]:
    with db.read() as tx:
        return list(tx.execute(sa.text("SELECT id FROM things ORDER BY id")).scalars())


def take_long(db: Database, seconds: float) -> None:
    with db.read() as tx:
        tx.execute(sa.text(f"SELECT pg_sleep({seconds})"))


def test_who_waits_for_a_silent_database_is_told_and_goes_on_once_it_answers(
    own_postgres_server: PostgresServer, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    watch = impatient(db, 2)

    with ThreadPoolExecutor(8) as pool:
        sleeping = [pool.submit(take_long, db, 60) for _ in range(4)]
        eventually(lambda: db.backend.engine.pool.checkedout() == 4)  # type: ignore[attr-defined]
        with own_postgres_server.paused():
            writing = [pool.submit(insert, db, 1) for _ in range(4)]
            watch.look()
            told = [call.exception(20) for call in (*sleeping, *writing)]
            during = is_up()
    watch.look()
    insert(db, 2)

    assert [type(error) for error in told] == [DatabaseUnavailable] * 8
    assert (during, is_up()) == (0, 1)
    assert 2 in ids(db)
    [record] = [each for each in caplog.records if each.getMessage() == "database.unavailable"]
    assert record.__dict__["modelry_fields"] == {"service": "kernel", "cause": "no answer for 5 seconds"}


def test_a_pause_within_the_patience_costs_nobody_anything(own_postgres_server: PostgresServer, db: Database) -> None:
    watch = impatient(db, 30)
    at_once([lambda: take_long(db, 0.5) for _ in range(4)])

    with ThreadPoolExecutor(4) as pool:
        with own_postgres_server.paused():
            writing = [pool.submit(insert, db, number) for number in range(4)]
            watch.look()
            watch.look()
        told = [call.exception(20) for call in writing]

    assert told == [None] * 4
    assert ids(db) == [0, 1, 2, 3]


def test_a_long_statement_goes_on_while_the_database_answers(db: Database) -> None:
    watch = impatient(db, 0)

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(take_long, db, 3)
        while not call.done():
            watch.look()

    assert call.exception() is None
    assert is_up() == 1


def test_a_database_that_refuses_connections_is_down_and_cuts_nobody_off(
    own_postgres_server: PostgresServer, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    watch = impatient(db, 0)
    elsewhere = own_postgres_server.url.set(drivername="postgresql", database="template1")
    outside = psycopg.connect(elsewhere.render_as_string(), autocommit=True)

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(take_long, db, 1)
        eventually(lambda: db.backend.engine.pool.checkedout())  # type: ignore[attr-defined]
        outside.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS false")
        while not call.done():
            watch.look()
    down = is_up()
    outside.execute("ALTER DATABASE postgres ALLOW_CONNECTIONS true")
    outside.close()
    watch.look()

    assert call.exception() is None
    assert (down, is_up()) == (0, 1)
    [record] = [each for each in caplog.records if each.getMessage() == "database.unavailable"]
    assert "not currently accepting connections" in record.__dict__["modelry_fields"]["cause"]


def test_a_host_that_takes_connections_and_says_nothing_is_left_after_seconds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"postgresql://ann@127.0.0.1:{mute.getsockname()[1]}/x?connect_timeout=2"
        db = Database(url, room="kernel", migrations=tmp_path)
        begun = time.monotonic()

        with pytest.raises(DatabaseUnavailable), db.read():
            pass

    assert time.monotonic() - begun < 4
    db.close()


def test_options_of_connections_are_set_unless_the_url_has_them(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url = postgres_server.url.update_query_dict({"keepalives_idle": "44"})
    db = Database(url, room="kernel", migrations=tmp_path)

    with db.read() as tx:
        driver = tx.connection.driver_connection
        assert driver is not None
        with socket.socket(fileno=os.dup(driver.pgconn.socket)) as ours:
            found = [
                ours.getsockopt(*option)
                for option in (
                    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
                    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
                    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
                )
            ]
    db.close()

    assert found == [1, 44, 3, 3, 20_000]
