"""Roles as rows: those that are no part of Modelry."""

import json
from typing import Any

import sqlalchemy as sa

from modelry_server.access.entities import Role
from modelry_server.access.store.tables import role_bindings, roles, tokens
from modelry_server.kernel.sql.statements import Transaction, insert


def add(tx: Transaction, role: Role) -> bool:
    """Writes a new role; False if the name is taken."""
    row = {"name": role.name, "create_time": role.create_time, **_changing(role)}
    return tx.execute(insert(tx, roles).values(row).on_conflict_do_nothing()).rowcount == 1


def find(tx: Transaction, name: str) -> Role | None:
    """The role with this name, if there is one."""
    row = tx.execute(sa.select(roles).where(roles.c.name == name)).one_or_none()
    return _entity(row) if row else None


def page(tx: Transaction, after: str, limit: int) -> list[Role]:
    """The roles after a name, by name."""
    query = sa.select(roles).where(roles.c.name > after).order_by(roles.c.name).limit(limit)
    return [_entity(row) for row in tx.execute(query)]


def update(tx: Transaction, role: Role) -> None:
    """Writes what can change of a role."""
    tx.execute(sa.update(roles).where(roles.c.name == role.name).values(_changing(role)))


def delete(tx: Transaction, name: str) -> None:
    """Removes a role."""
    tx.execute(sa.delete(roles).where(roles.c.name == name))


def uses(tx: Transaction, name: str, now: int) -> tuple[int, int]:
    """How many bindings a role has, and of how many tokens that can still be used it is the cap."""
    bound = sa.select(sa.func.count()).where(role_bindings.c.role == name)
    capped = sa.select(sa.func.count()).where(
        tokens.c.role_cap == name, tokens.c.revoke_time.is_(None), tokens.c.expire_time > now
    )
    row = tx.execute(sa.select(bound.scalar_subquery().label("bound"), capped.scalar_subquery().label("capped"))).one()
    return row.bound, row.capped


def _changing(role: Role) -> dict[str, Any]:
    return {
        "description": role.description,
        "permissions": json.dumps(list(role.permissions), separators=(",", ":")),
        "update_time": role.update_time,
        "revision": role.revision,
    }


def _entity(row: Any) -> Role:
    return Role(
        row.name,
        row.description,
        tuple(json.loads(row.permissions)),
        create_time=row.create_time,
        update_time=row.update_time,
        revision=row.revision,
    )
