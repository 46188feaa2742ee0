"""Who reaches what: clients the public services, other services the internal ones, as who signs with their key."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.architecture.tree import rpcs
from tests.parts.deployment import Deployment
from tests.parts.refusal import Refusal, unpacked
from tests.parts.vouched import vouched

RPCS = dict(rpcs())
TAKES_NOTHING = {"WatchChanges", "LogTokenUses"}
"""Internal rpcs for which an empty request is right."""
INTERNAL = sorted(rpc for rpc in RPCS if rpc.startswith("/modelry.internal."))
ROOMS = ["access", "tracking", "artifacts", "registry"]


def refusal(channel: grpc.Channel, rpc: str, key: str | None) -> Refusal:
    """Why an empty request is refused, with a key or without."""
    method = RPCS[rpc]
    kind = ("stream" if method.client_streaming else "unary") + ("_stream" if method.server_streaming else "_unary")
    metadata = () if key is None else vouched(key, rpc.split(".")[2])
    request: Any = iter([b""]) if method.client_streaming else b""
    try:
        answer = getattr(channel, kind)(rpc)(request, timeout=20, metadata=metadata)
        raise AssertionError(f"was answered: {list(answer) if method.server_streaming else answer!r}")
    except grpc.RpcError as error:
        return unpacked(error)


def test_there_are_internal_rpcs_to_try() -> None:
    assert INTERNAL


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("rpc", INTERNAL)
def test_no_internal_rpc_is_there_for_clients_not_even_with_the_key(
    deployment: Deployment, rpc: str, room: str
) -> None:
    for key in (None, deployment.service_key):
        assert refusal(deployment.channel(room), rpc, key).code == "UNIMPLEMENTED"


@pytest.mark.parametrize("rpc", sorted(RPCS))
def test_an_internal_listener_answers_no_rpc_without_the_key(deployment: Deployment, rpc: str) -> None:
    channel = deployment.internal_channel(rpc.split(".")[2])

    for key in (None, "", "x" * 64, deployment.service_key[:-1]):
        found = refusal(channel, rpc, key)
        assert (found.code, found.reason, found.domain) == ("UNAUTHENTICATED", "NOT_A_SERVICE", "modelry.dev")
        assert deployment.service_key not in str(found)


@pytest.mark.parametrize("rpc", [rpc for rpc in INTERNAL if rpc.rpartition("/")[2] not in TAKES_NOTHING])
def test_an_internal_listener_hears_who_has_the_key(deployment: Deployment, rpc: str) -> None:
    found = refusal(deployment.internal_channel(rpc.split(".")[2]), rpc, deployment.service_key)

    assert (found.code, found.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
