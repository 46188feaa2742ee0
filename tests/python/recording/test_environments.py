"""Logging works where a machine lacks what a laptop has."""

from __future__ import annotations

import logging
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import modelry
from modelry._sdk.recording import sync
from modelry._sdk.spooling.spool import left_in
from modelry._sdk.transport import settings
from tests.parts import free_port
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually
from tests.python.recording.scripts import PATIENCE_S, run_script, start_again, use

RUN = """
import modelry
with modelry.start_run() as run:
    modelry.log_metric("m", 1.0)
    modelry.log_text("text", "a.txt")
print(run.id)
"""
NOBODY = """
import os, pwd
def nobody(uid): raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = nobody
for name in ("HOME", "XDG_STATE_HOME", "MODELRY_SPOOL_DIR", "USER", "LOGNAME"): os.environ.pop(name, None)
"""
NOWHERE = """
import os, tempfile
folder = tempfile.mkdtemp()
os.chdir(folder)
os.rmdir(folder)
"""
RELATIVE = 'import os\nos.environ["MODELRY_SPOOL_DIR"] = "spool"\n'


@pytest.mark.parametrize("lack", [NOBODY, NOWHERE, NOWHERE + RELATIVE, NOBODY + NOWHERE])
def test_a_run_is_recorded_where_there_is_no_home_and_no_working_folder(
    own_on_sqlite: Deployment, spool: Path, lack: str
) -> None:
    client = use(own_on_sqlite)

    script = run_script(lack + RUN, own_on_sqlite.address, spool)

    assert script.returncode == 0, script.stderr
    run_id = script.stdout.strip()
    assert (client.runs.get(run_id).metrics, client.runs.get(run_id).status) == ({"m": 1.0}, "FINISHED")
    assert client.artifacts.read_bytes(f"runs/{run_id}", "a.txt") == b"text"


def test_a_user_without_a_home_has_a_spool_too(own_on_sqlite: Deployment, tmp_path: Path) -> None:
    client = use(own_on_sqlite)
    limits = {"MODELRY_START_TIMEOUT": "500ms", "MODELRY_EXIT_TIMEOUT": "500ms", "TMPDIR": str(tmp_path)}

    script = run_script(NOBODY + RUN, f"127.0.0.1:{free_port()}", tmp_path, **limits)
    (folder,) = tmp_path.glob("modelry-spool-*")
    report = sync.deliver(own_on_sqlite.address, folder=folder)

    assert report.problems == ()
    assert client.runs.get(script.stdout.strip()).metrics == {"m": 1.0}


def test_a_home_that_cant_be_written_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MODELRY_SPOOL_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").write_text("no folder")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    assert settings.read().spool_folder.parent == tmp_path


@pytest.fixture
def full_disk() -> Iterator[Callable[[], None]]:
    """Files of this process can't grow beyond 256 kB, until it is called."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, hard))

    def mend() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    yield mend
    mend()


def test_on_a_full_disk_what_fits_in_memory_is_delivered_in_order(
    own_on_sqlite: Deployment, full_disk: Callable[[], None]
) -> None:
    client = use(own_on_sqlite)
    own_on_sqlite.kill()
    with modelry.start_run() as run:
        for step in range(60_000):
            modelry.log_metric("m", 0.5, step=step)
            if step % 5000 == 0:
                modelry.log_param(f"p{step}", step)
                modelry.flush(0.1)
        away = modelry.flush(0.5)
    full_disk()
    start_again(own_on_sqlite)
    complete = modelry.flush(PATIENCE_S)

    stored = client.runs.get(run.id)
    assert (away, complete) == (False, True)
    assert list(client.metrics.read(run.id, "m").steps) == list(range(60_000))
    assert (len(stored.params), stored.status) == (12, "FINISHED")


def test_points_that_neither_disk_nor_memory_can_hold_are_counted_exactly(
    own_on_sqlite: Deployment,
    full_disk: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MODELRY_BUFFER_POINTS", "5000")
    client = use(own_on_sqlite)
    run = modelry.start_run()
    own_on_sqlite.kill()
    for step in range(60_000):
        modelry.log_metric("m", 0.5, step=step)
        if step % 1000 == 0:
            run.recorder.attempt(0.05)
    full_disk()
    start_again(own_on_sqlite)
    complete = [modelry.flush(PATIENCE_S), modelry.flush(PATIENCE_S)]
    with caplog.at_level(logging.WARNING, "modelry"):
        run.recorder.close(5)

    lost = 60_000 - client.runs.get(run.id).summaries["m"].point_count
    assert lost > 0
    assert complete == [False, True]
    assert any(f"{lost} times" in text for text in caplog.messages)


def test_a_server_that_stands_still_does_not_keep_points_in_memory(own_on_sqlite: Deployment, spool: Path) -> None:
    client = use(own_on_sqlite)
    run = modelry.start_run()
    own_on_sqlite.process("all").send_signal(signal.SIGSTOP)
    modelry.log_metric("m", 1.0)
    eventually(lambda: left_in(spool))
    modelry.log_metric("m", 2.0, step=1)
    eventually(lambda: any(b"WriteMetrics 1\0" in path.read_bytes() for path in left_in(spool)))
    own_on_sqlite.process("all").send_signal(signal.SIGCONT)

    assert modelry.flush(PATIENCE_S)
    assert list(client.metrics.read(run.id, "m").steps) == [0, 1]
    assert left_in(spool) == []
    modelry.end_run()
