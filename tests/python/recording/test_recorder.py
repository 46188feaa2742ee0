"""What was logged arrives, once, whatever happens to the server meanwhile."""

from __future__ import annotations

import logging
import shutil
import signal
import time
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import modelry
from modelry import ActiveRun, Client
from modelry._sdk.recording import sync
from modelry._sdk.recording.recorder import Recorder
from modelry._sdk.spooling.spool import left_in
from modelry._sdk.transport.connection import connect
from modelry._sdk.transport.settings import read
from modelry.errors import Unavailable
from modelry_server.targets import ROOMS
from tests.parts import free_port
from tests.parts.deployment import Deployment, running
from tests.parts.eventually import eventually
from tests.python.recording.scripts import PATIENCE_S, run_script, start_again, use


@pytest.fixture
def own(database_url: str, tmp_path: Path) -> Iterator[Deployment]:
    """A platform that the test may kill."""
    with running("all", tmp_path / "own", dict.fromkeys(ROOMS, database_url)) as deployment:
        yield deployment


def steps(client: Client, run: ActiveRun, key: str = "m") -> list[int]:
    return list(client.metrics.read(run.id, key).steps)


def test_a_server_that_is_killed_in_the_middle_of_a_load_has_each_point_once(own: Deployment, spool: Path) -> None:
    client = use(own)
    count = 150_000
    with modelry.start_run() as run:
        for step in range(count):
            modelry.log_metric("m", step / 2, step=step)
            if step in (50_000, 100_000):
                own.kill()
            if step in (60_000, 120_000):
                own.start()
        modelry.log_param("after", "all")
        own.kill()
        start_again(own)
        assert run.flush(PATIENCE_S)

    stored = client.runs.get(run.id)
    assert steps(client, run) == list(range(count))
    assert (stored.params, stored.status) == ({"after": "all"}, "FINISHED")
    assert stored.summaries["m"].point_count == count
    assert left_in(spool) == []


def test_the_process_needs_no_new_call_after_the_server_is_back(own_on_sqlite: Deployment) -> None:
    client = use(own_on_sqlite)
    run = modelry.start_run()
    own_on_sqlite.kill()
    for step in range(100):
        modelry.log_metric("m", 1.0, step=step)
    assert not run.flush()
    start_again(own_on_sqlite)

    eventually(lambda: not run.recorder.offline, within_s=PATIENCE_S)

    assert steps(client, run) == list(range(100))
    modelry.end_run()


def test_flush_waits_for_a_server_as_long_as_it_may(own_on_sqlite: Deployment) -> None:
    client = use(own_on_sqlite)
    run = modelry.start_run()
    own_on_sqlite.kill()
    modelry.log_metric("m", 1.0, step=1)

    start = time.monotonic()
    assert not modelry.flush()
    at_once = time.monotonic() - start
    assert not modelry.flush(2)
    waited = time.monotonic() - start - at_once
    with ThreadPoolExecutor(1) as pool:
        flushed = pool.submit(modelry.flush, PATIENCE_S)
        start_again(own_on_sqlite)
        assert flushed.result()

    assert at_once < waited
    assert waited > 1.5
    assert steps(client, run) == [1]
    modelry.end_run()


def test_a_run_begins_without_a_server_and_is_sent_when_it_comes(
    own_on_sqlite: Deployment, spool: Path, caplog: pytest.LogCaptureFixture, unique: str
) -> None:
    client = use(own_on_sqlite)
    own_on_sqlite.kill()
    with caplog.at_level(logging.WARNING, "modelry"):
        assert modelry.set_experiment(unique) is None
        with modelry.start_run(run_name="offline", tags={"a": "b"}) as run:
            modelry.log_metric("m", 1.0, step=1)
            with modelry.start_run(nested=True) as inner:
                modelry.log_param("p", 1)
            modelry.log_text("kept", "texts/a.txt")
            modelry.log_artifact(__file__, "code")
    kept = left_in(spool)
    start_again(own_on_sqlite)
    assert run.flush(PATIENCE_S)

    stored = client.runs.get(run.id)
    experiment = client.experiments.get_by_name(unique)
    files = [artifact.path for artifact in client.artifacts.list(f"runs/{run.id}", recursive=True)]
    assert len(kept) == 1
    assert (stored.name, stored.status, stored.metrics) == ("offline", "FINISHED", {"m": 1.0})
    assert stored.experiment_id == client.runs.get(inner.id).experiment_id == experiment.experiment_id
    assert client.runs.get(inner.id).parent_run_id == run.id
    assert files == ["code/test_recorder.py", "texts/a.txt"]
    (warned,) = caplog.messages  # one for one cause
    assert "offline" in warned
    assert run.id in warned
    assert list(spool.iterdir()) == []


def test_a_read_after_an_offline_run_does_not_wait_for_the_server(own_on_sqlite: Deployment) -> None:
    use(own_on_sqlite)
    own_on_sqlite.kill()
    with modelry.start_run():
        modelry.log_metric("m", 1.0)
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        modelry.search_runs()

    assert time.monotonic() - begun < 5


