"""Reading the console of a run: what its processes wrote to standard output and standard error."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from itertools import accumulate

from modelry._sdk.files import console as files
from modelry._sdk.files.console import ConsoleLine, Part
from modelry._sdk.nouns.artifacts import Artifact, Artifacts
from modelry.errors import ArtifactNotFound, InvalidArgument

_LOOK_SECONDS = 1.0
_LAST_LOOKS = 3
"""How often it looks for the rest after the run has ended, which comes a moment later."""


class Reader:
    """Reads the lines of a run, each final one once, however often it is asked."""

    def __init__(self, artifacts: Artifacts, run_id: str, *, rank: int | None, grep: str) -> None:
        self._artifacts = artifacts
        self._owner = f"runs/{run_id}"
        self._rank = rank
        try:
            self._pattern = re.compile(grep) if grep else None
        except re.error as problem:
            raise InvalidArgument(
                f"grep={grep!r} is not a regular expression: {problem}; escape it with re.escape",
                fields={"grep": "must be a regular expression"},
            ) from None
        self._read: dict[str, int] = {}
        """How many bytes of a file were read as final lines."""
        self._seen: dict[str, str] = {}
        self._changing: dict[str, list[ConsoleLine]] = {}
        self._notices: set[str] = set()
        """The files that say what is left out."""
        self._last: dict[tuple[int, str], Part] = {}
        """The last file of each process of which something was read."""

    def final(self) -> list[ConsoleLine]:
        """The lines that are there now and were not read before: those of a process in their order, others by time."""
        processes: dict[tuple[int, str], list[tuple[Part, Artifact]]] = {}
        for file in self._artifacts.list(self._owner, files.FOLDER, recursive=True):
            part = files.part_of(file.path)
            if part is not None and self._rank in (None, part.rank):
                processes.setdefault((part.rank, part.session), []).append((part, file))
        found: list[tuple[datetime, ConsoleLine]] = []
        for process in sorted(processes):
            parts = sorted(processes[process], key=lambda each: each[0].number)
            found += _timed(self._of_process(process, parts))
            newest = parts[-1][0].path
            for part, _ in parts:
                if part.path != newest:  # It goes on in the next file.
                    self._changing.pop(part.path, None)
        return [line for _, line in sorted(found, key=lambda each: each[0])]

    def changing(self) -> list[ConsoleLine]:
        """The last lines as they were when they were read: they may still change."""
        return sorted((line for lines in self._changing.values() for line in lines), key=lambda line: line.time)

    def _of_process(self, process: tuple[int, str], parts: list[tuple[Part, Artifact]]) -> list[ConsoleLine]:
        """The final lines of a process that were not read before.

        Who follows has read lines that were left out later: it is told of those only that it has not read.
        """
        before = self._last.get(process)
        is_gone = before is not None and all(part.path != before.path for part, _ in parts)
        found: list[ConsoleLine] = []
        for part, file in parts:
            lines = self._of_file(part, file)
            if not lines:
                continue
            if part.path in self._notices and before is not None and part.number < before.number:
                continue
            if is_gone:
                is_gone = False
                found += self._searched([replace(lines[0], stream="stderr", text="… some lines are left out here")])
            self._last[process] = part
            found += self._searched(lines)
        return found

    def _of_file(self, part: Part, file: Artifact) -> list[ConsoleLine]:
        if part.path in self._notices or self._seen.get(part.path) == file.sha256:
            return []
        start = self._read.get(part.path, 0)
        try:
            content = self._artifacts.read_range(self._owner, part.path, start, file.size_bytes)
        except ArtifactNotFound:  # It was one of the middle, which are left out.
            return []
        self._seen[part.path] = file.sha256
        final: list[ConsoleLine] = []
        changing: list[ConsoleLine] = []
        for line in content.splitlines(keepends=True):
            read = files.read(line, part.rank)
            if read is not None and read.is_final:
                start += len(line)
            if read is not None:
                (final if read.is_final else changing).append(read)
        self._read[part.path] = start
        self._changing[part.path] = self._searched(changing)
        if files.is_left_out(final):
            self._notices.add(part.path)
        return final

    def _searched(self, lines: list[ConsoleLine]) -> list[ConsoleLine]:
        return [line for line in lines if self._pattern is None or self._pattern.search(line.text)]


def lines(
    artifacts: Artifacts,
    run_id: str,
    *,
    rank: int | None,
    grep: str,
    is_running: Callable[[], bool] | None,
) -> Iterator[ConsoleLine]:
    """The lines of a run; with `is_running` those that are written until that says no, too."""
    reader = Reader(artifacts, run_id, rank=rank, grep=grep)
    if is_running is None:
        yield from reader.final()
    else:
        looks = _LAST_LOOKS if is_running() else 1
        while looks:
            looks = _LAST_LOOKS if is_running() else looks - 1
            yield from reader.final()
            if looks:
                time.sleep(_LOOK_SECONDS)
    yield from reader.changing()


def _timed(lines: list[ConsoleLine]) -> list[tuple[datetime, ConsoleLine]]:
    """The lines with times that never go back, so that their order stays when they are sorted by them.

    A line whose time is after that of a later one, as if the clock was set back, gets the time of that one.
    """
    times = list(accumulate((line.time for line in reversed(lines)), min))
    return list(zip(reversed(times), lines, strict=True))
