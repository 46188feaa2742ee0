from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as api
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.ids import new_id
from tests.contract.registry.conftest import FILES, Platform, unique
from tests.parts.refusal import refused

RUN = "0123456789abcdef0123456789abcdef"


def listed(platform: Platform, owner: str) -> dict[str, int]:
    """The paths and sizes of an owner's files."""
    request = artifacts.ListArtifactsRequest(owner=owner, recursive=True)
    found = platform.files.ListArtifacts(request).artifacts
    return {each.path: each.size_bytes for each in found}


def test_a_version_holds_the_files_of_its_run(platform: Platform) -> None:
    model, run_id = platform.a_model(), platform.a_run()

    version = platform.a_version(model.name, run_id, description="First.", tags={"k": "v"})

    assert (version.workspace, version.model, version.number, version.run_id) == ("default", model.name, 1, run_id)
    assert (version.stage, version.state) == (api.STAGE_NONE, api.VERSION_STATE_READY)
    assert (version.source, version.description, dict(version.tags)) == (f"runs:/{run_id}/model", "First.", {"k": "v"})
    assert (version.file_count, version.size_bytes, len(version.manifest_sha256)) == (2, 1012, 64)
    assert listed(platform, f"versions/{version.version_id}") == {"MLmodel": 12, "weights.bin": 1000}
    request = api.GetVersionRequest(model=model.name, number=1)
    assert platform.versions.GetVersion(request).version == version


def test_a_version_outlives_its_run_and_what_is_done_to_its_files(platform: Platform) -> None:
    run_id = platform.a_run()
    version = platform.a_version(platform.a_model().name, run_id)

    platform.files.DeleteArtifact(artifacts.DeleteArtifactRequest(owner=f"runs/{run_id}", path="model"))
    platform.runs.DeleteRun(tracking.DeleteRunRequest(run_id=run_id))

    assert listed(platform, f"versions/{version.version_id}") == {"MLmodel": 12, "weights.bin": 1000}


def test_a_copy_of_a_version_has_the_same_files(platform: Platform) -> None:
    first = platform.a_version(platform.a_model().name)
    other = platform.a_model()

    request = api.CreateVersionRequest(model=other.name, source=f"models:/{first.model}/1")
    copy = platform.versions.CreateVersion(request).version

    assert (copy.run_id, copy.manifest_sha256, copy.file_count) == (first.run_id, first.manifest_sha256, 2)
    assert copy.version_id != first.version_id
    platform.versions.DeleteVersion(api.DeleteVersionRequest(model=first.model, number=1))
    assert listed(platform, f"versions/{copy.version_id}") == {"MLmodel": 12, "weights.bin": 1000}


def test_versions_that_many_make_at_once_are_numbered_without_gaps(platform: Platform) -> None:
    model, run_id = platform.a_model(), platform.a_run()

    with ThreadPoolExecutor(64) as pool:
        made = list(pool.map(lambda _: platform.a_version(model.name, run_id), range(64)))

    assert sorted(version.number for version in made) == list(range(1, 65))
    in_time = sorted(made, key=lambda version: version.number)
    times = [version.create_time.ToMilliseconds() for version in in_time]
    assert times == sorted(times)


def test_a_failed_attempt_leaves_no_gap(platform: Platform) -> None:
    model, run_id = platform.a_model(), platform.a_run()
    platform.a_version(model.name, run_id)

    refused(
        platform.versions.CreateVersion, api.CreateVersionRequest(model=model.name, source=f"runs:/{run_id}/nothing")
    )

    assert platform.a_version(model.name, run_id).number == 2


def test_the_same_request_twice_makes_one_version(platform: Platform) -> None:
    model, run_id, request_id = platform.a_model(), platform.a_run(), new_id()

    with ThreadPoolExecutor(8) as pool:
        requests = [
            pool.submit(
                platform.versions.CreateVersion,
                api.CreateVersionRequest(model=model.name, source=f"runs:/{run_id}/model", request_id=request_id),
            )
            for _ in range(8)
        ]
        made = [request.result().version for request in requests]

    assert {version.number for version in made} == {1}
    assert listed(platform, f"versions/{made[0].version_id}") == {"MLmodel": 12, "weights.bin": 1000}


