"""A parent delivers what its forked children logged: for each of them, in order, and none holds up another."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest

from modelry import Client
from tests.parts.deployment import Deployment
from tests.parts.faulty_server import FaultyServer, faulty
from tests.python.transport.fork_scripts import run, steps

WHAT_LOADS_GRPC = {
    "another library": "import grpc",
    "a client": "modelry.Client().workspaces.get('default')",
    "a search": "modelry.search_runs(search_all_experiments=True, output_format='list')",
    "a run": "modelry.start_run(); modelry.end_run()",
}
HOW_TO_FORK = {
    "os.fork": """
for number in range(2):
    pid = os.fork()
    if pid == 0:
        work(number)
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
""",
    "Pool": """
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(work, range(2))
""",
}


@pytest.mark.parametrize("fork", HOW_TO_FORK.values(), ids=HOW_TO_FORK)
@pytest.mark.parametrize("load", WHAT_LOADS_GRPC.values(), ids=WHAT_LOADS_GRPC)
def test_a_parent_delivers_for_its_children_whatever_loaded_grpc(
    reader: Client, server: Deployment, spool: Path, load: str, fork: str
) -> None:
    script = run(
        server,
        spool,
        f"""
import multiprocessing, os, sys
import modelry

def work(number):
    with modelry.start_run(run_name=f"trial {{number}} of {spool}"):
        modelry.log_metric("loss", 0.5, step=0)

{load}
{fork}
print(modelry.flush(20))
""",
    )

    assert script.lines == ["True"]
    found = [run for number in range(2) for run in reader.runs.search(filter=f"name = 'trial {number} of {spool}'")]
    assert [steps(reader, run.run_id) for run in found] == [{"loss": [0]}] * 2


IN_CHILD = """
import os, sys
import modelry

def in_child(act):
    pid = os.fork()
    if pid == 0:
        act()
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""
TWO_CHILDREN = (
    IN_CHILD
    + """
parent = modelry.start_run()
modelry.log_metric("parent", 0.5, step=0)
assert modelry.flush(20)

def log(key):
    modelry.log_metric(key, 0.5, step=0)

def log_file(text, name=None):
    modelry.log_text(text, f"{name or text}.txt")

def log_in_vain():
    modelry.start_run(nested=True)
    log_file("vain")

def two(first, second):
    in_child(first)
    in_child(second)
    print(parent.run_id, modelry.flush(20))
"""
)


@pytest.mark.parametrize(
    ("begin", "told"),
    [
        ("modelry.start_run(experiment_id=deleted, nested=True)", "is deleted"),
        ("modelry.set_tracking_uri('127.0.0.1:1'); modelry.start_run(nested=True)", "127.0.0.1:1"),
    ],
    ids=["refused", "for a server that is away"],
)
def test_what_one_child_logs_in_vain_holds_up_no_other_child(
    reader: Client, server: Deployment, spool: Path, begin: str, told: str
) -> None:
    script = run(
        server,
        spool,
        f"""
import logging
logging.basicConfig(level=logging.WARNING)
{IN_CHILD}
client = modelry.Client()
deleted = client.experiments.create({str(spool)!r}).experiment_id
client.experiments.delete(deleted)
parent = modelry.start_run()

def in_vain():
    {begin}
    modelry.log_metric("vain", 0.5, step=0)
    modelry.log_text("text", "vain.txt")

def usual():
    modelry.log_metric("child", 0.5, step=0)
    modelry.log_text("text", "child.txt")

in_child(in_vain)
in_child(usual)
print(parent.run_id, modelry.flush(20))
""",
        MODELRY_EXIT_TIMEOUT="1s",
    )

    [(run_id, is_all)] = [line.split() for line in script.lines]
    assert (steps(reader, run_id), is_all) == ({"child": [0]}, "False")
    assert [entry.path for entry in reader.artifacts.list(f"runs/{run_id}")] == ["child.txt"]
    assert told in script.errors
    assert "run `modelry sync`" in script.errors


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.PERMISSION_DENIED])
def test_a_request_of_one_child_at_which_the_server_fails_holds_up_no_other_child(
    reader: Client, server: Deployment, spool: Path, code: grpc.StatusCode
) -> None:
    with faulty(server.address) as between:
        between.rule = lambda method, request: code if method.endswith("/WriteMetrics") and b"vain" in request else None
        script = run(
            server,
            spool,
            f"{TWO_CHILDREN}\ntwo(lambda: log('vain'), lambda: log('child'))",
            **dict.fromkeys(server.environment(), between.address),
        )

    [(run_id, is_all)] = [line.split() for line in script.lines]
    assert (steps(reader, run_id), is_all) == ({"parent": [0], "child": [0]}, "False")


@pytest.mark.parametrize("code", [grpc.StatusCode.ABORTED, grpc.StatusCode.INTERNAL])
def test_a_file_of_one_child_whose_upload_is_cut_off_holds_up_no_other_child(
    reader: Client, server: Deployment, spool: Path, code: grpc.StatusCode
) -> None:
    with faulty(server.address) as between:
        owners: list[bytes] = []

        def rule(method: str, request: bytes) -> grpc.StatusCode | None:
            if method.endswith("/CreateRun"):
                owners.extend(re.findall(rb"[0-9a-f]{32}", request)[:1])
            return code if method.endswith("/WriteArtifacts") and owners[0] not in request else None

        between.rule = rule
        script = run(
            server,
            spool,
            f"{TWO_CHILDREN}\ntwo(log_in_vain, lambda: log_file('child'))",
            **dict.fromkeys(server.environment(), between.address),
        )

    [(run_id, is_all)] = [line.split() for line in script.lines]
    assert [entry.path for entry in reader.artifacts.list(f"runs/{run_id}")] == ["child.txt"]
    assert is_all == "False"


