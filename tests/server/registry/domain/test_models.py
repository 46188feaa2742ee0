"""What holds for registered models."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from modelry_server.kernel.errors import EtagMismatch, FieldInvalid, RequestIdReused
from modelry_server.kernel.requests.idempotency import Request
from modelry_server.kernel.sql.database import Database
from modelry_server.registry.entities import Stage
from modelry_server.registry.errors import ModelExists, ModelInUse, ModelNotFound, TagNotFound
from tests.server.registry.conftest import MIGRATIONS, ONCE, Registry

REQUEST = Request("ada", "modelry.api.registry.v1.CreateModelRequest", "request-1", "digest-1")


def test_a_model_that_was_made_is_found_by_its_name(registry: Registry) -> None:
    made = registry.models.create("default", "fraud", description="Finds fraud.", tags={"team": "risk"}, request=ONCE)

    found = registry.models.get("default", "fraud")

    assert found == replace(made, sequence=1, digest=found.digest)
    assert (found.description, found.tags, found.last_version) == ("Finds fraud.", {"team": "risk"}, 0)


def test_names_are_unique_in_a_workspace_and_heed_upper_and_lower_case(registry: Registry) -> None:
    registry.a_model("fraud")

    assert registry.a_model("Fraud").name == "Fraud"
    with pytest.raises(ModelExists, match="'fraud'"):
        registry.a_model("fraud")


def test_an_existing_model_is_the_answer_where_that_is_allowed(registry: Registry) -> None:
    first = registry.a_model("fraud", description="first")

    again = registry.a_model("fraud", description="second", allow_existing=True)

    assert (again.model_id, again.description) == (first.model_id, "first")


def test_many_who_make_the_same_model_at_once_get_one_model(registry: Registry) -> None:
    with ThreadPoolExecutor(64) as pool:
        made = list(pool.map(lambda _: registry.a_model("fraud", allow_existing=True), range(64)))

    assert len({model.model_id for model in made}) == 1
    assert len(registry.audit.page("default", model="fraud", model_id="", number=0, before=None, limit=9)) == 1


def test_the_same_request_twice_makes_one_model(registry: Registry) -> None:
    first = registry.models.create("default", "fraud", request=REQUEST)

    with ThreadPoolExecutor(8) as pool:
        again = list(pool.map(lambda _: registry.models.create("default", "fraud", request=REQUEST), range(8)))

    assert {model.model_id for model in again} == {first.model_id}


def test_a_request_id_with_other_contents_is_refused(registry: Registry) -> None:
    registry.models.create("default", "fraud", request=REQUEST)

    with pytest.raises(RequestIdReused):
        registry.models.create("default", "churn", request=replace(REQUEST, digest="digest-2"))


def test_a_request_id_can_be_used_again_after_a_day(registry: Registry) -> None:
    registry.models.create("default", "fraud", request=REQUEST)

    registry.clock.advance(24 * 3600 * 1000)
    made = registry.models.create("default", "churn", request=replace(REQUEST, digest="digest-2"))

    assert made.name == "churn"


def test_a_repeated_request_for_a_model_that_is_gone_says_so(registry: Registry) -> None:
    registry.models.create("default", "fraud", request=REQUEST)
    registry.models.delete("default", "fraud")

    with pytest.raises(ModelNotFound):
        registry.models.create("default", "fraud", request=REQUEST)


def test_a_name_that_misleads_is_refused_by_its_path(registry: Registry) -> None:
    with pytest.raises(FieldInvalid) as refusal:
        registry.a_model("a/b")

    assert list(refusal.value.violations) == ["name"]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"description": "x" * 100_001}, "description"),
        ({"description": "a\0b"}, "description"),
        ({"tags": {"": "x"}}, "tags['']"),
        ({"tags": {"k" * 251: "x"}}, f"tags['{'k' * 40}']"),
        ({"tags": {"k": "x" * 8001}}, "tags['k']"),
        ({"tags": {"k": "a\0b"}}, "tags['k']"),
        ({"tags": {str(n): "" for n in range(1001)}}, "tags"),
        ({"tags": {str(n): "x" * 8000 for n in range(33)}}, "tags"),
        ({"request": replace(REQUEST, request_id="x" * 65)}, "request_id"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_by_its_path(
    registry: Registry, fields: dict[str, object], path: str
) -> None:
    with pytest.raises(FieldInvalid) as refusal:
        registry.models.create("default", "fraud", **{"request": ONCE, **fields})  # type: ignore[arg-type]

    assert list(refusal.value.violations) == [path]
    with pytest.raises(ModelNotFound):
        registry.models.get("default", "fraud")


def test_what_is_at_a_limit_is_kept(registry: Registry) -> None:
    tags = {"k" * 250: "v" * 8000, **{f"k{n}": "" for n in range(999)}}

    made = registry.a_model("fraud", description="ä" * 100_000, tags=tags)

    assert (made.tags, len(made.description)) == (tags, 100_000)


@pytest.mark.parametrize(
    ("workspace", "name"), [("default", "none"), ("other", "fraud"), ("default", "a\0b"), ("\0", "x")]
)
def test_a_model_that_is_not_there_is_named(registry: Registry, workspace: str, name: str) -> None:
    registry.a_model("fraud")

    with pytest.raises(ModelNotFound) as refusal:
        registry.models.get(workspace, name)

    assert (refusal.value.kind, refusal.value.name) == ("model", name)


def test_a_rename_keeps_the_id_and_frees_the_old_name(registry: Registry) -> None:
    model = registry.a_model("fraud")

    renamed = registry.models.describe("default", "fraud", {"name": "scam"})

    assert (renamed.model_id, renamed.name, renamed.etag) == (model.model_id, "scam", "2")
    assert registry.a_model("fraud").model_id != model.model_id


def test_a_rename_to_a_taken_name_changes_nothing(registry: Registry) -> None:
    registry.a_model("fraud")
    registry.a_model("churn")

    with pytest.raises(ModelExists):
        registry.models.describe("default", "fraud", {"name": "churn", "description": "x"})

    assert registry.models.get("default", "fraud").description == ""


def test_of_two_who_take_the_same_name_one_gets_it(registry: Registry) -> None:
    for number in range(8):
        registry.a_model(f"model-{number}")

    def rename(number: int) -> bool:
        try:
            registry.models.describe("default", f"model-{number}", {"name": "best"})
        except ModelExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(rename, range(8))) == 1


def test_a_description_can_be_cleared_and_an_unchanged_one_is_no_change(registry: Registry) -> None:
    model = registry.a_model("fraud", description="x")

    assert registry.models.describe("default", "fraud", {"description": "x"}).etag == model.etag
    assert registry.models.describe("default", "fraud", {"description": ""}).description == ""


def test_an_old_etag_is_told_the_present_one(registry: Registry) -> None:
    model = registry.a_model("fraud")
    registry.models.describe("default", "fraud", {"description": "mine"}, etag=model.etag)

    with pytest.raises(EtagMismatch) as refusal:
        registry.models.describe("default", "fraud", {"description": "yours"}, etag=model.etag)

    assert refusal.value.metadata["etag"] == "2"


@pytest.mark.parametrize(
    ("values", "reason", "path"),
    [
        ({"name": "a/b"}, "", "model.name"),
        ({"description": "x" * 100_001}, "", "model.description"),
        ({}, "x" * 5001, "reason"),
    ],
)
def test_a_change_beyond_a_limit_is_refused_by_its_path(
    registry: Registry, values: dict[str, str], reason: str, path: str
) -> None:
    registry.a_model("fraud")

    with pytest.raises(FieldInvalid) as refusal:
        registry.models.describe("default", "fraud", values, reason=reason)

    assert list(refusal.value.violations) == [path]


@pytest.mark.parametrize("stage", [Stage.STAGING, Stage.PRODUCTION])
def test_a_model_with_a_version_in_use_is_not_deleted(registry: Registry, stage: Stage) -> None:
    registry.a_model("fraud")
    registry.a_version("fraud")
    registry.a_version("fraud", stage=stage)

    with pytest.raises(ModelInUse, match="versions 2 of") as refusal:
        registry.models.delete("default", "fraud")

    assert refusal.value.metadata["versions"] == "2"


def test_a_deleted_model_is_gone_with_all_that_belongs_to_it_but_its_records(registry: Registry) -> None:
    model = registry.a_model("fraud", tags={"team": "risk"})
    registry.a_version("fraud", stage=Stage.ARCHIVED, tags={"k": "v"})
    registry.promotions.promote("default", "fraud", 1, Stage.NONE)
    registry.aliases.point("default", "fraud", "champion", 1)

    registry.models.delete("default", "fraud", reason="not needed")

    with pytest.raises(ModelNotFound):
        registry.models.get("default", "fraud")
    assert registry.a_model("fraud").last_version == 0
    records = registry.audit.page("default", model="", model_id=model.model_id, number=0, before=None, limit=9)
    assert [record.action for record in records] == ["model.deleted", "alias.set", "version.promoted", "model.created"]
    assert records[0].reason == "not needed"


def test_tags_are_set_replaced_and_removed(registry: Registry) -> None:
    registry.a_model("fraud", tags={"a": "1", "b": "2"})

    assert registry.models.set_tags("default", "fraud", {"b": "3", "c": "4"}).tags == {"a": "1", "b": "3", "c": "4"}
    assert registry.models.delete_tags("default", "fraud", ["a", "c"]).tags == {"b": "3"}


def test_one_missing_tag_removes_none(registry: Registry) -> None:
    registry.a_model("fraud", tags={"a": "1"})

    with pytest.raises(TagNotFound, match="no tag 'b'") as refusal:
        registry.models.delete_tags("default", "fraud", ["a", "b"])

    assert refusal.value.metadata["key"] == "b"
    assert registry.models.get("default", "fraud").tags == {"a": "1"}


@pytest.mark.parametrize("tags", [{}, {"k": "x" * 8001}, {str(n): "" for n in range(1001)}])
def test_tags_beyond_a_limit_are_refused(registry: Registry, tags: dict[str, str]) -> None:
    registry.a_model("fraud")

    with pytest.raises(FieldInvalid):
        registry.models.set_tags("default", "fraud", tags)


@pytest.mark.parametrize("keys", [[], ["x" * 251], [str(n) for n in range(1001)]])
def test_keys_beyond_a_limit_are_refused(registry: Registry, keys: list[str]) -> None:
    registry.a_model("fraud")

    with pytest.raises(FieldInvalid):
        registry.models.delete_tags("default", "fraud", keys)


@pytest.mark.parametrize(
    ("present", "more"),
    [
        ({f"a{n}": "" for n in range(500)}, {f"b{n}": "" for n in range(501)}),
        ({f"a{n}": "x" * 8000 for n in range(16)}, {f"b{n}": "x" * 8000 for n in range(17)}),
        ({f"a{n}": "x" * 8000 for n in range(16)}, {f"b{n}": "\1" * 8000 for n in range(3)}),
    ],
)
def test_all_tags_together_have_a_limit(registry: Registry, present: dict[str, str], more: dict[str, str]) -> None:
    registry.a_model("fraud", tags=present)

    with pytest.raises(FieldInvalid) as refusal:
        registry.models.set_tags("default", "fraud", more)

    assert list(refusal.value.violations) == ["tags"]
    assert registry.models.get("default", "fraud").tags == present


def test_many_in_two_processes_who_make_the_same_model_get_one_model(registry: Registry, database_url: str) -> None:
    other = Registry(Database(database_url, room="registry", migrations=MIGRATIONS))

    with ThreadPoolExecutor(64) as pool:
        made = list(pool.map(lambda n: (registry, other)[n % 2].a_model("fraud", allow_existing=True), range(64)))

    assert len({model.model_id for model in made}) == 1
    other.close()
    other.db.close()
