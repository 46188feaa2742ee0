"""Logins: the tokens that `modelry login` got for a server, and new ones for those that expire.

An access token is refreshed before it expires, by one thread of one process: it holds the lock of the store, and the
others find what it got. Providers that give a new refresh token with each answer are served by that, too.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from modelry._sdk.credentials import claims, tokens
from modelry._sdk.credentials.claims import Refused
from modelry._sdk.credentials.keyrings import Unusable
from modelry._sdk.credentials.store import STORE, Entry, login_command
from modelry._sdk.credentials.tokens import Token
from modelry.errors import ModelryError, Unauthenticated

log = logging.getLogger("modelry")

SENDS = ("auto", "access", "id")
"""Which token a login sends: the access token if it is a JWT, else the ID token; or always one of them."""
_SECRET = ("access_token", "id_token", "refresh_token", "token")
_FOR_GOOD = {"invalid_grant", "invalid_client", "unauthorized_client"}
"""What a provider says if it will never take a refresh token again."""
_EARLY_SECONDS = 30.0
_AGAIN_SECONDS = 5.0
"""How long the provider is not asked again after it did not answer."""
_SPARED_SECONDS = 30.0
"""How old a token must be until a refusal of a server has it refreshed: a server may refuse it for another reason."""


@dataclass(frozen=True)
class Login:
    """What is known of a login: a token that somebody gave, or what an issuer gave. `repr` shows no token."""

    server: str
    token: str = field(default="", repr=False)
    """Given by hand. Then the rest is empty."""
    issuer: str = ""
    client_id: str = ""
    sends: str = "auto"
    access_token: str = field(default="", repr=False)
    id_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    got_at: float = 0.0
    expires_in: float = 0.0
    """Of the access token, in seconds; 0 if the issuer did not say."""
    keyring: bool = False

    @cached_property
    def sends_id_token(self) -> bool:
        """Whether the ID token is sent."""
        return self.sends == "id" or (self.sends == "auto" and claims.claims_of(self.access_token) is None)

    @cached_property
    def text(self) -> str:
        """The token that is sent. Empty if the issuer gave none of its kind."""
        return self.token or (self.id_token if self.sends_id_token else self.access_token)

    @cached_property
    def expires_at(self) -> float:
        """When the token that is sent expires, as `time.time` counts; 0 if nobody has said."""
        if self.expires_in and not self.sends_id_token and not self.token:
            return self.got_at + self.expires_in
        return claims.seconds((claims.claims_of(self.text) or {}).get("exp"))

    @cached_property
    def sent(self) -> Token:
        """What a call is made with."""
        return Token(self.text, "of `modelry login`", f"log in again: {login_command(self.server)}")

    @property
    def is_due(self) -> bool:
        """Whether it is time for another token."""
        return time.time() > self._due_at

    @cached_property
    def _due_at(self) -> float:
        life = self.expires_at - self.got_at if self.got_at else 0.0
        return self.expires_at - min(_EARLY_SECONDS, max(life, 0.0) / 4) if self.expires_at else math.inf

    @property
    def is_over(self) -> bool:
        """Whether the token has expired."""
        return bool(self.expires_at) and time.time() >= self.expires_at

    def with_answer(self, answer: Mapping[str, Any]) -> Login:
        """The login with the tokens of an answer; a refresh token that is not in it stays. Raises Refused."""
        made = replace(
            self,
            access_token=_text(answer, "access_token"),
            id_token=_text(answer, "id_token") or self.id_token,
            refresh_token=_text(answer, "refresh_token") or self.refresh_token,
            got_at=time.time(),
            expires_in=claims.seconds(answer.get("expires_in")),
        )
        if problem := tokens.problem_of(made.text):
            kind = "ID token" if made.sends_id_token else "access token"
            raise Refused(self.issuer, "no_token", f"the {kind} in its answer {problem}")
        return made


class _Trouble:
    """Why tokens could not be refreshed, so that not each call asks the provider: by server."""

    def __init__(self) -> None:
        self.refused: dict[str, tuple[str, str]] = {}
        """The refresh token that was refused for good, and why."""
        self.away: dict[str, tuple[float, str]] = {}


_trouble = _Trouble()
_known: dict[str, tuple[Entry, Login]] = {}
"""The logins as they were read last."""


def get(server: str) -> Login | None:
    """The login for a server. Raises Unusable."""
    entry = STORE.entry(server)
    return None if entry is None else _parsed(server, entry)


def get_now(server: str) -> Login | None:
    """As `get`, after a look at the file: another process may have changed it just now. Raises Unusable."""
    entry = STORE.entry_now(server)
    return None if entry is None else _parsed(server, entry)


def _parsed(server: str, entry: Entry) -> Login:
    known = _known.get(server)
    if known is None or known[0] is not entry:
        known = _known[server] = entry, _of(server, entry)
    return known[1]


def keep(login: Login) -> str:
    """Keeps a login; says where. Raises Unusable, OSError."""
    path = STORE.put(login.server, _entry(login), _SECRET)
    _trouble.refused.pop(login.server, None)
    _trouble.away.pop(login.server, None)
    return f"the keyring of this system, and {path}" if login.keyring else str(path)


def token_for(server: str, refused: str = "") -> Token | None:
    """The token to send to a server, refreshed if that is due or if the server has just `refused` it.

    None if there is no login. Raises Unauthenticated if there is one that can't be used any more.
    """
    login: Login | None = None
    try:
        login = get_now(server) if refused else get(server)
        if login is not None and (login.is_due or (refused == login.text and _may_refresh(login))):
            login = _refreshed(login, refused)
    except Unusable as problem:
        if login is None or login.is_over:
            raise _unusable(server, str(problem)) from None
    return None if login is None else login.sent


def _may_refresh(login: Login) -> bool:
    life = login.expires_in or _SPARED_SECONDS
    return bool(login.refresh_token) and time.time() - login.got_at > min(_SPARED_SECONDS, life)


def _refreshed(login: Login, refused: str) -> Login:
    """The login with another token; the same one where the provider is away and it may still do."""
    server = login.server
    if not login.refresh_token:
        if login.is_over:
            raise _unusable(server, f"the login to {server} has expired")
        return login
    until, why = _trouble.away.get(server, (0.0, ""))
    if time.monotonic() >= until:
        with STORE.changing():
            known = get_now(server) or login
            if known.text != login.text and not known.is_due:
                return known  # another process was faster
            try:
                return _refresh(known)
            except Refused as error:
                later = get_now(server)
                if later is not None and later.refresh_token != known.refresh_token:
                    return later  # a process that does not see our lock, as on another machine
                why = error.message
                if error.error in _FOR_GOOD:
                    _trouble.refused[server] = known.refresh_token, why
                _trouble.away[server] = time.monotonic() + _AGAIN_SECONDS, why
            except ModelryError as error:
                why = error.message
                _trouble.away[server] = time.monotonic() + _AGAIN_SECONDS, why
    if login.is_over or refused:
        raise _unusable(server, f"the login to {server} has expired and can't be renewed ({why})")
    return login


def _refresh(login: Login) -> Login:
    spent, why = _trouble.refused.get(login.server, ("", ""))
    if spent == login.refresh_token:
        raise Unauthenticated(why)
    from modelry._sdk.credentials import oidc  # here, since it brings HTTP and TLS, which few programs need

    provider = oidc.discover(login.issuer)
    answer = provider.grant(grant_type="refresh_token", refresh_token=login.refresh_token, client_id=login.client_id)
    if answer.get("id_token"):
        claims.check_id_token(answer["id_token"], login.issuer, login.client_id)
    made = login.with_answer(answer)
    try:
        keep(made)
    except (OSError, Unusable) as problem:  # the refresh token is spent, so what came for it must not be lost
        log.warning("the renewed login to %s can't be kept, and counts in this process only: %s", made.server, problem)
        STORE.remember(made.server, _entry(made))
    return made


def _entry(login: Login) -> Entry:
    entry = {name: getattr(login, name) for name in Login.__dataclass_fields__ if name != "server"}
    return {key: value for key, value in entry.items() if value}


def _unusable(server: str, text: str) -> Unauthenticated:
    said = text if "modelry login" in text else f"{text}; log in again: {login_command(server)}"
    return Unauthenticated(f"{said}; nothing was sent", reason="TOKEN_NOT_SENT", metadata={"server": server})


def _of(server: str, entry: Entry) -> Login:
    known = {name: entry[name] for name in Login.__dataclass_fields__ if name in entry and name != "server"}
    if not all(isinstance(known[name], str) for name in (*_SECRET, "issuer", "client_id", "sends") if name in known):
        raise Unusable(f"the login to {server} is damaged; log in again: {login_command(server)}")
    login = Login(server, **known)
    if problem := tokens.problem_of(login.text):
        raise Unusable(f"the token that is kept for {server} {problem}; log in again: {login_command(server)}")
    return login


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    return value if isinstance(value, str) else ""
