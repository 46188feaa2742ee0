"""What to do if no Modelry server answers at an address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from modelry._sdk.transport import settings, tls
from modelry.errors import ModelryError

_ENDS = (
    "something there ended the connection: a server that stops, another kind of server, one that needs TLS, or one "
    "that has too many connections"
)
_STRANGERS = {
    "http1.x server": "what answers there speaks HTTP/1 and not gRPC, so it is another server",
    "parsing http/2": "what answers there does not speak gRPC, so it is another server",
    "socket closed": _ENDS,
    "connection reset": _ENDS,
    "broken pipe": _ENDS,
}
"""What gRPC says, in small letters, where another kind of server answers, and what that means."""


def is_stranger(error: ModelryError) -> bool:
    """Whether an answer can't be from Modelry, which names a reason for each refusal."""
    return not error.reason and error.code in {"UNIMPLEMENTED", "UNKNOWN", "PERMISSION_DENIED", "NOT_FOUND"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an address is from, for errors: what it is called, and how to use another one."""

    name: str = settings.TRACKING
    remedy: str = ""
    """Empty: the name is that of an environment variable, which can be set."""
    is_chosen: bool = True
    """Whether the program or its user names the address. Else a file does, such as one of the spool."""

    @property
    def advice(self) -> str:
        """How to use another address."""
        return self.remedy or f"set {self.name}"


class Advice:
    """Advice about an address. `plain` connections use no TLS; others trust the authorities in `ca`, if it is given."""

    def __init__(self, origin: Origin, address: settings.Address, *, plain: bool, ca: str = "") -> None:
        self._origin = origin
        self._address = address
        self._host = address.host
        self._plain = plain
        self._ca = ca

    @property
    def stranger(self) -> str:
        """If an answer is not one of this Modelry."""
        via = settings.proxy_of(self._host)
        between = f", or the proxy of {via} answered" if via else ""
        return (
            f"it is another server, or Modelry of another release{between}; is {self._origin.name} right?{self._more()}"
        )

    @property
    def slow(self) -> str:
        """If no answer comes in time."""
        return (
            "it is slow, or what listens there is another kind of server, or one that needs TLS; MODELRY_TIMEOUT sets "
            f"how long to wait, and {self._must}{self._more(';')}"
        )

    @property
    def tls(self) -> Mapping[str, str]:
        """What went wrong with TLS, and what to do, by reason."""
        name, known = self._origin.name, repr(self._ca) if self._ca else "the authorities that this machine trusts"
        plain_too = f"write grpc:// in {name}" if self._address.loopback else "set MODELRY_INSECURE=1"
        secured = f"write grpcs://{self._address.target} in {name}"
        if not self._address.loopback:
            secured = "this connection was made without it; leave out MODELRY_INSECURE and `insecure`"
        return {
            tls.WRONG_NAME: f"the certificate of the server has the wrong name: it is not for {self._host!r}; is the "
            f"name of the host right in {name}?",
            tls.EXPIRED: "the certificate of the server has expired (or the clock of this machine is wrong); its "
            "operator must renew it",
            tls.NOT_YET_VALID: "the certificate of the server is not valid yet; is the clock of this machine right?",
            tls.UNKNOWN_AUTHORITY: f"the certificate of the server is from an unknown authority, not one of "
            f"{known}; set MODELRY_CA_FILE to the file with the certificate of its authority",
            tls.NOT_SPOKEN: "what answers there has no TLS, and nothing was sent in plain text; is the port right? If "
            f"this server has no TLS on purpose, {plain_too}",
            tls.REQUIRED: f"the server needs TLS; {secured}",
            tls.CLIENT_CERTIFICATE_MISSING: "the server ended the connection after the handshake, as one does that "
            "asks for a certificate of the client; set MODELRY_CLIENT_CERTIFICATE_FILE and MODELRY_CLIENT_KEY_FILE",
            tls.CLIENT_CERTIFICATE_REFUSED: "the server ended the connection after the handshake, as one does that "
            "refuses the certificate of MODELRY_CLIENT_CERTIFICATE_FILE: has it expired, and does the server take "
            "certificates of its authority?",
        }

    def hint(self, said: str) -> str:
        """If there is no connection, of which gRPC says this."""
        if not self._plain and ("handshake" in said.lower() or "ssl" in said.lower()):
            return "TLS failed; is the server another one, or a proxy in between? `openssl s_client` shows more"
        for sign, kind in _STRANGERS.items():
            if sign in said.lower():
                return f"{kind}; {self._must}{self._more(';')}"
        if variable := settings.proxy_of(self._host):
            return f"calls to it go through the proxy of {variable}; if it needs none, add the host to no_proxy"
        if "resolving" in said.lower() or "dns" in said.lower():
            return f"is the name of the host right in {self._origin.name}?{self._more()}"
        return f"is the server running? start one with `modelry up`, or {self._origin.advice}"

    @property
    def _must(self) -> str:
        return f"{self._origin.name} must be the gRPC address of Modelry, whose default port is 5100"

    def _more(self, mark: str = "") -> str:
        return f"{mark} {self._origin.remedy}" if self._origin.remedy else ""
