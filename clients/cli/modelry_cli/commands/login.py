"""`modelry login`: gets a token for a server, and keeps it on this machine."""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelry_cli.options import agreed
from modelry_cli.terminal import output
from modelry_cli.terminal.output import Format

if TYPE_CHECKING:
    from modelry.credentials import PlannedLogin

_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_LONGEST = 1 << 16

Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        "--address",
        help="The server: host:port. Default: MODELRY_TRACKING_URI, else 127.0.0.1:5100.",
        metavar="ADDRESS",
    ),
]


@_app.command()
def login(
    server: Server = None,
    device: Annotated[bool, typer.Option("--device", help="Log in on another device, by a code.")] = False,
    token: Annotated[
        bool,
        typer.Option(
            "--token",
            help="Keep a token that you have, or exchange an invitation. It is asked for, or read from standard input.",
        ),
    ] = False,
    issuer: Annotated[
        str,
        typer.Option(
            help="The identity provider that you expect. Without it you are asked about the one that the server names, "
            "at the first login.",
            metavar="URL",
        ),
    ] = "",
    client_id: Annotated[
        str,
        typer.Option(help="The client that Modelry is at --issuer. With it the server is not asked.", metavar="ID"),
    ] = "",
    send: Annotated[
        str,
        typer.Option(
            help="Which token is sent: access, id, or auto: the access token if it is a JWT, else the ID token.",
            metavar="TOKEN",
        ),
    ] = "auto",
    keyring: Annotated[
        bool, typer.Option("--keyring", help="Keep tokens in the keyring of this system, by the package keyring.")
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the browser, or only show the URL.")
    ] = True,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", help="Log in also where the token is good at another server. To agree to an issuer, name it."
        ),
    ] = False,
    output_format: Annotated[
        Format, typer.Option("--output", "-o", help="A table for people, or JSON for programs.")
    ] = Format.TABLE,
) -> None:
    """Logs in to a server, by the browser, and keeps the login for this server.

    The SDK and the commands use it from then on, and renew it by themselves. MODELRY_TOKEN and MODELRY_TOKEN_FILE win
    over it.
    """
    from modelry import ModelryError, credentials

    if token and (device or issuer or client_id or send != "auto"):
        raise typer.BadParameter("--token keeps a token that you have, so it takes no --device, --issuer or --send")

    def agree(plan: PlannedLogin) -> bool:
        if not plan.is_new:
            named = "which it names" if plan.named else "which you name"
            output.note(f"Logging in to {plan.server} at the issuer {plan.issuer}, {named}, as {plan.client_id}.")
        if plan.risk:
            # No --yes agrees to an issuer that nobody has seen: whoever agrees beforehand says which one.
            agreed(f"Log in to {plan.server}?", yes and not plan.is_new, warning=plan.risk, by=plan.consent)
        return True

    try:
        if token:
            kept = credentials.keep_token(_token(), server, keyring=keyring)
        elif device:
            kept = credentials.log_in(
                server,
                show_code=_show_code,
                issuer=issuer,
                client_id=client_id,
                send=send,
                keyring=keyring,
                agree=agree,
            )
        else:
            visit = _open if browser else _show
            kept = credentials.log_in(
                server,
                visit=visit,
                issuer=issuer,
                client_id=client_id,
                send=send,
                keyring=keyring,
                agree=agree,
            )
    except ModelryError as refused:
        output.refuse(str(refused))
        raise typer.Exit(1) from None
    for name in ("MODELRY_TOKEN", "MODELRY_TOKEN_FILE"):
        if os.environ.get(name):
            output.note(f"{name} is set, and wins over the login where its token is for this server.")
    if output_format is Format.JSON:
        output.write_json(kept)
        return
    renewed = ", and is renewed by itself" if kept.renews else ""
    until = f" It expires at {kept.expire_time.astimezone():%Y-%m-%d %H:%M}{renewed}." if kept.expire_time else ""
    if kept.invitation:
        output.note("The invitation was exchanged for a token of your own, and is spent.")
    output.write_text(f"Logged in to {kept.server}. The login is kept in {kept.place}.{until}")


def _token() -> str:
    """The token, from a prompt or from standard input; never from the arguments, which every user can list."""
    if sys.stdin.isatty():
        return getpass.getpass("Token: ").strip()
    return sys.stdin.read(_LONGEST).strip()


def _open(url: str) -> None:
    import webbrowser

    _show(url)
    webbrowser.open(url)


def _show(url: str) -> None:
    output.note(f"Log in with your browser, on this machine:\n\n  {url}\n")


def _show_code(url: str, code: str, whole: str) -> None:
    more = f"\n\nor open  {whole}  and compare the code" if whole else ""
    output.note(f"On any device, open  {url}\nand enter the code  {code}{more}\n")


def command() -> Any:
    """The command; it has no verbs."""
    return typer.main.get_command(_app)
