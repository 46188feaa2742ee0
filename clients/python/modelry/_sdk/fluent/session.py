"""What the fluent functions remember between calls: the clients, the experiment, and the active runs."""

from __future__ import annotations

import logging
import sys
import threading
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from modelry._sdk.client import Client
from modelry._sdk.fluent.active_run import ActiveRun
from modelry._sdk.fluent.ending import SIGNAL, Ending
from modelry._sdk.fluent.starting import ExperimentChoice, default_experiment
from modelry._sdk.nouns import arguments
from modelry._sdk.nouns.enums import RunStatus
from modelry._sdk.recording.buffer import Buffer
from modelry._sdk.recording.pool import RecorderPool
from modelry._sdk.transport import process, settings

log = logging.getLogger("modelry")


@dataclass(slots=True, eq=False)
class Opened:
    """A run that was made active, and where."""

    run: ActiveRun
    buffer: Buffer
    """That of the run: the shortest way from `log_metric` to memory."""
    thread: threading.Thread
    task: Any
    """The task of asyncio in which it was started, None if that was outside of tasks."""
    outer: Opened | None
    """What was active before in the same context, and is again after it."""
    above: Opened | None
    """What it is nested in, which another thread may have started."""
    over: bool = False

    def lives(self) -> bool:
        """Whether it is open, in a thread that still runs. What the main thread leaves ends with the process.

        Python marks the main thread as stopped before it waits for the other ones.
        """
        return not self.over and (self.thread.is_alive() or self.thread is threading.main_thread())

    def is_left_in(self, thread: threading.Thread, task: Any) -> bool:
        """Whether code of the thread started it that is not another task at work."""
        return self.thread is thread and (self.task is None or self.task is task or self.task.done())

    def path(self) -> list[Opened]:
        """Itself and what it is nested in, the innermost first, without what is over."""
        found: list[Opened] = []
        each: Opened | None = self
        while each is not None:
            if not each.over:
                found.append(each)
            each = each.above
        return found


