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


def find(tx: Transaction, name: str) -> Workspace | None:
    """The workspace with this name, if there is one."""
    row = tx.execute(sa.select(workspaces).where(workspaces.c.name == name)).one_or_none()
    return _entity(row) if row else None


def page(tx: Transaction, after: str, limit: int) -> list[Workspace]:
    """The workspaces after a name, by name."""
    query = sa.select(workspaces).where(workspaces.c.name > after).order_by(workspaces.c.name).limit(limit)
    return [_entity(row) for row in tx.execute(query)]


def describe(tx: Transaction, name: str, description: str, now: int, revision: int) -> bool:
    """Changes the description if the workspace still has this revision."""
    t = workspaces
    change = sa.update(t).where(t.c.name == name, t.c.revision == revision)
    return tx.execute(change.values(description=description, update_time=now, revision=revision + 1)).rowcount == 1


def _entity(row: Any) -> Workspace:
    return Workspace(row.name, row.description, row.create_time, row.update_time, row.revision)
