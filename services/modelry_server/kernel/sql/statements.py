"""Statements that are compiled once and given to the driver as text.

For the paths where this was measured to matter: the ingest of metrics and params, and reading runs, above all on
PostgreSQL (ADR 6). There SQLAlchemy's work for a small statement costs more than the database's, and a round trip costs
more than both. All other code says `tx.execute(...)`, as plain SQLAlchemy; both may stand in one transaction.

A statement given to `ask`, `fetch`, `fetch_one` or `insert_if`, and a `conflict`, must belong to a module: what was
compiled is kept by the object. One made anew for each call would be compiled each time, and push others out.
Values pass no type of SQLAlchemy: texts, numbers and bytes only.
"""

import collections
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from modelry_server.kernel.sql.backend import Answer, Conflict, Rows, Statement, Transaction, backend_of
from modelry_server.kernel.sql.compiled import KEPT

__all__ = [
    "Answer",
    "Query",
    "Rows",
    "Statement",
    "Transaction",
    "ask",
    "fetch",
    "fetch_one",
    "insert",
    "insert_if",
    "insert_rows",
    "keep_existing",
    "named",
    "one_of",
]


class _NoRows:
    """The cursor of an INSERT that had no rows, and so was not sent."""

    rowcount = 0

    def fetchall(self) -> list[Any]:
        return []


_NOTHING = Answer(_NoRows())


class Query(NamedTuple):
    """A query as `ask` takes it, with its values."""

    select: sa.Select[Any]
    values: Mapping[str, Any]


class one_of(FunctionElement[Any]):
    """For `ask`: whether a column equals one of the items of a list, which is given under a name.

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


def ask(tx: Transaction, statement: Statement, values: Mapping[str, Any], *, many: bool = False) -> Answer:
    """Sends a query or a change that has a `bindparam` for each of `values`.

    A value may be a list where the statement says `one_of`. `many` says that hundreds of rows may come, and that they
    have texts and whole numbers only: on SQLite they then come all at once.
    """
    return backend_of(tx).ask(tx, statement, values, many=many)


def fetch(tx: Transaction, statement: Statement, values: Mapping[str, Any]) -> list[Any]:
    """The rows of a statement as `ask` takes it."""
    return ask(tx, statement, values).rows()


def fetch_one(tx: Transaction, query: sa.Select[Any], values: Mapping[str, Any]) -> Any:
    """The first row of a query as `ask` takes it, with the names of its columns; None if there is none."""
    for row in fetch(tx, query, values):
        return named(query, row)
    return None


def named(query: sa.Select[Any], row: Any) -> Any:
    """A row of a query with the names of its columns."""
    return _row_type(query)._make(row)


def insert(tx: Transaction, table: sa.Table) -> Any:
    """SQLAlchemy's INSERT for the database at hand, with its `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return backend_of(tx).insert(table)


def insert_rows(
    tx: Transaction, table: sa.Table, rows: Sequence[Mapping[str, Any]], conflict: Conflict = None
) -> Answer:
    """Writes rows in one statement, or none at all if there are no rows. See `Rows` for what they must be.

    On PostgreSQL an error, such as that of a key that is taken, may be raised as late as at the commit. Who needs to
    know asks for the count.
    """
    return backend_of(tx).insert_rows(tx, Rows(table, rows, conflict)) if rows else _NOTHING


def insert_if(
    tx: Transaction, condition: sa.Select[Any], values: Mapping[str, Any], parts: Sequence[Rows]
) -> Sequence[Any] | None:
    """Writes rows to several tables if a query, as `ask` takes it, finds a row; answers with that row.

    None, with nothing written, if the query finds nothing. Its columns are added to rows of tables that have them.
    PostgreSQL gets a single statement, which is a transaction by itself.
    """
    return backend_of(tx).insert_if(tx, condition, values, [part for part in parts if part.rows])


def keep_existing(statement: Any) -> Any:
    """A `conflict`: a row that is there already stays as it is."""
    return statement.on_conflict_do_nothing()


@lru_cache(KEPT)
def _row_type(query: sa.Select[Any]) -> Any:
    return collections.namedtuple("Row", query.selected_columns.keys())
