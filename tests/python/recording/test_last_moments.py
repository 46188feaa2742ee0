"""The last moments of a process: threads and handlers that still log, Ctrl-C, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import pytest

import modelry
from modelry import Client
from modelry._sdk.recording import sync, uploads
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually
from tests.parts.faulty_server import faulty
from tests.python.recording.scripts import PATIENCE_S, run_script

NO_THREADS = """
import threading
def start(self):
    raise RuntimeError("can't create new thread at interpreter shutdown")
threading._register_atexit(lambda: setattr(threading.Thread, "start", start))
"""
LATE = """
import atexit

def late():
    modelry.log_metric("late", 1.0)
    modelry.log_param("p", "x")
    modelry.set_tag("t", "y")
    modelry.log_metric("later", 2.0)

atexit.register(late)  # called after the SDK's own
import modelry
modelry.start_run(run_name="first")
modelry.log_metric("early", 0.5)
"""


@pytest.mark.parametrize("threads", ["", NO_THREADS])
def test_what_the_last_handler_of_the_exit_logs_is_delivered(
    own_on_sqlite: Deployment, spool: Path, threads: str
) -> None:
    done = run_script(LATE + threads, own_on_sqlite.address, spool)

    (run,) = Client(own_on_sqlite.address).runs.search()
    assert (done.returncode, done.stderr) == (0, "")
    assert (run.metrics, run.params, run.tags["t"]) == ({"early": 0.5, "late": 1.0, "later": 2.0}, {"p": "x"}, "y")
    assert run.status == "FINISHED"


@pytest.mark.parametrize("threads", ["", NO_THREADS])
def test_what_it_logs_without_a_server_is_kept_and_told(own_on_sqlite: Deployment, spool: Path, threads: str) -> None:
    done = run_script(LATE + threads, "127.0.0.1:9", spool, MODELRY_START_TIMEOUT="1s", MODELRY_EXIT_TIMEOUT="1s")
    sync.deliver(own_on_sqlite.address, folder=spool)

    (run,) = Client(own_on_sqlite.address).runs.search()
    assert (run.metrics, run.params, run.tags["t"]) == ({"early": 0.5, "late": 1.0, "later": 2.0}, {"p": "x"}, "y")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert "run `modelry sync`" in done.stderr


OUTLIVING = """
import threading, time
import modelry
modelry.start_run(run_name="training")

def work():
    threading.main_thread().join()
    for step in range(50):
        modelry.log_metric("m", step, step=step)
        time.sleep(0.005)
    with modelry.start_run(run_name="child", nested=True):
        modelry.log_param("p", 1)

threading.Thread(target=work).start()
"""


def test_a_thread_that_outlives_the_main_one_logs_to_its_run(own_on_sqlite: Deployment, spool: Path) -> None:
    done = run_script(OUTLIVING, own_on_sqlite.address, spool)

    client = Client(own_on_sqlite.address)
    runs = {run.name: run for run in client.runs.search()}
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(runs) == ["child", "training"]
    assert (runs["training"].status, runs["training"].summaries["m"].point_count) == ("FINISHED", 50)
    assert runs["child"].parent_run_id == runs["training"].run_id


INTERRUPTED = """
import os, signal, sys
import modelry
modelry.start_run()
modelry.log_metric("m", 0.5)
{end}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGINT)\nsignal.pause()", -signal.SIGINT),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("try:\n    raise KeyboardInterrupt\nexcept KeyboardInterrupt:\n    pass", 0),
        ("try:\n    raise KeyboardInterrupt\nexcept KeyboardInterrupt:\n    sys.exit(3)", 3),
        ("1 / 0", 1),
    ],
)
def test_the_process_ends_as_it_would_without_the_sdk(
    own_on_sqlite: Deployment, spool: Path, end: str, code: int
) -> None:
    assert run_script(INTERRUPTED.format(end=end), own_on_sqlite.address, spool).returncode == code


