"""An invitation becomes a login: it is exchanged for a token, which is kept and not lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from modelry import Client, credentials
from modelry.api.access import v1 as access
from modelry.errors import CredentialInvalid, TokenIsInvitation, Unavailable
from tests.parts.eventually import eventually
from tests.parts.locked import Locked, locked


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    with locked("all", tmp_path_factory.mktemp("inviting")) as found:
        yield found


def invited(platform: Locked, name: str) -> access.CreateTokenResponse:
    """An invitation of a new person."""
    person = access.CreatePrincipalRequest(kind=access.PRINCIPAL_KIND_USER, name=name)
    made = platform.ask("access.v1.PrincipalService/CreatePrincipal", person).principal
    return invited_again(platform, made.principal_id)


def invited_again(platform: Locked, principal_id: str) -> access.CreateTokenResponse:
    request = access.CreateTokenRequest(principal_id=principal_id)
    answer: access.CreateTokenResponse = platform.ask("access.v1.TokenService/CreateToken", request)
    return answer


def is_refused(address: str, secret: str) -> bool:
    try:
        Client(address, token=secret).whoami()
    except CredentialInvalid:
        return True
    return False


def test_an_invitation_is_exchanged_for_the_token_that_is_kept(platform: Locked, home: Path) -> None:
    address = platform.deployment.address
    invitation = invited(platform, "grace")
    with pytest.raises(TokenIsInvitation, match="modelry login --token"):
        Client(address, token=invitation.secret).tokens.create()

    kept = credentials.keep_token(invitation.secret, address)

    file = home / "modelry" / "credentials.json"
    assert (kept.invitation, kept.place) == (True, str(file))
    assert invitation.secret not in file.read_text()
    token = Client(address).whoami().token
    assert token is not None
    assert (token.token_id, token.invitation) == (invitation.token.token_id, False)
    assert not credentials.keep_token(Client(address).tokens.create().secret, address).invitation
    assert eventually(lambda: is_refused(address, invitation.secret), within_s=5)


class Between(grpc.GenericRpcHandler):
    """A server between a client and the platform. `before` is called with the method of each call."""

    def __init__(self, channel: grpc.Channel, before: Callable[[str], None]) -> None:
        self._channel, self._before = channel, before

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        method = handler_call_details.method
        given = tuple(pair for pair in handler_call_details.invocation_metadata if pair[0] == "authorization")
        forward: Any = self._channel.unary_unary(method)

        def answer(request: bytes, context: Any) -> Any:
            self._before(method)
            try:
                return forward(request, metadata=given, timeout=20)
            except grpc.RpcError as error:
                context.set_trailing_metadata(error.trailing_metadata())
                context.abort(error.code(), error.details())

        return grpc.unary_unary_rpc_method_handler(answer)


def test_what_can_not_be_kept_leaves_nobody_out(platform: Locked, home: Path) -> None:
    invitation = invited(platform, "fay")
    methods: list[str] = []

    def spoil(method: str) -> None:
        methods.append(method.rpartition("/")[2])
        if methods[-1] == "RotateToken":
            (home / "modelry" / "credentials.json").chmod(0o644)

    with grpc.insecure_channel(platform.deployment.address) as channel, ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, handlers=[Between(channel, spoil)])
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        with pytest.raises(Unavailable, match="the invitation is spent, and the token for it was revoked") as raised:
            credentials.keep_token(invitation.secret, address)
        server.stop(None).wait(20)

    assert methods == ["ListWorkspaces", "RotateToken", "RevokeToken"]
    assert "mdy_" not in str(raised.value)
    assert invited_again(platform, invitation.token.principal_id).token.invitation
