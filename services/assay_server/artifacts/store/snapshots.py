"""Snapshots as rows."""

from dataclasses import asdict

import sqlalchemy as sa

from assay_server.artifacts.entities import Snapshot
from assay_server.artifacts.store.tables import snapshots
from assay_server.kernel.statements import Transaction


def add(tx: Transaction, snapshot: Snapshot) -> None:
    """Writes a new snapshot."""
    tx.execute(sa.insert(snapshots).values(asdict(snapshot)))


def find(tx: Transaction, owner: str) -> Snapshot | None:
    """The snapshot of an owner."""
    row = tx.execute(sa.select(snapshots).where(snapshots.c.owner == owner)).one_or_none()
    return Snapshot(**row._mapping) if row else None


def remove(tx: Transaction, owner: str) -> bool:
    """Removes the snapshot of an owner; False if there is none. Its files are not touched."""
    return tx.execute(sa.delete(snapshots).where(snapshots.c.owner == owner)).rowcount == 1
