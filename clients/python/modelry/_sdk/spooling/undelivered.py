"""What lies in the spool: to look at it, and to delete what can never be delivered."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from modelry._sdk.spooling import holders, kept, locks, places, queued
from modelry._sdk.spooling import spool as spools
from modelry._sdk.spooling.locks import LockedFile, SpoolInUse
from modelry._sdk.spooling.numbering import run_of
from modelry._sdk.spooling.spool import Spool
from modelry._sdk.transport import settings
from modelry.errors import FailedPrecondition, InvalidArgument, Unavailable

_FILES = (spools.SUFFIX, spools.DAMAGED)
_FOLDERS = (kept.SUFFIX, kept.COPYING)


@dataclass(frozen=True, slots=True)
class Undelivered:
    """One file of the spool, or one folder with copies of files.

    `kind` says which: `requests` were logged, `files` wait for their upload. What waits is counted as metric `points`
    and other `entries`; a copied file is an entry. `address` is the server that it was logged for. `size_bytes` is what
    it takes on disk. `problem` says what hinders a delivery, as far as the files show it. A process that is still at
    work has what is `in_use`, and delivers it itself.
    """

    path: Path
    kind: Literal["requests", "files"]
    address: str
    workspace: str
    run_ids: tuple[str, ...]
    entries: int
    points: int
    size_bytes: int
    create_time: datetime
    in_use: bool
    problem: str

    def told(self) -> str:
        """What waits, as in `3 points and 2 other entries`."""
        if self.kind == "files":
            return f"{self.entries} file{'' if self.entries == 1 else 's'}"
        return queued.told(self.entries, self.points)


def undelivered(folder: Path | None = None) -> list[Undelivered]:
    """All that lies in the spool of this user, the oldest first. Changes nothing.

    The default folder is that of `MODELRY_SPOOL_DIR`. Raises Unavailable if the spool can't be read.
    """
    try:
        folder = places.own(folder or settings.read().spool_folder)
        paths = [folder / name for name in sorted(os.listdir(folder))]
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise Unavailable(f"the spool can't be read: {problem}; MODELRY_SPOOL_DIR sets its folder") from None
    found = []
    for path in paths:
        try:
            if path.suffix in _FILES:
                found.append(_requests(path))
            elif path.suffix in _FOLDERS:
                found.append(_files(path))
        except FileNotFoundError:
            continue  # Another process has delivered it.
    return found


def discard(path: str | os.PathLike[str], folder: Path | None = None) -> None:
    """Deletes a file or a folder of the spool, with what waits in it. This can't be undone.

    The default folder is that of `MODELRY_SPOOL_DIR`. Raises InvalidArgument for a path that is not in the spool,
    FailedPrecondition if a process uses it, and Unavailable if it can't be deleted.
    """
    path = Path(path)
    try:
        folder = places.own(folder or settings.read().spool_folder)
        path = folder / path if path.parent == Path() else path
        if path.suffix not in (*_FILES, *_FOLDERS) or not path.parent.exists() or not path.parent.samefile(folder):
            raise InvalidArgument(f"{path} is not a part of the spool in {folder}")
        _delete(path)
    except SpoolInUse:
        raise FailedPrecondition(
            f"{path} is in use by a process that is still running, which delivers it itself; end that process first"
        ) from None
    except FileNotFoundError:
        raise InvalidArgument(f"{path} is not in the spool, or not any more") from None
    except OSError as problem:
        raise Unavailable(f"{path} can't be deleted: {problem}") from None


def _requests(path: Path) -> Undelivered:
    status = path.lstat()
    server: Mapping[str, str] = {}
    run_ids: dict[str, None] = {}
    entries = points = 0
    in_use, problem = False, "damaged" if path.suffix == spools.DAMAGED else ""
    try:
        spool = Spool.peek(path)
    except FileNotFoundError:
        raise
    except OSError as unreadable:
        problem = str(unreadable)
    else:
        try:
            server, entries, points = spool.server, spool.others_left, spool.points_left
            in_use = _is_in_use(path, server)
            while (request := spool.next()) is not None:
                run_ids.setdefault(run_of(request))
            problem = "damaged" if spool.is_damaged else problem
        finally:
            spool.let_go()
    return Undelivered(
        path,
        "requests",
        server.get("address", ""),
        server.get("workspace", ""),
        tuple(filter(None, run_ids)),
        entries,
        points,
        status.st_size,
        _created(path, status),
        in_use,
        problem,
    )


def _files(path: Path) -> Undelivered:
    status = path.lstat()
    made: kept.Kept | None = None
    problem = "the copy of these files was not completed" if path.suffix == kept.COPYING else ""
    try:
        made = kept.opened(path)
        size = sum(each.lstat().st_size for each in path.iterdir())
    except OSError as unreadable:
        if not path.exists():
            raise FileNotFoundError(path) from None
        problem, size = problem or str(unreadable), 0
    server = {} if made is None else made.server
    owner = "" if made is None else made.owner
    return Undelivered(
        path,
        "files",
        server.get("address", ""),
        server.get("workspace", ""),
        (owner.removeprefix("runs/"),) if owner.startswith("runs/") else (),
        0 if made is None else len(made.paths),
        0,
        size,
        _created(path, status),
        made is not None and (made.may_be_in_use() or _is_locked(path / kept.TARGET)),
        problem,
    )


def _is_in_use(path: Path, server: Mapping[str, str]) -> bool:
    return (spools.is_open(path) and holders.may_be_at_work(server, path)) or _is_locked(path)


def _is_locked(path: Path) -> bool:
    file = LockedFile(path, locks.READ)
    try:
        file.lock(path)
    except SpoolInUse:
        return True
    finally:
        file.close()
    return False


def _delete(path: Path) -> None:
    """Deletes a part of the spool, which nobody can begin to use meanwhile. Raises SpoolInUse, OSError."""
    with _held(path):
        if _may_be_at_work(path):
            raise SpoolInUse(f"{path} is in use by another process")
        if path.is_symlink() or not path.is_dir():
            path.unlink()
            return
        kept.delete(path)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Locks a part of the spool. What can't be opened, such as a link, nobody else uses. Raises SpoolInUse, OSError."""
    path.lstat()
    try:
        file = LockedFile(path if path.suffix in _FILES else path / kept.TARGET, locks.READ)
    except OSError:
        yield
        return
    try:
        file.lock(path)
        yield
    finally:
        file.close()


def _may_be_at_work(path: Path) -> bool:
    """Whether the process that made a part of the spool may be at work on it, also where locks don't work."""
    try:
        if path.suffix in _FOLDERS:
            return kept.opened(path).may_be_in_use()
        spool = Spool.peek(path)
    except OSError:
        return False
    spool.let_go()
    return spools.is_open(path) and holders.may_be_at_work(spool.server, path)


def _created(path: Path, status: os.stat_result) -> datetime:
    """When it was begun: its name says so."""
    began = path.name.partition("-")[0]
    try:
        return datetime.fromtimestamp(int(began) / 1e9, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(status.st_mtime, UTC)
