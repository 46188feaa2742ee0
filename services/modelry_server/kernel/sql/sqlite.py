"""SQLite: one writer at a time, readers that wait for nobody, and a log that is emptied in the background."""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import orjson
import prometheus_client
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from modelry_server.kernel.errors import DatabaseUnavailable, DeadlinePassed, ModelryError, Outcome
from modelry_server.kernel.sql.backend import (
    ENGINE_OPTIONS,
    POOL_OPTIONS,
    Answer,
    BackgroundJobs,
    Conflict,
    InterruptLong,
    Rows,
    Statement,
    Transaction,
    driver_of,
    register,
)
from modelry_server.kernel.sql.compiled import KEPT, Compiled, compiled
from modelry_server.kernel.sql.errors import ConcurrentChange
from modelry_server.kernel.telemetry import Log

# Pages of 4 KiB in the write-ahead log: above the first number a checkpoint also empties the log, above the second the
# next commit has to do the checkpoint itself.
_LOG_PAGES, _MOST_LOG_PAGES = 1_000, 16_000
# The log can be emptied only while nobody reads from it. Long reads that overlap would let it grow for ever: above this
# number of pages (256 MiB) they are ended, and new reads wait for this long at most. A read of another program can't be
# ended: if nothing of this service reads for a moment, and the log still can't be emptied, it is such a read.
_FULL_LOG_PAGES = 64_000
_LONG_READ_S, _GAP_S, _NO_OWN_READ_S = 1.0, 3.0, 0.1
_CHECKPOINT_S = 0.5
# How long SQLite itself waits for another program's lock. Nothing interrupts that, so it is short, and a write tries
# again until its time is over. Only opening a connection waits longer: somebody else may be setting up the database.
_LOCK_WAIT_MS, _OPEN_WAIT_S = 200, 30
# Somebody else holds a lock, or the system gives no file, disk space or memory.
_UNAVAILABLE = (
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_PROTOCOL",
    "SQLITE_READONLY",
    "SQLITE_CANTOPEN",
    "SQLITE_IOERR",
    "SQLITE_FULL",
    "SQLITE_NOMEM",
)
_WHY = {
    "SQLITE_READONLY": "takes no changes now, because its file is read-only",
    "SQLITE_FULL": "has no disk space left",
    "SQLITE_CANTOPEN": "can't be opened",
    "SQLITE_IOERR": "can't be read or written",
    "SQLITE_NOMEM": "has no memory left",
}
_INTERRUPTED = "SQLITE_INTERRUPT"
_TAKEN = {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}
_DIALECT = sqlite.dialect()
_log = Log("db")

log_bytes = prometheus_client.Gauge(
    "modelry_database_log_bytes", "The size of the write-ahead log of the SQLite of the service.", ["service"]
)


class _Block:  # a class, since each call enters one: a generator takes twice as long
    """A transaction: committed at the end of the block, rolled back if the block raises."""

    __slots__ = ("_begin", "_driver")

    def __init__(self, tx: Transaction, begin: str) -> None:
        self._driver: sqlite3.Connection = driver_of(tx)
        self._begin = begin

    def __enter__(self) -> None:
        self._driver.execute(self._begin)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            self._driver.rollback()  # does nothing after a commit

    def _commit(self) -> None:
        self._driver.execute("COMMIT")


class _WriteBlock(_Block):
    """A transaction that takes the database's write lock at its begin, and so never has to upgrade a read.

    `check` is asked once the lock is there, and directly before COMMIT: an interrupt between two statements ends none.
    """

    __slots__ = ("_check",)

    def __init__(self, tx: Transaction, check: Callable[[], None]) -> None:
        super().__init__(tx, "BEGIN IMMEDIATE")
        self._check = check

    def __enter__(self) -> None:
        while not self._begins():
            self._check()
        try:
            self._check()
        except ModelryError:
            self._driver.rollback()
            raise

    def _begins(self) -> bool:
        try:
            self._driver.execute(self._begin)
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                raise
            return False
        return True

    def _commit(self) -> None:
        self._check()
        super()._commit()


