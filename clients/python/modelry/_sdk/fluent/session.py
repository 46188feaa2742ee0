"""What the fluent functions remember between calls: the clients, the experiment, and the active runs."""

from __future__ import annotations

import sys
import threading

from modelry._sdk.client import Client
from modelry._sdk.fluent.active_run import ActiveRun, status_after
from modelry._sdk.fluent.starting import ExperimentChoice, default_experiment
from modelry._sdk.recording.buffer import Buffer
from modelry._sdk.recording.pool import RecorderPool
from modelry._sdk.transport import process, settings


class _Local(threading.local):
    buffer: Buffer | None = None
    """The buffer of the thread's innermost run: the shortest way from `log_metric` to memory."""

    def __init__(self) -> None:
        self.runs: list[ActiveRun] = []


class Session(process.Part):
    """The state of the fluent functions. A process has one, which `current` returns.

    A thread that has started runs works on the innermost of its own. A thread without runs works on the run of the only
    other thread that has one: a helper of the training loop logs to the run of the loop.
    """

    def __init__(self) -> None:
        self.local = _Local()
        self._pool = process.current().part(RecorderPool)
        self._lock = threading.Lock()
        self._stacks: list[tuple[threading.Thread, list[ActiveRun]]] = []
        """The runs of each thread that has some, also of threads that have ended: their runs end with the process."""
        self._clients: dict[tuple[str, str], Client] = {}
        self._registry_uri = ""
        self._experiment: ExperimentChoice | None = None
        self._last_run: ActiveRun | None = None

    @property
    def registry_uri(self) -> str:
        """The URI that was set for the registry, else that of the environment, else that of tracking."""
        tracking = process.current().tracking_uri
        given = dict(settings.service_uris(settings.parse_address(tracking)))
        return self._registry_uri or given.get("registry", tracking)

    def set_registry_uri(self, uri: str | None) -> None:
        """Sets the URI of the registry, if it is another server. None or an empty one undoes it."""
        if uri:
            settings.parse_address(uri, "registry URI")
        self._registry_uri = uri or ""

    def client(self) -> Client:
        """The client of the tracking URI and the workspace of the environment."""
        return self._client_of(process.current().tracking_uri)

    def registry_client(self) -> Client:
        """The client of the registry's URI."""
        return self._client_of(self._registry_uri) if self._registry_uri else self.client()

    def experiment(self) -> ExperimentChoice:
        """The experiment of new runs: the one that was set, else that of the environment, else the default."""
        if self._experiment is not None:
            return self._experiment
        chosen = settings.read()
        if chosen.experiment_id or chosen.experiment_name:
            return ExperimentChoice(chosen.experiment_id, "" if chosen.experiment_id else chosen.experiment_name)
        return default_experiment(chosen.workspace)

    def set_experiment(self, choice: ExperimentChoice) -> None:
        """Sets the experiment of new runs."""
        self._experiment = choice

    def active(self) -> ActiveRun | None:
        """The run that this thread works on. None if there is none, or if it is not clear which."""
        if own := self.own():
            return own
        with self._lock:
            stacks = [runs for thread, runs in self._stacks if thread.is_alive()]
            return stacks[0][-1] if len(stacks) == 1 else None

    def own(self) -> ActiveRun | None:
        """The innermost run that this thread started, None if there is none."""
        return self.local.runs[-1] if self.local.runs else None

    def last(self) -> ActiveRun | None:
        """The active run, else the one that was started last."""
        return self.active() or self._last_run

    def push(self, run: ActiveRun) -> None:
        """Makes a run the innermost one of this thread."""
        process.current().prepare_exit()
        run.on_end = self._remove
        with self._lock:
            if not self.local.runs:
                self._stacks.append((threading.current_thread(), self.local.runs))
            self.local.runs.append(run)
            self.local.buffer = run.buffer
            self._last_run = run

    def buffer_of(self, run_id: str) -> Buffer:
        """The buffer of any run, active or not."""
        found = self.client()
        return self._pool.recorder(found._connection, found.workspace).buffer(run_id)

    def at_exit(self) -> None:
        """Ends the active runs: FINISHED, or FAILED or KILLED if an error ended the process."""
        error = getattr(sys, "last_value", None)
        for _, runs in list(self._stacks):
            for run in reversed(list(runs)):
                run.end_soon(status_after(error if isinstance(error, BaseException) else None))

    def after_fork_in_child(self) -> None:
        """Keeps the runs: what a child logs belongs to the run that is active in the parent."""
        self._lock = threading.Lock()
        self._stacks = [(threading.current_thread(), runs) for _, runs in self._stacks]

    def _client_of(self, uri: str) -> Client:
        key = (uri, settings.read().workspace)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = Client(*key)
            return self._clients[key]

    def _remove(self, run: ActiveRun) -> None:
        with self._lock:
            for _, runs in self._stacks:
                if run in runs:
                    runs.remove(run)
            self._stacks = [stack for stack in self._stacks if stack[1]]
            self.local.buffer = self.local.runs[-1].buffer if self.local.runs else None


_current = process.current().part(Session)


def current() -> Session:
    """The session of this process."""
    return _current


def renew() -> Session:
    """Begins with a new session and a new state of the process, see `process.renew`. For tests."""
    global _current
    _current = process.renew().part(Session)
    return _current
