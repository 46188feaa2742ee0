"""Delivers what other processes left in the spool."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from modelry._sdk.recording.delivery import Delivery
from modelry._sdk.recording.queued import QueuedRequest
from modelry._sdk.recording.spool import Spool, SpoolInUse, drop_files, left_in
from modelry._sdk.transport import settings
from modelry._sdk.transport.connection import connect
from modelry.errors import ModelryError


@dataclass(frozen=True, slots=True)
class SyncReport:
    """The result of delivering the spool, in files and requests.

    `problems` has a line for each file that was not delivered completely, each damaged file, and each kind of refusal.
    """

    files_delivered: int
    files_left: int
    files_in_use: int
    requests_delivered: int
    requests_refused: int
    requests_left: int
    problems: tuple[str, ...]


class SpoolFile:
    """A spool as the source of a delivery."""

    def __init__(self, spool: Spool) -> None:
        self.folder = spool.path.parent
        self.delivered = 0
        self.refusals: dict[str, str] = {}
        self.refused_count = 0
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
            connection = connect(address or self._spool.server["address"])
        except ModelryError as error:
            if address:
                raise
            return error
        return Delivery(connection, self._spool.server.get("workspace", ""), patient=True).run(self)

    def take(self) -> QueuedRequest | None:
        """The next request of the file."""
        return self._spool.next()

    def done(self, request: QueuedRequest) -> None:
        """Notes in the file what is delivered."""
        if request.end:
            self._spool.delivered(request)
            self.delivered += 1
            self._told()
        drop_files(self.folder, request)

    def refused(self, request: QueuedRequest, error: ModelryError) -> None:
        """Counts what the server refuses."""
        self.refused_count += 1
        self.refusals.setdefault(error.reason or error.code, error.message)

    def idle(self) -> bool:
        """Whether to go on."""
        return self._go_on()


def opened(paths: Iterable[Path], problems: list[str]) -> tuple[list[Spool], int]:
    """The spools that no other process has open, and the number of those that one has. Adds what can't be read."""
    spools: list[Spool] = []
    in_use = 0
    for path in paths:
        try:
            spools.append(Spool.open(path))
        except SpoolInUse:
            in_use += 1
        except FileNotFoundError:
            pass  # Another process has delivered it.
        except (OSError, json.JSONDecodeError) as problem:
            problems.append(str(problem))
    return spools, in_use


def deliver(
    address: str | None = None,
    *,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SyncReport:
    """Delivers the spools that other processes left, the oldest first, each to its own server.

    With an `address` all go to that server. What was delivered before is not written twice. A file that its process
    still has open is left to it. `progress(done, total)` gets numbers of requests. Raises InvalidArgument for an
    address that can't be read; problems with single files are in the report.
    """
    folder = folder or settings.read().spool_folder
    problems: list[str] = []
    try:
        found = left_in(folder)
    except OSError as problem:
        found = []
        problems.append(f"the spool can't be read: {problem}; MODELRY_SPOOL_DIR sets its folder")
    spools, in_use = opened(found, problems)
    total = sum(spool.requests_left for spool in spools)
    done = 0

    def told() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    left = refused = delivered = whole = 0
    for spool in spools:
        source = SpoolFile(spool)
        obstacle = source.deliver(address or "", told=told)
        delivered += source.delivered
        refused += source.refused_count
        problems += [f"{spool.path.name}: refused: {message}" for message in source.refusals.values()]
        if obstacle is None:
            whole += 1
            if damage := spool.remove():
                problems.append(f"{spool.path.name}: {damage}")
        else:
            left += spool.requests_left
            problems.append(f"{spool.path.name}: {obstacle.message}")
            spool.close()
    return SyncReport(
        files_delivered=whole,
        files_left=len(spools) - whole,
        files_in_use=in_use,
        requests_delivered=delivered - refused,
        requests_refused=refused,
        requests_left=left,
        problems=tuple(problems),
    )
