"""Audit records as rows: added and read, never changed."""

import sqlalchemy as sa

from modelry_server.access.store.state import CHAIN
from modelry_server.access.store.tables import audit_records
from modelry_server.kernel.audit import ERASABLE, Record
from modelry_server.kernel.sql.statements import Transaction

_STORED = ("sequence", "body", "digest_version", "previous_digest", "digest")
_TEXTS = (*ERASABLE, *(f"{name}_salt" for name in ERASABLE))


def add(tx: Transaction, record: Record, resource_type: str, resource_id: str) -> None:
    """Writes a record about a thing."""
    row = {name: getattr(record, name) for name in _STORED + _TEXTS}
    tx.execute(sa.insert(audit_records).values(resource_type=resource_type, resource_id=resource_id, **row))


def page(tx: Transaction, resource_type: str, resource_id: str, *, before: int | None, limit: int) -> list[Record]:
    """Records before a sequence, the newest first: of a kind of thing, of one thing, or of all if these are empty."""
    t = audit_records
    query = sa.select(*(t.c[name] for name in _STORED + _TEXTS)).order_by(t.c.sequence.desc()).limit(limit)
    if resource_type:
        query = query.where(t.c.resource_type == resource_type)
    if resource_id:
        query = query.where(t.c.resource_id == resource_id)
    if before is not None:
        query = query.where(t.c.sequence < before)
    return [Record(chain=CHAIN, **row._asdict()) for row in tx.execute(query)]
