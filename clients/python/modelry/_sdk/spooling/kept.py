"""Copies of files that wait for their upload: a folder in the spool for each upload.

    <time>-<process>-<random>[.<parent>].upload/   target.json, and the files by number: 0, 1, …

A copy that is not complete has `.copying` in place of `.upload`, and one that nobody needs any more has `.gone`, until
it is deleted. `target.json` says where the files belong. No path in
it leads to a local file, so it can't name what is not a copy.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modelry._sdk.credentials import private
from modelry._sdk.files import local_files, paths, transfer
from modelry._sdk.files.local_files import LocalFile, Refuse
from modelry._sdk.files.transfer import Replaced
from modelry._sdk.spooling import holders, ids, locks, places
from modelry._sdk.spooling.locks import LockedFile
from modelry._sdk.spooling.spool import SpoolUnreadable
from modelry._sdk.transport.connection import Connection
from modelry._sdk.values.foreign import Unreadable, json_object_of
from modelry.errors import InvalidArgument, LocalFileChanged

SUFFIX = ".upload"
COPYING = ".copying"
GONE = ".gone"
TARGET = "target.json"
_MODE = 0o600
"""A copy that somebody else can write to, as the umask may allow, is not uploaded."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Complete copies: their folder, the server and the process that made them, their owner and artifact paths.

    Files that are `whole`, such as those of a model, become visible together or not at all. They may replace what is
    in the folder of `replaces`, below which they are then. For those that are `in_background`, such as what a run
    records of itself, nobody waits. Those that are `chosen` were copied because somebody asked for it, not because the
    server could not take them.
    """

    folder: Path
    server: dict[str, str]
    owner: str
    paths: tuple[str, ...]
    whole: bool = False
    replaces: Replaced | None = None
    in_background: bool = field(default=False, compare=False)
    chosen: bool = field(default=False, compare=False)

    @property
    def is_divisible(self) -> bool:
        """Whether the files may be uploaded in parts."""
        return len(self.paths) > 1 and not self.whole

    @property
    def named(self) -> str:
        """The files as a warning names them, as in `file 'a.txt' and 2 others`."""
        others = len(self.paths) - 1
        told = f" and {others} other{'' if others == 1 else 's'}" if others else ""
        return f"file {self.paths[0]!r}{told}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Locks the copies, so that no other process uploads, divides or deletes them meanwhile. Raises SpoolInUse."""
        file = LockedFile(self.folder / TARGET, locks.READ)
        try:
            file.lock(self.folder)
            yield
        finally:
            file.close()

    def upload(self, connection: Connection) -> None:
        """Uploads the files and deletes the copies. Needs `held`. Raises OSError and ModelryError."""
        sources = [self.folder / str(number) for number in range(len(self.paths))]
        files = [
            LocalFile(os.fspath(source), path, places.require_copy(source).st_size)
            for source, path in zip(sources, self.paths, strict=True)
        ]
        transfer.upload_files(connection.of("artifacts"), self.owner, files, None, replaces=self.replaces)
        self.drop()

    def divided(self) -> tuple[Kept, ...]:
        """Makes two uploads of this one, with half of the files each, which keep its place in the order.

        Needs `held`. Raises OSError if they can't be made; then everything is as before.
        """
        stem, _, rest = self.folder.name.partition(".")
        middle = len(self.paths) // 2
        halves: list[Kept] = []
        try:
            for letter, numbers in (("a", range(middle)), ("b", range(middle, len(self.paths)))):
                targets = tuple(self.paths[number] for number in numbers)

                def copy(folder: Path, numbers: range = numbers, targets: tuple[str, ...] = targets) -> tuple[str, ...]:
                    for to, number in enumerate(numbers):
                        _link(self.folder / str(number), folder / str(to))
                    return targets

                half = replace(self, folder=self.folder.with_name(f"{stem}{letter}.{rest}"), paths=targets)
                half._make_way()
                halves.append(_made(half, copy))
        except BaseException:
            for half in halves:
                half.drop()
            raise
        self.drop()
        return tuple(halves)

    def _make_way(self) -> None:
        """Deletes what a process that was killed left of making these copies. Raises SpoolInUse, OSError."""
        shutil.rmtree(self.folder.with_suffix(COPYING), ignore_errors=True)
        try:
            left = opened(self.folder)
        except FileNotFoundError:
            return
        if left != self:
            raise FileExistsError(f"{self.folder} is in the way: it holds other files")
        with left.held():
            left.drop()

    def drop(self) -> None:
        """Deletes the copies, as far as that is possible; see `delete`."""
        with suppress(OSError):
            delete(self.folder)

    def overlaps(self, other: Kept) -> bool:
        """Whether one changes what the other writes, so that their order matters.

        So it is if both write to one of the same paths of an owner, or one replaces a folder that the other writes to.
        """
        if self.owner != other.owner:
            return False
        return not set(self.paths).isdisjoint(other.paths) or self._replaces_of(other) or other._replaces_of(self)

    def touches(self, owner: str, path: str) -> bool:
        """Whether one of the files, or the folder that they replace, is at an artifact path, or above or below it."""
        changed = (*self.paths, self.replaces.folder) if self.replaces else self.paths
        return self.owner == owner and any(paths.meet(one, path) for one in changed)

    def may_be_in_use(self) -> bool:
        """Whether the process that made the copies may still be at work, so that it uploads them itself."""
        return holders.may_be_at_work(self.server, self.folder / TARGET)

    def beat(self) -> None:
        """Shows processes on other machines that the process which made the copies is at work."""
        with suppress(OSError):
            os.utime(self.folder / TARGET)

    def _replaces_of(self, other: Kept) -> bool:
        folder = self.replaces.folder if self.replaces else None
        return folder is not None and any(path.startswith(f"{folder}/") for path in other.paths)


