"""Transactions on SQLite or PostgreSQL, and the version of the schema.

The same code serves both: SQLAlchemy Core, no dialect-specific SQL in the rooms. What differs is declared here. SQLite
has one writer at a time, so `write()` queues on a lock of the process before it takes the database's, and it keeps a
write-ahead log, so that readers wait for nobody.
"""

import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from modelry_server.kernel.config import ConfigurationInvalid
from modelry_server.kernel.errors import DatabaseUnavailable, DeadlinePassed, ModelryError, Unavailable
from modelry_server.kernel.sql.reads import Reads
from modelry_server.kernel.sql.statements import Transaction, answer_at_once, insert_rows, keep_existing, pipeline
from modelry_server.kernel.sql.tables import secrets_table
from modelry_server.kernel.telemetry import Log

# Without it the row count of an INSERT on PostgreSQL is -1, and nobody learns that ON CONFLICT DO NOTHING did nothing.
_OPTIONS = {"preserve_rowcount": True}
_DRIVERS = {"sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg"}
# The connection that was used last is used next: its cache of pages, or its plans of statements, are warm.
_POOL = {"pool_use_lifo": True, "max_overflow": 16}
_PREPARED_AFTER = 3
# SQLite's log, in pages of 4 KiB: it begins anew once it has the few, and beyond the most whoever commits must copy it.
_CHECKPOINT_S, _FEW_PAGES, _MOST_PAGES = 0.5, 1_000, 16_000
_RETRYABLE = {"40001", "40P01"}
_UNPREPARED = {"26000", "42P05"}
_STOPPED = {"57014", "SQLITE_INTERRUPT"}
_LOST = {"", "57P01", "57P02", "57P03"}
_LOOK_S = 1.0  # how often it is looked whether a read goes on when nobody waits for it any more
_TAKEN = {"23505", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}
_upgrading = threading.Lock()  # Alembic keeps what it works on in a place of the process
_CAME_BETWEEN = "another change came in between; nothing was changed, send the call again"


_log = Log("db")


class DatabaseUnusable(Exception):
    """The database can't be opened; the message says which one, without a password, and why."""


class SchemaUnknown(DatabaseUnusable):
    """The database has another schema than this program knows; the message says what to do."""


class ConcurrentChange(Unavailable):
    """Two transactions stood in each other's way, and the database gave up this one."""

    reason = "DATABASE_UNAVAILABLE"

    def __init__(self, message: str = _CAME_BETWEEN) -> None:
        super().__init__(message)


