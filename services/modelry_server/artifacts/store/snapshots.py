"""Snapshots as rows."""

import sqlalchemy as sa

from modelry_server.artifacts.entities import Owner, Snapshot
from modelry_server.artifacts.store.tables import snapshots
from modelry_server.kernel.access import Place
from modelry_server.kernel.sql.statements import Transaction, insert_rows

_FIND = sa.select(snapshots).where(snapshots.c.version_id == sa.bindparam("version_id"))


def add(tx: Transaction, snapshot: Snapshot) -> None:
    """Writes a new snapshot."""
    row = {
        "version_id": snapshot.version_id,
        "workspace": snapshot.place.workspace,
        "model_id": snapshot.place.model_id,
        "source_owner": str(snapshot.source),
        "source_path": snapshot.source_path,
        "manifest_sha256": snapshot.manifest_sha256,
        "file_count": snapshot.file_count,
        "size_bytes": snapshot.size_bytes,
        "create_time": snapshot.create_time,
    }
    insert_rows(tx, snapshots, [row])


def find(tx: Transaction, version_id: str) -> Snapshot | None:
    """The snapshot of a version."""
    row = tx.execute(_FIND, {"version_id": version_id}).first()
    if row is None:
        return None
    return Snapshot(
        row.version_id,
        Place(row.workspace, model_id=row.model_id),
        Owner.of_text(row.source_owner),
        row.source_path,
        row.manifest_sha256,
        row.file_count,
        row.size_bytes,
        row.create_time,
    )


def remove(tx: Transaction, version_id: str) -> bool:
    """Removes the snapshot of a version; False if there is none. Its files are not touched."""
    return tx.execute(sa.delete(snapshots).where(snapshots.c.version_id == version_id)).rowcount == 1
