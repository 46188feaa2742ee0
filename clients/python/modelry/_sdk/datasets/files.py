"""Datasets from files: every byte is read once, and a file that changes meanwhile is noticed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelry._sdk.datasets.dataset import Dataset, json_of, within
from modelry._sdk.files import local_files
from modelry.errors import DatasetEmpty, InvalidArgument, LocalFileChanged

_BYTES_AT_ONCE = 1 << 20


def from_files(
    path: str | os.PathLike[str], pattern: str = "**/*", *, name: str | None = None, source: str = ""
) -> Dataset:
    """Describes a file, or the files of a folder that match the glob `pattern`: by default all, at any depth.

    The digest of a file is its SHA-256, as `sha256sum` prints it. The digest of a folder is the SHA-256 of one line for
    each file, sorted by path: its SHA-256, two spaces, and its path in the folder with `/`. The schema has path, size
    in bytes and SHA-256 of each file, or of as many as fit. Default `source`: the absolute path. Default `name`: the
    last part of the path.

    Raises FileNotFoundError if there is nothing, DatasetEmpty if no file matches, LocalFileChanged for a file or folder
    that changes while it is read, and InvalidArgument for a URL and for what can't be read.
    """
    start = local_files.given(path)
    with local_files.reading(start):
        is_folder = local_files.is_folder(start)
        found = _matching(start, pattern) if is_folder else [("", start)]
        if not found:
            raise DatasetEmpty(
                f"{start} has no file that matches {pattern!r}; give another pattern, such as '**/*' for all files",
                metadata={"path": os.fspath(start), "pattern": pattern},
            )
        files = [{"path": inside or each.name, **sized_digest(each, "sha256")} for inside, each in found]
        if is_folder and [inside for inside, _ in _matching(start, pattern)] != [inside for inside, _ in found]:
            raise _changed(start)
    lines = "".join(f"{file['sha256']}  {file['path']}\n" for file in files)
    listed, left_out = within(files)
    return Dataset(
        name or start.resolve().name or "dataset",
        digest=hashlib.sha256(os.fsencode(lines)).hexdigest() if is_folder else files[0]["sha256"],
        source=source or os.path.abspath(start),
        schema=json_of({"files": listed} | ({"files_left_out": left_out} if left_out else {})),
        profile=json_of({"num_files": len(files), "size_bytes": sum(file["size_bytes"] for file in files)}),
    )


def sized_digest(file: Path, method: str) -> dict[str, Any]:
    """The size of a file in bytes, and its digest by a method of `hashlib`. Raises LocalFileChanged, OSError."""
    digest, size = hashlib.new(method, usedforsecurity=False), 0
    with open(file, "rb", buffering=0, opener=_opened) as opened:
        before = os.fstat(opened.fileno())
        if not stat.S_ISREG(before.st_mode):
            raise InvalidArgument(f"{file} is neither a file nor a folder; only files have a digest")
        while part := opened.read(_BYTES_AT_ONCE):
            digest.update(part)
            size += len(part)
        after = os.fstat(opened.fileno())
    there = file.stat()  # another file may have taken its place
    if size != before.st_size or not _version(before) == _version(after) == _version(there):
        raise _changed(file)
    return {"size_bytes": size, method: digest.hexdigest()}


def below(folder: Path) -> Iterator[Path]:
    """All files in a folder at any depth, also behind links to folders."""
    for top, folders, names in os.walk(folder, followlinks=True, onerror=_raised):
        folders.sort()
        yield from (Path(top, name) for name in sorted(names))


def _matching(folder: Path, pattern: str) -> list[tuple[str, Path]]:
    """The files that match, by their path in the folder."""
    if pattern == "**/*":
        found = list(below(folder))
    else:
        try:
            found = [each for each in folder.glob(pattern) if each.is_file()]
        except (ValueError, NotImplementedError) as problem:
            raise InvalidArgument(f"pattern {pattern!r} is no glob of paths in the folder: {problem}") from None
    return sorted((each.relative_to(folder).as_posix(), each) for each in found)


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _changed(path: Path) -> LocalFileChanged:
    return LocalFileChanged(
        f"{path} changed while it was read, so it has no digest; describe it when nothing writes to it any more",
        metadata={"path": os.fspath(path)},
    )


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # opening a pipe does not wait for a writer


def _raised(problem: OSError) -> None:
    raise problem
