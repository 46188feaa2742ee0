"""Locks on files of the spool, so that only one process at a time uses them.

A lock belongs to an open file, and a forked child has the open files of its parent. It would keep their locks for as
long as it lives, also when its parent is gone. So a child closes these files before anything else, which leaves the
locks to its parent. And a process unlocks what it closes, for children that no hook of Python is called in.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from modelry._sdk.transport import process

try:
    import fcntl
except ImportError:  # Windows has no flock: there a file in use looks like one that was left.
    fcntl = None  # type: ignore[assignment]

READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""How to open a file that is only read and locked: it may be a link or a pipe that somebody has put there."""


class SpoolInUse(OSError):
    """Another process writes or delivers the file."""


class LockedFile:
    """An open file that may be locked. Its `descriptor` is -1 once it is closed, as it is in a forked child."""

    def __init__(self, path: Path, flags: int) -> None:
        self.descriptor = -1
        process.close_in_children(self)
        self.descriptor = os.open(path, flags, 0o600)

    def lock(self, path: Path) -> None:
        """Locks the file, which errors call `path`, where locks work. Raises SpoolInUse if another process has it."""
        if fcntl is None:
            return
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SpoolInUse(f"{path} is in use by another process") from None
        except OSError:
            pass  # The file system has no locks; see `holders`.

    def close(self) -> None:
        """Unlocks and closes the file. Nothing if it is closed."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor < 0:
            return
        try:
            if fcntl is not None:
                with suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)

    def close_in_child(self) -> None:
        """Closes the file in a forked child. To unlock it would end the lock of the parent."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)
