from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from modelry import Client
from tests.parts.deployment import REPOSITORY, Deployment

SOURCES = os.pathsep.join(str(REPOSITORY / each) for each in ("clients/python", "clients/cli", "services"))


def test_the_example_ends_with_a_champion_in_production(deployment: Deployment) -> None:
    told = subprocess.run(
        [sys.executable, "clients/examples/train_and_promote.py"],
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


def test_a_folder_of_another_state_of_modelry_is_told_in_one_line(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MODELRY_")}
    environment["PYTHONPATH"] = SOURCES
    upgrade = [sys.executable, "-m", "modelry_cli", "db", "upgrade", "--server.data-folder", str(tmp_path)]
    subprocess.run(upgrade, env=environment, timeout=60, check=True)
    with closing(sqlite3.connect(tmp_path / "tracking.db")) as database, database:
        database.execute("ALTER TABLE metric_summaries DROP COLUMN min_bits")
    program = (
        "import pathlib, runpy, sys; main = runpy.run_path(sys.argv[1])['main']\n"
        "main.__globals__['FOLDER'] = pathlib.Path(sys.argv[2]); main()"
    )

    told = subprocess.run(
        [sys.executable, "-c", program, "clients/examples/train_and_promote.py", str(tmp_path)],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    why, end = told.stderr.splitlines()
    assert told.returncode == 1
    assert f"move the folder {tmp_path} away" in why
    assert end == "The server did not start; see its messages above."
