"""`modelry user`: people and service accounts."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.names import Names
from modelry_cli.options import Limit, UserWord
from modelry_cli.session import Session, asks
from modelry_cli.terminal import output
from modelry_cli.terminal.output import Column

if TYPE_CHECKING:
    from modelry.types import Principal

app = typer.Typer(help="People and service accounts, who call a server.", no_args_is_help=True)

_BOOTSTRAP = "MODELRY_BOOTSTRAP_TOKEN"
_LONGEST = 1 << 12

DisplayName = Annotated[str, typer.Option(help="The name that people read.", metavar="TEXT")]
NewName = Annotated[str, typer.Argument(help="The name, which never changes.", metavar="NAME")]
ServiceAccount = Annotated[bool, typer.Option("--service-account", help="A program and no person.")]


@asks(app, "list")
def list_users(
    session: Session,
    service_account: Annotated[bool, typer.Option("--service-account", help="Only service accounts.")] = False,
    find: Annotated[
        str, typer.Option(help="Only those with this text in their name or display name.", metavar="TEXT")
    ] = "",
    limit: Limit = None,
) -> None:
    """Lists people and service accounts, by name."""
    names = Names(session)
    columns: list[Column[Principal]] = [
        Column("NAME", lambda user: user.name, wraps=True),
        Column("KIND", lambda user: _kind(user)),
        Column("DISPLAY NAME", lambda user: user.display_name, wraps=True, spare=2),
        Column("STATE", lambda user: "disabled" if user.disabled else ""),
        Column("ISSUER", lambda user: user.issuer, wraps=True, spare=3),
        Column("OWNER", lambda user: names.of(user.owner_id), wraps=True, spare=4),
        Column("ID", lambda user: user.principal_id, whole=True, spare=1),
    ]
    kind = "SERVICE_ACCOUNT" if service_account else None
    found = session.client.principals.list(kind=kind, name_contains=find)
    session.show_all(found, columns, limit=limit, nothing="Nobody.")


@asks(app, "get")
def get_user(session: Session, user: UserWord) -> None:
    """Shows a person or a service account."""
    session.show(session.client.principals.get(user))


@asks(app, "create")
def create_user(
    session: Session,
    name: NewName,
    service_account: ServiceAccount = False,
    display_name: DisplayName = "",
    owner: Annotated[
        str, typer.Option(help="Who answers for a service account, and may make its tokens.", metavar="USER")
    ] = "",
    issuer: Annotated[str, typer.Option(help="Who vouches: the URL of an issuer, or certificate.", metavar="URL")] = "",
    external_id: Annotated[str, typer.Option(help="The id that the issuer gives.", metavar="ID")] = "",
) -> None:
    """Creates a person, or a service account. People who sign in at an issuer need not be created before."""
    made = session.client.principals.create(
        name,
        kind="SERVICE_ACCOUNT" if service_account else "USER",
        display_name=display_name,
        owner=owner,
        issuer=issuer,
        external_id=external_id,
    )
    session.show(made)


@asks(app, "update")
def update_user(
    session: Session,
    user: UserWord,
    display_name: Annotated[str | None, typer.Option(help="The new name that people read.", metavar="TEXT")] = None,
    owner: Annotated[
        str | None, typer.Option(help="Who answers for the service account from now on; '': nobody.", metavar="USER")
    ] = None,
) -> None:
    """Changes the display name, or the owner of a service account."""
    if display_name is None and owner is None:
        raise typer.BadParameter("nothing to change; give --display-name or --owner")
    session.show(session.client.principals.update(user, display_name=display_name, owner=owner))


@asks(app, "disable")
def disable_user(session: Session, user: UserWord) -> None:
    """Refuses all credentials of a person or a service account. `enable` undoes it."""
    disabled = session.client.principals.disable(user)
    session.done(
        f"Disabled {disabled.name}: all of its credentials are refused within five seconds.",
        principal_id=disabled.principal_id,
        disabled=disabled.disabled,
    )


@asks(app, "enable")
def enable_user(session: Session, user: UserWord) -> None:
    """Accepts the credentials of a person or a service account again."""
    enabled = session.client.principals.enable(user)
    session.done(
        f"Enabled {enabled.name}: its credentials that were not revoked are accepted again.",
        principal_id=enabled.principal_id,
        disabled=enabled.disabled,
    )


@asks(app, "create-administrator")
def create_administrator(
    session: Session,
    name: NewName,
    display_name: DisplayName = "",
    bootstrap_file: Annotated[
        Path | None,
        typer.Option(help="The file with the bootstrap token: bootstrap.token in the data folder.", metavar="FILE"),
    ] = None,
) -> None:
    """Makes the first administrator of an installation, and logs in as this one.

    The bootstrap token is read from --bootstrap-file, from MODELRY_BOOTSTRAP_TOKEN, or from standard input. The server
    writes it into its data folder, as bootstrap.token. It can be used once.
    """
    from modelry import Client, credentials

    client = Client(session.address, session.client.workspace, token=_bootstrap_token(bootstrap_file))
    made = client.principals.create_administrator(name, display_name=display_name)
    try:
        kept = credentials.keep_token(made.token.secret, session.address)
    except BaseException:
        # The bootstrap token is spent, so what is not shown now is lost.
        output.note("The login can't be kept. This is the token of the administrator, which is shown this once:")
        output.write_text(made.token.secret)
        raise
    session.done(
        f"{made.principal.name} is the administrator of {kept.server}. You are logged in as this one: the token is "
        f"kept in {kept.place}, and ends on {made.token.expire_time:%Y-%m-%d}. The bootstrap token is spent.",
        principal=made.principal,
        token_id=made.token.token_id,
        expire_time=made.token.expire_time,
        server=kept.server,
    )


def _bootstrap_token(file: Path | None) -> str:
    """The bootstrap token; never from the arguments, which every user of the machine can list."""
    if file is not None:
        if not file.exists():
            output.refuse(
                f"{file} is not there: the server deletes it once it was used, so there may be an administrator "
                "already; docs/access.md says how to let one in again"
            )
            raise typer.Exit(1)
        with file.open("rb") as source:
            given, where = source.read(_LONGEST).decode("ascii", errors="replace"), str(file)
    elif given := os.environ.get(_BOOTSTRAP, ""):
        where = _BOOTSTRAP
    elif sys.stdin.isatty():
        given, where = getpass.getpass("Bootstrap token: "), "what was entered"
    else:
        given, where = sys.stdin.read(_LONGEST), "standard input"
    given = given.strip()
    if not given.startswith("mdy_b_"):
        output.refuse(f"{where} has no bootstrap token, which begins with mdy_b_")
        raise typer.Exit(1)
    return given


def _kind(user: Principal) -> str:
    return "person" if user.kind == "USER" else user.kind.lower().replace("_", " ")
