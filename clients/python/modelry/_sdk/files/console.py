"""How the console output of runs is kept: lines of text in numbered files, written and read again.

A line is `TIME STREAM FLAG TEXT`, the format that container runtimes give to logs, so that tools for these read it. The
flag is `F` for a line that stays as it is, and `P` for one of the last lines of a file that may still change, such as a
progress bar.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from datetime import UTC, datetime

FOLDER = "modelry"
"""The folder of a run's files in which its console is, beside what else it records of itself."""
_PATH = re.compile(
    rf"{FOLDER}/(?:rank_(?P<rank>\d{{1,9}})/)?console/(?P<session>[\w-]{{1,100}})-(?P<number>\d{{4,9}})\.log"
)

_LEFT_OUT = re.compile(r"… [\d,]+ lines \([\d,.]+ MB\) are left out here")


@dataclass(frozen=True, slots=True)
class ConsoleLine:
    """A line that a process of a run wrote.

    `stream` is `stdout` or `stderr`, `time` when its last part was written. `rank` is the number of the process in its
    job. A line that is not `is_final` may still change, such as a progress bar.
    """

    time: datetime
    stream: str
    text: str
    rank: int
    is_final: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the console of a run: that of a rank, of a process, and its number from 1."""

    path: str
    rank: int
    session: str
    number: int


def path_of(rank: str, session: str, number: int) -> str:
    """The path of a file. The first process of a job, and one that is in no job, has no folder for its rank."""
    folder = FOLDER if rank in {"", "0"} else f"{FOLDER}/rank_{rank}"
    return f"{folder}/console/{session}-{number:04}.log"


def part_of(path: str) -> Part | None:
    """What a path says. None if it is no path that `path_of` gives."""
    found = _PATH.fullmatch(path)
    return found and Part(path, int(found["rank"] or 0), found["session"], int(found["number"]))


def written(moment_ns: int, stream: str, text: str, *, is_final: bool = True) -> bytes:
    """A line as it is in a file. `moment_ns` are nanoseconds since 1970."""
    seconds, rest = divmod(moment_ns, 1_000_000_000)
    moment = f"{_second(seconds)}.{rest // 1_000_000:03}Z"
    return f"{moment} {stream} {'F' if is_final else 'P'} {text}\n".encode(errors="backslashreplace")


def left_out(lines: int, size: int) -> str:
    """The text that stands for lines of so many bytes. It is the only line of its file."""
    return f"… {lines:,} lines ({size / 1e6:,.1f} MB) are left out here"


def is_left_out(lines: list[ConsoleLine]) -> bool:
    """Whether the lines of a file are what `left_out` gives."""
    return len(lines) == 1 and lines[0].stream == "stderr" and _LEFT_OUT.fullmatch(lines[0].text) is not None


@functools.lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def read(line: bytes, rank: int) -> ConsoleLine | None:
    """A line of a file. None for what is not a whole line."""
    moment, _, rest = line.decode(errors="replace").partition(" ")
    stream, _, rest = rest.partition(" ")
    flag, space, text = rest.partition(" ")
    if not space or not text.endswith("\n"):
        return None
    try:
        return ConsoleLine(datetime.fromisoformat(moment), stream, text[:-1], rank, flag == "F")
    except ValueError:
        return None
