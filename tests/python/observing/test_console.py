"""Console output: what runs get of it, how it is sent, and that the streams are not disturbed."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import modelry
from modelry import Client
from modelry._sdk.observing import console as consoles
from modelry._sdk.observing.console import Console
from modelry._sdk.observing.transcript import Files
from modelry._sdk.transport import process
from modelry.errors import InvalidArgument, RunNotFound
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually
from tests.python.observing.conftest import Program


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch, fluent: None) -> None:
    monkeypatch.setenv("MODELRY_CONSOLE", "1")
    monkeypatch.setenv("MODELRY_CONSOLE_INTERVAL", "200ms")


Terminal = Callable[[], Callable[[], str]]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Gives the program streams of its own; pytest would take those of a fixture away. Answers with what came there."""

    def begin() -> Callable[[], str]:
        shown = io.BytesIO()
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, io.TextIOWrapper(shown, "utf-8", write_through=True))
        return lambda: shown.getvalue().decode()

    return begin


def texts(client: Client, run: modelry.ActiveRun, **chosen: Any) -> list[tuple[str, str]]:
    return [(line.stream, line.text) for line in client.runs.console(run.run_id, **chosen)]


def test_output_is_there_while_the_run_goes_and_complete_after_it(client: Client, terminal: Terminal) -> None:
    shown = terminal()
    print("before")
    with modelry.start_run() as run:
        print("epoch", 1)
        print("careful", file=sys.stderr)
        sys.stdout.write("\r10%")
        during = eventually(lambda: len(found := texts(client, run)) == 3 and found)
        print("\r100%")
        sys.stdout.writelines(["no end"])
    print("after")

    after = eventually(lambda: len(found := texts(client, run)) == 4 and found)
    assert during == [("stdout", "epoch 1"), ("stderr", "careful"), ("stdout", "10%")]
    assert after == [("stdout", "epoch 1"), ("stderr", "careful"), ("stdout", "100%"), ("stdout", "no end")]
    assert shown() == "before\nepoch 1\ncareful\n\r10%\r100%\nno endafter\n"


