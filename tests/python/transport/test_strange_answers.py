"""What a stranger answers is a typed error in one plain line, whatever the call is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from modelry import Client
from modelry.errors import DataLoss, InvalidArgument

RUN = "runs/" + "0" * 32
CALLS: list[Callable[[Client], object]] = [
    lambda client: client.runs.get("0" * 32),
    lambda client: client.artifacts.read_bytes(RUN, "file"),
    lambda client: client.artifacts.upload_bytes(RUN, "file", b"content"),
]


class _Strange(grpc.GenericRpcHandler):
    def __init__(self, answer: Callable[[grpc.ServicerContext], bytes]) -> None:
        self._answer = answer

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        if "WriteArtifacts" in handler_call_details.method:
            return grpc.stream_unary_rpc_method_handler(lambda requests, context: self._answer(context))
        if "ReadArtifact" in handler_call_details.method:
            return grpc.unary_stream_rpc_method_handler(lambda request, context: iter([self._answer(context)]))
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._answer(context))


@contextmanager
def strangers_client(answer: Callable[[grpc.ServicerContext], bytes]) -> Iterator[Client]:
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers((_Strange(answer),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            client = Client(f"127.0.0.1:{port}")
            yield client
            client._connection.close()
        finally:
            server.stop(None).wait(10)


@pytest.mark.parametrize("call", CALLS, ids=["unary", "answered by a stream", "sent as a stream"])
@pytest.mark.parametrize("content", [b"\xff\xfe\xfd", b"\x0b" * 5_000], ids=["garbage", "groups without an end"])
def test_bytes_that_are_no_message_are_a_typed_error_and_no_traceback(
    call: Callable[[Client], object], content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        strangers_client(lambda context: content) as client,
        caplog.at_level(logging.DEBUG, logger="grpc"),
        pytest.raises(DataLoss, match=f"{len(content)} bytes that are no") as raised,
    ):
        call(client)

    assert (raised.value.reason, caplog.text) == ("ANSWER_MALFORMED", "")


@pytest.mark.parametrize("call", CALLS, ids=["unary", "answered by a stream", "sent as a stream"])
def test_the_text_of_a_refusal_forges_no_line_of_a_log_and_steers_no_terminal(call: Callable[[Client], object]) -> None:
    def refuse(context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "\x1b[31mno\r\nroot: a line\u202e é 👩\u200d🔬" + "x" * 5_000)

    with strangers_client(refuse) as client, pytest.raises(InvalidArgument) as raised:
        call(client)

    said = raised.value.message
    assert said.startswith("\\x1b[31mno\\r\\nroot: a line\\u202e é 👩\u200d🔬xxx")
    assert len(said) < 4_100
    assert said.endswith("…")