def keep_files(
    spool_folder: Path,
    server: dict[str, str],
    owner: str,
    path: str,
    source: Path,
    *,
    whole: bool = False,
    refuse: Refuse | None = None,
    moves: bool = False,
    replaces: Replaced | None = None,
) -> Kept:
    """Copies a file, or what is in a folder, for a later upload into the folder `path`; see `Kept.whole`.

    With `moves` it may take the files themselves in place of copies. Files that replace a folder are `whole`. Raises
    OSError if the copy can't be made, and what an upload raises for files that can't be uploaded. With `refuse` those
    are left out, see `local_files.found`.
    """
    files = local_files.found(source, path, refuse=refuse)

    def copy(folder: Path) -> tuple[str, ...]:
        copied: list[str] = []
        moved: list[tuple[Path, str]] = []
        try:
            for file in files:
                target = folder / str(len(copied))
                try:
                    if moves and _moved(file.source, target, source):
                        moved.append((target, file.source))
                    else:
                        _copy(file, target, source)
                except (InvalidArgument, LocalFileChanged) as refusal:
                    if refuse is None:
                        raise
                    refuse(refusal)
                else:
                    copied.append(file.path)
        except BaseException:
            for target, back in moved:
                os.rename(target, back)
            raise
        return tuple(copied)

    targets = tuple(file.path for file in files)
    return _keep(spool_folder, server, owner, targets, copy, whole=whole or bool(replaces), replaces=replaces)


def keep_content(spool_folder: Path, server: dict[str, str], owner: str, path: str, content: bytes) -> Kept:
    """Keeps the content of one file for a later upload to the path `path`; see `keep_files`."""

    def copy(folder: Path) -> tuple[str, ...]:
        _write(folder / "0", content)
        return (path,)

    return _keep(spool_folder, server, owner, (paths.checked(path),), copy)


def left_in(spool_folder: Path, *, parent: str = "") -> list[Path]:
    """The folders of complete copies, the oldest first. With `parent` only those of its forked children.

    Raises OSError, as `spool.left_in` does.
    """
    return _with_suffix(spool_folder, f".{parent}{SUFFIX}" if parent else SUFFIX)


def incomplete_in(spool_folder: Path) -> list[Path]:
    """The folders of copies that were not completed, because their process ended or the disk was full."""
    return [path for path in _with_suffix(spool_folder, COPYING) if not _may_be_copying(path)]


def delete(folder: Path) -> None:
    """Deletes copies. From the first step on nobody takes them for an upload any more. Raises OSError."""
    gone = folder.with_suffix(GONE)
    shutil.rmtree(gone, ignore_errors=True)  # what a process that was killed left of copies of this name
    folder.rename(gone)
    with suppress(FileNotFoundError):  # `clear` may delete it too
        shutil.rmtree(gone)