class Sqlite:
    """A file, or a database in memory. `synchronous` is SQLite's setting: `full` or `normal`."""

    driver_error = sqlite3.Error

    def __init__(self, url: sa.URL, *, room: str, connections: int, synchronous: str) -> None:
        self._room = room
        self._path = str(url.database)
        self.file = Path(self._path) if url.database and not self._path.startswith((":memory:", "file:")) else None
        self._write_lock = threading.Lock()
        self._may_read = threading.Event()
        self._may_read.set()
        self._full_pages = _FULL_LOG_PAGES
        self._stopped_at: int | None = None
        self.engine = sa.create_engine(
            url,
            # `_Block` begins and ends transactions: SQLAlchemy's own take three times as long as those of SQLite.
            isolation_level="AUTOCOMMIT",
            poolclass=sa.QueuePool,
            pool_size=connections,
            **POOL_OPTIONS,
            connect_args={"check_same_thread": False, "timeout": _OPEN_WAIT_S},
            execution_options=ENGINE_OPTIONS,
        )
        register(self.engine, self)
        pragmas = (
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            "foreign_keys=ON",
            "cache_size=-65536",
            "temp_store=MEMORY",
            f"wal_autocheckpoint={_MOST_LOG_PAGES}",
            f"busy_timeout={_LOCK_WAIT_MS}",
        )

        @sa.event.listens_for(self.engine, "connect")
        def prepare(connection: Any, record: Any) -> None:
            for pragma in pragmas:
                connection.execute(f"PRAGMA {pragma}")

    @contextmanager
    def turn(self, until: float) -> Iterator[None]:
        """Held by the one writer."""
        if not self._write_lock.acquire(timeout=max(0.0, until - time.monotonic())):
            raise DeadlinePassed
        try:
            yield
        finally:
            self._write_lock.release()

    def reading(self, tx: Transaction) -> AbstractContextManager[Any]:
        """A transaction, so that all statements see one moment."""
        if not self._may_read.is_set():
            self._may_read.wait(_GAP_S)
        return _Block(tx, "BEGIN")

    def writing(self, tx: Transaction, check: Callable[[], None]) -> AbstractContextManager[Any]:
        """A transaction that waits for another program's lock until `check` raises."""
        return _WriteBlock(tx, check)

    writing_once = writing

    def interrupt(self, driver_connection: Any) -> None:
        """Interrupts a statement that is running."""
        with suppress(sqlite3.Error):  # a connection that is closed must not keep others from being interrupted
            driver_connection.interrupt()

    def was_interrupted(self, error: Exception) -> bool:
        """By SQLite's own name of the error."""
        return getattr(getattr(error, "orig", error), "sqlite_errorname", "") == _INTERRUPTED

    def is_lost(self, error: Any, driver_connection: Any) -> bool:
        """Never: a file is not lost as a connection over a network is."""
        return False

    def translated(self, error: Any, *, is_lost: bool, outcome: Outcome) -> ModelryError | None:
        """By SQLite's own name of the error. One that is not known here is a mistake of this program."""
        name = getattr(error, "sqlite_errorname", "")
        if name == _INTERRUPTED:
            return DeadlinePassed()
        if name in _TAKEN:  # the code looked before it wrote, and found the key free
            return ConcurrentChange()
        # The name of an extended code begins with that of its code, such as SQLITE_BUSY_SNAPSHOT.
        if not name.startswith(_UNAVAILABLE):
            return None
        why = next((why for code, why in _WHY.items() if name.startswith(code)), "is locked by another program")
        if outcome is Outcome.UNKNOWN and not name.startswith("SQLITE_IOERR"):  # such as of a sync, after the COMMIT
            outcome = Outcome.NOT_MADE
        return DatabaseUnavailable(self._room, why, outcome)

    def background_jobs(self, interrupt_long: InterruptLong) -> BackgroundJobs:
        """Copies the write-ahead log into the database. SQLite by itself would do so within somebody's commit."""
        log_bytes.labels(self._room).set_function(self._log_bytes)
        return {"checkpoint": (_CHECKPOINT_S, partial(self._checkpoint, interrupt_long))}

    def _log_bytes(self) -> int:
        """The size of the file; SQLite does not shrink it until the log is emptied."""
        try:
            return os.stat(f"{os.path.realpath(self._path)}-wal").st_size
        except OSError:
            return 0

    def _checkpoint(self, interrupt_long: InterruptLong) -> None:
        is_tried = False
        with closing(sqlite3.connect(self._path, timeout=0)) as connection:
            [(_, pages, copied)] = connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            if copied != self._stopped_at:
                self._stopped_at = None  # the read of another program has ended: nothing is copied beyond its begin
            is_empty = pages <= _LOG_PAGES
            if not is_empty:
                # The log can be emptied only while nobody writes. Little is left to copy.
                with self._write_lock:
                    is_empty = _empty_log(connection)
                    is_tried = not is_empty and self._stopped_at is None and pages > self._full_pages
                    if is_tried:
                        is_empty = self._empty_log_in_a_gap(connection, interrupt_long)
                        self._full_pages = 2 * pages  # trying again at once is of no use
        if is_empty:
            self._full_pages, self._stopped_at = _FULL_LOG_PAGES, None
        elif is_tried or self._stopped_at is not None:
            self._say_full()

    def _empty_log_in_a_gap(self, connection: sqlite3.Connection, interrupt_long: InterruptLong) -> bool:
        """Empties the log while new reads wait. Those from before that take long are interrupted.

        Gives up soon if another program is in the way, and notes in `_stopped_at` how many pages could be copied.
        """
        begun = last_own = time.monotonic()
        self._stopped_at = None
        self._may_read.clear()
        try:
            while not _empty_log(connection):
                now = time.monotonic()
                if any(each.in_transaction for each in interrupt_long(max(_LONG_READ_S, now - begun))):
                    last_own = now
                elif now - last_own > _NO_OWN_READ_S:
                    [(_, _, self._stopped_at)] = connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
                    return False
                if now - begun > _GAP_S:
                    return False
                time.sleep(0.01)
            return True
        finally:
            self._may_read.set()

    def _say_full(self) -> None:
        """Logs that the log is large and can't be emptied, and who is in the way."""
        is_own = self._stopped_at is None
        cause = "reads of the service follow each other" if is_own else "another program reads the file"
        _log.seldom(
            "database.log_grows", per=f"{self._room}: {cause}", service=self._room, bytes=self._log_bytes(), cause=cause
        )

    def lock_schema(self, tx: Transaction, name: str, wait_s: float) -> None:
        """Nothing to do: a write locks the whole database."""

    def insert(self, table: sa.Table) -> sqlite.Insert:
        """SQLite's INSERT."""
        return sqlite.insert(table)

    def ask(self, tx: Transaction, statement: Statement, values: Mapping[str, Any], *, many: bool) -> Answer:
        """Executes a statement. A list is given as JSON, which `one_of` reads, and many rows come as JSON."""
        text, constants, order = _packed_text(statement) if many else _statement_text(statement)
        bound = order({**constants, **values})
        cursor = driver_of(tx).execute(text, [json.dumps(v) if isinstance(v, list) else v for v in bound])
        return Answer(_Packed(cursor) if many else cursor)

    def insert_rows(self, tx: Transaction, rows: Rows) -> Answer:
        """Executes one INSERT for each row: within one process that costs next to nothing."""
        text, constants, order = _insert_text(rows.table, tuple(rows.rows[0]), rows.conflict)
        complete = [{**row, **constants} for row in rows.rows] if constants else rows.rows
        return Answer(driver_of(tx).executemany(text, map(order, complete)))

    def insert_if(
        self, tx: Transaction, condition: sa.Select[Any], values: Mapping[str, Any], parts: Sequence[Rows]
    ) -> Sequence[Any] | None:
        """Executes the condition and then an INSERT for each table, in the same transaction."""
        found = self.ask(tx, condition, values, many=False).rows()
        if not found:
            return None
        answer: Sequence[Any] = found[0]
        given = dict(zip(condition.selected_columns.keys(), answer, strict=True))
        for part in parts:
            added = {name: value for name, value in given.items() if name in part.table.c}
            self.insert_rows(tx, part._replace(rows=[{**row, **added} for row in part.rows]) if added else part)
        return answer


