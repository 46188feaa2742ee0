"""PostgreSQL: statements travel in a pipeline, and only whoever asks for an answer waits for it.

A round trip costs more than a small statement, so BEGIN and inserts don't wait, and COMMIT asks for all answers at
once. Prepared statements are kept by each connection, except where a pooler hands connections around.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper
from sqlalchemy.dialects import postgresql

from modelry_server.kernel.errors import DatabaseUnavailable, ModelryError, Outcome
from modelry_server.kernel.sql.arrays import ArrayDumper
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
from modelry_server.kernel.sql.watch import CONNECT_S, LOOK_S, Watch
from modelry_server.kernel.telemetry import Log

_PREPARED_AFTER = 3  # times that a statement is sent
_POOL_WAIT_S = 10
_CANCEL_WAIT_S = 1.0
# So that a host that died without a word is noticed within 20 seconds; by itself, Linux would take hours. For a host
# that is alive and whose database hangs, see `watch.py`.
_CONNECT_OPTIONS = {
    "connect_timeout": CONNECT_S,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds, unlike the others
}
# SQLSTATE, or how it begins, by what it means to us; see PostgreSQL's "Error Codes". What is not here is a mistake of
# this program, or an installation that is broken: repeating the call would be of no use.
_CONFLICTS = {"40001", "40P01", "23505"}  # serialization failure, deadlock, unique violation
_UNPREPARED = {"26000", "42P05"}  # a prepared statement is missing, or is there already
_CANCELED = "57014"
_LOST = ("08", "57P")  # connection exceptions; the server is shutting down or starting, or ended the connection
_UNCERTAIN = (*_LOST, "40003")  # a COMMIT that ends with it may have been made
# What it ends, with reasons of its own, which are few.
_ENDED = {
    _CANCELED: "a statement",  # by `statement_timeout`, or by who administers it
    "55P03": "a statement",  # a lock is not available, or not within `lock_timeout`
    "40": "a statement",  # such as one on a standby that is in the way of what it has to replay
    "25P03": "a transaction",  # by `idle_in_transaction_session_timeout`
    "25P04": "a transaction",  # by `transaction_timeout`
    "57P": "a connection",
}
_WHY = {
    "08": "has ended a connection",
    "25006": "takes no changes now, because it is read-only",
    "53100": "has no disk space left",
    "53200": "has no memory left",
    "53300": "has no connection left",
    "53": "is out of resources",
    "55006": "can't do this while others use it",
    "57": "can't do this now",
    "58": "can't do this now, because of an error of its system",
    "72": "can't read any more what it was when the read began",
}
_FATAL = ("FATAL", "PANIC")  # the severity of an error with which PostgreSQL ends a connection
_PIPELINE = "modelry_pipeline"
# PostgreSQL's own placeholders, `$1`: psycopg would search the text for its own ones at each call.
_DIALECT: Any = postgresql.psycopg.dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
_log = Log("db")


class Postgres:
    """A PostgreSQL database, reached directly or through a pooler.

    `prepared` says whether connections keep prepared statements: `always`, `never`, or `auto`, which means unless a
    pooler stands in between. What the URL says of a connection goes before `_CONNECT_OPTIONS`.
    """

    driver_error = psycopg.Error
    file: Path | None = None

    def __init__(self, url: sa.URL, *, room: str, connections: int, prepared: str) -> None:
        self._room = room
        self._prepared = prepared
        options = {name: value for name, value in _CONNECT_OPTIONS.items() if name not in url.query}
        self.engine = sa.create_engine(
            url,
            # `writing` begins and ends transactions. SQLAlchemy's BEGIN and COMMIT would be two round trips more.
            isolation_level="AUTOCOMMIT",
            pool_size=connections,
            **POOL_OPTIONS,
            pool_timeout=_POOL_WAIT_S,
            connect_args={**options, "prepare_threshold": None if prepared == "never" else _PREPARED_AFTER},
            execution_options=ENGINE_OPTIONS,
        )
        register(self.engine, self)

        def connect() -> Any:
            given, named = self.engine.dialect.create_connect_args(url)
            return self.engine.dialect.connect(*given, **{**named, **options, "connect_timeout": CONNECT_S})

        self._watch = Watch(room, connect)
        # First of all: SQLAlchemy's own preparation of a connection waits for answers, too.
        sa.event.listen(self.engine, "connect", self._watch.know, insert=True)
        sa.event.listen(self.engine, "connect", self._prepare)
        sa.event.listen(self.engine, "do_execute", _at_once("execute"))
        sa.event.listen(self.engine, "do_executemany", _at_once("executemany"))

    def _prepare(self, connection: Any, record: Any) -> None:
        # All whole numbers have one type. By default the type depends on the size, and so there would be a prepared
        # statement for each mix of sizes.
        connection.adapters.register_dumper(int, Int8Dumper)
        connection.adapters.register_dumper(int, Int8BinaryDumper)
        connection.adapters.register_dumper(list, ArrayDumper)
        connection.add_notice_handler(self._hear)
        if not _is_pooled(connection):  # a pooler would hand the setting on to other clients
            # Compiling a query takes 10 ms; our searches stop after 3, which the planner's estimate doesn't know.
            connection.execute("SET jit = off")
        elif self._prepared == "auto":
            connection.prepare_threshold = None

    def turn(self, until: float) -> AbstractContextManager[Any]:
        """Nothing to wait for: writers don't queue."""
        return nullcontext()

    def reading(self, tx: Transaction) -> AbstractContextManager[Any]:
        """No transaction, but a pipeline: each statement sees what is committed when it begins."""
        return _pipeline(tx)

    @contextmanager
    def writing(self, tx: Transaction, check: Callable[[], None]) -> Iterator[None]:
        """A transaction in a pipeline: COMMIT asks for the answers of all statements, so `check` is asked before it."""
        driver = driver_of(tx)
        try:
            with _pipeline(tx):
                driver.execute("BEGIN")
                yield
                check()
                ended = driver.execute("COMMIT")
            if ended.statusmessage != "COMMIT":  # ROLLBACK, without an error, if an error of a statement was ignored
                raise ConcurrentChange
        except BaseException:
            try:
                if not driver.closed:
                    driver.rollback()
            except psycopg.Error:  # PostgreSQL has ended the connection; the first error says why
                driver.close()
            raise

    def writing_once(self, tx: Transaction, check: Callable[[], None]) -> AbstractContextManager[Any]:
        """No transaction: PostgreSQL commits a single statement by itself, which saves a round trip.

        So its COMMIT is begun when the statement is sent.
        """
        check()
        return nullcontext()

    def interrupt(self, driver_connection: Any) -> None:
        """Cancels the statement that is running, over a connection of its own, unless nobody would take that."""
        if self._watch.is_silent:
            return
        with suppress(psycopg.Error):  # a connection that is gone must not keep others from being interrupted
            driver_connection.cancel_safe(timeout=_CANCEL_WAIT_S)

    def was_interrupted(self, error: Exception) -> bool:
        """By SQLSTATE."""
        return getattr(getattr(error, "orig", error), "sqlstate", None) == _CANCELED

    def is_lost(self, error: Any, driver_connection: Any) -> bool:
        """By SQLSTATE, and by the severity of the error: the first errors of a connection may come before its end."""
        state = getattr(error, "sqlstate", None) or ""
        if not state:
            return bool(driver_connection.closed)
        return state.startswith(_LOST) or error.diag.severity_nonlocalized in _FATAL

    def translated(self, error: Any, *, is_lost: bool, outcome: Outcome) -> ModelryError | None:
        """By SQLSTATE. One that is not known here is a mistake of this program, such as too many parameters."""
        state = getattr(error, "sqlstate", None) or ""
        is_aborted = isinstance(error, psycopg.errors.PipelineAborted)  # a statement before it has failed
        if outcome is Outcome.UNKNOWN and (is_aborted or (state and not state.startswith(_UNCERTAIN))):
            outcome = Outcome.NOT_MADE
        if (
            state in _CONFLICTS and outcome is not Outcome.READ
        ):  # a unique violation too: the code looked before it wrote, and found the key free
            return ConcurrentChange()
        if state in _UNPREPARED:  # a pooler gave the connection to another client
            _log.error("database.pooled", room=self._room, remedy=f"set {self._room}.postgres_prepared = never")
            return DatabaseUnavailable(self._room, "is behind a pooler that changes connections", outcome)
        why = _why(state, error)
        if why is None and not is_lost and not is_aborted:
            return None
        # Without a SQLSTATE: in a pipeline, the end of a connection is seen before PostgreSQL's word on it.
        return DatabaseUnavailable(self._room, why or "can't be reached, or has ended a connection", outcome)

    def _hear(self, notice: Any) -> None:
        """Logs why PostgreSQL ends a connection on which it has nothing to do, which no call is told."""
        if notice.severity_nonlocalized in _FATAL:
            cause = notice.message_primary
            _log.seldom("database.ended_connection", per=f"{self._room}: {cause}", service=self._room, cause=cause)

    def background_jobs(self, interrupt_long: InterruptLong) -> BackgroundJobs:
        """Watches whether PostgreSQL answers. All else PostgreSQL does by itself."""
        return {"watch": (LOOK_S, self._watch.look)}

    def lock_schema(self, tx: Transaction, name: str, wait_s: float) -> None:
        """Takes an advisory lock that ends with the transaction."""
        tx.execute(sa.text("SELECT set_config('lock_timeout', :wait, true)"), {"wait": f"{round(wait_s * 1000)}ms"})
        tx.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": name})

    def insert(self, table: sa.Table) -> postgresql.Insert:
        """PostgreSQL's INSERT."""
        return postgresql.insert(table)

    def ask(self, tx: Transaction, statement: Statement, values: Mapping[str, Any], *, many: bool) -> Answer:
        """Sends a statement without waiting for its answer. A list is given as an array."""
        text, constants, order = _statement_text(statement)
        return _send(tx, text, order({**constants, **values}))

    def insert_rows(self, tx: Transaction, rows: Rows) -> Answer:
        """Sends one INSERT. Several rows travel as an array for each column, in a tenth of the time of single rows."""
        names = tuple(rows.rows[0])
        arrays = len(rows.rows) > 1
        text, constants, order = _insert_text(rows.table, names, rows.conflict, arrays)
        values = {name: [row[name] for row in rows.rows] for name in names} if arrays else rows.rows[0]
        return _send(tx, text, order({**values, **constants}))

    def insert_if(
        self, tx: Transaction, condition: sa.Select[Any], values: Mapping[str, Any], parts: Sequence[Rows]
    ) -> Sequence[Any] | None:
        """Sends one statement for all tables."""
        arrays = any(len(part.rows) > 1 for part in parts)
        shape = tuple((table, tuple(rows[0]), conflict) for table, rows, conflict in parts)
        text, constants, order = _insert_if_text(condition, shape, arrays)
        bound = {**constants, **values}
        for table, rows, _ in parts:
            for name in rows[0]:
                bound[f"{table.name}_{name}"] = [row[name] for row in rows] if arrays else rows[0][name]
        found = _send(tx, text, order(bound)).rows()
        return found[0] if found else None


