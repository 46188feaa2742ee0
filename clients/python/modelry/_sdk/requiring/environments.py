"""Fresh environments with the requirements of a model, kept under the cache of the user by their digest."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelry._sdk.credentials import private
from modelry._sdk.transport.interruptions import held_back

log = logging.getLogger("modelry")

Word = str | os.PathLike[str]

_READY = "ready"
_ENDING = ("SIGTERM", "SIGHUP")
_NAME = r"[A-Za-z0-9][\w.-]* ?(\[[\w .,-]*\])?"
_ADDRESS = r"[A-Za-z][A-Za-z+]*://[^ \"']+"
_REQUIREMENT = re.compile(rf"({_NAME} ?(\(?[<>=!~][\w.*+!<>=~, ()-]*|@ ?{_ADDRESS})?|{_ADDRESS})( ?;[^#\\]*)?")
_OPTION = re.compile(
    r"(-i|-f|--(index-url|extra-index-url|find-links))[ =](https?://|\$\{\w+\})[^ \"']*"
    r"|--(no-binary|only-binary|trusted-host)[ =][^ \"'/\\]+"
    r"|--(no-index|pre|prefer-binary|require-hashes)"
)
_WORDS_OF_PIP = (
    re.compile(r"No matching distribution found for (\S+)"),
    re.compile(r"Could not find a version that satisfies the requirement (\S+)"),
    re.compile(r"Because (\S+) was not found"),
    re.compile(r"Because there is no version of (\S+?)[ ,]"),
)


class _Ended(BaseException):
    """A signal came that ends this process."""


@contextmanager
def ended_tidily() -> Iterator[None]:
    """Has SIGTERM and SIGHUP leave the block first, so that it can clear up, where they would end the process at once.

    Only in the main thread, and not where the program has a handler of its own.
    """
    numbers = [number for name in _ENDING if (number := getattr(signal, name, None)) is not None]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    came: list[int] = []

    def leave(number: int, frame: object) -> None:
        came.append(number)
        if len(came) == 1:
            raise _Ended

    ours = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in ours:
            signal.signal(number, leave)
        yield
    except _Ended:
        pass
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
        if came:
            os.kill(os.getpid(), came[0])


class TimeIsUp(Exception):
    """A step took longer than it may."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a model requires: the lines of its requirements, among them options of pip, and of its constraints."""

    requirements: Sequence[str]
    constraints: Sequence[str]

    @classmethod
    def of(cls, requirements: Iterable[str], constraints: Iterable[str]) -> Wanted:
        """What lines of files say, without their comments."""
        return cls(*(list(filter(None, map(_plain, lines))) for lines in (requirements, constraints)))

    def misleading(self) -> Mapping[str, str]:
        """The lines that are no requirement by name or address, and no option that leads to an index; each with why.

        They lead to files, of the model or of the machine of its author, or pip and uv read them in different ways.
        """
        why = "it leads to a file, or is no requirement or option that a check knows"
        return {line: why for line in (*self.requirements, *self.constraints) if not _is_known(line)}


def _plain(line: str) -> str:
    return re.sub(r"(^| )#.*", "", " ".join(line.split()))


def _is_known(line: str) -> bool:
    if line.startswith("-"):
        return _OPTION.fullmatch(line) is not None
    named, *hashes = line.split(" --hash")
    are_hashes = all(re.fullmatch(r"[= ][^ ]+", each) for each in hashes)
    return " -" not in named and are_hashes and _REQUIREMENT.fullmatch(named) is not None


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
    """Runs a program in a folder. Raises TimeIsUp when the time is up.

    The program is ended then, with all that it started, and also when a handler of a signal raises meanwhile. It does
    not see the Python modules of this process.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    left = clock.left()
    with tempfile.TemporaryFile() as written:
        process = None
        try:
            with held_back():  # or a signal could come when the program has started, and nobody knows it yet
                process = subprocess.Popen(
                    [os.fspath(word) for word in command],
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=written,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            process.wait(left)
        except subprocess.TimeoutExpired:
            raise TimeIsUp from None
        finally:
            if process is not None and process.poll() is None:
                _end(process)
        written.seek(max(0, written.tell() - 20_000))
        return Ran(process.returncode, written.read().decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def place_of(wanted: Wanted, temporary: str) -> Path:
    """Where the environment of a model is kept: it depends on all that is installed for it, and on this Python.

    It is in the folder `temporary` if nothing can be kept so that nobody else can change it; the log says why then.
    """
    digest = hashlib.sha256(f"{sys.version}\0{platform.platform()}\0{sys.executable}".encode())
    for lines in (wanted.requirements, wanted.constraints):
        digest.update(("\0" + "\n".join(lines)).encode(errors="surrogateescape"))
    try:
        folder = _cache()
    except OSError as problem:
        log.warning(
            "the environment of the check is not kept, because %s; set XDG_CACHE_HOME to a folder that is yours alone",
            problem,
        )
        folder = Path(temporary)
    return folder / digest.hexdigest()[:16]


def _cache() -> Path:
    """The folder of the environments. Raises OSError if it can't be made, or if somebody else could change it."""
    above = private.of_kind("XDG_CACHE_HOME", ".cache")
    if above is None:  # a user without a home, as in a container
        own = f"modelry-cache-{private.user()}"
        return private.prepared(Path(tempfile.gettempdir(), own, "modelry", "environments"), levels=3)
    return private.prepared(above / "modelry" / "environments", levels=2)


