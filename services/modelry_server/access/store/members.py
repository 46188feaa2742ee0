"""Who can be in a group or have a role, as groups and bindings name them: principals by id, groups by name."""

from collections.abc import Collection

import sqlalchemy as sa

from modelry_server.access.store.tables import groups, principals
from modelry_server.kernel.sql.statements import Transaction


def existing_principals(tx: Transaction, principal_ids: Collection[str]) -> frozenset[str]:
    """Those of these principals that exist."""
    query = sa.select(principals.c.principal_id).where(principals.c.principal_id.in_(principal_ids))
    return frozenset(tx.execute(query).scalars())


def is_disabled(tx: Transaction, principal_id: str) -> bool | None:
    """Whether a principal is disabled; None if there is none."""
    query = sa.select(principals.c.is_disabled).where(principals.c.principal_id == principal_id)
    found: bool | None = tx.execute(query).scalar_one_or_none()
    return found


def existing_groups(tx: Transaction, names: Collection[str]) -> frozenset[str]:
    """Those of these groups that exist."""
    return frozenset(tx.execute(sa.select(groups.c.name).where(groups.c.name.in_(names))).scalars())