def test_a_retry_is_answered_though_the_run_is_gone_since(platform: Platform) -> None:
    model, run_id, request_id = platform.a_model(), platform.a_run(), new_id()
    first = platform.a_version(model.name, run_id, request_id=request_id)
    platform.runs.DeleteRun(tracking.DeleteRunRequest(run_id=run_id))

    assert platform.a_version(model.name, run_id, request_id=request_id) == first


def test_a_request_id_with_other_contents_is_refused(platform: Platform) -> None:
    model, run_id, request_id = platform.a_model(), platform.a_run(), new_id()
    platform.a_version(model.name, run_id, request_id=request_id)

    other = api.CreateVersionRequest(model=model.name, source=f"runs:/{run_id}/notes.txt", request_id=request_id)
    refusal = refused(platform.versions.CreateVersion, other)

    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")


@pytest.mark.parametrize(
    "source",
    [
        "",
        "file:///etc/",
        "../../../etc",
        "/etc",
        "http://example.org/model",
        "s3://other/model",
        f"runs:/{RUN}/../model",
        f"runs:/{RUN}",
        "models:/fraud/Production",
    ],
)
def test_a_source_outside_of_the_system_is_refused(platform: Platform, source: str) -> None:
    model = platform.a_model()

    request = api.CreateVersionRequest(model=model.name, source=source, tags={"mlflow.prompt.is_prompt": "true"})
    refusal = refused(platform.versions.CreateVersion, request)

    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert list(refusal.violations) == ["source"]


@pytest.mark.parametrize("path", ["a\\b", "x" * 1025, "a\u2215..\uff0f\uff0e\uff0e"])
def test_a_path_that_artifacts_refuses_is_refused(platform: Platform, path: str) -> None:
    model, run_id = platform.a_model(), platform.a_run()

    refusal = refused(
        platform.versions.CreateVersion, api.CreateVersionRequest(model=model.name, source=f"runs:/{run_id}/{path}")
    )

    assert refusal.reason in ("PATH_INVALID", "SOURCE_EMPTY")


def test_what_a_version_is_made_from_must_be_there(platform: Platform) -> None:
    model, run_id = platform.a_model(), platform.a_run()

    def refusal(source: str) -> tuple[str, str]:
        request = api.CreateVersionRequest(model=model.name, source=source)
        answer = refused(platform.versions.CreateVersion, request)
        return answer.code, answer.reason

    assert refusal(f"runs:/{new_id()}/model") == ("NOT_FOUND", "RUN_NOT_FOUND")
    assert refusal(f"runs:/{run_id}/nothing") == ("FAILED_PRECONDITION", "SOURCE_EMPTY")
    assert refusal(f"runs:/{platform.a_run({})}/model") == ("FAILED_PRECONDITION", "SOURCE_EMPTY")
    assert refusal("models:/none-at-all/1") == ("NOT_FOUND", "MODEL_NOT_FOUND")
    assert refusal(f"models:/{model.name}/1") == ("NOT_FOUND", "VERSION_NOT_FOUND")
    platform.runs.DeleteRun(tracking.DeleteRunRequest(run_id=run_id))
    assert refusal(f"runs:/{run_id}/model") == ("FAILED_PRECONDITION", "RUN_DELETED")
    assert platform.models.GetModel(api.GetModelRequest(name=model.name)).model.last_version == 0


