"""Audit records as rows: added and read, never changed."""

from collections.abc import Sequence

import sqlalchemy as sa

from modelry_server.kernel.sql.statements import Transaction, insert_rows
from modelry_server.registry.entities import AuditRecord
from modelry_server.registry.store.tables import audit_records

_COLUMNS = [column.name for column in audit_records.columns]


def add(tx: Transaction, records: Sequence[AuditRecord]) -> None:
    """Writes records."""
    rows = [{name: getattr(record, name) for name in _COLUMNS} for record in records]
    insert_rows(tx, audit_records, rows)


def exists(tx: Transaction, workspace: str, model_id: str) -> bool:
    """Whether there is or was a model of that id in the workspace."""
    t = audit_records
    first = sa.select(t.c.sequence).where(t.c.model_id == model_id, t.c.workspace == workspace).limit(1)
    return tx.execute(first).one_or_none() is not None


def page(tx: Transaction, model_id: str, number: int, *, before: int | None, limit: int) -> list[AuditRecord]:
    """Records of a version, or of the whole model if `number` is 0, before a sequence; the newest first."""
    t = audit_records
    query = sa.select(t).where(t.c.model_id == model_id).order_by(t.c.sequence.desc()).limit(limit)
    if number:
        query = query.where(t.c.number == number)
    if before is not None:
        query = query.where(t.c.sequence < before)
    return [AuditRecord(**row._asdict()) for row in tx.execute(query)]
