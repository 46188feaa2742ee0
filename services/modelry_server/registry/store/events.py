"""Events as rows, and how they get their positions.

A change writes its event without a position, so that changes never wait for each other. What has been committed is
numbered afterwards, in a transaction that holds the workspace's row of `event_positions`: positions are given one
transaction after another, so a reader that has seen a position has seen all lower ones. A change that commits late
simply gets a later position.

The events of one model keep their order: they are written while the model is locked. So the one of a later change has a
higher id, and whoever sees it also sees the earlier one.
"""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from modelry_server.kernel.access import Within
from modelry_server.kernel.sql.predicate import among
from modelry_server.kernel.sql.statements import Transaction, insert, insert_rows
from modelry_server.registry.entities import Event
from modelry_server.registry.store.tables import event_positions, events

_WRITTEN = [column.name for column in events.columns if column.name not in ("id", "position")]
_READ = [events.c[name] for name in (*_WRITTEN, "position")]
_UNNUMBERED = events.c.position.is_(None)


def append(tx: Transaction, new: Sequence[Event]) -> None:
    """Writes events of one model, which must be locked, in the order of their changes."""
    insert_rows(tx, events, [{name: getattr(event, name) for name in _WRITTEN} for event in new])


def workspaces_to_number(tx: Transaction, limit: int) -> set[str]:
    """The workspaces of the first events without a position; looks at no more than `limit` of them."""
    return set(tx.scalars(sa.select(events.c.workspace).where(_UNNUMBERED).limit(limit)))


def has_unnumbered(tx: Transaction, workspace: str, within: Within) -> bool:
    """Whether a part of a workspace has events without a position."""
    first = _within(sa.select(events.c.id).where(events.c.workspace == workspace, _UNNUMBERED), within).limit(1)
    return tx.execute(first).one_or_none() is not None


def number(tx: Transaction, workspace: str, limit: int) -> int:
    """Gives the next positions of a workspace to at most `limit` events; returns to how many.

    Holds the workspace's row until the transaction ends: another one that numbers events of it waits until then.
    """
    p = event_positions
    tx.execute(insert(tx, p).values(workspace=workspace, last=0).on_conflict_do_nothing())
    mine = p.c.workspace == workspace
    last = int(tx.execute(sa.select(p.c.last).where(mine).with_for_update()).scalar_one())
    chosen = sa.select(events.c.id).where(events.c.workspace == workspace, _UNNUMBERED).order_by(events.c.id)
    chosen_ids = chosen.limit(limit).subquery("chosen")
    place = sa.func.row_number().over(order_by=chosen_ids.c.id)
    numbered = sa.select(chosen_ids.c.id, (last + place).label("position")).subquery("numbered")
    given = sa.update(events).where(events.c.id == numbered.c.id).values(position=numbered.c.position)
    count = tx.execute(given).rowcount
    if count:
        tx.execute(sa.update(p).where(mine).values(last=last + count))
    return count


def last_position(tx: Transaction, workspace: str, within: Within) -> int:
    """The last position that was given in a part of a workspace; 0 if there is none."""
    query = sa.select(event_positions.c.last).where(event_positions.c.workspace == workspace)
    if not within.is_all:
        t = events
        query = _within(sa.select(t.c.position).where(t.c.workspace == workspace, t.c.position.is_not(None)), within)
        query = query.order_by(t.c.position.desc()).limit(1)
    return int(tx.execute(query).scalar_one_or_none() or 0)


def id_at(tx: Transaction, workspace: str, position: int) -> str | None:
    """The id of the event at a position."""
    query = sa.select(events.c.event_id).where(events.c.workspace == workspace, events.c.position == position)
    event_id: str | None = tx.execute(query).scalar_one_or_none()
    return event_id


def page(
    tx: Transaction,
    workspace: str,
    within: Within,
    *,
    after: int,
    until: int,
    model_name: str,
    types: Collection[str],
    limit: int,
) -> list[Event]:
    """Events of a part of a workspace after a position and not beyond another.

    They are those of a model, of some types, or all if these are empty.
    """
    t = events
    query = sa.select(*_READ).where(t.c.workspace == workspace, t.c.position > after, t.c.position <= until)
    query = _within(query, within)
    if model_name:
        query = query.where(t.c.model_name == model_name)
    if types:
        query = query.where(t.c.type.in_(types))
    return [Event(**row._asdict()) for row in tx.execute(query.order_by(t.c.position).limit(limit))]


def _within(query: sa.Select[Any], within: Within) -> sa.Select[Any]:
    return query if within.is_all else query.where(among(events.c.model_id, within.model_ids))
