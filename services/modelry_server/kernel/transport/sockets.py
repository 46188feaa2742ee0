"""A folder for the sockets of the services of one process: only its user can open it, and it is removed at the end.

A process that is killed leaves its folder behind; the next process that starts removes it.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "modelry-rooms-"
_LOCK = "lock"


def make_folder() -> Path:
    """A new folder in the temporary folder, where paths are short: the path of a socket has at most 107 characters."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if _is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=_PREFIX))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    lock = made / "new"
    fcntl.flock(os.open(lock, os.O_CREAT | os.O_RDWR, 0o600), fcntl.LOCK_EX)  # open until the process ends
    lock.rename(made / _LOCK)
    return made


def _is_left(folder: Path) -> bool:
    """Whether it is a folder of this user, and its process has ended."""
    try:
        if folder.lstat().st_uid != os.getuid():
            return False
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
