"""Folders and files of this user alone, which are judged before anything in them is trusted.

On a machine that several users share, a folder with a name that they can guess may be theirs: it is made first by
whoever is first. What lies in such a folder is neither sent nor run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

_MODE = stat.S_IRWXU
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Unsafe(OSError):
    """Somebody else could change what lies there."""


def made(folder: Path) -> None:
    """Makes a folder with those missing above it, each with mode 0700 whatever the umask is. Raises OSError."""
    missing = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    for each in reversed(missing):
        try:
            each.mkdir(_MODE)
        except FileExistsError:  # another process was faster
            continue
        if stat.S_IMODE(os.lstat(each).st_mode) & _MODE != _MODE:  # the umask takes rights from the user too
            each.chmod(_MODE)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder")


def prepared(folder: Path, levels: int) -> Path:
    """Makes a folder whose last `levels` parts are this user's alone. Raises Unsafe if one is not, OSError.

    What is above them is the choice of the user; but nobody may replace a folder there, as everybody could in one that
    everybody can write to and that is not sticky.
    """
    chain = (folder, *folder.parents)
    made(chain[levels])
    for each in chain[levels:]:
        mode = os.stat(each).st_mode
        if hasattr(os, "geteuid") and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise Unsafe(f"{each} can be written by everybody and is not sticky")
    for each in reversed(chain[:levels]):
        made(each)
        if problem := problem_of_folder(each):
            raise Unsafe(f"{each} {problem}")
    return folder


def problem_of_folder(folder: Path) -> str:
    """Why a folder is not this user's alone: the folder itself, and the link if it is one. Empty if it is."""
    status = os.lstat(folder)
    if stat.S_ISLNK(status.st_mode):
        if _is_foreign(status):
            return f"is a link of the user {status.st_uid}"
        status = os.stat(folder)
    return problem_of(status) if stat.S_ISDIR(status.st_mode) else "is no folder"


def problem_of(status: os.stat_result) -> str:
    """Why what has this status is not this user's alone: its owner, or who can write to it. Empty if it is."""
    if _is_foreign(status):
        return f"belongs to the user {status.st_uid}"
    is_open = hasattr(os, "geteuid") and not stat.S_ISLNK(status.st_mode) and status.st_mode & _OTHERS_WRITE
    return "can be written by others" if is_open else ""


def problem_of_tree(folder: Path) -> str:
    """Why a folder, or the first of the files and folders in it, is not this user's alone. Empty if all are."""
    for path, status in _tree(folder):
        if problem := problem_of(status):
            return f"{path} {problem}"
    return ""


def tighten(folder: Path) -> None:
    """Takes from others the right to write to a folder and to what is in it, as far as it is this user's."""
    for path, status in _tree(folder):
        if not _is_foreign(status) and problem_of(status):
            os.chmod(path, stat.S_IMODE(status.st_mode) & ~_OTHERS_WRITE)


def user() -> str:
    """What tells this user from the others of the machine, for the name of a folder."""
    return str(os.geteuid()) if hasattr(os, "geteuid") else "user"


def of_kind(variable: str, default: str) -> Path | None:
    """The folder of the user for caches or settings, from a variable such as `XDG_CACHE_HOME`, else `~/` + `default`.

    None for a user who has no home. A relative path in the variable is ignored, as the XDG Base Directory Specification
    asks: what it leads to would depend on the working folder.
    """
    given = Path(os.environ.get(variable) or ".")
    try:
        folder = given if given.is_absolute() else Path.home() / default
    except RuntimeError:
        return None
    return folder if folder.is_absolute() else None


def _is_foreign(status: os.stat_result) -> bool:
    return hasattr(os, "geteuid") and status.st_uid != os.geteuid()


def _tree(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """The folder and all that is in it, with the status of links themselves. Raises OSError."""
    yield os.fspath(folder), os.lstat(folder)
    open_folders = [os.fspath(folder)]
    while open_folders:
        with os.scandir(open_folders.pop()) as entries:
            for entry in entries:
                yield entry.path, entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    open_folders.append(entry.path)
