"""The recorders of this process: one for each server and workspace."""

from __future__ import annotations

import threading

from modelry._sdk.recording import at_exit as exits
from modelry._sdk.recording.recorder import Recorder
from modelry._sdk.transport import forks, settings
from modelry._sdk.transport.connection import Connection

_recorders: dict[tuple[int, str], Recorder] = {}
_lock = threading.Lock()


def recorder_of(connection: Connection, workspace: str) -> Recorder:
    """The recorder for what is logged over a connection; made when it is first asked for."""
    key = (id(connection), workspace)
    with _lock:
        if key not in _recorders:
            _recorders[key] = Recorder(connection, workspace, settings.read())
        return _recorders[key]


def flush_all(timeout: float | None) -> bool:
    """Waits until everything that was logged is durable, at most so many seconds for each; says whether it is."""
    return all([recorder.flush(timeout) for recorder in list(_recorders.values())])


def close_all() -> None:
    """Drains every recorder, within the limit of the settings."""
    limit = settings.read().exit_timeout
    for recorder in list(_recorders.values()):
        recorder.close(limit)


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    for recorder in _recorders.values():
        recorder.after_fork()


forks.on_child(_after_fork)
exits.at_exit(close_all)
