"""What gRPC tells of itself in the programs that a test starts."""

from __future__ import annotations

import pytest


def trace(monkeypatch: pytest.MonkeyPatch, tracer: str, *, experiments: str | None) -> None:
    """Turns a tracer on, with GRPC_EXPERIMENTS as given; not set at all if that is None."""
    monkeypatch.delenv("GRPC_EXPERIMENTS", raising=False)
    if experiments is not None:
        monkeypatch.setenv("GRPC_EXPERIMENTS", experiments)
    monkeypatch.setenv("GRPC_VERBOSITY", "DEBUG")
    monkeypatch.setenv("GRPC_TRACE", tracer)
