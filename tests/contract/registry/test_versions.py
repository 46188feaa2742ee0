from __future__ import annotations

import pytest

from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as api
from modelry.api.tracking import v1 as tracking
from modelry.internal.artifacts import v1 as internal
from modelry_server.kernel.ids import new_id
from tests.contract.registry.conftest import FILES, WORKSPACE, Platform, key_of, listed, of_run, unique
from tests.parts.refusal import refused

RUN = "0123456789abcdef0123456789abcdef"


def test_a_version_holds_the_files_of_its_run(platform: Platform) -> None:
    model, run_id = platform.a_model(), platform.a_run()

    version = platform.a_version(model.name, run_id, description="First.", tags={"k": "v"})

    assert (version.workspace, version.model_name, version.version_number, version.run_id) == (
        WORKSPACE,
        model.name,
        1,
        run_id,
    )
    assert (version.model_id, version.creator) == (model.model_id, "anonymous")
    assert (version.stage, version.state) == ("None", api.VERSION_STATE_READY)
    assert (version.source, version.description, dict(version.tags)) == (of_run(run_id), "First.", {"k": "v"})
    assert (version.file_count, version.size_bytes, len(version.manifest_sha256)) == (2, 1012, 64)
    assert listed(platform, version_id=version.version_id) == {"MLmodel": 12, "weights.bin": 1000}
    request = api.GetVersionRequest(**key_of(version))
    assert platform.versions.GetVersion(request).version == version
    assert platform.versions.GetVersion(api.GetVersionRequest(version_id=version.version_id)).version == version


def test_a_version_outlives_its_run_and_what_is_done_to_its_files(platform: Platform) -> None:
    run_id = platform.a_run()
    version = platform.a_version(platform.a_model().name, run_id)

    platform.files.DeleteArtifact(
        artifacts.DeleteArtifactRequest(owner=artifacts.ArtifactOwner(run_id=run_id), path="model")
    )
    platform.runs.DeleteRun(tracking.DeleteRunRequest(run_id=run_id))

    assert listed(platform, version_id=version.version_id) == {"MLmodel": 12, "weights.bin": 1000}


def test_a_description_changes_and_an_old_etag_is_refused(platform: Platform) -> None:
    version = platform.a_version(platform.a_model().name)
    given = api.Version(version_id=version.version_id, description="Better.", etag=version.etag)

    changed = platform.versions.UpdateVersion(api.UpdateVersionRequest(version=given)).version

    assert (changed.description, changed.etag != version.etag) == ("Better.", True)
    refusal = refused(platform.versions.UpdateVersion, api.UpdateVersionRequest(version=given))
    assert (refusal.code, refusal.reason, refusal.metadata["etag"]) == ("ABORTED", "ETAG_MISMATCH", changed.etag)


def test_only_the_description_can_be_named_by_a_mask(platform: Platform) -> None:
    version = platform.a_version(platform.a_model().name)

    request = api.UpdateVersionRequest(version=version)
    request.update_mask.paths.append("stage")
    refusal = refused(platform.versions.UpdateVersion, request)

    assert (refusal.reason, list(refusal.violations)) == ("FIELD_INVALID", ["update_mask"])


@pytest.mark.parametrize("number", [-1, 2, 2**63 - 1])
def test_a_version_that_is_not_there_is_named(platform: Platform, number: int) -> None:
    model = platform.a_version(platform.a_model().name).model_name
    request = api.GetVersionRequest(workspace=WORKSPACE, model_name=model, version_number=number)

    refusal = refused(platform.versions.GetVersion, request)

    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "VERSION_NOT_FOUND")
    assert refusal.resource == ("version", f"{model}/{number}")
    request.model_name = unique("none")
    assert refused(platform.versions.GetVersion, request).reason == "MODEL_NOT_FOUND"
    by_id = api.GetVersionRequest(version_id=new_id())
    assert refused(platform.versions.GetVersion, by_id).reason == "VERSION_NOT_FOUND"


def test_a_version_in_use_is_not_deleted(platform: Platform) -> None:
    version = platform.a_version(platform.a_model().name)
    request = api.DeleteVersionRequest(**key_of(version))
    platform.promote(version, "Production")
    platform.set_alias(version, "champion")

    refusal = refused(platform.versions.DeleteVersion, request)
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "VERSION_IN_USE")
    assert (refusal.metadata["stage"], refusal.metadata["aliases"]) == ("Production", "champion")
    platform.promote(version, "Archived")
    assert refused(platform.versions.DeleteVersion, request).reason == "VERSION_IN_USE"
    platform.aliases.DeleteAlias(
        api.DeleteAliasRequest(workspace=WORKSPACE, model_name=version.model_name, alias="champion")
    )
    platform.versions.DeleteVersion(request)


