"""Rotates a token together with the login that keeps it on this machine, and exchanges an invitation for one."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from modelry._sdk.credentials import logins
from modelry._sdk.credentials.keyrings import Unusable
from modelry._sdk.credentials.logins import Login
from modelry._sdk.credentials.store import STORE
from modelry._sdk.nouns.tokens import IssuedToken, Tokens
from modelry._sdk.transport import logging_in
from modelry._sdk.transport.connection import Connection, connect
from modelry._sdk.transport.logging_in import KeptLogin
from modelry._sdk.transport.signing import name_of
from modelry.api.access import v1 as access
from modelry.errors import ModelryError, Unauthenticated, Unavailable


@dataclass(frozen=True, slots=True)
class RotatedToken:
    """A token with its new secret, and what became of the login that keeps it.

    `kept_in` says where the login is that has the new secret. It is empty if no login has this token. `problem` says
    why the login that has it still has the old secret.
    """

    token: IssuedToken
    kept_in: str = ""
    problem: str = ""


def rotate_token(
    token_id: str = "", server: str | None = None, *, expire_time: datetime | timedelta | None = None
) -> RotatedToken:
    """Gives a token a new secret and a new end, as `client.tokens.rotate` does. A login with this token gets it, too.

    Only the login to this server is looked at. Nobody else can change it meanwhile, so of two rotations at once it has
    the later secret. Raises what `client.tokens.rotate` raises, and Unavailable if the login is being changed for too
    long; then nothing was rotated.
    """
    connection = connect(server)
    name = name_of(connection.address.target)
    with ExitStack() as held:
        login = _given_login(name)
        if login is not None:
            try:
                held.enter_context(STORE.changing())
            except (Unusable, OSError) as problem:
                raise Unavailable(str(problem), reason="LOGINS_UNUSABLE") from None
            login = _given_login(name)
        kept_id = "" if login is None else _token_id(connection, login)
        token = Tokens(connection.of("access"), "").rotate(token_id, expire_time=expire_time)
        if login is None or token.token_id != kept_id:
            return RotatedToken(token)
        try:
            return RotatedToken(token, logins.keep(replace(login, token=token.secret)))
        except (Unusable, OSError) as problem:  # the secret must not be lost: it is shown this once
            return RotatedToken(token, problem=str(problem))


def keep_token(token: str, server: str | None = None, *, keyring: bool = False) -> KeptLogin:
    """Keeps a token for a server, such as an API token for a machine.

    An invitation is exchanged for a token of your own, which is kept in its place. Before that the invitation itself is
    kept, so that nothing is exchanged that can't be kept.

    Raises InvalidArgument for what can't be a token, and Unauthenticated if the server refuses it; then nothing is
    kept. Raises Unavailable if the store of logins can't be had now, or the server does not exchange an invitation.
    """
    kept = logging_in.keep_token(token, server, keyring=keyring)
    if not kept.invitation:
        return kept
    made: IssuedToken | None = None
    try:
        with STORE.changing():
            made = Tokens(connect(server, token=token).of("access"), "").rotate()
            return replace(kept, place=logins.keep(Login(kept.server, token=made.secret, keyring=keyring)))
    except (Unusable, OSError) as problem:
        said = str(problem)
        if made is not None:  # nobody has its secret: without it in force, another invitation can be made
            with suppress(ModelryError):
                Tokens(connect(server, token=made.secret).of("access"), "").revoke(made.token_id)
            said = f"the invitation is spent, and the token for it was revoked, since it can't be kept: {said}"
        raise Unavailable(said, reason="LOGINS_UNUSABLE") from None


def _given_login(name: str) -> Login | None:
    """The login to a server whose token was given by hand. One that can't be used is none."""
    try:
        login = logins.get_now(name)
    except Unusable:
        return None
    return login if login is not None and login.token else None


def _token_id(connection: Connection, login: Login) -> str:
    """The id of the token of a login. Empty if the server refuses it, or if it is no API token."""
    own = connect(connection.address.uri, token=login.token).of("access")
    try:
        return own.call(access.rpcs.WHO_AM_I, access.WhoAmIRequest()).token.token_id
    except Unauthenticated:
        return ""
