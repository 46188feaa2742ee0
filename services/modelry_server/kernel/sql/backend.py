"""What a kind of database has to offer. `sqlite.py` and `postgres.py` implement it, and only they know which it is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

import sqlalchemy as sa

from modelry_server.kernel.errors import ModelryError, Outcome

Transaction: TypeAlias = sa.Connection
"""An open transaction, as stores take it."""
Statement: TypeAlias = sa.Select[Any] | sa.CompoundSelect[Any] | sa.Update | sa.Delete
"""A statement with a `bindparam` for each value that it is sent with, made once, when its module is loaded."""
Conflict: TypeAlias = Callable[[Any], Any] | None
"""Adds an ON CONFLICT clause to an INSERT. It must be a function of a module: what it makes is kept."""
BackgroundJobs: TypeAlias = Mapping[str, tuple[float, Callable[[], object]]]
"""Jobs by name: the interval in seconds, and what is run."""
InterruptLong: TypeAlias = Callable[[float], Iterable[Any]]
"""Interrupts the reads that have taken longer than so many seconds. Gives the driver's connections of all reads."""

# Without it the row count of an INSERT on PostgreSQL is -1, and ON CONFLICT DO NOTHING can't be told from a new row.
ENGINE_OPTIONS = {"preserve_rowcount": True}
# The connection used last is used next: its page cache, or its prepared statements, are warm.
OVERFLOW = 16
"""How many connections may be opened beyond those of the pool."""
POOL_OPTIONS: Mapping[str, Any] = {"pool_use_lifo": True, "max_overflow": OVERFLOW}
_BACKEND = "modelry_backend"


class Rows(NamedTuple):
    """Rows for a table. All of them name the same columns, and no two have the same key."""

    table: sa.Table
    rows: Sequence[Mapping[str, Any]]
    conflict: Conflict = None


class Answer:
    """The result of a statement that was sent. On PostgreSQL it may still be on its way; asking for it waits."""

    def __init__(self, cursor: Any, wait: Callable[[], object] | None = None) -> None:
        self._cursor = cursor
        self._wait = wait

    def rows(self) -> list[Any]:
        """The rows of a query."""
        self._arrived()
        return list(self._cursor.fetchall())

    def count(self) -> int:
        """How many rows were written."""
        self._arrived()
        return int(self._cursor.rowcount)

    def _arrived(self) -> None:
        if self._wait is not None:
            self._wait()
            self._wait = None


class Backend(Protocol):
    """A database of one kind: how it is opened, read and written, and what its errors mean.

    Every backend promises:
    - a write is committed as a whole when its block ends, and rolled back when the block raises;
    - a reader never waits for a writer;
    - a connection can be interrupted from another thread, and is usable afterwards; a COMMIT that fails because of that
      has committed nothing;
    - the same statement gives the same rows: texts are compared by their bytes, missing values sort last where the
      statement says so.
    Backends differ in what a read sees: on SQLite one moment, on PostgreSQL each statement sees its own.
    """

    @property
    def engine(self) -> sa.Engine:
        """The engine. Its connections are in `backend_of`."""

    @property
    def driver_error(self) -> type[Exception]:
        """The class of all errors of the driver."""

    @property
    def file(self) -> Path | None:
        """The file of the database, where it is one."""

    def turn(self, until: float) -> AbstractContextManager[Any]:
        """Held from before a write takes a connection until its end: it queues writers where only one can write.

        Raises DeadlinePassed if the turn does not come until this reading of `time.monotonic()`.
        """

    def reading(self, tx: Transaction) -> AbstractContextManager[Any]:
        """A block in which a connection only reads."""

    def writing(self, tx: Transaction, check: Callable[[], None]) -> AbstractContextManager[Any]:
        """A block in which a connection writes: committed at its end, rolled back if it raises.

        `check` raises if the write has to end; afterwards COMMIT may be sent. It is asked directly before
        COMMIT, since `interrupt` ends only what is running then, and while waiting and after it where `interrupt` ends
        no wait.
        """

    def writing_once(self, tx: Transaction, check: Callable[[], None]) -> AbstractContextManager[Any]:
        """As `writing`, for a block that sends a single statement, such as that of `insert_if`."""

    def interrupt(self, driver_connection: Any) -> None:
        """Ends what a connection is doing, with an error that `was_interrupted` knows. Does nothing if it is gone."""

    def was_interrupted(self, error: Exception) -> bool:
        """Whether an error of the driver, or one of SQLAlchemy around it, says that a statement was interrupted."""

    def is_lost(self, error: Any, driver_connection: Any) -> bool:
        """Whether the connection that an error of the driver came from is gone."""

    def translated(self, error: Any, *, is_lost: bool, outcome: Outcome) -> ModelryError | None:
        """What the caller is told about an error of the driver; None if it is a mistake in our code.

        `is_lost` says that there is no connection any more, or that none could be opened. `outcome` is UNKNOWN once
        COMMIT may have been sent, even if the error says that nothing was committed.
        """

    def background_jobs(self, interrupt_long: InterruptLong) -> BackgroundJobs:
        """What has to be done in the background while a server is up."""

    def lock_schema(self, tx: Transaction, name: str, wait_s: float) -> None:
        """Keeps other programs from changing the schema until the transaction ends, which waits so long for locks."""

    def insert(self, table: sa.Table) -> Any:
        """SQLAlchemy's INSERT with ON CONFLICT."""

    def ask(self, tx: Transaction, statement: Statement, values: Mapping[str, Any], *, many: bool) -> Answer:
        """Sends a statement; see `statements.ask`."""

    def insert_rows(self, tx: Transaction, rows: Rows) -> Answer:
        """Sends rows, at least one; see `statements.insert_rows`."""

    def insert_if(
        self, tx: Transaction, condition: sa.Select[Any], values: Mapping[str, Any], parts: Sequence[Rows]
    ) -> Sequence[Any] | None:
        """Sends rows of several tables; see `statements.insert_if`."""


def register(engine: sa.Engine, backend: Backend) -> None:
    """Lets `backend_of` find the backend of an engine's connections."""
    engine.update_execution_options(**{_BACKEND: backend})


def backend_of(tx: Transaction) -> Backend:
    """The backend of a connection."""
    backend: Backend = tx.get_execution_options()[_BACKEND]
    return backend


def driver_of(tx: Transaction) -> Any:
    """The driver's own connection."""
    return tx.connection.driver_connection
