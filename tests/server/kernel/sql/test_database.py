"""Transactions: there whole or not at all, one writer at a time where the database has no more, errors that say so."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import prometheus_client
import pytest
import sqlalchemy as sa

from modelry_server.databases import migrations
from modelry_server.kernel.errors import DatabaseUnavailable, Unavailable
from modelry_server.kernel.sql import sqlite
from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.statements import insert_rows
from tests.parts.eventually import at_once, eventually
from tests.parts.postgres import PostgresServer
from tests.server.kernel.sql.conftest import SLOW, ids, metadata, things


def test_what_raises_leaves_nothing_behind(db: Database) -> None:
    with db.write() as tx:
        insert_rows(tx, things, [{"id": 1, "name": "a"}])

    def half() -> None:
        with db.write() as tx:
            insert_rows(tx, things, [{"id": 2, "name": "b"}])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()

    assert ids(db) == [1]


def test_readers_see_what_is_committed_and_do_not_wait(db: Database) -> None:
    with db.write() as tx:
        insert_rows(tx, things, [{"id": 1, "name": "a"}])
        with ThreadPoolExecutor(1) as pool:
            during = pool.submit(ids, db).result(10)

    assert (during, ids(db)) == ([], [1])


def test_writers_of_two_processes_take_turns(another: Callable[[], Database]) -> None:
    opened = [another(), another()]
    with opened[0].write() as tx:
        insert_rows(tx, things, [{"id": 0, "name": None}])

    def count(db: Database) -> None:
        for _ in range(20):
            with db.write() as tx:
                tx.execute(sa.update(things).values(id=things.c.id + 1))

    answers = at_once([lambda db=db: count(db) for db in opened for _ in range(2)])  # type: ignore[misc]

    assert answers == [None] * 4
    assert ids(opened[0]) == [80]


def test_a_key_that_was_taken_meanwhile_is_a_reason_to_try_again(db: Database) -> None:
    with db.write() as tx:
        insert_rows(tx, things, [{"id": 1, "name": "a"}])

    with pytest.raises(Unavailable, match="send the call again") as caught, db.write() as tx:
        insert_rows(tx, things, [{"id": 1, "name": "b"}])

    assert caught.value.reason == "DATABASE_UNAVAILABLE"


def test_two_that_wait_for_each_other_are_parted_and_one_is_told_to_try_again(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with postgres_server.database() as url:
        opened = [Database(url, room="kernel", migrations=tmp_path) for _ in range(2)]
        with opened[0].write() as tx:
            metadata.create_all(tx)
            insert_rows(tx, things, [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
        both = threading.Barrier(2)

        def touch(db: Database, order: tuple[int, int]) -> None:
            with db.write() as tx:
                tx.execute(sa.update(things).where(things.c.id == order[0]).values(name="x"))
                both.wait(10)
                tx.execute(sa.update(things).where(things.c.id == order[1]).values(name="x"))

        answers = at_once([lambda: touch(opened[0], (1, 2)), lambda: touch(opened[1], (2, 1))])
        for db in opened:
            db.close()

    assert [answer is None for answer in answers].count(True) == 1
    [refused] = [answer for answer in answers if answer is not None]
    assert isinstance(refused, Unavailable)


def test_a_secret_is_the_same_for_all_who_ask(another: Callable[[], Database]) -> None:
    opened = [another(), another()]

    secrets = at_once([lambda db=db: db.secret("paging") for db in opened for _ in range(3)])  # type: ignore[misc]

    assert len(set(secrets)) == 1
    assert isinstance(secrets[0], bytes)
    assert len(secrets[0]) == 32
    assert opened[0].secret("other") != secrets[0]


def test_a_sqlite_file_and_its_folder_are_closed_to_others(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'room.db'}"
    db = Database(url, room="access", migrations=migrations("access"))
    db.upgrade()
    db.close()

    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


def test_many_threads_write_at_once_without_losing_anything(db: Database) -> None:
    def write(number: int) -> None:
        with db.write() as tx:
            insert_rows(tx, things, [{"id": number, "name": str(number)}])

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(write, range(120)))

    assert eventually(lambda: ids(db)) == list(range(120))


def test_the_log_of_sqlite_goes_into_the_database_in_the_background(tmp_path: Path) -> None:
    path = tmp_path / "room.db"
    db = Database(f"sqlite:///{path}", room="kernel", migrations=tmp_path)
    log = path.with_name("room.db-wal")
    with db.write() as tx:
        metadata.create_all(tx)
        insert_rows(tx, things, [{"id": number, "name": "x" * 4000} for number in range(1500)])
    before = path.stat().st_size
    assert log.stat().st_size > 4 << 20

    interval, checkpoint = db.background_jobs()["checkpoint"]
    with db.read() as tx:  # who reads is in nobody's way
        assert tx.execute(sa.select(sa.func.count()).select_from(things)).scalar_one() == 1500
        checkpoint()
    checkpoint()

    assert log.stat().st_size == 0
    assert path.stat().st_size > before + (4 << 20)
    assert 0 < interval <= 1
    assert len(ids(db)) == 1500
    db.close()


def test_the_log_of_sqlite_does_not_grow_for_ever_under_long_reads_that_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_FULL_LOG_PAGES", 1_100)
    db = Database(f"sqlite:///{tmp_path / 'room.db'}", room="kernel", migrations=tmp_path)
    with db.write() as tx:
        metadata.create_all(tx)
    _, checkpoint = db.background_jobs()["checkpoint"]
    stop = threading.Event()

    def read_for_long() -> bool:
        with db.read() as tx:
            tx.execute(sa.select(things)).all()
            tx.execute(sa.text(SLOW))
        return True

    def read_for_short() -> int:
        count = 0
        while not stop.is_set():
            count += len(ids(db)) > 0
        return count

    with ThreadPoolExecutor(3) as pool:
        with db.write() as tx:
            insert_rows(tx, things, [{"id": 1, "name": "x"}])
        long = [pool.submit(read_for_long)]
        eventually(lambda: db._running.running)
        with db.write() as tx:
            insert_rows(tx, things, [{"id": number, "name": "x" * 4000} for number in range(2, 1500)])
        long.append(pool.submit(read_for_long))
        eventually(lambda: len(db._running.running) == 2)
        short = pool.submit(read_for_short)
        checkpoint()
        left = (tmp_path / "room.db-wal").stat().st_size
        stop.set()
        for each in long:
            with pytest.raises(DatabaseUnavailable, match="kept its log from being emptied"):
                each.result(20)

    assert left == 0
    assert short.result() > 0
    db.close()


def test_a_read_of_another_program_holds_up_nobody_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite, "_FULL_LOG_PAGES", 1_100)
    path = tmp_path / "room.db"
    log = tmp_path / "room.db-wal"
    db = Database(f"sqlite:///{path}", room="kernel", migrations=tmp_path)
    _, checkpoint = db.background_jobs()["checkpoint"]

    def write(first: int, count: int) -> None:
        with db.write() as tx:
            insert_rows(tx, things, [{"id": number, "name": "x" * 4000} for number in range(first, first + count)])

    def shown() -> float | None:
        return prometheus_client.REGISTRY.get_sample_value("modelry_database_log_bytes", {"service": "kernel"})

    def seconds_of_a_read_during_a_checkpoint() -> float:
        done = threading.Event()

        def look() -> float:
            longest = 0.0
            while not done.is_set():
                begun = time.monotonic()
                ids(db)
                longest = max(longest, time.monotonic() - begun)
            return longest

        looking = pool.submit(look)
        checkpoint()
        done.set()
        return looking.result(20)

    with ThreadPoolExecutor(3) as pool, closing(sqlite3.connect(path)) as shell:
        with db.write() as tx:
            metadata.create_all(tx)
        shell.execute("BEGIN")
        shell.execute("SELECT * FROM things").fetchall()
        write(0, 1500)
        found_out = seconds_of_a_read_during_a_checkpoint()
        [told] = [each for each in caplog.records if each.getMessage() == "database.log_grows"]
        grown = (shown(), log.stat().st_size)

        own = pool.submit(_read_for_long, db)
        [read] = eventually(lambda: list(db._running.running.values()))
        write(2000, 4000)
        eventually(lambda: time.monotonic() - read.begun > 1.1)  # so it is a long read
        later = seconds_of_a_read_during_a_checkpoint()
        assert read.why is None

        shell.rollback()
        checkpoint()
        emptied = log.stat().st_size, shown()
        with pytest.raises(DatabaseUnavailable, match="kept its log from being emptied"):
            own.result(20)
    db.close()

    assert found_out < 1.0
    assert later < 0.5
    fields = told.modelry_fields  # type: ignore[attr-defined]
    assert (fields["service"], fields["cause"]) == ("kernel", "another program reads the file")
    assert fields["bytes"] == grown[0] == grown[1] > 6_000_000
    assert emptied == (0, 0)


def _read_for_long(db: Database) -> None:
    with db.read() as tx:
        tx.execute(sa.select(things)).all()
        tx.execute(sa.text(SLOW))


def test_what_cut_off_one_connection_is_told_once(postgres_server: PostgresServer, tmp_path: Path) -> None:
    with postgres_server.database() as url:
        db = Database(url, room="kernel", migrations=tmp_path)
        with db.write() as tx:
            metadata.create_all(tx)
        several = threading.Barrier(8)

        def hold(number: int) -> None:
            with db.write() as tx:
                insert_rows(tx, things, [{"id": number, "name": ""}])
                several.wait(20)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(hold, range(8)))
        outside = sa.create_engine(url)
        with outside.connect() as connection:
            others = "pid <> pg_backend_pid() AND datname = current_database()"
            connection.execute(sa.text(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}"))
        outside.dispose()

        with pytest.raises(DatabaseUnavailable), db.write() as tx:
            insert_rows(tx, things, [{"id": 9, "name": ""}])
        several.reset()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(hold, range(10, 18)))

        assert ids(db) == [*range(8), *range(10, 18)]
        db.close()


def test_postgres_does_not_compile_what_is_over_sooner(postgres_server: PostgresServer, tmp_path: Path) -> None:
    with postgres_server.database() as url:
        db = Database(url, room="kernel", migrations=tmp_path)
        for transaction in (db.read, db.write, db.read):
            with transaction() as tx:
                assert tx.execute(sa.text("SHOW jit")).scalar_one() == "off"
        db.close()


def test_settings_of_a_pooled_connection_are_left_alone(pooled_database_url: str, tmp_path: Path) -> None:
    db = Database(pooled_database_url, room="kernel", migrations=tmp_path)
    with db.read() as tx:
        assert tx.execute(sa.text("SELECT name FROM pg_settings WHERE source = 'session'")).all() == []
    db.close()


@pytest.mark.parametrize("prepared", ["auto", "never"])
def test_behind_a_pooler_by_transaction_everything_works(
    pooled_database_url: str, tmp_path: Path, prepared: str
) -> None:
    db = Database(pooled_database_url, room="kernel", migrations=tmp_path, prepared=prepared)
    with db.write() as tx:
        metadata.create_all(tx)

    def write_and_read(number: int) -> None:
        with db.write() as tx:
            insert_rows(tx, things, [{"id": number, "name": str(number)}])
            tx.execute(sa.update(things).where(things.c.id == number).values(name="changed"))
        assert number in ids(db)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(write_and_read, range(200)))

    assert ids(db) == list(range(200))
    db.close()


def test_a_statement_that_the_driver_refuses_for_its_shape_is_a_mistake_of_ours_and_harms_no_connection(
    db: Database,
) -> None:
    with db.write() as tx:
        insert_rows(tx, things, [{"id": 1, "name": "a"}])
    most = 65_535 if db.url.get_backend_name() == "postgresql" else 250_000
    too_many = sa.select(things.c.id).where(things.c.id.in_(range(most + 1)))

    def ask() -> None:
        with db.read() as tx:
            tx.execute(too_many)

    with pytest.raises(sa.exc.DBAPIError, match=r"parameters|variables"):
        ask()
    assert ids(db) == [1]


def test_a_table_that_is_missing_is_a_mistake_of_ours(db: Database) -> None:
    def ask() -> None:
        with db.read() as tx:
            tx.execute(sa.text("SELECT 1 FROM absent"))

    with pytest.raises(sa.exc.DBAPIError, match="absent"):
        ask()


def test_a_sqlite_file_that_can_not_be_written_is_unavailable(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'modelry.db'}", room="kernel", migrations=tmp_path)

    def write() -> None:
        with db.write() as tx:
            tx.execute(sa.text("PRAGMA query_only=ON"))
            metadata.create_all(tx)

    with pytest.raises(DatabaseUnavailable):
        write()
    db.close()


def test_a_full_sqlite_file_is_unavailable_and_named_as_full(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'modelry.db'}", room="kernel", migrations=tmp_path)
    with db.write() as tx:
        metadata.create_all(tx)

    def fill() -> None:
        with db.write() as tx:
            tx.execute(sa.text("PRAGMA max_page_count=1"))
            insert_rows(tx, things, [{"id": 1, "name": "a" * 100_000}])

    with pytest.raises(DatabaseUnavailable, match="database of kernel has no disk space left") as caught:
        fill()
    db.close()

    assert "full" in str(caught.value.__cause__)


def test_a_postgres_that_only_reads_is_unavailable_until_it_writes_again(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """As after a failover, or when the provider's disk is full."""
    with postgres_server.database() as url:
        db = Database(url, room="kernel", migrations=tmp_path)
        with db.write() as tx:
            metadata.create_all(tx)
        _allow_writes(url, "off")

        def write(number: int) -> None:
            with db.write() as tx:
                insert_rows(tx, things, [{"id": number, "name": ""}])

        with pytest.raises(DatabaseUnavailable):  # its connections were ended
            write(1)
        with pytest.raises(DatabaseUnavailable, match="it is read-only") as caught:
            write(2)
        _allow_writes(url, "on")
        eventually(lambda: at_once([lambda: write(3)]) == [None])

        assert "read-only transaction" in str(caught.value.__cause__)
        assert ids(db) == [3]
        db.close()


def _allow_writes(url: str, setting: str) -> None:
    """Makes all new transactions of the database read-only, or not, and ends its connections."""
    readonly = {"on": "off", "off": "on"}[setting]
    outside = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with outside.connect() as connection:
        connection.execute(sa.text("SET default_transaction_read_only=off"))
        name = connection.execute(sa.text("SELECT current_database()")).scalar_one()
        connection.execute(sa.text(f'ALTER DATABASE "{name}" SET default_transaction_read_only={readonly}'))
        others = "pid <> pg_backend_pid() AND datname = current_database()"
        connection.execute(sa.text(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}"))
    outside.dispose()
