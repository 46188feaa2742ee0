"""What a forked child of a parent that has loaded gRPC can do, and who delivers what it logs."""

from __future__ import annotations

from pathlib import Path

from modelry import Client
from modelry._sdk.recording import sync
from tests.parts.deployment import Deployment, running
from tests.python.transport.fork_scripts import run


def test_what_a_child_logs_arrives_while_both_run(server: Deployment, spool: Path) -> None:
    script = run(
        server,
        spool,
        """
import os, sys, time
import modelry

run = modelry.start_run()
reading, writing = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(writing)
    modelry.log_metric("child", 0.5)
    modelry.log_param("lr", 0.1)
    os.read(reading, 1)  # until the parent has seen it
    sys.exit(0)
while "child" not in (stored := modelry.Client().runs.get(run.run_id)).metrics:
    time.sleep(0.1)
os.close(writing)
assert os.waitpid(pid, 0)[1] == 0
print(stored.params)
""",
    )

    assert script.lines == ["{'lr': '0.1'}"]


def test_a_flush_of_the_parent_delivers_what_its_children_have_flushed(server: Deployment, spool: Path) -> None:
    script = run(
        server,
        spool,
        """
import os
import modelry

run = modelry.start_run()
pid = os.fork()
if pid == 0:
    modelry.log_metric("child", 0.5)
    print(modelry.flush(20), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print(modelry.flush(20))
print(modelry.Client().runs.get(run.run_id).metrics)
""",
    )

    assert script.lines == ["False", "True", "{'child': 0.5}"]


def test_children_start_runs_of_their_own_and_keep_files_in_them(
    reader: Client, server: Deployment, spool: Path, unique: str
) -> None:
    """As a search for hyperparameters does: the parent chooses the experiment and logs nothing."""
    script = run(
        server,
        spool,
        f"""
import multiprocessing
import modelry

def train(number):
    with modelry.start_run(run_name=f"run {{number}}", nested=True) as run:
        modelry.log_param("number", number)
        modelry.log_metric("loss", number / 2)
        modelry.log_text("hello", "texts/a.txt")
    return run.run_id

modelry.set_experiment({unique!r})
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(*pool.map(train, range(4)))
""",
    )

    runs = [reader.runs.get(run_id) for run_id in script.lines[0].split()]
    experiment = reader.experiments.get_by_name(unique)
    assert [each.name for each in runs] == [f"run {number}" for number in range(4)]
    assert [(each.params, each.metrics) for each in runs] == [
        ({"number": str(number)}, {"loss": number / 2}) for number in range(4)
    ]
    assert {(each.status, each.experiment_id) for each in runs} == {("FINISHED", experiment.experiment_id)}
    assert {reader.artifacts.read_bytes(f"runs/{each.run_id}", "texts/a.txt") for each in runs} == {b"hello"}
    assert script.errors == ""


def test_calls_of_a_child_are_refused_at_once_with_advice(server: Deployment, spool: Path) -> None:
    script = run(
        server,
        spool,
        """
import os, sys, time
import modelry

run = modelry.start_run()
client = modelry.Client()
calls = {
    "read": lambda: client.runs.get(run.run_id),
    "search": lambda: list(client.runs.search()),
    "stream": lambda: list(client.metrics.read_many([run.run_id])),
    "experiment": lambda: modelry.create_experiment("of a child"),
    "model": lambda: client.models.create("of-a-child"),
    "upload": lambda: client.artifacts.upload_bytes(f"runs/{run.run_id}", "a.txt", b"a"),
    "another server": lambda: modelry.Client("127.0.0.1:1").runs.get(run.run_id),
}
pid = os.fork()
if pid == 0:
    for name, call in calls.items():
        try:
            call()
        except modelry.errors.Unavailable as error:
            print(name, error.reason, "'spawn'" in error.message)
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
""",
    )

    names = ("read", "search", "stream", "experiment", "model", "upload", "another server")
    assert script.lines == [f"{name} FORKED True" for name in names]


def test_a_child_leaves_the_end_of_the_run_to_its_parent(reader: Client, server: Deployment, spool: Path) -> None:
    script = run(
        server,
        spool,
        """
import os, sys
import modelry

with modelry.start_run() as run:
    pid = os.fork()
    if pid == 0:
        modelry.end_run()
        sys.exit(0)
    os.waitpid(pid, 0)
    modelry.flush()
    print(modelry.Client().runs.get(run.run_id).status)
print(modelry.Client().runs.get(run.run_id).status)
""",
    )

    assert script.lines == ["RUNNING", "FINISHED"]


def test_what_a_child_logs_outlives_a_parent_that_is_killed(reader: Client, server: Deployment, spool: Path) -> None:
    script = run(
        server,
        spool,
        """
import os, signal, sys
import modelry

reading, writing = os.pipe()
pid = os.fork()  # the one that is killed; this one waits for it
if pid:
    os.waitpid(pid, 0)
    sys.exit(0)
os.close(writing)
run = modelry.start_run()
print(run.run_id, flush=True)
if os.fork():
    os.kill(os.getpid(), signal.SIGKILL)
os.read(reading, 1)  # until its parent is gone
modelry.log_metric("child", 0.5)
sys.exit(0)
""",
    )
    report = sync.deliver(folder=spool)

    assert "modelry sync" in script.errors
    assert (report.files_delivered, report.requests_left) == (1, 0)
    assert reader.runs.get(script.lines[0]).metrics == {"child": 0.5}


def test_what_children_logged_while_no_server_answered_is_kept_and_said(tmp_path: Path, spool: Path) -> None:
    with running("all", tmp_path / "own") as own:
        script = run(
            own,
            spool,
            f"""
import os, signal, sys
import modelry

with modelry.start_run() as run:
    print(run.run_id)
    os.kill({own.process("all").pid}, signal.SIGKILL)
    pid = os.fork()
    if pid == 0:
        modelry.log_metric("child", 0.5)
        os._exit(modelry.flush())
    assert os.waitpid(pid, 0)[1] == 0
""",
            MODELRY_EXIT_TIMEOUT="1s",
        )
        own.kill()
        own.start()
        report = sync.deliver(folder=spool)
        stored = Client(own.address).runs.get(script.lines[0])

    assert "what forked children logged is not delivered" in script.errors
    assert "modelry sync" in script.errors
    assert (report.files_delivered, report.requests_left) == (2, 0)
    assert (stored.metrics, stored.status) == ({"child": 0.5}, "FINISHED")


def test_a_child_starts_a_run_below_that_of_its_parent_and_is_told_so(
    reader: Client, server: Deployment, spool: Path
) -> None:
    script = run(
        server,
        spool,
        """
import os, sys
import modelry

run = modelry.start_run()
print(run.run_id, flush=True)
pid = os.fork()
if pid == 0:
    try:
        modelry.start_run()
    except modelry.errors.FailedPrecondition as error:
        print(error.message, flush=True)
    with modelry.start_run(nested=True) as own:
        print(own.run_id, flush=True)
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
""",
    )

    parent, message, child = script.lines
    assert message == f"run {parent} of the parent process is active here too; start a child run of it with nested=True"
    assert reader.runs.get(child).parent_run_id == parent
