"""What a database lacks of the tables that this program reads and writes, so that statements would fail."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from modelry_server.kernel.sql.backend import Transaction

_NAMED = 8
"""The most differences that a message names."""


def differences(tx: Transaction, tables: sa.MetaData) -> list[str]:
    """Where the database is not as its tables should be: a text for each difference, empty if it fits.

    What the database has beyond them does no harm: tables and indexes of others, and columns that may stay empty. An
    index that is missing makes nothing fail either.
    """
    names = list(tables.tables)
    inspector = sa.inspect(tx)
    columns = _by_table(inspector.get_multi_columns(filter_names=names))
    keys = _by_table(inspector.get_multi_pk_constraint(filter_names=names))
    unique = _by_table(inspector.get_multi_unique_constraints(filter_names=names))
    found: list[str] = []
    for name, table in sorted(tables.tables.items()):
        if name not in columns:
            found.append(f"there is no table {name}")
            continue
        found += _of_columns(table, {each["name"]: each for each in columns[name]}, tx.dialect)
        here = {tuple(keys[name]["constrained_columns"])}
        here |= {tuple(sorted(each["column_names"])) for each in unique.get(name, [])}
        found += [f"{name} has no key of {', '.join(key)}" for key in _keys(table) if key not in here]
    return found


def told(found: Sequence[str]) -> str:
    """Differences as a message names them."""
    more = len(found) - _NAMED
    return "; ".join(found[:_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _by_table(found: Any) -> dict[str, Any]:
    return {name: each for (_, name), each in found.items()}


def _of_columns(table: sa.Table, here: dict[str, Any], dialect: sa.Dialect) -> Iterator[str]:
    for column in table.columns:
        named, there = f"{table.name}.{column.name}", here.pop(column.name, None)
        if there is None:
            yield f"there is no column {named}"
            continue
        kind, wanted = (each.compile(dialect=dialect) for each in (there["type"], column.type))
        if kind != wanted:
            yield f"the column {named} is {kind} and not {wanted}"
        if column.nullable and not there["nullable"]:
            yield f"the column {named} can't be empty"
    for name, there in here.items():
        if not there["nullable"] and there["default"] is None and not there.get("identity"):
            yield f"the column {table.name}.{name} can't be empty, and this program does not know it"


def _keys(table: sa.Table) -> Iterator[tuple[str, ...]]:
    """The columns of the primary key, in its order, and those of each other key, sorted."""
    yield tuple(column.name for column in table.primary_key)
    for each in table.constraints:
        if isinstance(each, sa.UniqueConstraint):
            yield tuple(sorted(column.name for column in each.columns))
