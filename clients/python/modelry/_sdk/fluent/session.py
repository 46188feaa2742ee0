"""What the fluent functions remember between calls: the server, the experiment, and the runs that are on.

A thread that started runs works on its own innermost one. A thread that started none works on that of the other threads
where there is only one such thread: a helper of the training loop logs to the loop's run.
"""

from __future__ import annotations

import importlib
import sys
import threading

from modelry._sdk.client import Client
from modelry._sdk.fluent.active_run import ActiveRun, status_after
from modelry._sdk.fluent.starting import ExperimentChoice, default_experiment
from modelry._sdk.recording import at_exit as exits
from modelry._sdk.recording.buffer import Buffer
from modelry._sdk.recording.recorders import recorder_of
from modelry._sdk.transport import forks, settings


class _Local(threading.local):
    buffer: Buffer | None = None
    """The buffer of the thread's innermost run, for the shortest way from `log_metric` to memory."""

    def __init__(self) -> None:
        self.runs: list[ActiveRun] = []


local = _Local()
_lock = threading.Lock()
_stacks: list[tuple[threading.Thread, list[ActiveRun]]] = []
"""The runs of each thread that has some, also of threads that are gone: their runs end when the process does."""
_clients: dict[tuple[str, str], Client] = {}
_registry_uri = ""
_experiment: ExperimentChoice | None = None
_last_run: ActiveRun | None = None


def registry_uri() -> str:
    """The URI that was set for the registry, else that of the environment, else that of tracking."""
    tracking = settings.tracking_uri()
    return _registry_uri or dict(settings.room_uris(settings.parse_address(tracking))).get("registry", tracking)


def set_registry_uri(uri: str | None) -> None:
    """Sets the URI of the registry, where it is another one; None or an empty one undoes it. Raises InvalidArgument."""
    global _registry_uri
    if uri:
        settings.parse_address(uri, "registry URI")
    _registry_uri = uri or ""


def client() -> Client:
    """The client of the tracking URI and the workspace of the environment."""
    return _client_of(settings.tracking_uri())


def registry_client() -> Client:
    """The client of the registry's URI."""
    return _client_of(_registry_uri) if _registry_uri else client()


def _client_of(uri: str) -> Client:
    key = (uri, settings.read().workspace)
    with _lock:
        if key not in _clients:
            _clients[key] = Client(*key)
        return _clients[key]


def experiment() -> ExperimentChoice:
    """Where runs go: what was set, else the environment's choice, else the default experiment."""
    if _experiment is not None:
        return _experiment
    chosen = settings.read()
    if chosen.experiment_id or chosen.experiment_name:
        return ExperimentChoice(chosen.experiment_id, "" if chosen.experiment_id else chosen.experiment_name)
    return default_experiment(chosen.workspace)


def set_experiment(choice: ExperimentChoice) -> None:
    """Sets where runs go."""
    global _experiment
    _experiment = choice


def active() -> ActiveRun | None:
    """The run that this thread works on, None where none is on or where it isn't clear which."""
    if local.runs:
        return local.runs[-1]
    with _lock:
        stacks = [runs for thread, runs in _stacks if thread.is_alive()]
        return stacks[0][-1] if len(stacks) == 1 else None


def last() -> ActiveRun | None:
    """The run that is on, else the one that was started last."""
    return active() or _last_run


def push(run: ActiveRun) -> None:
    """Makes a run the innermost one of this thread."""
    global _last_run
    exits.prepare()
    _load_what_threads_use()
    run.on_end = _remove
    with _lock:
        if not local.runs:
            _stacks.append((threading.current_thread(), local.runs))
        local.runs.append(run)
        local.buffer = run.buffer
        _last_run = run


def _load_what_threads_use() -> None:
    """Loads what logging needs before threads do: a fork in the middle of an import leaves its lock to the child."""
    for name in ("fluent.logging", "transport.status"):
        importlib.import_module(f"modelry._sdk.{name}")


def buffer_of(run_id: str) -> Buffer:
    """The buffer of any run, on or not."""
    found = client()
    return recorder_of(found._connection, found.workspace).buffer(run_id)


def _remove(run: ActiveRun) -> None:
    with _lock:
        for _, runs in _stacks:
            if run in runs:
                runs.remove(run)
        _stacks[:] = [stack for stack in _stacks if stack[1]]
        local.buffer = local.runs[-1].buffer if local.runs else None


def _end_all() -> None:
    """Ends what is on when the process ends: FAILED or KILLED where an error ended it."""
    error = getattr(sys, "last_value", None)
    for _, runs in list(_stacks):
        for run in reversed(list(runs)):
            run.end_soon(status_after(error if isinstance(error, BaseException) else None))


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    # The threads of the parent are not here, but what the child logs belongs to the run that was on.
    _stacks[:] = [(threading.current_thread(), runs) for _, runs in _stacks]


exits.at_exit(_end_all)
forks.on_child(_after_fork)
