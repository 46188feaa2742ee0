"""The console of one run on its way to the server: files that grow, of which the first and the last are kept."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from modelry._sdk.files import console as files
from modelry._sdk.observing import places

PART = 1 << 15
"""The bytes of a file after which the next one begins. Each time there is news the last file is sent as a whole."""
LARGEST_PART = 1 << 20
"""The most bytes of a file, however much comes at once."""
HEAD = TAIL = 1 << 22
"""The bytes at the beginning and at the end that are kept, at least."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where the files of a run go. `send(path, content, is_last)` says whether it is done with; `delete(path)`."""

    send: Callable[[str, bytes, bool], bool]
    delete: Callable[[str], None]


@dataclass(slots=True)
class _Whole:
    """A file that is complete; without content if the server has it, and `is_begun` if it has its beginning."""

    number: int
    size: int
    lines: int
    content: bytes | None
    is_begun: bool


class Transcript:
    """The lines of a run. Not for several threads at once.

    What the server did not take waits in memory, within the bounds, and is tried again. Between the first and the last
    files is one that says how much is left out.
    """

    def __init__(self, kept: Files) -> None:
        self.is_over = False
        """Whether the run has ended."""
        self._kept = kept
        self._rank = places.rank()
        self._session = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(2)}"
        self._open = bytearray()
        self._number = 1
        self._sent = b""
        """What the server has of the file that grows."""
        self._head: deque[_Whole] = deque()
        """Those of the beginning that the server has not."""
        self._head_size = 0
        self._tail: deque[_Whole] = deque()
        self._tail_size = 0
        self._gap = 0
        """The number of the file that says what is left out."""
        self._gap_moment = 0
        """The time of the last line before it, in nanoseconds since 1970."""
        self._left_out = [0, 0]
        self._told = [0, 0]
        self._to_delete: list[int] = []

    def add(self, lines: bytes) -> None:
        """Adds whole lines that stay as they are, in as many files as they take."""
        begin = 0
        while len(lines) - begin > (room := LARGEST_PART - len(self._open)):
            end = lines.rfind(b"\n", begin, begin + room) + 1
            if not end and not self._open:  # a line that is longer than a file
                end = lines.find(b"\n", begin) + 1 or len(lines)
            self._open += lines[begin:end]
            self._close(bytes(self._open))
            begin = max(begin, end)
        self._open += lines[begin:]

    def send(self, rest: bytes, *, is_last: bool = False) -> bool:
        """Sends what is new, and the `rest`: the last lines, which may change. `is_last` if nothing comes after it.

        Returns whether all of it is sent.
        """
        for whole in (*self._head, *self._tail):
            if whole.content is not None and self._kept.send(self._path(whole.number), whole.content, is_last):
                whole.content = None
        self._head = deque(whole for whole in self._head if whole.content is not None)
        self._tell_what_is_left_out(is_last)
        if len(self._open) >= PART and not is_last:
            content = bytes(self._open)
            is_sent = self._kept.send(self._path(self._number), content, False)
            self._close(None if is_sent else content)
        content = bytes(self._open) + rest
        if content and content != self._sent and self._kept.send(self._path(self._number), content, is_last):
            self._sent = content
        is_whole = all(whole.content is None for whole in (*self._head, *self._tail))
        return is_whole and self._left_out == self._told and content in (b"", self._sent)

    def _close(self, content: bytes | None) -> None:
        """Begins the next file. `content` is that of this one, if the server has it not."""
        whole = _Whole(self._number, len(self._open), self._open.count(b"\n"), content, bool(self._sent))
        before = bytes(self._open)
        self._number += 1
        self._open, self._sent = bytearray(), b""
        if self._head_size < HEAD:
            self._head_size += whole.size
            self._head.append(whole)
            if self._head_size >= HEAD:
                self._gap = self._number
                self._number += 1
                last = files.read(before.splitlines(keepends=True)[-1], 0)
                self._gap_moment = round(last.time.timestamp() * 1_000) * 1_000_000 if last else time.time_ns()
            return
        self._tail.append(whole)
        self._tail_size += whole.size
        while self._tail_size - self._tail[0].size >= TAIL:  # so the last one stays, whatever its size
            dropped = self._tail.popleft()
            self._tail_size -= dropped.size
            self._left_out[0] += dropped.lines
            self._left_out[1] += dropped.size
            if dropped.content is None or dropped.is_begun:
                self._to_delete.append(dropped.number)

    def _tell_what_is_left_out(self, is_last: bool) -> None:
        if self._left_out != self._told:
            text = files.left_out(*self._left_out)
            if self._kept.send(self._path(self._gap), files.written(self._gap_moment, "stderr", text), is_last):
                self._told = list(self._left_out)
        while self._to_delete and self._left_out == self._told:  # so that who reads meanwhile sees that they are gone
            self._kept.delete(self._path(self._to_delete.pop()))

    def _path(self, number: int) -> str:
        return files.path_of(self._rank, self._session, number)
