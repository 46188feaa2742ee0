"""`modelry token`: API tokens, by which people and service accounts are known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from modelry_cli.names import Names
from modelry_cli.options import Limit, Yes, agreed
from modelry_cli.session import Session, asks, fields_of
from modelry_cli.terminal import output
from modelry_cli.terminal.output import Column, Format
from modelry_cli.terminal.words import counted

if TYPE_CHECKING:
    from modelry.types import IssuedToken, Token

app = typer.Typer(help="API tokens, by which people and service accounts are known to a server.", no_args_is_help=True)

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def lifetime(word: str | None) -> str | None:
    """A time such as `12h` or `30d`. Another word is wrong use."""
    if word is not None and not re.fullmatch(r"[1-9][0-9]{0,5}[mhdw]", word):
        raise typer.BadParameter(f"{word!r} is not a time such as 90m, 12h, 30d or 8w")
    return word


TokenId = Annotated[str, typer.Argument(help="The id of the token, which is no secret.", metavar="TOKEN_ID")]
OwnTokenId = Annotated[str, typer.Argument(help="The id of the token. Default: the one you use.", metavar="TOKEN_ID")]
Of = Annotated[
    str,
    typer.Option(
        "--user", help="Whose: the name or id of a person or service account. Default: yours.", metavar="USER"
    ),
]
ExpiresIn = Annotated[
    str | None,
    typer.Option(
        help="How long it is valid, such as 12h, 30d or 8w. Default: 90d, or as the server says.",
        metavar="TIME",
        callback=lifetime,
    ),
]


@asks(app, "list")
def list_tokens(
    session: Session,
    user: Of = "",
    ended: Annotated[bool, typer.Option("--ended", help="Also those that have ended or were revoked.")] = False,
    limit: Limit = None,
) -> None:
    """Lists tokens, the newest first, without their secrets. Those in force only, unless you say --ended."""
    names = Names(session)
    columns: list[Column[Token]] = [
        Column("ID", lambda token: token.token_id, whole=True),
        Column("ENDS WITH", lambda token: token.hint),
        Column("DESCRIPTION", lambda token: token.description, wraps=True),
        Column("INVITATION", lambda token: "yes" if token.invitation else "", spare=4),
        Column("CAP", lambda token: token.role_cap, spare=2),
        Column("WORKSPACES", lambda token: token.workspaces, wraps=True, spare=2),
        Column("EXPIRES", lambda token: f"{token.expire_time:%Y-%m-%d}" if token.expire_time else ""),
        Column("LAST USE", lambda token: token.last_use_time or "never", spare=1),
        Column("REVOKED", lambda token: token.revoke_time, spare=3),
        Column("BY", lambda token: names.of(token.creator_id), spare=4),
    ]
    found = session.client.tokens.list(user, with_ended=ended)
    with _owner_asked(user):
        session.show_all(found, columns, limit=limit, nothing="No tokens." if ended else "No tokens in force.")
    if not ended and session.format is Format.TABLE:
        output.note("Tokens that have ended or were revoked are not shown; --ended shows them, too.")


@asks(app, "get")
def get_token(session: Session, token_id: TokenId) -> None:
    """Shows a token, without its secret."""
    token, names = session.client.tokens.get(token_id), Names(session)
    people = {"principal": names.of(token.principal_id), "creator": names.of(token.creator_id)}
    session.show(token, {**fields_of(token), **people})


@asks(app, "create")
def create_token(
    session: Session,
    user: Of = "",
    description: Annotated[str, typer.Option(help="What it is for.", metavar="TEXT")] = "",
    cap: Annotated[str, typer.Option(help="The most that it may do: a role.", metavar="ROLE")] = "",
    only_workspace: Annotated[
        list[str] | None,
        typer.Option(help="A workspace, the only one it can be used in. Can be repeated.", metavar="NAME"),
    ] = None,
    expires_in: ExpiresIn = None,
) -> None:
    """Makes a token of yours, of a service account, or the first one of a person. Its secret is shown this once.

    Standard output is the secret alone, so that it can go into a file or a variable.
    """
    with _owner_asked(user):
        made = session.client.tokens.create(
            principal=user,
            description=description,
            role_cap=cap,
            workspaces=only_workspace or (),
            expire_time=_duration(expires_in),
        )
    invitation = (
        "It is an invitation: the person exchanges it, with `modelry login --token`." if made.invitation else ""
    )
    show_issued(session, made, invitation)
    _warn_of_end(session, made, expires_in)


@asks(app, "rotate")
def rotate_token(session: Session, token_id: OwnTokenId = "", expires_in: ExpiresIn = None) -> None:
    """Gives a token a new secret, which is shown this once. The old one is accepted for ten minutes more.

    An invitation is exchanged so for a token of your own, and its old secret ends at once.

    If `modelry login` keeps this token, the login gets the new secret, too. Standard output is the secret alone.
    """
    from modelry import credentials

    made = credentials.rotate_token(token_id, session.address, expire_time=_duration(expires_in))
    kept = f" The login in {made.kept_in} has the new one." if made.kept_in else ""
    before = "The secret before it is accepted for ten minutes more; that of an invitation is not."
    show_issued(session, made.token, f"{before}{kept}")
    _warn_of_end(session, made.token, expires_in)
    if made.problem:
        output.refuse(f"the login still has the old secret, because it can't be changed: {made.problem}")
        raise typer.Exit(1)


@asks(app, "revoke")
def revoke_token(
    session: Session,
    token_id: Annotated[str, typer.Argument(help="The id of the token.", metavar="TOKEN_ID")] = "",
    everything: Annotated[bool, typer.Option("--all", help="All tokens of yours, or of --user.")] = False,
    user: Of = "",
    yes: Yes = False,
) -> None:
    """Revokes a token, for ever: within five seconds it is refused everywhere."""
    if bool(token_id) == everything or (user and not everything):
        raise typer.BadParameter("give the id of a token, or --all and perhaps --user")
    if token_id:
        revoked = session.client.tokens.revoke(token_id)
        session.done(f"Revoked token {revoked.token_id}.", token_id=revoked.token_id)
        return
    principal = session.client.principals.get(user) if user else session.client.whoami().principal
    count = len(session.client.tokens.list(principal.principal_id))
    agreed(
        f"Revoke {counted(count, 'token')} of {principal.name}? All that uses them is refused within five seconds"
        f"{', and so is what the issuer has issued until now' if principal.issuer else ''}.",
        yes,
    )
    revoked_count = session.client.tokens.revoke_all(principal.principal_id)
    session.done(
        f"Revoked {counted(revoked_count, 'token')} of {principal.name}.",
        principal_id=principal.principal_id,
        revoked_count=revoked_count,
    )


def show_issued(session: Session, token: IssuedToken, more: str = "") -> None:
    """Shows a token that was just made, and says that this is the only time.

    In the form for people, standard output is the secret alone, so that a shell can put it where it belongs.
    """
    if session.format is Format.JSON:
        session.show(token)
        return
    output.write_one(
        {key: value for key, value in fields_of(token).items() if key not in ("hint", "secret")}, aside=True
    )
    output.note(f"The secret is shown this once, so keep it now. {more}".rstrip())
    output.write_text(token.secret)


@contextmanager
def _owner_asked(user: str) -> Iterator[None]:
    """Asks for --user where the server does not know its callers, so that nobody has tokens of their own."""
    from modelry.errors import FieldInvalid

    try:
        yield
    except FieldInvalid as refused:
        if user or "principal_id" not in refused.fields:
            raise
        raise typer.BadParameter("say whose, with --user: the server does not know its callers") from None


def _warn_of_end(session: Session, token: IssuedToken, asked: str | None) -> None:
    """Says so if a token ends earlier than usual, because it is made by means of one that ends then.

    Where a time was asked for, the server refuses one that is later.
    """
    from modelry import ModelryError

    if asked is not None:
        return
    try:
        own = session.client.whoami().token
    except ModelryError:  # the token is made, and shown
        return
    if own is None or own.token_id == token.token_id or own.expire_time is None:
        return
    if own.expire_time == token.expire_time:
        output.note(
            f"warning: it ends at {own.expire_time:%Y-%m-%d %H:%M} UTC, with the token that you use now, and not after "
            "the usual time: no token outlives the one that makes it. For a later end, rotate yours first with "
            "`modelry token rotate`, or log in again; then rotate this one."
        )


def _duration(word: str | None) -> timedelta | None:
    return None if word is None else timedelta(**{_UNITS[word[-1]]: int(word[:-1])})
