"""Forks, also in the middle of a send: parent and child go on, and each point is there once."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import modelry
from modelry import Client
from modelry._sdk.recording import sync
from tests.parts.deployment import Deployment, running

POINTS = 300
CHILDREN = 6

SCRIPT = f"""
import os, sys, threading
import modelry

def log(key):
    for step in range({POINTS}):
        modelry.log_metric(key, step, step=step)

stop = threading.Event()
count = 0

def loop():
    global count
    while not stop.wait(0.002):
        for _ in range(200):
            modelry.log_metric("parent", 0.5, step=count)
            count += 1

with modelry.start_run() as run:
    thread = threading.Thread(target=loop)
    thread.start()
    {{body}}
    stop.set()
    thread.join()
print(run.id, count)
"""

BY_OS_FORK = f"""
    for number in range({CHILDREN}):
        pid = os.fork()
        if pid == 0:
            log(f"child{{number}}")
            if number % 2:
                sys.exit(0)
            os._exit(0 if modelry.flush(20) and modelry.get_run(run.id).status == "RUNNING" else 1)
        assert os.waitpid(pid, 0)[1] == 0
"""

BY_MULTIPROCESSING = f"""
    import multiprocessing
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=log, args=(f"child{{number}}",)) for number in range({CHILDREN})]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
        assert child.exitcode == 0
"""


@pytest.mark.parametrize("body", [BY_OS_FORK, BY_MULTIPROCESSING], ids=["os.fork", "multiprocessing"])
def test_children_log_to_the_run_of_their_parent_while_it_sends(
    client: Client, platform: Deployment, body: str
) -> None:
    script = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(body=body.strip())],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, **platform.environment()},
        check=False,
    )

    assert script.returncode == 0, script.stderr
    run_id, count = script.stdout.split()
    logged = {series.key: list(series.steps) for _, series in client.metrics.read_many([run_id])}
    assert logged.pop("parent") == list(range(int(count)))
    assert logged == {f"child{number}": list(range(POINTS)) for number in range(CHILDREN)}
    assert client.runs.get(run_id).status == "FINISHED"


@pytest.mark.usefixtures("fluent")
def test_a_program_that_is_started_meanwhile_disturbs_nothing() -> None:
    with modelry.start_run() as run:
        for step in range(5):
            modelry.log_metric("m", 0.5, step=step)
            assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, check=True).stdout == b"1\n"

    assert modelry.get_run(run.id).summaries["m"].point_count == 5


@pytest.mark.usefixtures("fluent")
def test_a_spawned_child_logs_too() -> None:
    with modelry.start_run() as run:
        child = multiprocessing.get_context("spawn").Process(target=_log_elsewhere, args=(run.id,))
        child.start()
        child.join(60)

    assert child.exitcode == 0
    assert modelry.get_run(run.id).metrics == {"spawned": 0.5}


def _log_elsewhere(run_id: str) -> None:
    assert threading.active_count() == 1
    modelry.log_metric("spawned", 0.5, run_id=run_id)


IN_A_CALL = """
import os, signal, sys, threading
import modelry
from modelry._sdk.transport import forks

forks.PATIENCE_SECONDS = 0.2
server = int(sys.argv[1])
run = modelry.start_run()
os.kill(server, signal.SIGSTOP)
entered = threading.Event()

def ask():
    entered.set()
    modelry.Client().runs.get(run.id)

thread = threading.Thread(target=ask)
thread.start()
entered.wait()
while not forks._foreground:
    pass
pid = os.fork()
if pid == 0:
    modelry.log_metric("child", 0.5)
    try:
        modelry.Client().runs.get(run.id)
    except modelry.errors.Unavailable as error:
        print(error.reason, flush=True)
    sys.exit(0)
print(os.waitpid(pid, 0)[1])
os.kill(server, signal.SIGCONT)
thread.join()
print(run.id)
"""


def test_a_child_whose_parent_is_in_a_call_spools_instead_of_hanging(tmp_path: Path) -> None:
    with running("all", tmp_path / "own") as own:
        spool = tmp_path / "spool"
        script = subprocess.run(
            [sys.executable, "-c", IN_A_CALL, str(own.process("all").pid)],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "MODELRY_TRACKING_URI": own.address, "MODELRY_SPOOL_DIR": str(spool)},
            check=False,
        )
        assert script.returncode == 0, script.stderr
        reason, status, run_id = script.stdout.split()
        report = sync.deliver(folder=spool)
        logged = Client(own.address).runs.get(run_id).metrics

    assert (reason, status) == ("FORKED_IN_CALL", "0")
    assert "modelry sync" in script.stderr
    assert (report.files_delivered, report.requests_left) == (1, 0)
    assert logged == {"child": 0.5}
