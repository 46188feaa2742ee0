"""How a caller from outside is recognised: by the token in its metadata, or by its client certificate.

A stream stays open for long. So what it was let in for is judged again whenever access says that something changed.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import grpc
import prometheus_client

from modelry_server.kernel.access import Kind, lacking
from modelry_server.kernel.authority import Authority, Known
from modelry_server.kernel.caller import Caller, Credential
from modelry_server.kernel.errors import (
    CredentialInvalid,
    CredentialMissing,
    ModelryError,
    TooManyFailures,
)
from modelry_server.kernel.telemetry import Log
from modelry_server.kernel.transport.client_certificates import client_certificate
from modelry_server.kernel.transport.limits.failures import Failures

METADATA = "authorization"
"""The metadata entry that carries a token."""
LONGEST = 8192
"""The most characters of a token."""

_SCHEME = "bearer "
_GRACE_S = 1.0  # for a stream at work to end with the reason, before it is cancelled
_HOW = "send one entry `authorization: Bearer <token>`"
_log = Log("doors")

refused_total = prometheus_client.Counter(
    "modelry_rpc_credentials_refused_total", "Calls refused because of who called, by reason.", ["reason"]
)


class Doors:
    """Recognises the callers of a public listener. `sign_in` says where people get a credential."""

    def __init__(self, authority: Authority, sign_in: Mapping[str, str]) -> None:
        self.authority = authority
        self._sign_in = sign_in
        self._failures = Failures()

    def identify(self, context: grpc.ServicerContext) -> tuple[str, Known]:
        """The token by which the caller is known, if it is not a certificate; who calls, and what they may do.

        Raises CredentialMissing, CredentialInvalid, TooManyFailures, ServiceUnavailable.
        """
        try:
            given = [value for name, value in context.invocation_metadata() if name == METADATA]
            return self._by_token(context, bearer_of(given)) if given else ("", self._by_certificate(context))
        except (CredentialMissing, CredentialInvalid, TooManyFailures) as error:
            refused_total.labels(error.reason).inc()
            raise

    def _by_token(self, context: grpc.ServicerContext, bearer: str) -> tuple[str, Known]:
        peer = context.peer() or ""
        is_new = not self.authority.has_judged(bearer)
        if is_new:
            try:
                self._failures.check(peer, bearer)
            except TooManyFailures:
                _log.seldom("rpc.too_many_failures", per="", peer=peer)
                raise
        try:
            return bearer, self.authority.identify(bearer)
        except CredentialInvalid:
            if is_new:
                self._failures.note(peer, bearer)
            raise

    def _by_certificate(self, context: grpc.ServicerContext) -> Known:
        found = client_certificate(context)
        if found is None:
            raise CredentialMissing(self._sign_in)
        names = (*found.uris, *found.dns_names, found.common_name)
        return self.authority.identify_certificate(names, found.fingerprint, found.ends.timestamp())


def bearer_of(given: Sequence[str | bytes]) -> str:
    """The token in the values of the metadata entry. Raises CredentialInvalid for what can be none."""
    if len(given) > 1:
        raise CredentialInvalid(f"the call has {len(given)} credentials; {_HOW}")
    [value] = given
    if not isinstance(value, str) or value[: len(_SCHEME)].lower() != _SCHEME:
        raise CredentialInvalid(f"the credential of the call has another form than `Bearer <token>`; {_HOW}")
    bearer = value[len(_SCHEME) :].strip(" ")
    if not bearer or len(bearer) > LONGEST or not bearer.isascii() or not bearer.isprintable() or " " in bearer:
        raise CredentialInvalid(
            f"a token has 1 to {LONGEST} printable ASCII characters without spaces, and the one of the call has not"
        )
    return bearer


class OpenCall(Protocol):
    """A stream that is open, or an upload."""

    caller: Caller
    context: grpc.ServicerContext
    bearer: str


class OpenCalls:
    """The streams and uploads of a listener, which end when their caller may no longer have them."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._lock = threading.Lock()
        self._judged: dict[OpenCall, int] = {}
        self._ended: dict[OpenCall, tuple[float, ModelryError]] = {}

    def enter(self, call: OpenCall) -> None:
        """Notes that a call is open whose caller has just been judged."""
        with self._lock:
            self._judged[call] = self._authority.changes

    def leave(self, call: OpenCall) -> None:
        """Notes that a call has ended."""
        with self._lock:
            self._judged.pop(call, None)
            self._ended.pop(call, None)

    def check(self, call: OpenCall) -> None:
        """Raises why a call must end, if it must."""
        ended = self._ended.get(call)
        if ended is not None:
            raise ended[1]
        if self._judged.get(call) != self._authority.changes or not self._authority.is_fresh():
            self._judge(call)

    def look(self) -> None:
        """Judges all calls again for which something may have changed, and ends those that may not go on."""
        overdue = time.monotonic() - _GRACE_S
        with self._lock:
            judged, ended = list(self._judged.items()), list(self._ended.items())
        for call, (since, _) in ended:
            if since < overdue:
                call.context.cancel()
        for call, changes in judged:
            if call not in self._ended and (changes != self._authority.changes or not self._authority.is_fresh()):
                try:
                    self._judge(call)
                except ModelryError as error:
                    with self._lock:
                        if call in self._judged:
                            self._ended[call] = (time.monotonic(), error)

    def _judge(self, call: OpenCall) -> None:
        """Raises CredentialInvalid, PermissionMissing or ServiceUnavailable if the caller may not go on.

        A credential that has ended by itself does not end what it has begun, such as a long upload; one that was
        revoked does, also if it had ended before.
        """
        changes, identity = self._authority.changes, call.caller.identity
        if identity is None:
            return
        if identity.credential is Credential.CLIENT_CERTIFICATE:
            present = replace(call.caller, grants=self._authority.grants_of(identity))
        else:
            known = self._authority.identify_again(identity, call.bearer)  # with the caps that it has now
            present = replace(call.caller, identity=known.identity, grants=known.grants)
        for permission, place in list(call.caller.judged or ()):
            if permission not in tuple(Kind) and not self._authority.may(present, permission, place):
                raise lacking(call.caller, permission, place.workspace)
        with self._lock:
            if call in self._judged:
                self._judged[call] = changes