def test_an_empty_source_names_run_and_path(platform: Platform) -> None:
    model, run_id = platform.a_model(), platform.a_run()

    request = api.CreateVersionRequest(model=model.name, source=f"runs:/{run_id}/nothing")

    assert refused(platform.versions.CreateVersion, request).metadata == {"run_id": run_id, "path": "nothing"}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"description": "x" * 100_001}, "description"),
        ({"tags": {"k" * 251: ""}}, f"tags['{'k' * 40}']"),
        ({"tags": {"k": "x" * 8001}}, "tags['k']"),
        ({"tags": {str(n): "" for n in range(1001)}}, "tags"),
        ({"reason": "x" * 5001}, "reason"),
        ({"request_id": "x" * 65}, "request_id"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_by_its_path(
    platform: Platform, fields: dict[str, object], path: str
) -> None:
    model = platform.a_model()

    request = api.CreateVersionRequest(model=model.name, source=f"runs:/{RUN}/model", **fields)  # type: ignore[arg-type]
    refusal = refused(platform.versions.CreateVersion, request)

    assert (refusal.reason, list(refusal.violations)) == ("FIELD_INVALID", [path])


def test_a_description_changes_and_an_old_etag_is_refused(platform: Platform) -> None:
    version = platform.a_version(platform.a_model().name)
    given = api.Version(model=version.model, number=1, description="Better.", etag=version.etag)

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


@pytest.mark.parametrize("number", [0, -1, 2, 2**63 - 1])
def test_a_version_that_is_not_there_is_named(platform: Platform, number: int) -> None:
    model = platform.a_version(platform.a_model().name).model

    refusal = refused(platform.versions.GetVersion, api.GetVersionRequest(model=model, number=number))

    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "VERSION_NOT_FOUND")
    assert refusal.resource == ("version", f"{model}/{number}")
    unknown = refused(platform.versions.GetVersion, api.GetVersionRequest(model=unique("none"), number=1))
    assert unknown.reason == "MODEL_NOT_FOUND"


def test_a_version_in_use_is_not_deleted(platform: Platform) -> None:
    version = platform.a_version(platform.a_model().name)
    request = api.DeleteVersionRequest(model=version.model, number=1)
    platform.promote(version, api.STAGE_PRODUCTION)
    platform.aliases.SetAlias(api.SetAliasRequest(model=version.model, alias="champion", number=1))

    refusal = refused(platform.versions.DeleteVersion, request)
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "VERSION_IN_USE")
    assert (refusal.metadata["stage"], refusal.metadata["aliases"]) == ("Production", "champion")
    platform.promote(version, api.STAGE_ARCHIVED)
    assert refused(platform.versions.DeleteVersion, request).reason == "VERSION_IN_USE"
    platform.aliases.DeleteAlias(api.DeleteAliasRequest(model=version.model, alias="champion"))
    platform.versions.DeleteVersion(request)


def test_a_deleted_version_is_gone_with_its_files_and_its_number_is_not_given_again(platform: Platform) -> None:
    run_id = platform.a_run()
    version = platform.a_version(platform.a_model().name, run_id)

    platform.versions.DeleteVersion(api.DeleteVersionRequest(model=version.model, number=1))

    owner = f"versions/{version.version_id}"
    assert refused(platform.snapshots.GetSnapshot, artifacts.GetSnapshotRequest(owner=owner)).code == "NOT_FOUND"
    assert platform.a_version(version.model, run_id).number == 2
    assert listed(platform, f"runs/{run_id}") == {path: len(content) for path, content in FILES.items()}


def test_tags_are_set_replaced_and_removed(platform: Platform) -> None:
    version = platform.a_version(platform.a_model().name, tags={"a": "1", "b": "2"})
    key = {"model": version.model, "number": 1}

    request = api.SetVersionTagsRequest(**key, tags={"b": "3", "c": "4"})  # type: ignore[arg-type]
    assert platform.versions.SetVersionTags(request).version.tags == {"a": "1", "b": "3", "c": "4"}
    removal = api.DeleteVersionTagsRequest(**key, keys=["a", "none"])  # type: ignore[arg-type]
    refusal = refused(platform.versions.DeleteVersionTags, removal)
    assert (refusal.reason, refusal.metadata["key"]) == ("TAG_NOT_FOUND", "none")
    removal = api.DeleteVersionTagsRequest(**key, keys=["a", "c"])  # type: ignore[arg-type]
    assert platform.versions.DeleteVersionTags(removal).version.tags == {"b": "3"}


