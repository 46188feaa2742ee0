"""The files that become part of a model: none of them may change while they are copied."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from modelry._sdk.files import local_files
from modelry.errors import LocalFileChanged

_OPTIONS = ("artifacts", "code_paths", "data_path", "extra_files", "python_model")
_LOCAL = ("code_paths", "data_path", "python_model")
Stamps = Mapping[str, tuple[int, int, int]]


def stamps(options: Mapping[str, Any]) -> Stamps:
    """Size, time of the last change and inode of each local file that the options of a model name.

    Raises InvalidArgument for a URL where only paths of this machine are read.
    """
    for path in _paths(options, _LOCAL):
        local_files.require_no_url(path)
    return {file: _stamp(os.stat(file)) for path in _paths(options) for file in _files(path) if os.path.isfile(file)}


def require_same(before: Stamps, options: Mapping[str, Any]) -> None:
    """Raises LocalFileChanged if a file changed, vanished or came since `before`."""
    after = stamps(options)
    changed = sorted(file for file in {*before, *after} if before.get(file) != after.get(file))
    if changed:
        raise LocalFileChanged(
            f"{changed[0]!r} changed while it was copied into the model; nothing was saved: save it again when nothing "
            "writes to it any more",
            metadata={"path": changed[0]},
        )


def _paths(options: Mapping[str, Any], names: Iterable[str] = _OPTIONS) -> Iterator[str]:
    for name in names:
        given = options.get(name)
        values = list(given.values()) if isinstance(given, Mapping) else given
        yield from (os.fspath(each) for each in _listed(values) if isinstance(each, str | Path))


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]


def _files(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = [each for each in folders if each != "__pycache__"]  # Python writes it while it imports
        yield from (os.path.join(folder, name) for name in names)


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino
