"""A call that can be repeated safely is sent again when the server is unavailable, and no other call is.

It can if the contract marks it as NO_SIDE_EFFECTS or IDEMPOTENT, or if its request has a `request_id`, which the SDK
always sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from modelry._sdk.transport.connection import Connection, connect
from modelry._sdk.transport.retries import ATTEMPTS, is_passing, is_refusal
from modelry.api.access import v1 as access
from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as registry
from modelry.api.rpc import NOT_REPEATABLE, Rpc
from modelry.api.tracking import v1 as tracking
from modelry.errors import (
    Draining,
    Internal,
    ModelryError,
    ResourceExhausted,
    TooManyCalls,
    TooManyStreams,
    Unavailable,
)
from tests.parts.bare_answers import answering_by_reset, answering_by_status

ROOMS = (access, tracking, artifacts, registry)


def services(room: ModuleType) -> set[ServiceDescriptor]:
    described = [thing.DESCRIPTOR for thing in vars(room).values() if hasattr(thing, "DESCRIPTOR")]
    files = {each.file for each in described if hasattr(each, "file")}
    return {service for file in files for service in file.services_by_name.values()}


METHODS: dict[str, MethodDescriptor] = {
    f"/{service.full_name}/{method.name}": method
    for room in ROOMS
    for service in services(room)
    for method in service.methods
}
RPCS: dict[str, Rpc[Any, Any]] = {
    rpc.path: rpc for room in ROOMS for rpc in vars(room.rpcs).values() if isinstance(rpc, Rpc)
}


class Flaky(grpc.GenericRpcHandler):
    """A server that is unavailable for the first calls of each rpc, or fails by another `code`, and counts them.

    `begun` counts also those whose message never came.
    """

    def __init__(self, failures: int) -> None:
        self.calls: Counter[str] = Counter()
        self.begun: Counter[str] = Counter()
        self.code = grpc.StatusCode.UNAVAILABLE
        self._failures = failures

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        method = METHODS[details.method]
        self.begun[details.method] += 1

        def answer(_: Any, context: grpc.ServicerContext) -> bytes:
            self.calls[details.method] += 1
            if self.calls[details.method] <= self._failures:
                context.abort(self.code, "the server is shutting down")
            return b""

        def answers(request: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
            yield answer(request, context)

        if method.client_streaming:
            return grpc.stream_unary_rpc_method_handler(answer)
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(answers)
        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def flaky(request: pytest.FixtureRequest) -> Iterator[tuple[Flaky, Connection]]:
    """A server that fails as often as the test says, and a connection to it."""
    handler = Flaky(getattr(request, "param", 1))
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    connection = connect(f"127.0.0.1:{port}")
    yield handler, connection
    connection.close()
    server.stop(None).wait()


def make(connection: Connection, rpc: Rpc[Any, Any]) -> None:
    """Makes a call of any kind, and reads all of its answer."""
    method = METHODS[rpc.path]
    if method.client_streaming:
        connection.write(rpc, [rpc.request()])
    elif method.server_streaming:
        list(connection.read(rpc, rpc.request()))
    else:
        connection.call(rpc, rpc.request())


def test_the_constants_say_what_the_contract_says() -> None:
    level = MethodOptions.IdempotencyLevel
    unknown = level.Value("IDEMPOTENCY_UNKNOWN")
    once = {
        path
        for path, method in METHODS.items()
        if method.GetOptions().idempotency_level == unknown and "request_id" not in method.input_type.fields_by_name
    }

    assert set(RPCS) == set(METHODS)
    assert set(NOT_REPEATABLE) == once
    assert {path for path, rpc in RPCS.items() if not rpc.repeatable} == once
    assert 0 < len(once) < len(METHODS)


@pytest.mark.parametrize("path", sorted(RPCS))
def test_what_is_repeatable_is_sent_again_and_nothing_else(flaky: tuple[Flaky, Connection], path: str) -> None:
    server, connection = flaky
    rpc = RPCS[path]

    if rpc.repeatable:
        make(connection, rpc)
    else:
        with pytest.raises(Unavailable):
            make(connection, rpc)

    assert server.calls == {path: 2 if rpc.repeatable else 1}


@pytest.mark.parametrize("flaky", [100], indirect=True)
def test_it_is_sent_again_only_so_often(flaky: tuple[Flaky, Connection]) -> None:
    server, connection = flaky

    with pytest.raises(Unavailable, match="shutting down"):
        make(connection, tracking.rpcs.GET_RUN)

    assert server.calls == {tracking.rpcs.GET_RUN.path: ATTEMPTS}


def test_what_the_recorder_sends_is_sent_again_too(flaky: tuple[Flaky, Connection]) -> None:
    server, connection = flaky
    rpc = tracking.rpcs.WRITE_METRICS

    answer = connection.begin(rpc.path, rpc.request().SerializeToString(), timeout=10).result(timeout=10)

    assert answer == b""
    assert server.calls == {rpc.path: 2}


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED], ids=str)
def test_what_a_server_has_no_room_for_is_sent_again(flaky: tuple[Flaky, Connection], code: grpc.StatusCode) -> None:
    server, connection = flaky
    server.code = code

    make(connection, tracking.rpcs.GET_RUN)

    assert server.calls == {tracking.rpcs.GET_RUN.path: 2}


def failure_of(address: str) -> ModelryError:
    """How a call to an address fails."""
    connection = connect(address)
    try:
        with pytest.raises(ModelryError) as raised:
            make(connection, tracking.rpcs.GET_RUN)
    finally:
        connection.close()
    return raised.value


@pytest.mark.parametrize(
    ("status", "passes"),
    [(400, False), (401, True), (403, False), (404, True), (408, True), (413, False), (429, True), (431, False)]
    + [(status, True) for status in (500, 502, 503, 504, 520)],
)
def test_what_a_proxy_answers_for_a_server_that_is_not_there_passes(status: int, passes: bool) -> None:
    with answering_by_status(status) as address:
        failed = failure_of(address)

    assert is_passing(failed) is passes, f"{failed.code}: {failed.message}"


@pytest.mark.parametrize("error_code", [0, 1, 2, 7, 8, 11])
def test_a_stream_that_is_reset_passes(error_code: int) -> None:
    with answering_by_reset(error_code) as address:
        failed = failure_of(address)

    assert is_passing(failed), f"{failed.code}: {failed.message}"


@pytest.mark.parametrize(
    ("code", "says", "passes"),
    [
        ("RESOURCE_EXHAUSTED", "Concurrent RPC limit exceeded!", True),
        ("RESOURCE_EXHAUSTED", "rate limit exceeds the quota", True),
        ("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (5003 vs. 1000)", False),
        ("RESOURCE_EXHAUSTED", "grpc: received message larger than max (5003 vs. 1000)", False),
        ("RESOURCE_EXHAUSTED", "grpc: received message after decompression larger than max 1000", False),
        ("RESOURCE_EXHAUSTED", "gRPC message exceeds maximum size 4194304: 5242886", False),
        ("RESOURCE_EXHAUSTED", "Received message exceeds the maximum configured message size.", False),
        ("RESOURCE_EXHAUSTED", "message size 5003 is larger than configured max 1000", False),
        ("RESOURCE_EXHAUSTED", "Error, decoded message length too large: found 5003 bytes", False),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", True),
        ("ABORTED", "", True),
        ("CANCELLED", "Cancelled on the server side", True),
        ("INTERNAL", "Received RST_STREAM with error code 2", True),
        ("INTERNAL", "Exception deserializing request!", False),
        ("UNKNOWN", "Stream removed", True),
        ("UNKNOWN", "Exception calling application: no", False),
        ("UNIMPLEMENTED", "Method not found!", False),
    ],
)
def test_whether_an_answer_without_a_reason_passes_is_told_by_its_code_and_text(
    code: str, says: str, passes: bool
) -> None:
    (kind,) = [each for each in ModelryError.__subclasses__() if each.code == code]

    assert is_passing(kind(says)) is passes


def test_a_refusal_of_modelry_for_want_of_room_passes_whatever_it_says() -> None:
    assert is_passing(ResourceExhausted("a message is too large", reason="TOO_MANY_STREAMS"))
    assert not is_passing(Internal("an unexpected error occurred", reason="INTERNAL"))


@pytest.mark.parametrize("flaky", [0], indirect=True)
def test_a_message_that_is_too_large_is_sent_once(flaky: tuple[Flaky, Connection]) -> None:
    server, connection = flaky
    rpc = tracking.rpcs.GET_RUN
    request = rpc.request(run_id="x" * (5 << 20)).SerializeToString()

    with pytest.raises(grpc.RpcError) as raised:
        connection.begin(rpc.path, request, timeout=20).result()

    error = connection.error_of(raised.value)
    assert isinstance(error, ResourceExhausted)
    assert "larger than max" in error.message
    assert not is_passing(error)
    assert server.begun == {rpc.path: 1}


@pytest.mark.parametrize("kind", [TooManyCalls, TooManyStreams, Draining])
def test_a_server_that_can_take_no_more_now_refuses_nothing_for_good(kind: type[ModelryError]) -> None:
    error = kind("not now")

    assert (is_passing(error), is_refusal(error)) == (True, False)
