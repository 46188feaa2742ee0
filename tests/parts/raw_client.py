"""A client that speaks HTTP/2 by hand, and so can be as bad as it likes: gRPC's own always reads and goes on."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from contextlib import suppress
from types import TracebackType

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
_END_STREAM = _ACK = 1
_END_HEADERS, _INITIAL_WINDOW = 4, 4


class RawClient:
    """One connection, within a block. It takes `window` bytes of each answer, and more only if told to."""

    def __init__(self, address: str, *, window: int = 65535) -> None:
        host, port = address.split(":")
        self.is_closed = False
        self.made = 0  # calls, those that have ended included
        self.begun = 0  # answers whose headers have come, and more is to come
        self._ended: set[int] = set()
        self.widened = threading.Event()  # is set when the server widens a window
        self._window = 65535  # of a stream, at its begin
        self._credit: Counter[int] = Counter({0: 65535})  # by stream, and of the connection
        self._socket = socket.create_connection((host, int(port)), timeout=60)
        settings = _frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW, window))
        with suppress(ConnectionError):  # it is closed at once
            self._socket.sendall(_PREFACE + settings)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> RawClient:
        """Gives itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Closes the connection."""
        with suppress(OSError):  # the server has closed it
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(20)
        self._socket.close()

    @property
    def open(self) -> int:
        """How many calls the server has not ended."""
        return self.made - len(self._ended)

    def call(self, method: str, message: bytes | None = None) -> None:
        """Begins a call; without a message it sends the headers only."""
        stream = 2 * self.made + 1
        self.made += 1
        sent = _frame(_HEADERS, _END_HEADERS, stream, _headers(method))
        if message is not None:
            sent += _frame(_DATA, _END_STREAM, stream, b"\0" + struct.pack(">I", len(message)) + message)
        self._socket.sendall(sent)

    def begin(self, method: str) -> int:
        """Begins a stream, and gives its number."""
        self.call(method)
        return 2 * self.made - 1

    def reset(self, stream: int) -> None:
        """Takes a call back, as one that is cancelled does."""
        self._socket.sendall(_frame(_RESET, 0, stream, struct.pack(">I", 8)))

    def send(self, stream: int, content: bytes) -> bool:
        """Sends it if the windows of the stream and of the connection permit that now."""
        if min(self._credit[0], self._window + self._credit[stream]) < len(content):
            return False
        self._credit.subtract({0: len(content), stream: len(content)})
        self._socket.sendall(_frame(_DATA, 0, stream, content))
        return True

    def widen(self, stream: int, size: int) -> None:
        """Takes so many bytes more of the answer of a stream."""
        more = struct.pack(">I", size)
        self._socket.sendall(_frame(_WINDOW_UPDATE, 0, stream, more) + _frame(_WINDOW_UPDATE, 0, 0, more))

    def _read(self) -> None:
        with suppress(OSError), self._socket.makefile("rb") as frames:
            while head := frames.read(9):
                kind, flags, stream = head[3], head[4], struct.unpack(">I", head[5:])[0]
                content = frames.read(int.from_bytes(head[:3], "big"))
                if kind in (_SETTINGS, _PING) and not flags & _ACK:
                    self._socket.sendall(_frame(kind, _ACK, 0, content if kind == _PING else b""))
                if kind == _SETTINGS and not flags & _ACK:
                    settings = dict(struct.iter_unpack(">HI", content))
                    self._window = settings.get(_INITIAL_WINDOW, self._window)
                if kind == _WINDOW_UPDATE:
                    self._credit[stream] += int.from_bytes(content, "big")
                    self.widened.set()
                self.begun += kind == _HEADERS and not flags & _END_STREAM
                if kind == _RESET or (kind in (_DATA, _HEADERS) and flags & _END_STREAM):
                    self._ended.add(stream)
        self.is_closed = True


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return struct.pack(">I", len(content))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + content


def _headers(method: str) -> bytes:
    """The headers of a call in HPACK, each as a literal that is not indexed."""
    headers = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "localhost"}
    headers |= {"te": "trailers", "content-type": "application/grpc"}
    texts = [text.encode() for header in headers.items() for text in header]
    return b"".join(
        b"\0" + b"".join(bytes([len(text)]) + text for text in pair)
        for pair in zip(texts[::2], texts[1::2], strict=True)
    )
