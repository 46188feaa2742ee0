"""The code of a run: commit, branch and remote from git's files, and by the program git what is not committed."""

from __future__ import annotations

import logging
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelry._sdk.values import secrets

if TYPE_CHECKING:
    import subprocess

log = logging.getLogger("modelry")

LARGEST_DIFF = 1 << 20
"""The bytes of a diff that are recorded."""
_SECONDS = 10.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05
_OPTIONS = (
    *("-c", "core.fsmonitor=false", "-c", "core.quotepath=false"),
    *("diff", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--submodule=short"),
    *("--src-prefix=a/", "--dst-prefix=b/", "HEAD"),
)
_HEAD = "diff --git "


@dataclass(frozen=True, slots=True)
class Checkout:
    """What is checked out: the folder of the working tree, the commit, the branch and the remote's URL, if any."""

    folder: Path
    commit: str
    branch: str
    remote: str


@dataclass(frozen=True, slots=True)
class Diff:
    """What tracked files have that is not committed, as text for a file. `is_dirty` is None if git did not say."""

    is_dirty: bool | None
    text: str


def checkout(folder: Path) -> Checkout | None:
    """What is checked out in the folder or above it. None if nothing is, or it has no commit. Starts no process."""
    try:
        for parent in (folder, *folder.parents):
            git = parent / ".git"
            if git.is_file():
                git = parent / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
            if git.is_dir():
                return _read(parent, git)
    except (OSError, UnicodeDecodeError):
        return None
    return None


def diff(folder: Path, *, seconds: float = _SECONDS, largest: int = LARGEST_DIFF) -> Diff:
    """What is not committed of the tracked files, with secrets masked and files that hold secrets left out.

    At most `largest` bytes, in so many seconds; what is left out is said in its first lines. Raises nothing.
    """
    try:
        content, is_late = _output(folder, seconds, largest)
    except OSError as problem:  # There is no git, or no more processes.
        log.debug("git does not say what is not committed: %s", problem)
        return Diff(None, "")
    if content is None:
        return Diff(None, "")
    if not content:
        return Diff(None if is_late else False, "")
    notes = ["# What is not committed, by `git diff HEAD`, as it was when the run started."]
    if is_late:
        notes.append(f"# git was stopped after {seconds:g} seconds: the rest is missing.")
    if len(content) > largest:
        notes.append(f"# The first {largest:,} bytes: the rest is left out.")
    whole = content[:largest].decode("utf-8", errors="replace")
    if len(content) > largest:
        whole = whole[: whole.rfind("\n") + 1]
    kept = []
    for section in _sections(whole):
        if secrets.is_risky_file(name := _name_in(section)):
            notes.append(f"# {name} is left out: a file of this name may hold secrets.")
        else:
            kept.append(section)
    plain = "".join(kept)
    shown = secrets.masked(plain)
    if shown != plain:
        notes.append(f"# {secrets.MASK} is in the place of what looks like a secret, so this may not apply as a patch.")
    return Diff(True, "\n".join(notes) + "\n" + shown)


def _output(folder: Path, seconds: float, largest: int) -> tuple[bytes | None, bool]:
    """What git writes, a byte more than the largest if that is too much, and whether the time was up.

    None if git failed. It writes to a file, which needs no thread to be read, whatever the system.
    """
    import subprocess
    import tempfile

    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    with tempfile.TemporaryFile() as written:
        program = subprocess.Popen(
            ["git", *_OPTIONS],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.DEVNULL,
            start_new_session=os.name == "posix",  # Ctrl-C is for the program
        )
        until, pause = time.monotonic() + seconds, _SHORTEST_PAUSE
        is_late = is_large = False
        try:
            while program.poll() is None and not is_late and not is_large:
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                is_late, is_large = time.monotonic() >= until, os.fstat(written.fileno()).st_size > largest
        finally:
            if program.poll() is None:
                _kill(program)
            code = program.wait()
        written.seek(0)
        content = written.read(largest + 1)
    return (None if code != 0 and not is_late and not is_large else content), is_late


def _kill(program: subprocess.Popen[bytes]) -> None:
    """Ends git and the filters that it has started."""
    if os.name == "posix":
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
    else:
        program.kill()


def _sections(text: str) -> list[str]:
    """The parts of a diff, one for each file."""
    sections: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.startswith(_HEAD) or not sections:
            sections.append(line)
        else:
            sections[-1] += line
    return sections


def _name_in(section: str) -> str:
    """The path of the file: the head has it twice, since renames are not followed."""
    names = section.partition("\n")[0].removeprefix(_HEAD)
    return names[: len(names) // 2].strip('"').removeprefix("a/")


def _read(folder: Path, git: Path) -> Checkout | None:
    head = (git / "HEAD").read_text(encoding="utf-8").strip()
    shared = git / "commondir"
    home = git / shared.read_text(encoding="utf-8").strip() if shared.is_file() else git
    reference = head.removeprefix("ref:").strip() if head.startswith("ref:") else ""
    commit = _commit_of(reference, git, home) if reference else head
    if not commit:
        return None
    remote = ""
    with suppress(OSError, UnicodeDecodeError):
        remote = secrets.without_user(_remote((home / "config").read_text(encoding="utf-8")))
    return Checkout(folder, commit, reference.removeprefix("refs/heads/"), remote)


def _commit_of(reference: str, git: Path, home: Path) -> str:
    for each in (git, home):
        if (each / reference).is_file():
            return (each / reference).read_text(encoding="utf-8").strip()
        packed = each / "packed-refs"
        if packed.is_file():
            for line in packed.read_text(encoding="utf-8").splitlines():
                commit, _, name = line.partition(" ")
                if name == reference:
                    return commit
    return ""


def _remote(config: str) -> str:
    """The URL of the remote `origin`, else of the first one."""
    urls: dict[str, str] = {}
    section = ""
    for line in map(str.strip, config.splitlines()):
        if line.startswith("["):
            section = line
        elif section.startswith('[remote "'):
            name, equals, value = line.partition("=")
            if equals and name.strip() == "url":
                urls.setdefault(section[len('[remote "') :].rstrip('"]'), value.strip())
    return urls.get("origin") or next(iter(urls.values()), "")
