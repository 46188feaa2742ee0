"""The migrations make the tables that the store knows."""

import sqlalchemy as sa

from modelry_server.kernel.sql.database import Database
from modelry_server.registry.store import tables


def test_the_migrations_make_the_tables_that_the_store_knows(db: Database) -> None:
    with db.read() as tx:
        inspector = sa.inspect(tx)
        made = {
            name: {column["name"] for column in inspector.get_columns(name)}
            for name in inspector.get_table_names()
            if name != db.version_table
        }
        indexes = {index["name"] for name in made for index in inspector.get_indexes(name)}

    assert made == {table.name: {column.name for column in table.columns} for table in tables.metadata.sorted_tables}
    assert {index.name for table in tables.metadata.sorted_tables for index in table.indexes} <= indexes
