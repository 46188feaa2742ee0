"""A call whose last message is cut off and still ends as a whole one does. No gRPC library can be made to send it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

_DATA, _HEADERS, _RESET, _SETTINGS = 0, 1, 3, 4
_END_STREAM = _ACK = 1
_END_HEADERS = 4
_STREAM = 1
_SECONDS = 30


def send_cut_off(address: str, path: str, messages: Sequence[bytes], part: bytes) -> None:
    """Sends messages and the first bytes of one more, ends the stream, and waits until the server ends it too.

    All together must be less than 16 KiB, which is what fits into one frame.
    """
    host, port = address.split(":")
    names = {":method": "POST", ":scheme": "http", ":path": path, ":authority": address}
    names |= {"te": "trailers", "content-type": "application/grpc"}
    headers = b"".join(b"\0" + _text(name) + _text(value) for name, value in names.items())
    content = b"".join(_framed(message) for message in messages) + part
    with socket.create_connection((host, int(port)), timeout=_SECONDS) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, b""))
        connection.sendall(_frame(_HEADERS, _END_HEADERS, _STREAM, headers))
        connection.sendall(_frame(_DATA, _END_STREAM, _STREAM, content))
        with connection.makefile("rb") as answer:
            while len(head := answer.read(9)) == 9:
                size, kind, flags, stream = int.from_bytes(head[:3]), head[3], head[4], int.from_bytes(head[5:])
                answer.read(size)
                if kind == _SETTINGS and not flags & _ACK:
                    connection.sendall(_frame(_SETTINGS, _ACK, 0, b""))
                elif stream == _STREAM and (kind == _RESET or (kind == _HEADERS and flags & _END_STREAM)):
                    return
    raise ConnectionError("the server closed the connection and did not end the stream")


def cut(message: bytes) -> bytes:
    """The first half of a message as it is sent."""
    framed = _framed(message)
    return framed[: (len(framed) + 1) // 2]


def _framed(message: bytes) -> bytes:
    return struct.pack(">BI", 0, len(message)) + message


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return len(content).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + content


def _text(text: str) -> bytes:
    """A header's name or value, of less than 127 bytes, as HPACK has it without compression."""
    return bytes([len(text)]) + text.encode()
