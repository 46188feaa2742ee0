"""A list reaches PostgreSQL as an array of the same items."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelry_server.kernel.sql.arrays import ArrayDumper
from tests.parts.postgres import PostgresServer

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])) | st.sampled_from(
    ["", "NULL", "null", "{}", '"', "\\", '\\"', "a,b", " a ", "\n", "日本", "\U0001f600"]
)
LISTS: dict[str, st.SearchStrategy[list[Any]]] = {
    "text": st.lists(TEXTS | st.none()),
    "bytea": st.lists(st.binary() | st.none()),
    "bigint": st.lists(st.integers(-(2**63), 2**63 - 1) | st.none()),
    "double precision": st.lists(st.floats() | st.none()),
    "boolean": st.lists(st.booleans() | st.none()),
}


@pytest.fixture(scope="module")
def connection(postgres_server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    with postgres_server.database() as url:
        address = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(address, autocommit=True) as opened:
            opened.adapters.register_dumper(list, ArrayDumper)
            yield opened


@pytest.mark.parametrize("kind", LISTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_list_comes_back_as_it_was(connection: psycopg.Connection[Any], kind: str, data: st.DataObject) -> None:
    items = data.draw(LISTS[kind])

    [(found,)] = psycopg.RawCursor(connection).execute(f"SELECT $1::{kind}[]", [items], binary=True).fetchall()

    assert [_exact(item) for item in found] == [_exact(item) for item in items]


def _exact(item: object) -> object:
    """Tells -0.0 from 0.0 and lets NaN equal NaN."""
    if isinstance(item, float):
        return "NaN" if math.isnan(item) else (math.copysign(1, item), item)
    return item


@pytest.mark.parametrize("items", [["a", 1], [b"a", "a"], [b"a", 1], [object()], [["a"]], [{}]])
def test_a_list_of_other_items_or_of_several_kinds_is_refused(items: list[Any]) -> None:
    with pytest.raises(TypeError, match="is not supported"):
        ArrayDumper(list).dump(items)
