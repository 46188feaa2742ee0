"""How a database would answer a statement, for tests of indexes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from modelry_server.kernel.sql.database import Database


def explained(db: Database, statement: sa.Select[Any], values: Mapping[str, object]) -> str:
    """The plan of a statement, in the words of the database."""
    engine = db.backend.engine
    text = statement.params(**values).compile(engine, compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    with db.write() as tx:
        if engine.dialect.name == "postgresql":
            tx.exec_driver_sql("SET LOCAL enable_seqscan = off")  # which is as good while a table is small
        return "\n".join(str(row[-1]) for row in tx.exec_driver_sql(f"{explain} {text}"))
