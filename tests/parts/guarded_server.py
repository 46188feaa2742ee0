"""A server before the platform that takes calls with a valid token only, and remembers what each call came with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tests.parts.faulty_server import FaultyServer

Judge = Callable[[str], bool]


@dataclass
class GuardedServer(FaultyServer):
    """Refuses with UNAUTHENTICATED, unless `is_valid` says so of the token. `says` is in the metadata of the error.

    An upload is judged once more after `pieces` of its messages, if that is not 0.
    """

    is_valid: Judge = lambda token: True
    info: Mapping[str, str] = field(default_factory=dict)
    pieces: int = 0
    denies: bool = False
    """Whether who has a valid token lacks the permission."""
    seen: list[tuple[str, str]] = field(default_factory=list)
    """The method and the authorization of each call, which is empty where there was none."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = handler_call_details.method
        given = [str(value) for key, value in handler_call_details.invocation_metadata if key == "authorization"]
        with self._lock:
            self.seen.append((method, ", ".join(given)))
        token = given[0].removeprefix("Bearer ") if len(given) == 1 and given[0].startswith("Bearer ") else ""
        handler = super().service(handler_call_details)
        assert handler is not None
        if method.endswith("/WriteArtifacts"):
            return grpc.stream_unary_rpc_method_handler(
                lambda requests, context: self._write(method, self._judged(requests, context, token), context)
            )
        if (stream := handler.unary_stream) is not None:
            return grpc.unary_stream_rpc_method_handler(self._guarded(stream, token))
        assert handler.unary_unary is not None
        return grpc.unary_unary_rpc_method_handler(self._guarded(handler.unary_unary, token))

    def _guarded(self, answer: Callable[..., Any], token: str) -> Callable[[bytes, grpc.ServicerContext], Any]:
        def judged(request: bytes, context: grpc.ServicerContext) -> Any:
            self._judge(context, token)
            return answer(request, context)

        return judged

    def _judged(self, requests: Iterator[bytes], context: grpc.ServicerContext, token: str) -> Iterator[bytes]:
        for number, request in enumerate(requests, 1):
            if number in {1, self.pieces}:
                self._judge(context, token)
            yield request

    def _judge(self, context: grpc.ServicerContext, token: str) -> None:
        if not (token and self.is_valid(token)):
            _abort(context, grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_INVALID" if token else "", self.info)
        elif self.denies:
            _abort(context, grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING", {})


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, reason: str, info: Mapping[str, str]) -> None:
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=reason or "CREDENTIAL_MISSING", domain="modelry.dev", metadata=info))
    status = status_pb2.Status(code=code.value[0], message="the call needs a valid token", details=[detail])
    context.abort_with_status(rpc_status.to_status(status))


@contextmanager
def guarded(address: str, is_valid: Judge, **info: str) -> Iterator[GuardedServer]:
    """A server before the platform at an address. `info` is in the errors of calls without a valid token."""
    with grpc.insecure_channel(address) as channel, ThreadPoolExecutor(16) as pool:
        handler = GuardedServer(channel, is_valid=is_valid, info=info)
        server = grpc.server(pool, handlers=[handler])
        handler.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        yield handler
        server.stop(None).wait()
