"""Delivers what other processes left in the spool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelry._sdk.recording.attempts import CHOSEN, Attempt, End, Obstacles, Uploading
from modelry._sdk.recording.spooled import Delivering, SpoolAttempt, SpoolFile
from modelry._sdk.spooling import kept, places, queued
from modelry._sdk.spooling import spool as spools
from modelry._sdk.spooling.kept import Kept
from modelry._sdk.spooling.spool import Spool
from modelry._sdk.transport import settings
from modelry._sdk.transport.connection import connect
from modelry._sdk.transport.interruptions import held_back


@dataclass(frozen=True, slots=True)
class SyncReport:
    """The result of delivering the spool: in files, in requests, and in metric points.

    An upload of files that were copied is one file and one request. `problems` has a line for each file that was not
    delivered completely, each damaged file, each kind of refusal, and what else was found and can't be delivered.
    """

    files_delivered: int
    files_left: int
    files_in_use: int
    requests_delivered: int
    requests_refused: int
    requests_left: int
    points_delivered: int
    points_refused: int
    points_left: int
    problems: tuple[str, ...]


def deliver(
    address: str | None = None,
    *,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SyncReport:
    """Delivers the spools that other processes left, the oldest first, each to its own server; then files.

    With an `address` all go to that server. What was delivered before is not written twice. A file that its process
    still has open is left to it. `progress(done, total)` gets numbers of requests. Raises InvalidArgument for an
    address that can't be read; problems with single files are in the report.
    """
    if address:
        connect(address, origin=CHOSEN)  # says at once if it can't be read
    folder = folder or settings.read().spool_folder
    delivery = _Sync(address or "", progress)
    try:
        files, uploads = spools.left_in(folder), kept.left_in(folder)
        delivery.problems += _leftovers(folder)
        kept.clear(folder)
    except OSError as problem:
        files, uploads = [], []
        delivery.problems.append(f"the spool can't be read: {problem}; MODELRY_SPOOL_DIR sets its folder")
    delivery.deliver(files, uploads)
    return delivery.report()


def _leftovers(folder: Path) -> list[str]:
    """What lies in the spool and can't be delivered, and what others have put there."""
    problems = [
        f"{path}: the copy of these files was not completed, so they are not uploaded; delete the folder"
        for path in kept.incomplete_in(folder)
    ]
    own = places.own(folder)
    if own != folder:
        foreign = [path.name for path in folder.iterdir() if path.suffix in (spools.SUFFIX, kept.SUFFIX)]
        if foreign:
            text = f"{folder} is not yours alone, so {len(foreign)} files in it are ignored; yours are in {own}"
            problems.append(text)
    return problems


class _Sync:
    """One delivery of the spool, and what became of it."""

    def __init__(self, address: str, progress: Callable[[int, int], None] | None) -> None:
        self.problems: list[str] = []
        self._obstacles = Obstacles(address)
        self._progress = progress
        self._done = self._total = 0
        self._counts: dict[Path, int] = {}
        """How many requests were in each spool, for the progress."""
        self._spools_left: dict[Path, Spool] = {}
        self._uploads_left = 0
        self._unreadable = 0
        self._files_delivered = self._files_in_use = 0
        self._delivered = self._refused = 0
        self._points_delivered = self._points_refused = 0

    def deliver(self, files: list[Path], uploads: list[Path]) -> None:
        """Delivers spools, then copies of files, whose runs may be in the spools."""
        if self._progress is not None:
            self._counts = {path: _requests_in(path) for path in files}
            self._total = sum(self._counts.values()) + len(uploads)
        with held_back() as is_interrupted:  # or Ctrl-C could leave the lock of a spool
            again = list[Path]()
            delivering = Delivering(self._obstacles, told=self._told, go_on=lambda: not is_interrupted())
            for tried in delivering.attempts(files):
                self._note_spool(tried, is_last=False)
                again += [tried.path] if tried.is_refused else []
                again += [tried.part] if tried.part is not None else []
            # The start of a run may have been in a later file, such as one of a machine whose clock is ahead.
            self._obstacles.left.clear()
            for tried in delivering.attempts(sorted(set(again), key=lambda path: path.name)):
                self._note_spool(tried)
        for attempt in Uploading(self._obstacles, is_left_out=Kept.may_be_in_use).attempts(uploads):
            self._note(attempt)

    def report(self) -> SyncReport:
        """What became of it."""
        return SyncReport(
            files_delivered=self._files_delivered,
            files_left=len(self._spools_left) + self._unreadable + self._uploads_left,
            files_in_use=self._files_in_use,
            requests_delivered=self._delivered,
            requests_refused=self._refused,
            requests_left=sum(spool.requests_left for spool in self._spools_left.values()) + self._uploads_left,
            points_delivered=self._points_delivered,
            points_refused=self._points_refused,
            points_left=sum(spool.points_left for spool in self._spools_left.values()),
            problems=tuple(self.problems),
        )

    def _told(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)

    def _note_spool(self, attempt: SpoolAttempt, *, is_last: bool = True) -> None:
        """Counts what became of a spool. If it is not the last attempt, what is refused is tried again."""
        if attempt.source is None:
            self._total -= self._counts.get(attempt.path, 0)
            self._files_in_use += attempt.end is End.IN_USE
            if attempt.end is End.UNREADABLE:
                self._unreadable += 1
                self.problems.append(attempt.why)
            return
        name, source, why = attempt.path.name, attempt.source, attempt.why
        self._count(source)
        is_part_last = is_last or attempt.part is None
        told = {key: text for key, text in source.refusals.items() if is_part_last or not key.startswith("aside ")}
        self.problems += [f"{name}: {text}" for text in told.values()]
        if source.aside is not None:
            self._spools_left[source.aside.path] = source.aside
        if attempt.end is End.DONE:
            self._spools_left.pop(attempt.path, None)
            self._files_delivered += is_part_last
        else:
            self._spools_left[attempt.path] = source.spool
            if attempt.is_refused and not is_last:
                return
            why = f"{why}; {queued.told(source.spool.others_left, source.spool.points_left)} left"
        if why:
            self.problems.append(f"{name}: {why}")

    def _count(self, source: SpoolFile) -> None:
        self._delivered += source.delivered
        self._refused += source.refused_count
        self._points_delivered += source.points_delivered
        self._points_refused += source.points_refused

    def _note(self, attempt: Attempt) -> None:
        """Counts what became of an upload."""
        match attempt.end:
            case End.GONE:
                return
            case End.IN_USE:
                self._files_in_use += 1
                return
            case End.DIVIDED:
                self._total += len(attempt.parts)
            case End.DONE:
                self._files_delivered += 1
                self._delivered += 1
            case End.REFUSED:
                self._refused += 1
                self.problems.append(f"{attempt.folder.name}: refused: {attempt.why}")
            case _:
                self._uploads_left += 1
                is_told = attempt.end is End.UNREADABLE  # then the path is in the text
                self.problems.append(attempt.why if is_told else f"{attempt.folder.name}: {attempt.why}")
        self._told()


def _requests_in(path: Path) -> int:
    try:
        spool = Spool.peek(path)
    except OSError:
        return 0  # The delivery says so.
    spool.let_go()
    return spool.requests_left
