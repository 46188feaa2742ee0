"""Rotates a token together with the login that keeps it on this machine."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from modelry._sdk.credentials import logins
from modelry._sdk.credentials.keyrings import Unusable
from modelry._sdk.credentials.logins import Login
from modelry._sdk.credentials.store import STORE
from modelry._sdk.nouns.tokens import IssuedToken, Tokens
from modelry._sdk.transport.connection import Connection, connect
from modelry._sdk.transport.signing import name_of
from modelry.api.access import v1 as access
from modelry.errors import Unauthenticated, Unavailable


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
