"""What goes wrong on the own machine: a full disk, Ctrl-C, another delivery, a clock that is set back."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE
from typing import Any

import grpc
import pytest

import modelry
from modelry import Client
from modelry._sdk.recording import spooled, sync
from modelry._sdk.recording.agenda import Agenda
from modelry._sdk.recording.attempts import End, Obstacles
from modelry._sdk.recording.source import Backlog
from modelry._sdk.recording.spooled import Delivering
from modelry._sdk.spooling import holders, ids, queued, undelivered
from modelry._sdk.spooling.queued import QueuedRequest
from modelry._sdk.spooling.spool import Spool
from modelry.api.tracking import v1 as tracking
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually
from tests.parts.faulty_server import faulty
from tests.python.recording.scripts import PATIENCE_S, run_script, use


def _tag(run_id: str, value: str) -> QueuedRequest:
    return QueuedRequest(
        queued.LOG_BATCH, tracking.LogBatchRequest(run_id=run_id, tags={"t": value}).SerializeToString()
    )


def _leave(folder: Path, address: str, *requests: QueuedRequest) -> Spool:
    made = Spool.create(folder, {"address": address, "workspace": "default"})
    made.append(requests)
    made.close()
    return made


class _Disk:
    """A disk on which no new spool can be made while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        create = Spool.create

        def made(*arguments: Any, **options: Any) -> Spool:
            if self.is_full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return create(*arguments, **options)

        monkeypatch.setattr(Spool, "create", made)