class Database:
    """The database of one room.

    `url` is a SQLAlchemy URL: `sqlite:///<path>` or `postgresql+psycopg://user@host/name`. Rooms may share a PostgreSQL
    database: tables that the kernel adds carry the name of the room. `connections` bounds the pool; `synchronous` is
    SQLite's: `full` or `normal`; `prepared` says whether PostgreSQL keeps the plans of statements: `always`, `never`,
    or `auto`, which is unless a pooler stands in between.
    """

    def __init__(
        self,
        url: str,
        *,
        room: str,
        migrations: Path,
        connections: int = 32,
        synchronous: str = "full",
        prepared: str = "auto",
    ) -> None:
        self.room = room
        self.url = read_url(room, url)
        self.migrations = migrations
        self.version_table = f"{room}_schema_version"
        self._synchronous = synchronous
        self._prepared = prepared
        self._writer = threading.Lock()
        self._is_sqlite = self.url.get_backend_name() == "sqlite"
        self._reads = Reads(self._interrupt)
        self._engine = self._sqlite(connections) if self._is_sqlite else self._postgres(connections)
        self._errors: Any = self._engine.dialect.dbapi

    def _sqlite(self, connections: int) -> sa.Engine:
        engine = sa.create_engine(
            self.url,
            poolclass=sa.QueuePool,
            pool_size=connections,
            **_POOL,
            connect_args={"check_same_thread": False, "timeout": 30},
            execution_options=_OPTIONS,
        )

        @sa.event.listens_for(engine, "connect")
        def prepare(connection: Any, record: Any) -> None:
            connection.isolation_level = (
                None  # transactions begin where `begin` below says, not where the driver guesses
            )
            for pragma in (
                "journal_mode=WAL",
                f"synchronous={self._synchronous}",
                "foreign_keys=ON",
                "cache_size=-65536",
                "temp_store=MEMORY",
                f"wal_autocheckpoint={_MOST_PAGES}",
            ):
                connection.execute(f"PRAGMA {pragma}")

        @sa.event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            immediate = connection.get_execution_options().get("modelry_write")
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("BEGIN IMMEDIATE" if immediate else "BEGIN")

        return engine

    def _postgres(self, connections: int) -> sa.Engine:
        engine = sa.create_engine(
            self.url,
            # Transactions begin and end in `write`: BEGIN and COMMIT of their own would be two round trips for nothing.
            isolation_level="AUTOCOMMIT",
            pool_size=connections,
            **_POOL,
            pool_timeout=10,
            connect_args={"prepare_threshold": None if self._prepared == "never" else _PREPARED_AFTER},
            execution_options=_OPTIONS,
        )
        answer_at_once(engine)

        @sa.event.listens_for(engine, "connect")
        def prepare(connection: Any, record: Any) -> None:
            from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper

            from modelry_server.kernel.sql.arrays import ArrayDumper

            # A whole number has one type however small it is: by its size a statement would have a plan for each mix.
            connection.adapters.register_dumper(int, Int8Dumper)
            connection.adapters.register_dumper(int, Int8BinaryDumper)
            connection.adapters.register_dumper(list, ArrayDumper)
            pooled = _is_pooled(connection)
            if self._prepared == "auto" and pooled:
                connection.prepare_threshold = None
            if not pooled:  # a pooler would hand the setting to others
                # Compiling takes PostgreSQL 10 ms, for walks that stop after 3; it looks at what the whole would cost.
                connection.execute("SET jit = off")

        return engine

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A transaction that only reads. On SQLite it sees one moment; on PostgreSQL each statement sees its own.

        It is stopped when the caller's time has run out, or when the database is closed. Raises DeadlinePassed.
        """
        begun = sa.Connection.begin if self._is_sqlite else pipeline
        with self._connection() as tx, self._reads.begun(tx.connection.driver_connection), begun(tx):
            yield tx

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that commits when the block ends, and leaves nothing behind when it raises."""
        if not self._is_sqlite:
            with self._connection() as connection, _piped(connection):
                yield connection
            return
        with self._writer, self._connection() as connection:
            connection.execution_options(modelry_write=True)
            with connection.begin():
                yield connection

    @contextmanager
    def write_once(self) -> Iterator[Transaction]:
        """As `write`, for a single statement that may be several on SQLite only, such as `insert_if`.

        PostgreSQL commits it by itself: one round trip in the place of two.
        """
        if self._is_sqlite:
            with self.write() as tx:
                yield tx
            return
        with self._connection() as connection:
            yield connection

    @contextmanager
    def _connection(self) -> Iterator[Transaction]:
        """A connection of the pool; what its driver raises is raised as an error of ours."""
        try:
            with self._engine.connect() as connection:
                try:
                    yield connection
                except self._errors.Error as error:
                    if self._is_lost(error):
                        connection.invalidate()
                        self._engine.dispose()  # what cut off this connection cut off those that wait in the pool, too
                    raise
        except sa.exc.TimeoutError as error:
            raise DatabaseUnavailable(self.room) from error
        except (sa.exc.DBAPIError, self._errors.Error) as error:
            told = self._told(getattr(error, "orig", error))
            if told is None:
                raise
            raise told from error

    def _interrupt(self, driver: Any) -> None:
        with suppress(self._errors.Error):  # a connection that is gone need not be stopped, nor keep others from it
            driver.interrupt() if self._is_sqlite else driver.cancel_safe(timeout=_LOOK_S)

    def _is_lost(self, error: Any) -> bool:
        """Whether an error of PostgreSQL's driver says that the connection is gone."""
        name = _name_of(error)
        return isinstance(error, self._errors.OperationalError) and (name in _LOST or name.startswith("08"))

    def _told(self, original: Any) -> ModelryError | None:
        """What a caller is told of an error of the driver; None if it is a mistake of ours."""
        name = _name_of(original)
        if name in _STOPPED:
            return DeadlinePassed()
        if name in _RETRYABLE or name in _TAKEN:  # taken: whoever looked first found it free
            return ConcurrentChange()
        if name in _UNPREPARED:  # a pooler in between gave the connection to somebody else
            _log.error("database.pooled", room=self.room, remedy=f"set {self.room}.postgres_prepared = never")
            return DatabaseUnavailable(self.room)
        if isinstance(original, (self._errors.OperationalError, self._errors.InterfaceError)):
            return DatabaseUnavailable(self.room)
        return None

    def check(self) -> None:
        """Does nothing when the schema is the one that this program knows.

        Raises SchemaUnknown if it is another one, DatabaseUnusable if the database can't be opened.
        """
        present, known = self.versions()
        if present != known:
            state = "has no schema yet" if present is None else f"has the schema {present}, this program knows {known}"
            raise SchemaUnknown(f"{self._named()} {state}; run: modelry db upgrade")

    def versions(self) -> tuple[str | None, str]:
        """The version of the schema in the database (None before the first upgrade), and the one that is known.

        Makes nothing. Raises SchemaUnknown if the schema is of a newer Modelry, DatabaseUnusable if the database
        can't be opened.
        """
        known = self._known_versions()
        with self._opened():
            present = self._present_version() if self._is_there() else None
        if present is not None and present not in known:
            raise SchemaUnknown(
                f"{self._named()} has the schema {present} of a newer Modelry; this program knows {known[0]} and can't "
                "use it: install the release that upgraded it, or a newer one"
            )
        return present, known[0]

    def upgrade(self) -> tuple[str | None, str]:
        """Brings the schema to the version that this program knows. Returns the versions before and after.

        Makes the file of SQLite and its folder. Raises what `versions` raises, and changes nothing then.
        """
        from alembic import command

        with _upgrading:
            before, known = self.versions()
            with self._opened():
                if self._file:
                    self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                command.upgrade(self._alembic(), "head")
            return before, known

    def chores(self) -> Mapping[str, tuple[float, Callable[[], object]]]:
        """What is to be done in the background while a server is up, by name, each with its interval in seconds.

        Reads for which nobody waits any more are stopped. SQLite copies its log into the database; left to itself, it
        does so every 1000 pages in somebody's commit.
        """
        stop = {"stop-reads": (_LOOK_S, self._reads.stop_overdue)}
        return stop | ({"checkpoint": (_CHECKPOINT_S, self._checkpoint)} if self._is_sqlite else {})

    def _checkpoint(self) -> None:
        with closing(sqlite3.connect(str(self.url.database), timeout=0)) as connection:
            [(_, pages, _)] = connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            if pages > _FEW_PAGES:
                # Only while nobody writes can the log begin anew. Little is left to copy; readers are not waited for.
                with self._writer:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Stops what is read, and closes all connections."""
        self._reads.stop_all()
        pool: Any = self._engine.pool
        until = time.monotonic() + _LOOK_S
        while pool.checkedout() and time.monotonic() < until:
            time.sleep(0.01)
        self._engine.dispose()

    def secret(self, name: str) -> bytes:
        """A random key of 32 bytes that all processes on this database share; made at the first call."""
        table = secrets_table(sa.MetaData(), self.room)
        with self.write() as tx:
            row = {"name": name, "value": secrets.token_hex(32)}
            insert_rows(tx, table, [row], keep_existing)
            return bytes.fromhex(tx.execute(sa.select(table.c.value).where(table.c.name == name)).scalar_one())

    @contextmanager
    def _opened(self) -> Iterator[None]:
        """Says of a database that can't be opened which one it is, and why."""
        try:
            yield
        except (DatabaseUnavailable, sa.exc.SQLAlchemyError, self._errors.Error, OSError) as error:
            cause = error.__cause__ if isinstance(error, DatabaseUnavailable) else error
            said = str(getattr(cause, "orig", None) or cause or error)
            if isinstance(error, OSError) and error.filename:
                said = f"{error.filename}: {error.strerror}"
            why = " ".join(said.split())
            raise DatabaseUnusable(f"{self._named()} can't be opened: {why}") from error

    def _named(self) -> str:
        return f"the database of {self.room}, {self.url.render_as_string()},"

    @property
    def _file(self) -> Path | None:
        """The file of SQLite, where it is one by its plain path."""
        path = self.url.database
        return Path(path) if self._is_sqlite and path and not path.startswith((":memory:", "file:")) else None

    def _is_there(self) -> bool:
        """False if it is a file that is missing; to look into it would make it."""
        try:
            return self._file is None or bool(self._file.stat())
        except FileNotFoundError:
            return False

    def _present_version(self) -> str | None:
        table = sa.table(self.version_table, sa.column("version_num", sa.String))
        with self.read() as tx:
            if not sa.inspect(tx).has_table(self.version_table):
                return None
            return tx.execute(sa.select(table.c.version_num)).scalar_one_or_none()

    def _known_versions(self) -> list[str]:
        """The versions of the schema that this program knows, the newest first."""
        from alembic.script import ScriptDirectory

        found = [each.revision for each in ScriptDirectory(str(self.migrations)).walk_revisions()]
        if not found:
            raise SchemaUnknown(f"{self.migrations} holds no migrations")
        return found

    def _alembic(self) -> Any:
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(self.migrations).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["database"] = self
        return config


