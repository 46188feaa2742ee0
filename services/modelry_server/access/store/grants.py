"""What principals may do, as queries: the groups that they are in, and the roles that these and they have."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from modelry_server.access.store.tables import group_members, groups, principals, role_bindings, roles
from modelry_server.kernel.access import Place
from modelry_server.kernel.sql.statements import Transaction

_m, _b, _p = group_members.c, role_bindings.c, principals.c


@dataclass(frozen=True, slots=True)
class Bound:
    """A role that is bound at a place. `permissions` are those of a role that is no part of Modelry."""

    role: str
    place: Place
    permissions: frozenset[str] | None


def groups_of(tx: Transaction, principal_id: str, given: Collection[str] = ()) -> frozenset[str]:
    """The groups that a principal is in, directly or through others, if it is also in the groups `given`."""
    return frozenset(given) | frozenset(
        tx.execute(_GROUPS, {"principal": principal_id, "given": list(given)}).scalars()
    )


def bound_to(tx: Transaction, principal_id: str, groups: Collection[str]) -> list[Bound]:
    """The roles of a principal and of groups, in the order in which they were bound."""
    return _bound(tx.execute(_BOUND, {"principal": principal_id, "groups": list(groups)}))


def reached_by(tx: Transaction, principal_id: str) -> list[Bound]:
    """The roles of a principal, of all that it owns, itself or through what it owns, and of the groups of all these.

    Groups that an issuer says count, too: those that are remembered.
    """
    said = tx.execute(_SAID, {"principal": principal_id}).scalars()
    given = sorted({name for text in said for name in json.loads(text)})
    return _bound(tx.execute(_REACHED, {"principal": principal_id, "given": given}))


def _bound(rows: Iterable[Any]) -> list[Bound]:
    parsed: dict[str, frozenset[str]] = {}  # many bindings have few roles
    found: list[Bound] = []
    for role, workspace, experiment_id, model_id, text in rows:
        if text is not None and role not in parsed:
            parsed[role] = frozenset(json.loads(text))
        found.append(Bound(role, Place(workspace, experiment_id, model_id), parsed.get(role)))
    return found


def _with_all_above(groups: sa.CTE) -> sa.CTE:
    """Groups, and all that they are in. UNION leaves out what was found before: circles end, too."""
    return groups.union(
        sa.select(_m.group_name).join(groups, sa.and_(_m.member == groups.c.name, _m.is_group == sa.true()))
    )


def _bindings(*, principals: sa.ColumnElement[bool], groups: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """The roles of subjects that meet a condition, in the order in which they were bound."""
    return (
        sa.select(_b.role, _b.workspace, _b.experiment_id, _b.model_id, roles.c.permissions)
        .outerjoin_from(role_bindings, roles, roles.c.name == _b.role)
        .where(sa.or_(sa.and_(principals, _b.is_group == sa.false()), sa.and_(groups, _b.is_group == sa.true())))
        .order_by(_b.binding_id)
    )


_all_joined = _with_all_above(
    sa.select(_m.group_name.label("name"))
    .where(
        sa.or_(
            sa.and_(_m.member == sa.bindparam("principal"), _m.is_group == sa.false()),
            sa.and_(_m.member.in_(sa.bindparam("given", expanding=True)), _m.is_group == sa.true()),
        )
    )
    .cte("joined", recursive=True)
)
_GROUPS = sa.select(_all_joined.c.name)
_BOUND = _bindings(
    principals=_b.subject == sa.bindparam("principal"),
    groups=_b.subject.in_(sa.bindparam("groups", expanding=True)),
)

_owned = sa.select(_p.principal_id).where(_p.principal_id == sa.bindparam("principal")).cte("owned", recursive=True)
_all_owned = _owned.union(sa.select(_p.principal_id).join(_owned, _p.owner_id == _owned.c.principal_id))
_SAID = sa.select(_p.groups).join(_all_owned, _all_owned.c.principal_id == _p.principal_id).where(_p.groups != "{}")
_joined_by_owned = sa.select(_m.group_name).join(
    _all_owned, sa.and_(_m.member == _all_owned.c.principal_id, _m.is_group == sa.false())
)
_all_of_owned = _with_all_above(
    sa.select(groups.c.name)
    .where(sa.or_(groups.c.name.in_(_joined_by_owned), groups.c.name.in_(sa.bindparam("given", expanding=True))))
    .cte("of_owned", recursive=True)
)
_REACHED = _bindings(
    principals=_b.subject.in_(sa.select(_all_owned.c.principal_id)),
    groups=_b.subject.in_(sa.select(_all_of_owned.c.name)),
)
