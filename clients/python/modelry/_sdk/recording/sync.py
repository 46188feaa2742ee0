"""Delivers what other processes left in the spool."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelry._sdk.recording import holders, kept, places, queued
from modelry._sdk.recording import spool as spools
from modelry._sdk.recording.attempts import ORIGIN, Attempt, End, Obstacles, Uploading
from modelry._sdk.recording.delivery import FAULTS, Delivery
from modelry._sdk.recording.kept import Kept
from modelry._sdk.recording.queued import QueuedRequest
from modelry._sdk.recording.spool import Spool, SpoolInUse
from modelry._sdk.transport import retries, settings
from modelry._sdk.transport.connection import connect
from modelry.errors import ModelryError, Unavailable

_PAUSE_SECONDS = 0.1


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


class SpoolFile:
    """A spool as the source of a delivery."""

    def __init__(self, spool: Spool) -> None:
        self.delivered = 0
        self.points_delivered = 0
        self.refusals: dict[str, str] = {}
        self.refused_count = 0
        self.points_refused = 0
        self.aside: Spool | None = None
        """What the server fails at again and again, while it takes the rest."""
        self._spool = spool
        self._told: Callable[[], None] = lambda: None
        self._go_on: Callable[[], bool] = lambda: True

    def deliver(
        self, address: str = "", *, told: Callable[[], None] | None = None, go_on: Callable[[], bool] | None = None
    ) -> ModelryError | None:
        """Delivers the file to its server, or to that of the address. Returns what prevents it.

        `told` is called for each request; `go_on` stops the delivery when it is false. Raises InvalidArgument for an
        address that can't be read.
        """
        self._told, self._go_on = told or self._told, go_on or self._go_on
        try:
            connection = connect(address or self._spool.server["address"], origin=ORIGIN)
        except ModelryError as error:
            if address:
                raise
            return error
        try:
            return self._run(Delivery(connection, self._spool.server.get("workspace", "")))
        except OSError as problem:
            return Unavailable(f"the spool can't be read or written: {problem}")
        finally:
            if self.aside is not None:
                self.aside.close()

    def _run(self, delivery: Delivery) -> ModelryError | None:
        """Delivers; while the server fails at a request, often enough to set that aside."""
        attempts, done = 0, -1
        while True:
            obstacle = delivery.run(self)
            if obstacle is None or retries.is_passing(obstacle) or retries.is_refusal(obstacle):
                return obstacle
            attempts = attempts + 1 if self.delivered == done else 1
            done = self.delivered
            if attempts > FAULTS:
                return obstacle
            time.sleep(_PAUSE_SECONDS * attempts)

    def take(self) -> QueuedRequest | None:
        """The next request of the file."""
        return self._spool.next()

    def done(self, request: QueuedRequest) -> None:
        """Notes in the file what is delivered."""
        self.points_delivered += request.points
        if request.end:
            self._spool.delivered(request)
            self.delivered += 1
            self._told()

    def refused(self, request: QueuedRequest, error: ModelryError) -> None:
        """Counts what the server refuses."""
        self.refused_count += 1
        self.points_refused += request.points
        self.points_delivered -= request.points
        self.refusals.setdefault(error.reason or error.code, f"refused: {error.message}")

    def set_aside(self, request: QueuedRequest, error: ModelryError) -> None:
        """Moves a request to a spool of its own. Raises OSError if it can't be kept."""
        if self.aside is None:
            self.aside = self._spool.beside()
        self.aside.append([QueuedRequest(request.method, request.content, points=request.points)])
        self.delivered -= bool(request.end)
        self.points_delivered -= request.points
        where = self.aside.path_when_closed
        text = f"the server does not take it and takes the rest, so it is set aside in {where}: {error.message}"
        self.refusals.setdefault(f"aside {error.reason or error.code} {error.metadata.get('run_id', '')}", text)

    def idle(self) -> bool:
        """Whether to go on."""
        return self._go_on()


def opened(path: Path, problems: list[str]) -> tuple[Spool | None, bool]:
    """A spool, None if it is gone or can't be read, and whether another process has it. Adds why it can't be read."""
    try:
        return Spool.open(path), False
    except SpoolInUse:
        return None, True
    except FileNotFoundError:
        pass  # Another process has delivered it.
    except OSError as problem:
        problems.append(str(problem))
    return None, False


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
        settings.parse_address(address)
    folder = folder or settings.read().spool_folder
    delivery = _Sync(address or "", progress)
    try:
        files, uploads = spools.left_in(folder), kept.left_in(folder)
        delivery.problems += _leftovers(folder)
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
        self._address = address
        self._obstacles = Obstacles(address)
        self._progress = progress
        self._done = self._total = 0
        self._files_delivered = self._files_left = self._files_in_use = 0
        self._delivered = self._refused = self._left = 0
        self._points_delivered = self._points_refused = self._points_left = 0

    def deliver(self, files: list[Path], uploads: list[Path]) -> None:
        """Delivers spools, then copies of files, whose runs may be in the spools."""
        found = [(path, *opened(path, self.problems)) for path in files]
        self._total = sum(spool.requests_left for _, spool, _ in found if spool is not None) + len(uploads)
        for path, spool, in_use in found:
            if in_use:
                self._files_in_use += 1
                self._obstacles.hold(spools.writer_of(path))
            elif spool is not None:
                self._deliver_spool(spool)
        for attempt in Uploading(self._obstacles, is_left_out=Kept.may_be_in_use).attempts(uploads):
            self._note(attempt)

    def report(self) -> SyncReport:
        """What became of it."""
        return SyncReport(
            files_delivered=self._files_delivered,
            files_left=self._files_left,
            files_in_use=self._files_in_use,
            requests_delivered=self._delivered,
            requests_refused=self._refused,
            requests_left=self._left,
            points_delivered=self._points_delivered,
            points_refused=self._points_refused,
            points_left=self._points_left,
            problems=tuple(self.problems),
        )

    def _told(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)

    def _deliver_spool(self, spool: Spool) -> None:
        source = SpoolFile(spool)
        writer = holders.name_of(spool.server)
        obstacle = self._obstacles.before(spool.server, writer)
        if obstacle is None and (obstacle := source.deliver(self._address, told=self._told)) is not None:
            self._obstacles.met(obstacle, spool.server, writer)
        self._delivered += source.delivered - source.refused_count
        self._refused += source.refused_count
        self._points_delivered += source.points_delivered
        self._points_refused += source.points_refused
        self.problems += [f"{spool.path.name}: {text}" for text in source.refusals.values()]
        left = [] if source.aside is None else [source.aside]
        if obstacle is None:
            self._files_delivered += 1
            if damage := spool.remove():
                self.problems.append(f"{spool.path.name}: {damage}")
        else:
            left.append(spool)
            waiting = queued.told(spool.others_left, spool.points_left)
            self.problems.append(f"{spool.path.name}: {obstacle.message}; {waiting} left")
            spool.close()
        self._files_left += len(left)
        self._left += sum(each.requests_left for each in left)
        self._points_left += sum(each.points_left for each in left)

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
                self._files_left += 1
                self._left += 1
                is_told = attempt.end is End.UNREADABLE  # then the path is in the text
                self.problems.append(attempt.why if is_told else f"{attempt.folder.name}: {attempt.why}")
        self._told()
