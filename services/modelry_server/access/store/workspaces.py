"""Workspaces as rows of a table."""

from typing import Any

import sqlalchemy as sa

from modelry_server.access.entities import Workspace
from modelry_server.access.store.tables import workspaces
from modelry_server.kernel.sql.statements import Transaction, insert


def add(tx: Transaction, workspace: Workspace) -> bool:
    """Writes a new workspace; False if the name is taken."""
    row = {
        "name": workspace.name,
        "description": workspace.description,
        "create_time": workspace.create_time,
        "update_time": workspace.update_time,
        "revision": workspace.revision,
    }
    return tx.execute(insert(tx, workspaces).values(row).on_conflict_do_nothing()).rowcount == 1


def find(tx: Transaction, name: str, *, lock: bool = False) -> Workspace | None:
    """The workspace with this name, if there is one. With `lock` nobody else changes it until the transaction ends."""
    query = sa.select(workspaces).where(workspaces.c.name == name)
    row = tx.execute(query.with_for_update() if lock else query).one_or_none()
    return _entity(row) if row else None


def page(tx: Transaction, after: str, limit: int) -> list[Workspace]:
    """The workspaces after a name, by name."""
    query = sa.select(workspaces).where(workspaces.c.name > after).order_by(workspaces.c.name).limit(limit)
    return [_entity(row) for row in tx.execute(query)]


def update(tx: Transaction, workspace: Workspace) -> None:
    """Writes the description, the time and the revision of a workspace."""
    change = sa.update(workspaces).where(workspaces.c.name == workspace.name)
    tx.execute(
        change.values(description=workspace.description, update_time=workspace.update_time, revision=workspace.revision)
    )


def _entity(row: Any) -> Workspace:
    return Workspace(row.name, row.description, row.create_time, row.update_time, row.revision)
