"""The local files that an upload sends: found and checked before a byte is sent."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelry._sdk.files import paths
from modelry.errors import InvalidArgument

MOST_FILES = 100_000
"""How many files one upload may hold: the limit of `WriteArtifacts` in the contract."""
MOST_BYTES = 5 * 2**40
"""How large one file may be: the limit of `ArtifactHeader.size_bytes` in the contract."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A regular file to upload: where it is read, its artifact path, and its size when it was found."""

    source: str
    path: str
    size_bytes: int


def found(local: str | os.PathLike[str], folder: str) -> list[LocalFile]:
    """The file, or all files in the folder at any depth, by artifact path; `folder` is prepended to each path.

    Symbolic links are followed if they stay inside the folder. Raises InvalidArgument, which names the file, for a link
    that leads outside, leads nowhere or forms a circle, for something that is neither a file nor a folder, and for a
    file or folder that is too large for one upload; FileNotFoundError if there is nothing; PathInvalid for a name that
    can't be part of an artifact path.
    """
    start = Path(local)
    root = os.path.realpath(start)
    status = os.stat(root)
    if folder:
        paths.checked(folder)
    if stat.S_ISDIR(status.st_mode):
        below = itertools.islice(_below(root, root, folder, (root,)), MOST_FILES + 1)
        files = sorted(below, key=lambda file: file.path)
    elif stat.S_ISREG(status.st_mode):
        files = [LocalFile(root, paths.joined(folder, start.name or os.path.basename(root)), status.st_size)]
    else:
        raise _refused(os.fspath(start), "is neither a file nor a folder")
    _require_uploadable(os.fspath(start), files)
    return files


def _require_uploadable(local: str, files: list[LocalFile]) -> None:
    if len(files) > MOST_FILES:
        raise _refused(
            local,
            f"has more than {MOST_FILES} files, which is the limit of one upload; "
            "pack them into archives, or upload its subfolders one by one",
        )
    for file in files:
        if file.size_bytes > MOST_BYTES:
            raise _refused(
                file.source,
                f"has {file.size_bytes} bytes, at most {MOST_BYTES} (5 TiB) are allowed; split it into smaller files",
            )


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
                raise _refused(entry.path, f"is a symbolic link that forms a circle: it leads to {source}")
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
