"""Children that have a gRPC of their own, and programs that a process starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelry import Client
from tests.parts.deployment import Deployment
from tests.python.transport.fork_scripts import run

BEFORE_GRPC = """
import os, sys
import modelry

pid = os.fork()
if pid == 0:
    with modelry.start_run() as run:
        modelry.log_metric("child", 0.5)
    print(modelry.Client().runs.get(run.run_id).metrics)
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
with modelry.start_run() as run:
    modelry.log_metric("parent", 0.5)
print(modelry.Client().runs.get(run.run_id).metrics)
"""


def test_a_child_of_a_parent_without_grpc_is_a_process_like_any_other(server: Deployment, spool: Path) -> None:
    script = run(server, spool, BEFORE_GRPC)

    assert script.lines == ["{'child': 0.5}", "{'parent': 0.5}"]
    assert not spool.exists()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_child_with_an_interpreter_of_its_own_has_connections_of_its_own(
    server: Deployment, spool: Path, method: str
) -> None:
    script = run(
        server,
        spool,
        f"""
import multiprocessing
import modelry

def log(run_id):
    assert modelry.active_run() is None
    modelry.log_metric("child", 0.5, run_id=run_id)
    print(modelry.Client().runs.get(run_id).status, flush=True)

if __name__ == "__main__":
    run = modelry.start_run()
    child = multiprocessing.get_context({method!r}).Process(target=log, args=(run.run_id,))
    child.start()
    child.join(60)
    print(child.exitcode, modelry.Client().runs.get(run.run_id).metrics)
""",
    )

    assert script.lines == ["RUNNING", "0 {'child': 0.5}"]
    assert script.errors == ""


def test_what_the_workers_of_a_pool_logged_is_there_after_its_end(server: Deployment, spool: Path) -> None:
    script = run(
        server,
        spool,
        """
import multiprocessing
import modelry

def log(arguments):
    run_id, number = arguments
    modelry.log_metric("child", 0.5, step=number, run_id=run_id)

if __name__ == "__main__":
    run = modelry.start_run()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(log, [(run.run_id, number) for number in range(30)])
    print(len(modelry.Client().metrics.read(run.run_id, "child")))
""",
    )

    assert script.lines == ["30"]
    assert script.errors == ""


def test_a_program_that_is_started_meanwhile_disturbs_nothing(reader: Client, server: Deployment, spool: Path) -> None:
    """As `!command` and `%%python` in Jupyter do: by a pseudo terminal, which forks first, or by `subprocess`."""
    script = run(
        server,
        spool,
        """
import os, pty, subprocess, sys
import modelry

PROGRAM = "import modelry; print(modelry.active_run()); print(modelry.Client().runs.get('%s').status)"

with modelry.start_run() as run:
    command = [sys.executable, "-c", PROGRAM % run.run_id]
    for step in range(20):
        modelry.log_metric("m", 0.5, step=step)
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(sys.executable, command if step == 10 else [sys.executable, "-c", "print(1)"])
        said = b""
        try:
            while piece := os.read(terminal, 1000):
                said += piece
        except OSError:
            pass
        assert os.waitpid(pid, 0)[1] == 0, said
        os.close(terminal)
        if step == 10:
            print(*said.decode().split())
    print(*subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
print(run.run_id)
""",
    )

    assert script.lines[:2] == ["None RUNNING", "None RUNNING"]
    assert reader.runs.get(script.lines[2]).summaries["m"].point_count == 20
    assert script.errors == ""


def test_who_turns_on_the_fork_support_of_grpc_is_warned(server: Deployment, spool: Path) -> None:
    code = "import modelry\nmodelry.start_run().end()"

    warned = run(server, spool, code, GRPC_ENABLE_FORK_SUPPORT="1")
    silent = run(server, spool, code, GRPC_ENABLE_FORK_SUPPORT="0")

    assert "GRPC_ENABLE_FORK_SUPPORT=1 is set" in warned.errors
    assert silent.errors == ""
