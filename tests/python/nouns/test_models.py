from __future__ import annotations

from collections.abc import Callable

import pytest

from modelry import Client
from modelry.errors import (
    AliasNotFound,
    EtagMismatch,
    FieldInvalid,
    ModelExists,
    ModelInUse,
    ModelNotFound,
    TagNotFound,
)


def test_a_model_is_made_read_changed_and_deleted(client: Client, unique: str) -> None:
    made = client.models.create(f"a {unique}", description="what it is", tags={"team": "x"})
    changed = client.models.update(made.name, description="other", etag=made.etag)
    renamed = client.models.rename(made.name, f"b {unique}", reason="a better name")

    assert (made.description, made.tags, made.last_version_number, made.aliases) == ("what it is", {"team": "x"}, 0, {})
    assert changed.description == "other"
    assert (renamed.name, renamed.model_id, renamed.tags) == (f"b {unique}", made.model_id, {"team": "x"})
    assert client.models.get(renamed.name) == renamed
    with pytest.raises(ModelNotFound):
        client.models.get(made.name)
    with pytest.raises(EtagMismatch):
        client.models.update(renamed.name, description="late", etag=made.etag)

    client.models.delete(renamed.name)

    with pytest.raises(ModelNotFound):
        client.models.get(renamed.name)


def test_a_name_is_taken_once_unless_the_existing_one_will_do(client: Client, unique: str) -> None:
    made = client.models.create(unique, description="first")

    with pytest.raises(ModelExists):
        client.models.create(unique)
    assert client.models.create(unique, description="second", allow_existing=True) == made


def test_models_are_found_by_name_and_tags(client: Client, unique: str) -> None:
    for number in range(3):
        client.models.create(f"{unique}-{number}", tags={"unique": unique, "number": str(number)})

    found = client.models.search(f"tags.unique = '{unique}'", order_by=["name DESC"], page_size=2)

    assert [model.name for model in found] == [f"{unique}-{number}" for number in (2, 1, 0)]
    assert [model.name for model in client.models.search(f"name LIKE '{unique}%' AND tags.number = '1'")] == [
        f"{unique}-1"
    ]


def test_tags_are_set_and_removed(client: Client, unique: str) -> None:
    client.models.create(unique)

    assert client.models.set_tags(unique, {"a": "1", "b": "2"}).tags == {"a": "1", "b": "2"}
    assert client.models.delete_tags(unique, ["a"]).tags == {"b": "2"}
    with pytest.raises(TagNotFound):
        client.models.delete_tags(unique, ["a"])


def test_a_model_in_production_is_not_deleted(client: Client, unique: str, a_run: Callable[..., str]) -> None:
    client.models.create(unique)
    client.versions.create(unique, f"runs:/{a_run()}/model")
    client.promotions.promote(unique, 1, "Production")

    with pytest.raises(ModelInUse):
        client.models.delete(unique)


def test_an_alias_points_at_a_version_and_moves(client: Client, unique: str, a_run: Callable[..., str]) -> None:
    client.models.create(unique)
    for _ in range(2):
        client.versions.create(unique, f"runs:/{a_run()}/model")

    first = client.aliases.set(unique, "Champion", 1)
    assert (first.alias, first.version_number) == ("Champion", 1)
    assert client.aliases.get(unique, "Champion").version_number == 1
    client.aliases.set(name=unique, alias="Champion", version="2", reason="better")

    assert client.aliases.get(unique, "Champion").aliases == ("Champion",)
    assert client.aliases.get(unique, "Champion").version_number == 2
    assert client.models.get(unique).aliases == {"Champion": 2}
    client.aliases.delete(unique, "Champion")
    with pytest.raises(AliasNotFound):
        client.aliases.get(unique, "Champion")


@pytest.mark.parametrize("alias", ["3", "v3", "latest", "Production", "a/b", ""])
def test_an_alias_that_could_be_taken_for_something_else_is_refused(
    client: Client, unique: str, a_run: Callable[..., str], alias: str
) -> None:
    client.models.create(unique)
    client.versions.create(unique, f"runs:/{a_run()}/model")

    with pytest.raises(FieldInvalid):
        client.aliases.set(unique, alias, 1)


def test_every_change_is_on_record(client: Client, unique: str, a_run: Callable[..., str]) -> None:
    model = client.models.create(unique)
    client.versions.create(unique, f"runs:/{a_run()}/model", reason="trained anew")
    client.promotions.promote(unique, 1, "Staging", reason="to be tested")
    client.aliases.set(unique, "candidate", 1)

    records = client.audit.list(unique)
    of_version = client.audit.list(unique, 1, page_size=1)

    assert [record.sequence for record in records] == [4, 3, 2, 1]
    assert [record.previous_digest for record in records] == [*[record.digest for record in records][1:], ""]
    assert [record.reason for record in records] == ["", "to be tested", "trained anew", ""]
    assert all(record.actor and record.action and record.credential_kind == "NONE" for record in records)
    assert {record.version_number for record in of_version} == {1}
    assert list(client.audit.list(model_id=model.model_id)) == list(records)
    verified = client.audit.verify(unique)
    assert (verified.problem, verified.record_count, verified.last_digest) == ("", 4, records[0].digest)
    assert client.audit.verify(model_id=model.model_id) == verified


def test_events_are_read_on_from_a_cursor(client: Client, unique: str, a_run: Callable[..., str]) -> None:
    client.models.create(unique)
    first = list(client.events.list(name=unique))
    client.versions.create(unique, f"runs:/{a_run()}/model")

    rest = client.events.list(first[-1].cursor, name=unique)
    nothing = client.events.list(rest.next_cursor)

    assert [(event.type, event.payload) for event in first] == [("model.created", {})]
    assert [(event.type, event.model_name, event.version_number) for event in rest] == [("version.created", unique, 1)]
    assert rest[0].payload["run_id"]
    assert (list(nothing), bool(nothing.next_cursor)) == ([], True)
    assert [event.type for event in client.events.list(name=unique, types="version.created")] == ["version.created"]
    assert len(client.events.list(name=unique, page_size=1)) == 2
    assert len(client.events.list(name=unique, max_results=1)) == 1


def test_a_single_text_needs_no_list_and_tags_become_text(client: Client, unique: str) -> None:
    client.models.create(unique, tags={"ab": 1})
    client.models.set_tags(unique, {"c": 2})

    assert client.models.delete_tags(unique, "ab").tags == {"c": "2"}
    assert len(client.models.search(f"name = '{unique}'", order_by="name")) == 1
