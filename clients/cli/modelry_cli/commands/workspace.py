"""`modelry workspace`: workspaces, which separate teams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.options import Description, Limit
from modelry_cli.session import Session, asks
from modelry_cli.terminal.output import Column, Format

if TYPE_CHECKING:
    from modelry.types import Used, Workspace

app = typer.Typer(help="Workspaces, which separate teams.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The workspace.", metavar="WORKSPACE")]


@asks(app, "list")
def list_workspaces(session: Session, limit: Limit = None) -> None:
    """Lists workspaces, by name."""
    columns: list[Column[Workspace]] = [
        Column("NAME", lambda workspace: workspace.name),
        Column("DESCRIPTION", lambda workspace: workspace.description, wraps=True),
        Column("CREATED", lambda workspace: workspace.create_time),
    ]
    session.show_all(session.client.workspaces.list(), columns, limit=limit)


@asks(app, "get")
def get_workspace(session: Session, name: Name) -> None:
    """Shows a workspace."""
    session.show(session.client.workspaces.get(name))


@asks(app, "create")
def create_workspace(session: Session, name: Name, description: Description = "") -> None:
    """Creates a workspace."""
    session.show(session.client.workspaces.create(name, description=description))


@asks(app, "update")
def update_workspace(
    session: Session, name: Name, description: Annotated[str, typer.Option(help="The new description.")]
) -> None:
    """Changes the description of a workspace."""
    session.show(session.client.workspaces.update(name, description=description))


# --- usage ---------------------------------------------------------------------------------------------------------


@asks(app, "usage")
def workspace_usage(
    session: Session,
    name: Annotated[str | None, typer.Argument(help="The workspace. Default: that of the session.")] = None,
) -> None:
    """Shows how many runs, versions and bytes a workspace has, and how much of its quotas that is."""
    usage = session.client.workspaces.usage(name)
    if session.format is Format.JSON:
        session.show(usage)
        return
    rows = [("runs", usage.runs), ("versions", usage.versions), ("stored bytes", usage.stored_bytes)]
    columns: list[Column[tuple[str, Used]]] = [
        Column("WHAT", lambda row: row[0]),
        Column("USED", lambda row: row[1].used),
        Column("LIMIT", lambda row: row[1].limit),
        Column("PERCENT", lambda row: None if row[1].share is None else f"{100 * row[1].share:.1f}"),
    ]
    session.show_all(rows, columns)
