"""Workspaces as rows of a table."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from modelry_server.access.entities import Quotas, Workspace
from modelry_server.access.store.tables import workspaces
from modelry_server.kernel.sql.statements import Transaction, insert


def add(tx: Transaction, workspace: Workspace) -> bool:
    """Writes a new workspace; False if the name is taken."""
    row = {"name": workspace.name, "create_time": workspace.create_time, **_changing(workspace)}
    return tx.execute(insert(tx, workspaces).values(row).on_conflict_do_nothing()).rowcount == 1


def find(tx: Transaction, name: str, *, lock: bool = False) -> Workspace | None:
    """The workspace with this name, if there is one. With `lock` nobody else changes it until the transaction ends."""
    query = sa.select(workspaces).where(workspaces.c.name == name)
    row = tx.execute(query.with_for_update() if lock else query).one_or_none()
    return _entity(row) if row else None


def page(tx: Transaction, after: str, limit: int, *, among: Collection[str] | None = None) -> list[Workspace]:
    """The workspaces after a name, by name: all, or those that are `among` these."""
    query = sa.select(workspaces).where(workspaces.c.name > after).order_by(workspaces.c.name).limit(limit)
    if among is not None:
        query = query.where(workspaces.c.name.in_(sorted(among)))
    return [_entity(row) for row in tx.execute(query)]


def update(tx: Transaction, workspace: Workspace) -> None:
    """Writes what can change of a workspace."""
    tx.execute(sa.update(workspaces).where(workspaces.c.name == workspace.name).values(_changing(workspace)))


def _changing(workspace: Workspace) -> dict[str, Any]:
    return {
        "description": workspace.description,
        "update_time": workspace.update_time,
        "revision": workspace.revision,
        "most_runs": workspace.quotas.run_count,
        "most_versions": workspace.quotas.version_count,
        "most_bytes": workspace.quotas.stored_bytes,
    }


def _entity(row: Any) -> Workspace:
    quotas = Quotas(row.most_runs, row.most_versions, row.most_bytes)
    return Workspace(row.name, row.description, row.create_time, row.update_time, row.revision, quotas)
