"""What holds for registered models."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from modelry_server.kernel import caller
from modelry_server.kernel.errors import EtagMismatch, FieldInvalid, RequestIdReused
from modelry_server.kernel.requests.idempotency import Request
from modelry_server.kernel.sql.database import Database
from modelry_server.registry.errors import ModelExists, ModelIdNotFound, ModelInUse, ModelNotFound
from tests.server.registry.conftest import ADA, MIGRATIONS, ONCE, Registry

REQUEST = Request("ada", "modelry.api.registry.v1.CreateModelRequest", "request-1", "digest-1")


def test_a_model_that_was_made_is_found_by_its_name(registry: Registry) -> None:
    made = registry.models.create("default", "fraud", description="Finds fraud.", tags={"team": "risk"}, request=ONCE)

    found = registry.get("fraud")

    assert found == replace(made, audit_sequence=1, audit_digest=found.audit_digest)
    assert (found.description, found.tags, found.last_version_number) == ("Finds fraud.", {"team": "risk"}, 0)
    assert registry.models.get(model_id=made.model_id) == found


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
    assert len(registry.records()) == 1


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


def test_a_repeated_request_for_a_deleted_model_says_so(registry: Registry) -> None:
    registry.models.create("default", "fraud", request=REQUEST)
    registry.models.delete("default", "fraud")

    with pytest.raises(ModelIdNotFound):
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
        registry.get("fraud")


def test_what_is_at_a_limit_is_kept(registry: Registry) -> None:
    tags = {"k" * 250: "v" * 8000, **{f"k{n}": "" for n in range(999)}}

    made = registry.a_model("fraud", description="ä" * 100_000, tags=tags)

    assert (made.tags, len(made.description)) == (tags, 100_000)


@pytest.mark.parametrize(
    ("workspace", "name"), [("default", "none"), ("other", "fraud"), ("default", "a/b"), ("a b", "x")]
)
def test_a_model_that_is_not_there_is_named(registry: Registry, workspace: str, name: str) -> None:
    registry.a_model("fraud")

    with pytest.raises(ModelNotFound) as refusal:
        registry.models.get(workspace=workspace, model_name=name)

    assert (refusal.value.kind, refusal.value.name) == ("model", name)


def test_a_rename_keeps_the_id_and_frees_the_old_name(registry: Registry) -> None:
    model = registry.a_model("fraud")

    renamed = registry.update("fraud", name="scam")

    assert (renamed.model_id, renamed.name, renamed.etag) == (model.model_id, "scam", "2")
    assert registry.a_model("fraud").model_id != model.model_id


def test_a_rename_to_a_taken_name_changes_nothing(registry: Registry) -> None:
    registry.a_model("fraud")
    registry.a_model("churn")

    with pytest.raises(ModelExists):
        registry.update("fraud", name="churn", description="x")

    assert registry.get("fraud").description == ""


def test_of_two_who_take_the_same_name_one_gets_it(registry: Registry) -> None:
    for number in range(8):
        registry.a_model(f"model-{number}")

    def rename(number: int) -> bool:
        try:
            registry.update(f"model-{number}", name="best")
        except ModelExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(rename, range(8))) == 1


def test_a_description_can_be_cleared_and_an_unchanged_one_is_no_change(registry: Registry) -> None:
    model = registry.a_model("fraud", description="x")

    assert registry.update("fraud", description="x").etag == model.etag
    assert registry.update("fraud", description="").description == ""


def test_an_old_etag_is_told_the_present_one(registry: Registry) -> None:
    model = registry.a_model("fraud")
    registry.update("fraud", model.etag, description="mine")

    with pytest.raises(EtagMismatch) as refusal:
        registry.update("fraud", model.etag, description="yours")

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
        registry.update("fraud", reason=reason, **values)

    assert list(refusal.value.violations) == [path]


@pytest.mark.parametrize("stage", ["Staging", "Production"])
def test_a_model_with_a_version_in_use_is_not_deleted(registry: Registry, stage: str) -> None:
    registry.a_model("fraud")
    registry.a_version("fraud")
    registry.a_version("fraud", stage=stage)

    with pytest.raises(ModelInUse, match=r"version 2 is in Staging or .*; move it to Archived first") as refusal:
        registry.models.delete("default", "fraud")

    assert refusal.value.metadata["versions"] == "2"
    registry.a_version("fraud", stage=stage)
    with pytest.raises(ModelInUse, match=r"versions [23], [23] are in Staging or .*; move them to Archived first"):
        registry.models.delete("default", "fraud")


def test_a_deleted_model_is_gone_with_all_that_belongs_to_it_but_its_records(registry: Registry) -> None:
    model = registry.a_model("fraud", tags={"team": "risk"})
    registry.a_version("fraud", stage="Archived", tags={"k": "v"})
    registry.promote(1, "None")
    registry.aliases.point("default", "fraud", "champion", 1)

    registry.models.delete("default", "fraud", reason="not needed")

    with pytest.raises(ModelNotFound):
        registry.get("fraud")
    assert registry.a_model("fraud").last_version_number == 0
    records = registry.records(model_id=model.model_id)
    actions = [record.members()["action"] for record in records]
    assert actions == ["model.created", "version.promoted", "alias.set", "model.deleted"]
    assert records[-1].reason == "not needed"


def test_many_in_two_processes_who_make_the_same_model_get_one_model(registry: Registry, database_url: str) -> None:
    other = Registry(Database(database_url, room="registry", migrations=MIGRATIONS))

    with ThreadPoolExecutor(64) as pool:
        made = list(pool.map(lambda n: (registry, other)[n % 2].a_model("fraud", allow_existing=True), range(64)))

    assert len({model.model_id for model in made}) == 1
    other.close()
    other.db.close()


def test_a_model_knows_who_created_it(registry: Registry) -> None:
    with caller.using(ADA):
        registry.a_model("fraud")

    assert registry.get("fraud").creator == "ada"


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({}, ["workspace", "model_name"]),
        ({"workspace": "default"}, ["model_name"]),
        ({"model_name": "fraud"}, ["workspace"]),
        ({"model_id": "x"}, ["model_id"]),
        ({"model_id": "0" * 32, "model_name": "fraud"}, ["model_id"]),
        ({"model_id": "0" * 32, "workspace": "default"}, ["model_id"]),
    ],
)
def test_a_model_is_asked_for_in_exactly_one_way(registry: Registry, fields: dict[str, str], paths: list[str]) -> None:
    with pytest.raises(FieldInvalid) as refusal:
        registry.models.get(**fields)

    assert list(refusal.value.violations) == paths


def test_a_model_id_that_does_not_exist_is_named(registry: Registry) -> None:
    asks: tuple[Callable[[], object], ...] = (
        lambda: registry.models.get(model_id="0" * 32),
        lambda: registry.models.update("0" * 32, lambda: {"description": "x"}),
    )
    for ask in asks:
        with pytest.raises(ModelIdNotFound) as refusal:
            ask()
        assert refusal.value.metadata == {"model_id": "0" * 32}


@pytest.mark.parametrize("model_id", ["", "x"])
def test_an_update_needs_the_id_of_a_model(registry: Registry, model_id: str) -> None:
    with pytest.raises(FieldInvalid) as refusal:
        registry.models.update(model_id, dict)

    assert list(refusal.value.violations) == ["model.model_id"]


def test_without_a_workspace_nothing_is_created_or_searched(registry: Registry) -> None:
    for ask in (
        lambda: registry.models.create("", "fraud", request=ONCE),
        lambda: registry.models.search("", "", [], after=None, limit=1),
    ):
        with pytest.raises(FieldInvalid, match="workspace: is required"):
            ask()
