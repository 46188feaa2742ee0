"""How many versions workspaces have."""

import sqlalchemy as sa

from modelry_server.kernel.sql.statements import Transaction
from modelry_server.registry.store.tables import versions

VERSIONS = sa.select(sa.func.count()).select_from(versions).where(versions.c.workspace == sa.bindparam("workspace"))


def version_count(tx: Transaction, workspace: str) -> int:
    """How many versions a workspace has, of all models."""
    return int(tx.execute(VERSIONS, {"workspace": workspace}).scalar_one())
