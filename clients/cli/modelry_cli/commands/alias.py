"""`modelry alias`: names that point at one version of a model."""

from __future__ import annotations

from typing import Annotated

import typer

from modelry_cli.commands.version import show_version
from modelry_cli.options import ModelName, Number, Reason
from modelry_cli.session import Session, asks
from modelry_cli.terminal.output import Column

app = typer.Typer(help="Aliases: names that point at one version of a model.", no_args_is_help=True)

Alias = Annotated[str, typer.Argument(help="The alias, such as champion.", metavar="ALIAS")]


@asks(app, "list")
def list_aliases(session: Session, model: ModelName) -> None:
    """Lists the aliases of a model."""
    aliases = session.client.models.get(model).aliases
    found: list[dict[str, object]] = [
        {"model_name": model, "alias": alias, "version_number": number} for alias, number in sorted(aliases.items())
    ]
    columns: list[Column[dict[str, object]]] = [
        Column("ALIAS", lambda row: row["alias"]),
        Column("VERSION", lambda row: row["version_number"]),
    ]
    session.show_all(found, columns, nothing=f"{model} has no aliases.")


@asks(app, "get")
def get_alias(session: Session, model: ModelName, alias: Alias) -> None:
    """Shows the version that an alias points at."""
    show_version(session, session.client.aliases.get(model, alias))


@asks(app, "set")
def set_alias(session: Session, model: ModelName, alias: Alias, number: Number, reason: Reason = "") -> None:
    """Points an alias at a version, wherever it pointed before."""
    session.show(session.client.aliases.set(model, alias, number, reason=reason))


@asks(app, "delete")
def delete_alias(session: Session, model: ModelName, alias: Alias, reason: Reason = "") -> None:
    """Removes an alias. The version stays."""
    session.client.aliases.delete(model, alias, reason=reason)
    session.done(f"Deleted alias {alias} of {model}.", model_name=model, alias=alias)
