"""API tokens: secret texts by which people and service accounts are known."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.lazy_list import LazyList, listed_by
from modelry._sdk.nouns.people import principal_id_of
from modelry._sdk.nouns.times import stamp_of, time_of
from modelry._sdk.transport.connection import Connection
from modelry.api.access import v1 as access


@dataclass(frozen=True, slots=True)
class Token:
    """An API token as it was when it was read, without its secret.

    `hint` has the last 4 characters of the secret, by which a person recognises it. `role_cap` is the role that the
    token can't exceed, and `workspaces` the only ones that it can be used in; empty: no such limit. `creator_id` is the
    principal that made it; empty if the bootstrap token did, or without authentication. `invitation` says that it can
    only be exchanged, by `rotate`: another one made it as the first token of a person.
    """

    token_id: str
    principal_id: str
    description: str
    hint: str
    role_cap: str
    workspaces: tuple[str, ...]
    creator_id: str
    create_time: datetime | None
    expire_time: datetime | None
    last_use_time: datetime | None
    revoke_time: datetime | None
    invitation: bool = False


@dataclass(frozen=True, slots=True)
class IssuedToken(Token):
    """A token that was just made or rotated, with its `secret`: the text to send. The server shows it this once.

    `repr` and `str` leave the secret out, so that it does not get into logs by chance.
    """

    secret: str = field(default="", repr=False)


@arguments.texts_checked
class Tokens:
    """Creates, reads, lists, rotates and revokes API tokens."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection

    def create(
        self,
        *,
        principal: str = "",
        description: str = "",
        role_cap: str = "",
        workspaces: str | Iterable[str] = (),
        expire_time: datetime | timedelta | None = None,
    ) -> IssuedToken:
        """Makes a token of the caller, or of a service account, named by its id or its name.

        An administrator also makes the first token of a person who can't sign in at an issuer: an invitation, which the
        person exchanges. It replaces one that was not exchanged.

        `role_cap` is the most that the token may do, a role by name, and `workspaces` the only ones that it can be used
        in. Default: all that its principal may do. `expire_time` is a time, or how long from now. Default: 90 days, or
        what the server's settings say; a token that is made by means of another one does not outlive it.

        If the answer is lost, so is the secret: revoke the token, and make another one. Raises PrincipalNotFound,
        PrincipalDisabled, RoleNotFound, GrantTooWide if it could do more than the caller, FieldInvalid for a time that
        is too far away or another person who has a token or an issuer, and LimitReached.
        """
        request = access.CreateTokenRequest(
            description=description,
            role_cap=role_cap,
            workspaces=arguments.listed("workspaces", workspaces),
            expire_time=stamp_of(_end(expire_time)),
            request_id=uuid.uuid4().hex,
        )
        if principal:
            request.principal_id = principal_id_of(self._connection, "principal", principal)
        answer = self._connection.call(access.rpcs.CREATE_TOKEN, request)
        return issued_token_of(answer.token, answer.secret)

    def get(self, token_id: str) -> Token:
        """Reads a token, without its secret. Raises TokenNotFound."""
        request = access.GetTokenRequest(token_id=token_id)
        return token_of(self._connection.call(access.rpcs.GET_TOKEN, request).token)

    def list(
        self,
        principal: str = "",
        *,
        with_ended: bool = False,
        max_results: int | None = None,
        page_size: int = 100,
    ) -> LazyList[Token]:
        """Lists the tokens of the caller, or of a principal, named by its id or its name: the newest first.

        With `with_ended` also those that have ended or were revoked. Raises PrincipalNotFound.
        """
        whose = principal_id_of(self._connection, "principal", principal) if principal else ""
        request = access.ListTokensRequest(principal_id=whose, with_ended=arguments.flag("with_ended", with_ended))

        def fetch(size: int, token: str) -> tuple[list[Token], str]:
            request.page_size, request.page_token = size, token
            page = self._connection.call(access.rpcs.LIST_TOKENS, request)
            return [token_of(message) for message in page.tokens], page.next_page_token

        return listed_by(fetch, max_results=max_results, page_size=page_size)

    def rotate(self, token_id: str = "", *, expire_time: datetime | timedelta | None = None) -> IssuedToken:
        """Gives a token a new secret and a new end. Default: the token that the caller uses.

        Its id, its caps and its principal stay. The secret before it is accepted for ten minutes more, or until its own
        end; that of an invitation, which is exchanged so, ends at once. `expire_time` is as in `create`. Raises
        TokenNotFound, also for a token that has ended, and FieldInvalid.
        """
        request = access.RotateTokenRequest(token_id=token_id, expire_time=stamp_of(_end(expire_time)))
        answer = self._connection.call(access.rpcs.ROTATE_TOKEN, request)
        return issued_token_of(answer.token, answer.secret)

    def revoke(self, token_id: str) -> Token:
        """Revokes a token, for ever. Within five seconds it is refused everywhere, and its open streams end.

        Revoking it again changes nothing. Raises TokenNotFound.
        """
        if not token_id:  # the contract would take it for the token of the caller
            raise arguments.refused("token_id", token_id, "the id of a token; `client.whoami().token` has your own")
        request = access.RevokeTokenRequest(token_id=token_id)
        return token_of(self._connection.call(access.rpcs.REVOKE_TOKEN, request).token)

    def revoke_all(self, principal: str) -> int:
        """Revokes all tokens of a principal, named by its id or its name, and says how many there were.

        What its OIDC issuer has issued until now is refused, too. Raises PrincipalNotFound.
        """
        whose = principal_id_of(self._connection, "principal", principal)
        request = access.RevokeTokensRequest(principal_id=whose)
        return self._connection.call(access.rpcs.REVOKE_TOKENS, request).revoked_count


def token_of(message: access.Token) -> Token:
    """The token that a message holds."""
    return Token(**_fields(message))


def issued_token_of(message: access.Token, secret: str) -> IssuedToken:
    """The new token that a message holds, with its secret."""
    return IssuedToken(**_fields(message), secret=secret)


def _fields(message: access.Token) -> dict[str, Any]:
    return {
        "token_id": message.token_id,
        "principal_id": message.principal_id,
        "description": message.description,
        "hint": message.hint,
        "role_cap": message.role_cap,
        "workspaces": tuple(message.workspaces),
        "creator_id": message.creator_id,
        "create_time": time_of(message, "create_time"),
        "expire_time": time_of(message, "expire_time"),
        "last_use_time": time_of(message, "last_use_time"),
        "revoke_time": time_of(message, "revoke_time"),
        "invitation": message.invitation,
    }


def _end(given: datetime | timedelta | None) -> datetime | None:
    """A time, also where it is said as how long from now. Raises InvalidArgument."""
    if not isinstance(given, timedelta):
        return given
    try:
        return datetime.now(UTC) + given
    except OverflowError:
        raise arguments.refused("expire_time", given, "a time of the calendar, or how long from now") from None
