"""What a login is about to do, and what may not be believed of a server that nobody has logged in to yet.

A server says which identity provider it trusts before anybody knows who runs it. A token of a provider is often good at
each server that trusts this provider. So a hostile server can name the provider of another server, and use there what
it is sent. Or it names a provider of its own, whose page sends the browser on to the other one: no client can see that.

So an issuer that a server names is agreed to once, as the key of a host is with SSH. The login that is kept is the
agreement.
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

    `named` says whether the server names the issuer, and not the user. `before` is the issuer and the client of the
    login to this server that is kept. `others` are the servers with a kept login of the same issuer: a token of this
    login is good there too, and `server` could use it there, unless each has an audience of its own. `elsewhere` has
    the servers with a kept login of another issuer, and that issuer.
    """

    server: str
    issuer: str
    client_id: str
    named: bool
    before: tuple[str, str] | None = None
    others: tuple[str, ...] = ()
    elsewhere: tuple[tuple[str, str], ...] = ()

    @property
    def is_new(self) -> bool:
        """Whether the server names an issuer, or a client there, that the user has not agreed to for it."""
        return self.named and self.before != (self.issuer, self.client_id)

    @property
    def risk(self) -> str:
        """Why to think before going on. Empty if the user has agreed to this before, or if there is no reason."""
        if self.before == (self.issuer, self.client_id):
            return ""
        said = []
        if self.is_new and self.before:
            said.append(
                f"WARNING: the last login to {self.server} was at {self.before[0]}, as {self.before[1]}. Somebody else "
                "may answer there now, to steal a token for it; ask those who run it."
            )
        if self.is_new:
            said.append(
                f"{self.server} says that you log in to it at {self.issuer}, as {self.client_id}. Go on only if you "
                "expect that."
            )
        if self.others:
            said.append(
                f"The login to {' and to '.join(self.others)} is of the same issuer. A token of this login is good "
                f"there too, and {self.server} could use it there in your name, unless each server has an audience of "
                "its own."
            )
        if self.is_new and self.elsewhere:
            places = " and to ".join(f"{server} at {issuer}" for server, issuer in self.elsewhere)
            said.append(
                f"You are logged in to {places}. If a page of that issuer opens now, close it: a token for that server "
                "could be stolen."
            )
        return " ".join(said)

    @property
    def consent(self) -> str:
        """The options that agree to the risk beforehand."""
        ways = ["--issuer and the URL of your identity provider"] if self.is_new else []
        return " and with ".join([*ways, "--yes"] if self.others else ways)


def planned(
    server: str, issuer: str, client_id: str, *, named: bool, kept: Mapping[str, tuple[str, str]]
) -> PlannedLogin:
    """The plan of a login. `kept` has the issuers and the clients of the kept logins, by server.

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
            "--issuer",
            reason="ISSUER_INVALID",
        )
    rest = {each: known for each, (known, _) in sorted(kept.items()) if each != server}
    others = tuple(each for each, known in rest.items() if known == issuer)
    elsewhere = tuple((each, known) for each, known in rest.items() if known != issuer)
    return PlannedLogin(server, issuer, client_id, named, kept.get(server), others, elsewhere)


def not_agreed(plan: PlannedLogin) -> FailedPrecondition:
    """The error of a login with a risk that nobody has agreed to."""
    return FailedPrecondition(
        f"{plan.risk} Nothing was opened. If this is right, log in with {plan.consent}, or with `agree` in a program",
        reason="LOGIN_SHARED" if plan.others else "ISSUER_NOT_AGREED",
        metadata={"server": plan.server, "others": ", ".join(plan.others), "issuer": plan.issuer},
    )


def require_expected(server: str, named: str, expected: str) -> None:
    """Raises FailedPrecondition if a server names another issuer than the user expects."""
    oidc.check_issuer(expected)
    if named.rstrip("/") != expected.rstrip("/"):
        raise FailedPrecondition(
            f"{server} says that you log in to it at {claims.plain(named)!r}, and not at {expected}, which you expect. "
            "Nothing was opened; ask those who run the server",
            reason="ISSUER_OTHER",
            metadata={"server": server, "issuer": claims.plain(named)},
        )


def check_page(plan: PlannedLogin, url: str, kept: Mapping[str, tuple[str, str]]) -> None:
    """Refuses to show a page for a login, or a code for it, that is of the issuer of another login.

    An issuer could begin a login at that one for itself, and have the user end it. Raises Refused.
    """
    place = oidc.place_of(url)
    for server, (known, _) in sorted(kept.items()):
        if place == oidc.place_of(known) != oidc.place_of(plan.issuer):
            said = f"it sends you to {known}, which is the issuer of the login to {server}"
            raise Refused(plan.issuer, "mixed_up", said)


def _is_here(server: str) -> bool:
    return server.startswith("unix:") or is_loopback(server.rpartition(":")[0])
