"""What a run records of itself holds up no flush, and is there after one where the server takes it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelry
from modelry import Client
from modelry._sdk.observing.snapshots import Snapshots
from modelry._sdk.spooling import kept
from modelry._sdk.transport import process
from tests.parts.deployment import Deployment, running

PATIENCE_S = 60.0
SOON_S = 25.0
"""Less than the patience of a flush, and more than its few seconds on a busy machine."""


@pytest.fixture
def split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """Four services on SQLite, of which tests end one; programs find each of them."""
    with running("split", tmp_path / "data") as deployment:
        for variable, value in deployment.environment().items():
            monkeypatch.setenv(variable, value)
        monkeypatch.setenv("MODELRY_CONSOLE", "1")
        modelry.set_tracking_uri(deployment.address)
        yield deployment


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "spool"
    monkeypatch.setenv("MODELRY_SPOOL_DIR", str(folder))
    return folder


def test_a_flush_waits_for_it_no_longer_than_a_moment_while_the_artifacts_are_away(
    split: Deployment, spool: Path
) -> None:
    split.kill("artifacts")

    with modelry.start_run() as run:
        print("printed while the artifacts are away")
        modelry.log_metric("loss", 0.5)
        process.current().part(Snapshots).at_exit()  # so that its copy waits
        began = time.monotonic()
        flushed = run.flush(PATIENCE_S)
        took = time.monotonic() - began
        point = Client(split.address).runs.get(run.run_id).metrics["loss"]

        modelry.log_text("logged", "note.txt")
        is_whole = run.flush(1.0)
    copies = [kept.opened(folder).paths for folder in kept.left_in(spool)]

    assert (flushed, point) == (True, 0.5)
    assert took < SOON_S
    assert not is_whole  # a file that the user has logged counts
    assert ("note.txt",) in copies
    assert any("modelry/environment.json" in paths for paths in copies)


@pytest.mark.usefixtures("spool")
def test_it_is_there_after_a_flush(split: Deployment) -> None:
    with modelry.start_run() as run:
        print("printed before the flush")
        assert run.flush(PATIENCE_S)
        lines = [line.text for line in Client(split.address).runs.console(run.run_id)]

    assert "printed before the flush" in lines
