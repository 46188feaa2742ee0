"""Principals as rows of a table."""

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from modelry_server.access.entities import Principal, PrincipalKind
from modelry_server.access.store.tables import principals
from modelry_server.kernel.sql.predicate import contains
from modelry_server.kernel.sql.statements import Transaction, insert

_COLUMNS = tuple(column.name for column in principals.columns)
is_external = principals.c.issuer != sa.literal_column("''")
"""Whether an issuer vouches for a principal, said as the index says it, so that it is used."""


def add(tx: Transaction, principal: Principal) -> bool:
    """Writes a new principal; False if its name, or its id of the issuer, is taken."""
    row = {name: getattr(principal, name) for name in _COLUMNS}
    row |= {"kind": int(principal.kind), "groups": json.dumps(principal.groups)}
    return tx.execute(insert(tx, principals).values(row).on_conflict_do_nothing()).rowcount == 1


def find(tx: Transaction, principal_id: str) -> Principal | None:
    """The principal with this id, if there is one."""
    return _one(tx, principals.c.principal_id == principal_id)


def by_name(tx: Transaction, name: str) -> Principal | None:
    """The principal with this name, if there is one."""
    return _one(tx, principals.c.name == name)


def by_external_id(tx: Transaction, issuer: str, external_id: str) -> Principal | None:
    """The principal with this id of an issuer, if there is one."""
    return _one(tx, sa.and_(principals.c.issuer == issuer, principals.c.external_id == external_id, is_external))


def page(
    tx: Transaction,
    after: str,
    limit: int,
    *,
    kind: PrincipalKind | None = None,
    only_of: str | None = None,
    name_contains: str = "",
) -> list[Principal]:
    """The principals after a name, by name: all of a kind; with `only_of` this one, and those that it owns.

    With `name_contains` those with this text in one of their names; the case of the letters A to Z does not matter.
    """
    t = principals
    query = sa.select(t).where(t.c.name > after).order_by(t.c.name).limit(limit)
    if kind is not None:
        query = query.where(t.c.kind == int(kind))
    if only_of is not None:
        query = query.where(sa.or_(t.c.principal_id == only_of, t.c.owner_id == only_of))
    if name_contains:
        query = query.where(sa.or_(*(contains(name, name_contains) for name in (t.c.name, t.c.display_name))))
    return [entity(row) for row in tx.execute(query)]


def above(tx: Transaction, principal_id: str, most: int) -> list[str]:
    """A principal, its owner, the owner of that one …: at most so many, also if they own each other."""
    found = [principal_id]
    while len(found) < most and (owner_id := _owner(tx, found[-1])):
        found.append(owner_id)
    return found


def depth_below(tx: Transaction, principal_id: str, most: int) -> int:
    """How many steps of owning there are below a principal: 0 if it owns nothing, at most so many."""
    owners, steps = [principal_id], -1
    while owners and steps < most:
        query = sa.select(principals.c.principal_id).where(principals.c.owner_id.in_(owners))
        owners, steps = list(tx.execute(query).scalars()), steps + 1
    return steps


def _owner(tx: Transaction, principal_id: str) -> str:
    query = sa.select(principals.c.owner_id).where(principals.c.principal_id == principal_id)
    return tx.execute(query).scalar_one_or_none() or ""


def update(tx: Transaction, principal: Principal) -> None:
    """Writes what can change of a principal."""
    t = principals
    tx.execute(
        sa.update(t)
        .where(t.c.principal_id == principal.principal_id)
        .values(
            display_name=principal.display_name,
            owner_id=principal.owner_id,
            is_disabled=principal.is_disabled,
            not_before=principal.not_before,
            update_time=principal.update_time,
            revision=principal.revision,
        )
    )


def note_groups(tx: Transaction, principal_id: str, groups: Mapping[str, int]) -> None:
    """Writes which groups the issuer of a principal said. It is no change of the principal, as its revision tells."""
    change = sa.update(principals).where(principals.c.principal_id == principal_id)
    tx.execute(change.values(groups=json.dumps(groups)))


def _one(tx: Transaction, condition: sa.ColumnElement[bool]) -> Principal | None:
    row = tx.execute(sa.select(principals).where(condition)).one_or_none()
    return entity(row) if row else None


def entity(row: Any) -> Principal:
    """The principal in a row."""
    values = {name: getattr(row, name) for name in _COLUMNS}
    return Principal(**values | {"kind": PrincipalKind(row.kind), "groups": json.loads(row.groups)})
