from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelry import Client
from tests.cli.conftest import Modelry

Read = Callable[..., Any]


@pytest.fixture
def source(client: Client, name: str) -> str:
    run = client.runs.create(client.experiments.create(name).experiment_id)
    client.artifacts.upload_bytes(f"runs/{run.run_id}", "model/MLmodel", b"flavors: {}")
    return f"runs:/{run.run_id}/model"


@pytest.fixture
def model(read: Read, source: str, name: str) -> str:
    """A model with two versions."""
    read("model", "create", name, "--description", "Counts bikes", "--tag", "team=rides")
    for _ in range(2):
        read("version", "create", name, source)
    return name


def test_a_model_is_made_changed_and_deleted(read: Read, modelry: Modelry, name: str) -> None:
    read("model", "create", name)

    read("model", "update", name, "--description", "Counts")
    read("model", "set-tags", name, "a=1", "b=2")
    changed = read("model", "delete-tags", name, "a")
    renamed = read("model", "update", name, "--name", f"{name}-2")
    modelry("model", "delete", f"{name}-2", "--yes")

    assert (changed["description"], changed["tags"]) == ("Counts", {"b": "2"})
    assert renamed["name"] == f"{name}-2"
    assert modelry("model", "get", f"{name}-2").code == 1


def test_what_can_not_be_undone_is_confirmed(modelry: Modelry, model: str) -> None:
    answer = modelry("model", "delete", model)

    assert answer.code == 2
    assert "--yes" in answer.err
    assert modelry("model", "get", model).code == 0


def test_a_version_passes_the_stages_and_archives_the_one_before(read: Read, modelry: Modelry, model: str) -> None:
    first = read("version", "promote", model, 1, "production")
    second = read("version", "promote", model, 2, "Production", "--archive-existing", "--reason", "better")
    latest = read("version", "latest", model, "--stage", "Production")
    moves = read("promotion", "list", model, "--number", 2)

    assert (first["version"]["stage"], first["archived_version_numbers"]) == ("Production", [])
    assert second["version"]["version_number"] == 2
    assert second["archived_version_numbers"] == [1]
    assert [each["version_number"] for each in latest] == [2]
    assert [(move["to_stage"], move["reason"]) for move in moves] == [("Production", "better")]
    assert read("promotion", "get", moves[0]["promotion_id"]) == moves[0] == second["promotion"]


def test_a_promotion_that_changes_nothing_says_so(modelry: Modelry, model: str) -> None:
    modelry("version", "promote", model, 2, "Production")

    again = modelry("version", "promote", model, 2, "Production")

    assert again.out == f"Nothing changed: version 2 of {model} is in Production already.\n"


def test_a_word_that_is_no_version_number_is_wrong_use(modelry: Modelry, model: str) -> None:
    wrong = modelry("version", "promote", model, "latest", "Production")

    assert wrong.code == 2
    assert "'latest' is not a version number" in wrong.err
    assert f"modelry version list {model}" in " ".join(wrong.err.replace("│", " ").split())


def test_a_stage_that_does_not_exist_is_refused_with_those_that_do(modelry: Modelry, model: str) -> None:
    answer = modelry("version", "promote", model, 1, "Prod")

    assert answer.code == 1
    assert "'None', 'Staging', 'Production', 'Archived'" in answer.err


def test_versions_are_listed_by_model_and_filter(read: Read, modelry: Modelry, model: str) -> None:
    read("version", "set-tags", model, 2, "risk=low")

    both = read("version", "list", model)
    low = read("version", "list", model, "--filter", "tags.risk = 'low' OR tags.risk = 'none'")
    table = modelry("version", "list", model)

    assert [each["version_number"] for each in both] == [2, 1]
    assert [each["version_number"] for each in low] == [2]
    assert both[0]["run_id"] in table.out


@pytest.mark.parametrize(
    "words", [("version", "list", "nope"), ("event", "list", "--model", "nope"), ("audit", "list", "nope")]
)
def test_what_is_asked_of_a_model_that_is_not_there_is_refused(modelry: Modelry, words: tuple[str, ...]) -> None:
    answer = modelry(*words)

    assert answer.code == 1
    assert "no registered model 'nope'" in answer.err


