"""Promotions as rows."""

from collections.abc import Sequence

import sqlalchemy as sa

from modelry_server.kernel.sql.statements import Transaction, insert
from modelry_server.registry.entities import Promotion, Stage
from modelry_server.registry.store.tables import promotions


def add(tx: Transaction, model_id: str, moves: Sequence[Promotion]) -> None:
    """Writes moves of a model's versions."""
    rows = [
        {
            "model_id": model_id,
            "sequence": move.sequence,
            "number": move.number,
            "from_stage": move.from_stage,
            "to_stage": move.to_stage,
            "archived_numbers": list(move.archived_numbers),
            "user": move.user,
            "reason": move.reason,
            "create_time": move.create_time,
        }
        for move in moves
    ]
    tx.execute(insert(tx, promotions), rows)


def page(tx: Transaction, model_id: str, number: int, *, before: int | None, limit: int) -> list[Promotion]:
    """Moves of a version, or of all if `number` is 0, that came before a sequence; the newest first."""
    t = promotions
    query = sa.select(t).where(t.c.model_id == model_id).order_by(t.c.sequence.desc()).limit(limit)
    if number:
        query = query.where(t.c.number == number)
    if before is not None:
        query = query.where(t.c.sequence < before)
    return [
        Promotion(
            sequence=row.sequence,
            number=row.number,
            from_stage=Stage(row.from_stage),
            to_stage=Stage(row.to_stage),
            archived_numbers=tuple(row.archived_numbers),
            user=row.user,
            reason=row.reason,
            create_time=row.create_time,
        )
        for row in tx.execute(query)
    ]


def delete(tx: Transaction, model_id: str) -> None:
    """Removes all moves of a model."""
    tx.execute(sa.delete(promotions).where(promotions.c.model_id == model_id))
