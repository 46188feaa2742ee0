"""`modelry role`: roles, and who has them where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelry_cli.names import Names
from modelry_cli.options import Description, Limit, NewDescription, Yes, agreed
from modelry_cli.session import Session, asks, fields_of
from modelry_cli.terminal import output
from modelry_cli.terminal.output import Column, Format

if TYPE_CHECKING:
    from modelry.types import Role, RoleBinding

app = typer.Typer(help="Roles, and who has them where.", no_args_is_help=True)

RoleName = Annotated[str, typer.Argument(help="The role.", metavar="ROLE")]
Permissions = Annotated[
    list[str] | None,
    typer.Option("--permission", help="A permission, such as runs.read. Can be repeated.", metavar="NAME"),
]
User = Annotated[str, typer.Option(help="The name or id of a person or a service account.", metavar="USER")]
Group = Annotated[str, typer.Option(help="A group.", metavar="GROUP")]
Experiment = Annotated[
    str, typer.Option(help="Only this experiment of the workspace: its id or name.", metavar="EXPERIMENT")
]
Model = Annotated[str, typer.Option(help="Only this registered model of the workspace.", metavar="MODEL")]
BindingId = Annotated[str, typer.Argument(help="The id of the binding.", metavar="BINDING_ID")]
Everywhere = Annotated[bool, typer.Option("--everywhere", help="The whole installation, with all workspaces.")]


@asks(app, "list")
def list_roles(session: Session, limit: Limit = None) -> None:
    """Lists roles: those that are part of Modelry, then others by name."""
    columns: list[Column[Role]] = [
        Column("NAME", lambda role: role.name),
        Column("BUILTIN", lambda role: "yes" if role.builtin else ""),
        Column("DESCRIPTION", lambda role: role.description, wraps=True),
        Column("PERMISSIONS", lambda role: role.permissions, wraps=True, spare=1),
    ]
    session.show_all(session.client.roles.list(), columns, limit=limit)


@asks(app, "get")
def get_role(session: Session, role: RoleName) -> None:
    """Shows a role with its permissions."""
    session.show(session.client.roles.get(role))


@asks(app, "create")
def create_role(
    session: Session, role: RoleName, permission: Permissions = None, description: Description = ""
) -> None:
    """Creates a role of permissions. `modelry role get admin` shows all that there are."""
    session.show(session.client.roles.create(role, permission or (), description=description))


@asks(app, "update")
def update_role(
    session: Session, role: RoleName, permission: Permissions = None, description: NewDescription = None
) -> None:
    """Changes the description, or replaces all permissions, for all who have the role."""
    if permission is None and description is None:
        raise typer.BadParameter("nothing to change; give --permission or --description")
    session.show(session.client.roles.update(role, permissions=permission, description=description))


@asks(app, "delete")
def delete_role(session: Session, role: RoleName, yes: Yes = False) -> None:
    """Deletes a role that nobody has."""
    agreed(f"Delete the role {role!r}?", yes)
    session.client.roles.delete(role)
    session.done(f"Deleted role {role}.", role=role)


@asks(app, "bind")
def bind_role(
    session: Session,
    role: RoleName,
    user: User = "",
    group: Group = "",
    experiment: Experiment = "",
    model: Model = "",
    everywhere: Everywhere = False,
) -> None:
    """Gives a role to a person, a service account or a group: in the workspace, or in a part of it.

    For the whole installation say --everywhere.
    """
    where = _where(session, user, group, experiment=experiment, model=model, everywhere=everywhere)
    _show(session, session.client.roles.bind(role, principal=user, group=group, **where))


@asks(app, "unbind")
def unbind_role(
    session: Session,
    role: Annotated[str, typer.Argument(help="The role.", metavar="ROLE")] = "",
    user: User = "",
    group: Group = "",
    experiment: Experiment = "",
    model: Model = "",
    everywhere: Everywhere = False,
    binding_id: Annotated[
        str, typer.Option("--id", help="The id of the binding, in place of all others.", metavar="ID")
    ] = "",
    yes: Yes = False,
) -> None:
    """Takes a role away, as `bind` has given it. Says who loses what if it is the role admin."""
    if binding_id:
        if role or user or group or experiment or model or everywhere:
            raise typer.BadParameter("--id names the binding, so give no role, user, group or place")
        session.client.roles.unbind(binding_id)
        session.done(f"Removed binding {binding_id}.", binding_id=binding_id)
        return
    if not role:
        raise typer.BadParameter("give the role, or the --id of the binding")
    where = _where(session, user, group, experiment=experiment, model=model, everywhere=everywhere)
    wanted = _binding(session, role, user, group, where)
    who, place = user or f"the group {group}", Names(session).place(wanted.place)
    if role == "admin":
        warning = f"{who[:1].upper()}{who[1:]} can then no longer administer it, unless another role says so."
        agreed(f"Take the role admin from {who}, {place}?", yes, warning=warning)
    session.client.roles.unbind(wanted.binding_id)
    session.done(
        f"Took the role {role} from {who}, {place}. Within five seconds it holds nowhere any more.",
        binding_id=wanted.binding_id,
    )


@asks(app, "binding")
def get_binding(session: Session, binding_id: BindingId) -> None:
    """Shows who has which role by a binding, and where."""
    _show(session, session.client.roles.binding(binding_id))


@asks(app, "bindings")
def list_bindings(
    session: Session,
    role: Annotated[str, typer.Option(help="Only this role.", metavar="ROLE")] = "",
    user: User = "",
    group: Group = "",
    experiment: Experiment = "",
    model: Model = "",
    everywhere: Everywhere = False,
    limit: Limit = None,
) -> None:
    """Lists who has which role in the workspace and in what lies in it, or everywhere.

    What is bound for the whole installation is listed with --everywhere only. With --user or --group only what is bound
    to it, in all places that you may see unless one is named, and not what is bound to the groups that it is in.
    """
    if user and group:
        raise typer.BadParameter("give --user or --group")
    where = _place(session, experiment, model, everywhere)
    if (user or group) and not (experiment or model or session.workspace):
        where["everywhere"] = True
    found = session.client.roles.bindings(role=role, principal=user, group=group, **where)
    names = Names(session)
    columns: list[Column[RoleBinding]] = [
        Column("ROLE", lambda binding: binding.role),
        Column("WHO", lambda binding: _subject(names, binding), wraps=True),
        Column("WHERE", lambda binding: names.place(binding.place), wraps=True),
        Column("SINCE", lambda binding: binding.create_time, spare=2),
        Column("ID", lambda binding: binding.binding_id, whole=True, spare=1),
    ]
    who = f"{user} has no role of their own" if user else f"The group {group} has no role" if group else ""
    nothing = f"{who or 'Nobody has a role'} {_told(session, **where)}."
    if role:
        nothing = f"No binding of the role {role} was found {_told(session, **where)}."
    session.show_all(found, columns, limit=limit, nothing=nothing)
    if user and session.format is Format.TABLE:
        output.note(
            "Roles of the groups that it is in are not among these: `modelry role bindings --group GROUP` lists them, "
            "and `modelry group members GROUP` who is in a group."
        )


def _told(session: Session, experiment: str, model: str, everywhere: bool) -> str:
    """Where bindings were looked for, in words. Those for all places are only as many as the caller may see."""
    if everywhere:
        return "in any place that you may see"
    part = f"the experiment {experiment} of " if experiment else f"the model {model} of " if model else ""
    return f"in {part}the workspace {session.client.workspace}"


def _place(session: Session, experiment: str, model: str, everywhere: bool) -> dict[str, Any]:
    if sum(map(bool, (experiment, model, everywhere))) > 1:
        raise typer.BadParameter("give one of --experiment, --model and --everywhere")
    if everywhere and session.workspace:
        raise typer.BadParameter("--everywhere is the whole installation, so give it or --workspace")
    return {"experiment": experiment, "model": model, "everywhere": everywhere}


def _where(session: Session, user: str, group: str, *, experiment: str, model: str, everywhere: bool) -> dict[str, Any]:
    if bool(user) == bool(group):
        raise typer.BadParameter("say who: --user or --group")
    return _place(session, experiment, model, everywhere)


def _binding(session: Session, role: str, user: str, group: str, where: dict[str, Any]) -> RoleBinding:
    """The binding of a role to somebody at exactly a place."""
    from modelry.errors import RoleBindingNotFound

    place = session.client.roles.place(**where)
    for binding in session.client.roles.bindings(role=role, principal=user, group=group, **where):
        if binding.place == place:
            return binding
    who = user or f"the group {group}"
    raise RoleBindingNotFound(
        f"{who} does not have the role {role!r} by a binding of its own, {Names(session).place(place)}; "
        "`modelry role bindings` shows what there is",
        metadata={"role": role, "subject": user or group},
    )


def _subject(names: Names, binding: RoleBinding) -> str:
    return f"group {binding.group}" if binding.group else names.of(binding.principal_id)


def _show(session: Session, binding: RoleBinding) -> None:
    drawn = {key: value for key, value in fields_of(binding).items() if key != "place"}
    session.show(binding, {**drawn, "where": Names(session).place(binding.place)})
