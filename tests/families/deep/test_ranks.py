"""Trainings in several processes, on the CPU with gloo: they are one run, which the first rank logs to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import modelry
from modelry import Client
from modelry.types import Run
from tests.parts.deployment import Deployment

SCRIPT = Path(__file__).with_name("ranks.py")
REPOSITORY = SCRIPT.parents[3]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
# Each process imports the frameworks, which takes long where the machine has much to do.
pytestmark = pytest.mark.timeout(600)


def trained(platform: Deployment, client: Client, name: str, *command: object) -> tuple[int, list[Run]]:
    """Runs a training in an experiment of its own. The exit code, and the runs that came of it."""
    experiment = client.experiments.create(name)
    environment = {
        **os.environ,
        **platform.environment(),
        "MODELRY_EXPERIMENT_NAME": name,
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path]),
        "OMP_NUM_THREADS": "1",
        "MODELRY_SNAPSHOT": "1",
    }
    done = subprocess.run([sys.executable, *map(str, command)], env=environment, cwd=REPOSITORY, timeout=500)
    return done.returncode, list(client.runs.search([experiment.experiment_id]))


def test_a_training_of_lightning_in_two_processes_is_one_run(
    platform: Deployment, client: Client, tmp_path: Path, unique: str
) -> None:
    code, runs = trained(platform, client, unique, SCRIPT, "lightning", tmp_path, "ddp", "in a run")

    assert code == 0
    (run,) = runs
    assert run.status == modelry.types.RunStatus.FINISHED
    assert run.params["lr"] == "0.1"
    assert list(client.metrics.read(run.run_id, "loss_step").steps) == [1, 2, 3, 4]
    files = {each.path for each in client.artifacts.list(f"runs/{run.run_id}", recursive=True)}
    assert {"model/MLmodel", "modelry/environment.json", "modelry/rank_1/environment.json"} <= files
    assert len([each for each in files if each.startswith("checkpoints/")]) == 1


def test_a_run_of_lightning_has_failed_if_a_rank_raised(
    platform: Deployment, client: Client, tmp_path: Path, unique: str
) -> None:
    code, runs = trained(platform, client, unique, SCRIPT, "lightning", tmp_path, "ddp", "1", "raised")

    assert code != 0
    (run,) = runs
    assert run.status == modelry.types.RunStatus.FAILED
    assert "Connection closed by peer" in run.tags["modelry.exit.error"]  # what gloo says to the other rank


@pytest.mark.parametrize("how", ["autolog", "callback"])
def test_a_training_of_transformers_by_torchrun_is_one_run(
    platform: Deployment, client: Client, tmp_path: Path, unique: str, how: str
) -> None:
    code, runs = trained(platform, client, unique, *TORCHRUN, SCRIPT, "transformers", tmp_path, how)

    assert code == 0
    (run,) = runs
    assert run.status == modelry.types.RunStatus.FINISHED
    assert run.params["max_steps"] == "3"
    assert list(client.metrics.read(run.run_id, "loss").steps) == [1, 2, 3]
