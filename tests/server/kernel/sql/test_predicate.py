"""A filter finds the same rows on SQLite and on PostgreSQL, and an order is one that can be paged through."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from modelry_server.kernel.filter import Field, FilterSyntax, parse, parse_order
from modelry_server.kernel.sql.predicate import Column, Columns, Kind, Order, SortKey, order, predicate

metadata = sa.MetaData()
things = sa.Table(
    "things",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger),
    sa.Column("score", sa.Double),
)
tags = sa.Table(
    "tags",
    metadata,
    sa.Column("id", sa.Integer),
    sa.Column("key", sa.Text),
    sa.Column("value", sa.Text, nullable=False),
)
SCOPES = ("attributes", "tags")
ID = SortKey(Column(things.c.id, Kind.NUMBER, nullable=False))


def _column(field: Field) -> Column | None:
    if field.scope == "tags":
        value = sa.select(tags.c.value).where(tags.c.id == things.c.id, tags.c.key == field.key)
        return Column(value.scalar_subquery(), Kind.TEXT, long=True)
    if field.key == "label":
        some = sa.select(tags.c.id).where(tags.c.id == things.c.id)
        return Column(tags.c.value, Kind.TEXT, within=lambda condition: some.where(condition).exists())
    attributes = {
        "name": Column(things.c.name, Kind.TEXT, nullable=False),
        "size": Column(things.c.size, Kind.NUMBER),
        "score": Column(things.c.score, Kind.NUMBER),
        "colour": Column(things.c.name, Kind.TEXT, choices=("red", "blue")),
    }
    return attributes.get(field.key)


COLUMNS = Columns(_column, "name, size, score, label, tags.<key>")


class Things:
    """A table on a real database, and the rows that a filter finds in it."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    def add(self, id: int, name: str, *, size: int | None = None, score: float | None = None, **labels: str) -> None:
        self.connection.execute(things.insert().values(id=id, name=name, size=size, score=score))
        for key, value in labels.items():
            self.connection.execute(tags.insert().values(id=id, key=key, value=value))

    def found(self, text: str) -> list[int]:
        tree = parse(text, SCOPES)
        assert tree is not None
        query = sa.select(things.c.id).where(predicate(tree, COLUMNS)).order_by(things.c.id)
        return list(self.connection.scalars(query))

    def in_order(self, *terms: str) -> list[int]:
        wanted = order(parse_order(terms, SCOPES), COLUMNS, last=[ID])
        return list(self.connection.scalars(sa.select(things.c.id).order_by(*wanted.clauses)))

    def by_pages(self, wanted: Order, size: int) -> Iterator[int]:
        after: Sequence[Any] | None = None
        while True:
            query = sa.select(*wanted.columns).order_by(*wanted.clauses).limit(size)
            rows = self.connection.execute(query if after is None else query.where(wanted.after(after))).all()
            yield from (row[-1] for row in rows)
            if len(rows) < size:
                return
            after = tuple(rows[-1])


@pytest.fixture
def store(database_url: str) -> Iterator[Things]:
    engine = sa.create_engine(database_url)
    with engine.connect() as connection:
        metadata.create_all(connection)
        yield Things(connection)
    engine.dispose()


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("name = 'Ab'", [1]),
        ("name != 'Ab'", [2, 3, 4]),
        ("name > 'Zz'", [2, 4]),
        ("name < 'a'", [1, 3]),
        ("name IN ('Ab', 'ab')", [1, 2]),
        ("name NOT IN ('Ab', 'ab')", [3, 4]),
        ("size = 9007199254740993", [1]),
        ("size > 1.5", [1, 3]),
        ("size <= 2", [3]),
        ("size IS NULL", [2, 4]),
        ("NOT size = 2", [1]),
        ("score >= 0.5 AND score < 1e999", [2]),
        ("score = 1e999", [3]),
        ("score < 9223372036854775807", [1, 2]),
        ("tags.team = 'red'", [1]),
        ("tags.team != 'red'", [2]),
        ("NOT tags.team = 'red'", [2]),
        ("tags.team IS NULL", [3, 4]),
        ("tags.team IS NOT NULL OR size = 2", [1, 2, 3]),
        ("label = 'x'", [1, 2]),
        ("label IS NULL", [3, 4]),
        ("label IS NOT NULL", [1, 2]),
        ("label NOT IN ('x')", [1, 2]),
        ("colour = 'red'", []),
        ("colour LIKE 'a%'", [2]),
    ],
)
def test_a_filter_finds_the_same_on_every_database(store: Things, text: str, ids: list[int]) -> None:
    store.add(1, "Ab", size=9007199254740993, score=-0.0, team="red", other="x")
    store.add(2, "ab", score=0.5, team="blue", other="x")
    store.add(3, "Zz", size=2, score=float("inf"))
    store.add(4, "Öl")

    assert store.found(text) == ids