def test_a_deleted_version_is_gone_with_its_files_and_its_number_is_not_given_again(platform: Platform) -> None:
    run_id = platform.a_run()
    version = platform.a_version(platform.a_model().name, run_id)

    platform.versions.DeleteVersion(api.DeleteVersionRequest(**key_of(version)))

    request = internal.GetSnapshotRequest(version_id=version.version_id)
    assert refused(platform.snapshots.GetSnapshot, request).code == "NOT_FOUND"
    assert platform.a_version(version.model_name, run_id).version_number == 2
    assert listed(platform, run_id=run_id) == {path: len(content) for path, content in FILES.items()}


def test_tags_are_set_replaced_and_removed(platform: Platform) -> None:
    version = platform.a_version(platform.a_model().name, tags={"a": "1", "b": "2"})
    key = key_of(version)

    request = api.SetVersionTagsRequest(**key, tags={"b": "3", "c": "4"})
    assert platform.versions.SetVersionTags(request).version.tags == {"a": "1", "b": "3", "c": "4"}
    removal = api.DeleteVersionTagsRequest(**key, keys=["a", "none"])
    refusal = refused(platform.versions.DeleteVersionTags, removal)
    assert (refusal.reason, refusal.metadata["key"]) == ("TAG_NOT_FOUND", "none")
    removal = api.DeleteVersionTagsRequest(**key, keys=["a", "c"])
    assert platform.versions.DeleteVersionTags(removal).version.tags == {"b": "3"}


def test_the_newest_version_of_each_stage_is_listed_in_the_order_of_the_stages(platform: Platform) -> None:
    model, run_id = platform.a_model(), platform.a_run()
    versions = [platform.a_version(model.name, run_id) for _ in range(5)]
    for version, stage in zip(versions, ["Production", "Staging", "Production"], strict=False):
        platform.promote(version, stage)

    def latest(*stages: str) -> list[int]:
        request = api.ListLatestVersionsRequest(workspace=WORKSPACE, model_name=model.name, stages=stages)
        return [version.version_number for version in platform.versions.ListLatestVersions(request).versions]

    assert latest() == [5, 2, 3]
    assert latest("Production", "Archived") == [3]
    refusal = refused(
        platform.versions.ListLatestVersions,
        api.ListLatestVersionsRequest(workspace=WORKSPACE, model_name=model.name, stages=["Live"]),
    )
    assert "'Production'" in refusal.violations["stages[0]"]