def test_a_file_that_somebody_else_uploads_is_not_overtaken_by_a_newer_one(
    reader: Client, server: Deployment, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, written = spool.parent / "begun", threading.Event()
    uploads: list[int] = []
    original = FaultyServer._write

    def write(self: FaultyServer, method: str, requests: Any, context: Any) -> Any:
        whole, number = list(requests), len(uploads)
        uploads.append(number)
        if number == 0:
            begun.touch()
            written.wait(3)  # for the newer one, which has to wait
        answer = original(self, method, iter(whole), context)
        if number == 1:
            written.set()
        return answer

    monkeypatch.setattr(FaultyServer, "_write", write)
    with faulty(server.address) as between:
        script = run(
            server,
            spool,
            f"""
{TWO_CHILDREN}
import pathlib, subprocess, time
from modelry._sdk.recording import children

children.LOOK_SECONDS = 60.0  # steers the moment only: the parent delivers when it is told to flush
in_child(lambda: (log_file("old", "model"), log_file("new", "model")))
sync = subprocess.Popen([sys.executable, "-c", "import modelry; modelry.sync()"])
while not pathlib.Path({str(begun)!r}).exists():
    time.sleep(0.05)
early = modelry.flush(1)
assert sync.wait(30) == 0
print(parent.run_id, early, modelry.flush(20))
""",
            **dict.fromkeys(server.environment(), between.address),
        )

    [(run_id, early, late)] = [line.split() for line in script.lines]
    assert reader.artifacts.read_bytes(f"runs/{run_id}", "model.txt") == b"new"
    assert (early, late) == ("False", "True")
    assert script.errors == ""


def test_what_is_refused_of_a_child_makes_one_flush_false(reader: Client, server: Deployment, spool: Path) -> None:
    script = run(
        server,
        spool,
        """
import os, sys
import modelry

parent = modelry.start_run()
modelry.log_param("p", "of the parent")
print(modelry.flush(20))
pid = os.fork()
if pid == 0:
    modelry.log_param("p", "of the child")
    modelry.log_param("q", 1)
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
print(modelry.flush(20))
print(modelry.flush(20))
print(parent.run_id)
""",
    )

    assert script.lines[:3] == ["True", "False", "True"]
    assert reader.runs.get(script.lines[3]).params == {"p": "of the parent", "q": "1"}


def test_what_is_damaged_of_a_child_is_told_by_one_flush(reader: Client, server: Deployment, spool: Path) -> None:
    script = run(
        server,
        spool,
        f"""
import logging
from pathlib import Path
from modelry._sdk.recording import children
logging.basicConfig(level=logging.WARNING)
children.LOOK_SECONDS = 3600.0  # only `flush` delivers
{TWO_CHILDREN}
in_child(lambda: log("child"))
(path,) = (path for path in Path({str(spool)!r}).iterdir() if "open" not in path.name)
path.write_bytes(path.read_bytes().replace(b"WriteMetrics ", b"WriteMetricz "))
print(modelry.flush(20), modelry.flush(20))
""",
    )

    assert script.lines == ["False True"]
    assert "damaged, 1 record could not" in script.errors


LEFT_BY_A_CHILD = f"""
import os, time
from modelry._sdk.recording import children
{IN_CHILD}
children.LOOK_SECONDS = 60.0  # steers the moment only: the parent delivers when it is told to flush
run = modelry.start_run()
modelry.flush(20)
in_child(lambda: modelry.log_metric("child", 0.5, step=0))
"""


def test_a_flush_with_a_limit_tries_again_what_a_child_logged(reader: Client, server: Deployment, spool: Path) -> None:
    tried: list[str] = []

    def rule(method: str, request: bytes) -> grpc.StatusCode | None:
        if method.endswith("/WriteMetrics"):
            tried.append(method)
        return grpc.StatusCode.UNAVAILABLE if method.endswith("/WriteMetrics") and len(tried) < 10 else None

    with faulty(server.address) as between:
        between.rule = rule
        environment = dict.fromkeys(server.environment(), between.address)
        script = run(server, spool, f"{LEFT_BY_A_CHILD}\nprint(run.run_id, modelry.flush(20))", **environment)

    [(run_id, is_all)] = [line.split() for line in script.lines]
    assert (steps(reader, run_id), is_all) == ({"child": [0]}, "True")


def test_a_flush_takes_no_longer_than_its_limit_for_everything(server: Deployment, spool: Path) -> None:
    with faulty(server.address) as between:

        def rule(method: str, request: bytes) -> grpc.StatusCode | None:
            if not method.endswith("/WriteMetrics"):
                return None
            between.ended.wait(20)
            return grpc.StatusCode.UNAVAILABLE

        between.rule = rule
        script = run(
            server,
            spool,
            f"""
{LEFT_BY_A_CHILD}
modelry.log_metric("parent", 0.5, step=0)
began = time.monotonic()
is_all = modelry.flush(2)
print(is_all, time.monotonic() - began, flush=True)
os._exit(0)
""",
            **dict.fromkeys(server.environment(), between.address),
        )

    [(is_all, took)] = [line.split() for line in script.lines]
    assert is_all == "False"
    assert float(took) < 3.5
