from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from modelry import Client
from tests.parts.deployment import REPOSITORY, Deployment

SOURCES = os.pathsep.join(str(REPOSITORY / each) for each in ("clients/python", "clients/cli", "services"))
EXAMPLE = "clients/examples/train_and_promote.py"


def test_the_example_ends_with_a_champion_in_production(deployment: Deployment) -> None:
    told = subprocess.run(
        [sys.executable, EXAMPLE],
        cwd=REPOSITORY,
        env={**os.environ, **deployment.environment(), "PYTHONPATH": SOURCES},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert told.returncode == 0, told.stdout + told.stderr
    address = deployment.addresses["registry"]
    champion = Client(address).aliases.get("digit-reader", "champion")
    assert champion.stage == "Production"
    assert f"@champion points at version {champion.version_number}" in told.stdout
    pictures = Client(deployment.addresses["artifacts"]).artifacts.list(f"runs/{champion.run_id}", "pictures")
    assert [picture.path for picture in pictures] == ["pictures/confusion.png"]
    curve = Client(deployment.address).metrics.read(champion.run_id, "validation_accuracy")
    assert len(curve) > 20
    assert told.stderr == ""


def environment() -> dict[str, str]:
    settings = {each: value for each, value in os.environ.items() if not each.startswith("MODELRY_")}
    return {**settings, "PYTHONPATH": SOURCES}


@contextmanager
def alone(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The example with a server of its own, in a folder and a terminal's process group of its own."""
    example = folder / EXAMPLE
    example.parent.mkdir(parents=True)
    shutil.copy(REPOSITORY / EXAMPLE, example)
    process = subprocess.Popen(
        [sys.executable, "-u", str(example)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(), "XDG_STATE_HOME": str(folder / "state")},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # also where the tests run in the background
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.mark.parametrize("line", ["Loading ", "Started ", "linear "])
def test_ctrl_c_ends_the_example_with_one_line_and_leaves_nothing(tmp_path: Path, line: str) -> None:
    with alone(tmp_path) as process:
        assert process.stdout is not None
        assert next((each for each in process.stdout if each.startswith(line)), None), "it ended before"
        os.killpg(process.pid, signal.SIGINT)
        began = time.monotonic()
        _, told = process.communicate(timeout=60)

    assert told.splitlines() == ["", "Stopped."]
    assert process.returncode == -signal.SIGINT
    assert time.monotonic() - began < 20
    assert not (tmp_path / "state").exists()
    assert [path for path in tmp_path.glob(".demo/spool/*") if path.is_file()] == []


def test_the_example_says_that_it_is_at_work_before_it_ends(tmp_path: Path) -> None:
    with alone(tmp_path) as process:
        assert process.stdout is not None
        first = next(process.stdout)
        trained = next(each for each in process.stdout if each.startswith("linear "))
        os.killpg(process.pid, signal.SIGINT)
        rest = process.communicate(timeout=60)[0]

    assert first.startswith("Loading ")
    assert "accuracy" in trained
    assert "network-96 " not in rest


def test_a_folder_of_another_state_of_modelry_is_told_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / ".demo"
    upgrade = [sys.executable, "-m", "modelry_cli", "db", "upgrade", "--server.data-folder", str(folder)]
    subprocess.run(upgrade, env=environment(), timeout=60, check=True)
    with closing(sqlite3.connect(folder / "tracking.db")) as database, database:
        database.execute("ALTER TABLE metric_summaries DROP COLUMN min_bits")

    with alone(tmp_path) as process:
        _, told = process.communicate(timeout=110)

    why, end = told.splitlines()
    assert process.returncode == 1
    assert f"move the folder {folder} away" in why
    assert end == "The server did not start; see its messages above."
