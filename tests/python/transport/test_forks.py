"""Parent and children never hang, whatever the parent does while it forks, and each point is recorded once."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelry import Client
from tests.parts.deployment import Deployment
from tests.python.transport.fork_scripts import run, steps

POINTS = 300
CHILDREN = 6

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

# Its end terminates the workers by SIGTERM.
BY_POOL = f"""
    import multiprocessing
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(log, [f"child{{number}}" for number in range({CHILDREN})])
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
    [BY_OS_FORK, BY_MULTIPROCESSING, BY_EXECUTOR, BY_POOL, BY_GRANDCHILDREN, BY_WORKERS],
    ids=["os.fork", "multiprocessing", "ProcessPoolExecutor", "Pool", "grandchildren", "workers of a DataLoader"],
)
def test_children_log_to_the_run_of_their_parent_while_it_sends(
    reader: Client, server: Deployment, spool: Path, body: str
) -> None:
    script = run(server, spool, WHILE_IT_SENDS.format(body=body.strip("\n")))

    run_id, count = script.lines
    logged = steps(reader, run_id)
    assert logged.pop("parent") == list(range(int(count)))
    assert logged == {f"child{number}": list(range(POINTS)) for number in range(CHILDREN)}
    assert reader.runs.get(run_id).status == "FINISHED"
    assert script.errors == ""
    assert list(spool.iterdir()) == []


def test_forks_in_a_loop_disturb_nothing_in_the_parent(reader: Client, server: Deployment, spool: Path) -> None:
    body = """
    for number in range(60):
        pid = os.fork()
        if pid == 0:
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
"""
    script = run(server, spool, WHILE_IT_SENDS.format(body=body.strip("\n")))

    run_id, count = script.lines
    assert steps(reader, run_id) == {"parent": list(range(int(count)))}
    assert script.errors == ""


def test_a_setting_that_is_broken_meanwhile_keeps_nothing_from_being_delivered(
    reader: Client, server: Deployment, spool: Path
) -> None:
    script = run(
        server,
        spool,
        """
import os, sys
import modelry

with modelry.start_run() as active:
    modelry.log_metric("parent", 0.5, step=0)
    modelry.log_text("text", "note.txt")
    print(active.run_id)
    os.environ.update(dict.fromkeys(("MODELRY_BUFFER_POINTS", "MODELRY_TIMEOUT", "MODELRY_EXIT_TIMEOUT"), "-1"))
    modelry.log_text("text", "later.txt")
    pid = os.fork()
    if pid == 0:
        modelry.log_metric("child", 0.5, step=0)
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    modelry.log_metric("parent", 0.5, step=1)
""",
    )

    [run_id] = script.lines
    assert steps(reader, run_id) == {"child": [0], "parent": [0, 1]}
    assert [entry.path for entry in reader.artifacts.list(f"runs/{run_id}")] == ["later.txt", "note.txt"]
    assert reader.runs.get(run_id).status == "FINISHED"
    assert script.errors == ""


WITH_ANOTHER_FOLDER = """
import os, sys
import modelry

def change():
    os.environ["MODELRY_SPOOL_DIR"] = sys.argv[0] + ".spool"

def in_child(*acts):
    pid = os.fork()
    if pid == 0:
        for act in acts:
            act()
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0

def log():
    modelry.log_metric("child", 0.5, step=0)
    modelry.log_text("text", "child.txt")

def start():
    modelry.start_run(run_id)

def begun():
    "A run to which this process has logged, so that its children inherit a recorder."
    run = modelry.start_run()
    modelry.log_metric("parent", 0.5, step=0)
    assert modelry.flush(20)
    return run.run_id

def only_made():
    "A run to which this process has not logged, so that its children make recorders of their own."
    return modelry.Client().runs.create().run_id
"""


@pytest.mark.parametrize(
    "body",
    [
        "run_id = begun(); in_child(log); change()",
        "run_id = begun(); change(); in_child(log)",
        "run_id = only_made(); in_child(start, log); change()",
        "run_id = only_made(); in_child(change, start, log)",
        "run_id = only_made(); in_child(change, lambda: in_child(start, log))",
    ],
    ids=["after the fork", "before it", "after it, own recorder", "in the child", "in a grandchild"],
)
def test_a_folder_that_is_changed_keeps_nothing_from_being_delivered(
    reader: Client, server: Deployment, spool: Path, body: str
) -> None:
    script = run(server, spool, f"{WITH_ANOTHER_FOLDER}\n{body}\nprint(run_id)")

    [run_id] = script.lines
    assert steps(reader, run_id)["child"] == [0]
    assert [entry.path for entry in reader.artifacts.list(f"runs/{run_id}")] == ["child.txt"]
    assert script.errors == ""


def test_a_child_neither_closes_a_channel_nor_collects_what_its_parent_had_dropped(
    server: Deployment, spool: Path
) -> None:
    """Either would call gRPC, which may then wait for ever for a thread that only the parent has."""
    script = run(
        server,
        spool,
        """
import gc, os, weakref
import grpc
import modelry

class Dropped:
    def __del__(self):
        os.write(1, b"collected\\n")

modelry.start_run()
modelry.log_metric("loss", 0.5)
modelry.flush(20)
channels = weakref.WeakSet(each for each in gc.get_objects() if isinstance(each, grpc.Channel))
print(len(channels), flush=True)
gc.disable()
dropped = Dropped()
dropped.itself = dropped
del dropped
pid = os.fork()
if pid == 0:
    gc.collect()
    print(len(channels), flush=True)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
os._exit(0)
""",
    )

    assert script.lines == ["2", "2"]
