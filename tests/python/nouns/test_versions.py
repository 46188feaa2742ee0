from __future__ import annotations

from collections.abc import Callable

import pytest

from modelry import Client
from modelry.errors import (
    EtagMismatch,
    FieldInvalid,
    FilterSyntax,
    ModelNotFound,
    SourceEmpty,
    TagNotFound,
    VersionInUse,
    VersionNotFound,
)


@pytest.fixture
def source(a_run: Callable[..., str]) -> str:
    return f"runs:/{a_run()}/model"


@pytest.fixture
def name(client: Client, unique: str) -> str:
    """A model without versions."""
    return client.models.create(f"model-{unique}").name


def test_versions_are_numbered_and_keep_what_they_were_made_of(client: Client, name: str, source: str) -> None:
    first = client.versions.create(name, source, description="the first", tags={"review": "passed"})
    second = client.versions.create(name, source, run_id=first.run_id)

    assert (first.version_number, second.version_number) == (1, 2)
    assert (first.model_name, first.stage, first.state, first.source) == (name, "None", "READY", source)
    assert (first.description, first.tags, first.file_count, first.size_bytes) == (
        "the first",
        {"review": "passed"},
        1,
        len(b"weights"),
    )
    assert client.versions.get(name, 1) == first
    assert client.versions.get(name, "2") == second


def test_the_files_of_a_version_outlive_the_run(client: Client, name: str, source: str) -> None:
    version = client.versions.create(name, source)
    client.runs.delete(version.run_id)

    assert client.artifacts.read_bytes(version.owner, "model") == b"weights"


def test_search_is_a_list_that_can_be_indexed(client: Client, name: str, source: str) -> None:
    for _ in range(3):
        client.versions.create(name, source)

    newest = client.versions.search(f"name='{name}'", max_results=1, order_by=["version_number DESC"])
    paged = client.versions.search(f"name = '{name}'", order_by=["version_number ASC"], page_size=1)

    assert newest[0].version_number == 3
    assert len(newest) == 1
    assert [version.version_number for version in paged] == [1, 2, 3]
    assert paged[-1].version_number == 3
    assert [version.version_number for version in paged[:2]] == [1, 2]
    assert not client.versions.search(f"name = '{name}' AND version_number > 3")
    with pytest.raises(FilterSyntax):
        list(client.versions.search("name ="))


@pytest.mark.parametrize("stage", ["Staging", "production", "ARCHIVED", "None"])
def test_a_stage_may_be_written_in_any_letter_case(client: Client, name: str, source: str, stage: str) -> None:
    client.versions.create(name, source)

    assert client.promotions.promote(name, "1", stage).version.stage == stage.capitalize()


def test_a_stage_that_does_not_exist_names_those_that_do(client: Client, name: str, source: str) -> None:
    client.versions.create(name, source)

    with pytest.raises(FieldInvalid, match=r"'Live'.*'None', 'Staging', 'Production', 'Archived'"):
        client.promotions.promote(name, 1, "Live")
    with pytest.raises(FieldInvalid):
        client.versions.latest(name, ["Live"])


def test_promoting_archives_what_stood_there_if_asked(client: Client, name: str, source: str) -> None:
    for _ in range(2):
        client.versions.create(name, source)
    client.promotions.promote(name, 1, "Production")

    promoted = client.promotions.promote(name, 2, "Production", archive_existing=True, reason="better")

    assert promoted.version.stage == "Production"
    assert promoted.archived_version_numbers == (1,)
    assert client.versions.get(name, 1).stage == "Archived"
    assert {version.stage: version.version_number for version in client.versions.latest(name)} == {
        "Production": 2,
        "Archived": 1,
    }
    (move,) = client.promotions.list(name, 2)
    assert (move.from_stage, move.to_stage, move.reason, move.archived_version_numbers) == (
        "None",
        "Production",
        "better",
        (1,),
    )
    assert client.promotions.get(move.promotion_id) == move == promoted.promotion
    assert [move.to_stage for move in client.promotions.list(name, 1)] == ["Archived", "Production"]


def test_tags_and_description_change_and_a_stale_etag_is_refused(client: Client, name: str, source: str) -> None:
    version = client.versions.create(name, source)

    changed = client.versions.update(name, 1, description="changed", etag=version.etag)
    tagged = client.versions.set_tags(name, 1, {"a": "1", "b": "2"})
    left = client.versions.delete_tags(name, 1, ["a"])

    assert (changed.description, tagged.tags, left.tags) == ("changed", {"a": "1", "b": "2"}, {"b": "2"})
    with pytest.raises(EtagMismatch):
        client.versions.update(name, 1, description="again", etag=version.etag)
    with pytest.raises(TagNotFound):
        client.versions.delete_tags(name, 1, ["a"])


def test_a_version_in_use_is_not_deleted_and_its_number_is_not_given_again(
    client: Client, name: str, source: str
) -> None:
    client.versions.create(name, source)
    client.promotions.promote(name, 1, "Production")
    with pytest.raises(VersionInUse):
        client.versions.delete(name, 1)

    client.promotions.promote(name, 1, "None")
    client.versions.delete(name, 1)

    with pytest.raises(VersionNotFound):
        client.versions.get(name, 1)
    assert client.versions.create(name, source).version_number == 2


@pytest.mark.parametrize("number", [0, -1, "v1", "1.0", "", True, 2**63])
def test_what_is_no_version_number_is_refused_before_anything_is_sent(client: Client, number: int | str) -> None:
    with pytest.raises(FieldInvalid, match="version number"):
        client.versions.get("any", number)


def test_what_is_not_there_is_said_by_name(client: Client, name: str, source: str, a_run: Callable[..., str]) -> None:
    with pytest.raises(ModelNotFound, match="no-such-model"):
        client.versions.create("no-such-model", source)
    with pytest.raises(SourceEmpty):
        client.versions.create(name, f"runs:/{a_run()}/nothing")
    with pytest.raises(VersionNotFound):
        client.versions.get(name, 1)
    with pytest.raises(FieldInvalid, match="run_id"):
        client.versions.create(name, source, run_id="0" * 32)
