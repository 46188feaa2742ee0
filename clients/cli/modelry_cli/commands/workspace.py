"""`modelry workspace`: workspaces, which separate teams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.options import NO_LIMIT, Description, Limit, NewDescription, most
from modelry_cli.session import Session, asks, fields_of
from modelry_cli.terminal.output import Column, Format
from modelry_cli.terminal.words import size

if TYPE_CHECKING:
    from modelry.types import Used, Workspace, WorkspaceQuotas

app = typer.Typer(help="Workspaces, which separate teams.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The workspace.", metavar="WORKSPACE")]
MostRuns = Annotated[
    str | None,
    typer.Option(help="The most runs, deleted ones among them; none: no limit.", metavar="N|none", callback=most),
]
MostVersions = Annotated[
    str | None, typer.Option(help="The most versions of models; none: no limit.", metavar="N|none", callback=most)
]
MostBytes = Annotated[
    str | None, typer.Option(help="The most bytes of files; none: no limit.", metavar="N|none", callback=most)
]


@asks(app, "list")
def list_workspaces(session: Session, limit: Limit = None) -> None:
    """Lists workspaces, by name."""
    columns: list[Column[Workspace]] = [
        Column("NAME", lambda workspace: workspace.name),
        Column("DESCRIPTION", lambda workspace: workspace.description, wraps=True),
        Column("QUOTAS", lambda workspace: _quotas_text(workspace.quotas), spare=1),
        Column("CREATED", lambda workspace: workspace.create_time),
    ]
    session.show_all(session.client.workspaces.list(), columns, limit=limit)


@asks(app, "get")
def get_workspace(session: Session, name: Name) -> None:
    """Shows a workspace."""
    _show(session, session.client.workspaces.get(name))


@asks(app, "create")
def create_workspace(
    session: Session,
    name: Name,
    description: Description = "",
    most_runs: MostRuns = None,
    most_versions: MostVersions = None,
    most_bytes: MostBytes = None,
) -> None:
    """Creates a workspace. A quota that is not given is no limit."""
    quotas = _limits(most_runs, most_versions, most_bytes)
    _show(session, session.client.workspaces.create(name, description=description, quotas=quotas))


@asks(app, "update")
def update_workspace(
    session: Session,
    name: Name,
    description: NewDescription = None,
    most_runs: MostRuns = None,
    most_versions: MostVersions = None,
    most_bytes: MostBytes = None,
) -> None:
    """Changes the description or the quotas of a workspace. A quota that is not given stays."""
    quotas = _limits(most_runs, most_versions, most_bytes)
    if description is None and not quotas:
        raise typer.BadParameter("nothing to change; give --description or a quota")
    _show(session, session.client.workspaces.update(name, description=description, quotas=quotas))


def _limits(runs: str | None, versions: str | None, stored: str | None) -> dict[str, int | None]:
    """The quotas that were given; None for no limit."""
    given = {"run_count": runs, "version_count": versions, "stored_bytes": stored}
    return {name: None if word == NO_LIMIT else int(word) for name, word in given.items() if word is not None}


def _show(session: Session, workspace: Workspace) -> None:
    session.show(workspace, {**fields_of(workspace), "quotas": _quotas_text(workspace.quotas)})


def _quotas_text(quotas: WorkspaceQuotas) -> str:
    """The limits of a workspace in words."""
    limits = (
        "" if quotas.run_count is None else f"runs {quotas.run_count}",
        "" if quotas.version_count is None else f"versions {quotas.version_count}",
        "" if quotas.stored_bytes is None else size(quotas.stored_bytes).replace(".0 ", " "),
    )
    return ", ".join(filter(None, limits)) or "no limits"


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
        Column("LIMIT", lambda row: "no limit" if row[1].limit is None else row[1].limit),
        Column("PERCENT", lambda row: None if row[1].share is None else f"{100 * row[1].share:.1f}"),
    ]
    session.show_all(rows, columns)
