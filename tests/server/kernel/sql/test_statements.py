"""Statements of hot paths: what is sent without waiting is there at the commit, whole or not at all."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from modelry_server.kernel.sql.compiled import KEPT
from modelry_server.kernel.sql.database import ConcurrentChange, Database
from modelry_server.kernel.sql.statements import (
    Rows,
    ask,
    fetch,
    fetch_one,
    insert_if,
    insert_rows,
    keep_existing,
    one_of,
)
from tests.parts.postgres import PostgresServer

metadata = sa.MetaData()
things = sa.Table(
    "things",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("weight", sa.Double),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
parts = sa.Table(
    "parts", metadata, sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("part", sa.Text, primary_key=True)
)
labels = sa.Table("labels", metadata, sa.Column("label", sa.Text, primary_key=True))
ALL = sa.select(things.c.id, things.c.name, things.c.weight, things.c.content).order_by(things.c.id)
NAMED = sa.select(things.c.id).where(things.c.name == sa.bindparam("name"))
AMONG = sa.select(things.c.id).where(one_of(things.c.name, "names"), things.c.id > sa.bindparam("above"))
COUNT = sa.select(sa.func.count()).select_from(parts)
LABELS = sa.select(labels.c.label).order_by(labels.c.label)


def raised(statement: Any) -> Any:
    return statement.on_conflict_do_update(
        index_elements=["id"],
        set_={"weight": statement.excluded.weight + 100},
        where=things.c.weight < statement.excluded.weight,
    )


@pytest.fixture
def db(database_url: str, tmp_path: Path) -> Iterator[Database]:
    opened = Database(database_url, room="kernel", migrations=tmp_path)
    with opened.write() as tx:
        metadata.create_all(tx)
    yield opened
    opened.close()


def thing(number: int, name: str = "a", weight: float | None = 0.5) -> dict[str, Any]:
    """A row whose columns come in another order than those of its table."""
    return {"content": bytes([number, 0, 255]), "weight": weight, "name": name, "id": number}


def stored(db: Database) -> list[tuple[Any, ...]]:
    with db.read() as tx:
        return [tuple(row) for row in fetch(tx, ALL, {})]


@pytest.mark.parametrize("count", [1, 2, 50])
def test_rows_are_written_in_whatever_order_they_name_their_columns(db: Database, count: int) -> None:
    names = ["plain", 'quo"ted', "back\\slash", "{brace},", "NULL", "", "ünï"]
    rows = [thing(number, names[number % len(names)], 1e300 if number % 3 == 2 else None) for number in range(count)]

    with db.write() as tx:
        insert_rows(tx, things, rows)

    assert stored(db) == [(row["id"], row["name"], row["weight"], row["content"]) for row in rows]


@pytest.mark.parametrize("count", [1, 20])
def test_an_insert_says_how_many_rows_it_wrote(db: Database, count: int) -> None:
    with db.write() as tx:
        insert_rows(tx, things, [thing(0)])

        written = insert_rows(tx, things, [thing(number) for number in range(count)], keep_existing).count()

    assert written == count - 1
    with db.write() as tx:
        assert insert_rows(tx, things, []).count() == 0


@pytest.mark.parametrize("count", [1, 3])
def test_an_insert_over_what_is_there_keeps_the_rule_of_its_conflict(db: Database, count: int) -> None:
    numbers = range(count)
    with db.write() as tx:
        insert_rows(tx, things, [thing(number, weight=1.0) for number in numbers])
    with db.write() as tx:
        insert_rows(tx, things, [thing(number, weight=2.0) for number in numbers], raised)
        insert_rows(tx, things, [thing(number, weight=0.5) for number in numbers], raised)

    assert [weight for _, _, weight, _ in stored(db)] == [102.0] * count


def test_what_fails_after_it_was_sent_fails_the_transaction_and_leaves_nothing(db: Database) -> None:
    with db.write() as tx:
        insert_rows(tx, things, [thing(1)])

    def three() -> None:
        with db.write() as tx:
            insert_rows(tx, things, [thing(2)])
            insert_rows(tx, things, [thing(1)])
            insert_rows(tx, parts, [{"id": 1, "part": "p"}])

    with pytest.raises(ConcurrentChange):
        three()

    assert [number for number, *_ in stored(db)] == [1]
    with db.write() as tx:  # the connection is as good as new
        insert_rows(tx, things, [thing(3)])
        assert fetch(tx, COUNT, {}) == [(0,)]


def test_an_error_that_was_passed_over_is_not_taken_for_a_commit(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with postgres_server.database() as url:
        db = Database(url, room="kernel", migrations=tmp_path)
        with db.write() as tx:
            metadata.create_all(tx)
            insert_rows(tx, things, [thing(1)])

        def careless() -> None:
            with db.write() as tx, suppress(sa.exc.IntegrityError):
                insert_rows(tx, things, [thing(2)])
                tx.execute(sa.insert(things).values(thing(1)))

        with pytest.raises(ConcurrentChange):
            careless()

        assert [number for number, *_ in stored(db)] == [1]
        db.close()


def test_statements_of_both_kinds_see_what_the_other_wrote(db: Database) -> None:
    with db.write() as tx:
        insert_rows(tx, things, [thing(1, "sent")])
        changed = tx.execute(sa.update(things).values(name="executed")).rowcount
        tx.execute(sa.insert(things), [thing(2), thing(3)])
        found = [fetch(tx, NAMED, {"name": name}) for name in ("sent", "executed")]

        assert tx.execute(sa.select(sa.func.count()).select_from(things)).scalar_one() == 3

    assert (changed, found) == (1, [[], [(1,)]])


def test_answers_may_be_asked_for_in_any_order(db: Database) -> None:
    with db.write() as tx:
        insert_rows(tx, things, [thing(1, "a"), thing(2, "b")])
    with db.read() as tx:
        first, second = ask(tx, NAMED, {"name": "a"}), ask(tx, NAMED, {"name": "b"})

        assert (second.rows(), first.rows()) == ([(2,)], [(1,)])


@pytest.mark.parametrize(
    ("names", "found"), [([], []), (["b"], [2]), (["a", "b", 'x"], {', "b"], [2, 3]), (["z"] * 500, [])]
)
def test_a_query_finds_those_of_a_list(db: Database, names: list[str], found: list[int]) -> None:
    with db.write() as tx:
        insert_rows(tx, things, [thing(1, "a"), thing(2, "b"), thing(3, 'x"], {')])
    with db.read() as tx:
        assert sorted(number for (number,) in fetch(tx, AMONG, {"names": names, "above": 1})) == found


@pytest.mark.parametrize("count", [0, 1, 500])
def test_many_rows_come_as_they_are_and_in_their_order(db: Database, count: int) -> None:
    names = ["", "a", 'x"], {', "line\nfeed \t \x7f", "größer 😀", "\\u0041"]
    wanted = [(number * (-(2**63) // 500), names[number % len(names)]) for number in range(count)]
    query = (
        sa.select(things.c.id, things.c.name).where(things.c.id <= sa.bindparam("most")).order_by(things.c.id.desc())
    )
    with db.write() as tx:
        insert_rows(tx, things, [{**thing(0, name), "id": number} for number, name in wanted])
    with db.read() as tx:
        asked = [tuple(row) for row in ask(tx, query, {"most": 0}, many=True).rows()]

    assert asked == wanted


def test_columns_that_json_does_not_hold_exactly_are_refused(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path}/db", room="kernel", migrations=tmp_path)
    with pytest.raises(TypeError, match="not the columns weight, content"), db.read() as tx:
        ask(tx, ALL, {}, many=True)
    db.close()


def test_a_change_is_sent_with_what_it_says_itself_and_counts_the_rows_that_it_changed(db: Database) -> None:
    named = sa.update(things).where(things.c.name == sa.bindparam("old"))
    renaming = named.values(name=sa.bindparam("new"), weight=things.c.weight + 1)
    removing = sa.delete(things).where(things.c.id > sa.bindparam("above"))
    with db.write() as tx:
        insert_rows(tx, things, [thing(1, "a"), thing(2, "a"), thing(3, "b")])

        renamed = ask(tx, renaming, {"old": "a", "new": "c"})
        removed = ask(tx, removing, {"above": 1})

        assert (renamed.count(), removed.count()) == (2, 2)
        assert fetch(tx, renaming.returning(things.c.id), {"old": "c", "new": "d"}) == [(1,)]

    assert [row[:3] for row in stored(db)] == [(1, "d", 2.5)]


def test_one_row_comes_with_the_names_of_its_columns(db: Database) -> None:
    query = sa.select(things.c.id, things.c.name.label("title")).where(things.c.id == sa.bindparam("id"))
    with db.write() as tx:
        insert_rows(tx, things, [thing(1, "a")])
        found = fetch_one(tx, query, {"id": 1})

        assert (found.id, found.title) == (1, "a")
        assert fetch_one(tx, query, {"id": 2}) is None


@pytest.mark.parametrize("count", [2, 3])
def test_numbers_keep_their_bits_and_truths_stay_true_in_several_rows(db: Database, count: int) -> None:
    weights = [0.1 + 0.2, -1.5, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), None]
    flags = sa.Table("flags", sa.MetaData(), sa.Column("id", sa.BigInteger), sa.Column("set", sa.Boolean))
    with db.write() as tx:
        flags.create(tx)
        insert_rows(tx, things, [thing(number, weight=weight) for number, weight in enumerate(weights)])
        insert_rows(tx, flags, [{"id": number, "set": number % 2 == 0} for number in range(count)])

    assert repr([row[2] for row in stored(db)]) == repr(weights)
    with db.read() as tx:
        assert list(tx.execute(sa.select(flags.c.set).order_by(flags.c.id)).scalars()) == [True, False, True][:count]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_rows_for_several_tables_are_written_if_the_condition_holds(db: Database, count: int) -> None:
    with db.write() as tx:
        insert_rows(tx, things, [thing(7, "there", weight=1.0)])
    condition = sa.select(things.c.id, things.c.name).where(things.c.name == sa.bindparam("name"))

    answers: list[Any] = []
    for name in ("there", "missing", "there"):
        rows = [{"part": f"{len(answers)}.{number}"} for number in range(count)]
        label = {"label": str(len(answers))}
        with db.write_once() as tx:
            answers.append(insert_if(tx, condition, {"name": name}, [Rows(parts, rows), Rows(labels, [label])]))

    assert answers == [(7, "there"), None, (7, "there")]
    with db.read() as tx:
        assert fetch(tx, COUNT, {}) == [(2 * count,)]
        assert fetch(tx, LABELS, {}) == [("0",), ("2",)]


@pytest.mark.parametrize("count", [1, 3])
def test_rows_for_several_tables_are_written_all_or_none(db: Database, count: int) -> None:
    with db.write() as tx:
        insert_rows(tx, things, [thing(7, "there")])
        insert_rows(tx, labels, [{"label": "taken"}])
    rows = [{"part": str(number)} for number in range(count)]

    with pytest.raises(ConcurrentChange), db.write_once() as tx:
        insert_if(tx, NAMED, {"name": "there"}, [Rows(parts, rows), Rows(labels, [{"label": "taken"}])])

    with db.read() as tx:
        assert fetch(tx, COUNT, {}) == [(0,)]


def test_statements_that_were_made_on_the_fly_do_not_pile_up(db: Database) -> None:
    made = weakref.WeakSet[Any]()
    for _ in range(KEPT + 50):
        query = sa.select(things.c.id).where(things.c.id == sa.bindparam("id"))
        made.add(query)
        with db.read() as tx:
            assert fetch_one(tx, query, {"id": 1}) is None

    del query
    gc.collect()
    assert len(made) <= KEPT
