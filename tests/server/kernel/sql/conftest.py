"""A database with a table, opened as often as wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from modelry_server.kernel.sql.database import Database
from modelry_server.kernel.sql.tables import requests_table, secrets_table

metadata = sa.MetaData()
things = sa.Table("things", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))
requests_table(metadata, "kernel")
secrets_table(metadata, "kernel")

SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000000) SELECT count(*) FROM n"
"""Runs for minutes."""


@pytest.fixture
def another(database_url: str, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """Opens the database once more, as another process would."""
    opened: list[Database] = []

    def open_it() -> Database:
        opened.append(Database(database_url, room="kernel", migrations=tmp_path))
        return opened[-1]

    with open_it().write() as tx:
        metadata.create_all(tx)
    yield open_it
    for db in opened:
        db.close()


@pytest.fixture
def db(another: Callable[[], Database]) -> Database:
    return another()


def ids(db: Database) -> list[int]:
    with db.read() as tx:
        return list(tx.execute(sa.select(things.c.id).order_by(things.c.id)).scalars())
