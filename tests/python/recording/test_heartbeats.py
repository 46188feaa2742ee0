"""The state of a run is that of its process: killed, stopped, cut off, or at work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import modelry
from modelry import Client
from modelry._sdk.recording.heartbeats import Heartbeats
from modelry._sdk.spooling import ids
from modelry.errors import InvalidArgument
from tests.parts.deployment import Deployment, running
from tests.parts.eventually import eventually
from tests.python.recording.scripts import start_again, use

_TRAINING = """
import os, sys, threading, modelry
run = modelry.start_run()
modelry.log_metric("loss", 0.5)
modelry.flush()
{body}
print(run.run_id, flush=True)
threading.Event().wait()
"""
_SOON_LOST = {"tracking.lost-interval": "0.2s"}

Training = Callable[..., tuple["subprocess.Popen[str]", str]]


@pytest.fixture
def own(database_url: str, tmp_path: Path) -> Iterator[Deployment]:
    """A platform on each database that notices within moments."""
    urls = {room: database_url for room in ("tracking",)}
    with running("all", tmp_path / "own", urls, _SOON_LOST) as deployment:
        yield deployment


@pytest.fixture
def own_on_sqlite(tmp_path: Path) -> Iterator[Deployment]:
    with running("all", tmp_path / "own", settings=_SOON_LOST) as deployment:
        yield deployment


@pytest.fixture
def training(spool: Path) -> Iterator[Training]:
    """Starts a training with heartbeats each second; answers with its process and the id of its run."""
    started: list[subprocess.Popen[str]] = []

    def start(deployment: Deployment, body: str = "", **environment: str) -> tuple[subprocess.Popen[str], str]:
        settings = {"MODELRY_TRACKING_URI": deployment.address, "MODELRY_SPOOL_DIR": str(spool)}
        settings |= {"MODELRY_HEARTBEAT_PERIOD": "1s", **environment}
        command = [sys.executable, "-c", _TRAINING.format(body=body)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **settings})
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def becomes(client: Client, run_id: str, status: str) -> None:
    eventually(lambda: client.runs.get(run_id).status == status, within_s=60.0)


def has_a_heartbeat(deployment: Deployment, run_id: str) -> None:
    """Waits until the server knows of one: a run without any would never be lost."""
    client = Client(deployment.address)
    eventually(lambda: not client.runs.log_heartbeats(run_id, period=1.0).not_running)


def test_a_call_that_is_refused_keeps_no_other_back(own_on_sqlite: Deployment) -> None:
    client = use(own_on_sqlite)
    spoken_of = client.runs.create("0").run_id
    client.runs.log_heartbeats(spoken_of, period=1.0)
    becomes(client, spoken_of, "LOST")
    heartbeats = Heartbeats(client._connection, 1.0, sends=True)

    for run_id in ("no id of a run", *(ids.run_id() for _ in range(999)), spoken_of):  # a call has 1000
        heartbeats.add(run_id)
    becomes(client, spoken_of, "RUNNING")
    heartbeats.end()


def test_a_killed_training_is_lost_and_one_beside_it_is_not(own: Deployment, training: Training) -> None:
    client = use(own)
    (killed, lost), (_, alive) = training(own), training(own)

    killed.send_signal(signal.SIGKILL)
    begun = time.monotonic()
    becomes(client, lost, "LOST")

    run = client.runs.get(lost)
    assert time.monotonic() - begun < 20  # two periods, on a busy machine
    assert run.start_time is not None
    assert run.end_time is not None
    assert run.start_time <= run.end_time
    assert client.runs.get(alive).status == "RUNNING"


def test_a_training_that_stands_still_is_lost_and_goes_on(own_on_sqlite: Deployment, training: Training) -> None:
    client = use(own_on_sqlite)
    process, run_id = training(own_on_sqlite)

    process.send_signal(signal.SIGSTOP)
    becomes(client, run_id, "LOST")
    process.send_signal(signal.SIGCONT)
    becomes(client, run_id, "RUNNING")

    assert client.runs.get(run_id).end_time is None


def test_after_an_outage_of_the_server_runs_at_work_are_running_and_killed_ones_get_lost(
    own_on_sqlite: Deployment, training: Training
) -> None:
    process, killed = training(own_on_sqlite, MODELRY_HEARTBEAT_PERIOD="3s")
    _, alive = training(own_on_sqlite, MODELRY_HEARTBEAT_PERIOD="3s")

    own_on_sqlite.kill()
    process.kill()
    started = time.monotonic()
    start_again(own_on_sqlite)
    client = use(own_on_sqlite)
    seen = set()

    def is_lost() -> bool:
        seen.add(client.runs.get(alive).status)
        return client.runs.get(killed).status == "LOST"

    eventually(is_lost, within_s=60.0)
    assert time.monotonic() - started >= 6  # two periods from the start
    assert "heartbeats.wait" in own_on_sqlite.log("all")
    assert seen == {"RUNNING"}


def test_a_run_that_began_without_a_server_counts_from_its_delivery(
    own_on_sqlite: Deployment, training: Training
) -> None:
    own_on_sqlite.kill()
    process, run_id = training(own_on_sqlite, MODELRY_START_TIMEOUT="100ms")
    start_again(own_on_sqlite)
    client = use(own_on_sqlite)
    eventually(lambda: [run for run in client.runs.search(filter=f"run_id = '{run_id}'")], within_s=60.0)
    alive = client.runs.get(run_id).status

    has_a_heartbeat(own_on_sqlite, run_id)
    process.kill()
    becomes(client, run_id, "LOST")

    assert alive == "RUNNING"


def test_a_forked_child_says_nothing_of_the_runs_of_its_parent(own_on_sqlite: Deployment, training: Training) -> None:
    client = use(own_on_sqlite)
    body = (
        "parent = os.getpid()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    os.close(1)\n"
        "    while os.getppid() == parent:\n"
        "        threading.Event().wait(0.05)\n"
        "    for _ in range(100):\n"
        "        modelry.log_metric('of a child', 1.0)\n"
        "        threading.Event().wait(0.05)\n"
        "    os._exit(0)\n"
    )
    process, run_id = training(own_on_sqlite, body)

    process.kill()

    becomes(client, run_id, "LOST")


def test_a_run_ends_as_it_ends_and_stays_so(own_on_sqlite: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELRY_HEARTBEAT_PERIOD", "1s")
    client = use(own_on_sqlite)
    with modelry.start_run() as first, modelry.start_run(nested=True) as silent:
        eventually(lambda: not client.runs.log_heartbeats([first.run_id, silent.run_id], period=1.0).not_running)
        silent.recorder.heartbeats.remove(silent.run_id)  # as if its process were gone
        becomes(client, silent.run_id, "LOST")
        still = client.runs.get(first.run_id).status

    assert still == "RUNNING"
    assert {client.runs.get(run.run_id).status for run in (first, silent)} == {"FINISHED"}


def test_a_server_that_stands_still_delays_no_exit_and_no_logging(own_on_sqlite: Deployment, spool: Path) -> None:
    process = own_on_sqlite.process("all")
    code = (
        "import os, signal, threading, time, modelry\n"
        "modelry.start_run(); modelry.end_run(); modelry.flush()\n"
        "from modelry._sdk.recording.pool import recorder_of\n"
        "from modelry._sdk.fluent import session\n"
        "client = session.current().client()\n"
        "beats = recorder_of(client._connection, client.workspace).heartbeats\n"
        f"os.kill({process.pid}, signal.SIGSTOP)\n"
        "beats.add('0' * 32)\n"
        "threading.Event().wait(2)\n"
        "print(time.monotonic())\n"
    )
    settings = {"MODELRY_TRACKING_URI": own_on_sqlite.address, "MODELRY_SPOOL_DIR": str(spool)}

    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ, **settings}
        )
        took = time.monotonic() - float(done.stdout)
    finally:
        process.send_signal(signal.SIGCONT)

    assert (done.returncode, done.stderr) == (0, "")
    assert took < 5


def test_a_period_of_0_means_no_heartbeats_and_one_beyond_the_bounds_is_refused(
    own_on_sqlite: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(own_on_sqlite)
    monkeypatch.setenv("MODELRY_HEARTBEAT_PERIOD", "0s")
    with modelry.start_run() as run:
        assert run.recorder.heartbeats._thread is None

    for given in ("500ms", "2h", "often"):
        monkeypatch.setenv("MODELRY_HEARTBEAT_PERIOD", given)
        with pytest.raises(InvalidArgument, match="MODELRY_HEARTBEAT_PERIOD"):
            modelry.start_run()
