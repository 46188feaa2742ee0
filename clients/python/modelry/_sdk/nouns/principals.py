"""People and service accounts: who calls, and what the caller may do."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.enums import OpenEnum, member_of, name_of
from modelry._sdk.nouns.lazy_list import LazyList, listed_by
from modelry._sdk.nouns.people import principal_id_of, read_principal
from modelry._sdk.nouns.places import Place, place_of
from modelry._sdk.nouns.times import time_of
from modelry._sdk.nouns.tokens import IssuedToken, Token, issued_token_of, token_of
from modelry._sdk.transport.connection import Connection
from modelry.api.access import v1 as access


class PrincipalKind(OpenEnum):
    """What a principal stands for."""

    USER = "USER"
    SERVICE_ACCOUNT = "SERVICE_ACCOUNT"


@dataclass(frozen=True, slots=True)
class Principal:
    """A person or a service account as it was when it was read.

    `issuer` and `external_id` say who vouches for it, and under which id; they are empty for one that has API tokens
    only. `owner_id` is the principal that answers for a service account.
    """

    principal_id: str
    kind: PrincipalKind
    name: str
    display_name: str
    issuer: str
    external_id: str
    owner_id: str
    disabled: bool
    create_time: datetime | None
    update_time: datetime | None
    etag: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller may do at a place and at all that lies there: `permissions`, because of `roles`."""

    place: Place
    roles: tuple[str, ...]
    permissions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, by which credential, and what the caller may do.

    If `authenticated` is false the server does not know its callers: `principal` has a name only, as the client says
    it, and everybody may do everything. `token` is the API token that was used, None for another credential.
    """

    principal: Principal
    authenticated: bool
    token: Token | None
    groups: tuple[str, ...]
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class FirstAdministrator:
    """The first administrator, and the API token that was made for it."""

    principal: Principal
    token: IssuedToken


@arguments.texts_checked
class Principals:
    """Creates, reads, lists and changes people and service accounts. Each is named by its id or by its name."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self._connection = connection

    def whoami(self, workspace: str = "") -> Caller:
        """Says who calls, and what the caller may do, within a workspace if one is named.

        What the token of the call is capped to is taken off.
        """
        request = access.WhoAmIRequest(workspace=workspace, page_size=1000)
        answer = self._connection.call(access.rpcs.WHO_AM_I, request)
        grants = list(answer.grants)
        while answer.next_page_token:
            request.page_token = answer.next_page_token
            answer = self._connection.call(access.rpcs.WHO_AM_I, request)
            grants += answer.grants
        return Caller(
            principal=principal_of(answer.principal),
            authenticated=answer.authenticated,
            token=token_of(answer.token) if answer.HasField("token") else None,
            groups=tuple(answer.groups),
            grants=tuple(Grant(place_of(each.place), tuple(each.roles), tuple(each.permissions)) for each in grants),
        )

    def create_administrator(self, name: str, *, display_name: str = "") -> FirstAdministrator:
        """Makes the first administrator of an installation: a person with the role `admin` everywhere, and a token.

        The client must have the bootstrap token of the installation as its token; it can't be used again afterwards.
        Raises PrincipalExists, FieldInvalid, and CredentialInvalid if the bootstrap token was used already.
        """
        request = access.CreateAdministratorRequest(name=name, display_name=display_name)
        answer = self._connection.call(access.rpcs.CREATE_ADMINISTRATOR, request)
        return FirstAdministrator(principal_of(answer.principal), issued_token_of(answer.token, answer.secret))

    def create(
        self,
        name: str,
        *,
        kind: PrincipalKind | str = PrincipalKind.USER,
        display_name: str = "",
        issuer: str = "",
        external_id: str = "",
        owner: str = "",
    ) -> Principal:
        """Creates a person, or a service account with `kind="SERVICE_ACCOUNT"`.

        People who sign in at an OIDC issuer need not be created before, unless the settings of the issuer say so.
        `issuer` is the URL of an issuer that the server trusts, or `certificate`, and `external_id` the id that it
        gives. `owner` answers for a service account: it may make and revoke its tokens.

        Raises PrincipalExists, PrincipalNotFound for the owner, FieldInvalid, and InvalidArgument for another kind.
        """
        request = access.CreatePrincipalRequest(
            kind=_kind(kind),
            name=name,
            display_name=display_name,
            issuer=issuer,
            external_id=external_id,
            owner_id=principal_id_of(self._connection, "owner", owner) if owner else "",
            request_id=uuid.uuid4().hex,
        )
        return principal_of(self._connection.call(access.rpcs.CREATE_PRINCIPAL, request).principal)

    def get(self, principal: str) -> Principal:
        """Reads a principal. Raises PrincipalNotFound.

        Who may not read all reads others by their ids only, and of them the kind, the names and whether it is disabled.
        """
        return principal_of(read_principal(self._connection, "principal", principal))

    def list(
        self,
        *,
        kind: PrincipalKind | str | None = None,
        name_contains: str = "",
        max_results: int | None = None,
        page_size: int = 100,
    ) -> LazyList[Principal]:
        """Lists people and service accounts, by name. With `kind` only those of this kind.

        With `name_contains` only those with this text in their name or display name. Letters A to Z are found in either
        case, all others as they are written.

        Who may not read all gets itself and the service accounts that it owns.
        """
        request = access.ListPrincipalsRequest(name_contains=name_contains)
        if kind is not None:
            request.kind = _kind(kind)

        def fetch(size: int, token: str) -> tuple[list[Principal], str]:
            request.page_size, request.page_token = size, token
            page = self._connection.call(access.rpcs.LIST_PRINCIPALS, request)
            return [principal_of(message) for message in page.principals], page.next_page_token

        return listed_by(fetch, max_results=max_results, page_size=page_size)

    def update(
        self, principal: str, *, display_name: str | None = None, owner: str | None = None, etag: str = ""
    ) -> Principal:
        """Changes the display name, or the owner of a service account; an empty owner takes it away.

        With an `etag` it raises EtagMismatch if somebody else has changed the principal. Raises PrincipalNotFound.
        """
        changed = access.Principal(etag=etag)
        paths = []
        if display_name is not None:
            changed.display_name = display_name
            paths.append("display_name")
        if owner is not None:
            changed.owner_id = principal_id_of(self._connection, "owner", owner) if owner else ""
            paths.append("owner_id")
        if not paths:
            return self.get(principal)
        return self._update(principal, changed, paths)

    def disable(self, principal: str) -> Principal:
        """Refuses all credentials of a principal from now on, within five seconds everywhere.

        `enable` undoes it. Raises PrincipalNotFound and LastAdministrator.
        """
        return self._update(principal, access.Principal(disabled=True), ["disabled"])

    def enable(self, principal: str) -> Principal:
        """Accepts the credentials of a principal again that were not revoked. Raises PrincipalNotFound."""
        return self._update(principal, access.Principal(disabled=False), ["disabled"])

    def _update(self, principal: str, changed: access.Principal, paths: Iterable[str]) -> Principal:
        changed.principal_id = principal_id_of(self._connection, "principal", principal)
        request = access.UpdatePrincipalRequest(principal=changed)
        request.update_mask.paths.extend(paths)
        return principal_of(self._connection.call(access.rpcs.UPDATE_PRINCIPAL, request).principal)


def principal_of(message: access.Principal) -> Principal:
    """The principal that a message holds."""
    return Principal(
        principal_id=message.principal_id,
        kind=PrincipalKind(name_of(access.PrincipalKind, message.kind)),
        name=message.name,
        display_name=message.display_name,
        issuer=message.issuer,
        external_id=message.external_id,
        owner_id=message.owner_id,
        disabled=message.disabled,
        create_time=time_of(message, "create_time"),
        update_time=time_of(message, "update_time"),
        etag=message.etag,
    )


def _kind(given: PrincipalKind | str) -> access.PrincipalKind.ValueType:
    return access.PrincipalKind.Value(f"PRINCIPAL_KIND_{member_of('kind', given, PrincipalKind)}")