def test_what_can_not_be_set_aside_stays_in_memory(
    own_on_sqlite: Deployment, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, disk = use(own_on_sqlite), _Disk(monkeypatch)
    gone, other = client.runs.create().run_id, client.runs.create().run_id
    client.runs.delete(gone)
    with modelry.start_run() as run:
        assert modelry.flush(PATIENCE_S)
        disk.is_full = True
        run.recorder.buffer(gone).add(_tag(gone, "1"))
        run.recorder.buffer(other).add(_tag(other, "1"))
        eventually(lambda: client.runs.get(other).tags == {"t": "1"})
        while_full = modelry.flush(1.0)
        disk.is_full = False
        run.recorder.buffer(other).add(_tag(other, "2"))
        eventually(lambda: modelry.flush(1.0))
    run.recorder.close(5)
    client.runs.restore(gone)
    report = sync.deliver(folder=spool)

    assert (while_full, report.requests_delivered, report.files_left) == (False, 1, 0)
    assert client.runs.get(gone).tags == {"t": "1"}


def test_a_full_disk_holds_up_only_what_the_same_process_logged(
    own_on_sqlite: Deployment, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, disk = use(own_on_sqlite), _Disk(monkeypatch)
    gone, good, other = (client.runs.create().run_id for _ in range(3))
    client.runs.delete(gone)
    me = holders.me()
    for process, requests in (("9999991", [_tag(gone, "1"), _tag(good, "1")]), ("9999992", [_tag(other, "1")])):
        monkeypatch.setattr(holders, "me", lambda process=process: {**me, "process": process, "started": "1"})
        _leave(spool, own_on_sqlite.address, *requests)
    monkeypatch.setattr(holders, "me", lambda: me)

    disk.is_full = True
    report = sync.deliver(folder=spool)

    assert client.runs.get(other).tags == {"t": "1"}
    assert report.files_left == 1
    assert "No space left" in report.problems[0]


def test_a_run_with_very_many_entries_that_can_not_start_holds_up_no_other(
    own_on_sqlite: Deployment, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooled, "_PAUSE_SECONDS", 0.001)
    client = use(own_on_sqlite)
    other, poisoned = client.runs.create().run_id, "0" * 31 + "1"
    start = tracking.CreateRunRequest(experiment_id="0", run_id=poisoned)
    entries = [_tag(poisoned, str(number)) for number in range(1_100)]
    with faulty(own_on_sqlite.address) as server:
        server.rule = lambda method, request: (
            grpc.StatusCode.INTERNAL if method == queued.CREATE_RUN and poisoned.encode() in request else None
        )
        start_it = QueuedRequest(queued.CREATE_RUN, start.SerializeToString())
        _leave(spool, server.address, start_it, *entries, _tag(other, "1"))
        report = sync.deliver(folder=spool)
        arrived = client.runs.get(other).tags
        server.rule = lambda method, request: None
        sync.deliver(folder=spool)

    assert (arrived, report.requests_left) == ({"t": "1"}, 1_101)
    assert client.runs.get(poisoned).tags == {"t": "1099"}


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_in_sync_leaves_no_lock(own_on_sqlite: Deployment, spool: Path) -> None:
    client = use(own_on_sqlite)
    run_id = client.runs.create().run_id
    _leave(spool, own_on_sqlite.address, _tag(run_id, "1"), _tag(run_id, "2"))

    with pytest.raises(KeyboardInterrupt):
        sync.deliver(folder=spool, progress=lambda done, total: signal.raise_signal(signal.SIGINT))
    report = sync.deliver(folder=spool)

    assert (report.files_in_use, report.files_left) == (0, 0)
    assert client.runs.get(run_id).tags == {"t": "2"}


def test_a_spool_that_was_just_taken_holds_up_the_next_one_of_its_process(
    own_on_sqlite: Deployment, spool: Path
) -> None:
    client = use(own_on_sqlite)
    run_id = client.runs.create().run_id
    files = [_leave(spool, own_on_sqlite.address, _tag(run_id, value)).path for value in ("1", "2")]
    listed = [files[0].with_name(files[0].name.replace(".spool", ".open.spool")), files[1]]
    taken = Spool.open(files[0])

    ends = [attempt.end for attempt in Delivering(Obstacles()).attempts(listed)]
    taken.close()
    sync.deliver(folder=spool)

    assert ends == [End.IN_USE, End.WAITS]
    assert client.runs.get(run_id).tags == {"t": "2"}


def test_names_are_in_order_although_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ids.moment()
    monkeypatch.setattr(time, "time_ns", lambda: first - 3_000_000_000)

    assert first < ids.moment() < ids.moment()


def test_what_is_logged_after_the_end_stays_behind_what_is_left(own_on_sqlite: Deployment, spool: Path) -> None:
    client = Client(own_on_sqlite.address)
    with faulty(own_on_sqlite.address) as server:
        modelry.set_tracking_uri(server.address)
        with modelry.start_run() as run:
            assert modelry.flush(PATIENCE_S)
            server.rule = lambda method, request: grpc.StatusCode.UNAVAILABLE
            run.set_tag("t", "1")
            run.recorder.close(0.5)
            server.rule = lambda method, request: None
            run.set_tag("t", "2")
            complete = run.flush(2)
        run.recorder.close(2)
        sync.deliver(folder=spool)

    assert complete is False
    assert client.runs.get(run.run_id).tags["t"] == "2"


def test_a_lack_of_memory_while_looking_for_news_forgets_none(
    own_on_sqlite: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = use(own_on_sqlite)
    with modelry.start_run() as run:
        assert modelry.flush(PATIENCE_S)
        look, failing = Agenda.all, [True]

        def fail_once(agenda: Agenda) -> Any:
            if failing:
                failing.clear()
                raise MemoryError
            return look(agenda)

        monkeypatch.setattr(Agenda, "all", fail_once)
        run.log_param("p", 1)

        eventually(lambda: client.runs.get(run.run_id).params == {"p": "1"})
    assert not failing


AT_EXIT = """
import atexit, signal, sys
import modelry
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGUSR1, lambda number, frame: print("handled", flush=True))
run = modelry.start_run()
modelry.flush(20)
print(run.run_id, flush=True)
sys.stdin.readline()
modelry.log_metric("m", 0.5)
modelry.log_param("p", 1)
atexit.register(print, "end", flush=True)  # called just before the SDK's own
"""


def test_ctrl_c_while_the_process_waits_at_its_end_loses_nothing(
    own_on_sqlite: Deployment, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(own_on_sqlite.address)
    with faulty(own_on_sqlite.address) as server:
        monkeypatch.setenv("MODELRY_TRACKING_URI", server.address)
        command = [sys.executable, "-c", AT_EXIT]
        with subprocess.Popen(command, text=True, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            run_id = process.stdout.readline().strip()
            waits: list[str] = []
            server.rule = _standing_still(server.ended, waits)
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "end\n"
            eventually(lambda: bool(waits))
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
    report = sync.deliver(own_on_sqlite.address, folder=spool)

    stored = client.runs.get(run_id)
    assert (stored.params, stored.status, report.files_left) == ({"p": "1"}, "FINISHED", 0)
    assert "run `modelry sync`" in said


EARLY_CTRL_C = """
import atexit, signal, sys
import modelry
signal.signal(signal.SIGINT, signal.default_int_handler)
modelry.start_run()
modelry.flush(20)
modelry.log_param("p", 1)

def interrupt(frame, event, argument):
    if event == "call" and frame.f_code.co_name == "at_exit":
        sys.setprofile(None)
        signal.raise_signal(signal.SIGINT)

atexit.register(sys.setprofile, interrupt)  # called just before the SDK's own
"""


def test_ctrl_c_just_before_the_end_of_the_process_is_told_loses_nothing(
    own_on_sqlite: Deployment, spool: Path
) -> None:
    client = Client(own_on_sqlite.address)

    done = run_script(EARLY_CTRL_C, own_on_sqlite.address, spool)
    sync.deliver(own_on_sqlite.address, folder=spool)

    assert "KeyboardInterrupt" in done.stderr
    assert [(run.status, run.params) for run in client.runs.search()] == [("FINISHED", {"p": "1"})]


def test_a_signal_whose_handler_raises_nothing_ends_no_delivery_at_the_end(
    own_on_sqlite: Deployment, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(own_on_sqlite.address)
    with faulty(own_on_sqlite.address) as server:
        monkeypatch.setenv("MODELRY_TRACKING_URI", server.address)
        command = [sys.executable, "-c", AT_EXIT]
        with subprocess.Popen(command, text=True, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            run_id = process.stdout.readline().strip()
            waits, goes_on = threading.Event(), threading.Event()

            def rule(method: str, request: bytes) -> None:
                waits.set()
                goes_on.wait(20)

            server.rule = rule
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "end\n"
            assert waits.wait(20)
            process.send_signal(signal.SIGUSR1)
            assert process.stdout.readline() == "handled\n"
            goes_on.set()
            _, said = process.communicate(timeout=30)

    stored = client.runs.get(run_id)
    assert (stored.params, stored.status, said) == ({"p": "1"}, "FINISHED", "")


LATE_HANDLER = """
import signal
import modelry
from modelry._sdk.transport import process

class Late(process.Part):  # told after all others, as it is made before them
    came = 0

    def at_exit(self):
        if not self.came:
            signal.raise_signal(signal.SIGUSR1)
        self.came += 1

process.current().part(Late)
signal.signal(signal.SIGUSR1, lambda number, frame: modelry.log_metric("late", 1.0))
modelry.start_run(run_name="first")
modelry.log_metric("m", 0.5)
"""


def test_what_a_handler_logs_after_the_runs_were_ended_is_delivered(own_on_sqlite: Deployment, spool: Path) -> None:
    client = Client(own_on_sqlite.address)

    done = run_script(LATE_HANDLER, own_on_sqlite.address, spool)

    assert (done.returncode, done.stderr) == (0, "")
    assert [(run.status, run.metrics) for run in client.runs.search()] == [("FINISHED", {"m": 0.5, "late": 1.0})]


DAEMON = """
import threading, time
import modelry

def log(begin):
    begin()
    for number in range(10**9):
        modelry.log_metric("of_the_thread", number)
        time.sleep(0.0005)

if WHOSE == "shared":
    modelry.start_run()
threading.Thread(target=log, args=[modelry.start_run if WHOSE == "own" else int], daemon=True).start()
time.sleep(1)
"""


@pytest.mark.parametrize("whose", ["own", "shared"])
def test_a_thread_that_logs_while_the_process_ends_starts_no_run(
    own_on_sqlite: Deployment, spool: Path, whose: str
) -> None:
    client = Client(own_on_sqlite.address)

    for _ in range(3):
        done = run_script(f"WHOSE = {whose!r}\n{DAEMON}", own_on_sqlite.address, spool)
        assert (done.returncode, done.stderr) == (0, "")

    assert [run.status for run in client.runs.search()] == ["FINISHED"] * 3


def test_a_handler_that_flushes_while_it_is_sent_without_a_thread_leaves_all_in_the_spool(
    own_on_sqlite: Deployment, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, seen = use(own_on_sqlite), list[object]()
    run = modelry.start_run()
    run.flush(20)
    recorder, idle = run.recorder, Backlog.idle
    recorder.abandon()

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def signaled(backlog: Backlog) -> bool:
        if not seen:
            seen.append("came")
            signal.raise_signal(signal.SIGUSR1)
        return idle(backlog)

    def handler(number: int, frame: object) -> None:
        seen.append(recorder.attempt(10))
        seen.append([each.entries for each in undelivered.undelivered(spool)])

    before = signal.signal(signal.SIGUSR1, handler)
    with monkeypatch.context() as patches:
        patches.setattr(threading.Thread, "start", refuse)
        patches.setattr(Backlog, "idle", signaled)
        run.log_param("p", 1)
        said = recorder.attempt(20)
    signal.signal(signal.SIGUSR1, before)

    assert (seen, said) == (["came", False, [1]], True)
    assert client.runs.get(run.run_id).params == {"p": "1"}


def _standing_still(ended: Any, waits: list[str]) -> Callable[[str, bytes], grpc.StatusCode]:
    def rule(method: str, request: bytes) -> grpc.StatusCode:
        waits.append(method)
        ended.wait(20)
        return grpc.StatusCode.UNAVAILABLE

    return rule
