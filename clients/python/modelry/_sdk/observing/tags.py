"""What a run records about itself: who runs what, and where. Reads a few files and starts no process."""

from __future__ import annotations

import getpass
import platform
import socket
import sys
from contextlib import suppress
from pathlib import Path


def at_start() -> dict[str, str]:
    """The tags that every run has from the start."""
    found = {
        "modelry.user": user(),
        "modelry.host": socket.gethostname(),
        "modelry.python": platform.python_version(),
        "modelry.source.name": source_name(),
    }
    commit = ""
    with suppress(OSError):  # the working folder may be gone
        commit = git_commit(Path.cwd())
    if commit:
        found["modelry.source.git.commit"] = commit
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


def git_commit(folder: Path) -> str:
    """The commit that is checked out in the folder or above it. Empty if there is none."""
    try:
        for parent in (folder, *folder.parents):
            git = parent / ".git"
            if git.is_file():
                git = parent / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
            if git.is_dir():
                return _head(git)
    except (OSError, UnicodeDecodeError):
        return ""
    return ""


def _head(git: Path) -> str:
    head = (git / "HEAD").read_text(encoding="utf-8").strip()
    if not head.startswith("ref:"):
        return head
    reference = head.removeprefix("ref:").strip()
    shared = git / "commondir"
    homes = [git, git / shared.read_text(encoding="utf-8").strip()] if shared.is_file() else [git]
    for home in homes:
        if (home / reference).is_file():
            return (home / reference).read_text(encoding="utf-8").strip()
        packed = home / "packed-refs"
        if packed.is_file():
            for line in packed.read_text(encoding="utf-8").splitlines():
                commit, _, name = line.partition(" ")
                if name == reference:
                    return commit
    return ""
