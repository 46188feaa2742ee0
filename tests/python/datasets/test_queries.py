"""Datasets from SQL queries."""

from __future__ import annotations

import importlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import modelry
from modelry.errors import DatasetEmpty, InvalidArgument

QUERY = "SELECT id, price, word FROM prices ORDER BY id"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = sqlite3.connect(tmp_path / "prices.db")
    made.execute("CREATE TABLE prices (id INTEGER, price REAL, word TEXT)")
    made.executemany(
        "INSERT INTO prices VALUES (?, ?, ?)", [(n, n / 2, None if n == 3 else "w") for n in range(25_000)]
    )
    made.commit()
    made.close()
    return tmp_path / "prices.db"


@pytest.fixture
def connection(file: Path) -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(file)
    yield opened
    opened.close()


def test_a_result_is_described(connection: sqlite3.Connection, file: Path) -> None:
    dataset = modelry.data.from_sql(QUERY, connection, name="prices")

    assert json.loads(dataset.source) == {"query": QUERY, "url": f"sqlite:///{file}"}
    assert [(each["type"], each["required"]) for each in json.loads(dataset.schema)["mlflow_colspec"]] == [
        ("long", True),
        ("double", True),
        ("string", False),
    ]
    profile = json.loads(dataset.profile)
    assert (profile["num_rows"], profile["columns"]["id"]) == (
        25_000,
        {"nulls": 0, "min": 0, "max": 24_999, "mean": 12_499.5},
    )
    assert profile["columns"]["word"] == {"nulls": 1, "distinct": 1}
    assert dataset.source_type == "sql"


def test_the_digest_sees_every_cell_and_not_the_way_to_the_database(connection: sqlite3.Connection, file: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{file}")
    before = modelry.data.from_sql(QUERY, connection)
    with engine.connect() as opened:
        ways = [modelry.data.from_sql(QUERY, each).digest for each in (connection, engine, opened)]
    connection.execute("UPDATE prices SET word = 'x' WHERE id = 17001")

    assert set(ways) == {before.digest}
    assert modelry.data.from_sql(QUERY, connection).digest != before.digest
    engine.dispose()


def test_types_and_places_of_cells_count_and_batches_do_not(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = ["1, 2", "1, 2.0", "1, '2'", "1, x'32'", "1, NULL", "NULL, 1", "1.0, 2", "1, 3", "'1', '2'", "'12', ''"]
    queries = [f"SELECT column1 AS c FROM (VALUES ({each.replace(', ', '), (')}))" for each in cells]

    digests = [modelry.data.from_sql(query, connection).digest for query in queries]
    monkeypatch.setattr(importlib.import_module("modelry._sdk.datasets.queries"), "_ROWS_AT_ONCE", 1)

    assert len(set(digests)) == len(digests)
    assert [modelry.data.from_sql(query, connection).digest for query in queries] == digests


def test_integers_beyond_64_bits_are_cells() -> None:
    class Rows:
        description = (("n",),)
        execute = close = staticmethod(lambda *_: None)

        def __init__(self, *cells: int) -> None:
            self.left = [(cell,) for cell in cells]

        def fetchmany(self, count: int) -> list[tuple[int]]:
            some, self.left = self.left[:count], self.left[count:]
            return some

    class Driver:
        def __init__(self, *cells: int) -> None:
            self.cursor = lambda: Rows(*cells)

    found = [modelry.data.from_sql("SELECT n", Driver(1, each)).digest for each in (2**64, 2**64 + 1, 2)]

    assert len(set(found)) == 3


def test_params_are_passed_and_not_recorded(connection: sqlite3.Connection, file: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{file}")
    one = modelry.data.from_sql(
        "SELECT * FROM prices WHERE id < ?", connection, params=(7_654,), url="x://u:secret@h/db"
    )
    other = modelry.data.from_sql("SELECT * FROM prices WHERE id < :most", engine, params={"most": 7_654})

    assert one.digest == other.digest
    assert "7654" not in one.source + other.source
    assert json.loads(one.source)["url"] == "x://h/db"
    engine.dispose()


@pytest.mark.parametrize(
    ("query", "kind", "said"),
    [
        ("SELECT * FROM prices WHERE id < 0", DatasetEmpty, "has no rows"),
        ("SELECT * FROM moons", InvalidArgument, "no such table: moons"),
        ("CREATE TABLE more (a INTEGER)", InvalidArgument, "returns no table"),
        (" ", InvalidArgument, "text of SQL"),
    ],
)
def test_a_query_that_gives_no_dataset_is_refused(
    connection: sqlite3.Connection, query: str, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        modelry.data.from_sql(query, connection)


def test_what_is_no_connection_is_refused() -> None:
    nothing: Any = object()

    with pytest.raises(InvalidArgument, match="not object"):
        modelry.data.from_sql(QUERY, nothing)


def test_passwords_in_queries_are_neither_recorded_nor_told(connection: sqlite3.Connection) -> None:
    kept = "SELECT 1 AS a -- postgres_scan('host=h password=sEcr3tq7 dbname=x') \"read\"('https://u:sEcr3tq7@h/x')"

    source = modelry.data.from_sql(kept, connection, url="host=h password=sEcr3tq7").source

    assert json.loads(source) == {
        "query": "SELECT 1 AS a -- postgres_scan('host=h password=*** dbname=x') \"read\"('https://***@h/x')",
        "url": "host=h password=***",
    }
    for query in (
        "SELECT * FROM dblink('host=h password=sEcr3tq7')",
        "SELECT 1 WHERE 'Pwd=sEcr3tq7;' = 1",
        'CREATE TABLE "Pwd=sEcr3tq7;" (a)',
        'SELECT "password=sEcr3tq7" FROM x',
    ):
        with pytest.raises((DatasetEmpty, InvalidArgument)) as refused:
            modelry.data.from_sql(query, connection)
        assert "sEcr3tq7" not in str(refused.value)