def read_url(room: str, url: str) -> sa.URL:
    """The URL of a database that is supported. Raises ConfigurationInvalid without repeating a password."""
    try:
        found = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        found = sa.URL.create("nothing")
    if found.drivername not in _DRIVERS:
        kind = url.partition(":")[0][:30]
        right = "use sqlite:///<path> or postgresql://<user>@<host>/<name>"
        raise ConfigurationInvalid(
            [f"{room}.database_url = '{kind}:…': is no URL of a database that is supported; {right}"]
        )
    return found.set(drivername="postgresql+psycopg") if found.drivername == "postgresql" else found


def _name_of(error: Any) -> str:
    """What the database calls an error: PostgreSQL by a number, SQLite by a name."""
    return str(getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", ""))


def _is_pooled(connection: Any) -> bool:
    """Whether something between here and PostgreSQL hands out its connections.

    A pooler makes up the number of the process that it tells at the start. A plan that was kept under a name in one
    process is, under the same name, a plan of something else in another.
    """
    [(process,)] = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchall()
    return bool(process != connection.info.backend_pid)


@contextmanager
def _piped(tx: Transaction) -> Iterator[None]:
    """A transaction on PostgreSQL: what is written waits for no answer before COMMIT asks for all of them."""
    driver: Any = tx.connection.driver_connection
    try:
        with pipeline(tx):
            driver.execute("BEGIN")
            yield
            ended = driver.execute("COMMIT")
        if ended.statusmessage != "COMMIT":  # PostgreSQL answers ROLLBACK, and no error, where an error was passed over
            raise ConcurrentChange
    except BaseException:
        if not driver.closed:
            driver.rollback()
        raise


def migrate() -> None:
    """What the `env.py` of each room's migrations runs: all revisions in one transaction, one program at a time."""
    from alembic import context

    database: Database = context.config.attributes["database"]
    with database.write() as tx:
        if tx.dialect.name == "postgresql":  # SQLite's BEGIN IMMEDIATE locks out others already
            tx.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": database.version_table})
        context.configure(connection=tx, version_table=database.version_table, transactional_ddl=False)
        context.run_migrations()
