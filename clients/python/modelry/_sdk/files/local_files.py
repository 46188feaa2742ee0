"""The local files that an upload sends: found and checked before a byte is sent."""

from __future__ import annotations

import itertools
import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelry._sdk.files import paths
from modelry.errors import InvalidArgument

log = logging.getLogger("modelry")

MOST_FILES = 100_000
"""How many files one upload may hold: the limit of `WriteArtifacts` in the contract."""
MORE_FOLDERS = 10_000
"""How many more folders than files it may hold."""
MOST_BYTES = 5 * 2**40
"""How large one file may be: the limit of `ArtifactHeader.size_bytes` in the contract."""
EMPTY_FOLDER = ".modelry-folder"
"""The name of an empty file that stands for an empty folder. A download makes the folder, without the file."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A regular file to upload: where it is read, its artifact path, and its size when it was found.

    Without a `source` it is empty, and stands for an empty folder.
    """

    source: str
    path: str
    size_bytes: int


def found(local: str | os.PathLike[str], folder: str) -> list[LocalFile]:
    """The file, or all files in the folder at any depth, by artifact path; `folder` is prepended to each path.

    Symbolic links are followed wherever they lead, as in the folders of a Hugging Face cache. A name that can't be part
    of an artifact path gets another one (`paths.named`), and the log says so. An empty folder becomes the file
    `EMPTY_FOLDER` in it. Raises InvalidArgument, which names the file, for a link that leads nowhere or forms a circle,
    for something that is neither a file nor a folder, for two files that would get the same path, and for a file or
    folder that is too large for one upload; FileNotFoundError if there is nothing; PathInvalid for a path that is too
    long.
    """
    start = Path(local)
    root = os.path.realpath(start)
    status = os.stat(root)
    if folder:
        paths.checked(folder)
    renamed: dict[str, str] = {}
    if stat.S_ISDIR(status.st_mode):
        below = itertools.islice(_below(root, folder, (root,), renamed), MOST_FILES + 1)
        files = sorted(below, key=lambda file: file.path)
    elif stat.S_ISREG(status.st_mode):
        path = _path(folder, start.name or os.path.basename(root), os.fspath(start), renamed)
        files = [LocalFile(root, path, status.st_size)]
    else:
        raise _refused(os.fspath(start), "is neither a file nor a folder")
    _require_uploadable(os.fspath(start), files)
    if renamed:
        source, path = next(iter(renamed.items()))
        log.warning(
            "%d names of files contain what a path of an artifact can't hold; they are stored under other names: "
            "%a as %r%s",
            len(renamed),
            source,
            path,
            " and others" if len(renamed) > 1 else "",
        )
    return files


def _require_uploadable(local: str, files: list[LocalFile]) -> None:
    if len(files) > MOST_FILES:
        raise _refused(
            local,
            f"has more than {MOST_FILES} files, which is the limit of one upload; "
            "pack them into archives, or upload its subfolders one by one",
        )
    folders: set[str] = set()
    for file in files:
        above = file.path.rpartition("/")[0]
        while above not in folders:
            folders.add(above)
            above = above.rpartition("/")[0]
    if len(folders) > len(files) + MORE_FOLDERS:
        raise _refused(
            local,
            f"has {len(folders)} folders, at most {len(files) + MORE_FOLDERS} are allowed for {len(files)} files; "
            "pack them into archives",
        )
    for file, following in itertools.pairwise(files):
        if file.path == following.path:
            raise _refused(
                file.source, f"would be stored as {file.path!r}, like {following.source}; rename one of the two"
            )
    for file in files:
        if file.size_bytes > MOST_BYTES:
            raise _refused(
                file.source,
                f"has {file.size_bytes} bytes, at most {MOST_BYTES} (5 TiB) are allowed; split it into smaller files",
            )


def _below(folder: str, path: str, above: tuple[str, ...], renamed: dict[str, str]) -> Iterator[LocalFile]:
    with os.scandir(folder) as entries:
        found = list(entries)
    if not found and path:
        yield LocalFile("", paths.joined(path, EMPTY_FOLDER), 0)
    for entry in found:
        source = _target(entry.path) if entry.is_symlink() else entry.path
        status = os.stat(source)
        below = _path(path, entry.name, entry.path, renamed)
        if stat.S_ISREG(status.st_mode):
            yield LocalFile(source, below, status.st_size)
        elif not stat.S_ISDIR(status.st_mode):
            raise _refused(entry.path, "is neither a file nor a folder")
        elif source in above:
            raise _refused(entry.path, f"is a symbolic link that forms a circle: it leads to {source}")
        else:
            yield from _below(source, below, (*above, source), renamed)


def _path(folder: str, name: str, source: str, renamed: dict[str, str]) -> str:
    path = paths.named(folder, name)
    if not path.endswith(name):
        renamed[source] = path
    return path


def _target(link: str) -> str:
    real = os.path.realpath(link)
    if not os.path.exists(real):
        raise _refused(link, f"is a symbolic link that leads nowhere, to {real}; remove the link")
    return real


def _refused(path: str, problem: str) -> InvalidArgument:
    return InvalidArgument(
        f"{path} {problem}; nothing was uploaded",
        reason="LOCAL_FILE_REFUSED",
        metadata={"local_path": path},
    )
