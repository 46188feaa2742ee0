"""A parent delivers for its children also on a machine that has no more threads, and says what stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelry import Client
from tests.parts.deployment import Deployment
from tests.python.transport.fork_scripts import run, steps

BEGIN = """
import os, sys, threading, time
import modelry

real = threading.Thread.start

def refused(self):
    raise RuntimeError("can't start new thread")

def in_child(act):
    pid = os.fork()
    if pid == 0:
        threading.Thread.start = real
        act()
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0

def log():
    modelry.log_metric("child", 0.5, step=0)
    modelry.log_text("text", "child.txt")

parent = modelry.start_run()
assert modelry.flush(20)
"""
LATER = """
in_child(log)
threading.Thread.start = refused
"""
FROM_THE_FIRST_FORK_ON = """
threading.Thread.start = refused
in_child(log)
"""


def delivered(reader: Client, run_id: str) -> tuple[dict[str, list[int]], list[str]]:
    """The metrics and files of a run."""
    return steps(reader, run_id), [entry.path for entry in reader.artifacts.list(f"runs/{run_id}")]


@pytest.mark.parametrize("lack", [LATER, FROM_THE_FIRST_FORK_ON], ids=["later", "from the first fork on"])
@pytest.mark.parametrize(
    ("then", "says"),
    [
        ("print(parent.run_id, modelry.flush(10))", "False"),
        ("print(parent.run_id, modelry.flush())", "False"),
        ("print(parent.run_id, 'no', 'thread' in modelry.sync().problems[0])", "no True"),
        ("print(parent.run_id)", ""),
        ("modelry.Client().runs.get(parent.run_id)\nprint(parent.run_id)", ""),
    ],
    ids=["flush", "flush once", "sync", "exit", "read"],
)
def test_without_a_thread_the_metrics_of_a_child_arrive_and_its_files_stay_and_are_told(
    reader: Client, server: Deployment, spool: Path, lack: str, then: str, says: str
) -> None:
    script = run(server, spool, BEGIN + lack + then, MODELRY_EXIT_TIMEOUT="5s")

    run_id, _, said = script.lines[0].partition(" ")
    assert said == says
    assert delivered(reader, run_id) == ({"child": [0]}, [])
    assert "Traceback" not in script.errors
    assert "no thread to send with" in script.errors
    assert "0 files with what they logged and 1 uploads are not delivered" in script.errors
    assert "run `modelry sync`" in script.errors


@pytest.mark.parametrize(
    ("lack", "then"),
    [
        (LATER + "time.sleep(3)", ""),
        (LATER + "modelry.flush(0.1)", ""),
        (FROM_THE_FIRST_FORK_ON, "in_child(lambda: None)"),
        (FROM_THE_FIRST_FORK_ON, "modelry.flush(0)"),
    ],
    ids=["while the watch tried", "after a flush", "another fork", "a flush"],
)
def test_when_there_are_threads_again_what_a_child_logged_arrives_by_itself(
    reader: Client, server: Deployment, spool: Path, lack: str, then: str
) -> None:
    script = run(
        server,
        spool,
        f"""
{BEGIN}
{lack}
threading.Thread.start = real
{then}
left = True
until = time.monotonic() + 20
while left and time.monotonic() < until:
    time.sleep(0.1)
    left = [name for name in os.listdir({str(spool)!r}) if name.endswith((".spool", ".upload"))]
print(parent.run_id, left)
sys.stdout.flush()
os._exit(0)
""",
    )

    run_id, _, left = script.lines[0].partition(" ")
    assert (left, delivered(reader, run_id)) == ("[]", ({"child": [0]}, ["child.txt"]))
