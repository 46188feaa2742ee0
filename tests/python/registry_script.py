"""A server, such as of the registry, that answers as it is told, also with values of the future."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

from modelry import Client
from modelry.api.registry import v1 as registry
from modelry.api.rpc import Rpc
from modelry.api.tracking import v1 as tracking

Answer = Callable[[Any], Any]
STREAMS = {tracking.rpcs.READ_METRICS.path}


class Scripted(grpc.GenericRpcHandler):
    """Answers each rpc with the next of its answers, a message or a stream of them, and keeps the requests."""

    def __init__(self, answers: dict[Rpc[Any, Any], list[Any]]) -> None:
        self._answers = {rpc.path: (rpc, iter(given)) for rpc, given in answers.items()}
        self.requests: list[Any] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a call."""
        found = self._answers.get(handler_call_details.method)
        if found is None:
            return None
        rpc, answers = found

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            self.requests.append(request)
            return next(answers)

        handler = grpc.unary_stream_rpc_method_handler if rpc.path in STREAMS else grpc.unary_unary_rpc_method_handler
        return handler(
            answer, request_deserializer=rpc.request.FromString, response_serializer=rpc.response.SerializeToString
        )


@contextmanager
def scripted(answers: dict[Rpc[Any, Any], list[Any]]) -> Iterator[tuple[Client, Scripted]]:
    """A client of a server with these answers, and the server."""
    script = Scripted(answers)
    server = grpc.server(ThreadPoolExecutor(2), handlers=[script])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    client = Client(f"grpc://127.0.0.1:{port}")
    try:
        yield client, script
    finally:
        client._connection.close()
        server.stop(None).wait()


def a_version(number: int = 1, **fields: Any) -> registry.Version:
    """A version of the model `bikes`."""
    return registry.Version(version_id=f"v{number}", model_name="bikes", version_number=number, **fields)
