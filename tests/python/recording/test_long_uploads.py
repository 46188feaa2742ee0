"""An upload that takes longer than it may holds up no other, is not lost, and is divided where it can be."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelry
from modelry import Client
from modelry._sdk.recording import sync
from modelry._sdk.spooling import kept
from tests.parts.deployment import Deployment, running
from tests.parts.eventually import eventually
from tests.parts.slow_link import slow_link
from tests.python.recording.scripts import PATIENCE_S, leave, run_script

RATE = 4e6
MOST_S = 1
"""How long the server lets an upload take."""


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server that ends long uploads."""
    settings = {"artifacts.upload-limit": f"{MOST_S}s"}
    with running("all", tmp_path_factory.mktemp("strict"), settings=settings) as deployment:
        yield deployment


@pytest.fixture
def link(strict: Deployment) -> Iterator[str]:
    with slow_link(strict.address, RATE) as address:
        yield address


def large(path: Path) -> Path:
    """A file that takes three times as long as it may."""
    path.write_bytes(os.urandom(int(3 * MOST_S * RATE)))
    return path


def paths(client: Client, run_id: str) -> list[str]:
    return [entry.path for entry in client.artifacts.list(f"runs/{run_id}")]


def test_a_file_that_takes_too_long_holds_up_no_other_and_is_kept_and_told(
    strict: Deployment, link: str, spool: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Client(strict.address)
    modelry.set_tracking_uri(link)
    with caplog.at_level(logging.WARNING, "modelry"), modelry.start_run() as run:
        modelry.log_artifact(large(tmp_path / "large.bin"))
        modelry.log_text("small", "small.txt")
        eventually(lambda: paths(reader, run.id) == ["small.txt"], within_s=PATIENCE_S)
        eventually(lambda: "tried again now and then" in caplog.text, within_s=PATIENCE_S)
        began = time.monotonic()
        flushed = modelry.flush(PATIENCE_S)
        took = time.monotonic() - began
    left = kept.left_in(spool)
    leave(left[0])
    modelry.sync(strict.address)

    assert (flushed, len(left)) == (False, 1)
    assert took < PATIENCE_S / 2
    assert "longer than the 1 s that the server allows" in caplog.text
    assert sorted(paths(reader, run.id)) == ["large.bin", "small.txt"]
    assert kept.left_in(spool) == []


def test_a_file_of_a_child_that_takes_too_long_holds_up_no_other(
    strict: Deployment, link: str, spool: Path, tmp_path: Path
) -> None:
    code = f"""
import os, sys, modelry
modelry.Client().workspaces.get("default")
run = modelry.start_run()
for path in ({str(large(tmp_path / "large.bin"))!r}, __file__):
    pid = os.fork()
    if pid == 0:
        modelry.log_artifact(path)
        sys.exit(0)
    os.waitpid(pid, 0)
print(run.id, modelry.flush(20))
""".replace("__file__", repr(str(tmp_path / "small.txt")))
    (tmp_path / "small.txt").write_text("small")
    script = run_script(code, link, spool, MODELRY_EXIT_TIMEOUT="5s")

    run_id, flushed = script.stdout.split()
    assert (paths(Client(strict.address), run_id), flushed) == (["small.txt"], "False")
    assert "tried again now and then" in script.stderr
    assert "run `modelry sync`" in script.stderr


def test_files_that_take_too_long_in_one_stream_are_sent_in_several(
    strict: Deployment, link: str, spool: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    content = {f"{number}.bin": os.urandom(int(MOST_S * RATE / 4)) for number in range(6)}
    for name, each in content.items():
        (folder / name).write_bytes(each)
    modelry.set_tracking_uri(link)
    with modelry.start_run() as run:
        modelry.log_artifacts(folder)
        flushed = modelry.flush(2 * PATIENCE_S)

    reader = Client(strict.address)
    found = {path: reader.artifacts.read_bytes(f"runs/{run.id}", path) for path in paths(reader, run.id)}
    assert (found, flushed) == (content, True)
    assert kept.left_in(spool) == []


def test_a_sync_sends_files_in_several_streams_too(strict: Deployment, link: str, spool: Path, tmp_path: Path) -> None:
    reader = Client(strict.address)
    run_id = reader.runs.create().run_id
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.bin").write_bytes(os.urandom(int(MOST_S * RATE / 4)))
    made = kept.keep_files(spool, {"address": link}, f"runs/{run_id}", "", folder)
    leave(made.folder)
    told: list[tuple[int, int]] = []

    report = sync.deliver(folder=spool, progress=lambda *state: told.append(state))

    assert (report.files_left, report.problems) == (0, ())
    assert report.files_delivered == report.requests_delivered > 1
    assert told[-1][0] == told[-1][1]
    assert len(paths(reader, run_id)) == 6


def test_files_that_belong_together_are_not_sent_in_several_streams(
    strict: Deployment, link: str, spool: Path, tmp_path: Path
) -> None:
    reader = Client(strict.address)
    run_id = reader.runs.create().run_id
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(2):
        large(folder / f"{number}.bin")
    made = kept.keep_files(spool, {"address": link}, f"runs/{run_id}", "", folder, whole=True)
    leave(made.folder)

    (problem,) = sync.deliver(folder=spool).problems

    assert "longer than the 1 s that the server allows" in problem
    assert kept.left_in(spool) == [made.folder]
    leave(made.folder)
    assert sync.deliver(strict.address, folder=spool).problems == ()
    assert paths(reader, run_id) == ["0.bin", "1.bin"]