class _Packed:
    """The cursor of a packed query."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    def fetchall(self) -> list[tuple[Any, ...]]:
        [columns] = self._cursor.fetchall()
        return list(zip(*map(orjson.loads, columns), strict=True))


def _empty_log(connection: sqlite3.Connection) -> bool:
    """Empties the log, unless somebody reads from it or writes to it."""
    [(is_busy, _, _)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return not is_busy


@lru_cache(KEPT)
def _statement_text(statement: Statement) -> Compiled:
    return compiled(_DIALECT, statement)


@lru_cache(KEPT)
def _packed_text(statement: sa.Select[Any]) -> Compiled:
    return compiled(_DIALECT, _packed(statement))


def _packed(query: sa.Select[Any]) -> sa.Select[Any]:
    """A query for all rows of another one, in its order, as one row: for each column an array in JSON.

    For each row SQLite gives Python's interpreter lock away. While other threads work, to get it back takes longer than
    the row, so a page of rows took twice as long.
    """
    inner = query.subquery()
    inexact = [each.name for each in inner.c if not isinstance(each.type, sa.String | sa.Integer | sa.JSON)]
    if inexact:
        raise TypeError(f"JSON holds texts and whole numbers exactly, and not the columns {', '.join(inexact)}")
    return sa.select(*(sa.func.json_group_array(column) for column in inner.c))


@lru_cache(KEPT)
def _insert_text(table: sa.Table, names: tuple[str, ...], conflict: Conflict) -> Compiled:
    statement = sqlite.insert(table).values({name: sa.bindparam(name) for name in names})
    return compiled(_DIALECT, conflict(statement) if conflict else statement, names)
