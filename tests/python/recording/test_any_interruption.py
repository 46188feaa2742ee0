"""Wherever the recorder's work is interrupted, by a lack of memory or by Ctrl-C: nothing is lost that it had taken."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import modelry
from modelry import Client
from modelry._sdk.fluent import session
from modelry._sdk.recording import sync
from tests.parts.deployment import Deployment, running
from tests.python.recording.scripts import use

PARTS = {"agenda.py", "buffer.py", "delivery.py", "holds.py", "numbering.py", "recorder.py", "source.py", "spool.py"}
POINTS = 50
MOST_LINES = 5_000
STRIDE = 3
"""Every third line is tried, which takes a quarter of a minute for each test."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with running("all", tmp_path_factory.mktemp("interrupted") / "own") as deployment:
        yield deployment


class Interrupter:
    """Calls something at one line, by its number among those that a thread runs in the recorder's modules."""

    def __init__(self, at: int, interrupt: Callable[[], None], *, thread: str) -> None:
        self._left = at
        self._interrupt = interrupt
        self._thread = thread
        self.is_armed = self.has_come = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        path = Path(frame.f_code.co_filename)
        is_part = path.name in PARTS and path.parent.name in {"recording", "spooling"}
        if not is_part or threading.current_thread().name != self._thread:
            return None
        if event == "line" and self.is_armed and not self.has_come:
            self._left -= 1
            if self._left < 0:
                self.has_come = True
                self._interrupt()
        return self


@contextmanager
def watched(interrupter: Interrupter) -> Iterator[None]:
    """Watches the lines of threads that begin meanwhile, and of this one."""
    threading.settrace(interrupter)
    sys.settrace(interrupter)
    try:
        yield
    finally:
        sys.settrace(None)
        threading.settrace(None)


def _no_memory() -> None:
    raise MemoryError


def _without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("modelry"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)


def _log_all(run: modelry.ActiveRun, interrupter: Interrupter) -> None:
    """Logs points and params in three parts; the second one is interrupted."""
    for part in range(3):
        for step in range(part * POINTS, (part + 1) * POINTS):
            run.log_metric("m", float(step), step=step)
        run.log_param(f"p{part}", part)
        if part != 1:
            run.flush(10)
            continue
        interrupter.is_armed = True
        with suppress(KeyboardInterrupt):
            run.flush(10)
        interrupter.is_armed = False


def _require_all(client: Client, run: modelry.ActiveRun, spool: Path) -> None:
    said = run.flush(10)
    if not said:
        run.recorder.close(10)
        sync.deliver(folder=spool)
    assert list(client.metrics.read(run.run_id, "m").steps) == list(range(3 * POINTS)), said
    assert client.runs.get(run.run_id).params == {f"p{part}": str(part) for part in range(3)}


def _interrupt_everywhere(shared: Deployment, spool: Path, interrupt: Callable[[], None], *, thread: str) -> None:
    """Interrupts one line after the other, each in a run of its own, until there are no more."""
    client = use(shared)
    for at in range(0, MOST_LINES, STRIDE):
        interrupter = Interrupter(at, interrupt, thread=thread)
        with watched(interrupter), modelry.start_run() as run:
            _log_all(run, interrupter)
            _require_all(client, run, spool)
        session.renew()
        use(shared)
        if not interrupter.has_come:
            return
    pytest.fail("there were always more lines")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_no_memory_at_any_line_of_the_recorder_loses_nothing(shared: Deployment, spool: Path) -> None:
    _interrupt_everywhere(shared, spool, _no_memory, thread="modelry-recorder")


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_at_any_line_of_a_flush_without_threads_loses_nothing(
    shared: Deployment, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_threads(monkeypatch)
    _interrupt_everywhere(shared, spool, lambda: signal.raise_signal(signal.SIGINT), thread="MainThread")
