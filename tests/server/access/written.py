"""Rows of access that tests write past the rules, so that each rule can be tried alone."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from modelry_server.access.store import tables
from modelry_server.kernel.access import INSTALLATION, Place
from modelry_server.kernel.ids import new_id
from modelry_server.kernel.sql.statements import Transaction


def a_principal(tx: Transaction, principal_id: str = "", *, is_disabled: bool = False) -> str:
    """A principal; its id."""
    principal_id = principal_id or new_id()
    row = {
        "principal_id": principal_id,
        "kind": 1,
        "name": f"name of {principal_id}",
        "display_name": "",
        "issuer": "",
        "external_id": "",
        "owner_id": "",
        "is_disabled": is_disabled,
        "not_before": 0,
        "create_time": 1,
        "update_time": 1,
        "revision": 1,
        "groups": "{}",
    }
    tx.execute(sa.insert(tables.principals).values(row))
    return principal_id


def disable(tx: Transaction, principal_id: str) -> None:
    """Disables a principal."""
    t = tables.principals
    tx.execute(sa.update(t).where(t.c.principal_id == principal_id).values(is_disabled=True))


def a_workspace(tx: Transaction, name: str) -> None:
    """A workspace."""
    row = {"name": name, "description": "", "create_time": 1, "update_time": 1, "revision": 1}
    tx.execute(sa.insert(tables.workspaces).values(row))


def a_group(tx: Transaction, name: str, *, people: Iterable[str] = (), groups: Iterable[str] = ()) -> str:
    """A group with members; its name."""
    row = {"name": name, "description": "", "create_time": 1, "update_time": 1, "revision": 1}
    tx.execute(sa.insert(tables.groups).values(row))
    for member in people:
        join(tx, name, member)
    for member in groups:
        join(tx, name, member, is_group=True)
    return name


def join(tx: Transaction, group: str, member: str, *, is_group: bool = False) -> None:
    """Puts somebody into a group."""
    tx.execute(sa.insert(tables.group_members).values(group_name=group, member=member, is_group=is_group))


def a_role(tx: Transaction, name: str, *permissions: str) -> str:
    """A role that is no part of Modelry; its name."""
    told = "[" + ",".join(f'"{each}"' for each in permissions) + "]"
    row = {"name": name, "description": "", "permissions": told, "create_time": 1, "update_time": 1, "revision": 1}
    tx.execute(sa.insert(tables.roles).values(row))
    return name


def bind(tx: Transaction, role: str, subject: str, place: Place = INSTALLATION, *, is_group: bool = False) -> str:
    """Gives somebody a role; the id of the binding."""
    binding_id = new_id()
    row = {
        "binding_id": binding_id,
        "role": role,
        "is_group": is_group,
        "subject": subject,
        "workspace": place.workspace,
        "experiment_id": place.experiment_id,
        "model_id": place.model_id,
        "creator_id": "",
        "create_time": 1,
    }
    tx.execute(sa.insert(tables.role_bindings).values(row))
    return binding_id
