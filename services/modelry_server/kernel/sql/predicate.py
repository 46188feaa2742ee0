"""Filters and sort orders as SQL, and paging by the last row's sort key. All services search with this.

A service says for each field what it is in SQL (`Column`). Values are bound, never written into the statement. The same
filter finds the same rows on SQLite and on PostgreSQL:

- a missing value is NULL: no comparison with it is true, and `NOT` of a comparison isn't either; only IS NULL finds it;
- texts are compared and sorted by their bytes in UTF-8, whatever the locale of the database;
- in a pattern, `%` matches any characters and `_` one; `\\%`, `\\_` and `\\\\` match the character itself, any other
  backslash matches a backslash; LIKE is case-sensitive, ILIKE ignores the case of the letters A to Z;
- a text that may be a number is compared with a number as one, and sorts before the texts that are none;
- missing values sort last, in both directions.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias, assert_never

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

from modelry_server.kernel.filter import (
    And,
    Comparison,
    Field,
    FilterSyntax,
    Node,
    Not,
    Op,
    Or,
    OrderKey,
    Scalar,
    number_of,
)

LONGS = 2000
"""How many characters of long texts a sort key has in total. With short ones, below 2000, they fit in a page token."""
MOST_PATTERN = 1000
"""The longest pattern, in characters. A database tries a pattern at each position of a text."""

_SPECIAL = re.compile(r"[%_\\]")
_TOKENS = re.compile(r"\\[%_\\]|.", re.DOTALL)
_GLOB = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
_FOLDED = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_COMPARE: dict[Op, Callable[[Any, Any], Any]] = {
    Op.EQ: lambda column, value: column == value,
    Op.NE: lambda column, value: column != value,
    Op.LT: lambda column, value: column < value,
    Op.LE: lambda column, value: column <= value,
    Op.GT: lambda column, value: column > value,
    Op.GE: lambda column, value: column >= value,
}
_EQUALITY = (Op.EQ, Op.NE, Op.IN, Op.NOT_IN)
_INEQUALITY = (Op.LT, Op.LE, Op.GT, Op.GE)


class Kind(Enum):
    """The type of a column's values, and how a filter writes them."""

    TEXT = "a text in quotes"
    NUMBER = "a number"


