"""Delivers what forked children of this process log, because they must not use gRPC themselves."""

from __future__ import annotations

import logging
import sys
import threading
import time
from contextlib import suppress

from modelry._sdk.recording import ids, kept
from modelry._sdk.recording.refusals import Refusals
from modelry._sdk.recording.spool import Spool, left_in
from modelry._sdk.recording.sync import SpoolFile, is_for_good, opened, upload
from modelry._sdk.transport import process, settings
from modelry.errors import DeadlineExceeded, ModelryError

log = logging.getLogger("modelry")

LOOK_SECONDS = 2.0
_LONGEST_PAUSE = 30.0


class Children(process.Part):
    """The spools of this process's forked children, which a thread delivers from the first fork on.

    A child writes a spool that carries `name`, and closes it every few seconds and at its end. Grandchildren belong to
    the same parent, because their own parents can't deliver either.
    """

    def __init__(self) -> None:
        self._begin("" if process.current().inherits_grpc else ids.process_name())

    def _begin(self, name: str) -> None:
        self.name = name
        """What this process, or the ancestor that delivers for it, is called in names of spools. Empty: nobody does."""
        self._lock = threading.Lock()
        self._delivers: threading.Thread | None = None
        self._refusals = Refusals()
        self._thread: threading.Thread | None = None
        self._concluded = False
        self._awaits_multiprocessing = False
        self._problem = ""

    def after_fork_in_parent(self) -> None:
        """Starts the thread, if children can't use gRPC from now on."""
        if "grpc" not in sys.modules or process.current().inherits_grpc:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="modelry-children", daemon=True)
            with suppress(RuntimeError):  # Python 3.12 starts no thread while it ends.
                self._thread.start()
        util = sys.modules.get("multiprocessing.util")
        if util is not None and not self._awaits_multiprocessing:
            # At exit multiprocessing ends its children and waits for them. This is called after that.
            self._awaits_multiprocessing = True
            util.Finalize(None, self._after_multiprocessing, exitpriority=-100)

    def after_fork_in_child(self) -> None:
        """Leaves the delivery to the parent, unless this child can use gRPC."""
        self._begin(self.name if process.current().inherits_grpc else ids.process_name())

    def deliver(self, timeout: float | None = None) -> bool:
        """Delivers the spools that children have closed, for at most so many seconds; says whether none is left."""
        if self._thread is None:
            return True
        if self._delivers is threading.current_thread():
            return False  # a signal handler that interrupted the delivery itself can't wait for it
        until = None if timeout is None else time.monotonic() + timeout
        if not self._lock.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            return False
        self._delivers = threading.current_thread()
        try:
            return self._deliver(until)
        finally:
            self._delivers = None
            self._lock.release()

    def at_exit(self) -> None:
        """Delivers what is there, and says what is left."""
        if self._thread is None:
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

    def _watch(self) -> None:
        pause, waits = LOOK_SECONDS, threading.Event()
        while not waits.wait(pause):
            whole = self.deliver()
            pause = LOOK_SECONDS if whole else min(_LONGEST_PAUSE, 2 * pause)

    def _deliver(self, until: float | None) -> bool:
        try:
            found = left_in(settings.usable().spool_folder, parent=self.name)
        except OSError as problem:
            self._tell(f"the spools of forked children can't be read: {problem}")
            return False
        obstacle: ModelryError | None = None
        for path in found:
            unreadable: list[str] = []
            spools, _ = opened([path], unreadable)
            for text in unreadable:
                self._refusals.warn("spool of a forked child", path.name, text)
            for spool in spools:
                obstacle = self._deliver_one(spool, until)
            if obstacle is not None:
                # The rest waits: what one child logged must be delivered in order.
                self._tell(f"what forked children logged is not delivered yet: {obstacle.message}")
                return False
        obstacle = self._upload(until)
        if obstacle is not None:
            self._tell(f"files that forked children logged are not uploaded yet: {obstacle.message}")
            return False
        self._problem = ""
        return True

    def _upload(self, until: float | None) -> ModelryError | None:
        for path in kept.left_in(settings.usable().spool_folder, parent=self.name):
            if until is not None and time.monotonic() >= until:
                return DeadlineExceeded("the time for the delivery is up")
            try:
                obstacle = upload(kept.opened(path))
            except FileNotFoundError:
                continue  # another process has uploaded it
            except OSError as problem:
                self._refusals.warn("file of a forked child", path.name, str(problem))
                continue
            if obstacle is not None and is_for_good(obstacle):
                self._refusals.warn("file of a forked child", path.name, obstacle.message)
            elif obstacle is not None:
                return obstacle
        return None

    def _deliver_one(self, spool: Spool, until: float | None) -> ModelryError | None:
        source = SpoolFile(spool)
        obstacle = source.deliver(go_on=lambda: until is None or time.monotonic() < until)
        for reason, message in source.refusals.items():
            self._refusals.warn(f"request of a forked child ({reason})", spool.path.name, message)
        if obstacle is not None:
            spool.close()
        elif damage := spool.remove():
            log.warning("%s: %s", spool.path.name, damage)
        return obstacle

    def _tell(self, problem: str) -> None:
        """Warns of a problem once for as long as it lasts."""
        if not self._problem:
            log.warning("%s; it is kept in %s and will be sent later", problem, settings.usable().spool_folder)
        self._problem = problem

    def _say_what_is_left(self) -> None:
        folder = settings.usable().spool_folder
        with suppress(OSError):
            if left := [*left_in(folder, parent=self.name), *kept.left_in(folder, parent=self.name)]:
                log.warning(
                    "%d spools of forked children are not delivered, or their processes still run; they are kept in "
                    "%s: run `modelry sync`",
                    len(left),
                    folder,
                )
