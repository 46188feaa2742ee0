"""`modelry whoami`: who the caller is to a server, and what it may do."""

from __future__ import annotations

import shlex
from typing import Any

import typer

from modelry_cli.names import Names
from modelry_cli.session import Session, asks
from modelry_cli.terminal import output
from modelry_cli.terminal.output import Format

_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@asks(_app, "whoami")
def whoami(session: Session) -> None:
    """Says who you are to the server, by which credential, and what you may do where.

    With --workspace only what you may do there.
    """
    found = session.client.whoami(session.workspace or "")
    if session.format is Format.JSON:
        output.write_json(found)
        return
    if not found.authenticated:
        output.write_text(
            f"The server does not know its callers, so everybody may do everything. You call yourself "
            f"{found.principal.name!r}."
        )
        return
    principal, token, names = found.principal, found.token, Names(session)
    drawn = {
        "name": principal.name,
        "display_name": principal.display_name,
        "principal_id": principal.principal_id,
        "kind": principal.kind,
        "issuer": principal.issuer,
        "groups": found.groups,
        "token": token and f"{token.token_id}, ends with {token.hint}",
        "token_expires": token and token.expire_time,
        "token_capped_to": token and ", ".join(filter(None, (token.role_cap, *token.workspaces))),
        "may": [
            {"where": names.place(each.place), "roles": each.roles, "permissions": each.permissions}
            for each in found.grants
        ],
    }
    session.show(found, drawn)
    if not found.grants:
        place = f"in the workspace {session.workspace}" if session.workspace else "anywhere"
        words = f"--user {shlex.quote(principal.name)} --workspace {shlex.quote(session.workspace or 'WORKSPACE')}"
        output.note(
            f"You have no role {place} that this credential can use. An administrator can give you one: "
            f"modelry role bind ROLE {words}"
        )


def command() -> Any:
    """The command; it has no verbs."""
    return typer.main.get_command(_app)
