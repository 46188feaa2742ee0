"""What to do if no Modelry server answers at an address."""

from __future__ import annotations

from dataclasses import dataclass

from modelry._sdk.transport import settings
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
    """Advice about a host. `plain` connections use no TLS."""

    def __init__(self, origin: Origin, host: str, *, plain: bool) -> None:
        self._origin = origin
        self._host = host
        self._plain = plain

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

    def hint(self, said: str) -> str:
        """If there is no connection, of which gRPC says this."""
        if not self._plain and ("handshake" in said.lower() or "ssl" in said.lower()):
            return "connections to other machines use TLS; set MODELRY_INSECURE=1 if this server has no TLS"
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
