"""Transactions on SQLite or PostgreSQL, and the version of the schema.

The same code serves both: SQLAlchemy Core, no dialect-specific SQL in the rooms. What differs is declared here. SQLite
has one writer at a time, so `write()` queues on a lock of the process before it takes the database's, and it keeps a
write-ahead log, so that readers wait for nobody.
"""

import functools
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from assay_server.kernel.config import ConfigurationInvalid
from assay_server.kernel.errors import DatabaseUnavailable, Unavailable
from assay_server.kernel.telemetry import Log

Transaction = sa.Connection
"""An open transaction, as stores take it."""

# Without it the row count of an INSERT on PostgreSQL is -1, and nobody learns that ON CONFLICT DO NOTHING did nothing.
_OPTIONS = {"preserve_rowcount": True}
_DIALECTS: dict[str, Any] = {
    "postgresql": postgresql.psycopg.dialect(),  # type: ignore[no-untyped-call]
    "sqlite": sqlite.dialect(),
}
_PREPARED_AFTER = 3
_RETRYABLE = {"40001", "40P01"}
_UNPREPARED = {"26000", "42P05"}
_TAKEN = {"23505", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}
_upgrading = threading.Lock()  # Alembic keeps what it works on in a place of the process
_CAME_BETWEEN = "another change came in between; nothing was changed, send the call again"


_log = Log("db")


class SchemaUnknown(Exception):
    """The database has another schema than this program knows; the message holds the command to run."""


class ConcurrentChange(Unavailable):
    """Two transactions stood in each other's way, and the database gave up this one."""

    reason = "DATABASE_UNAVAILABLE"