def _why(state: str, error: Any) -> str | None:
    """What PostgreSQL can't do now; None if an error is not about that."""
    ended = next((what for code, what in _ENDED.items() if state.startswith(code)), None)
    if ended is not None:
        return f"ended {ended}: {error.diag.message_primary or state}"
    return next((why for code, why in _WHY.items() if state.startswith(code)), None)


def _is_pooled(connection: Any) -> bool:
    """Whether a pooler stands between this program and PostgreSQL.

    A pooler makes up the process number that it tells a client at the start. Behind it, the connections to PostgreSQL
    change, and a prepared statement of one is missing, or something else, in another.
    """
    [(process,)] = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchall()
    return bool(process != connection.info.backend_pid)


@contextmanager
def _pipeline(tx: Transaction) -> Iterator[None]:
    """Lets the statements of a connection travel without waiting; ends when all of them are answered."""
    try:
        with driver_of(tx).pipeline() as pipeline:
            tx.execution_options(**{_PIPELINE: pipeline})
            yield
    except psycopg.OperationalError as error:
        cause = error.__context__
        if error.sqlstate is None and isinstance(cause, psycopg.Error):
            raise cause from None  # leaving the pipeline failed too, which says nothing of why
        raise


def _at_once(method: str) -> Callable[..., bool]:
    """Makes SQLAlchemy's own statements wait for their answer in a pipeline: SQLAlchemy reads it right away."""

    def execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        pipeline = _pipeline_of(context.root_connection)
        if pipeline is None:
            return False
        getattr(cursor, method)(statement, parameters)
        pipeline.sync()
        return True

    return execute


