"""What holds for versions."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from modelry_server.kernel.errors import DatabaseUnavailable, EtagMismatch, FieldInvalid
from modelry_server.registry.domain.drafts import Draft
from modelry_server.registry.entities import Flavor, RunFiles, Signature
from modelry_server.registry.errors import (
    ModelNotFound,
    TagNotFound,
    VersionIdNotFound,
    VersionInUse,
    VersionNotFound,
)
from modelry_server.registry.store import versions as version_rows
from tests.contract.registry.conftest import Platform
from tests.server.registry.conftest import ONCE, Registry
from tests.server.registry.domain.test_snapshots import are_kept


def test_files_of_a_deleted_model_are_let_go(connected: Registry, platform: Platform) -> None:
    connected.a_model("fraud")
    source = RunFiles(platform.a_run(), "model")
    made = [connected.drafts.create("default", "fraud", Draft(source), request=ONCE) for _ in range(2)]

    connected.models.delete("default", "fraud")

    assert [are_kept(platform, version.version_id) for version in made] == [False, False]


@pytest.mark.parametrize("kind", ["version", "model"])
def test_a_deletion_that_is_made_is_answered_also_if_the_server_ends_just_then(
    connected: Registry, platform: Platform, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    connected.a_model("fraud")
    connected.drafts.create("default", "fraud", Draft(RunFiles(platform.a_run(), "model")), request=ONCE)
    told: list[str] = []

    def close(version_id: str, *, is_long: bool = False) -> None:
        told.append(version_id)
        connected.db.interrupt()

    monkeypatch.setattr(connected.snapshots._artifacts, "delete", close)

    if kind == "version":
        connected.versions.delete("default", "fraud", 1)
    else:
        connected.models.delete("default", "fraud")

    assert len(told) == 1
    with pytest.raises(DatabaseUnavailable), connected.db.read():
        pytest.fail("it was not closed")


def test_without_artifacts_a_version_is_deleted_all_the_same(registry: Registry) -> None:
    registry.a_model("fraud")
    registry.a_version("fraud")

    registry.versions.delete("default", "fraud", 1)

    with pytest.raises(VersionNotFound):
        registry.versions.get(workspace="default", model_name="fraud", version_number=1)


@pytest.mark.parametrize("stage", ["Staging", "Production"])
def test_a_version_in_use_is_not_deleted(registry: Registry, stage: str) -> None:
    registry.a_model("fraud")
    registry.a_version("fraud", stage=stage)

    with pytest.raises(VersionInUse, match=f"stage: {stage}, aliases: none"):
        registry.versions.delete("default", "fraud", 1)


def test_a_version_with_an_alias_is_not_deleted(registry: Registry) -> None:
    registry.a_model("fraud")
    registry.a_version("fraud")
    registry.aliases.point("default", "fraud", "champion", 1)

    with pytest.raises(VersionInUse, match="aliases: 'champion'"):
        registry.versions.delete("default", "fraud", 1)


def test_a_description_changes_with_its_etag(registry: Registry) -> None:
    registry.a_model("fraud")
    version = registry.a_version("fraud")

    changed = registry.versions.update(version.version_id, lambda: {"description": "Words."}, etag=version.etag)

    assert (changed.description, changed.revision) == ("Words.", 2)
    assert registry.versions.update(version.version_id, lambda: {"description": "Words."}).revision == 2
    assert registry.versions.update(version.version_id, dict).revision == 2
    with pytest.raises(EtagMismatch):
        registry.versions.update(version.version_id, lambda: {"description": "Mine."}, etag=version.etag)


def test_tags_are_set_replaced_and_removed_all_or_none(registry: Registry) -> None:
    registry.a_model("fraud")
    registry.a_version("fraud", tags={"a": "1", "b": "2"})
    registry.clock.advance(1)

    changed = registry.versions.set_tags("default", "fraud", 1, {"b": "3"})
    with pytest.raises(TagNotFound, match="version 1 of 'fraud' has no tag 'c'"):
        registry.versions.delete_tags("default", "fraud", 1, ["a", "c"])

    assert (changed.tags, changed.update_time) == ({"a": "1", "b": "3"}, registry.clock.now())
    assert registry.versions.delete_tags("default", "fraud", 1, ["a"]).tags == {"b": "3"}


@pytest.mark.parametrize("tags", [{}, {"": ""}, {"k": "x" * 8001}])
def test_tags_beyond_a_limit_are_refused(registry: Registry, tags: dict[str, str]) -> None:
    registry.a_model("fraud")
    registry.a_version("fraud")

    with pytest.raises(FieldInvalid):
        registry.versions.set_tags("default", "fraud", 1, tags)


def test_the_newest_of_each_stage_is_found(registry: Registry) -> None:
    registry.a_model("fraud")
    for stage in ("Archived", "Production", "Production", "None", "Archived"):
        registry.a_version("fraud", stage=stage)

    assert [each.version_number for each in registry.versions.latest("default", "fraud", [])] == [4, 3, 5]
    assert [each.version_number for each in registry.versions.latest("default", "fraud", ["Staging"])] == []
    with pytest.raises(ModelNotFound):
        registry.versions.latest("default", "none", [])
    with pytest.raises(FieldInvalid, match="use one of 'None', 'Staging'") as refusal:
        registry.versions.latest("default", "fraud", ["Staging", "Live"])
    assert list(refusal.value.violations) == ["stages[1]"]


def test_a_version_is_found_by_its_number_or_by_its_id(registry: Registry) -> None:
    registry.a_model("fraud")
    made = registry.a_version("fraud", tags={"k": "v"})

    assert registry.versions.get(workspace="default", model_name="fraud", version_number=1) == made
    assert registry.versions.get(version_id=made.version_id) == made


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({}, ["workspace", "model_name", "version_number"]),
        ({"workspace": "default", "model_name": "fraud"}, ["version_number"]),
        ({"version_id": "x"}, ["version_id"]),
        ({"version_id": "0" * 32, "version_number": 1}, ["version_id"]),
    ],
)
def test_a_version_is_asked_for_in_exactly_one_way(
    registry: Registry, fields: dict[str, object], paths: list[str]
) -> None:
    with pytest.raises(FieldInvalid) as refusal:
        registry.versions.get(**fields)  # type: ignore[arg-type]

    assert list(refusal.value.violations) == paths


def test_a_version_id_that_does_not_exist_is_named(registry: Registry) -> None:
    asks: tuple[Callable[[], object], ...] = (
        lambda: registry.versions.get(version_id="0" * 32),
        lambda: registry.versions.update("0" * 32, lambda: {"description": "x"}),
    )
    for ask in asks:
        with pytest.raises(VersionIdNotFound) as refusal:
            ask()
        assert refusal.value.metadata == {"version_id": "0" * 32}


def test_lists_leave_signatures_out_and_do_not_even_read_them(registry: Registry) -> None:
    registry.a_model("fraud")
    made = registry.a_version("fraud", signature=Signature(inputs="[]"), flavors=(Flavor("sklearn"),), stage="Staging")

    (searched,) = registry.versions.search("default", "", (), after=None, limit=9)
    (latest,) = registry.versions.latest("default", "fraud", [])
    with registry.db.read() as tx:
        (in_stage,) = version_rows.in_stages(tx, made.model_id, ["Staging"])

    assert [searched.item, latest, in_stage] == [replace(made, signature=None)] * 3
    assert registry.versions.get(version_id=made.version_id) == made
    assert "versions.signature" in str(version_rows.with_name)
    assert "versions.signature" not in str(version_rows.listed)


def test_signature_and_flavors_are_kept(registry: Registry) -> None:
    registry.a_model("fraud")
    signature = Signature(inputs='[{"type": "double"}]', outputs='[{"type": "long"}]')
    flavors = (Flavor("sklearn", "1.5.2"), Flavor("python_function"))

    made = registry.a_version("fraud", signature=signature, flavors=flavors)
    empty = registry.a_version("fraud", signature=Signature())

    found = registry.versions.get(version_id=made.version_id)
    assert (found.signature, found.flavors) == (signature, flavors)
    assert registry.versions.get(version_id=empty.version_id).signature == Signature()
