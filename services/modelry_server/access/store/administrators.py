"""Who administers the installation, as queries."""

import sqlalchemy as sa

from modelry_server.access.store.tables import group_members, principals, role_bindings
from modelry_server.kernel.sql.statements import Transaction

_m, _b, _p = group_members.c, role_bindings.c, principals.c


def any_enabled(tx: Transaction, role: str) -> bool:
    """Whether an enabled principal has a role for the whole installation, itself or through groups."""
    values = {"role": role}
    return tx.execute(_DIRECT, values).first() is not None or tx.execute(_THROUGH_GROUPS, values).first() is not None


def _bound_everywhere(is_group: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    # Few roles are bound for the whole installation, and very many are `admin` of something. The role is compared in a
    # way that its index does not serve, so that SQLite, too, begins with the place.
    return sa.and_(_b.role.concat("") == sa.bindparam("role"), _b.workspace == "", _b.is_group == is_group)


_DIRECT = (
    sa.select(sa.literal(1))
    .select_from(role_bindings)
    .join(principals, _p.principal_id == _b.subject)
    .where(_bound_everywhere(sa.false()), _p.is_disabled == sa.false())
    .limit(1)
)
_inside = sa.select(_b.subject.label("name")).where(_bound_everywhere(sa.true())).cte("inside", recursive=True)
_all_inside = _inside.union(
    sa.select(_m.member).join(_inside, sa.and_(_m.group_name == _inside.c.name, _m.is_group == sa.true()))
)
_THROUGH_GROUPS = (
    sa.select(sa.literal(1))
    .select_from(_all_inside)
    .join(group_members, sa.and_(_m.group_name == _all_inside.c.name, _m.is_group == sa.false()))
    .join(principals, _p.principal_id == _m.member)
    .where(_p.is_disabled == sa.false())
    .limit(1)
)
