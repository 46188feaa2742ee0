"""How a run ends: as the code, the thread or the process that it stands for."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelry import Client
from modelry._sdk.fluent.ending import ended_after, status_after
from tests.parts.deployment import Deployment

_BEGIN = "import sys, threading, modelry\nrun = modelry.start_run()\nprint(run.id, flush=True)\n"
_IN_A_THREAD = """
def work():
    print(modelry.start_run(run_name="of a thread").id, flush=True)
    {body}
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def run(code: str, platform: Deployment, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "MODELRY_TRACKING_URI": platform.address, **environment}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=settings, check=False
    )


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "FINISHED"),
        (BaseExceptionGroup("", [ValueError(), BaseExceptionGroup("", [KeyboardInterrupt()])]), "KILLED"),
        (ExceptionGroup("", [ValueError()]), "FAILED"),
        (SystemExit(), "FINISHED"),
        (SystemExit(False), "FINISHED"),
        (SystemExit(3), "FAILED"),
        (SystemExit(""), "FAILED"),  # Python ends with 1
        (SystemExit(0.0), "FAILED"),  # likewise
        (GeneratorExit(), "FINISHED"),
        (KeyboardInterrupt(), "KILLED"),
        (asyncio.CancelledError(), "KILLED"),
        (MemoryError(), "FAILED"),
    ],
)
def test_the_error_that_ends_the_code_says_how_the_run_ended(error: BaseException | None, status: str) -> None:
    assert status_after(error) == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", "FINISHED"),
        ("sys.exit(0)", "FINISHED"),
        ("sys.exit(1)", "FAILED"),
        ("sys.exit('no data')", "FAILED"),
        ("exit(2)", "FAILED"),
        ("1 / 0", "FAILED"),
        ("raise KeyboardInterrupt", "KILLED"),
        ("sys.excepthook = lambda *_: None\n1 / 0", "FAILED"),
        ("try:\n    sys.exit(1)\nexcept SystemExit:\n    pass", "FINISHED"),
        ("sys.last_value = NameError('an old cell')", "FINISHED"),
        ("try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    sys.last_value = error", "FINISHED"),
    ],
)
def test_a_run_that_is_left_open_ends_as_the_process_does(
    client: Client, platform: Deployment, body: str, status: str
) -> None:
    script = run(_BEGIN + body, platform)

    assert client.runs.get(script.stdout.split()[0]).status == status


def test_the_run_that_a_thread_has_left_ends_as_the_thread_did(client: Client, platform: Deployment) -> None:
    badly = run(_BEGIN + _IN_A_THREAD.format(body="1 / 0"), platform)
    well = run(_BEGIN + _IN_A_THREAD.format(body="pass"), platform)

    assert [client.runs.get(run_id).status for run_id in badly.stdout.split()] == ["FINISHED", "FAILED"]
    assert [client.runs.get(run_id).status for run_id in well.stdout.split()] == ["FINISHED", "FINISHED"]


def test_a_child_of_multiprocessing_ends_its_run_as_it_ends(
    client: Client, platform: Deployment, tmp_path: Path
) -> None:
    code = """
import multiprocessing, sys
import modelry

def work(code):
    print(modelry.start_run().id, flush=True)
    sys.exit(code)

if __name__ == "__main__":
    for method in ("spawn", "fork"):
        for code in (0, 1):
            child = multiprocessing.get_context(method).Process(target=work, args=(code,))
            child.start()
            child.join()
"""
    (tmp_path / "job.py").write_text(code)
    settings = {**os.environ, "MODELRY_TRACKING_URI": platform.address}
    script = subprocess.run(
        [sys.executable, str(tmp_path / "job.py")], capture_output=True, text=True, timeout=60, env=settings, check=True
    )

    statuses = [client.runs.get(run_id).status for run_id in script.stdout.split()]
    assert statuses == ["FINISHED", "FAILED", "FINISHED", "FAILED"]


_HANDLER = """
import os, signal
import modelry
run = modelry.start_run()
print(run.id, flush=True)
{handler}
class Late:
    def __float__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        return 1.0
modelry.log_metric("a", 1.0)
modelry.log_metric("a", Late())
"""


