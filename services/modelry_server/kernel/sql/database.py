"""The database of a service: its transactions, its schema, its background jobs.

The same code of the services serves SQLite and PostgreSQL. Where the two differ, `backend.py` says what is needed and
`sqlite.py` and `postgres.py` do it.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from modelry_server.kernel import caller
from modelry_server.kernel.config import ConfigurationInvalid
from modelry_server.kernel.errors import DatabaseUnavailable, DeadlinePassed, Outcome
from modelry_server.kernel.sql.backend import OVERFLOW, Backend, BackgroundJobs, Transaction, driver_of
from modelry_server.kernel.sql.errors import (
    ConcurrentChange,
    DatabaseUnusable,
    SchemaMissing,
    SchemaUnknown,
    how_to_upgrade,
)
from modelry_server.kernel.sql.running import RunningTransactions
from modelry_server.kernel.sql.schema import Schema
from modelry_server.kernel.sql.secrets import drop_key, has_key, shared_key

__all__ = [
    "ConcurrentChange",
    "Database",
    "DatabaseUnusable",
    "SchemaMissing",
    "SchemaUnknown",
    "file_of",
    "how_to_upgrade",
    "read_url",
]

_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
LONGEST_WRITE_S = 60.0
"""How long a write may take for which no deadline counts."""
_OVERDUE_S = 0.1  # how often transactions past their deadline are looked for
_FILES_OF_ONE = 3  # of a connection to SQLite: the database, its log, and at times a file for sorting or the index
_PLACE_S = 10.0  # how long a transaction waits for a connection at most
_CLOSE_S = 1.0  # how long closing waits for interrupted transactions to end

_Item = TypeVar("_Item")


class Database:
    """The database of one service, named `room`.

    `url` is a SQLAlchemy URL: `sqlite:///<path>` or `postgresql://user@host/name`. Services may share a PostgreSQL
    database: names of the kernel's tables begin with that of the service. `tables` are those that its schema must have;
    without them only the version counts. `connections` bounds the pool: a transaction waits for one until its deadline,
    and for 10 s at most. `synchronous` is SQLite's: `full` or `normal`; `prepared` is PostgreSQL's: `always`, `never`
    or `auto`. A write takes at most `longest_write_s`, also one for which no deadline counts: another program may hold
    a lock for ever.
    """

    def __init__(
        self,
        url: str | sa.URL,
        *,
        room: str,
        migrations: Path,
        tables: sa.MetaData | None = None,
        connections: int = 32,
        synchronous: str = "full",
        prepared: str = "auto",
        longest_write_s: float = LONGEST_WRITE_S,
    ) -> None:
        self.room = room
        self.url = read_url(room, url)
        self.migrations = migrations
        self.tables = tables
        self.backend = _backend(self.url, room, connections=connections, synchronous=synchronous, prepared=prepared)
        self._connections = connections + OVERFLOW
        self._places = threading.Semaphore(self._connections)  # the pool's own wait knows no deadline of a caller
        self.longest_write_s = longest_write_s
        self._running = RunningTransactions(self.backend.interrupt, self.backend.was_interrupted, room)
        self._told: list[Callable[[], object]] = []
        self._schema = Schema(self)
        self.version_table = self._schema.version_table

    @property
    def files(self) -> int:
        """How many files its connections have open at most; a connection to a server counts as one."""
        return self._connections * (1 if self.backend.file is None else _FILES_OF_ONE)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A transaction that only reads. On SQLite it sees one moment; on PostgreSQL each statement sees its own.

        It is interrupted when the caller's deadline passes, when the caller leaves, or when the database is closed.
        Raises DeadlinePassed, DatabaseUnavailable.
        """
        deadline = caller.current().deadline
        connection = self._connection(deadline, _Progress(Outcome.READ))
        with connection as tx, self._running.reading(driver_of(tx)), self.backend.reading(tx):
            yield tx

    def each(self, read: Callable[[Transaction], Iterable[_Item]]) -> Iterator[_Item]:
        """What `read` gives, in one transaction like that of `read`, which ends with it."""
        with self.read() as tx:
            yield from read(tx)

    def write(self, *, until: float | None = None) -> AbstractContextManager[Transaction]:
        """A transaction that is committed when the block ends, and rolled back when it raises.

        It is rolled back if its COMMIT has not begun at `until`, a reading of `time.monotonic()`, by default the
        deadline of the caller, or when the database is closed; a statement that is running then is interrupted. Raises
        DeadlinePassed; DatabaseUnavailable then, and after the longest time that a write may take. Both mean that
        nothing was committed, unless the outcome of DatabaseUnavailable is UNKNOWN, as of a connection to PostgreSQL
        that is lost while it commits.
        """
        return self._writing(until, self.backend.writing)

    def write_once(self, *, until: float | None = None) -> AbstractContextManager[Transaction]:
        """As `write`, for a block that sends a single statement, such as `insert_if`: PostgreSQL answers sooner."""
        return self._writing(until, self.backend.writing_once)

    def tell(self, of_write: Callable[[], object]) -> None:
        """Calls a function, which must not fail, after each write of this process that was committed."""
        self._told.append(of_write)

    def migrating(self) -> AbstractContextManager[Transaction]:
        """As `write`, for migrations: one waits for locks of others as long as a write may take, and works for ever."""
        return self._writing(None, self.backend.writing, is_migration=True)

    @contextmanager
    def _writing(
        self,
        until: float | None,
        transaction: Callable[[Transaction, Callable[[], None]], AbstractContextManager[Any]],
        *,
        is_migration: bool = False,
    ) -> Iterator[Transaction]:
        wanted = caller.current().deadline if until is None else until
        last = time.monotonic() + self.longest_write_s
        is_own = wanted is not None and wanted <= last
        last = wanted if wanted is not None and is_own else last
        progress = _Progress(Outcome.NOT_MADE)
        try:
            with (
                self.backend.turn(last),
                self._connection(last, progress) as tx,
                self._running.writing(driver_of(tx), last) as running,
                transaction(tx, partial(progress.commits, running.check)),
            ):
                if is_migration:
                    running.until = None
                yield tx
        except DeadlinePassed as passed:
            if is_own:
                raise
            why = f"has not made a change within {self.longest_write_s:g} s"
            raise DatabaseUnavailable(self.room, why, Outcome.NOT_MADE) from passed
        for tell in self._told:
            tell()

    def check(self) -> None:
        """Raises SchemaUnknown or DatabaseUnusable unless the schema is the one that this program needs."""
        self._schema.check()

    def versions(self) -> tuple[str | None, str]:
        """The versions of the schema that is there, None before the first upgrade, and that this program needs."""
        return self._schema.versions()

    def upgrade(self) -> tuple[str | None, str]:
        """Upgrades the schema. Returns the versions before and after."""
        return self._schema.upgrade()

    def background_jobs(self) -> BackgroundJobs:
        """What has to be done in the background while a server is up."""
        running = self._running
        jobs = self.backend.background_jobs(running.interrupt_long_reads)
        return {"interrupt-overdue": (_OVERDUE_S, partial(running.interrupt_overdue, _OVERDUE_S)), **jobs}

    def secret(self, name: str) -> bytes:
        """A random key of 32 bytes that all processes on this database share; made at the first call."""
        with self.write() as tx:
            return shared_key(tx, self.room, name)

    def has_mark(self, name: str) -> bool:
        """Whether a mark was set on this database."""
        with self.read() as tx:
            return has_key(tx, self.room, name)

    def set_mark(self, name: str, *, on: bool) -> None:
        """Sets a mark, or removes it."""
        with self.write() as tx:
            if on:
                shared_key(tx, self.room, name)
            else:
                drop_key(tx, self.room, name)

    def interrupt(self) -> None:
        """Ends all transactions, and lets no new ones begin: they raise DatabaseUnavailable."""
        self._running.close()

    def close(self) -> None:
        """Interrupts all transactions and closes all connections."""
        self.interrupt()
        pool: Any = self.backend.engine.pool
        until = time.monotonic() + _CLOSE_S
        while pool.checkedout() and time.monotonic() < until:
            time.sleep(0.01)
            self.interrupt()  # again: an interrupt between two statements ends neither
        self.backend.engine.dispose()

    def _wait_for_place(self, until: float | None, progress: "_Progress") -> None:
        """Waits until a connection of the pool is free. Raises DeadlinePassed, DatabaseUnavailable."""
        left = _PLACE_S if until is None else max(0.0, until - time.monotonic())
        if not self._places.acquire(timeout=min(left, _PLACE_S)):
            raise DeadlinePassed if left < _PLACE_S else self._has_no_connection(progress)

    def _has_no_connection(self, progress: "_Progress") -> DatabaseUnavailable:
        """The error of who waited in vain for one of the pool."""
        return DatabaseUnavailable(
            self.room, f"is busy: all {self._connections} connections are in use", progress.outcome
        )

    @contextmanager
    def _connection(self, until: float | None, progress: "_Progress") -> Iterator[Transaction]:
        """A connection of the pool, for which it waits until this reading of `time.monotonic()` at most.

        Errors of the driver become errors that a caller understands.
        """
        backend = self.backend
        is_lost = True  # until there is a connection
        if not self._places.acquire(blocking=False):
            self._wait_for_place(until, progress)
        try:
            with backend.engine.connect() as connection:
                is_lost = False
                try:
                    yield connection
                except (sa.exc.DBAPIError, backend.driver_error) as error:
                    is_lost = connection.invalidated
                    if not is_lost and backend.is_lost(_of_driver(error), driver_of(connection)):
                        is_lost = True
                        connection.invalidate()
                        backend.engine.dispose()  # what cut off this connection cut off those in the pool, too
                    raise
        except sa.exc.TimeoutError as error:
            raise self._has_no_connection(progress) from error
        except (sa.exc.DBAPIError, backend.driver_error) as error:
            told = backend.translated(_of_driver(error), is_lost=is_lost, outcome=progress.outcome)
            if told is None:
                raise
            raise told from error
        finally:
            self._places.release()


