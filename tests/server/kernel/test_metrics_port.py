from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.request import urlopen

from prometheus_client import Gauge

from modelry_server.kernel import metrics_port
from tests.parts import free_port
from tests.parts.eventually import eventually

LIMIT_S = 1.0
"""How long a request may take here."""


def served() -> int:
    port = free_port()
    metrics_port.serve("127.0.0.1", port, LIMIT_S)
    return port


@contextmanager
def all_places_taken(port: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20 * LIMIT_S))
            for _ in range(metrics_port.CONNECTIONS)
        ]


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has ended it, without an answer."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def scrape(port: int) -> bytes:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20 * LIMIT_S) as answer:
        found: bytes = answer.read()
        return found


def sends(connection: socket.socket, content: bytes) -> bool:
    try:
        connection.sendall(content)
    except ConnectionError:
        return False
    return True


def taken(connection: socket.socket) -> int:
    """The bytes that are left to read."""
    total = 0
    with suppress(ConnectionError):
        while part := connection.recv(1 << 20):
            total += len(part)
    return total


def test_silent_connections_are_few_and_do_not_stay() -> None:
    port = served()

    with all_places_taken(port) as held:
        with socket.create_connection(("127.0.0.1", port), timeout=20 * LIMIT_S) as one_more:
            assert is_closed(one_more)
        assert all(map(is_closed, held))

    assert b"python_info" in scrape(port)


def test_connections_that_send_a_byte_now_and_then_do_not_stay() -> None:
    port = served()
    request = itertools.chain(b"GET /metrics HTTP/1.1\r\nX: ", itertools.repeat(ord("x")))

    with all_places_taken(port) as held:

        def all_ended() -> bool:
            byte = bytes([next(request)])
            return not any([sends(each, byte) for each in held])

        eventually(all_ended, within_s=10 * LIMIT_S)
        assert b"python_info" in scrape(port)


def test_an_answer_that_nobody_takes_is_cut_off() -> None:
    port = served()
    large = Gauge("test_metrics_port_large", "More than the system keeps for a reader.", ["label"])
    for number in range(1000):
        large.labels(f"{number:010000}").set(1)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20 * LIMIT_S) as connection:
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            threading.Event().wait(2 * LIMIT_S)

            assert taken(connection) < 1000 * 10_000
    finally:
        large.clear()


def test_a_request_that_is_too_long_is_not_awaited() -> None:
    port = free_port()
    metrics_port.serve("127.0.0.1", port, 60)

    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 10_000)

        assert is_closed(connection)
