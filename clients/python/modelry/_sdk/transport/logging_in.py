"""Logs in to a server and out of it: what `modelry login` and `modelry logout` do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from modelry._sdk.credentials import browser, claims, device, keyrings, logins, oidc, plans, sources
from modelry._sdk.credentials.claims import Refused
from modelry._sdk.credentials.keyrings import Unusable
from modelry._sdk.credentials.logins import Login
from modelry._sdk.credentials.plans import PlannedLogin
from modelry._sdk.credentials.store import STORE
from modelry._sdk.transport.connection import Connection, Origin, connect
from modelry._sdk.transport.signing import name_of
from modelry.errors import (
    FailedPrecondition,
    InvalidArgument,
    ModelryError,
    TokenIsInvitation,
    Unauthenticated,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_SERVER = Origin("the server", "log in to another one: `modelry login --server HOST:PORT`")


@dataclass(frozen=True, slots=True)
class KeptLogin:
    """A login that is kept on this machine. It shows no token.

    `issuer` and `client_id` are empty for a token that was given by hand. `renews` says whether there is a refresh
    token; `expire_time` is None if nobody has said when the token expires.
    """

    server: str
    issuer: str
    client_id: str
    expire_time: datetime | None
    renews: bool
    keyring: bool
    place: str = ""
    """Where it is kept, after a login."""
    invitation: bool = False
    """Whether the token that was given was an invitation, which was exchanged for the one that is kept."""


def log_in(
    server: str | None = None,
    *,
    visit: Callable[[str], object] | None = None,
    show_code: Callable[[str, str, str], object] | None = None,
    issuer: str = "",
    client_id: str = "",
    send: str = "auto",
    keyring: bool = False,
    agree: Callable[[PlannedLogin], bool] | None = None,
) -> KeptLogin:
    """Has the user log in at the identity provider of a server, and keeps the tokens for that server.

    With `visit`, a browser of this machine is sent to the URL that `visit` gets. With `show_code` the user logs in
    elsewhere: it gets a URL, a code, and a URL with the code in it, which may be empty. The server says which issuer it
    trusts. With an `issuer`, that one is expected; with a `client_id` too, the server is not asked. `send` says which
    token is sent: `access`, `id`, or `auto`, which is the access token if it is a JWT and else the ID token.

    Before anything is opened, `agree` gets what is about to be done, and says whether to go on. Its `risk` is empty if
    there is no reason to think. A hostile server can name an issuer to get a token for another server. So without
    `agree` a login with a risk is refused by FailedPrecondition: with the reason `ISSUER_NOT_AGREED` if the server
    names an issuer, or a client there, and no login to it there is kept; with `LOGIN_SHARED` where a login to another
    server is kept that has the same issuer. The reason `ISSUER_OTHER` says that the server names another issuer than
    the one that is expected.

    Raises Unauthenticated if the provider or the user refuses, or if the server refuses the token that it gave; then
    nothing is kept. Raises FailedPrecondition if the server asks for no login, or the provider has none of this kind.
    """
    if send not in logins.SENDS:
        raise InvalidArgument(f"send={send!r} is not known; use one of {', '.join(logins.SENDS)}")
    if client_id and not issuer:
        raise InvalidArgument("the client id is of an issuer; give the issuer too")
    if (visit is None) == (show_code is None):
        raise InvalidArgument("give `visit` for a login by browser, or `show_code` for one by another device")
    connection = _prepared(server, keyring)
    name, named = name_of(connection.address.target), not issuer
    if not client_id:
        expected, (issuer, client_id) = issuer, _issuer_of(connection)
        if expected:
            plans.require_expected(name, issuer, expected)
    with _storing():
        known = STORE.issuers()
    plan = plans.planned(name, issuer, client_id, named=named, kept=known)
    _require_agreement(plan, agree)
    with _refusals():
        provider = oidc.discover(issuer)
        if show_code is not None:

            def show(url: str, code: str, whole: str) -> None:
                for page in filter(None, (url, whole)):
                    plans.check_page(plan, page, known)
                show_code(url, code, whole)

            answer = device.log_in(provider, client_id, show=show)
            claims.check_id_token(answer.get("id_token"), issuer, client_id)
        else:
            assert visit is not None
            plans.check_page(plan, provider.authorization, known)
            answer = browser.log_in(provider, client_id, visit=visit)
        login = Login(name, issuer=issuer, client_id=client_id, sends=send, keyring=keyring).with_answer(answer)
    return _kept(connection, login)


def keep_token(token: str, server: str | None = None, *, keyring: bool = False) -> KeptLogin:
    """Keeps a token for a server, such as an API token for a machine. An invitation is kept as it is.

    Raises InvalidArgument for what can't be a token, and Unauthenticated if the server refuses it; then nothing is
    kept.
    """
    connection = _prepared(server, keyring)
    name = name_of(connection.address.target)
    return _kept(connection, Login(name, token=sources.checked("the token", token), keyring=keyring))


def log_out(server: str | None = None) -> str:
    """Forgets the login to a server, after its refresh token was revoked at the issuer.

    Returns why it could not be revoked, an empty text if it was or if there is none; it is forgotten all the same.
    Raises FailedPrecondition if there is no login to the server.
    """
    name = name_of(connect(server, token="").address.target)
    problem = ""
    with _storing():
        try:
            login = logins.get(name)
        except Unusable as unusable:
            login, problem = None, str(unusable)
        if login is None and name not in STORE.servers():
            known = ", ".join(STORE.servers()) or "none"
            text = f"there is no login to {name}; there are logins to: {known}"
            raise FailedPrecondition(text, reason="NOT_LOGGED_IN", metadata={"server": name})
        if login is not None and login.refresh_token:
            try:
                oidc.discover(login.issuer).revoke(login.refresh_token, login.client_id)
            except (Refused, ModelryError) as failed:
                problem = failed.message
        STORE.remove(name)
    return problem


def kept() -> list[KeptLogin]:
    """The logins that are kept on this machine, by server."""
    with _storing():
        found = [logins.get(server) for server in STORE.servers()]
    return [_shown(login) for login in found if login is not None]


def _require_agreement(plan: PlannedLogin, agree: Callable[[PlannedLogin], bool] | None) -> None:
    if agree is None and plan.risk:
        raise plans.not_agreed(plan)
    if agree is not None and not agree(plan):
        if plan.others and plan.risk:
            raise plans.not_agreed(plan)
        text = f"the login to {plan.server} at {plan.issuer} was declined; nothing was opened"
        raise FailedPrecondition(text, reason="LOGIN_DECLINED", metadata={"server": plan.server})


def _prepared(server: str | None, keyring: bool) -> Connection:
    connection = connect(server, origin=_SERVER, token="")
    connection.require_private()
    if keyring:
        keyrings.require()
    return connection


def _issuer_of(connection: Connection) -> tuple[str, str]:
    """The issuer and the client id that a server names when it refuses a call without a token."""
    name = connection.address.target
    try:
        _ask(connection)
    except Unauthenticated as refused:
        issuer, client_id = (refused.metadata.get(key, "") for key in ("issuer", "client_id"))
        if issuer and client_id:
            return issuer, client_id
        raise FailedPrecondition(
            f"{name} names no identity provider to log in at; log in with --issuer and --client-id, or give it an API "
            "token with --token",
            reason="ISSUER_UNKNOWN",
        ) from None
    raise FailedPrecondition(f"{name} asks for no login", reason="NO_LOGIN_NEEDED")


def _ask(connection: Connection) -> None:
    from modelry.api.access import v1 as access

    connection.of("access").call(access.rpcs.LIST_WORKSPACES, access.ListWorkspacesRequest(page_size=1))


def _kept(connection: Connection, login: Login) -> KeptLogin:
    """Keeps a login, unless the server refuses its token."""
    is_invitation = False
    with _refusals():
        try:
            _ask(connect(connection.address.uri, origin=_SERVER, token=login.text))
        except Unauthenticated as refused:
            who = f"that {login.issuer} gave" if login.issuer else "that was given"
            said = refused.message.rpartition(" (")[0] or refused.message
            advice = "; is another one accepted? --send says which is sent" if login.issuer else ""
            text = f"{login.server} refuses the token {who}, so nothing was kept: {said}{advice}"
            raise Unauthenticated(text, reason=refused.reason, metadata=refused.metadata) from None
        except ModelryError as told:  # It says nothing of the token: it is away, or the permission is missing.
            is_invitation = isinstance(told, TokenIsInvitation)
    with _storing():
        return replace(_shown(login, logins.keep(login)), invitation=is_invitation)


def _shown(login: Login, place: str = "") -> KeptLogin:
    expires = datetime.fromtimestamp(login.expires_at, UTC) if login.expires_at else None
    return KeptLogin(
        login.server, login.issuer, login.client_id, expires, bool(login.refresh_token), login.keyring, place
    )


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        metadata = {"issuer": refused.issuer, "error": refused.error}
        raise Unauthenticated(refused.message, reason="LOGIN_REFUSED", metadata=metadata) from None


@contextmanager
def _storing() -> Iterator[None]:
    try:
        yield
    except (Unusable, OSError) as problem:
        raise Unavailable(str(problem), reason="LOGINS_UNUSABLE") from None
