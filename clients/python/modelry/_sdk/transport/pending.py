"""Calls that were started and may have been answered."""

from __future__ import annotations

from typing import Any, Protocol

from modelry._sdk.credentials.tokens import Token


class Pending(Protocol):
    """A call that was started and may have been answered."""

    token: Token | None
    """What it was made with."""

    def result(self, timeout: float | None = None) -> bytes:
        """The answer. Raises what gRPC raises: FutureTimeoutError, FutureCancelledError, or RpcError."""

    def done(self) -> bool:
        """Whether the call is over."""

    def cancel(self) -> object:
        """Gives the call up."""


class Begun:
    """A call that gRPC makes in the background."""

    def __init__(self, call: Any, token: Token | None) -> None:
        self._call = call
        self.token = token

    def result(self, timeout: float | None = None) -> bytes:
        """See `Pending`."""
        answer: bytes = self._call.result(timeout=timeout)
        return answer

    def done(self) -> bool:
        """See `Pending`."""
        return bool(self._call.done())

    def cancel(self) -> object:
        """See `Pending`."""
        return self._call.cancel()


class Answered:
    """A call that was made at once, where it can't be made in the background."""

    def __init__(self, method: Any, request: bytes, *, failure: type[Exception], token: Token | None, **options: Any):
        self.token = token
        self._answer = b""
        self._failed: Exception | None = None
        try:
            self._answer = method(request, **options)
        except failure as failed:
            self._failed = failed

    def result(self, timeout: float | None = None) -> bytes:
        """See `Pending`."""
        if self._failed is not None:
            raise self._failed
        return self._answer

    def done(self) -> bool:
        """See `Pending`."""
        return True

    def cancel(self) -> object:
        """See `Pending`."""
        return None
