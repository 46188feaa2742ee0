from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelry import Client
from modelry.types import Dataset, DatasetInput
from tests.cli.conftest import Modelry
from tests.parts.deployment import Deployment

Read = Callable[..., Any]


def test_a_workspace_keeps_its_things_to_itself(read: Read, name: str) -> None:
    read("workspace", "create", name, "--description", "Team A")
    described = read("workspace", "update", name, "--description", "Team B")
    run = read("run", "create", "--workspace", name)
    read("experiment", "create", "inside", "--workspace", name)

    assert described["description"] == read("workspace", "get", name)["description"] == "Team B"
    assert name in [each["name"] for each in read("workspace", "list")]
    assert {each["name"] for each in read("experiment", "list", "--workspace", name)} == {"inside", "Default"}
    assert [each["run_id"] for each in read("run", "list", "--workspace", name)] == [run["run_id"]]


def test_a_workspace_that_is_not_there_comes_with_the_command_that_creates_it(modelry: Modelry) -> None:
    answer = modelry("run", "list", "--workspace", "no such one")

    assert answer.code == 1
    assert "modelry workspace create 'no such one'" in answer.err


def test_a_dataset_is_found_by_filter_and_id(read: Read, client: Client, name: str) -> None:
    run = client.runs.create(client.experiments.create(name).experiment_id)
    client.datasets.log(run.run_id, [DatasetInput(Dataset(name=name, digest="d1"), "training")])

    (found,) = read("dataset", "list", "--filter", f"name = '{name}'")

    assert read("dataset", "get", found["dataset_id"])["digest"] == "d1"


def test_the_way_from_runs_to_datasets_leads_back(read: Read, client: Client, name: str) -> None:
    runs = [client.runs.create(client.experiments.create(f"{name}{each}").experiment_id).run_id for each in range(2)]
    for run_id, context in zip(runs, ("training", "test"), strict=True):
        client.datasets.log(run_id, [DatasetInput(Dataset(name=name, digest=f"{name}'s"), context)])

    (used,) = read("run", "datasets", runs[0])

    assert (used["context"], used["dataset"]["digest"]) == ("training", f"{name}'s")
    for word in (used["dataset"]["dataset_id"], used["dataset"]["digest"]):
        assert {each["run_id"] for each in read("dataset", "runs", word)} == set(runs)
    assert read("dataset", "runs", "no such digest") == []


def test_an_address_wins_over_the_environment(modelry: Modelry, deployment: Deployment, name: str) -> None:
    answer = modelry("experiment", "list", "--address", "127.0.0.1:9")

    assert answer.code == 1
    assert "127.0.0.1:9" in answer.err


def test_an_address_that_can_not_be_read_is_refused(modelry: Modelry) -> None:
    answer = modelry("experiment", "list", "--address", "http://example.com")

    assert answer.code == 1
    assert "grpc://" in answer.err


def test_a_verb_that_does_not_exist_is_wrong_use(modelry: Modelry) -> None:
    assert modelry("run", "frobnicate").code == 2
    assert modelry("frobnicate").code == 2


def test_an_empty_spool_is_nothing_to_deliver(modelry: Modelry, read: Read) -> None:
    assert "nothing to deliver" in modelry("sync").out
    assert read("sync")["requests_left"] == 0
