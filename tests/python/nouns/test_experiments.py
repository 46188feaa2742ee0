from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from modelry import Client, Lifecycle, LifecycleFilter
from modelry.errors import (
    EtagMismatch,
    ExperimentDeleted,
    ExperimentExists,
    ExperimentNotFound,
    FieldInvalid,
    FilterSyntax,
    InvalidArgument,
    TagNotFound,
)


def test_an_experiment_is_read_as_it_was_made(client: Client, unique: str) -> None:
    made = client.experiments.create(unique, description="What is seen?", tags={"team": "vision"})

    assert client.experiments.get(made.experiment_id) == made
    assert client.experiments.get_by_name(unique) == made
    assert (made.name, made.workspace, made.lifecycle, made.tags) == (
        unique,
        "default",
        Lifecycle.ACTIVE,
        {"team": "vision"},
    )
    assert (made.description, bool(made.creator)) == ("What is seen?", True)
    assert made.create_time is not None
    assert made.create_time.tzinfo is UTC
    assert made.delete_time is None


def test_a_name_that_is_taken_is_refused_or_found(client: Client, unique: str) -> None:
    made = client.experiments.create(unique)

    with pytest.raises(ExperimentExists) as taken:
        client.experiments.create(unique)

    assert taken.value.metadata["experiment_id"] == made.experiment_id
    assert client.experiments.create(unique, allow_existing=True).experiment_id == made.experiment_id


def test_renaming_minds_what_others_did(client: Client, unique: str) -> None:
    made = client.experiments.create(unique)
    renamed = client.experiments.update(made.experiment_id, name=f"{unique}-b", etag=made.etag)

    with pytest.raises(EtagMismatch):
        client.experiments.update(made.experiment_id, name=f"{unique}-c", etag=made.etag)

    described = client.experiments.update(made.experiment_id, description="other")
    assert client.experiments.get(made.experiment_id) == described
    assert (described.name, described.description) == (renamed.name, "other") == (f"{unique}-b", "other")


def test_a_deleted_experiment_is_restored(client: Client, unique: str) -> None:
    made = client.experiments.create(unique)
    deleted = client.experiments.delete(made.experiment_id)

    with pytest.raises(ExperimentDeleted):
        client.runs.create(made.experiment_id)

    assert deleted.lifecycle is Lifecycle.DELETED
    assert client.experiments.restore(made.experiment_id).lifecycle is Lifecycle.ACTIVE


def test_tags_are_set_and_removed(client: Client, unique: str) -> None:
    made = client.experiments.create(unique, tags={"a": "1"})
    tagged = client.experiments.set_tags(made.experiment_id, {"a": "2", "b": "3"})
    bare = client.experiments.delete_tags(made.experiment_id, ["a"])

    with pytest.raises(TagNotFound):
        client.experiments.delete_tags(made.experiment_id, ["a"])

    assert (tagged.tags, bare.tags) == ({"a": "2", "b": "3"}, {"b": "3"})


def test_a_search_pages_by_itself(client: Client, unique: str) -> None:
    names = [f"{unique}-{number}" for number in range(7)]
    for name in names:
        client.experiments.create(name)

    found = client.experiments.search(f"name LIKE '{unique}%'", order_by=["name"], page_size=2)

    assert [experiment.name for experiment in found] == names
    assert [each.name for each in client.experiments.search(f"name LIKE '{unique}%'", max_results=3)] == names[:3:-1]


def test_deleted_experiments_are_found_when_asked_for(client: Client, unique: str) -> None:
    client.experiments.delete(client.experiments.create(unique).experiment_id)

    assert list(client.experiments.search(f"name = '{unique}'")) == []
    assert len(client.experiments.search(f"name = '{unique}'", lifecycle="deleted")) == 1
    assert len(client.experiments.search(f"name = '{unique}'", lifecycle=LifecycleFilter.ANY)) == 1


def test_what_cant_be_is_refused(client: Client) -> None:
    with pytest.raises(ExperimentNotFound):
        client.experiments.get("999999999")
    with pytest.raises(FieldInvalid):
        client.experiments.create("x" * 501)
    with pytest.raises(FilterSyntax) as syntax:
        list(client.experiments.search("name >> 'x'"))
    with pytest.raises(InvalidArgument, match="not one of ACTIVE, DELETED, ANY"):
        client.experiments.search(lifecycle="gone")

    assert syntax.value.metadata["column"] == "6"


def test_an_id_may_be_a_number_and_a_single_text_needs_no_list(client: Client, unique: str) -> None:
    made = client.experiments.create(unique, tags={"a": 1, "b": None})
    number = int(made.experiment_id)
    client.experiments.set_tags(number, {"c": 2.5})

    assert client.experiments.get(number).tags == {"a": "1", "b": "None", "c": "2.5"}
    assert client.experiments.delete_tags(number, "c").tags == {"a": "1", "b": "None"}
    assert client.experiments.update(number, name=f"{unique}-2").name == f"{unique}-2"
    assert client.experiments.delete(number).lifecycle is Lifecycle.DELETED
    assert client.experiments.restore(number).lifecycle is Lifecycle.ACTIVE
    assert len(client.experiments.search(f"name LIKE '{unique}%'", order_by="name")) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"max_results": 2.5}, "max_results must be .*, not 2.5"),
        ({"max_results": -1}, "max_results must be .*, not -1"),
        ({"page_size": "10"}, "page_size must be .*, not '10'"),
        ({"order_by": [None]}, "order_by must be .*, not None"),
        ({"order_by": 5}, "order_by must be .*, not 5"),
        ({"lifecycle": None}, "None is not one of ACTIVE"),
    ],
)
def test_an_argument_that_cant_be_is_named_at_once(client: Client, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        client.experiments.search(**arguments)
    with pytest.raises(InvalidArgument, match=said):
        client.runs.search(**arguments)


@pytest.mark.parametrize("wrong", [None, True, 1.0, ["1"]])
def test_what_is_no_id_is_named(client: Client, wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="experiment_id must be an id"):
        client.experiments.get(wrong)
