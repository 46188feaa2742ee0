"""Delivers what forked children of this process log, because they must not use gRPC themselves."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from modelry._sdk.recording.attempts import End, Obstacles, PutOff, Uploading
from modelry._sdk.recording.refusals import Refusals
from modelry._sdk.recording.spooled import Delivering, SpoolAttempt
from modelry._sdk.spooling import ids, kept
from modelry._sdk.spooling.spool import is_being_written, left_in
from modelry._sdk.transport import process, settings
from modelry._sdk.transport.interruptions import held_back, start

log = logging.getLogger("modelry")

LOOK_SECONDS = 2.0
_LONGEST_PAUSE = 30.0
_TURN_SECONDS = 0.1
_PAUSE_SECONDS = 0.2


class Children(process.Part):
    """The spools of this process's forked children, which a thread delivers from the first fork on.

    A child writes a spool that carries `name`, and closes it every few seconds and at its end. Grandchildren belong to
    the same parent, because their own parents can't deliver either. A recorder from before a fork keeps its folder, and
    one that a child makes takes that of the environment at the fork. So the parent looks in all of these, whatever the
    environment says by then.
    """

    def __init__(self) -> None:
        self._begin("" if process.current().inherits_grpc else ids.process_name())

    def _begin(self, name: str, folder: Path | None = None) -> None:
        self.name = name
        """What this process, or the ancestor that delivers for it, is called in names of spools. Empty: nobody does."""
        self.folder = folder
        """Where recorders that are made now put their spools, so that an ancestor finds them. None: as settings say."""
        self._folders: dict[Path, None] = {}
        self._lock = threading.Lock()
        self._delivers: threading.Thread | None = None
        self._may_go_later = False
        """Whether the last delivery left something that may be delivered soon, because nothing refuses it."""
        self._refusals = Refusals()
        self._flushed_refusals = 0
        self._put_off = PutOff()
        self._thread: threading.Thread | None = None
        self._has_forked = False
        self._concluded = False
        self._awaits_multiprocessing = False
        self._problem = ""

    def look_in(self, folder: Path) -> None:
        """Notes a folder to which a recorder writes: its copy in a child will, too."""
        self._folders.setdefault(folder)

    def after_fork_in_parent(self) -> None:
        """Starts the thread, if children can't use gRPC from now on."""
        if "grpc" not in sys.modules or process.current().inherits_grpc:
            return
        self.look_in(settings.usable().spool_folder)
        self._has_forked = True
        self._start()
        util = sys.modules.get("multiprocessing.util")
        if util is not None and not self._awaits_multiprocessing:
            # At exit multiprocessing ends its children and waits for them. This is called after that.
            self._awaits_multiprocessing = True
            util.Finalize(None, self._after_multiprocessing, exitpriority=-100)

    def after_fork_in_child(self) -> None:
        """Leaves the delivery to the parent, unless this child can use gRPC."""
        if process.current().inherits_grpc:
            self._begin(self.name, self.folder or settings.usable().spool_folder)
        else:
            self._begin(ids.process_name())

    def deliver(self, timeout: float | None = None) -> bool:
        """Delivers the spools that children have closed, for at most so many seconds; says whether none is left."""
        if not self._has_forked:
            return True
        self._start()
        if self._is_at_work:
            return False  # a signal handler that interrupted the delivery itself can't wait for it
        until = None if timeout is None else time.monotonic() + timeout
        obstacles, is_mine, is_all = Obstacles(), False, False
        try:
            with held_back() as is_interrupted:  # or Ctrl-C could leave the lock, or that of a spool
                while not is_mine and not is_interrupted() and (until is None or time.monotonic() < until):
                    is_mine = self._lock.acquire(timeout=_TURN_SECONDS)
                if is_mine:
                    self._delivers = threading.current_thread()
                    self._may_go_later = False
                    is_all = self._deliver_spools(until, obstacles, is_interrupted)
            if is_mine:
                is_all = self._upload(until, obstacles) and is_all
        finally:
            if is_mine:
                self._delivers = None
                self._lock.release()
        if is_all:
            self._problem = ""
        return is_all

    def flush(self, timeout: float | None) -> bool:
        """Delivers as `deliver` does; says also whether nothing was refused since the last flush.

        Until the time is up it tries again, if something is left that nothing refuses. Without a limit it tries once.
        """
        until = None if timeout is None else time.monotonic() + timeout
        is_all = self.deliver(timeout)
        while not is_all and until is not None and self._may_go_later and not self._is_at_work:
            if time.monotonic() + _PAUSE_SECONDS >= until:
                break
            time.sleep(_PAUSE_SECONDS)
            is_all = self.deliver(until - time.monotonic())
        known, self._flushed_refusals = self._flushed_refusals, self._refusals.total
        return is_all and known == self._flushed_refusals

    def at_exit(self) -> None:
        """Delivers what is there, and says what is left."""
        if not self._has_forked:
            return
        self._concluded = True
        self.deliver(settings.usable().exit_timeout)
        multiprocessing = sys.modules.get("multiprocessing")
        if multiprocessing is None or not self._awaits_multiprocessing or not multiprocessing.active_children():
            self._say_what_is_left()

    def _after_multiprocessing(self) -> None:
        if self._concluded:
            self.deliver(settings.usable().exit_timeout)
            self._say_what_is_left()

    @property
    def _is_at_work(self) -> bool:
        """Whether this thread delivers, and was interrupted."""
        return self._delivers is threading.current_thread()

    def _start(self) -> None:
        """Starts the thread unless there is one. Where none can be started, the next fork or delivery tries again."""
        if self._concluded or (self._thread is not None and self._thread.is_alive()):
            return
        # Two threads may come here at once, or one and its signal handler: all but one of the new threads do nothing.
        thread = threading.Thread(target=self._watch, name="modelry-children", daemon=True)
        if problem := start(thread):
            log.debug("no thread for what forked children log: %s", problem)
        else:
            self._thread = thread

    def _watch(self) -> None:
        pause, waits = LOOK_SECONDS, threading.Event()
        while not waits.wait(pause) and self._thread is threading.current_thread():
            whole = self.deliver()
            pause = LOOK_SECONDS if whole else min(_LONGEST_PAUSE, 2 * pause)

    def _deliver_spools(self, until: float | None, obstacles: Obstacles, is_interrupted: Callable[[], bool]) -> bool:
        found, is_all = self._left_in(left_in)

        def go_on() -> bool:
            return not is_interrupted() and (until is None or time.monotonic() < until)

        for attempt in Delivering(obstacles, go_on=go_on).attempts(found):
            self._say(attempt)
            is_later = attempt.end is End.IN_USE and is_being_written(attempt.path)
            is_all = is_all and (attempt.is_whole or is_later)
            is_in_use = attempt.end is End.IN_USE and not is_later
            self._may_go_later |= is_in_use or (attempt.end is End.LEFT and not attempt.is_refused)
        return is_all

    def _say(self, attempt: SpoolAttempt) -> None:
        """Warns of what is not recorded, and of what is left."""
        name, folder = attempt.path.name, attempt.path.parent
        if attempt.source is not None:
            for reason, message in attempt.source.refusals.items():
                self._refusals.warn(f"request of a forked child ({reason})", name, message)
        if attempt.end is End.DONE and attempt.why:
            self._refusals.warn("damaged spool", name, f"{name}: {attempt.why}")
        elif attempt.end is End.UNREADABLE:
            self._refusals.warn("spool of a forked child", name, attempt.why)
        elif attempt.end is End.LEFT and attempt.is_refused:
            self._refusals.warn("spool of a forked child", name, f"{attempt.why}; it is kept in {folder}")
        elif attempt.end is End.LEFT:
            self._tell(f"what forked children logged is not delivered yet: {attempt.why}", folder)

    def _left_in(self, look: Callable[..., list[Path]]) -> tuple[list[Path], bool]:
        """What children have left in all folders, the oldest first, and whether each folder could be read."""
        found: list[Path] = []
        is_all = True
        for folder in list(self._folders):
            try:
                found += look(folder, parent=self.name)
            except OSError as problem:
                self._tell(f"the spools of forked children can't be read: {problem}", folder)
                is_all, self._may_go_later = False, True
        return sorted(found, key=lambda path: path.name), is_all

    def _upload(self, until: float | None, obstacles: Obstacles) -> bool:
        found, is_all = self._left_in(kept.left_in)
        for attempt in Uploading(obstacles, put_off=self._put_off, until=until).attempts(found):
            if attempt.end in {End.UNREADABLE, End.REFUSED}:
                self._refusals.warn("file of a forked child", attempt.folder.name, attempt.why)
            elif attempt.end is End.LEFT:
                told = f"files that forked children logged are not uploaded yet: {attempt.why}"
                self._tell(told, attempt.folder.parent)
            is_all = is_all and attempt.end.is_over
            self._may_go_later |= attempt.end in {End.LEFT, End.IN_USE}
        return is_all

    def _tell(self, problem: str, folder: Path) -> None:
        """Warns of a problem once for as long as it lasts."""
        if not self._problem:
            log.warning("%s; it is kept in %s and will be sent later", problem, folder)
        self._problem = problem

    def _say_what_is_left(self) -> None:
        for folder in list(self._folders):
            with suppress(OSError):
                logged, uploads = left_in(folder, parent=self.name), kept.left_in(folder, parent=self.name)
                if logged or uploads:
                    log.warning(
                        "of forked children %d files with what they logged and %d uploads are not delivered, or their "
                        "processes still run; they are kept in %s: run `modelry sync`",
                        len(logged),
                        len(uploads),
                        folder,
                    )