def clear(spool_folder: Path) -> None:
    """Deletes what a process that was killed left of copies that nobody needs any more. Raises OSError as `left_in`."""
    for folder in _with_suffix(spool_folder, GONE):
        shutil.rmtree(folder, ignore_errors=True)


def opened(folder: Path) -> Kept:
    """The copies in a folder. Raises SpoolUnreadable, SpoolUnsafe or OSError."""
    places.require_copy(folder)
    target = folder / TARGET
    descriptor = os.open(target, locks.READ)
    with os.fdopen(descriptor) as file:
        places.require_own(descriptor, target)
        try:
            found = json_object_of(file.read())
            server = {str(key): str(value) for key, value in found["server"].items()}
            paths_found = tuple(map(str, found["paths"]))
            whole = bool(found["whole"])
            replaces = _replaced(found, paths_found, whole=whole)
            return Kept(folder, server, str(found["owner"]), paths_found, whole, replaces)
        except (Unreadable, ValueError, TypeError, KeyError, AttributeError):
            raise SpoolUnreadable(f"{target} is damaged; the files beside it can't be uploaded") from None


def _keep(
    spool_folder: Path,
    server: dict[str, str],
    owner: str,
    targets: tuple[str, ...],
    copy: Callable[[Path], tuple[str, ...]],
    *,
    whole: bool = False,
    replaces: Replaced | None = None,
) -> Kept:
    parent = server.get("parent", "")
    name = f"{ids.moment()}-{os.getpid()}-{os.urandom(4).hex()}{f'.{parent}' if parent else ''}"
    folder = places.prepared(spool_folder) / f"{name}{SUFFIX}"
    return _made(Kept(folder, {**server, **holders.me()}, owner, targets, whole, replaces), copy)


def _made(kept: Kept, copy: Callable[[Path], tuple[str, ...]]) -> Kept:
    """Makes the copies. `copy` makes those in a folder, and answers with the paths of the files that it has copied."""
    begun = kept.folder.with_suffix(COPYING)
    private.made(begun)
    try:
        _write_target(begun, kept)
        copied = copy(begun)
        if copied != kept.paths:
            kept = replace(kept, paths=copied)
            (begun / TARGET).unlink()
            _write_target(begun, kept)
        begun.rename(kept.folder)
    except BaseException:
        shutil.rmtree(begun, ignore_errors=True)
        raise
    return kept


def _write_target(folder: Path, kept: Kept) -> None:
    names = ("server", "owner", "paths", "whole", "replaces")
    _write(folder / TARGET, json.dumps({name: getattr(kept, name) for name in names}).encode())


def _replaced(found: dict[str, Any], targets: tuple[str, ...], *, whole: bool) -> Replaced | None:
    """What the files of a target replace. None, if it does not name what they can replace."""
    match found.get("replaces"):
        case [str(folder), list(files)] if whole and folder:
            if all(str(path).startswith(f"{folder}/") for path in (*targets, *files)):
                return Replaced(folder, tuple(files))
    return None


def _copy(file: LocalFile, target: Path, start: Path) -> None:
    """Copies a file at or below `start`. Raises OSError if the copy can't be written, else as `local_files.reading`."""
    if not file.source:
        _write(target, b"")
        return
    try:
        transfer.copy(file.source, os.fspath(target))
        target.chmod(_MODE)
    except OSError:
        with local_files.reading(start):  # Only what fails again without the copy is due to the file.
            transfer.read_through(file)
        raise


def _moved(source: str, target: Path, start: Path) -> bool:
    """Moves a file that is nowhere but below `start`, if it is on the same file system."""
    try:
        is_there = Path(os.path.realpath(source)).is_relative_to(os.path.realpath(start))
        status = os.lstat(source)
        if is_there and stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            os.rename(source, target)
            target.chmod(_MODE)
            return True
    except OSError:
        pass
    return False


def _link(source: Path, target: Path) -> None:
    """Gives a copy another name; copies it where the file system can't."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _with_suffix(spool_folder: Path, suffix: str) -> list[Path]:
    folder = places.own(spool_folder)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(names) if name.endswith(suffix)]


def _may_be_copying(folder: Path) -> bool:
    try:
        return opened(folder).may_be_in_use()
    except (OSError, SpoolUnreadable):
        return False
