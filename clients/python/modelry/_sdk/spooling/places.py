"""The folder of the spool, which is judged before anything in it is read or written.

What lies there is sent to a server and then deleted, so nobody else may put anything there. A folder that is somebody
else's, or that others can write to, is not used: in it each user has a folder of their own.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from modelry._sdk.credentials import private


class SpoolUnsafe(private.Unsafe):
    """Somebody else could change what lies there. The message says what to do."""


def prepared(folder: Path) -> Path:
    """The folder to write to, which is made if it is missing. Raises OSError."""
    private.made(folder)
    private.made(own(folder))
    return own(folder)


def own(folder: Path) -> Path:
    """The folder itself, or the one in it that is this user's. It may be missing. Raises SpoolUnsafe, OSError."""
    if not folder.exists() or not private.problem_of_folder(folder):
        return folder
    chosen = folder / f"user-{private.user()}"
    try:
        problem = "is a link" if chosen.is_symlink() else private.problem_of_folder(chosen)
    except FileNotFoundError:
        return chosen
    if problem:
        raise SpoolUnsafe(f"{chosen} {problem}; set MODELRY_SPOOL_DIR to a folder that is yours alone")
    return chosen


def require_own(descriptor: int, path: Path) -> None:
    """Raises SpoolUnsafe unless an open file is a regular one that only this user can write to."""
    status = os.fstat(descriptor)
    problem = "is no regular file" if not stat.S_ISREG(status.st_mode) else private.problem_of(status)
    if problem:
        raise SpoolUnsafe(f"{path} {problem}, so it is not delivered")


def require_copy(path: Path) -> os.stat_result:
    """The status of a file or folder that was copied. Raises SpoolUnsafe for a link, and for one of another user."""
    status = os.lstat(path)
    is_plain = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    problem = private.problem_of(status) if is_plain else "is no copy"
    if problem:
        raise SpoolUnsafe(f"{path} {problem}, so it is not uploaded")
    return status
