"""`modelry group`: groups of people, of service accounts and of other groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.names import Names
from modelry_cli.options import Description, GroupName, Limit, Yes, agreed
from modelry_cli.session import Session, asks, fields_of
from modelry_cli.terminal.output import Column

if TYPE_CHECKING:
    from modelry.types import Group, GroupMember

app = typer.Typer(help="Groups of people, of service accounts and of other groups.", no_args_is_help=True)

Users = Annotated[
    list[str] | None, typer.Argument(help="Names or ids of people and service accounts.", metavar="USER...")
]
Groups = Annotated[list[str] | None, typer.Option("--group", help="Another group. Can be repeated.", metavar="GROUP")]

OfUser = Annotated[str, typer.Option(help="Only groups that this person or service account is in.", metavar="USER")]
OfGroup = Annotated[str, typer.Option(help="Only groups that this group is in.", metavar="GROUP")]


@asks(app, "list")
def list_groups(session: Session, user: OfUser = "", group: OfGroup = "", limit: Limit = None) -> None:
    """Lists groups, by name.

    With --user or --group only those that have this member themselves, and not through another group.
    """
    if user and group:
        raise typer.BadParameter("give --user or --group")
    columns: list[Column[Group]] = [
        Column("NAME", lambda group: group.name, wraps=True),
        Column("DESCRIPTION", lambda group: group.description, wraps=True),
        Column("CREATED", lambda group: group.create_time, spare=1),
    ]
    found = session.client.groups.list(principal=user, group=group)
    session.show_all(found, columns, limit=limit, nothing="No groups.")


@asks(app, "get")
def get_group(session: Session, group: GroupName) -> None:
    """Shows a group. `members` lists who is in it."""
    session.show(session.client.groups.get(group))


@asks(app, "members")
def list_members(session: Session, group: GroupName, limit: Limit = None) -> None:
    """Lists the members of a group: other groups, then people and service accounts."""
    columns: list[Column[GroupMember]] = [
        Column("MEMBER", lambda member: f"group {member.group}" if member.group else names.of(member.principal_id)),
        Column("ID", lambda member: member.principal_id, whole=True),
    ]
    names = Names(session)
    session.show_all(session.client.groups.members(group), columns, limit=limit, nothing="Nobody is in it.")


@asks(app, "create")
def create_group(session: Session, group: GroupName, description: Description = "") -> None:
    """Creates a group. Tokens of an issuer that name it put their person into it."""
    session.show(session.client.groups.create(group, description=description))


@asks(app, "update")
def update_group(
    session: Session,
    group: GroupName,
    description: Annotated[str, typer.Option(help="The new description.", metavar="TEXT")],
) -> None:
    """Changes the description of a group."""
    session.show(session.client.groups.update(group, description=description))


@asks(app, "delete")
def delete_group(session: Session, group: GroupName, yes: Yes = False) -> None:
    """Deletes a group, with the bindings of its roles."""
    agreed(f"Delete the group {group!r}? Whoever is in it loses the roles that are bound to it.", yes)
    session.client.groups.delete(group)
    session.done(f"Deleted group {group}.", group=group)


@asks(app, "add")
def add_members(session: Session, group: GroupName, users: Users = None, groups: Groups = None) -> None:
    """Adds people, service accounts and other groups, all or none."""
    _need_somebody(users, groups)
    changed = session.client.groups.add(group, users or (), groups=groups or ())
    session.show(changed, {**fields_of(changed), "added": _told(users, groups)})


@asks(app, "remove")
def remove_members(session: Session, group: GroupName, users: Users = None, groups: Groups = None) -> None:
    """Removes people, service accounts and other groups, all or none."""
    _need_somebody(users, groups)
    changed = session.client.groups.remove(group, users or (), groups=groups or ())
    session.show(changed, {**fields_of(changed), "removed": _told(users, groups)})


def _need_somebody(users: list[str] | None, groups: list[str] | None) -> None:
    if not users and not groups:
        raise typer.BadParameter("say who: names of people or service accounts, or --group")


def _told(users: list[str] | None, groups: list[str] | None) -> str:
    return ", ".join([*(users or ()), *(f"group {each}" for each in groups or ())])