@pytest.mark.parametrize(
    ("op", "pattern", "names"),
    [
        ("LIKE", "abc", {"abc"}),
        ("LIKE", "a%", {"abc", "a_c", "a%c", "a\\c", "a*c", "a[b]c", "aÄc"}),
        ("LIKE", "A%", {"ABC"}),
        ("ILIKE", "aBc", {"abc", "ABC"}),
        ("LIKE", "a_c", {"abc", "a_c", "a%c", "a\\c", "a*c", "aÄc"}),
        ("LIKE", "a\\_c", {"a_c"}),
        ("LIKE", "a\\%c", {"a%c"}),
        ("LIKE", "a\\c", {"a\\c"}),
        ("LIKE", "a\\\\c", {"a\\c"}),
        ("LIKE", "a*c", {"a*c"}),
        ("LIKE", "a[b]c", {"a[b]c"}),
        ("LIKE", "%[b]%", {"a[b]c"}),
        ("LIKE", "a?c", set()),
        ("ILIKE", "AÄC", {"aÄc"}),
        ("ILIKE", "aäc", set()),
        ("LIKE", "%\\", set()),
        ("LIKE", "", set()),
    ],
)
def test_a_pattern_means_the_same_on_every_database(store: Things, op: str, pattern: str, names: set[str]) -> None:
    present = ["abc", "ABC", "a_c", "a%c", "a\\c", "a*c", "a[b]c", "aÄc"]
    for id, name in enumerate(present):
        store.add(id, name)

    assert {present[id] for id in store.found(f"name {op} '{pattern}'")} == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size = 2 AND name = 3", "column 21: found 3, expected a text in quotes"),
        ("size = '2'", "column 8: found '2', expected a number"),
        ("size LIKE '2%'", "column 1: found '2%', expected size to be a text, which it is not"),
        ("name IN ('a', 3)", "found 3"),
        (f"name ILIKE '{'%a' * 500}b'", "column 12: found a pattern of 1001 characters, expected at most 1000"),
        ("shape = 'round'", "found the field shape, expected one of name, size"),
        ("colour = 'green'", "found 'green', expected one of 'red', 'blue' for colour"),
        ("colour IN ('red', 'green')", "found 'green'"),
    ],
)
def test_what_a_field_cannot_be_compared_with_is_refused_at_its_column(text: str, message: str) -> None:
    tree = parse(text, SCOPES)
    assert tree is not None

    with pytest.raises(FilterSyntax, match=message):
        predicate(tree, COLUMNS)


def test_whole_numbers_beyond_what_a_double_holds_find_the_same_on_every_database(store: Things) -> None:
    for id in range(3):
        store.add(id, "", score=float(2**53 + 2 * id))

    assert store.found(f"score = {2**53 + 1}") == [0]  # the nearest double, as for the metric itself
    assert store.found(f"score > {2**53 + 1}") == [1, 2]
    assert store.found(f"score NOT IN ({2**53 + 1}, 1.5)") == [1, 2]


@pytest.mark.parametrize("term", ["shape", "label DESC"])
def test_an_order_by_what_has_no_value_to_sort_by_is_refused_by_its_place(term: str) -> None:
    with pytest.raises(FilterSyntax, match=r"order_by\[1\]"):
        order(parse_order(["name", term], SCOPES), COLUMNS, last=[ID])


def test_texts_are_sorted_by_their_bytes_and_missing_values_come_last(store: Things) -> None:
    for id, (name, size) in enumerate([("b", None), ("B", 1), ("a", 3), ("ä", None), ("C", 2)]):
        store.add(id, name, size=size)

    assert store.in_order("name") == [1, 4, 2, 0, 3]
    assert store.in_order("name DESC") == [3, 0, 2, 4, 1]
    assert store.in_order("size") == [1, 4, 2, 0, 3]
    assert store.in_order("size DESC") == [2, 4, 1, 0, 3]


@pytest.mark.parametrize("terms", list(itertools.product(["", "DESC"], repeat=3)))
def test_pages_hold_each_row_once_in_the_order_of_the_whole(store: Things, terms: tuple[str, str, str]) -> None:
    texts = [None, "a" * 5000, "a" * 5000 + "b", "ä"]
    for id, (size, score, text) in enumerate(itertools.product([None, 1, 2], [None, -1.5, 1.5], texts)):
        store.add(id, "same", size=size, score=score, **({"t": text} if text else {}))
    keys = [f"size {terms[0]}", f"score {terms[1]}", f"tags.t {terms[2]}"]
    wanted = order(parse_order(keys, SCOPES), COLUMNS, last=[ID])

    assert list(store.by_pages(wanted, 5)) == store.in_order(*keys)
