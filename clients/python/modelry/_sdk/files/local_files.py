"""The files of this machine that an upload takes: found, judged and put into groups, before a byte is sent."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from modelry._sdk.files import paths
from modelry.errors import InvalidArgument

GROUP_FILES = 1000
"""How many files become visible together."""
GROUP_BYTES = 256 * 2**20
"""How many bytes become visible together; a larger file is a group of its own."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A regular file to upload: what is read, where it is to lie, and its size when it was found."""

    source: str
    path: str
    size_bytes: int


def found(local: str | os.PathLike[str], folder: str) -> list[LocalFile]:
    """The file, or all files below the folder, with the artifact paths that they get below `folder`, by path.

    Symbolic links are followed as long as they stay inside. Raises InvalidArgument for one that leads outside, leads
    nowhere or runs in a circle, and for what is neither file nor folder, naming it; FileNotFoundError where nothing is
    there; PathInvalid for a name that can't be an artifact's.
    """
    start = Path(local)
    root = os.path.realpath(start)
    status = os.stat(root)
    if folder:
        paths.checked(folder)
    if stat.S_ISDIR(status.st_mode):
        return sorted(_below(root, root, folder, (root,)), key=lambda file: file.path)
    if not stat.S_ISREG(status.st_mode):
        raise _refused(os.fspath(start), "is neither a file nor a folder")
    return [LocalFile(root, paths.joined(folder, start.name or os.path.basename(root)), status.st_size)]


def groups(files: Iterable[LocalFile]) -> Iterator[list[LocalFile]]:
    """Splits files, in their order, into groups of at most 1000 files and 256 MiB."""
    group: list[LocalFile] = []
    size = 0
    for file in files:
        if group and (len(group) == GROUP_FILES or size + file.size_bytes > GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(file)
        size += file.size_bytes
    if group:
        yield group


def _below(folder: str, root: str, path: str, above: tuple[str, ...]) -> Iterator[LocalFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            source = _inside(entry.path, root) if entry.is_symlink() else entry.path
            below = paths.joined(path, entry.name)
            status = os.stat(source)
            if stat.S_ISREG(status.st_mode):
                yield LocalFile(source, below, status.st_size)
            elif not stat.S_ISDIR(status.st_mode):
                raise _refused(entry.path, "is neither a file nor a folder")
            elif source in above:
                raise _refused(entry.path, f"is a symbolic link that runs in a circle, to {source}")
            else:
                yield from _below(source, root, below, (*above, source))


def _inside(link: str, root: str) -> str:
    real = os.path.realpath(link)
    if os.path.commonpath((root, real)) != root:
        raise _refused(link, f"is a symbolic link that leads out of the folder, to {real}")
    if not os.path.exists(real):
        raise _refused(link, f"is a symbolic link that leads nowhere, to {real}")
    return real


def _refused(path: str, problem: str) -> InvalidArgument:
    return InvalidArgument(
        f"{path} {problem}; nothing was uploaded",
        reason="LOCAL_FILE_REFUSED",
        metadata={"local_path": path},
    )