def test_a_server_that_stands_still_blocks_no_loop(own_on_sqlite: Deployment) -> None:
    client = use(own_on_sqlite)
    with modelry.start_run() as run:
        modelry.log_metric("m", 0.0, step=0)
        run.flush()
        own_on_sqlite.process("all").send_signal(signal.SIGSTOP)
        for step in range(1, 100_000):
            modelry.log_metric("m", 0.5, step=step)
        # A loop that waits for the server never comes here.
        own_on_sqlite.process("all").send_signal(signal.SIGCONT)

    assert steps(client, run) == list(range(100_000))


def test_past_its_memory_it_spools_and_delivers_from_there(
    own_on_sqlite: Deployment, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = use(own_on_sqlite)
    monkeypatch.setenv("MODELRY_BUFFER_POINTS", "1000")
    run_id = client.runs.create().run_id
    recorder = Recorder(connect(own_on_sqlite.address), "default", read())
    own_on_sqlite.process("all").send_signal(signal.SIGSTOP)
    for step in range(200_000):
        recorder.buffer(run_id).log_metric("m", 0.5, step)
    eventually(lambda: sum(path.stat().st_size for path in left_in(spool)) > 200_000 * len(array("d", [0.5]).tobytes()))
    own_on_sqlite.process("all").send_signal(signal.SIGCONT)

    assert recorder.flush(PATIENCE_S)
    assert list(client.metrics.read(run_id, "m").steps) == list(range(200_000))
    assert client.runs.get(run_id).summaries["m"].point_count == 200_000
    assert left_in(spool) == []


def test_what_the_server_has_lost_again_is_told_once_and_the_rest_goes_on(
    own_on_sqlite: Deployment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a restore from a backup: batches that were acknowledged are not there, and numbers have a gap."""
    client = use(own_on_sqlite)
    with modelry.start_run() as run:
        own_on_sqlite.kill()
        shutil.copytree(own_on_sqlite.folder, tmp_path / "backup")
        start_again(own_on_sqlite)
        modelry.log_metric("m", 1.0, step=1)
        assert run.flush(PATIENCE_S)
        own_on_sqlite.kill()
        shutil.copytree(tmp_path / "backup", own_on_sqlite.folder, dirs_exist_ok=True)
        start_again(own_on_sqlite)
        for step in (2, 3):
            modelry.log_metric("m", 2.0, step=step)
            assert run.flush(PATIENCE_S)

    assert steps(client, run) == [2, 3]
    [told] = [text for text in caplog.messages if "restore of a backup" in text]
    assert f"lacks points of run {run.id}" in told


def test_a_spool_that_cant_be_written_keeps_what_fits_in_memory(
    own_on_sqlite: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a file").write_text("in the way")
    monkeypatch.setenv("MODELRY_SPOOL_DIR", str(tmp_path / "a file" / "spool"))
    client = use(own_on_sqlite)
    run_id = client.runs.create().run_id
    recorder = Recorder(connect(own_on_sqlite.address), "default", read())
    own_on_sqlite.kill()
    with caplog.at_level(logging.WARNING, "modelry"):
        for step in range(1000):
            recorder.buffer(run_id).log_metric("m", 0.5, step)
        delivered = recorder.flush()
    start_again(own_on_sqlite)

    assert not delivered
    assert recorder.flush(PATIENCE_S)
    assert [text for text in caplog.messages if "can't be written" in text]
    assert list(client.metrics.read(run_id, "m").steps) == list(range(1000))


def test_a_file_that_no_server_and_no_spool_takes_is_warned_of(
    own_on_sqlite: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a file").write_text("in the way")
    monkeypatch.setenv("MODELRY_SPOOL_DIR", str(tmp_path / "a file" / "spool"))
    use(own_on_sqlite)
    run = modelry.start_run()
    own_on_sqlite.kill()
    with caplog.at_level(logging.WARNING, "modelry"):
        modelry.log_text("lost", "a.txt")
        modelry.log_artifact(__file__)
    start_again(own_on_sqlite)
    modelry.end_run()

    warned = [text for text in caplog.messages if "no copy can be kept" in text and "MODELRY_SPOOL_DIR" in text]
    assert ["'a.txt'" in warned[0], __file__ in warned[1], run.status] == [True, True, "FINISHED"]


def test_what_neither_server_nor_spool_takes_is_counted_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("in the way")
    code = "import modelry\nwith modelry.start_run():\n    modelry.log_metric('a', 1.0)"
    spool = tmp_path / "a file" / "spool"
    limits = {"MODELRY_START_TIMEOUT": "500ms", "MODELRY_EXIT_TIMEOUT": "1s"}

    script = run_script(code, f"127.0.0.1:{free_port()}", spool, **limits)

    assert script.returncode == 0, script.stderr
    assert "lost: 1 point and 2 entries" in script.stderr.replace("other ", "")


def test_what_was_damaged_in_its_own_spool_is_warned_of(
    own_on_sqlite: Deployment, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = use(own_on_sqlite)
    run = modelry.start_run()
    own_on_sqlite.kill()
    for name in ("a", "b", "c"):
        modelry.log_param(name, 1)
        assert not run.flush()
    (path,) = left_in(spool)
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(content.rindex(b"LogBatch 0\0"))
        file.write(b"l")
    with caplog.at_level(logging.WARNING, "modelry"):
        start_again(own_on_sqlite)
        flushed = run.flush(PATIENCE_S), run.flush(PATIENCE_S)

    assert flushed == (False, True)
    assert client.runs.get(run.id).params == {"a": "1", "b": "1"}
    assert [text for text in caplog.messages if f"{path.name}: damaged, 1 record" in text]
    modelry.end_run()


def test_a_process_that_ends_without_a_word_delivers_first(own_on_sqlite: Deployment, spool: Path) -> None:
    client = use(own_on_sqlite)
    code = (
        "import modelry\nrun = modelry.start_run()\n"
        "for i in range(1000): modelry.log_metric('m', i, step=i)\nprint(run.id)"
    )

    well = run_script(code, own_on_sqlite.address, spool)
    badly = run_script(f"{code}\nraise ValueError('ouch')", own_on_sqlite.address, spool)

    runs = [client.runs.get(script.stdout.strip()) for script in (well, badly)]
    assert [run.status for run in runs] == ["FINISHED", "FAILED"]
    assert [run.summaries["m"].point_count for run in runs] == [1000, 1000]


def test_it_closes_at_once_also_where_its_thread_ends_while_it_is_asked_to(
    own_on_sqlite: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(own_on_sqlite)
    run = modelry.start_run()
    run.log_metric("a", 1.0)
    recorder = run.recorder
    start = recorder._start

    def start_after_the_thread_has_ended(*, at_once: bool = False) -> bool:
        eventually(lambda: recorder._thread is None)
        return start(at_once=at_once)

    began = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(recorder, "_start", start_after_the_thread_has_ended)
        recorder.close(30.0)

    assert time.monotonic() - began < 10
    assert Client().runs.get(run.run_id).metrics == {"a": 1.0}


def test_at_exit_it_waits_no_longer_than_it_was_told(own_on_sqlite: Deployment, spool: Path) -> None:
    use(own_on_sqlite)
    code = (
        "import modelry, os, signal\n"
        "modelry.start_run()\n"
        f"os.kill({own_on_sqlite.process('all').pid}, signal.SIGSTOP)\n"
        "for i in range(1000): modelry.log_metric('m', i, step=i)\n"
    )

    # A call that stands still would be waited for longer than a script may run here.
    script = run_script(code, own_on_sqlite.address, spool, MODELRY_EXIT_TIMEOUT="5s", MODELRY_TIMEOUT="2m")
    own_on_sqlite.process("all").send_signal(signal.SIGCONT)
    report = sync.deliver(folder=spool)

    assert "still sending what was logged" in script.stderr
    assert "modelry sync" in script.stderr
    assert report.requests_left == 0
    assert report.requests_delivered >= 2


def test_a_script_without_a_server_ends_at_once_also_with_a_file(own_on_sqlite: Deployment, spool: Path) -> None:
    own_on_sqlite.stop()
    begun = time.monotonic()

    script = run_script(
        "import modelry\nmodelry.log_metric('m', 1.0)\nmodelry.log_text('x', 'a.txt')\n",
        own_on_sqlite.address,
        spool,
        MODELRY_EXIT_TIMEOUT="2m",
    )

    assert time.monotonic() - begun < 30
    assert "1 upload is not done yet; it is kept in" in script.stderr


def test_what_is_logged_as_python_ends_arrives_also_where_no_thread_can_be_started_then(
    own_on_sqlite: Deployment, spool: Path
) -> None:
    """As on Python 3.12: there gRPC can't start the thread that it needs for calls of the background."""
    client = use(own_on_sqlite)
    code = """
import atexit, threading
import modelry

run = modelry.start_run()
for step in range(100):
    modelry.log_metric("m", 0.5, step=step)
assert modelry.flush(20)  # gRPC's thread ends with the last call
print(run.run_id)

def refuse(*_, **__):
    raise RuntimeError("can't create new thread at interpreter shutdown")

def last():
    threading._start_new_thread = refuse
    for step in range(100, 200):
        modelry.log_metric("m", 0.5, step=step)

atexit.register(last)
"""

    script = run_script(code, own_on_sqlite.address, spool)

    stored = client.runs.get(script.stdout.strip())
    assert script.stderr == ""
    assert (stored.summaries["m"].point_count, stored.status) == (200, "FINISHED")
    assert left_in(spool) == []


def test_it_waits_for_no_lock_that_an_interrupted_call_of_the_training_code_holds(own_on_sqlite: Deployment) -> None:
    client = use(own_on_sqlite)
    with modelry.start_run() as run, connect(own_on_sqlite.address)._lock:
        modelry.log_metric("m", 1.0, step=1)
        assert modelry.flush(PATIENCE_S)

    assert steps(client, run) == [1]
