"""`modelry logout`: forgets the login to a server."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from modelry_cli.commands.login import Server
from modelry_cli.terminal import output

_TOKEN = (
    "An API token is forgotten here and stays valid until it ends. Without another copy nobody can use it, so an "
    "administrator has to make the next one."
)
_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@_app.command()
def logout(
    server: Server = None,
    everywhere: Annotated[bool, typer.Option("--all", help="Log out of all servers.")] = False,
) -> None:
    """Logs out of a server: revokes the login at the identity provider, and forgets it.

    If the provider does not answer the login is forgotten all the same, and the exit code is 1. An API token that is
    forgotten stays valid: revoke it before with `modelry token revoke`, if it is not wanted any more.
    """
    from modelry import ModelryError, credentials

    if everywhere and server is not None:
        raise typer.BadParameter("give --server or --all")
    problems = 0
    try:
        kept = {login.server: login for login in credentials.kept()}
        names = [*kept] if everywhere else [server]
        for name in names:
            given = kept.get(name) if name else next(iter(kept.values()), None) if len(kept) == 1 else None
            if given is not None and not given.issuer:
                output.note(_TOKEN)
            problem = credentials.log_out(name)
            problems += bool(problem)
            of = f" of {name}" if name else ""
            output.write_text(f"Logged out{of}. The login is forgotten on this machine.")
            if problem:
                output.refuse(f"it could not be revoked, and ends when it expires: {problem}")
    except ModelryError as refused:
        output.refuse(str(refused))
        raise typer.Exit(1) from None
    if not names:
        output.write_text("There is no login on this machine.")
    if problems:
        raise typer.Exit(1)


def command() -> Any:
    """The command; it has no verbs."""
    return typer.main.get_command(_app)