def test_ctrl_c_in_the_first_moments_of_the_exit_ends_the_wait_for_a_server(
    own_on_sqlite: Deployment, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELRY_CONSOLE", "1")
    script = """
import sys
import modelry
run = modelry.start_run()
modelry.flush(20)
print(run.run_id, flush=True)
sys.stdin.readline()
modelry.log_metric("m", 0.5)
print("end", flush=True)
"""
    with faulty(own_on_sqlite.address) as server:
        monkeypatch.setenv("MODELRY_TRACKING_URI", server.address)
        with subprocess.Popen(
            [sys.executable, "-c", script], text=True, stdin=PIPE, stdout=PIPE, stderr=PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            run_id = process.stdout.readline().strip()
            waits: list[str] = []

            def stand_still(method: str, request: bytes) -> None:
                waits.append(method)
                server.ended.wait(60)

            server.rule = stand_still
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "end\n"
            eventually(lambda: bool(waits))
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
            took = time.monotonic() - began
    sync.deliver(own_on_sqlite.address, folder=spool)

    stored = Client(own_on_sqlite.address).runs.get(run_id)
    assert took < PATIENCE_S / 2  # the limit at exit is 30 s
    assert "Traceback" not in said
    assert (stored.metrics, stored.status) == ({"m": 0.5}, "FINISHED")


def test_a_try_that_stalls_while_a_flush_waits_is_the_only_one(
    own_on_sqlite: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_BACKGROUND_SECONDS", 0.5)
    monkeypatch.setenv("MODELRY_START_TIMEOUT", "1s")
    monkeypatch.setenv("MODELRY_TIMEOUT", "3s")
    with faulty(own_on_sqlite.address) as server:
        monkeypatch.setenv("MODELRY_TRACKING_URI", server.address)
        tries: list[float] = []
        with modelry.start_run() as run:
            modelry.log_metric("m", 0.5)
            assert run.flush(PATIENCE_S)

            def stand_still(method: str, request: bytes) -> None:
                if "Artifact" in method:
                    tries.append(time.monotonic())
                    server.ended.wait(60)

            server.rule = stand_still
            for number in range(3):
                modelry.log_text("a", f"{number}.txt")
            before = len(tries)
            eventually(lambda: len(tries) > before)
            began = time.monotonic()
            assert not run.flush()
            server.rule = lambda method, request: None
    assert len([moment for moment in tries if moment > began]) <= 1


OF_CHILD = """
import multiprocessing, sys, threading, time
import modelry

def target(is_own):
    if is_own:
        modelry.start_run(run_name="training")
    modelry.log_metric("m", 0.5)

    def work():
        for step in range(1, 11):
            time.sleep(0.02)
            modelry.log_metric("m", step, step=step)
        modelry.log_param("p", "last")

    threading.Thread(target=work).start()

if __name__ == "__main__":
    method, is_own = sys.argv[1:]
    is_own = is_own == "own"
    if not is_own:
        modelry.start_run(run_name="training")
    child = multiprocessing.get_context(method).Process(target=target, args=(is_own,))
    child.start()
    child.join()
    assert child.exitcode == 0
"""


@pytest.mark.parametrize(("method", "whose"), [("fork", "own"), ("forkserver", "own"), ("spawn", "own"), ("fork", "")])
def test_threads_that_outlive_the_function_of_a_child_lose_nothing(
    own_on_sqlite: Deployment, spool: Path, tmp_path: Path, method: str, whose: str
) -> None:
    (tmp_path / "script.py").write_text(OF_CHILD)
    settings = {**os.environ, "MODELRY_TRACKING_URI": own_on_sqlite.address, "MODELRY_SPOOL_DIR": str(spool)}

    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py"), method, whose],
        capture_output=True,
        text=True,
        timeout=60,
        env=settings,
        check=False,
    )
    sync.deliver(own_on_sqlite.address, folder=spool)

    (run,) = Client(own_on_sqlite.address).runs.search()
    assert (done.returncode, run.status) == (0, "FINISHED"), done.stderr
    assert (run.summaries["m"].point_count, run.params) == (11, {"p": "last"})
