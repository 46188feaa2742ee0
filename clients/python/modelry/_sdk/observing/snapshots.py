"""What a run keeps of the program as it started: uncommitted code, packages, command line and machine.

A thread takes it, so that the start of the run does not wait. The end of the process waits for it for a moment.
"""

from __future__ import annotations

import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from modelry._sdk.observing import places
from modelry._sdk.transport import interruptions, process, settings
from modelry._sdk.transport.interruptions import is_interrupted
from modelry._sdk.values import secrets

log = logging.getLogger("modelry")

FOLDER = "modelry"
"""The folder of the run's files in which it is."""
_BEGIN_SECONDS = 0.05
_EXIT_SECONDS = 5.0
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Subject:
    """A run and what it was started from. The functions log to it: a folder into a folder, and tags."""

    upload: Callable[[Path, str], None]
    set_tags: Callable[[Mapping[str, object]], None]
    folder: str
    arguments: list[str]
    begin_at: float
    """When to begin, on the monotonic clock: not while the run starts, which would slow it."""


class Snapshots(process.Part):
    """Takes the snapshots of the runs of this process, one after the other.

    No lock: a signal handler may start a run at any time. Runs come to the thread by a queue of C.
    """

    def __init__(self) -> None:
        self._packages: Any = None
        self._machine: dict[str, Any] = {}
        self._begin()

    def _begin(self) -> None:
        self._wanted: SimpleQueue[Subject | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def take(self, upload: Callable[[Path, str], None], set_tags: Callable[[Mapping[str, object]], None]) -> None:
        """Takes a snapshot for a run, which the functions log to, unless the settings say no. Raises nothing."""
        if not settings.usable().snapshot:
            return
        with suppress(OSError):  # the working folder may be gone
            self._wanted.put(
                Subject(upload, set_tags, os.getcwd(), list(sys.orig_argv), time.monotonic() + _BEGIN_SECONDS)
            )
            self._start()

    def before_exit(self) -> None:
        """Waits as `at_exit` does."""
        self.at_exit()

    def at_exit(self) -> None:
        """Waits for what is being taken, at most a few seconds, and not at Ctrl-C."""
        thread, until = self._thread, time.monotonic() + _EXIT_SECONDS
        self._wanted.put(None)
        while thread is not None and thread.is_alive() and time.monotonic() < until and not is_interrupted():
            thread.join(_LOOK_SECONDS)

    def abandon(self) -> None:
        """Leaves what is not taken yet."""
        self._thread = None
        self._wanted.put(None)

    def after_fork_in_child(self) -> None:
        """Leaves the runs of the parent to the parent."""
        self._begin()

    def _start(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        thread = threading.Thread(target=self._run, args=(self._wanted,), name="modelry-snapshots", daemon=True)
        self._thread = thread
        if problem := interruptions.start(thread):
            self._thread = None
            log.debug("no thread for what a run records of itself: %s", problem)

    def _run(self, wanted: SimpleQueue[Subject | None]) -> None:
        while self._thread is threading.current_thread() and (subject := wanted.get()) is not None:
            if self._thread is not threading.current_thread():
                wanted.put(subject)  # for the one that is
                return
            time.sleep(max(0.0, subject.begin_at - time.monotonic()))
            try:
                self._take(subject)
            except Exception:  # nothing of this may reach the program
                log.debug("what a run records of itself is incomplete", exc_info=True)

    def _take(self, subject: Subject) -> None:
        """Logs everything in one upload."""
        import shutil
        import tempfile

        made = Path(tempfile.mkdtemp(prefix="modelry-"))  # a TemporaryDirectory would be removed as the exit begins
        try:
            is_first = places.is_first()
            self._write(subject, made, is_first=is_first)
            subject.upload(made, FOLDER if is_first else f"{FOLDER}/rank_{places.rank()}")
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def _write(self, subject: Subject, made: Path, *, is_first: bool) -> None:
        import json

        from modelry._sdk.observing import git, hardware
        from modelry._sdk.observing.packages import Packages

        code = git.checkout(Path(subject.folder))
        self._machine = self._machine or hardware.described()
        environment = _environment(subject, code, self._machine)
        text = json.dumps(environment, indent=2, ensure_ascii=False) + "\n"
        (made / "environment.json").write_bytes(text.encode(errors="replace"))
        if not is_first:
            return
        subject.set_tags(hardware.tags(self._machine))
        self._packages = self._packages or Packages()
        (made / "packages.txt").write_bytes(self._packages.text().encode(errors="replace"))
        if code is not None and settings.usable().snapshot_diff:
            changes = git.diff(code.folder)
            if changes.is_dirty is not None:
                subject.set_tags({"modelry.source.git.dirty": str(changes.is_dirty).lower()})
            if changes.text:
                (made / "changes.diff").write_bytes(changes.text.encode())


def _environment(subject: Subject, code: Any, machine: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "command_line": secrets.masked_arguments(subject.arguments),
        "working_folder": subject.folder,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "executable": sys.executable,
        "platform": platform.platform(),
        "host": platform.node(),
        "hardware": machine,
    }
    if code is not None:
        found["git"] = {"commit": code.commit, "branch": code.branch, "remote": code.remote}
    return found
