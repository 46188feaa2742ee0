"""Calls to neighbours: they carry the caller, what is left of the caller's deadline, and the trace.

Never call a neighbour inside a transaction, and only along the order registry -> artifacts -> tracking -> access.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import grpc

from modelry_server.kernel import caller
from modelry_server.kernel.errors import DeadlinePassed, ModelryError, ServiceUnavailable
from modelry_server.kernel.transport import status

BELIEVED_S = 5.0
"""How long what a neighbour confirmed is believed, in seconds."""

_MARGIN_S = 0.05
_MOST_BELIEVED = 10_000
_Stub = TypeVar("_Stub")


class Neighbour:
    """Another room, found at an address; the channel opens with the first call.

    A neighbour that takes more than `longest_s` seconds counts as one that does not answer.
    """

    def __init__(self, name: str, address: str, *, longest_s: float = 10.0) -> None:
        self.name = name
        self.address = address
        self._longest_s = longest_s
        self._channel = grpc.insecure_channel(
            address,
            options=[
                ("grpc.enable_retries", 0),
                ("grpc.initial_reconnect_backoff_ms", 50),
                ("grpc.min_reconnect_backoff_ms", 5000),  # how long one attempt to connect may take, despite its name
                ("grpc.max_reconnect_backoff_ms", 1000),
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )

    def stub(self, kind: type[_Stub]) -> _Stub:
        """A stub of one of the neighbour's services."""
        return kind(self._channel)  # type: ignore[call-arg]

    def call(self, method: Any, request: Any) -> Any:
        """Calls a method of a stub for the present caller, within what is left of the caller's time.

        Raises what the neighbour answered with, as the same class and reason; ServiceUnavailable if it does not
        answer.
        """
        present = caller.current()
        left = present.time_left()
        if left is not None and left <= _MARGIN_S:
            raise DeadlinePassed
        timeout = self._longest_s if left is None else min(self._longest_s, left - _MARGIN_S)
        metadata = (
            ("modelry-subject", present.subject),
            ("traceparent", f"00-{present.trace_id}-{present.trace_id[:16]}-01"),
        )
        try:
            return method(request, timeout=timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise self._translated(error, is_callers_time=timeout < self._longest_s) from error

    def _translated(self, error: Any, *, is_callers_time: bool) -> ModelryError:
        answered = status.from_rpc_error(error)
        if answered.reason != "INTERNAL":  # the neighbour itself said why
            return answered
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and is_callers_time:
            return DeadlinePassed()
        if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            return ServiceUnavailable(self.name, self.address)
        return answered

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()


class Believed:
    """What a neighbour confirmed is believed for five seconds, so that asking costs a hot path nothing.

    `confirm` asks the neighbour about a name and raises what it answers unless the name is right.
    """

    def __init__(self, confirm: Callable[[str], object]) -> None:
        self._confirm = confirm
        self._lock = threading.Lock()
        self._since: dict[str, float] = {}

    def require(self, name: str) -> None:
        """Does nothing if the name was confirmed lately, or is now."""
        now = time.monotonic()
        if now - self._since.get(name, -BELIEVED_S) < BELIEVED_S:
            return
        self._confirm(name)
        with self._lock:
            if len(self._since) >= _MOST_BELIEVED:
                self._since.clear()
            self._since[name] = now
