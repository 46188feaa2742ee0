"""What a run records about itself: who runs what, and where. Reads a few files and starts no process."""

from __future__ import annotations

import getpass
import platform
import socket
import sys
from contextlib import suppress
from pathlib import Path

from modelry._sdk.observing import git


def at_start() -> dict[str, str]:
    """The tags that every run has from the start."""
    found = {
        "modelry.user": user(),
        "modelry.host": socket.gethostname(),
        "modelry.python": platform.python_version(),
        "modelry.source.name": source_name(),
    }
    with suppress(OSError):  # the working folder may be gone
        if (code := git.checkout(Path.cwd())) is not None:
            told = {"commit": code.commit, "branch": code.branch, "remote": code.remote}
            found |= {f"modelry.source.git.{name}": value for name, value in told.items() if value}
    return found


def user() -> str:
    """The name of the user of the operating system."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return "unknown"


def source_name() -> str:
    """The script that is run, or `python` if there is none."""
    script = sys.argv[0] if sys.argv else ""
    return script if script and script != "-c" else "python"
