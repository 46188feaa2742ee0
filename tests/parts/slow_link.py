"""A link to a server that takes so many bytes a second."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def slow_link(address: str, bytes_per_second: float) -> Iterator[str]:
    """A link to the server at an address; answers come at once. Gives the link's own address."""
    host, _, port = address.removeprefix("grpc://").rpartition(":")
    listener = socket.create_server(("127.0.0.1", 0))
    open_sockets = [listener]
    ended = threading.Event()

    def pump(source: socket.socket, target: socket.socket, rate: float | None) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                target.sendall(piece)
                if rate is not None:
                    ended.wait(len(piece) / rate)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                open_sockets.append(near)
                try:
                    far = socket.create_connection((host, int(port)))
                except OSError:
                    near.close()  # as a link whose other end is away; the client connects again
                    continue
                open_sockets.append(far)
                threading.Thread(target=pump, args=(near, far, bytes_per_second), daemon=True).start()
                threading.Thread(target=pump, args=(far, near, None), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ended.set()
        for each in open_sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