def _pipeline_of(tx: Transaction) -> Any:
    return tx.get_execution_options().get(_PIPELINE)


def _send(tx: Transaction, text: str, values: Sequence[Any]) -> Answer:
    cursor = psycopg.RawCursor(driver_of(tx))
    cursor.execute(text, values, binary=True)
    pipeline = _pipeline_of(tx)
    return Answer(cursor, None if pipeline is None else pipeline.sync)


@lru_cache(KEPT)
def _statement_text(statement: Statement) -> Compiled:
    return compiled(_DIALECT, statement)


@lru_cache(KEPT)
def _insert_text(table: sa.Table, names: tuple[str, ...], conflict: Conflict, arrays: bool) -> Compiled:
    if arrays:
        statement = postgresql.insert(table).from_select(list(names), sa.select(*_items(table, names)))
    else:
        statement = postgresql.insert(table).values({name: sa.bindparam(name) for name in names})
    return compiled(_DIALECT, conflict(statement) if conflict else statement, names)


@lru_cache(KEPT)
def _insert_if_text(
    condition: sa.Select[Any], shape: tuple[tuple[sa.Table, tuple[str, ...], Conflict], ...], arrays: bool
) -> Compiled:
    """The condition as a common table expression, and beside it an INSERT for each table, which reads from it.

    PostgreSQL executes each data-modifying expression to its end, whether or not the query reads from it.
    """
    found = condition.cte("found")
    query = sa.select(found)
    for at, (table, names, conflict) in enumerate(shape):
        if arrays:
            given = _items(table, names, f"{table.name}_")
        else:
            given = [sa.bindparam(f"{table.name}_{name}", type_=table.c[name].type) for name in names]
        added = [column for name, column in found.c.items() if name in table.c]
        chosen = sa.select(*given, *added).select_from(found)
        statement: Any = postgresql.insert(table).from_select([*names, *(column.name for column in added)], chosen)
        query = query.add_cte((conflict(statement) if conflict else statement).cte(f"part_{at}"))
    return compiled(_DIALECT, query, [f"{table.name}_{name}" for table, names, _ in shape for name in names])


def _items(table: sa.Table, names: Sequence[str], prefix: str = "") -> Sequence[sa.ColumnElement[Any]]:
    """The columns of rows that are given as an array for each column."""
    arrays = [sa.bindparam(prefix + name, type_=postgresql.ARRAY(table.c[name].type)) for name in names]
    source = sa.func.unnest(*arrays).table_valued(*(sa.column(name, table.c[name].type) for name in names))
    return tuple(source.render_derived().c)
