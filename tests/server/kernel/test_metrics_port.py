from __future__ import annotations

import socket
from contextlib import ExitStack
from urllib.request import urlopen

import pytest

from modelry_server.kernel import metrics_port
from tests.parts import free_port


def test_silent_connections_are_few_and_do_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_port._Scrape, "timeout", 0.5)
    port = free_port()
    metrics_port.serve("127.0.0.1", port)

    with ExitStack() as stack:
        held = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            for _ in range(metrics_port.CONNECTIONS)
        ]
        with socket.create_connection(("127.0.0.1", port), timeout=5) as one_more:
            assert one_more.recv(1) == b""
        assert [each.recv(1) for each in held] == [b""] * len(held)  # closed after a while without a word

    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        assert b"python_info" in answer.read()