Condition: TypeAlias = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Column:
    """What a field is in SQL: an expression, and the kind of its values.

    `nullable` is False if the expression is never NULL. `long` means that a text may have thousands of characters, and
    is sorted by its first ones only. `number` is the value of a text that may be a number, NULL where it is none.
    `choices` lists the texts that the field can equal, if they are few. `within` is for a field with many values, such
    as the aliases of a version: it turns a condition on one value into "the condition holds for at least one value".
    Such a field can't be a sort key.
    """

    sql: sa.ColumnElement[Any]
    kind: Kind
    nullable: bool = True
    long: bool = False
    number: sa.ColumnElement[Any] | None = None
    choices: tuple[str, ...] = ()
    within: Callable[[Condition], Condition] | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """The fields that a search knows: `of` gives the column of a field, None if there is none; `names` lists them."""

    of: Callable[[Field], Column | None]
    names: str

    def find(self, field: Field, column: int, source: str) -> Column:
        """The column of a field. Raises FilterSyntax, which points at `column` in the request's field `source`."""
        found = self.of(field)
        if found is None:
            raise FilterSyntax(column, f"the field {str(field)[:100]}", f"one of {self.names}", field=source)
        return found


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of an order."""

    column: Column
    descending: bool = False


class Order:
    """A sort order: its keys, most significant first. The last key must be unique and never NULL.

    A query selects `columns`, so that each row comes with the values of its keys, and has `clauses` as its ORDER BY.
    """

    def __init__(self, keys: Sequence[SortKey]) -> None:
        longs = sum(key.column.long for key in keys)
        self._keys = keys
        self.columns = [_sortable(key.column, LONGS // max(longs, 1)) for key in keys]
        self.clauses = [_directed(key, column) for key, column in zip(keys, self.columns, strict=True)]

    def after(self, values: Sequence[Scalar | None]) -> Condition:
        """The condition that a row sorts after the row whose keys have these values."""
        alternatives: list[Condition] = []
        equal: list[Condition] = []
        for key, column, value in zip(self._keys, self.columns, values, strict=True):
            if value is None:  # missing values sort last, so by this key nothing comes after
                equal.append(column.is_(None))
                continue
            follows = column < _bound(value, column) if key.descending else column > _bound(value, column)
            if key.column.nullable:
                follows = sa.or_(follows, column.is_(None))
            alternatives.append(sa.and_(*equal, follows))
            equal.append(column == _bound(value, column))
        return sa.and_(self._beginning(values[0]), sa.or_(sa.false(), *alternatives))

    def _beginning(self, value: Scalar | None) -> Condition:
        """A lower bound for the first key.

        `after` implies it already, but from alternatives joined by OR a database doesn't see where in the index to
        begin.
        """
        key, column = self._keys[0], self.columns[0]
        if value is None or key.column.nullable:
            return sa.true()
        return column <= _bound(value, column) if key.descending else column >= _bound(value, column)


def order(keys: Sequence[OrderKey], columns: Columns, *, last: Sequence[SortKey], source: str = "order_by") -> Order:
    """The order that a caller asked for, completed by the keys `last`.

    Raises FilterSyntax, naming the key as `order_by[1]`, for a field that doesn't exist or that has many values.
    """
    wanted: list[SortKey] = []
    for index, key in enumerate(keys):
        column = columns.find(key.field, 1, f"{source}[{index}]")
        if column.within is not None:
            expected = f"a field with one value, which {key.field} is not"
            raise FilterSyntax(1, f"the field {key.field}", expected, field=f"{source}[{index}]")
        if column.number is not None:
            wanted.append(SortKey(Column(column.number, Kind.NUMBER), key.descending))
        wanted.append(SortKey(column, key.descending))
    return Order([*wanted, *last])


def predicate(node: Node, columns: Columns, *, source: str = "filter") -> Condition:
    """The condition of a filter.

    Raises FilterSyntax for a field that doesn't exist, and for a value of another kind than the field's.
    """
    match node:
        case Comparison():
            return _comparison(node, columns.find(node.field, node.column, source))
        case And():
            return sa.and_(*(predicate(term, columns, source=source) for term in node.terms))
        case Or():
            return sa.or_(*(predicate(term, columns, source=source) for term in node.terms))
        case Not():
            return sa.not_(predicate(node.term, columns, source=source))
    assert_never(node)


def _comparison(node: Comparison, column: Column) -> Condition:
    expression, within = _comparable(column), column.within or (lambda condition: condition)
    if column.number is not None and _is_numeric(node.value):
        return _comparison(node, Column(column.number, Kind.NUMBER))
    match node.op:
        case Op.IS_NULL:
            return sa.not_(within(expression.is_not(None))) if column.within else expression.is_(None)
        case Op.IS_NOT_NULL:
            return within(expression.is_not(None))
        case Op.LIKE | Op.ILIKE:
            _expect(node, column, node.value)
            return within(_like(expression, str(node.value), folded=node.op is Op.ILIKE))
        case Op.IN | Op.NOT_IN:
            values = node.value if isinstance(node.value, tuple) else ()
            for value in values:
                _expect(node, column, value)
            found = expression.in_([_bound(value, column.sql) for value in values])
            return within(found if node.op is Op.IN else sa.not_(found))
        case _:
            _expect(node, column, node.value)
            found = _COMPARE[node.op](expression, _bound(node.value, column.sql))
            return within(_as_numbers(node, column.number, otherwise=found))


def _is_numeric(value: object) -> bool:
    """Whether a value is a number, or a list that begins with one."""
    return isinstance(value[0] if isinstance(value, tuple) else value, int | float)


def _as_numbers(node: Comparison, number: sa.ColumnElement[Any] | None, *, otherwise: Condition) -> Condition:
    """A comparison by size with a number in quotes: of numbers where the field is one, otherwise of texts."""
    given = number_of(node.value) if isinstance(node.value, str) and node.op in _INEQUALITY else None
    if number is None or given is None:
        return otherwise
    return sa.case((number.is_not(None), _COMPARE[node.op](number, _bound(given, number))), else_=otherwise)


def _expect(node: Comparison, column: Column, value: object) -> None:
    is_pattern = node.op in (Op.LIKE, Op.ILIKE)
    at, found, expected = node.value_column, repr(value)[:100], ""
    if is_pattern and column.kind is not Kind.TEXT:
        at, expected = node.column, f"{node.field} to be a text, which it is not"
    elif is_pattern and len(str(value)) > MOST_PATTERN:
        found, expected = f"a pattern of {len(str(value))} characters", f"at most {MOST_PATTERN}"
    elif isinstance(value, str) != (column.kind is Kind.TEXT):
        expected = f"{column.kind.value} to compare {node.field} with"
    elif column.choices and node.op in _EQUALITY and value not in column.choices:
        expected = f"one of {', '.join(map(repr, column.choices))} for {node.field}"
    if expected:
        raise FilterSyntax(at, found, expected)


def _bound(value: object, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    if isinstance(value, str):
        return sa.literal(value, sa.Text())
    if isinstance(value, int) and not isinstance(column.type, sa.Double):
        return sa.literal(value, sa.BigInteger())
    # A number compared with a Double is bound as a Double: SQLite would compare a whole number exactly, PostgreSQL
    # rounds it. A fraction is a Double whatever the column is: as an integer, `version_number > 1.5` would mean 2.
    assert isinstance(value, int | float)
    return sa.literal(float(value), sa.Double())


def _comparable(column: Column) -> sa.ColumnElement[Any]:
    return _Bytewise(column.sql) if column.kind is Kind.TEXT else column.sql


def _sortable(column: Column, longest: int) -> sa.ColumnElement[Any]:
    expression = _comparable(column)
    return _Bytewise(sa.func.substr(expression, 1, longest)) if column.long else expression


def _directed(key: SortKey, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    directed = column.desc() if key.descending else column.asc()
    return directed.nulls_last() if key.column.nullable else directed


def _like(expression: sa.ColumnElement[Any], pattern: str, *, folded: bool) -> Condition:
    if folded:
        expression, pattern = sa.func.lower(expression), pattern.translate(_FOLDED)
    return _Like(expression, sa.literal(_postgres_pattern(pattern), sa.Text()), sa.literal(_glob(pattern), sa.Text()))


def contains(column: sa.ColumnElement[Any], text: str) -> Condition:
    """Whether a text has another one in it. Like ILIKE it ignores the case of the letters A to Z, and of no others."""
    itself = _SPECIAL.sub(r"\\\g<0>", text)
    return _like(_Bytewise(column), f"%{itself}%", folded=True)


def _postgres_pattern(pattern: str) -> str:
    return "".join(token if len(token) == 2 or token != "\\" else "\\\\" for token in _TOKENS.findall(pattern))


def _glob(pattern: str) -> str:
    """The pattern for SQLite's GLOB, which is case-sensitive; SQLite's LIKE is not."""
    tokens = _TOKENS.findall(pattern)
    return "".join(token[1] if len(token) == 2 else _GLOB.get(token, token) for token in tokens)


class _Bytewise(sa.sql.functions.FunctionElement[str]):
    """A text that is compared by its bytes: as SQLite always does, and PostgreSQL with the collation C."""

    inherit_cache = True
    type = sa.Text()


class _Like(sa.sql.functions.FunctionElement[bool]):
    """An expression, its pattern for PostgreSQL's LIKE, and its pattern for SQLite's GLOB."""

    inherit_cache = True
    type = sa.Boolean()


@compiles(_Bytewise)
def _bytewise(element: _Bytewise, compiler: Any, **options: Any) -> str:
    (inner,) = element.clauses
    return str(compiler.process(inner, **options))


@compiles(_Bytewise, "postgresql")
def _bytewise_postgresql(element: _Bytewise, compiler: Any, **options: Any) -> str:
    (inner,) = element.clauses
    return f'({compiler.process(inner, **options)} COLLATE "C")'


@compiles(_Like, "sqlite")
def _like_sqlite(element: _Like, compiler: Any, **options: Any) -> str:
    expression, _, glob = element.clauses
    return f"({compiler.process(expression, **options)} GLOB {compiler.process(glob, **options)})"


@compiles(_Like, "postgresql")
def _like_postgresql(element: _Like, compiler: Any, **options: Any) -> str:
    expression, pattern, _ = element.clauses
    return f"({compiler.process(expression, **options)} LIKE {compiler.process(pattern, **options)} ESCAPE '\\')"


def among(column: sa.ColumnElement[Any], items: Iterable[Any]) -> sa.ColumnElement[bool]:
    """The condition that a column equals one of the items, of which there may be tens of thousands, or none.

    They stand in the text, in order: both databases allow some ten thousand placeholders only.
    """
    return column.in_(sa.bindparam(None, sorted(items), type_=column.type, expanding=True, literal_execute=True))
