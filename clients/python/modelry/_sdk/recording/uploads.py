"""Uploads the copies of files that were kept, by a thread of their own.

So uploads that wait, because the artifacts service is away or stalls, hold up no metrics and no new runs. Each copy is
complete in the spool before it is queued here; a process that ends leaves it there for `modelry sync`.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from pathlib import Path

from modelry._sdk.files.local_files import Refuse
from modelry._sdk.files.transfer import Replaced
from modelry._sdk.recording.attempts import Attempt, End, Obstacles, PutOff, Uploading
from modelry._sdk.recording.refusals import Refusals
from modelry._sdk.spooling import kept
from modelry._sdk.spooling.kept import Kept
from modelry._sdk.transport.connection import Connection
from modelry._sdk.transport.interruptions import is_interrupted, start

log = logging.getLogger("modelry")

_SHORTEST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_LOOK_SECONDS = 0.5
_GRACE_SECONDS = 1.0
_BACKGROUND_SECONDS = 5.0


class Uploads:
    """The uploads of a recorder that wait. In a forked child they wait for its `parent`."""

    def __init__(
        self,
        connection: Connection,
        workspace: str,
        folder: Path,
        *,
        refusals: Refusals,
        parent: str | None,
    ) -> None:
        self._connection = connection
        self._server = {"address": connection.address.uri, "workspace": workspace, "parent": parent or ""}
        self._folder = folder
        self._refusals = refusals
        self._delivers = parent is None
        self._changed = threading.Condition()
        self._waiting: list[Kept] = []
        self._thread: threading.Thread | None = None
        self._wanted = self._tried = 0
        self._put_off = PutOff()
        self._passes = 0
        """How often all that waited was tried."""
        self._fails = False
        """Whether none of those that were tried last could be uploaded."""
        self._rests = False
        """Whether all that waits was put off, or waits behind what was."""

    def hold_up(self, owner: str, path: str) -> bool:
        """Whether what is written to a path now must wait: the server takes nothing, or a file there waits too."""
        with self._changed:
            return any(not made.chosen or self._fails or made.touches(owner, path) for made in self._waiting)

    def keep_files(
        self,
        owner: str,
        path: str,
        source: Path,
        *,
        whole: bool = False,
        refuse: Refuse | None = None,
        in_background: bool = False,
        chosen: bool = False,
        moves: bool = False,
        replaces: Replaced | None = None,
    ) -> None:
        """Copies a file, or what is in a folder, and uploads it later. Raises what `kept.keep_files` raises."""
        made = kept.keep_files(
            self._folder,
            self._server,
            owner,
            path,
            source,
            whole=whole,
            refuse=refuse,
            moves=moves,
            replaces=replaces,
        )
        if made.paths:
            self._add(replace(made, in_background=in_background, chosen=chosen))
        else:
            made.drop()

    def keep_content(self, owner: str, path: str, content: bytes, *, in_background: bool = False) -> None:
        """Keeps the content of a file and uploads it later. Raises OSError if it can't be kept."""
        made = kept.keep_content(self._folder, self._server, owner, path, content)
        self._add(replace(made, in_background=in_background))

    def deliver(self, timeout: float | None) -> bool:
        """Waits until nothing waits, at most so many seconds, or without a limit for one try; says whether it is so.

        A try that is under way, takes some seconds and fails counts as that one. What is uploaded in the background
        does not count: where nothing else waits, there is one short try. Where no thread can be started it tries once
        itself.
        """
        now = time.monotonic()
        until = None if timeout is None else now + timeout
        until_alone = now + _BACKGROUND_SECONDS
        with self._changed:
            if self._waiting:
                self._start()
            is_alone = bool(self._waiting) and self._thread is None
        if is_alone:
            self._try_all()
        with self._changed:
            first, done_before = self._wanted + 1, self._passes
            ask_at = 0.0
            while self._waiting:
                if time.monotonic() >= ask_at:  # not all the time, if it fails at once
                    self._wanted = max(first, self._tried + 1)
                    ask_at = time.monotonic() + _SHORTEST_PAUSE
                self._start()
                self._changed.notify_all()
                in_background = all(made.in_background for made in self._waiting)
                now = time.monotonic()
                left = _LOOK_SECONDS if until is None else until - now
                is_over = self._thread is None or left <= 0 or (in_background and now >= until_alone)
                is_tried = self._tried >= first and (until is None or self._rests or in_background)
                has_stalled = self._passes > done_before and self._fails and now >= until_alone
                is_tried |= until is None and has_stalled
                if is_over or is_tried or is_interrupted():
                    break
                self._changed.wait(min(left, _LOOK_SECONDS))
            return all(made.in_background for made in self._waiting)

    def finish(self, owner: str, path: str) -> None:
        """Waits for chosen uploads at, above or below a path, unless none can be done now."""
        with self._changed:
            if not self._is_coming(owner, path):
                return
            tried = self._wanted = max(self._wanted, self._tried) + 1
            while self._is_coming(owner, path) and not is_interrupted():
                self._start()
                self._changed.notify_all()
                if self._thread is None or (self._tried >= tried and (self._fails or self._rests)):
                    break
                self._changed.wait(_LOOK_SECONDS)

    def close(self, timeout: float) -> None:
        """Uploads what waits within so many seconds, and says what is left."""
        self.deliver(timeout)
        with self._changed:
            thread, left = self._thread, len(self._waiting)
            self._changed.notify_all()
        if thread is not None and not left:
            thread.join(_GRACE_SECONDS)
        if left:
            what = "1 upload is not done yet; it is" if left == 1 else f"{left} uploads are not done yet; they are"
            log.warning("%s kept in %s: run `modelry sync`", what, self._folder)

    def abandon(self) -> None:
        """Leaves the uploads that wait to `modelry sync`, and ends the thread."""
        with self._changed:
            self._waiting = []
            self._changed.notify_all()

    def _is_coming(self, owner: str, path: str) -> bool:
        return any(made.chosen and made.touches(owner, path) for made in self._waiting)

    def _add(self, made: Kept) -> None:
        if not self._delivers:
            return
        with self._changed:
            self._waiting.append(made)
            self._start()
            self._changed.notify_all()

    def _start(self) -> None:
        """Starts the thread; needs the lock. Where none can be started the copies are left to `modelry sync`."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="modelry-uploads", daemon=True)
            if problem := start(thread):
                log.debug("no thread for uploads: %s", problem)
            else:
                self._thread = thread

    def _run(self) -> None:
        pause = 0.0
        try:
            while self._await_work(pause):
                done = self._try_all()
                pause = 0.0 if done else min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, 2 * pause))
        finally:
            with self._changed:
                self._thread = None
                self._changed.notify_all()

    def _await_work(self, pause: float) -> bool:
        """Waits for the next time to try; False when nothing waits any more."""
        until = time.monotonic() + pause
        with self._changed:
            while self._waiting:
                left = until - time.monotonic()
                if left <= 0 or self._tried < self._wanted:
                    return True
                self._changed.wait(left)
            return False

    def _try_all(self) -> bool:
        """Tries each upload once, in order; says whether one was done."""
        with self._changed:
            number, waiting = self._wanted, list(self._waiting)
        for made in waiting:
            made.beat()
        uploading = Uploading(Obstacles(), connection=self._connection, put_off=self._put_off)
        ends: set[End] = set()
        for attempt in uploading.attempts([made.folder for made in waiting]):
            self._note(attempt)
            ends.add(attempt.end)
        with self._changed:
            self._tried = number
            self._passes += 1
            self._fails = bool(ends) and not any(end.is_over for end in ends)
            self._rests = End.PUT_OFF in ends and ends <= {End.PUT_OFF, End.WAITS}
            self._changed.notify_all()
        return any(end.is_over for end in ends)

    def _note(self, attempt: Attempt) -> None:
        """Notes what became of an upload, unless it waits."""
        is_over = attempt.end.is_over or attempt.end is End.UNREADABLE  # then it is left to `modelry sync`
        with self._changed:
            found = next((made for made in self._waiting if made.folder == attempt.folder), None)
            if is_over and found is not None:
                index = self._waiting.index(found)
                self._waiting[index : index + 1] = attempt.parts
                self._changed.notify_all()
        is_told = attempt.end in {End.REFUSED, End.UNREADABLE} and not (found is not None and found.in_background)
        if is_told:
            name = repr(found.paths[0]) if found is not None and found.paths else ""
            run_id = found.owner.removeprefix("runs/") if found is not None else ""
            self._refusals.warn("file", name, attempt.why, run_id=run_id)
        elif attempt.why:
            log.debug("%s: %s", attempt.folder, attempt.why)