def search(platform: Platform, filter: str, *order_by: str, size: int = 100) -> list[int]:
    """The numbers of all versions that a filter finds, read by pages."""
    request = api.SearchVersionsRequest(workspace=WORKSPACE, filter=filter, order_by=order_by, page_size=size)
    found: list[int] = []
    while True:
        page = platform.versions.SearchVersions(request)
        found += [version.version_number for version in page.versions]
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def test_versions_are_found_by_what_they_are(platform: Platform) -> None:
    model, run_id = platform.a_model().name, platform.a_run()
    for number in range(1, 6):
        platform.a_version(model, run_id, tags={"n": str(number), "half": str(number // 2)})
    platform.promote(api.Version(model_name=model, version_number=2), "Production")
    platform.set_alias(api.Version(model_name=model, version_number=4), "champion")
    own = f"model_name = '{model}'"

    assert search(platform, own) == [5, 4, 3, 2, 1]
    assert search(platform, own, "version_number ASC", size=2) == [1, 2, 3, 4, 5]
    assert search(platform, own, "tags.half", "version_number DESC", size=2) == [1, 3, 2, 5, 4]
    assert search(platform, f"{own} AND version_number > 3") == [5, 4]
    assert search(platform, f"{own} AND stage = 'Production'") == [2]
    assert search(platform, f"{own} AND alias = 'champion'") == [4]
    assert search(platform, f"{own} AND alias IS NULL") == [5, 3, 2, 1]
    assert search(platform, f"{own} AND (tags.n = '1' OR tags.n LIKE '%5')") == [5, 1]
    assert search(platform, f"run_id = '{run_id}' AND NOT tags.half IN ('0', '1')") == [5, 4]
    assert search(platform, f"source ILIKE 'RUNS:/{run_id}/%' AND creator = 'anonymous'") == [5, 4, 3, 2, 1]
    assert search(platform, f"{own} AND create_time > 4102444800000") == []
    assert search(platform, "model_name = 'none at all'") == []
    mlflow = f"name = '{model}' AND source_path LIKE 'runs:/%' AND user_id = 'anonymous' AND creation_timestamp > 0"
    assert search(platform, mlflow, "last_updated_timestamp", "version_number") != []


@pytest.mark.parametrize(
    ("filter", "column"),
    [("stage = 'Live'", 9), ("version_number = '3'", 18), ("run_id = 'x' AND ", 17), ("colour = 'x'", 1)],
)
def test_a_filter_that_means_nothing_is_refused_at_its_column(platform: Platform, filter: str, column: int) -> None:
    refusal = refused(platform.versions.SearchVersions, api.SearchVersionsRequest(workspace=WORKSPACE, filter=filter))

    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FILTER_SYNTAX")
    assert refusal.metadata["column"] == str(column)


def test_a_page_token_of_another_search_is_refused(platform: Platform) -> None:
    model, run_id = platform.a_model().name, platform.a_run()
    for _ in range(2):
        platform.a_version(model, run_id)
    request = api.SearchVersionsRequest(workspace=WORKSPACE, filter=f"model_name = '{model}'", page_size=1)
    token = platform.versions.SearchVersions(request).next_page_token

    other = api.SearchVersionsRequest(
        workspace=WORKSPACE, filter=f"model_name != '{model}'", page_size=1, page_token=token
    )

    assert refused(platform.versions.SearchVersions, other).reason == "PAGE_TOKEN_INVALID"
    negative = api.SearchVersionsRequest(workspace=WORKSPACE, page_size=-1)
    assert list(refused(platform.versions.SearchVersions, negative).violations) == ["page_size"]


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({}, ["model_name", "version_number", "workspace"]),
        ({"workspace": WORKSPACE, "model_name": "fraud"}, ["version_number"]),
        ({"version_id": "x"}, ["version_id"]),
        ({"version_id": "0" * 32, "model_name": "fraud"}, ["version_id"]),
    ],
)
def test_a_version_is_asked_for_in_exactly_one_way(
    platform: Platform, fields: dict[str, str], paths: list[str]
) -> None:
    refusal = refused(platform.versions.GetVersion, api.GetVersionRequest(**fields))  # type: ignore[arg-type]

    assert (refusal.reason, sorted(refusal.violations)) == ("FIELD_INVALID", paths)


def test_an_update_names_the_version_by_its_id(platform: Platform) -> None:
    version = platform.a_version(platform.a_model().name)

    by_number = api.UpdateVersionRequest(version=api.Version(**key_of(version), description="x"))
    assert list(refused(platform.versions.UpdateVersion, by_number).violations) == ["version.version_id"]
    unknown = api.UpdateVersionRequest(version=api.Version(version_id=new_id(), description="x"))
    assert refused(platform.versions.UpdateVersion, unknown).reason == "VERSION_NOT_FOUND"


def test_a_mask_clears_the_description(platform: Platform) -> None:
    version = platform.a_version(platform.a_model().name, description="Words.")
    request = api.UpdateVersionRequest(version=api.Version(version_id=version.version_id))

    assert platform.versions.UpdateVersion(request).version == version
    request.update_mask.paths.append("*")
    assert platform.versions.UpdateVersion(request).version.description == ""


def test_lists_leave_the_signature_out_and_everything_else_has_it(platform: Platform) -> None:
    model, run_id = platform.a_model().name, platform.a_run()
    signature = api.Signature(inputs='[{"type": "double"}]')
    made = [platform.a_version(model, run_id, signature=signature) for _ in range(2)]
    platform.promote(made[0], "Production")
    platform.set_alias(made[0], "champion")
    of_model = {"workspace": WORKSPACE, "model_name": model}

    promoted = platform.promote(made[1], "Production", archive_existing=True)
    found = platform.versions.SearchVersions(
        api.SearchVersionsRequest(workspace=WORKSPACE, filter=f"model_name = '{model}'")
    )
    newest = platform.versions.ListLatestVersions(api.ListLatestVersionsRequest(**of_model))
    in_lists = [*found.versions, *newest.versions]
    whole = [
        *made,
        promoted.version,
        platform.versions.GetVersion(api.GetVersionRequest(**key_of(made[0]))).version,
        platform.versions.GetVersion(api.GetVersionRequest(version_id=made[1].version_id)).version,
        platform.aliases.GetAlias(api.GetAliasRequest(**of_model, alias="champion")).version,
        platform.versions.SetVersionTags(api.SetVersionTagsRequest(**key_of(made[0]), tags={"k": "v"})).version,
        platform.versions.DeleteVersionTags(api.DeleteVersionTagsRequest(**key_of(made[0]), keys=["k"])).version,
        platform.versions.UpdateVersion(
            api.UpdateVersionRequest(version=api.Version(version_id=made[0].version_id, description="x"))
        ).version,
    ]

    assert len(in_lists) == 2 + 2
    assert [version.HasField("signature") for version in in_lists] == [False] * len(in_lists)
    assert [version.signature for version in whole] == [signature] * len(whole)
    assert {version.version_id for version in in_lists} == {version.version_id for version in made}
