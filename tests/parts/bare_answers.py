"""What proxies and gRPC itself answer in place of a server: a status of HTTP, or a stream that is reset."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

_HEADERS, _RESET, _SETTINGS = 1, 3, 4
_END_STREAM = _ACK = 1
_END_HEADERS = 4
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_STATUS = b"\x08"  # the name `:status` of HPACK's table, with a value that follows


@contextmanager
def answering_by_status(status: int) -> Iterator[str]:
    """A server that answers every call with a status of HTTP and nothing of gRPC. Gives its address."""
    text = str(status).encode()
    with _answering(_HEADERS, _END_STREAM | _END_HEADERS, _STATUS + bytes([len(text)]) + text) as address:
        yield address


@contextmanager
def answering_by_reset(error_code: int) -> Iterator[str]:
    """A server that ends every call by RST_STREAM with an error code of HTTP/2. Gives its address."""
    with _answering(_RESET, 0, error_code.to_bytes(4)) as address:
        yield address


@contextmanager
def _answering(kind: int, flags: int, payload: bytes) -> Iterator[str]:
    class Answering(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            received, sent = cast(BinaryIO, self.rfile), cast(BinaryIO, self.wfile)
            received.read(len(_PREFACE))
            sent.write(_frame(_SETTINGS, 0, 0, b""))
            while len(head := received.read(9)) == 9:
                received.read(int.from_bytes(head[:3]))
                if head[3] == _SETTINGS and not head[4] & _ACK:
                    sent.write(_frame(_SETTINGS, _ACK, 0, b""))
                elif head[3] == _HEADERS:
                    sent.write(_frame(kind, flags, int.from_bytes(head[5:]), payload))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answering) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload
