"""Groups and their members as rows."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from modelry_server.access.entities import Group, Member
from modelry_server.access.store.tables import group_members, groups, role_bindings
from modelry_server.kernel.sql.statements import Transaction, insert

_m, _b = group_members.c, role_bindings.c


def add(tx: Transaction, group: Group) -> bool:
    """Writes a new group; False if the name is taken."""
    row = {"name": group.name, "create_time": group.create_time, **_changing(group)}
    return tx.execute(insert(tx, groups).values(row).on_conflict_do_nothing()).rowcount == 1


def find(tx: Transaction, name: str) -> Group | None:
    """The group with this name, if there is one."""
    row = tx.execute(sa.select(groups).where(groups.c.name == name)).one_or_none()
    return _entity(row) if row else None


def page(
    tx: Transaction, after: str, limit: int, *, among: Collection[str] | None = None, member: Member | None = None
) -> list[Group]:
    """The groups after a name, by name: all, or those `among` these names, and those that have a member themselves."""
    query = sa.select(groups).where(groups.c.name > after).order_by(groups.c.name).limit(limit)
    if among is not None:
        query = query.where(groups.c.name.in_(among))
    if member is not None:
        kind = sa.true() if member.is_group else sa.false()
        query = query.join(group_members, _m.group_name == groups.c.name)
        query = query.where(_m.member == member.name, _m.is_group == kind)
    return [_entity(row) for row in tx.execute(query)]


def update(tx: Transaction, group: Group) -> None:
    """Writes what can change of a group."""
    tx.execute(sa.update(groups).where(groups.c.name == group.name).values(_changing(group)))


def delete(tx: Transaction, name: str) -> tuple[int, int]:
    """Removes a group, also from others, with its members and bindings. Returns how many of both it had."""
    members = tx.execute(sa.delete(group_members).where(_m.group_name == name)).rowcount
    tx.execute(sa.delete(group_members).where(_m.member == name, _m.is_group == sa.true()))
    bindings = tx.execute(sa.delete(role_bindings).where(_b.subject == name, _b.is_group == sa.true())).rowcount
    tx.execute(sa.delete(groups).where(groups.c.name == name))
    return members, bindings


def has(tx: Transaction, name: str, members: Collection[Member]) -> frozenset[Member]:
    """Those of these that a group has."""
    return frozenset(
        Member(member, is_group)
        for is_group in (True, False)
        for member in tx.execute(
            sa.select(_m.member).where(
                _m.group_name == name,
                _m.is_group == (sa.true() if is_group else sa.false()),
                _m.member.in_([each.name for each in members if each.is_group == is_group]),
            )
        ).scalars()
    )


def count(tx: Transaction, name: str) -> int:
    """How many members a group has."""
    return int(tx.execute(sa.select(sa.func.count()).where(_m.group_name == name)).scalar_one())


def add_members(tx: Transaction, name: str, members: Collection[Member]) -> None:
    """Writes members that a group does not have yet; at least one."""
    rows = [{"group_name": name, "is_group": each.is_group, "member": each.name} for each in members]
    tx.execute(sa.insert(group_members), rows)


def remove_members(tx: Transaction, name: str, members: Collection[Member]) -> None:
    """Removes members of a group."""
    for is_group in (True, False):
        those = [each.name for each in members if each.is_group == is_group]
        kind = sa.true() if is_group else sa.false()
        tx.execute(sa.delete(group_members).where(_m.group_name == name, _m.is_group == kind, _m.member.in_(those)))


def member_page(tx: Transaction, name: str, after: Member | None, limit: int) -> list[Member]:
    """The members of a group after one of them: groups by name, then principals by id."""
    query = sa.select(_m.member, _m.is_group).where(_m.group_name == name)
    if after is not None and after.is_group:
        query = query.where(sa.or_(_m.is_group == sa.false(), _m.member > after.name))
    elif after is not None:
        query = query.where(_m.is_group == sa.false(), _m.member > after.name)
    rows = tx.execute(query.order_by(_m.is_group.desc(), _m.member).limit(limit))
    return [Member(row.member, row.is_group) for row in rows]


def above(tx: Transaction, name: str, most: int) -> list[frozenset[str]]:
    """The groups that a group is in, by how many steps: itself, those that it is in, those that these are in …"""
    return _steps(tx, [name], most, _m.group_name, _m.member)


def below(tx: Transaction, names: Collection[str], most: int) -> list[frozenset[str]]:
    """The groups that are in groups, by how many steps: these themselves, those that are in them …"""
    return _steps(tx, names, most, _m.member, _m.group_name)


def _steps(
    tx: Transaction, names: Collection[str], most: int, to: sa.ColumnElement[Any], by: sa.ColumnElement[Any]
) -> list[frozenset[str]]:
    """At most so many steps. A group that is reached in several ways is in several of them."""
    steps = [frozenset(names)] if names else []
    while steps and steps[-1] and len(steps) <= most:
        query = sa.select(to).where(_m.is_group == sa.true(), by.in_(steps[-1])).distinct()
        steps.append(frozenset(tx.execute(query).scalars()))
    return [each for each in steps if each]


def _changing(group: Group) -> dict[str, Any]:
    return {"description": group.description, "update_time": group.update_time, "revision": group.revision}


def _entity(row: Any) -> Group:
    return Group(row.name, row.description, row.create_time, row.update_time, row.revision)
