"""A server between a client and the platform that fails at what a test chooses, as the platform or a proxy may."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

Rule = Callable[[str, bytes], "grpc.StatusCode | None"]


def none(method: str, request: bytes) -> grpc.StatusCode | None:
    """The rule that lets everything through."""
    return None


@dataclass
class FaultyServer(grpc.GenericRpcHandler):
    """Passes every call on to the platform, unless the rule names a status for its method and (first) request.

    `says` is the text of the status. `answers` has what methods answer in place of the platform, which does not get
    these calls. While `stands_still` is set, streams are not answered.
    """

    channel: Any
    rule: Rule = none
    says: str = "the test wants it so"
    address: str = ""
    answers: dict[str, bytes] = field(default_factory=dict)
    stands_still: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = handler_call_details.method
        if method.endswith("/WriteArtifacts"):
            return grpc.stream_unary_rpc_method_handler(
                lambda requests, context: self._write(method, requests, context)
            )
        if method.endswith(("/ReadArtifacts", "/ReadMetrics")):
            return grpc.unary_stream_rpc_method_handler(
                lambda request, context: self.channel.unary_stream(method)(request, timeout=20)
            )
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._ask(method, request, context))

    def _ask(self, method: str, request: bytes, context: grpc.ServicerContext) -> Any:
        if (code := self.rule(method, request)) is not None:
            context.abort(code, self.says)
        if method in self.answers:
            return self.answers[method]
        return self._passed_on(lambda: self.channel.unary_unary(method)(request, timeout=20), context)

    def _write(self, method: str, requests: Iterator[bytes], context: grpc.ServicerContext) -> Any:
        while self.stands_still.is_set() and context.is_active():
            self.ended.wait(0.05)
        first = next(requests)
        if (code := self.rule(method, first)) is not None:
            context.abort(code, self.says)
        whole = [first, *requests]
        return self._passed_on(lambda: self.channel.stream_unary(method)(iter(whole), timeout=20), context)

    @staticmethod
    def _passed_on(call: Callable[[], Any], context: grpc.ServicerContext) -> Any:
        try:
            return call()
        except grpc.RpcError as error:
            failed: Any = error
            context.set_trailing_metadata(failed.trailing_metadata())
            context.abort(failed.code(), failed.details())


@contextmanager
def faulty(address: str, **options: int) -> Iterator[FaultyServer]:
    """A server before the platform at an address, with options of gRPC, which it names `grpc.<option>`."""
    target = address.removeprefix("grpc://")
    with grpc.insecure_channel(target) as channel, ThreadPoolExecutor(16) as pool:
        handler = FaultyServer(channel)
        chosen = [(f"grpc.{name}", value) for name, value in options.items()]
        server = grpc.server(pool, handlers=[handler], options=chosen)
        handler.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        yield handler
        handler.ended.set()
        handler.stands_still.clear()
        server.stop(None).wait()
