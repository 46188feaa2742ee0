"""Fresh environments with the requirements of a model, kept under the cache of the user by their digest."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Word = str | os.PathLike[str]

_FILES = ("requirements.txt", "constraints.txt")
_READY = "ready"
_WORDS_OF_PIP = (
    re.compile(r"No matching distribution found for (\S+)"),
    re.compile(r"Could not find a version that satisfies the requirement (\S+)"),
    re.compile(r"Because (\S+) was not found"),
    re.compile(r"Because there is no version of (\S+?)[ ,]"),
)


class TimeIsUp(Exception):
    """A step took longer than it may."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program came to: its exit status, and the last part of what it wrote."""

    status: int
    output: str


class Clock:
    """The time that is left for a check."""

    def __init__(self, seconds: float) -> None:
        self._began, self._end = time.monotonic(), time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until the end. Raises TimeIsUp at the end."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeIsUp
        return left

    def passed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began


def run(command: Sequence[Word], folder: str, clock: Clock) -> Ran:
    """Runs a program in a folder, and ends it with all that it started when the time is up: then raises TimeIsUp.

    It does not see the Python modules of this process.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    left = clock.left()
    with tempfile.TemporaryFile() as written:
        process = subprocess.Popen(
            [os.fspath(word) for word in command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(left)
        except subprocess.TimeoutExpired:
            raise TimeIsUp from None
        finally:
            if process.poll() is None:
                _end(process)
        written.seek(max(0, written.tell() - 20_000))
        return Ran(process.returncode, written.read().decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def place_of(folder: str) -> Path:
    """Where the environment of a model is kept: it depends on its requirements and on this Python."""
    digest = hashlib.sha256(f"{sys.version}\0{platform.platform()}\0{sys.executable}".encode())
    for name in _FILES:
        file = Path(folder, name)
        digest.update(b"\0" + (file.read_bytes() if file.is_file() else b""))
    return _cache() / digest.hexdigest()[:16]


def _cache() -> Path:
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        above = Path(given) if given else Path.home() / ".cache"
    except RuntimeError:  # a user without a home, as in a container
        above = Path(tempfile.gettempdir()) / f"modelry-cache-{os.getuid()}"
    place = above / "modelry" / "environments"
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    return place


def is_ready(place: Path) -> bool:
    """Whether there is a complete environment at a place."""
    return (place / _READY).is_file()


def python_of(place: Path) -> Path:
    """The Python of an environment."""
    return place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make(place: Path, folder: str, clock: Clock, tell: Callable[[str], None]) -> Mapping[str, str]:
    """Makes the environment of a model, with uv if it is installed, else with venv and pip.

    Returns the requirements that can't be installed, each with what the installer says; empty if all are installed.
    Nothing is kept of an environment that is not complete.
    """
    uv = shutil.which("uv")
    made = place.with_name(f".{place.name}-{uuid.uuid4().hex[:8]}")
    python = python_of(made)
    create: list[Word] = [uv, "venv", "--python", sys.executable, made] if uv else [sys.executable, "-m", "venv", made]
    install: list[Word] = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    try:
        tell(f"making an environment with {'uv' if uv else 'venv and pip'}")
        ran = run(create, folder, clock)
        if ran.status:
            return {"python": _last(ran.output)}
        if Path(folder, "requirements.txt").is_file():
            tell("installing the requirements of the model")
            ran = run([*install, "-r", "requirements.txt"], folder, clock)
            if ran.status:
                return _blamed(ran, install, folder, clock, tell)
        (made / _READY).touch()
        try:
            made.rename(place)
        except OSError:  # another check was faster
            if not is_ready(place):
                raise
        return {}
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _blamed(
    ran: Ran, install: Sequence[Word], folder: str, clock: Clock, tell: Callable[[str], None]
) -> Mapping[str, str]:
    """Which requirements can't be installed: each is tried alone, as far as the time allows."""
    lines = [line.strip() for line in Path(folder, "requirements.txt").read_text().splitlines()]
    options = [word for line in lines if line.startswith("--") for word in re.split(r"[\s=]+", line, maxsplit=1)]
    wrong: dict[str, str] = {}
    tell("looking for the requirements that can't be installed")
    try:
        for line in lines:
            if not line or line.startswith(("-", "#")):
                continue
            alone = run([*install, "--dry-run", "--no-deps", *options, line], folder, clock)
            if alone.status:
                wrong[line] = _last(alone.output)
    except TimeIsUp:
        pass
    if wrong:
        return wrong
    named = next((found[1] for words in _WORDS_OF_PIP if (found := words.search(ran.output))), "requirements.txt")
    return {named: _last(ran.output)}


def _last(output: str) -> str:
    """The line of an installer that says most: the last error."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(ERROR|error|Because|\u00d7)", line)]
    return (errors or lines or ["it said nothing"])[-1][:500]
