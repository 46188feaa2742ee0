"""Signs the calls of a connection: puts the token into their metadata, and says what to do if it is refused.

A token goes to its own server only:

- that of an argument to the server of the argument;
- those of the environment to the servers that the environment names: `MODELRY_TRACKING_URI` and the addresses of its
  services. Where it names none they go to the server that the program or its user chooses, as by `set_tracking_uri` or
  `--address`, and never to an address from a file, such as one of the spool;
- that of a login to the server of the login, and to the services that the environment names beside it.

No token goes over plain text to another machine, whatever the settings say.
"""

from __future__ import annotations

import getpass
import os
from urllib.parse import quote

from modelry._sdk.credentials import sources
from modelry._sdk.credentials.sources import Sources
from modelry._sdk.credentials.tokens import Token
from modelry._sdk.transport import process, settings
from modelry._sdk.transport.remedies import remedy
from modelry._sdk.values.texts import is_printable
from modelry._sdk.values.urls import MASK
from modelry.errors import InvalidArgument, ModelryError

_NAME_LIMIT = 128
_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
Metadata = tuple[tuple[str, str], ...]

RENEWED = "TOKEN_RENEWED"
"""The reason of errors of calls whose token was refused, where there is another one by now."""


class Signing:
    """The tokens of one connection.

    `server` is the target of the login, which is that of tracking for services with an address of their own. `given` is
    the token of an argument; an empty one stands for calls without a token. `is_chosen` says whether the program or its
    user names the address, and `certified` whether the connection shows a certificate of the caller.
    """

    def __init__(
        self,
        address: settings.Address,
        *,
        plain: bool,
        server: str = "",
        given: str | None = None,
        is_chosen: bool = True,
        certified: bool = False,
    ) -> None:
        self._address = address
        self._exposes = plain and not address.loopback
        self._is_chosen = is_chosen
        self._certified = certified
        self._argument = given
        self._tracking = server or address.target
        self._named = ""
        """What the environment said when it named this server itself."""
        self._unsigned: Metadata = (("modelry-subject", _subject()),)
        self._sources = Sources(name_of(self._tracking), given=self._given, withheld=self._withheld)

    def token(self) -> Token | None:
        """The token of the next call. Raises Unauthenticated if there is one that must not be sent."""
        return self._guarded(self._sources.token())

    def metadata(self, token: Token | None) -> Metadata:
        """The metadata of a call with the token."""
        return self._unsigned if token is None else (*self._unsigned, ("authorization", f"Bearer {token.text}"))

    def renewed(self, refused: Token | None) -> bool:
        """Whether there is another token than the one that was refused. Looks for one."""
        try:
            token = self._guarded(self._sources.token(refused))
        except ModelryError:
            return False
        return token is not None and (refused is None or token.text != refused.text)

    def explained(self, error: ModelryError, token: Token | None) -> ModelryError:
        """An error of a call, with what to do if it is about who called. A token that the server quotes is masked."""
        message = error.message if token is None else error.message.replace(token.text, MASK)
        if error.code == "UNAUTHENTICATED":
            refused = token and f"the token {token.source} is refused; {token.remedy}"
            advice = refused or self._sources.advice
        else:
            is_told = token is not None and (error.code == "PERMISSION_DENIED" or message != error.message)
            used = f"called with the token {token.source}" if token is not None and is_told else ""
            advice = "; ".join(filter(None, (used, remedy(error, is_known=token is not None or self._certified))))
        if not advice:
            return error
        said = f"{message} ({advice})"
        return type(error)(said, reason=error.reason, metadata=error.metadata, fields=error.fields)

    def require_private(self, source: str) -> None:
        """Raises Unauthenticated if the token of a source must not be sent."""
        if self._exposes:
            raise sources.unusable(
                f"the token {source} must not go to {self._address.target} without TLS, where others can read "
                "it; use a server with TLS and unset MODELRY_INSECURE (or `insecure`), or reach it by a tunnel to "
                "this machine",
                address=self._address.target,
            )

    def _guarded(self, token: Token | None) -> Token | None:
        if token is not None:
            self.require_private(token.source)
        return token

    def _given(self) -> str | None:
        return process.current().token_for(self._tracking) if self._argument is None else self._argument

    def _withheld(self) -> str:
        """Why the tokens of the environment are not for this server. Empty: they are."""
        named = os.environ.get(settings.TRACKING) or ""
        if named and named == self._named:
            return ""
        why = self._judge(named, process.current().chosen_uri)
        self._named = named if named and not why and _target(named) == self._tracking else ""
        return why

    def _judge(self, named: str, chosen: str) -> str:
        if not named:
            if self._is_chosen or _target(chosen or settings.DEFAULT_TRACKING_URI) == self._tracking:
                return ""
            return f"no setting names that server: set {settings.TRACKING}={self._address.uri}, or give the address"
        known = [named, *(os.environ.get(settings.service_variable(each), "") for each in settings.ELSEWHERE)]
        if self._tracking in {_target(uri) for uri in known if uri}:
            return ""
        return f"it is for {settings.public(named)}, the server of {settings.TRACKING}"


def name_of(target: str) -> str:
    """The name of a server for its login: `host:port`, or `unix:/path`."""
    return target if target.startswith("unix:") else target.removeprefix("dns:///").lower()


def _target(uri: str) -> str:
    try:
        return settings.parse_address(uri).target
    except InvalidArgument:
        return ""


def _subject() -> str:
    """The name of the user as metadata, which is ASCII: bytes of UTF-8 that are not, and `%`, are written as `%XX`."""
    try:
        name = getpass.getuser()
    except (ImportError, KeyError, OSError):
        name = "unknown"
    readable = name.encode(errors="replace").decode()
    shown = "".join(letter if is_printable(letter) else "?" for letter in readable)
    return quote(shown[:_NAME_LIMIT].strip() or "unknown", safe=_PLAIN)
