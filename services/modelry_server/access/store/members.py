"""Who can be in a group or have a role, as groups and bindings name them: principals by id, groups by name."""

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from modelry_server.access.store.tables import groups, principals
from modelry_server.kernel.sql.statements import Transaction


def disabled(tx: Transaction, principal_ids: Collection[str]) -> Mapping[str, bool]:
    """For each of these principals that exists: whether it is disabled."""
    query = sa.select(principals.c.principal_id, principals.c.is_disabled)
    rows = tx.execute(query.where(principals.c.principal_id.in_(principal_ids)))
    return {row.principal_id: row.is_disabled for row in rows}


def existing_groups(tx: Transaction, names: Collection[str]) -> frozenset[str]:
    """Those of these groups that exist."""
    return frozenset(tx.execute(sa.select(groups.c.name).where(groups.c.name.in_(names))).scalars())
