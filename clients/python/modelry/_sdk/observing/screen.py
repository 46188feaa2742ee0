"""What a stream has written, as lines: a terminal of which only the last rows can still change.

A progress bar that draws itself again and again is one line with its last state, also where several are drawn above
each other. Colours and other sequences for terminals are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

Line: TypeAlias = "tuple[int, str]"
"""When its last part was written, in nanoseconds since 1970, and its text."""

LONGEST_LINE = 16_384
"""The characters of a line that are kept."""
_MOST_ROWS = 100
"""How many of the last rows can change: more than the bars that fit a screen."""
_SEQUENCE = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])"
_TOKENS = re.compile(rf"({_SEQUENCE}|[\n\r]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f])")
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,200}\x1b?|[ -/]*)?\Z")


@dataclass(slots=True)
class _Row:
    moment: int
    text: str = ""
    left_out: int = 0


class Screen:
    """The rows of one stream. Not for several threads at once."""

    def __init__(self) -> None:
        self._rows = [_Row(0)]
        self._at = 0
        """The row of the cursor."""
        self._is_over = False
        """Whether the next text takes the place of what is in the row, since the cursor is at its beginning."""
        self._deepest = 0
        """How far up the cursor has been moved: so many rows can change again."""
        self._rest = ""

    def write(self, text: str, moment: int) -> None:
        """Takes what the stream has written at a moment."""
        if not self._rest and text.isprintable():
            if text:
                self._put(text, moment)
            return
        text = self._rest + text
        self._rest = ""
        if "\x1b" in text and (unfinished := _UNFINISHED.search(text)):
            self._rest, text = unfinished.group(), text[: unfinished.start()]
        for position, token in enumerate(_TOKENS.split(text)):
            if position % 2 == 0:
                if token:
                    self._put(token, moment)
            elif token == "\n":
                self._down(moment)
            elif token == "\r":
                self._is_over = True
            elif token[0] == "\x1b" and len(token) > 1:
                self._obey(token)

    def take_final(self) -> list[Line]:
        """The lines that can't change any more, each once."""
        count = max(0, min(self._at, len(self._rows) - 1 - self._deepest))
        taken, self._rows = self._rows[:count], self._rows[count:]
        self._at -= count
        return [_line(row) for row in taken]

    def rest(self) -> list[Line]:
        """The last lines, which can change, without the empty ones at the end."""
        lines = [_line(row) for row in self._rows]
        while lines and not lines[-1][1]:
            lines.pop()
        return lines

    def _put(self, text: str, moment: int) -> None:
        row = self._rows[self._at]
        if self._is_over:
            row.text, row.left_out, self._is_over = "", 0, False
        row.moment = moment
        room = LONGEST_LINE - len(row.text)
        row.text += text[:room]
        row.left_out += max(0, len(text) - room)

    def _down(self, moment: int) -> None:
        if not self._rows[self._at].moment:
            self._rows[self._at].moment = moment
        self._at += 1
        self._is_over = self._at < len(self._rows)
        if not self._is_over:
            self._rows.append(_Row(0))

    def _obey(self, sequence: str) -> None:
        """Moves the cursor up or down, or clears the row. Other sequences change no text."""
        if sequence[1] != "[":
            return
        if sequence[-1] in "AF":
            self._at = max(0, self._at - _number_in(sequence))
            self._deepest = min(_MOST_ROWS, max(self._deepest, len(self._rows) - 1 - self._at))
            self._is_over = self._is_over or sequence[-1] == "F"
        elif sequence[-1] in "BE":
            self._at = min(len(self._rows) - 1, self._at + _number_in(sequence))
            self._is_over = self._is_over or sequence[-1] == "E"
        elif sequence[-1] == "K" and (self._is_over or sequence == "\x1b[2K"):
            self._rows[self._at].text = ""


def _number_in(sequence: str) -> int:
    digits = sequence[2:-1]
    return max(1, int(digits)) if digits.isdecimal() and len(digits) < 5 else 1


def _line(row: _Row) -> Line:
    text = row.text.rstrip(" ")
    return row.moment, f"{text} … {row.left_out:,} more characters" if row.left_out else text