class _Progress:
    """How far a transaction has come: what is known of its outcome if it fails now."""

    __slots__ = ("outcome",)

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    def commits(self, check: Callable[[], None]) -> None:
        """Notes that COMMIT may be sent from now on, unless `check` raises."""
        check()
        self.outcome = Outcome.UNKNOWN


def _of_driver(error: Any) -> Any:
    """An error of the driver, which SQLAlchemy may have wrapped."""
    return getattr(error, "orig", None) or error


def read_url(room: str, url: str | sa.URL) -> sa.URL:
    """The URL of a database that is supported. Raises ConfigurationInvalid, which shows no password."""
    try:
        found = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        found = sa.URL.create("unknown")
    if found.drivername not in _DRIVERS:
        kind = str(url).partition(":")[0][:30]
        right = "use sqlite:///<path> or postgresql://<user>@<host>/<name>"
        raise ConfigurationInvalid(
            [f"{room}.database_url = '{kind}:…': is not the URL of a supported database; {right}"]
        )
    return found.set(drivername=_DRIVERS[found.drivername])


def file_of(url: sa.URL) -> Path | None:
    """The file of a database; None if it is on a server or in memory."""
    path = url.database or ":memory:"
    return None if url.get_backend_name() != "sqlite" or path.startswith((":memory:", "file:")) else Path(path)


def _backend(url: sa.URL, room: str, *, connections: int, synchronous: str, prepared: str) -> Backend:
    """Only here is a kind of database chosen. Each is imported where it is used: the other's driver isn't needed."""
    if url.get_backend_name() == "postgresql":
        from modelry_server.kernel.sql.postgres import Postgres

        return Postgres(url, room=room, connections=connections, prepared=prepared)
    from modelry_server.kernel.sql.sqlite import Sqlite

    return Sqlite(url, room=room, connections=connections, synchronous=synchronous)