class Session(process.Part):
    """The state of the fluent functions. A process has one, which `current` returns.

    Code works on the innermost run that its own thread or task has started, or the code that created the task. Other
    code, such as a helper thread or a pool, works on the innermost run that all open runs are nested in (or are), and
    on none if there is no such run. A task never works on the run of a task beside it.
    """

    def __init__(self) -> None:
        self.innermost: ContextVar[Opened | None] = ContextVar("modelry_run", default=None)
        self._pool = process.current().part(RecorderPool)
        self._ending = process.current().part(Ending)
        self._opened: list[Opened] = []
        """What is open, in the order of opening, also what ended threads have left: it ends with the process.

        No lock: a signal handler may come here at any time, and each change is one call of C.
        """
        self._had: set[str] = set()
        """The ids of all runs that this process has made active."""
        self._started: set[str] = set()
        self._told: set[str] = set()
        self._clients: dict[tuple[str, str], Client] = {}
        self._registry_uri = ""
        self._experiment: ExperimentChoice | None = None
        self._last_run: ActiveRun | None = None
        self.ends = False
        """Whether the runs were ended because the process ends: from then on only `start_run` starts one."""
        self._left: Opened | None = None
        """What code without a run of its own worked on when the process began to end."""

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
        """The experiment of new runs: the one that was set, else that of the environment, else the default.

        Raises InvalidArgument if `MODELRY_EXPERIMENT_ID` counts and can't be an id.
        """
        if self._experiment is not None:
            return self._experiment
        chosen = settings.read()
        if given := chosen.experiment_id.strip():
            if not arguments.is_experiment_id(given):
                raise settings.unreadable("MODELRY_EXPERIMENT_ID", given, arguments.EXPERIMENT_ID_FORM)
            return ExperimentChoice(given)
        if chosen.experiment_name:
            return ExperimentChoice(name=chosen.experiment_name, variable="MODELRY_EXPERIMENT_NAME")
        return default_experiment(chosen.workspace)

    def set_experiment(self, choice: ExperimentChoice) -> None:
        """Sets the experiment of new runs."""
        self._experiment = choice

    def active(self) -> ActiveRun | None:
        """The run that this code works on. None if there is none, or if it is not clear which."""
        found = self._own() or self._shared()
        return None if found is None else found.run

    def own(self) -> ActiveRun | None:
        """The innermost run of this thread or task, None if there is none."""
        found = self._own()
        return None if found is None else found.run

    def others(self) -> list[str]:
        """The ids of the runs that are open in this process."""
        return [opened.run.run_id for opened in list(self._opened) if opened.lives()]

    def ended_here(self) -> ActiveRun | None:
        """The run that this code worked on when the process began to end, None if there was none."""
        found = self.innermost.get() or self._left
        return None if found is None else found.run

    def tell_unclear(self, consequence: str) -> None:
        """Warns, once for each consequence and the open runs, that it is not clear which of these is meant."""
        self.tell_once(
            f"this thread or task has no run of its own, and {', '.join(self.others())} are open: {consequence}"
        )

    def tell_once(self, what: str) -> None:
        """Warns, if it did not before."""
        if what not in self._told:
            self._told.add(what)
            log.warning("%s", what)

    def last(self) -> ActiveRun | None:
        """The active run, else the one that was started last."""
        return self.active() or self._last_run

    def inherited_id(self) -> str:
        """The id in `MODELRY_RUN_ID`, if this process has not worked on that run yet. Else empty.

        So a program continues the run that it was given, once, and may itself set the variable for its children.
        Raises InvalidArgument if it can't be the id of a run.
        """
        given = settings.read().run_id.strip()
        if given and not arguments.is_run_id(given):
            raise settings.unreadable("MODELRY_RUN_ID", given, arguments.RUN_ID_FORM)
        return "" if given in self._had else given

    def has_started(self, run_id: str) -> bool:
        """Whether this process has started the run: another one, or its parent before a fork, may log to any other."""
        return run_id in self._started

    def push(self, run: ActiveRun, *, parent_run_id: str = "", of_task: bool = True) -> None:
        """Makes a run the innermost one of this thread or task; of the thread if it is not to be `of_task`."""
        process.current().prepare_exit()
        self._ending.watch()
        above = [each for each in self._opened if each.run.run_id == parent_run_id and not each.over]
        opened = Opened(
            run=run,
            buffer=run.buffer,
            thread=threading.current_thread(),
            task=_current_task() if of_task else None,
            outer=self._own(),
            above=above[-1] if above else None,
        )
        run.on_end = lambda _: self._remove(opened)
        self._had.add(run.run_id)
        if run.is_new:
            self._started.add(run.run_id)
        self._opened.append(opened)
        self.innermost.set(opened)
        self._last_run = run

    def let_go(self, run: ActiveRun) -> None:
        """Makes active what was before this run. The run goes on, and who keeps it ends it."""
        if run.on_end is not None:
            run.on_end(run)
            run.on_end = None

    def buffer_of(self, run_id: str) -> Buffer | None:
        """The buffer of any run, active or not. None, with a warning, for what can't be the id of a run."""
        found = self.client()
        recorder = self._pool.recorder(found._connection, found.workspace)
        name = arguments.converted(run_id)
        if arguments.is_run_id(name):
            return recorder.buffer(name)
        recorder.warn("run", name, f"what is logged to run {name!r}, which is not {arguments.RUN_ID_FORM}")
        return None

    def at_exit(self) -> None:
        """Ends the active runs as the process ends, or as the thread that has left them has ended."""
        self._left = self._own() or self._shared() or self._left
        self.ends = True
        of_process = self._ending.of_process()
        process.current().left_by_interrupt = of_process.tags.get(SIGNAL) == "SIGINT"
        for opened in reversed(list(self._opened)):
            of_thread = self._ending.of_thread(opened.thread)
            ended = of_process if of_thread.status is RunStatus.FINISHED else of_thread
            opened.run.end_soon(ended.status, ended.tags)

    def after_fork_in_child(self) -> None:
        """Keeps the runs: what a child logs belongs to the run that is active in the parent."""
        self.ends, self._left = False, None
        self._started.clear()
        found = self._own() or _shared_of([opened for opened in self._opened if not opened.over])
        self.innermost.set(found)
        self._opened = [] if found is None else list(reversed(found.path()))
        for opened in self._opened:
            opened.thread, opened.task = threading.current_thread(), None

    def _own(self) -> Opened | None:
        found = self.innermost.get()
        while found is not None and found.over:
            found = found.outer
        if found is not None or not self._opened:
            return found
        # Its context is gone, as with the cells of a notebook, but it belongs to this thread.
        thread, task = threading.current_thread(), _current_task()
        for opened in reversed(list(self._opened)):
            if not opened.over and opened.is_left_in(thread, task):
                return opened
        return None

    def _shared(self) -> Opened | None:
        found = _shared_of([opened for opened in list(self._opened) if opened.lives()])
        is_beside = found is not None and found.thread is threading.current_thread() and in_task()
        return None if is_beside else found

    def _client_of(self, uri: str) -> Client:
        key = (uri, settings.read().workspace)
        return self._clients.get(key) or self._clients.setdefault(key, Client(*key))

    def _remove(self, opened: Opened) -> None:
        opened.over = True
        with suppress(ValueError):
            self._opened.remove(opened)
        if self.innermost.get() is opened:
            self.innermost.set(opened.outer)


def _shared_of(opened: list[Opened]) -> Opened | None:
    """The innermost run that all of these are nested in, or are. None if there is none."""
    # Only the innermost of each thread and task count: what they are nested in is there by itself.
    tips = {(each.thread, each.task): each for each in opened}
    paths = [each.path() for each in tips.values()]
    for candidate in paths[0] if paths else []:
        if all(candidate in path for path in paths):
            return candidate
    return None


def _current_task() -> Any:
    """The task of asyncio that runs in this thread, None outside of tasks."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return None
    return asyncio.current_task()


def in_task() -> bool:
    """Whether this is code of a task of asyncio."""
    return _current_task() is not None


_current = process.current().part(Session)


def current() -> Session:
    """The session of this process."""
    return _current


def renew() -> Session:
    """Begins with a new session and a new state of the process, see `process.renew`. For tests."""
    global _current
    _current = process.renew().part(Session)
    return _current