class Database:
    """The database of one room.

    `url` is a SQLAlchemy URL: `sqlite:///<path>` or `postgresql+psycopg://user@host/name`. Rooms may share a PostgreSQL
    database: tables that the kernel adds carry the name of the room. `connections` bounds the pool; `synchronous` is
    SQLite's: `full` or `normal`; `prepared` lets PostgreSQL keep the plans of statements.
    """

    def __init__(
        self,
        url: str,
        *,
        room: str,
        migrations: Path,
        connections: int = 32,
        synchronous: str = "full",
        prepared: bool = True,
    ) -> None:
        self.room = room
        self.url = _read_url(room, url)
        self.migrations = migrations
        self.version_table = f"{room}_schema_version"
        self._synchronous = synchronous
        self._prepared = prepared
        self._writer = threading.Lock()
        self._is_sqlite = self.url.get_backend_name() == "sqlite"
        self._engine = self._sqlite(connections) if self._is_sqlite else self._postgres(connections)
        # On PostgreSQL BEGIN and ROLLBACK around statements that see a moment each are two round trips for nothing.
        self._reader = self._engine if self._is_sqlite else self._engine.execution_options(isolation_level="AUTOCOMMIT")

    def _sqlite(self, connections: int) -> sa.Engine:
        if self.url.database and self.url.database != ":memory:":
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        engine = sa.create_engine(
            self.url,
            poolclass=sa.QueuePool,
            pool_size=connections,
            max_overflow=16,
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
            ):
                connection.execute(f"PRAGMA {pragma}")

        @sa.event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            immediate = connection.get_execution_options().get("assay_write")
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("BEGIN IMMEDIATE" if immediate else "BEGIN")

        return engine

    def _postgres(self, connections: int) -> sa.Engine:
        return sa.create_engine(
            self.url,
            pool_size=connections,
            max_overflow=16,
            pool_timeout=10,
            connect_args={"prepare_threshold": _PREPARED_AFTER if self._prepared else None},
            execution_options=_OPTIONS,
        )

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A transaction that only reads. On SQLite it sees one moment; on PostgreSQL each statement sees its own."""
        with self._translated(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that commits when the block ends, and leaves nothing behind when it raises."""
        if not self._is_sqlite:
            with self._translated(), self._engine.begin() as connection:
                yield connection
            return
        with self._writer, self._translated(), self._engine.connect() as connection:
            connection.execution_options(assay_write=True)
            with connection.begin():
                yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
            if _name_of(error) in _RETRYABLE:
                raise ConcurrentChange(_CAME_BETWEEN) from error
            raise DatabaseUnavailable(self.room) from error
        except sa.exc.ProgrammingError as error:
            if _name_of(error) in _UNPREPARED:  # a pooler in between gave the connection to somebody else
                _log.error("database.pooled", room=self.room, remedy=f"set {self.room}.postgres_prepared = false")
                raise DatabaseUnavailable(self.room) from error
            raise
        except sa.exc.IntegrityError as error:
            if _name_of(error) in _TAKEN:  # whoever looked first found it free: somebody took it meanwhile
                raise ConcurrentChange(_CAME_BETWEEN) from error
            raise

    def check(self) -> None:
        """Does nothing when the schema is the one that this program knows; raises SchemaUnknown otherwise."""
        present, known = self._present_version(), self._known_version()
        if present == known:
            return
        state = "has no schema yet" if present is None else f"has the schema {present}, this program knows {known}"
        raise SchemaUnknown(
            f"the database of {self.room}, {self.url.render_as_string()}, {state}; run: assay db upgrade"
        )

    def versions(self) -> tuple[str | None, str]:
        """The version of the schema in the database (None before the first upgrade), and the one that is known."""
        return self._present_version(), self._known_version()

    def upgrade(self) -> tuple[str | None, str]:
        """Brings the schema to the version that this program knows. Returns the versions before and after."""
        from alembic import command

        with _upgrading:
            before = self._present_version()
            command.upgrade(self._alembic(), "head")
            return before, self._known_version()

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def secret(self, name: str) -> bytes:
        """A random key of 32 bytes that all processes on this database share; made at the first call."""
        table = secrets_table(sa.MetaData(), self.room)
        with self.write() as tx:
            row = {"name": name, "value": secrets.token_hex(32)}
            tx.execute(insert(tx, table).values(row).on_conflict_do_nothing())
            return bytes.fromhex(tx.execute(sa.select(table.c.value).where(table.c.name == name)).scalar_one())

    def _present_version(self) -> str | None:
        table = sa.table(self.version_table, sa.column("version_num", sa.String))
        with self.read() as tx:
            if not sa.inspect(tx).has_table(self.version_table):
                return None
            return tx.execute(sa.select(table.c.version_num)).scalar_one_or_none()

    def _known_version(self) -> str:
        from alembic.script import ScriptDirectory

        head = ScriptDirectory(str(self.migrations)).get_current_head()
        if head is None:
            raise SchemaUnknown(f"{self.migrations} holds no migrations")
        return head

    def _alembic(self) -> Any:
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(self.migrations).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["database"] = self
        return config


def _read_url(room: str, url: str) -> sa.URL:
    """The URL of a database that is supported. Raises ConfigurationInvalid without repeating a password."""
    try:
        found = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        found = sa.URL.create("nothing")
    if found.get_backend_name() not in ("sqlite", "postgresql"):
        kind = url.partition(":")[0][:30]
        right = "use sqlite:///<path> or postgresql://<user>@<host>/<name>"
        raise ConfigurationInvalid(
            [f"{room}.database_url = '{kind}:…': is no URL of a database that is supported; {right}"]
        )
    return found.set(drivername="postgresql+psycopg") if found.drivername == "postgresql" else found


