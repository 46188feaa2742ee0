"""What is done when a process ends, the last registered first: runs end, then recorders drain."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable

_actions: list[Callable[[], None]] = []
_prepared_for = 0
_registered = False


def at_exit(action: Callable[[], None]) -> None:
    """Adds something to do at the end of this process and of its forked children."""
    _actions.append(action)


def prepare() -> None:
    """Sees to it that this process does what was registered when it ends.

    Children of `multiprocessing` leave by `os._exit`, which skips atexit; they have a list of their own.
    """
    global _prepared_for, _registered
    if _prepared_for == os.getpid():
        return
    _prepared_for = os.getpid()
    if not _registered:
        atexit.register(_run)
        _registered = True
    util, process = sys.modules.get("multiprocessing.util"), sys.modules.get("multiprocessing.process")
    if util is not None and process is not None and process.parent_process() is not None:
        util.Finalize(None, _run, exitpriority=0)


def _run() -> None:
    for action in reversed(_actions):
        action()
