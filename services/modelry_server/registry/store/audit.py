"""Audit records as rows: added and read, never changed."""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from modelry_server.kernel.audit import ERASABLE, Record
from modelry_server.kernel.sql.statements import Transaction, insert_rows
from modelry_server.registry.entities import Model, audit_chain
from modelry_server.registry.store.tables import audit_records

_STORED = ("sequence", "body", "digest_version", "previous_digest", "digest")
_TEXTS = (*ERASABLE, *(f"{name}_salt" for name in ERASABLE))


class Written(NamedTuple):
    """A record with the number of the version that it is about; 0 if it is about the model."""

    record: Record
    version_number: int


def add(tx: Transaction, model: Model, records: Sequence[Written]) -> None:
    """Writes records of a model."""
    rows = [
        {
            "model_id": model.model_id,
            "workspace": model.workspace,
            "version_number": version_number,
            **{name: getattr(record, name) for name in _STORED + _TEXTS},
        }
        for record, version_number in records
    ]
    insert_rows(tx, audit_records, rows)


def exists(tx: Transaction, workspace: str, model_id: str) -> bool:
    """Whether the workspace has, or had, a model with this id."""
    t = audit_records
    first = sa.select(t.c.sequence).where(t.c.model_id == model_id, t.c.workspace == workspace).limit(1)
    return tx.execute(first).one_or_none() is not None


def page(tx: Transaction, model_id: str, version_number: int, *, before: int | None, limit: int) -> list[Record]:
    """Records before a sequence, the newest first: of one version, or of the whole model if the number is 0."""
    t = audit_records
    columns = [t.c[name] for name in _STORED + _TEXTS]
    query = sa.select(*columns).where(t.c.model_id == model_id).order_by(t.c.sequence.desc()).limit(limit)
    if version_number:
        query = query.where(t.c.version_number == version_number)
    if before is not None:
        query = query.where(t.c.sequence < before)
    chain = audit_chain(model_id)
    return [Record(chain=chain, **row._asdict()) for row in tx.execute(query)]
