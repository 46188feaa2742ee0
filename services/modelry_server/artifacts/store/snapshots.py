"""Snapshots as rows."""

from dataclasses import asdict

import sqlalchemy as sa

from modelry_server.artifacts.entities import Snapshot
from modelry_server.artifacts.store.tables import snapshots
from modelry_server.kernel.sql.statements import Transaction, fetch_one, insert_rows

_FIND = sa.select(snapshots).where(snapshots.c.owner == sa.bindparam("owner"))


def add(tx: Transaction, snapshot: Snapshot) -> None:
    """Writes a new snapshot."""
    insert_rows(tx, snapshots, [asdict(snapshot)])


def find(tx: Transaction, owner: str) -> Snapshot | None:
    """The snapshot of an owner."""
    row = fetch_one(tx, _FIND, {"owner": owner})
    return Snapshot(**row._asdict()) if row else None


def remove(tx: Transaction, owner: str) -> bool:
    """Removes the snapshot of an owner; False if there is none. Its files are not touched."""
    return tx.execute(sa.delete(snapshots).where(snapshots.c.owner == owner)).rowcount == 1
