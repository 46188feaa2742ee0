"""Forked children never use gRPC: they log to the spool and the parent delivers. Parent and children never hang."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelry import Client
from modelry._sdk.recording import sync
from tests.parts.deployment import Deployment, running

POINTS = 300
CHILDREN = 6
SCRIPT_SECONDS = 90


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server of these tests."""
    with running("all", tmp_path_factory.mktemp("platform")) as deployment:
        yield deployment


@pytest.fixture
def client(server: Deployment) -> Client:
    return Client(server.address)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Where the scripts of a test keep what they can't send."""
    return tmp_path / "spool"


class Script:
    """A finished script, of which every line that it printed is an answer."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        assert done.returncode == 0, done.stderr
        self.errors = done.stderr
        self.lines = done.stdout.split("\n")[:-1]


def run(server: Deployment, spool: Path, code: str, **environment: str) -> Script:
    """Runs a script, as a user does: from a file, since `spawn` loads the file again."""
    file = spool.parent / "script.py"
    file.write_text(code)
    settings = {**os.environ, **server.environment(), "MODELRY_SPOOL_DIR": str(spool), **environment}
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, timeout=SCRIPT_SECONDS, env=settings, check=False
    )
    return Script(done)


def steps(client: Client, run_id: str) -> dict[str, list[int]]:
    return {series.key: list(series.steps) for _, series in client.metrics.read_many([run_id])}


WHILE_IT_SENDS = f"""
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

other = modelry.Client().runs.create().run_id
modelry.Client().metrics.write(other, [("m", 0.5, 0, step) for step in range(1000)], writer_id="w", batch_number=1)

def read():
    while not stop.is_set():
        modelry.Client().runs.get(other)
        list(modelry.Client().metrics.read_many([other]))

def in_children():
{{body}}

with modelry.start_run() as run:
    threads = [threading.Thread(target=each) for each in (loop, read, read)]
    for thread in threads:
        thread.start()
    in_children()
    stop.set()
    for thread in threads:
        thread.join()
print(run.run_id)
print(count)
"""

BY_OS_FORK = f"""
    for number in range({CHILDREN}):
        pid = os.fork()
        if pid == 0:
            log(f"child{{number}}")
            if number % 2:
                sys.exit(0)
            os._exit(1 if modelry.flush(20) else 0)
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

BY_EXECUTOR = f"""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        list(pool.map(log, [f"child{{number}}" for number in range({CHILDREN})]))
"""

BY_GRANDCHILDREN = f"""
    for number in range({CHILDREN}):
        child = os.fork()
        if child == 0:
            grandchild = os.fork()
            if grandchild == 0:
                log(f"child{{number}}")
                sys.exit(0)
            sys.exit(os.waitpid(grandchild, 0)[1])
        assert os.waitpid(child, 0)[1] == 0
"""

# What torch.utils.data.DataLoader does on Linux: daemons by fork, which get indices by a queue until there is None.
BY_WORKERS = f"""
    import multiprocessing
    context = multiprocessing.get_context("fork")

    def work(indices, done):
        for number in iter(indices.get, None):
            log(f"child{{number}}")
            done.put(number)

    indices, done = context.Queue(), context.Queue()
    workers = [context.Process(target=work, args=(indices, done), daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    for number in range({CHILDREN}):
        indices.put(number)
    assert sorted(done.get(timeout=30) for _ in range({CHILDREN})) == list(range({CHILDREN}))
    for worker in workers:
        indices.put(None)
    for worker in workers:
        worker.join(30)
"""


@pytest.mark.parametrize(
    "body",
    [BY_OS_FORK, BY_MULTIPROCESSING, BY_EXECUTOR, BY_GRANDCHILDREN, BY_WORKERS],
    ids=["os.fork", "multiprocessing", "ProcessPoolExecutor", "grandchildren", "workers of a DataLoader"],
)
def test_children_log_to_the_run_of_their_parent_while_it_sends(
    client: Client, server: Deployment, spool: Path, body: str
) -> None:
    script = run(server, spool, WHILE_IT_SENDS.format(body=body.strip("\n")))

    run_id, count = script.lines
    logged = steps(client, run_id)
    assert logged.pop("parent") == list(range(int(count)))
    assert logged == {f"child{number}": list(range(POINTS)) for number in range(CHILDREN)}
    assert client.runs.get(run_id).status == "FINISHED"
    assert script.errors == ""
    assert list(spool.iterdir()) == []


def test_forks_in_a_loop_disturb_nothing_in_the_parent(client: Client, server: Deployment, spool: Path) -> None:
    body = """
    for number in range(60):
        pid = os.fork()
        if pid == 0:
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
"""
    script = run(server, spool, WHILE_IT_SENDS.format(body=body.strip("\n")))

    run_id, count = script.lines
    assert steps(client, run_id) == {"parent": list(range(int(count)))}
    assert script.errors == ""


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
    client: Client, server: Deployment, spool: Path, unique: str
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

    runs = [client.runs.get(run_id) for run_id in script.lines[0].split()]
    experiment = client.experiments.get_by_name(unique)
    assert [each.name for each in runs] == [f"run {number}" for number in range(4)]
    assert [(each.params, each.metrics) for each in runs] == [
        ({"number": str(number)}, {"loss": number / 2}) for number in range(4)
    ]
    assert {(each.status, each.experiment_id) for each in runs} == {("FINISHED", experiment.experiment_id)}
    assert {client.artifacts.read_bytes(f"runs/{each.run_id}", "texts/a.txt") for each in runs} == {b"hello"}
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


def test_a_child_leaves_the_end_of_the_run_to_its_parent(client: Client, server: Deployment, spool: Path) -> None:
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


def test_what_a_child_logs_outlives_a_parent_that_is_killed(client: Client, server: Deployment, spool: Path) -> None:
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
    assert client.runs.get(script.lines[0]).metrics == {"child": 0.5}


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


def test_a_program_that_is_started_meanwhile_disturbs_nothing(client: Client, server: Deployment, spool: Path) -> None:
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
    assert client.runs.get(script.lines[2]).summaries["m"].point_count == 20
    assert script.errors == ""


def test_who_turns_on_the_fork_support_of_grpc_is_warned(server: Deployment, spool: Path) -> None:
    code = "import modelry\nmodelry.start_run().end()"

    warned = run(server, spool, code, GRPC_ENABLE_FORK_SUPPORT="1")
    silent = run(server, spool, code, GRPC_ENABLE_FORK_SUPPORT="0")

    assert "GRPC_ENABLE_FORK_SUPPORT=1 is set" in warned.errors
    assert silent.errors == ""
