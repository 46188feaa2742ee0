"""Delivers what processes left in the spool because no server answered them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelry._sdk.recording.delivery import Delivery
from modelry._sdk.recording.outgoing import Request
from modelry._sdk.recording.spool import Spool, SpoolInUse, drop_files, left_in
from modelry._sdk.transport import settings
from modelry._sdk.transport.connection import connect
from modelry.errors import ModelryError


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a delivery of the spool came to, in requests and files.

    `problems` says what was wrong: of each file that was not delivered whole, of each damaged one, and of each kind of
    refusal.
    """

    files_delivered: int
    files_left: int
    files_in_use: int
    requests_delivered: int
    requests_refused: int
    requests_left: int
    problems: tuple[str, ...]


class _File:
    """A spool as the source of a delivery."""

    def __init__(self, spool: Spool, folder: Path, told: Callable[[], None]) -> None:
        self.folder = folder
        self.delivered = 0
        self.refusals: dict[str, str] = {}
        self.refused_count = 0
        self._spool = spool
        self._told = told

    def take(self) -> Request | None:
        return self._spool.next()

    def done(self, request: Request) -> None:
        if request.end:
            self._spool.delivered(request)
            self.delivered += 1
            self._told()
        drop_files(self.folder, request)

    def refused(self, request: Request, error: ModelryError) -> None:
        self.refused_count += 1
        self.refusals.setdefault(error.reason or error.code, error.message)

    def idle(self) -> bool:
        return True


def deliver(
    address: str | None = None,
    *,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SyncReport:
    """Delivers the spools of processes that are gone, the oldest first, each to the server that it was meant for.

    With an `address` all go there. What was delivered before is not written twice. A file whose process lives is left
    to it. `progress(done, total)` is told requests. Raises InvalidArgument for an address that can't be read; what
    stands in the way of single files is in the report.
    """
    folder = folder or settings.read().spool_folder
    spools: list[Spool] = []
    in_use = 0
    problems: list[str] = []
    try:
        found = left_in(folder)
    except OSError as problem:
        found = []
        problems.append(f"the spool can't be read: {problem}; MODELRY_SPOOL_DIR says which folder it is")
    for path in found:
        try:
            spools.append(Spool.open(path))
        except SpoolInUse:
            in_use += 1
        except (OSError, json.JSONDecodeError) as problem:
            problems.append(str(problem))
    total = sum(spool.requests_left for spool in spools)
    done = 0

    def told() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    left = refused = delivered = whole = 0
    for spool in spools:
        source = _File(spool, folder, told)
        obstacle = _deliver_one(spool, source, address)
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


def _deliver_one(spool: Spool, source: _File, address: str | None) -> ModelryError | None:
    try:
        connection = connect(address or spool.server["address"])
    except ModelryError as error:
        if address is not None:
            raise
        return error
    return Delivery(connection, spool.server.get("workspace", ""), patient=True).run(source)
