"""Events as rows: the outbox."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from modelry_server.kernel.sql.statements import Transaction, fetch, insert_rows
from modelry_server.registry.entities import Event
from modelry_server.registry.store.tables import event_cursor, events

_COLUMNS = [column.name for column in events.columns]
_COUNTED = (
    sa.update(event_cursor)
    .where(event_cursor.c.room == "registry")
    .values(last=event_cursor.c.last + sa.bindparam("count"))
    .returning(event_cursor.c.last)
)


def append(tx: Transaction, new: Sequence[Event]) -> None:
    """Writes events, and gives them the next cursors in place of their own.

    Must be the last thing that the transaction does: from here to its end it holds the counter, so that cursors are in
    the order of the commits, and who reads up to a cursor has seen all that ever gets a lower one.
    """
    [(highest,)] = fetch(tx, _COUNTED, {"count": len(new)})
    first = highest - len(new) + 1
    rows: list[dict[str, Any]] = [
        {name: getattr(event, name) for name in _COLUMNS} | {"cursor": first + index} for index, event in enumerate(new)
    ]
    insert_rows(tx, events, rows)


def page(tx: Transaction, workspace: str, model: str, *, after: int, limit: int) -> list[Event]:
    """Events after a cursor, of a model or of all models of the workspace if `model` is empty."""
    t = events
    query = sa.select(t).where(t.c.workspace == workspace, t.c.cursor > after).order_by(t.c.cursor).limit(limit)
    if model:
        query = query.where(t.c.model == model)
    return [Event(**row._asdict()) for row in tx.execute(query)]


def last(tx: Transaction) -> int:
    """The highest cursor that was given."""
    return int(tx.execute(sa.select(event_cursor.c.last)).scalar_one())