def test_a_model_without_versions_has_an_empty_list(modelry: Modelry, read: Read, name: str) -> None:
    read("model", "create", name)

    assert read("version", "list", name) == []
    assert modelry("version", "list", name).err == "No versions.\n"


def test_a_version_is_described_and_deleted(read: Read, modelry: Modelry, model: str) -> None:
    described = read("version", "update", model, 1, "--description", "The first")
    modelry("version", "delete", model, 2, "--yes", "--reason", "a mistake")

    assert described["description"] == "The first"
    assert [each["version_number"] for each in read("version", "list", model)] == [1]


def test_an_alias_points_moves_and_goes(read: Read, modelry: Modelry, model: str) -> None:
    read("alias", "set", model, "champion", 1)
    read("alias", "set", model, "champion", 2)

    listed = read("alias", "list", model)
    found = read("alias", "get", model, "champion")
    shown = modelry("alias", "get", model, "champion").out
    of_version = modelry("version", "get", model, 2).out
    modelry("alias", "delete", model, "champion")

    assert listed == [{"model_name": model, "alias": "champion", "version_number": 2}]
    assert (found["version_number"], found["aliases"]) == (2, ["champion"])
    assert [line.split()[0] for line in shown.splitlines()] == [line.split()[0] for line in of_version.splitlines()]
    assert modelry("alias", "get", model, "champion").code == 1


def test_the_files_of_a_version_are_reached_by_its_uri(read: Read, modelry: Modelry, model: str) -> None:
    read("alias", "set", model, "champion", 2)

    listed = read("artifact", "list", f"models:/{model}@champion")

    assert [each["path"] for each in listed] == ["MLmodel"]
    assert modelry("artifact", "read", f"models:/{model}/1", "MLmodel").out == "flavors: {}"
    assert modelry("artifact", "list", f"models:/{model}@nobody").code == 1


def test_the_trail_says_who_did_what_and_why(read: Read, modelry: Modelry, model: str) -> None:
    read("version", "promote", model, 1, "Staging", "--reason", "passed review")

    records = read("audit", "list", model)
    table = modelry("audit", "list", model)
    events = read("event", "list", "--model", model)

    assert [record["sequence"] for record in records] == list(range(len(records), 0, -1))
    assert records[0]["reason"] == "passed review"
    assert "stage: None -> Staging" in table.out
    assert [event["type"] for event in events["events"]] == [record["action"] for record in reversed(records)]
    assert read("event", "list", "--model", model, "--after", events["next_cursor"])["events"] == []
    shown = modelry("event", "list", "--model", model, "--limit", 1)
    assert f"modelry event list --model {model} --after {events['events'][0]['cursor']}" in shown.err


def test_the_records_are_verified(read: Read, modelry: Modelry, model: str) -> None:
    found = read("audit", "verify", model)
    told = modelry("audit", "verify", model)

    records = read("audit", "list", model)
    assert (found["record_count"], found["broken_sequence"], found["problem"]) == (len(records), 0, "")
    assert found["last_digest"] == records[0]["digest"]
    assert found["last_digest"] in told.out
    assert modelry("audit", "verify", "nope").code == 1


@pytest.mark.parametrize("verb", ["list", "verify"])
def test_the_trail_needs_one_model(modelry: Modelry, verb: str) -> None:
    assert modelry("audit", verb).code == 2


def test_a_check_says_what_can_not_be_installed(
    modelry: Modelry, client: Client, source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    run_id = source.split("/")[1]
    client.artifacts.upload_bytes(f"runs/{run_id}", "model/requirements.txt", b"no-such-package==1.0\n")

    answer = modelry("model", "check", source, "--output", "json")

    assert answer.code == 1
    assert answer.document["problems"][0]["kind"] == "requirement"
    assert answer.document["problems"][0]["subject"] == "no-such-package==1.0"
    assert "installing the requirements" in answer.err


def test_a_check_of_nothing_says_so(modelry: Modelry, tmp_path: Path) -> None:
    answer = modelry("model", "check", str(tmp_path))

    assert answer.code == 1
    assert "no file MLmodel" in answer.err
