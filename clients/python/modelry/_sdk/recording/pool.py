"""The recorders of this process: one for each server and workspace."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace

from modelry._sdk.recording import afterwork
from modelry._sdk.recording.children import Children
from modelry._sdk.recording.recorder import Recorder
from modelry._sdk.transport import process, settings, unfinished
from modelry._sdk.transport.connection import Connection
from modelry._sdk.transport.interruptions import is_interrupted


class RecorderPool(process.Part):
    """Makes the recorders when they are first asked for, and flushes and closes all of them."""

    def __init__(self) -> None:
        self._children = process.current().part(Children)
        self._recorders: dict[tuple[int, str], Recorder] = {}

    def recorder(self, connection: Connection, workspace: str) -> Recorder:
        """The recorder for what is logged over a connection."""
        key = (id(connection), workspace)
        known = self._recorders.get(key)
        if known is None:  # No lock: a signal handler may come here at any time. The first one made is kept.
            chosen = settings.read()
            chosen = replace(chosen, spool_folder=self._children.folder or chosen.spool_folder)
            made = Recorder(connection, workspace, chosen, parent=self._parent)
            self._children.look_in(made.folder)
            known = self._recorders.setdefault(key, made)
        return known

    def flush(self, timeout: float | None) -> bool:
        """Waits until everything that was logged is on the server, also by forked children that have ended or flushed.

        At most so many seconds for all of it; says whether it is.
        """
        until = None if timeout is None else time.monotonic() + timeout
        flushed = [recorder.flush(_left(until)) for recorder in self._all()]
        return self._children.flush(_left(until)) and all(flushed)

    def catch_up(self, timeout: float) -> None:
        """Delivers what was logged, so that the next read finds it, within so many seconds for all of it.

        While no server answers it only tries once.
        """
        until = time.monotonic() + timeout
        for recorder in self._all():
            recorder.attempt(_left(until))
        self._children.deliver(_left(until))

    def settle(self, run_id: str, timeout: float) -> None:
        """Delivers what was logged to a run, so that a read finds it. While no server answers it does not wait."""
        for recorder in self._all():
            if recorder.has(run_id):
                recorder.settle(timeout)

    def finish_uploads(self, run_id: str, path: str) -> None:
        """Waits for uploads behind the training to a path of a run."""
        for recorder in self._all():
            recorder.uploads.finish(f"runs/{run_id}", path)

    def at_exit(self) -> None:
        """Drains every recorder, all of them within the limit of the settings."""
        until = time.monotonic() + settings.usable().exit_timeout
        for recorder in self._all():
            recorder.close(0.0 if is_interrupted() else max(0.0, until - time.monotonic()))

    def abandon(self) -> None:
        """Ends the recorders without a delivery."""
        for recorder in self._all():
            recorder.abandon()

    def after_fork_in_child(self) -> None:
        """Makes these the recorders of a forked child."""
        for recorder in self._recorders.values():
            recorder.after_fork(self._parent)

    @property
    def _parent(self) -> str | None:
        return self._children.name if process.current().inherits_grpc else None

    def _all(self) -> list[Recorder]:
        return list(self._recorders.values())


def _left(until: float | None) -> float | None:
    return None if until is None else max(0.0, until - time.monotonic())


def recorder_of(connection: Connection, workspace: str) -> Recorder:
    """The recorder of this process for what is logged over a connection."""
    return process.current().part(RecorderPool).recorder(connection, workspace)


def catch_up(timeout: float) -> None:
    """Delivers what was logged in this process; see `RecorderPool.catch_up`. Waits for what autologging has to do."""
    afterwork.finish()
    process.current().part(RecorderPool).catch_up(timeout)


def flush_all(timeout: float | None) -> bool:
    """Waits until everything that was logged in this process is on the server; see `RecorderPool.flush`."""
    until = None if timeout is None else time.monotonic() + timeout
    is_done = afterwork.finish(timeout)
    return process.current().part(RecorderPool).flush(_left(until)) and is_done


class _Background:
    """What this process does for runs; see `unfinished`."""

    def before_reading(self, run_id: str | None, path: str | None) -> None:
        """Waits for what autologging has to do, and for the files at the path or the records that were logged."""
        if afterwork.is_inside():
            return
        afterwork.catch_up(run_id, None if path is None else [path])
        pool = process.current().part(RecorderPool)
        if run_id is not None and path is not None:
            pool.finish_uploads(run_id, path)
        elif run_id is not None:
            pool.settle(run_id, settings.usable().timeout)

    def before_writing(self, run_id: str, paths: Collection[str]) -> None:
        """Waits for what autologging writes at the paths, and for uploads behind the training."""
        afterwork.catch_up(run_id, paths)
        if not afterwork.is_inside():
            for path in paths:
                process.current().part(RecorderPool).finish_uploads(run_id, path)


unfinished.register(_Background())
