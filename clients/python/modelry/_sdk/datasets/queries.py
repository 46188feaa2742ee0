"""Datasets from the results of SQL queries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from modelry._sdk.datasets import digests
from modelry._sdk.datasets.dataset import Dataset, json_of, within
from modelry._sdk.datasets.profiles import MOST_COLUMNS
from modelry._sdk.datasets.sources import without_credentials
from modelry._sdk.values import connections, signals
from modelry._sdk.values.texts import said_of, text_of
from modelry.errors import DatasetEmpty, InvalidArgument

_ROWS_AT_ONCE = 10_000
_KINDS = {bool: "bool", int: "int64", float: "float64", str: "string"}
_COLSPEC = {"bool": "boolean", "int64": "long", "float64": "double", "string": "string", "binary": "binary"}


def from_sql(
    query: str,
    connection: Any,
    *,
    params: Mapping[str, Any] | Sequence[Any] | None = None,
    name: str | None = None,
    url: str = "",
) -> Dataset:
    """Describes the result of a query: it runs the query and reads all rows, 10,000 at once.

    `connection` is an Engine or Connection of SQLAlchemy, or a connection of any DBAPI driver, such as `sqlite3` and
    `psycopg`; `params` are passed as the driver takes them. The source is JSON with the query and the URL of the
    database, without user and password; for a DBAPI connection, which does not know its URL, give `url`. Passwords in
    the query are masked, also in errors. Params are not recorded. The digest covers the names of the columns and every
    cell in the order of the rows, so a query without ORDER BY may get another one each time. Types of columns are those
    of the cells as Python has them.

    A 1, a 1.0 and a '1' are different cells. Needs NumPy.

    Raises DatasetEmpty for a result without rows, InvalidArgument for a query that fails or returns no table, and what
    can't be a connection.
    """
    import numpy as np  # noqa: F401  # what is missing is told as it is, and not as a query that failed

    if not isinstance(query, str) or not query.strip():
        raise InvalidArgument(f"query must be a text of SQL, not {text_of(query)[:100]!r}")
    try:
        with _answered(connection, query, params) as (names, rows):
            content = [_Cells() for _ in names]
            count = 0
            for some in rows:
                count += len(some)
                for column, cells in zip(content, zip(*some, strict=True), strict=True):
                    column.add(cells)
    except InvalidArgument:
        raise
    except Exception as problem:  # Drivers have errors of their own.
        signals.pass_on(problem)
        raise InvalidArgument(
            f"the query {_short(query)!r} failed: {type(problem).__name__}: "
            f"{connections.masked(said_of(problem))[:500]}"
        ) from problem
    if not count:
        raise DatasetEmpty(f"the query {_short(query)!r} has no rows; is its condition right?")
    zipped = list(zip(names, content, strict=True))
    described = [{"name": column, **cells.described()} for column, cells in zipped]
    schema, left_out = within([{key: each[key] for key in ("name", "type", "required", "dtype")} for each in described])
    return Dataset(
        name or "query",
        digest=digests.digest_of(
            [count, [[column, cells.digest()] for column, cells in zip(names, content, strict=True)]]
        ),
        source=json_of({"query": connections.masked(query), "url": without_credentials(url or _url_of(connection))}),
        source_type="sql",
        schema=json_of({"mlflow_colspec": schema} | ({"columns_left_out": left_out} if left_out else {})),
        profile=json_of(
            {
                "num_rows": count,
                "num_elements": count * len(names),
                "columns": {each["name"]: each["profile"] for each in described[:MOST_COLUMNS]},
            }
        ),
    )


class _Cells:
    """A column of Python values that is fed in parts: which type each cell has, and the cells of each type.

    Where the parts begin does not count, nor in which of them a type comes first.
    """

    def __init__(self) -> None:
        self._types = digests.Column("types", counts=False)
        self._of_type: dict[str, digests.Column] = {}
        self._kinds: set[type] = set()
        self._nulls = 0

    def add(self, cells: Sequence[Any]) -> None:
        """Adds some cells."""
        import numpy as np

        kinds = [_name_of(cell) for cell in cells]
        found = sorted(set(kinds))
        self._types.numbers(np.fromiter(map(_TYPES.__getitem__, kinds), np.uint8, len(kinds)))
        for kind in found:
            some = cells if len(found) == 1 else [cell for cell, its in zip(cells, kinds, strict=True) if its == kind]
            if kind == "null":
                self._nulls += len(some)
                continue
            self._kinds.update(map(type, some) if kind == "object" else (type(some[0]),))
            column = self._of_type.setdefault(kind, digests.Column(kind))
            if kind == "object":
                column.cells(some)
            elif kind == "string":
                column.texts(np.array(some, object), np.zeros(len(some), bool))
            else:
                column.numbers(np.array(some, kind))

    def digest(self) -> list[Any]:
        """What distinguishes it from columns of other content."""
        return [self._types.digest(), *(column.digest() for _, column in sorted(self._of_type.items()))]

    def described(self) -> dict[str, Any]:
        """The column as schema and profile have it."""
        kinds = self._kinds
        kind = "float64" if kinds == {int, float} else _KINDS.get(next(iter(kinds)), "") if len(kinds) == 1 else ""
        names = sorted(each.__name__ for each in kinds)
        is_time = kinds and all(each.__name__ in ("datetime", "date") for each in kinds)
        profiles = [column.profile.described() for column in self._of_type.values() if column.profile]
        profile = profiles[0] if len(profiles) == 1 else _range_of(profiles) if kinds == {int, float} else {}
        return {
            "type": _COLSPEC.get(kind, "datetime" if is_time else "binary" if names == ["bytes"] else "any"),
            "required": not self._nulls,
            "dtype": " | ".join(names) or "NoneType",
            "profile": {**profile, "nulls": self._nulls + profile.get("nulls", 0)},
        }


_TYPES = {"null": 0, "bool": 1, "int64": 2, "float64": 3, "string": 4, "object": 5}
_INT64 = range(-(2**63), 2**63)


def _name_of(cell: Any) -> str:
    """How a cell is hashed. An integer beyond 64 bits is an object like all that has no type of NumPy."""
    if cell is None:
        return "null"
    kind = _KINDS.get(type(cell), "object")
    return "object" if kind == "int64" and cell not in _INT64 else kind


def _range_of(profiles: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    known = [each for each in profiles if "min" in each and not isinstance(each["min"], str)]
    return {"min": min(each["min"] for each in known), "max": max(each["max"] for each in known)} if known else {}


@contextmanager
def _answered(connection: Any, query: str, params: Any) -> Iterator[tuple[list[str], Iterable[Sequence[Any]]]]:
    """The names of the columns, and the rows, some at once."""
    if hasattr(connection, "cursor"):  # DBAPI
        with closing(connection.cursor()) as cursor:
            cursor.execute(query, *(() if params is None else (params,)))
            if cursor.description is None:
                raise InvalidArgument(f"the query {_short(query)!r} returns no table; give a SELECT")
            yield (
                [text_of(column[0]) for column in cursor.description],
                iter(lambda: cursor.fetchmany(_ROWS_AT_ONCE), []),
            )
    elif hasattr(connection, "dialect"):  # SQLAlchemy
        from sqlalchemy import text

        if hasattr(connection, "connect"):
            with connection.connect() as opened, _answered(opened, query, params) as found:
                yield found
            return
        answer = connection.execute(text(query), dict(params) if isinstance(params, Mapping) else params)
        with closing(answer):
            if not answer.returns_rows:
                raise InvalidArgument(f"the query {_short(query)!r} returns no table; give a SELECT")
            yield [text_of(column) for column in answer.keys()], answer.partitions(_ROWS_AT_ONCE)  # noqa: SIM118
    else:
        raise InvalidArgument(
            "connection must be an Engine or Connection of SQLAlchemy or a DBAPI connection, "
            f"not {type(connection).__name__}"
        )


def _url_of(connection: Any) -> str:
    """The URL of the database, or the file of SQLite, where the connection knows it."""
    engine = getattr(connection, "engine", None)
    if engine is not None and hasattr(engine, "url"):
        return str(engine.url.set(username=None, password=None))
    if type(connection).__module__ == "sqlite3":
        with closing(connection.execute("PRAGMA database_list")) as cursor:
            return next((f"sqlite:///{file}" for _, name, file in cursor if name == "main" and file), "sqlite://")
    return ""


def _short(query: str) -> str:
    return " ".join(connections.masked(query).split())[:200]