@pytest.mark.parametrize(
    ("handler", "code", "status"),
    [
        ("signal.signal(signal.SIGTERM, lambda *_: (modelry.end_run('KILLED'), os._exit(7)))", 7, "KILLED"),
        ("import sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(8))", 8, "FAILED"),
        (
            "def stop(*_):\n    modelry.log_param('why', 'stopped')\n    modelry.flush()\n"
            "    modelry.end_run('KILLED')\n    os._exit(9)\nsignal.signal(signal.SIGTERM, stop)",
            9,
            "KILLED",
        ),
    ],
)
def test_a_signal_handler_ends_the_run_wherever_the_signal_comes(
    client: Client, platform: Deployment, handler: str, code: int, status: str
) -> None:
    script = run(_HANDLER.format(handler=handler), platform)

    found = client.runs.get(script.stdout.split()[0])
    assert (script.returncode, found.status, found.metrics) == (code, status, {"a": 1.0})


def test_signals_that_come_all_the_time_stop_nothing_and_lose_nothing(client: Client, platform: Deployment) -> None:
    code = """
import itertools, signal
import modelry
run = modelry.start_run()
print(run.id, flush=True)
numbers = itertools.count()
def tick(*_):
    number = next(numbers)
    modelry.log_metric("tick", 1.0, step=number)
    modelry.log_param(f"p{number}", number)
signal.signal(signal.SIGALRM, tick)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
for step in range(100_000):
    modelry.log_metric("loss", 1.0, step=step)
    if step % 20_000 == 0:
        modelry.flush(20)
signal.setitimer(signal.ITIMER_REAL, 0)
modelry.end_run()
print(next(numbers))
"""
    script = run(code, platform)

    run_id, ticks = script.stdout.split()
    found = client.runs.get(run_id)
    assert found.summaries["loss"].point_count == 100_000
    assert found.summaries["tick"].point_count == int(ticks) == len(found.params)


def test_interrupts_that_come_all_the_time_lose_no_point_that_was_logged(client: Client, platform: Deployment) -> None:
    code = """
import signal
import modelry
run = modelry.start_run()
print(run.id, flush=True)
def tick(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, tick)
logged = step = 0
try:
    while step < 30_000:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0007)
            while step < 30_000:
                modelry.log_metric("loss", 1.0, step=step)
                logged += 1
                step += 1
        except KeyboardInterrupt:
            step += 1
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
except KeyboardInterrupt:
    pass  # the last alarm came after the loop
modelry.end_run()
print(logged)
"""
    script = run(code, platform)

    run_id, logged = script.stdout.split()
    assert int(logged) <= client.runs.get(run_id).summaries["loss"].point_count <= 30_000


@pytest.mark.parametrize("value", ["1.0", "np.float32(1.0)", "torch_like"])
def test_what_a_handler_raises_reaches_the_training_and_doubles_no_point(
    client: Client, platform: Deployment, value: str
) -> None:
    """As in every recipe for a time limit: a handler of SIGALRM that raises an ordinary error."""
    code = f"""
import functools, signal
import numpy as np
import modelry

class TorchLike:
    def item(self):
        return 1.0

torch_like = TorchLike()
run = modelry.start_run()
print(run.id, flush=True)
raised = caught = step = 0
def tick(place, *_):
    global raised
    raised += 1
    raise TimeoutError("time is up")
signal.signal(signal.SIGALRM, functools.partial(tick, "a place"))
while raised < 500:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0007)
        before = raised
        while raised == before:
            step += 1
            modelry.log_metrics({{"loss": {value}}}, step=step)
            modelry.set_tags({{"value": {value}}})
    except TimeoutError:
        caught += 1
modelry.end_run()
print(raised, caught, step, modelry.flush())
"""
    script = run(code, platform)

    run_id, raised, caught, steps, flushed = script.stdout.split()
    columns = client.metrics.read(run_id, "loss")
    assert (raised, flushed, script.stderr) == (caught, "True", "")
    assert len(columns.steps) == len(set(columns.steps)) >= int(steps) - int(caught)


_REFUSING = """
import threading, modelry
real, left = threading.Thread.start, [{count}]
def start(self):
    if left[0]:
        left[0] -= 1
        raise RuntimeError("can't start new thread")
    real(self)
{when}
run = modelry.start_run()
print(run.id, flush=True)
for step in range(1000):
    modelry.log_metric("loss", 1.0, step=step)
{then}
"""


@pytest.mark.parametrize("then", ["", "modelry.end_run()", "assert modelry.flush()"])
@pytest.mark.parametrize(
    ("count", "when"),
    [
        (3, "threading.Thread.start = start"),
        (10**9, "threading.Thread.start = start"),
        (10**9, "threading._register_atexit(lambda: setattr(threading.Thread, 'start', start))"),
    ],
)
def test_where_no_thread_can_be_started_everything_arrives_nevertheless(
    client: Client, platform: Deployment, count: int, when: str, then: str
) -> None:
    script = run(_REFUSING.format(count=count, when=when, then=then), platform)

    found = client.runs.get(script.stdout.split()[0])
    assert script.stderr == ""
    assert (found.summaries["loss"].point_count, found.status) == (1000, "FINISHED")


