"""Statements of hot paths: compiled once, sent by the driver, and on PostgreSQL one after the other without waiting.

SQLAlchemy's work for a small statement costs more than the database's, and a round trip costs more than both. So what a
hot path says is compiled once, and on PostgreSQL the statements of a transaction travel in a pipeline: only who asks
for an answer waits, and then once for all that was sent before. SQLite answers at once.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

Transaction = sa.Connection
"""An open transaction, as stores take it."""

_PIPELINE = "assay_pipeline"
_DIALECTS: dict[str, Any] = {
    "postgresql": postgresql.psycopg.dialect(),  # type: ignore[no-untyped-call]
    "sqlite": sqlite.dialect(),
}


class _NoCursor:
    """What is known of a statement that was not necessary."""

    rowcount = 0

    def fetchall(self) -> list[Any]:
        return []


class Answer:
    """What a statement gave, or will give once it is asked for."""

    def __init__(self, cursor: Any, pipeline: Any = None) -> None:
        self._cursor = cursor
        self._pipeline = pipeline

    def rows(self) -> list[Any]:
        """The rows of a query."""
        self._wait()
        return list(self._cursor.fetchall())

    def count(self) -> int:
        """How many rows were written."""
        self._wait()
        return int(self._cursor.rowcount)

    def _wait(self) -> None:
        if self._pipeline is not None:
            self._pipeline.sync()
            self._pipeline = None


def ask(tx: Transaction, query: sa.Select[Any], values: Mapping[str, Any]) -> Answer:
    """Sends a query that is made once and has a `bindparam` for each of `values`: texts and whole numbers only."""
    text, order = _query_text(tx.dialect.name, query)
    if tx.dialect.name == "postgresql":
        return _send(tx, text, values)
    return Answer(_driver(tx).execute(text, [values[name] for name in order]))


def fetch(tx: Transaction, query: sa.Select[Any], values: Mapping[str, Any]) -> list[Any]:
    """The rows of a query as `ask` takes it."""
    return ask(tx, query, values).rows()


def insert_rows(
    tx: Transaction,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    conflict: Callable[[Any], Any] | None = None,
) -> Answer:
    """Writes rows that name the same columns, none of them twice, in one statement; none at all if there are no rows.

    `conflict` adds an ON CONFLICT clause to an insert; it must be a function of a module, since what it made is kept.
    PostgreSQL gets each column as an array: measured, a tenth of the time of a statement for each row.
    """
    if not rows:
        return _NOTHING
    names = tuple(rows[0])
    text, constants = _insert_text(tx.dialect.name, table, names, conflict)
    if tx.dialect.name == "postgresql":
        return _send(tx, text, {name: [row[name] for row in rows] for name in names} | constants)
    rest = tuple(constants.values())
    return Answer(_driver(tx).executemany(text, [(*row.values(), *rest) for row in rows]))


def keep_existing(statement: Any) -> Any:
    """For `insert_rows`: a row that is there already stays as it is."""
    return statement.on_conflict_do_nothing()


_NOTHING = Answer(_NoCursor())


@contextmanager
def pipeline(tx: Transaction) -> Iterator[None]:
    """Lets the statements of a connection to PostgreSQL travel without waiting; ends when all are answered."""
    with _driver(tx).pipeline() as sent:
        tx.execution_options(**{_PIPELINE: sent})
        yield


def answer_at_once(engine: sa.Engine) -> None:
    """Makes SQLAlchemy's own statements wait for their answer within a pipeline: it looks at it straight away."""

    def execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        sent = _pipeline_of(context.root_connection)
        if sent is None:
            return False
        cursor.execute(statement, parameters)
        sent.sync()
        return True

    def execute_many(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        sent = _pipeline_of(context.root_connection)
        if sent is None:
            return False
        cursor.executemany(statement, parameters)
        sent.sync()
        return True

    sa.event.listen(engine, "do_execute", execute)
    sa.event.listen(engine, "do_executemany", execute_many)


def _driver(tx: Transaction) -> Any:
    return tx.connection.driver_connection


def _pipeline_of(tx: Transaction) -> Any:
    return tx.get_execution_options().get(_PIPELINE)


def _send(tx: Transaction, text: str, values: Mapping[str, Any]) -> Answer:
    cursor = _driver(tx).cursor()
    cursor.execute(text, values)
    return Answer(cursor, _pipeline_of(tx))


@functools.cache
def _query_text(dialect: str, query: sa.Select[Any]) -> tuple[str, tuple[str, ...]]:
    compiled = query.compile(dialect=_DIALECTS[dialect])
    return str(compiled), tuple(compiled.positiontup or ())


@functools.cache
def _insert_text(
    dialect: str, table: sa.Table, names: tuple[str, ...], conflict: Callable[[Any], Any] | None
) -> tuple[str, dict[str, Any]]:
    """The statement as the driver takes it, and what it needs besides the rows, in the order of its placeholders."""
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
    text = str(compiled)
    if dialect == "postgresql":  # arrays as bytes: as text, psycopg looks for what to quote in each of their items
        for name in names:
            text = text.replace(f"%({name})s", f"%({name})b")
    return text, {name: compiled.params[name] for name in order if name not in names}