def _name_of(error: sa.exc.DBAPIError | sa.exc.SQLAlchemyError) -> str:
    """What the database calls an error: PostgreSQL by a number, SQLite by a name."""
    original = getattr(error, "orig", None)
    return str(getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", ""))


def migrate() -> None:
    """What the `env.py` of each room's migrations runs: all revisions in one transaction, one program at a time."""
    from alembic import context

    database: Database = context.config.attributes["database"]
    with database.write() as tx:
        if tx.dialect.name == "postgresql":  # SQLite's BEGIN IMMEDIATE locks out others already
            tx.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": database.version_table})
        context.configure(connection=tx, version_table=database.version_table, transactional_ddl=False)
        context.run_migrations()


def insert(tx: Transaction, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that knows ON CONFLICT; both databases spell it alike."""
    return postgresql.insert(table) if tx.dialect.name == "postgresql" else sqlite.insert(table)


def insert_rows(
    tx: Transaction,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    conflict: Callable[[Any], Any] | None = None,
) -> int:
    """Writes rows that name the same columns, none of them twice, in one statement; returns how many it wrote.

    `conflict` adds an ON CONFLICT clause to an insert; it must be a function of a module, since what it made is kept.
    PostgreSQL gets each column as an array: measured, a tenth of the time of a statement for each row.
    """
    if not rows:
        return 0
    names = tuple(rows[0])
    statement, constants = _insert_text(tx.dialect.name, table, names, conflict)
    if tx.dialect.name == "postgresql":
        arrays = {name: [row[name] for row in rows] for name in names}
        return tx.exec_driver_sql(statement, arrays | constants).rowcount
    rest = tuple(constants.values())
    return tx.exec_driver_sql(statement, [(*row.values(), *rest) for row in rows]).rowcount


@functools.cache
def _insert_text(
    dialect: str, table: sa.Table, names: tuple[str, ...], conflict: Callable[[Any], Any] | None
) -> tuple[str, dict[str, Any]]:
    """The statement as the driver takes it, and what it needs besides the rows, in the order of its placeholders.

    Compiled once: SQLAlchemy's work for a row costs more than SQLite's.
    """
    statement: Any
    if dialect == "postgresql":
        arrays = [sa.bindparam(name, type_=postgresql.ARRAY(table.c[name].type)) for name in names]
        source = sa.func.unnest(*arrays).table_valued(*(sa.column(name, table.c[name].type) for name in names))
        chosen = sa.select(*source.render_derived().c)
        statement = postgresql.insert(table).from_select(list(names), chosen)
    else:
        statement = sqlite.insert(table).values({name: sa.bindparam(name) for name in names})
    if conflict:
        statement = conflict(statement)
    compiled = statement.compile(dialect=_DIALECTS[dialect])
    order = compiled.positiontup or compiled.params
    return str(compiled), {name: compiled.params[name] for name in order if name not in names}


def keep_existing(statement: Any) -> Any:
    """For `insert_rows`: a row that is there already stays as it is."""
    return statement.on_conflict_do_nothing()


def fetch(tx: Transaction, query: sa.Select[Any], values: Mapping[str, Any]) -> Sequence[sa.Row[Any]]:
    """The rows of a query that is made once and has a `bindparam` for each of `values`, texts and whole numbers only.

    Compiled once: for a small query on a hot path that halves the time.
    """
    text, order = _query_text(tx.dialect.name, query)
    bound: Any = dict(values) if tx.dialect.name == "postgresql" else tuple(values[name] for name in order)
    return tx.exec_driver_sql(text, bound).all()


@functools.cache
def _query_text(dialect: str, query: sa.Select[Any]) -> tuple[str, tuple[str, ...]]:
    compiled = query.compile(dialect=_DIALECTS[dialect])
    return str(compiled), tuple(compiled.positiontup or ())


def requests_table(metadata: sa.MetaData, room: str) -> sa.Table:
    """The table of requests that may come twice; see `idempotency`."""
    return sa.Table(
        f"{room}_requests",
        metadata,
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("rpc", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("resource_id", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False, index=True),
    )


def secrets_table(metadata: sa.MetaData, room: str) -> sa.Table:
    """The table of keys that the processes of a room share."""
    return sa.Table(
        f"{room}_secrets",
        metadata,
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