def test_flush_the_end_of_a_run_and_reads_wait_for_what_was_printed(
    client: Client, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal()
    monkeypatch.setenv("MODELRY_CONSOLE_INTERVAL", "1h")

    found = []
    with modelry.start_run() as run:
        for wait in (modelry.flush, run.flush, modelry.last_active_run):
            print("line\n" * 1_000, end="")
            assert wait()
            found.append(len(texts(client, run)))
        print("line\n" * 1_000, end="")
    found.append(len(texts(client, run)))

    assert found == [1_000, 2_000, 3_000, 4_000]


def test_flush_says_that_what_was_printed_is_not_sent_in_its_time(
    program: Program, tmp_path: Path, platform: Deployment
) -> None:
    code = """
import modelry, time
run = modelry.start_run()
print("line")
began = time.monotonic()
print(modelry.flush(0.5), time.monotonic() - began < 5)
"""
    away = {"MODELRY_TRACKING_URI": "127.0.0.1:1", "MODELRY_START_TIMEOUT": "300ms", "MODELRY_EXIT_TIMEOUT": "1s"}
    ran = program(code, folder=tmp_path, MODELRY_CONSOLE="1", MODELRY_SPOOL_DIR=str(tmp_path / "spool"), **away)

    assert ran.stdout.split() == ["line", "False", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGALRM")
def test_flush_ends_in_signal_handlers_forked_children_and_handlers_of_logs(
    client: Client, program: Program, tmp_path: Path
) -> None:
    code = """
import io, logging, os, signal, sys, modelry
class Flushing(logging.Handler):
    def emit(self, record):
        modelry.flush()
logging.getLogger("modelry").addHandler(Flushing())
logging.getLogger("modelry").setLevel("DEBUG")
handled = 0
def on_alarm(number, frame):
    global handled
    handled += 1
    print("in the handler")
    modelry.flush()
    signal.setitimer(signal.ITIMER_REAL, 0.001)
signal.signal(signal.SIGALRM, on_alarm)
sys.stdout = io.StringIO()  # a buffered file refuses what a handler prints while it is printed to
with modelry.start_run() as run:
    print(run.run_id)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    while handled < 50:
        print("line")
        modelry.flush()
    signal.setitimer(signal.ITIMER_REAL, 0)
    child = os.fork()
    if not child:
        modelry.flush(5)
        os._exit(7)
    print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
sys.__stdout__.write(sys.stdout.getvalue())
"""
    ran = program(code, folder=tmp_path, MODELRY_CONSOLE="1", MODELRY_CONSOLE_INTERVAL="1h").stdout.split("\n")

    lines = [line.text for line in client.runs.console(ran[0])]
    assert lines[-1] == "child 7"
    assert lines.count("in the handler") >= 50


def test_lines_are_searched_and_followed_until_the_run_ends(client: Client, terminal: Terminal) -> None:
    terminal()
    seen: list[str] = []
    with modelry.start_run() as run:
        follower = threading.Thread(
            target=lambda: seen.extend(line.text for line in client.runs.console(run.run_id, follow=True, grep="loss"))
        )
        follower.start()
        for epoch in range(3):
            print(f"epoch {epoch}\nloss {epoch}")
            eventually(lambda: len(texts(client, run, grep="loss")) == epoch + 1)  # noqa: B023
    follower.join(30)

    assert seen == ["loss 0", "loss 1", "loss 2"]


def test_what_can_not_be_read_is_refused(client: Client) -> None:
    with pytest.raises(RunNotFound):
        client.runs.console("0" * 32)
    with modelry.start_run() as run, pytest.raises(InvalidArgument, match=r"grep='\('"):
        list(client.runs.console(run.run_id, grep="("))


class Stalled:
    """What takes the files of a run once it is let `go`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.is_waiting, self.go = threading.Event(), threading.Event()
        self.kept = Files(self.send, self.files.__delitem__)

    def send(self, path: str, content: bytes, is_last: bool) -> bool:
        self.is_waiting.set()
        assert self.go.wait(60)
        self.files[path] = content
        return True

    def texts(self) -> list[str]:
        lines = b"".join(self.files[path] for path in sorted(self.files)).decode().splitlines()
        return [line.split(" ", 3)[3] for line in lines]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little may wait in memory."""
    for name, size in {"_WAKE": 1 << 14, "_MOST": 1 << 18, "_LONGEST": 1 << 16}.items():
        monkeypatch.setattr(consoles, name, size)


def test_of_what_is_printed_faster_than_it_is_sent_the_first_and_the_last_is_kept(
    terminal: Terminal, small: None
) -> None:
    terminal()
    server, console = Stalled(), Console()
    transcript = console.record(server.kept)
    assert transcript is not None

    print("first")
    assert server.is_waiting.wait(30)
    for number in range(10_000):
        print(f"line {number:05} " + "x" * 50)
    print("RESULT: accuracy 0.93")
    waiting = sum(len(piece[2]) + 64 for piece in (*console._ahead, *console._pieces) if isinstance(piece, tuple))
    console.end(transcript)
    server.go.set()
    console.at_exit()

    lines = server.texts()
    (place,) = [place for place, text in enumerate(lines) if "left out here" in text]
    before, after = lines[:place], [text for text in lines[place + 1 :] if text]
    lost = int(lines[place].split()[1].replace(",", ""))
    assert waiting <= 1 << 18
    assert (before[0], before[1][:10], after[-2][:10], after[-1]) == (
        "first",
        "line 00000",
        "line 09999",
        "RESULT: accuracy 0.93",
    )
    assert len(before) > 200
    assert len(after) > 500
    assert sum(len(text) + 1 for text in (*before, *after)) + lost - 10_000 * 62 - len(
        "first\n" + after[-1] + "\n"
    ) in (0, 1)


def test_what_is_left_out_takes_nothing_from_the_runs_before_and_after(terminal: Terminal, small: None) -> None:
    terminal()
    servers, console = [Stalled() for _ in range(3)], Console()

    for number, server in enumerate(servers):
        transcript = console.record(server.kept)
        assert transcript is not None
        print(f"start {number}")
        assert number or server.is_waiting.wait(30)
        if number == 1:
            print("line\n" * 10, end="")
            for _ in range(10_000):
                print("x" * 50)
        print(f"end {number}")
        console.end(transcript)
    for server in servers:
        server.go.set()
    console.at_exit()

    assert [(each.texts()[0], each.texts()[-1]) for each in servers] == [(f"start {n}", f"end {n}") for n in range(3)]
    assert [sum("left out here" in text for text in each.texts()) for each in servers] == [0, 1, 0]
    assert (len(servers[0].texts()), len(servers[2].texts())) == (2, 2)


def test_of_a_text_that_is_very_long_the_first_and_the_last_is_kept(terminal: Terminal, small: None) -> None:
    shown = terminal()
    server, console = Stalled(), Console()
    server.go.set()
    transcript = console.record(server.kept)
    assert transcript is not None

    text = "".join(f"line {number}\n" for number in range(100_000))
    assert sys.stdout.write(text) == len(text)
    console.end(transcript)
    console.at_exit()

    lines = server.texts()
    assert shown() == text
    assert (lines[0], lines[-1]) == ("line 0", "line 99999")
    assert f"… {len(text) - (1 << 16):,} characters are left out here" in lines
    assert 5_000 < len(lines) < 10_000


def test_secrets_are_masked(client: Client, terminal: Terminal) -> None:
    terminal()
    with modelry.start_run() as run:
        print("connecting to https://ada:pw123456@example.com with api_key=q7Rt5Yp0Lm")

    ((_, text),) = eventually(lambda: texts(client, run))
    assert text == "connecting to https://***@example.com with api_key=***"


def test_a_private_key_is_masked_that_is_printed_in_several_parts(client: Client, terminal: Terminal) -> None:
    terminal()
    with modelry.start_run() as run:
        for line in (
            "-----BEGIN PRIVATE KEY-----",
            "MIIEvQ" * 10,
            "q7Rt5Yp0Lm",
            "more",
            "-----END PRIVATE KEY-----",
            "done",
        ):
            print(line)
            print("epoch 1: loss 0.3", file=sys.stderr)
            assert modelry.flush()

    eventually(lambda: len(texts(client, run)) == 12)
    found = texts(client, run)
    assert [text for stream, text in found if stream == "stdout"] == [*["***"] * 5, "done"]
    assert {text for stream, text in found if stream == "stderr"} == {"epoch 1: loss 0.3"}


def test_the_streams_are_the_same_objects_and_are_given_back(terminal: Terminal) -> None:
    shown = terminal()
    stream, handler = sys.stdout, logging.StreamHandler(sys.stderr)
    with modelry.start_run(), modelry.start_run(nested=True):
        assert sys.stdout is stream
        assert stream.encoding == "utf-8"
        assert not stream.isatty()
        handler.emit(logging.LogRecord("x", logging.INFO, "", 1, "by a handler", (), None))

    assert "write" not in vars(stream)
    assert shown() == "by a handler\n"


def test_another_replacement_of_write_stays(client: Client, terminal: Terminal) -> None:
    shown = terminal()
    stream: Any = sys.stdout
    noted: list[str] = []
    with modelry.start_run() as run:
        ours = stream.write

        def noting(text: str) -> Any:
            noted.append(text)
            return ours(text)

        stream.write = noting
        print("twice")
    print("later")

    assert noted == ["twice", "\n", "later", "\n"]
    assert eventually(lambda: texts(client, run)) == [("stdout", "twice")]
    assert shown() == "twice\nlater\n"


def test_streams_that_fail_or_are_missing_fail_as_before(
    client: Client, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal()

    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            if text == "nobody reads this":
                raise BrokenPipeError(32, "Broken pipe")
            return super().write(text)

    monkeypatch.setattr(sys, "stdout", Broken())
    monkeypatch.setattr(sys, "stderr", None)
    with modelry.start_run() as run:
        with pytest.raises(BrokenPipeError):
            print("nobody reads this")
        with pytest.raises(TypeError):
            sys.stdout.write(1)  # type: ignore[arg-type]

    assert eventually(lambda: texts(client, run)) == [("stdout", "nobody reads this")]


def test_a_run_gets_the_output_of_its_time_and_a_nested_one_none(client: Client, terminal: Terminal) -> None:
    terminal()
    with modelry.start_run() as first:
        print("of the first")
        with modelry.start_run(nested=True) as nested:
            print("in the nested one")
    with modelry.start_run() as second:
        print("of the second")

    assert [text for _, text in eventually(lambda: texts(client, second))] == ["of the second"]
    assert [text for _, text in eventually(lambda: texts(client, first))] == ["of the first", "in the nested one"]
    assert texts(client, nested) == []


def test_the_setting_turns_it_off(client: Client, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal()
    monkeypatch.setenv("MODELRY_CONSOLE", "0")
    with modelry.start_run() as run:
        print("not kept")
        assert "write" not in vars(sys.stdout)

    assert process.current().part(Console)._thread is None
    assert texts(client, run) == []


def test_a_run_whose_block_raises_gets_the_traceback(client: Client, program: Program, tmp_path: Path) -> None:
    code = """
import modelry
with modelry.start_run() as run:
    print(run.run_id, flush=True)
    try:
        [][1]
    except IndexError as error:
        print("caught")
    modelry.log_metric("loss", 1)
    if LAST:
        raise ValueError("bad rows")
"""
    run_id = program(code.replace("LAST", "False"), folder=tmp_path, MODELRY_CONSOLE="1").stdout.split()[0]
    ended = program(code.replace("LAST", "True"), folder=tmp_path, MODELRY_CONSOLE="1", fails="1")
    failed_id = ended.stdout.split()[0]

    assert [line.text for line in client.runs.console(run_id)] == [run_id, "caught"]
    lines = list(client.runs.console(failed_id))
    assert [line.text for line in lines if line.stream == "stdout"] == [failed_id, "caught"]
    traceback = [line.text for line in lines if line.stream == "stderr"]
    assert traceback[0] == "Traceback (most recent call last):"
    assert traceback[-1] == "ValueError: bad rows"
    assert "ValueError: bad rows" in ended.stderr


def test_an_error_that_nobody_catches_is_in_the_run_that_the_process_leaves(
    client: Client, program: Program, tmp_path: Path
) -> None:
    code = "import modelry\nprint(modelry.start_run().run_id)\nprint('on')\nraise ValueError('bad rows')\n"
    run_id = program(code, folder=tmp_path, MODELRY_CONSOLE="1", fails="1").stdout.split()[0]

    assert [line.text for line in client.runs.console(run_id)][-1] == "ValueError: bad rows"


def test_each_rank_has_its_own_console(client: Client, program: Program, tmp_path: Path, unique: str) -> None:
    code = """
import os, modelry
run = modelry.start_run(run_id=os.environ["SHARED"])
print("from", os.environ["RANK"])
run.end()
"""
    run_id = client.runs.create("0").run_id
    for rank in ("0", "1"):
        job = {"RANK": rank, "WORLD_SIZE": "2", "SHARED": run_id}
        program(code, folder=tmp_path, MODELRY_CONSOLE="1", **job)

    assert [(line.rank, line.text) for line in client.runs.console(run_id)] == [(0, "from 0"), (1, "from 1")]
    assert [line.text for line in client.runs.console(run_id, rank=1)] == ["from 1"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_disturbs_nothing(client: Client, program: Program, tmp_path: Path) -> None:
    code = """
import os, sys, modelry
with modelry.start_run() as run:
    print(run.run_id, flush=True)
    child = os.fork()
    if not child:
        print("child", "write" in vars(sys.stdout), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print("parent")
"""
    ran = program(code, folder=tmp_path, MODELRY_CONSOLE="1").stdout.split("\n")

    assert ran[1:3] == ["child False", "parent"]
    assert [line.text for line in client.runs.console(ran[0])] == [ran[0], "parent"]


def test_output_without_a_server_is_delivered_later(
    client: Client, program: Program, tmp_path: Path, platform: Deployment
) -> None:
    code = "import modelry\nwith modelry.start_run() as run:\n    print(run.run_id)\n"
    away = {"MODELRY_TRACKING_URI": "127.0.0.1:1", "MODELRY_START_TIMEOUT": "300ms", "MODELRY_SNAPSHOT": "0"}
    spool = str(tmp_path / "spool")

    run_id = program(code, folder=tmp_path, MODELRY_CONSOLE="1", MODELRY_SPOOL_DIR=spool, **away).stdout.strip()
    program(
        "import modelry, os\nmodelry.sync(os.environ['TO'])",
        folder=tmp_path,
        MODELRY_SPOOL_DIR=spool,
        TO=platform.address,
    )

    assert run_id in [line.text for line in client.runs.console(run_id)]
