"""The folder of the spool, which is judged before anything in it is read or written.

What lies there is sent to a server and then deleted, so nobody else may put anything there. A folder that is somebody
else's, or that others can write to, is not used: in it each user has a folder of their own.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class SpoolUnsafe(OSError):
    """Somebody else could change what lies there. The message says what to do."""


def prepared(folder: Path) -> Path:
    """The folder to write to, which is made if it is missing. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    chosen = own(folder)
    chosen.mkdir(mode=0o700, exist_ok=True)
    return own(folder)


def own(folder: Path) -> Path:
    """The folder itself, or the one in it that is this user's. It may be missing. Raises SpoolUnsafe, OSError."""
    if not folder.exists() or not _problem(os.stat(folder)):
        return folder
    chosen = folder / f"user-{os.geteuid()}"
    try:
        problem = _problem(os.lstat(chosen))
    except FileNotFoundError:
        return chosen
    if problem:
        raise SpoolUnsafe(f"{chosen} {problem}; set MODELRY_SPOOL_DIR to a folder that is yours alone")
    return chosen


def require_own(descriptor: int, path: Path) -> None:
    """Raises SpoolUnsafe unless an open file is a regular one that only this user can write to."""
    status = os.fstat(descriptor)
    problem = "is no regular file" if not stat.S_ISREG(status.st_mode) else _owner_problem(status)
    if problem:
        raise SpoolUnsafe(f"{path} {problem}, so it is not delivered")


def require_copy(path: Path) -> os.stat_result:
    """The status of a file or folder that was copied. Raises SpoolUnsafe for a link, and for one of another user."""
    status = os.lstat(path)
    is_plain = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    problem = _owner_problem(status) if is_plain else "is no copy"
    if problem:
        raise SpoolUnsafe(f"{path} {problem}, so it is not uploaded")
    return status


def _problem(status: os.stat_result) -> str:
    return "is no folder" if not stat.S_ISDIR(status.st_mode) else _owner_problem(status)


def _owner_problem(status: os.stat_result) -> str:
    if not hasattr(os, "geteuid"):
        return ""
    if status.st_uid != os.geteuid():
        return f"belongs to the user {status.st_uid}"
    return "can be written by others" if status.st_mode & _OTHERS_WRITE else ""
