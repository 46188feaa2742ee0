"""Statements of hot paths: compiled once, sent by the driver, and on PostgreSQL one after the other without waiting.

SQLAlchemy's work for a small statement costs more than the database's, and a round trip costs more than both. So what a
hot path says is compiled once, and on PostgreSQL the statements of a transaction travel in a pipeline: only who asks
for an answer waits, and then once for all that was sent before. SQLite answers at once.
"""

import collections
import functools
import json
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

Transaction = sa.Connection
"""An open transaction, as stores take it."""
Statement = sa.Select[Any] | sa.CompoundSelect[Any] | sa.Update | sa.Delete
"""What is sent as it was made, with values for what it leaves open."""

_PIPELINE = "modelry_pipeline"
_DIALECTS: dict[str, Any] = {
    # PostgreSQL's own way to name what is bound: psycopg would look for its own in the text each time.
    "postgresql": postgresql.psycopg.dialect(paramstyle="numeric_dollar"),  # type: ignore[no-untyped-call]
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


_NOTHING = Answer(_NoCursor())


def ask(tx: Transaction, statement: Statement, values: Mapping[str, Any]) -> Answer:
    """Sends a query or a change that is made once and has a `bindparam` for each of `values`.

    It gives and takes texts and numbers only; a list of them where the statement says `one_of`.
    """
    text, constants, order = _statement_text(tx.dialect.name, statement)
    bound = order({**constants, **values})
    if tx.dialect.name == "postgresql":
        return _send(tx, text, bound)
    return Answer(_driver(tx).execute(text, [json.dumps(v) if isinstance(v, list) else v for v in bound]))


def fetch(tx: Transaction, statement: Statement, values: Mapping[str, Any]) -> list[Any]:
    """The rows of a statement as `ask` takes it."""
    return ask(tx, statement, values).rows()


def fetch_one(tx: Transaction, query: sa.Select[Any], values: Mapping[str, Any]) -> Any:
    """The only row of a query as `ask` takes it, with the names of its columns; None if there is none."""
    for row in fetch(tx, query, values):
        return named(query, row)
    return None


def named(query: sa.Select[Any], row: Any) -> Any:
    """A row of a query with the names of its columns."""
    return _row_type(query)._make(row)


class one_of(FunctionElement[Any]):
    """For `ask`: whether a column is one of the items of a list, given by the name of its value.

    An IN has a placeholder for each item, and so would be another statement for each length of the list.
    """

    inherit_cache = True
    type = sa.types.NullType()  # for a Boolean SQLAlchemy says `= 1` on SQLite, which then uses no index

    def __init__(self, column: sa.ColumnElement[Any], name: str) -> None:
        super().__init__(column, sa.bindparam(name, type_=postgresql.ARRAY(column.type)))


@compiles(one_of, "postgresql")
def _one_of_array(element: one_of, compiler: Any, **given: Any) -> str:
    column, items = element.clauses
    return f"{compiler.process(column, **given)} = ANY ({compiler.process(items, **given)})"


@compiles(one_of, "sqlite")
def _one_of_json(element: one_of, compiler: Any, **given: Any) -> str:
    column, items = element.clauses
    return f"{compiler.process(column, **given)} IN (SELECT value FROM json_each({compiler.process(items, **given)}))"


def insert_rows(
    tx: Transaction,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    conflict: "_Conflict" = None,
) -> Answer:
    """Writes rows that name the same columns, none of them twice, in one statement; none at all if there are no rows.

    `conflict` adds an ON CONFLICT clause to an insert; it must be a function of a module, since what it made is kept.
    PostgreSQL gets each column of several rows as an array: measured, a tenth of the time of a statement for each row.
    """
    if not rows:
        return _NOTHING
    names = tuple(rows[0])
    arrays = len(rows) > 1 and tx.dialect.name == "postgresql"
    text, constants, order = _insert_text(tx.dialect.name, table, names, conflict, arrays)
    if arrays:
        return _send(tx, text, order({name: [row[name] for row in rows] for name in names} | constants))
    if tx.dialect.name == "postgresql":
        return _send(tx, text, order({**rows[0], **constants}))
    complete = [{**row, **constants} for row in rows] if constants else rows
    return Answer(_driver(tx).executemany(text, map(order, complete)))


def insert(tx: Transaction, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that knows ON CONFLICT; both databases spell it alike."""
    return postgresql.insert(table) if tx.dialect.name == "postgresql" else sqlite.insert(table)


class Query(NamedTuple):
    """A query as `ask` takes it, with its values."""

    select: sa.Select[Any]
    values: Mapping[str, Any]


class Rows(NamedTuple):
    """Rows for a table, as `insert_rows` takes them."""

    table: sa.Table
    rows: Sequence[Mapping[str, Any]]
    conflict: "_Conflict" = None


def insert_if(
    tx: Transaction, condition: sa.Select[Any], values: Mapping[str, Any], parts: Sequence[Rows]
) -> Sequence[Any] | None:
    """Writes rows to several tables if a query, as `ask` takes it, finds a row; answers with that row.

    None, with nothing written, if the query finds nothing. Its columns are added to rows of tables that have them.
    PostgreSQL gets a single statement, which is a transaction by itself.
    """
    parts = [each for each in parts if each.rows]
    if tx.dialect.name != "postgresql":
        found = fetch(tx, condition, values)
        for table, rows, conflict in parts if found else ():
            names = condition.selected_columns.keys()
            added = {name: value for name, value in zip(names, found[0], strict=True) if name in table.c}
            insert_rows(tx, table, [{**row, **added} for row in rows], conflict)
        return found[0] if found else None
    arrays = any(len(each.rows) > 1 for each in parts)
    shape = tuple((table, tuple(rows[0]), conflict) for table, rows, conflict in parts)
    text, constants, order = _insert_if_text(condition, shape, arrays)
    bound = {**constants, **values}
    for table, rows, _ in parts:
        for name in rows[0]:
            bound[f"{table.name}_{name}"] = [row[name] for row in rows] if arrays else rows[0][name]
    found = _send(tx, text, order(bound)).rows()
    return found[0] if found else None


def keep_existing(statement: Any) -> Any:
    """For `insert_rows`: a row that is there already stays as it is."""
    return statement.on_conflict_do_nothing()


@contextmanager
def pipeline(tx: Transaction) -> Iterator[None]:
    """Lets the statements of a connection to PostgreSQL travel without waiting; ends when all are answered."""
    with _driver(tx).pipeline() as sent:
        tx.execution_options(**{_PIPELINE: sent})
        yield


def answer_at_once(engine: sa.Engine) -> None:
    """Makes SQLAlchemy's own statements wait for their answer within a pipeline: it looks at it straight away."""

    def at_once(method: str) -> Callable[..., bool]:
        def execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
            sent = _pipeline_of(context.root_connection)
            if sent is None:
                return False
            getattr(cursor, method)(statement, parameters)
            sent.sync()
            return True

        return execute

    sa.event.listen(engine, "do_execute", at_once("execute"))
    sa.event.listen(engine, "do_executemany", at_once("executemany"))


def _values_in(order: Sequence[str]) -> Callable[[Mapping[str, Any]], Any]:
    if len(order) > 1:
        return operator.itemgetter(*order)
    return lambda row: tuple(row[name] for name in order)


def _driver(tx: Transaction) -> Any:
    return tx.connection.driver_connection


def _pipeline_of(tx: Transaction) -> Any:
    return tx.get_execution_options().get(_PIPELINE)


def _send(tx: Transaction, text: str, values: Sequence[Any]) -> Answer:
    from psycopg import RawCursor

    cursor = RawCursor(_driver(tx))
    cursor.execute(text, values, binary=True)
    return Answer(cursor, _pipeline_of(tx))


@functools.cache
def _statement_text(dialect: str, statement: Statement) -> "_Compiled":
    return _text(dialect, statement, ())


@functools.cache
def _row_type(query: sa.Select[Any]) -> Any:
    return collections.namedtuple("Row", query.selected_columns.keys())


_Conflict = Callable[[Any], Any] | None
_Shape = tuple[tuple[sa.Table, tuple[str, ...], _Conflict], ...]


class _Compiled(NamedTuple):
    """A statement as the driver takes it, what it needs besides the rows, and what puts a row into its order."""

    text: str
    constants: dict[str, Any]
    order: Callable[[Mapping[str, Any]], Any]


@functools.cache
def _insert_text(dialect: str, table: sa.Table, names: tuple[str, ...], conflict: _Conflict, arrays: bool) -> _Compiled:
    if arrays:
        statement = postgresql.insert(table).from_select(list(names), sa.select(*_items(table, names)))
    else:
        insert: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
        statement = insert(table).values({name: sa.bindparam(name) for name in names})
    return _text(dialect, conflict(statement) if conflict else statement, names)


@functools.cache
def _insert_if_text(condition: sa.Select[Any], shape: _Shape, arrays: bool) -> _Compiled:
    """All tables at once: PostgreSQL does the parts of a query to their end whatever is asked of it itself."""
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
    return _text("postgresql", query, [f"{table.name}_{name}" for table, names, _ in shape for name in names])


def _items(table: sa.Table, names: Sequence[str], prefix: str = "") -> Sequence[sa.ColumnElement[Any]]:
    """The columns of rows that come as an array for each column."""
    arrays = [sa.bindparam(prefix + name, type_=postgresql.ARRAY(table.c[name].type)) for name in names]
    source = sa.func.unnest(*arrays).table_valued(*(sa.column(name, table.c[name].type) for name in names))
    return tuple(source.render_derived().c)


def _text(dialect: str, statement: Any, given: Sequence[str]) -> _Compiled:
    compiled = statement.compile(dialect=_DIALECTS[dialect])
    order = compiled.positiontup or ()
    constants = {name: compiled.params[name] for name in order if name not in given}
    return _Compiled(str(compiled), constants, _values_in(order))
