"""Snapshots of files that no version refers to: not yet, or not any more.

Two calls with the same request create one version, and the slower one may note its snapshot when the version exists
already. So a snapshot is deleted only if no version has its id. Whoever claims it holds its row until the version is
committed.
"""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from modelry_server.kernel.sql.statements import Transaction, ask, insert, insert_rows
from modelry_server.registry.store.tables import loose_snapshots, versions

_REFERRED = sa.exists().where(versions.c.version_id == loose_snapshots.c.version_id)
_CLAIM = sa.delete(loose_snapshots).where(
    loose_snapshots.c.version_id == sa.bindparam("version"), sa.not_(loose_snapshots.c.discarded)
)


def reserve(tx: Transaction, version_id: str, due_time: int) -> bool:
    """Notes that a snapshot is about to be made; False if one of that id is being removed."""
    row = {"version_id": version_id, "discarded": False, "due_time": due_time}
    return insert_rows(tx, loose_snapshots, [row], _replaced_unless_discarded).count() == 1


def claim(tx: Transaction, version_id: str) -> bool:
    """Notes that a version refers to the snapshot from now on; False if it is being removed."""
    return ask(tx, _CLAIM, {"version": version_id}).count() == 1


def discard(tx: Transaction, version_ids: Collection[str], now: int) -> None:
    """Notes that snapshots of versions that are gone must be removed."""
    rows = [{"version_id": version_id, "discarded": True, "due_time": now} for version_id in version_ids]
    if rows:
        tx.execute(_replaced(insert(tx, loose_snapshots)), rows)


def give_up(tx: Transaction, version_id: str, now: int) -> bool:
    """Notes that a reserved snapshot must be removed; False if it is not loose, as a version refers to it."""
    t = loose_snapshots
    change = sa.update(t).where(t.c.version_id == version_id, ~_REFERRED).values(discarded=True, due_time=now)
    return tx.execute(change).rowcount == 1


def due(tx: Transaction, now: int, *, again: int, limit: int) -> list[str]:
    """Snapshots due to be removed by now, which nobody can claim any more; they are due once more at `again`."""
    t = loose_snapshots
    tx.execute(sa.delete(t).where(t.c.due_time <= now, _REFERRED))
    found = sa.select(t.c.version_id).where(t.c.due_time <= now).order_by(t.c.due_time).limit(limit)
    loose = sa.and_(t.c.version_id.in_(found), t.c.due_time <= now, ~_REFERRED)
    change = sa.update(t).where(loose).values(discarded=True, due_time=again)
    return list(tx.scalars(change.returning(t.c.version_id)))


def forget(tx: Transaction, version_id: str) -> None:
    """Notes that a snapshot is gone."""
    tx.execute(sa.delete(loose_snapshots).where(loose_snapshots.c.version_id == version_id))


def _replaced(statement: Any, **condition: Any) -> Any:
    new = statement.excluded
    values = {"discarded": new.discarded, "due_time": new.due_time}
    return statement.on_conflict_do_update(index_elements=["version_id"], set_=values, **condition)


def _replaced_unless_discarded(statement: Any) -> Any:
    return _replaced(statement, where=sa.not_(statement.table.c.discarded))
