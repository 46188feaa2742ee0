"""What a login is about to do, and what may not be believed of a server that nobody has logged in to yet.

A server says which identity provider it trusts before anybody knows who runs it. A token of a provider is often good at
each server that trusts this provider. So a hostile server can name the provider of another server, and use there what
it is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelry._sdk.credentials import claims, oidc
from modelry._sdk.credentials.claims import Refused
from modelry._sdk.values.hosts import is_loopback
from modelry._sdk.values.texts import is_printable
from modelry.errors import FailedPrecondition, InvalidArgument

_LONGEST_ISSUER = 500
_LONGEST_CLIENT = 200


@dataclass(frozen=True, slots=True)
class PlannedLogin:
    """A login before anything is opened: where it goes, and who else takes its tokens.

    `named` says whether the server names the issuer, and not the user. `others` are the servers with a kept login of
    the same issuer: a token of this login is good there too, and `server` could use it there, unless each has an
    audience of its own.
    """

    server: str
    issuer: str
    client_id: str
    named: bool
    others: tuple[str, ...] = ()

    @property
    def risk(self) -> str:
        """What `server` could do elsewhere. Empty if no other server is known to take its tokens."""
        if not self.others:
            return ""
        return (
            f"The login to {' and to '.join(self.others)} is of the same issuer. A token of this login is good there "
            f"too, and {self.server} could use it there in your name, unless each server has an audience of its own."
        )


def planned(server: str, issuer: str, client_id: str, *, named: bool, kept: Mapping[str, str]) -> PlannedLogin:
    """The plan of a login. `kept` has the issuers of the kept logins, by server.

    Others count also if their client is another one: it is the server that names the client. Raises InvalidArgument for
    what can't be an issuer or a client.
    """
    oidc.check_issuer(issuer)
    if len(issuer) > _LONGEST_ISSUER:
        text = f"the issuer {claims.plain(issuer)!r} has {len(issuer)} letters; it has at most {_LONGEST_ISSUER}"
        raise InvalidArgument(text, reason="ISSUER_INVALID")
    if len(client_id) > _LONGEST_CLIENT or not (client_id.isascii() and all(map(is_printable, client_id))):
        text = f"the client id {claims.plain(client_id)!r} must have at most {_LONGEST_CLIENT} letters of ASCII"
        raise InvalidArgument(text, reason="ISSUER_INVALID")
    if named and is_loopback(oidc.place_of(issuer)[0]) and not _is_here(server):
        raise InvalidArgument(
            f"{server} is another machine and names an issuer on this one, {issuer}; if that is right, log in with "
            "--issuer and --client-id",
            reason="ISSUER_INVALID",
        )
    others = tuple(sorted(each for each, known in kept.items() if known == issuer and each != server))
    return PlannedLogin(server, issuer, client_id, named, others)


def shared(plan: PlannedLogin) -> FailedPrecondition:
    """The error of a login that nobody has agreed to, though its token is good elsewhere."""
    return FailedPrecondition(
        f"{plan.risk} Nothing was opened. If you trust {plan.server}, log in with --yes, or with `agree` in a program",
        reason="LOGIN_SHARED",
        metadata={"server": plan.server, "others": ", ".join(plan.others), "issuer": plan.issuer},
    )


def check_page(plan: PlannedLogin, url: str, kept: Mapping[str, str]) -> None:
    """Refuses to show a page for a login, or a code for it, that is of the issuer of another login.

    An issuer could begin a login at that one for itself, and have the user end it. Raises Refused.
    """
    place = oidc.place_of(url)
    for server, known in sorted(kept.items()):
        if place == oidc.place_of(known) != oidc.place_of(plan.issuer):
            said = f"it sends you to {known}, which is the issuer of the login to {server}"
            raise Refused(plan.issuer, "mixed_up", said)


def _is_here(server: str) -> bool:
    return server.startswith("unix:") or is_loopback(server.rpartition(":")[0])
