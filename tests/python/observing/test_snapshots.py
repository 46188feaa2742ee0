"""What a run keeps of the program as it started: code, packages, command line, machine."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

import modelry
from modelry import Client
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually
from tests.python.observing.conftest import Program
from tests.python.observing.conftest import git as ask_git

TRAIN = """
import modelry
with modelry.start_run() as run:
    modelry.log_metric("loss", 1.0)
    with modelry.start_run(nested=True) as inner:
        pass
print(run.run_id, inner.run_id)
"""


def files_of(client: Client, run_id: str) -> set[str]:
    return {file.path for file in client.artifacts.list(f"runs/{run_id}", recursive=True) if file.kind == "file"}


def text_of(client: Client, run_id: str, path: str) -> str:
    return client.artifacts.read_bytes(f"runs/{run_id}", path).decode()


def test_a_run_keeps_its_code_packages_command_line_and_machine(
    client: Client, program: Program, repository: Path
) -> None:
    ask_git(repository, "remote", "add", "origin", "https://ada:pw123456@example.com/p.git")
    (repository / "train.py").write_text("lr = 0.2\n")

    run_id, inner_id = program(TRAIN, "--lr", "0.2", "--api-key", "q7Rt5Yp0Lm", folder=repository).stdout.split()

    assert files_of(client, run_id) == {"modelry/changes.diff", "modelry/environment.json", "modelry/packages.txt"}
    assert "+lr = 0.2" in text_of(client, run_id, "modelry/changes.diff")
    assert f"grpcio=={metadata.version('grpcio')}\n" in text_of(client, run_id, "modelry/packages.txt")
    environment = json.loads(text_of(client, run_id, "modelry/environment.json"))
    assert environment["command_line"][-4:] == ["--lr", "0.2", "--api-key", "***"]
    assert environment["git"]["remote"] == "https://example.com/p.git"
    assert environment["hardware"]["cpus"] >= 1
    tags = client.runs.get(run_id).tags
    assert tags["modelry.source.git.commit"] == ask_git(repository, "rev-parse", "HEAD")
    assert tags["modelry.source.git.branch"] == "main"
    assert tags["modelry.source.git.remote"] == "https://example.com/p.git"
    assert tags["modelry.source.git.dirty"] == "true"
    assert tags["modelry.hardware.cpus"] != "0"
    assert files_of(client, inner_id) == set()


def test_runs_are_found_by_what_they_ran_on(client: Client, program: Program, repository: Path, unique: str) -> None:
    run_id = program(TRAIN, folder=repository, MODELRY_EXPERIMENT_NAME=unique).stdout.split()[0]

    experiment = client.experiments.get_by_name(unique)
    runs = client.runs.search([experiment.experiment_id], filter="tags.`modelry.source.git.dirty` = 'false'")
    assert run_id in {run.run_id for run in runs}


def test_the_settings_turn_off_the_diff_or_everything(client: Client, program: Program, repository: Path) -> None:
    (repository / "train.py").write_text("lr = 0.2\n")

    without_diff = program(TRAIN, folder=repository, MODELRY_SNAPSHOT_DIFF="0").stdout.split()[0]
    with_nothing = program(TRAIN, folder=repository, MODELRY_SNAPSHOT="0").stdout.split()[0]

    assert files_of(client, without_diff) == {"modelry/environment.json", "modelry/packages.txt"}
    assert "modelry.source.git.dirty" not in client.runs.get(without_diff).tags
    assert files_of(client, with_nothing) == set()


def test_other_ranks_of_a_job_keep_only_their_machine(client: Client, program: Program, repository: Path) -> None:
    job = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}

    run_id = program(TRAIN, folder=repository, **job).stdout.split()[0]

    assert files_of(client, run_id) == {"modelry/rank_3/environment.json"}


def test_a_run_that_is_continued_keeps_what_it_has(client: Client, program: Program, repository: Path) -> None:
    first = program(TRAIN, folder=repository).stdout.split()[0]
    before = text_of(client, first, "modelry/environment.json")

    program(TRAIN, "again", folder=repository, MODELRY_RUN_ID=first)

    assert text_of(client, first, "modelry/environment.json") == before


def test_a_run_without_a_server_keeps_it_for_later(
    client: Client,
    platform: Deployment,
    program: Program,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spool = tmp_path / "spool"
    away = {"MODELRY_TRACKING_URI": "grpc://127.0.0.1:1", "MODELRY_SPOOL_DIR": str(spool), "MODELRY_EXIT_TIMEOUT": "1s"}
    run_id = program(TRAIN, folder=repository, **away).stdout.split()[0]

    monkeypatch.setenv("MODELRY_SPOOL_DIR", str(spool))
    modelry.sync(platform.address)

    assert files_of(client, run_id) == {"modelry/environment.json", "modelry/packages.txt"}


def test_notebooks_need_not_end_for_it(
    client: Client, fluent: None, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    monkeypatch.setenv("MODELRY_SNAPSHOT", "1")
    monkeypatch.chdir(repository)

    with modelry.start_run() as run:
        pass

    assert eventually(lambda: "modelry/packages.txt" in files_of(client, run.run_id))