def test_a_file_for_which_grpc_gets_no_thread_is_kept_and_sent_later(client: Client, platform: Deployment) -> None:
    when, then = "threading.Thread.start = start", "modelry.log_text('a', 'a.txt')"
    for_a_while = run(_REFUSING.format(count=3, when=when, then=then), platform)
    for_ever = run(_REFUSING.format(count=10**9, when=when, then=then), platform)

    run_id = for_a_while.stdout.split()[0]
    assert client.runs.get(run_id).status == "FINISHED"
    assert client.artifacts.read_bytes(f"runs/{run_id}", "a.txt") == b"a"
    assert "Traceback" not in for_a_while.stderr + for_ever.stderr
    assert "modelry sync" in for_ever.stderr


_NO_DATA = {"code": "1", "error": "SystemExit: no data"}
_UNSEEN: dict[str, str] = {}


@pytest.mark.parametrize(
    ("body", "tags"),
    [
        ("", {"code": "0"}),
        ("sys.exit(3)", {"code": "3"}),
        ("sys.exit('no data')", _NO_DATA),
        ("raise SystemExit('no data')", _UNSEEN if sys.version_info < (3, 12) else _NO_DATA),
        ("1 / 0", {"code": "1", "error": "ZeroDivisionError: division by zero"}),
        ("raise KeyboardInterrupt", {"signal": "SIGINT"}),
        ("with run:\n    raise ValueError('a\\nb')", {"error": "ValueError: a b"}),
        ("with run:\n    sys.exit(-1)", {"code": "255"}),
        ("with run:\n    pass", {}),
        ("modelry.end_run('FAILED')\nsys.exit(3)", {}),
    ],
)
def test_tags_say_how_a_run_has_ended(client: Client, platform: Deployment, body: str, tags: dict[str, str]) -> None:
    script = run(_BEGIN + body, platform)

    found = client.runs.get(script.stdout.split()[0]).tags
    assert {key.removeprefix("modelry.exit."): found[key] for key in found if "modelry.exit" in key} == tags


def test_a_run_that_is_continued_has_the_tags_of_its_last_end_only(client: Client, platform: Deployment) -> None:
    first = run(_BEGIN + "1 / 0", platform)
    run_id = first.stdout.split()[0]

    run(_BEGIN, platform, MODELRY_RUN_ID=run_id)

    ended = client.runs.get(run_id)
    found = client.runs.search(filter=f"tags.`modelry.exit.code` = '0' AND run_id = '{run_id}'")
    assert (ended.status, ended.tags["modelry.exit.error"], len(found)) == ("FINISHED", "", 1)


def test_the_text_of_an_error_is_bounded_and_has_no_passwords_of_urls() -> None:
    class Hostile(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    told = [
        ended_after(error).tags["modelry.exit.error"]
        for error in (ValueError("x" * 5000), OSError("no answer from http://ada:secret@host/"), Hostile(), KeyError())
    ]

    assert [len(told[0]), told[1]] == [500, "OSError: no answer from http://***@host/"]
    assert "can't be shown" in told[2]
    assert told[3] == "KeyError"


def test_only_ranks_that_fail_say_how_they_have_ended(client: Client, platform: Deployment) -> None:
    run_id = client.runs.create("0").run_id
    for rank, body in (("0", "sys.exit(4)"), ("1", "")):
        run(_BEGIN + body, platform, MODELRY_RUN_ID=run_id, RANK=rank)

    assert client.runs.get(run_id).tags["modelry.exit.code"] == "4"


def test_a_child_of_multiprocessing_says_by_which_signal_it_was_ended(client: Client, platform: Deployment) -> None:
    code = (
        "import multiprocessing, threading, modelry\n"
        "def work(ids):\n"
        "    ids.put(modelry.start_run().run_id)\n"
        "    modelry.flush()\n"
        "    threading.Event().wait(60)\n"
        "context = multiprocessing.get_context('fork')\n"
        "ids = context.SimpleQueue()\n"
        "child = context.Process(target=work, args=(ids,))\n"
        "child.start()\n"
        "print(ids.get())\n"
        "child.terminate()\n"
        "child.join()\n"
    )

    script = run(code, platform)

    assert client.runs.get(script.stdout.split()[0]).tags["modelry.exit.signal"] == "SIGTERM"
