"""Reading the console of a run: what its processes wrote to standard output and standard error."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

from modelry._sdk.files import console as files
from modelry._sdk.files.console import ConsoleLine
from modelry._sdk.nouns.artifacts import Artifacts
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

    def final(self) -> list[ConsoleLine]:
        """The lines that are there now and were not read before, by time."""
        found: list[ConsoleLine] = []
        for file in self._artifacts.list(self._owner, files.FOLDER, recursive=True):
            part = files.part_of(file.path)
            if part is None or self._rank not in (None, part.rank) or self._seen.get(file.path) == file.sha256:
                continue
            start = self._read.get(file.path, 0)
            try:
                content = self._artifacts.read_range(self._owner, file.path, start, file.size_bytes)
            except ArtifactNotFound:  # It was one of the middle, which are left out.
                continue
            self._seen[file.path] = file.sha256
            changing = self._changing[file.path] = []
            for line in content.splitlines(keepends=True):
                read = files.read(line, part.rank)
                if read is not None and read.is_final:
                    start += len(line)
                if read is not None and (self._pattern is None or self._pattern.search(read.text)):
                    (found if read.is_final else changing).append(read)
            self._read[file.path] = start
        return _by_time(found)

    def changing(self) -> list[ConsoleLine]:
        """The last lines as they were when they were read: they may still change."""
        return _by_time([line for lines in self._changing.values() for line in lines])


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


def _by_time(found: list[ConsoleLine]) -> list[ConsoleLine]:
    return sorted(found, key=lambda line: line.time)
