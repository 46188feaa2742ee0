"""The registry is restored from a backup: a reader of events is told if it had read what was lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelry.api.access import v1 as access
from modelry.api.registry import v1 as api
from modelry.api.tracking import v1 as tracking
from modelry_server.targets import ROOMS
from tests.contract.registry.conftest import WORKSPACE, Platform, unique
from tests.docs import pages
from tests.parts.deployment import Deployment, running
from tests.parts.refusal import refused

LOST = 5
NEW = 8


def documented(command: str) -> str:
    """The code block of the operating guide that has a command."""
    [found] = [block.text for block in pages.blocks("docs/operating.md") if command in block.text]
    return found


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """The platform at work on SQLite files."""
    with running("all", tmp_path / "platform") as started:
        yield started


@pytest.fixture
def platform(deployment: Deployment) -> Platform:
    """The stubs of the platform."""
    return Platform.of(deployment)


@pytest.fixture
def run(deployment: Deployment, tmp_path: Path) -> Callable[[str], None]:
    """Runs a documented command. Where there is no program `sqlite3`, Python's module executes its SQL."""
    programs = tmp_path / "programs"
    programs.mkdir()
    if shutil.which("sqlite3") is None:
        program = programs / "sqlite3"
        program.write_text(
            f"#!{sys.executable}\nimport sqlite3, sys\nsqlite3.connect(sys.argv[1]).execute(sys.argv[2])\n"
        )
        program.chmod(0o700)
    folders = {"DATA": str(deployment.folder), "BACKUP": str(tmp_path / "backup")}
    environment = {**os.environ, **folders, "PATH": f"{programs}:{os.environ['PATH']}"}

    def run_it(command: str) -> None:
        ended = subprocess.run(
            ["bash", "-ec", command], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        assert ended.stderr == ""

    return run_it


@contextmanager
def training(deployment: Deployment) -> Iterator[None]:
    """A block in which others write without a pause, each to a database: runs, and tags in a workspace of their own."""
    workspace = unique("team")
    deployment.stub(access.WorkspaceServiceStub).CreateWorkspace(access.CreateWorkspaceRequest(name=workspace))
    models, runs = deployment.stub(api.ModelServiceStub), deployment.stub(tracking.RunServiceStub)
    models.CreateModel(api.CreateModelRequest(workspace=workspace, name="theirs"))
    stop = threading.Event()

    def write(one: Callable[[int], object]) -> int:
        count = 0
        while not stop.is_set():
            one(count)
            count += 1
        return count

    def tag(number: int) -> None:
        tags = {"n": str(number)}
        models.SetModelTags(api.SetModelTagsRequest(workspace=workspace, model_name="theirs", tags=tags))

    with ThreadPoolExecutor(2) as pool:
        runs_made = pool.submit(write, lambda number: runs.CreateRun(tracking.CreateRunRequest(experiment_id="0")))
        tags_made = pool.submit(write, tag)
        try:
            yield
        finally:
            stop.set()
        assert min(runs_made.result(20), tags_made.result(20)) > 0


def change(platform: Platform, model_name: str, count: int) -> None:
    """Makes changes of a model: an event each."""
    for number in range(count):
        request = api.SetModelTagsRequest(workspace=WORKSPACE, model_name=model_name, tags={"n": str(number)})
        platform.models.SetModelTags(request, wait_for_ready=True)


def after(cursor: str) -> api.ListEventsRequest:
    return api.ListEventsRequest(workspace=WORKSPACE, after_cursor=cursor)


def test_a_reader_never_skips_an_event_in_silence_after_a_restore(
    deployment: Deployment, platform: Platform, run: Callable[[str], None], tmp_path: Path
) -> None:
    model = platform.a_model().name
    change(platform, model, 2)
    slow_reader = platform.events.ListEvents(after("")).next_cursor
    with training(deployment):
        run(documented("VACUUM INTO"))
    copies = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "backup").iterdir()}
    assert copies == {f"{room}.db": 0o600 for room in ROOMS}
    change(platform, model, LOST)
    read = platform.events.ListEvents(after(slow_reader))
    assert len(read.events) == LOST

    deployment.kill()
    run(documented('cp "$BACKUP'))
    deployment.start()
    change(platform, model, NEW)

    for cursor in [event.cursor for event in read.events] + [read.next_cursor]:
        refusal = refused(platform.events.ListEvents, after(cursor))
        assert (refusal.code, refusal.reason) == ("OUT_OF_RANGE", "CURSOR_OUT_OF_RANGE")
    assert len(platform.events.ListEvents(after(slow_reader)).events) == NEW
    assert platform.events.ListEvents(after(refusal.metadata["newest_cursor"])).events == []
    everything = platform.events.ListEvents(after(refusal.metadata["oldest_cursor"])).events
    assert len(everything) == 3 + NEW
    assert everything == platform.events.ListEvents(after("")).events
