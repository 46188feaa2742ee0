"""Files with a token in them, which are read again when they change: others rotate them, such as Kubernetes."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from modelry._sdk.credentials import tokens

_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe must not hold up training


class TokenFile:
    """A file with one token. Whoever writes it may put another file in its place, or write into it."""

    def __init__(self, given: str) -> None:
        self.path = Path(given).expanduser()
        with suppress(OSError):  # the working folder is gone
            self.path = self.path.absolute()  # a program may go elsewhere later
        self._name = str(self.path)
        self._seen: tuple[int, ...] = ()
        self._text = ""

    def read(self, *, again: bool = False) -> str:
        """The token, from memory if the file is as it was, unless `again`.

        While it is being written it may be empty, or away for a moment: then this is the last token. Raises ValueError
        with what is wrong where there was none.
        """
        try:
            seen = _signature(os.stat(self._name))
            if again or seen != self._seen:
                self._text, self._seen = _content(self.path), seen
        except OSError as problem:
            if not self._text:
                raise ValueError(f"can't be read: {problem.strerror or problem}") from None
        except ValueError:
            if not self._text:
                raise
        return self._text


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_mtime_ns, status.st_ino, status.st_dev, status.st_size


def _content(path: Path) -> str:
    number = os.open(path, _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise ValueError("is no file")
        content = os.read(number, tokens.LONGEST + 1024)
    finally:
        os.close(number)
    text = content.decode("latin-1").strip(" \t\r\n")
    if problem := tokens.problem_of(text):
        raise ValueError(problem)
    return text