def is_ready(place: Path) -> bool:
    """Whether there is a complete environment at a place, and only this user can have written it."""
    if not (place / _READY).is_file():
        return False
    try:
        problem = private.problem_of_tree(place)
    except OSError as error:
        problem = str(error)
    if problem:
        log.warning("the environment %s is not used, because %s", place, problem)
    return not problem


def python_of(place: Path) -> Path:
    """The Python of an environment."""
    return place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def make(place: Path, wanted: Wanted, empty: str, clock: Clock, tell: Callable[[str], None]) -> Mapping[str, str]:
    """Makes the environment of a model, with uv if it is installed, else with venv and pip.

    They start in the folder `empty`, and get copies of the lines of the model: no file of it is run or obeyed by them.
    Returns the requirements that can't be installed, each with what the installer says; empty if all are installed.
    Nothing is kept of an environment that is not complete.
    """
    if wrong := wanted.misleading():
        return wrong
    uv = shutil.which("uv")
    made = place.with_name(f".{place.name}-{uuid.uuid4().hex[:8]}")
    python = python_of(made)
    create: list[Word] = [sys.executable, "-I", "-m", "venv", made]
    install: list[Word] = [python, "-I", "-m", "pip", "install"]
    if uv:
        settings = _settings_of_uv()
        create = [uv, *settings, "venv", "--no-project", "--python", sys.executable, made]
        install = [uv, *settings, "pip", "install", "--python", python]
    try:
        tell(f"making an environment with {'uv' if uv else 'venv and pip'}")
        ran = run(create, empty, clock)
        if ran.status:
            return {"python": _last(ran.output)}
        if wanted.requirements:
            tell("installing the requirements of the model")
            with tempfile.TemporaryDirectory(prefix="modelry-required-") as written:
                ran = run([*install, *_files_of(wanted, written)], empty, clock)
            if ran.status:
                return _blamed(ran, install, wanted, empty, clock, tell)
        (made / _READY).touch()
        private.tighten(made)
        try:
            made.rename(place)
        except OSError:  # another check was faster, or what is there is not used
            if not is_ready(place):
                place.rename(unused := made.with_name(f"{made.name}-unused"))
                made.rename(place)
                shutil.rmtree(unused, ignore_errors=True)
        return {}
    finally:
        with held_back():  # from a second Ctrl-C too
            shutil.rmtree(made, ignore_errors=True)


def _settings_of_uv() -> list[Word]:
    """Has uv read the settings of the user alone. It would look for others in every folder above its own."""
    if os.environ.get("UV_CONFIG_FILE"):
        return []
    above = private.of_kind("XDG_CONFIG_HOME", ".config")
    settings = above / "uv" / "uv.toml" if above else None
    return ["--config-file", settings] if settings and settings.is_file() else ["--no-config"]


def _files_of(wanted: Wanted, folder: str) -> list[Word]:
    """Writes what a model requires to files, and returns the options that name them."""
    given: list[Word] = []
    for option, lines in (("-r", wanted.requirements), ("-c", wanted.constraints)):
        if lines:
            file = Path(folder, f"lines{option}.txt")
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
            given += [option, file]
    return given


def _blamed(
    ran: Ran, install: Sequence[Word], wanted: Wanted, empty: str, clock: Clock, tell: Callable[[str], None]
) -> Mapping[str, str]:
    """Which requirements can't be installed: each is tried alone, as far as the time allows."""
    options = [
        word for line in wanted.requirements if line.startswith("-") for word in re.split(r"[\s=]+", line, maxsplit=1)
    ]
    wrong: dict[str, str] = {}
    tell("looking for the requirements that can't be installed")
    try:
        for line in wanted.requirements:
            if line.startswith("-"):
                continue
            alone = run([*install, "--dry-run", "--no-deps", *options, line], empty, clock)
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
