from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.cli.conftest import Modelry

Read = Callable[..., Any]


def test_an_experiment_is_found_by_its_id_and_by_its_name(read: Read, name: str) -> None:
    made = read("experiment", "create", name, "--tag", "team=vision", "--description", "What is seen?")

    assert read("experiment", "get", made["experiment_id"]) == made
    assert read("experiment", "get", name) == made
    assert (made["tags"], made["description"]) == ({"team": "vision"}, "What is seen?")


def test_an_id_of_another_workspace_is_refused_with_its_name(read: Read, modelry: Modelry, name: str) -> None:
    read("workspace", "create", name)
    made = read("experiment", "create", "freight", "--workspace", name)
    number = made["experiment_id"]

    commands = [
        ("experiment", "get", number),
        ("experiment", "delete", number),
        ("experiment", "update", number, "--name", "taken"),
        ("run", "create", "--experiment", number),
        ("run", "list", "--experiment", number),
    ]
    answers = [modelry(*command, "--workspace", "default") for command in commands]

    assert [answer.code for answer in answers] == [1] * len(commands)
    assert all(f"is in the workspace {name!r}: use --workspace {name}" in answer.err for answer in answers)
    assert read("experiment", "get", number, "--workspace", name) == made
    assert read("run", "list", "--workspace", name) == []


def test_a_number_is_the_id_of_an_experiment_of_the_workspace_or_else_a_name(read: Read, name: str) -> None:
    read("workspace", "create", name)
    own = read("experiment", "create", name)
    other = read("experiment", "create", "freight", "--workspace", name)
    named = read("experiment", "create", other["experiment_id"])
    long = read("experiment", "create", f"{'9' * 30}{int(name[4:], 16)}")

    read("experiment", "create", own["experiment_id"])

    assert read("experiment", "get", other["experiment_id"]) == named
    assert read("experiment", "delete", other["experiment_id"])["experiment_id"] == named["experiment_id"]
    assert read("experiment", "get", own["experiment_id"]) == own
    assert read("experiment", "get", long["name"]) == long


def test_an_experiment_is_renamed_tagged_deleted_and_restored(read: Read, modelry: Modelry, name: str) -> None:
    read("experiment", "create", name)

    read("experiment", "update", name, "--name", f"{name}-2")
    read("experiment", "set-tags", f"{name}-2", "a=1", "b=x=y")
    read("experiment", "delete-tags", f"{name}-2", "a")
    deleted = read("experiment", "delete", f"{name}-2")
    listed = [each["name"] for each in read("experiment", "list", "--deleted")]
    restored = read("experiment", "restore", deleted["experiment_id"])

    assert f"{name}-2" in listed
    assert (restored["lifecycle"], restored["tags"]) == ("ACTIVE", {"b": "x=y"})


def test_a_name_that_is_taken_is_refused_unless_that_is_welcome(modelry: Modelry, name: str) -> None:
    modelry("experiment", "create", name)

    refused = modelry("experiment", "create", name)
    welcome = modelry("experiment", "create", name, "--allow-existing")

    assert (refused.code, refused.out) == (1, "")
    assert name in refused.err
    assert welcome.code == 0


def test_what_is_not_there_is_refused_with_the_reason(modelry: Modelry) -> None:
    answer = modelry("experiment", "get", "no-such-experiment")

    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("error: ")
    assert "there is no experiment 'no-such-experiment' in the workspace 'default'" in answer.err
    assert "Traceback" not in answer.err


def test_tags_must_be_pairs(modelry: Modelry, name: str) -> None:
    answer = modelry("experiment", "create", name, "--tag", "team")

    assert answer.code == 2
    assert "KEY=VALUE" in answer.err


def test_a_table_shows_what_a_filter_finds(modelry: Modelry, name: str) -> None:
    modelry("experiment", "create", name, "--tag", "colour=teal")

    answer = modelry("experiment", "list", "--filter", f"name = '{name}'")
    same = modelry("experiment", "search", f"name = '{name}'")

    title, line = answer.out.splitlines()
    assert title.split() == ["ID", "NAME", "DESCRIPTION", "TAGS", "CREATED"]
    assert name in line
    assert "colour=teal" in line
    assert "just now" in line
    assert same.out == answer.out