def test_the_newest_version_of_each_stage_is_listed_in_the_order_of_the_stages(platform: Platform) -> None:
    model, run_id = platform.a_model(), platform.a_run()
    versions = [platform.a_version(model.name, run_id) for _ in range(5)]
    for version, stage in zip(versions, [api.STAGE_PRODUCTION, api.STAGE_STAGING, api.STAGE_PRODUCTION], strict=False):
        platform.promote(version, stage)

    def latest(*stages: int) -> list[int]:
        request = api.ListLatestVersionsRequest(model=model.name, stages=stages)  # type: ignore[arg-type]
        return [version.number for version in platform.versions.ListLatestVersions(request).versions]

    assert latest() == [5, 2, 3]
    assert latest(api.STAGE_PRODUCTION, api.STAGE_ARCHIVED) == [3]
    refusal = refused(
        platform.versions.ListLatestVersions,
        api.ListLatestVersionsRequest(model=model.name, stages=[9]),  # type: ignore[list-item]
    )
    assert "STAGE_PRODUCTION" in refusal.violations["stages[0]"]


def search(platform: Platform, filter: str, *order_by: str, size: int = 100) -> list[int]:
    """The numbers of all versions that a filter finds, read by pages."""
    request = api.SearchVersionsRequest(filter=filter, order_by=order_by, page_size=size)
    found: list[int] = []
    while True:
        page = platform.versions.SearchVersions(request)
        found += [version.number for version in page.versions]
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def test_versions_are_found_by_what_they_are(platform: Platform) -> None:
    model, run_id = platform.a_model().name, platform.a_run()
    for number in range(1, 6):
        platform.a_version(model, run_id, tags={"n": str(number), "half": str(number // 2)})
    platform.promote(api.Version(model=model, number=2), api.STAGE_PRODUCTION)
    platform.aliases.SetAlias(api.SetAliasRequest(model=model, alias="champion", number=4))
    own = f"name = '{model}'"

    assert search(platform, own) == [5, 4, 3, 2, 1]
    assert search(platform, own, "version_number ASC", size=2) == [1, 2, 3, 4, 5]
    assert search(platform, own, "tags.half", "version_number DESC", size=2) == [1, 3, 2, 5, 4]
    assert search(platform, f"{own} AND version_number > 3") == [5, 4]
    assert search(platform, f"{own} AND stage = 'Production'") == [2]
    assert search(platform, f"{own} AND alias = 'champion'") == [4]
    assert search(platform, f"{own} AND alias IS NULL") == [5, 3, 2, 1]
    assert search(platform, f"{own} AND (tags.n = '1' OR tags.n LIKE '%5')") == [5, 1]
    assert search(platform, f"run_id = '{run_id}' AND NOT tags.half IN ('0', '1')") == [5, 4]
    assert search(platform, f"source ILIKE 'RUNS:/{run_id}/%' AND user_id = 'anonymous'") == [5, 4, 3, 2, 1]
    assert search(platform, f"{own} AND creation_timestamp > 4102444800000") == []
    assert search(platform, "name = 'none at all'") == []


@pytest.mark.parametrize(
    ("filter", "column"),
    [("stage = 'Live'", 9), ("version_number = '3'", 18), ("run_id = 'x' AND ", 17), ("colour = 'x'", 1)],
)
def test_a_filter_that_means_nothing_is_refused_at_its_column(platform: Platform, filter: str, column: int) -> None:
    refusal = refused(platform.versions.SearchVersions, api.SearchVersionsRequest(filter=filter))

    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FILTER_SYNTAX")
    assert refusal.metadata["column"] == str(column)


def test_a_page_token_of_another_search_is_refused(platform: Platform) -> None:
    model, run_id = platform.a_model().name, platform.a_run()
    for _ in range(2):
        platform.a_version(model, run_id)
    request = api.SearchVersionsRequest(filter=f"name = '{model}'", page_size=1)
    token = platform.versions.SearchVersions(request).next_page_token

    other = api.SearchVersionsRequest(filter=f"name != '{model}'", page_size=1, page_token=token)

    assert refused(platform.versions.SearchVersions, other).reason == "PAGE_TOKEN_INVALID"
    negative = api.SearchVersionsRequest(page_size=-1)
    assert list(refused(platform.versions.SearchVersions, negative).violations) == ["page_size"]
