"""Promotions as rows."""

import json
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from modelry_server.kernel.sql.statements import Transaction, insert_rows
from modelry_server.registry.entities import Promotion, PromotionState, as_json
from modelry_server.registry.store.tables import models, promotions

_NAMED = sa.select(promotions, models.c.workspace, models.c.name.label("model_name")).join_from(promotions, models)
_COPIED = ("promotion_id", "model_id", "version_number", "from_stage", "to_stage", "creator", "reason", "create_time")


def add(tx: Transaction, moves: Sequence[Promotion]) -> None:
    """Writes promotions."""
    rows = [
        {name: getattr(move, name) for name in _COPIED}
        | {
            "audit_sequence": move.audit_sequence,
            "state": str(move.state),
            "archived_version_numbers": as_json(move.archived_version_numbers),
        }
        for move in moves
    ]
    insert_rows(tx, promotions, rows)


def of_ids(tx: Transaction, promotion_ids: Collection[str]) -> list[Promotion]:
    """The promotions with these ids, in the order in which they were made."""
    query = _NAMED.where(promotions.c.promotion_id.in_(promotion_ids)).order_by(promotions.c.audit_sequence)
    return [_entity(row) for row in tx.execute(query)]


def page(tx: Transaction, model_id: str, version_number: int, *, before: int | None, limit: int) -> list[Promotion]:
    """Promotions before an audit sequence, the newest first: of one version, or of all if the number is 0."""
    t = promotions
    query = _NAMED.where(t.c.model_id == model_id).order_by(t.c.audit_sequence.desc()).limit(limit)
    if version_number:
        query = query.where(t.c.version_number == version_number)
    if before is not None:
        query = query.where(t.c.audit_sequence < before)
    return [_entity(row) for row in tx.execute(query)]


def delete(tx: Transaction, model_id: str) -> None:
    """Removes all promotions of a model."""
    tx.execute(sa.delete(promotions).where(promotions.c.model_id == model_id))


def _entity(row: Any) -> Promotion:
    return Promotion(
        **{name: getattr(row, name) for name in _COPIED},
        workspace=row.workspace,
        model_name=row.model_name,
        state=PromotionState(row.state),
        archived_version_numbers=tuple(json.loads(row.archived_version_numbers)),
        audit_sequence=row.audit_sequence,
    )
