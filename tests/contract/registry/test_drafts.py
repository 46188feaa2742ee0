from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelry.api.registry import v1 as api
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.ids import new_id
from tests.contract.registry.conftest import FILES, WORKSPACE, Platform, copy_of, draft, key_of, listed, of_run, unique
from tests.parts.refusal import refused

RUN = "0123456789abcdef0123456789abcdef"


def test_a_copy_of_a_version_has_the_same_files(platform: Platform) -> None:
    first = platform.a_version(platform.a_model().name)
    other = platform.a_model()

    source = copy_of(first.model_name, 1)
    copy = platform.versions.CreateVersion(draft(other.name, source)).version

    assert (copy.run_id, copy.manifest_sha256, copy.file_count) == (first.run_id, first.manifest_sha256, 2)
    source.version.version_id = first.version_id
    assert (copy.version_id != first.version_id, copy.source) == (True, source)
    platform.versions.DeleteVersion(api.DeleteVersionRequest(**key_of(first)))
    assert listed(platform, version_id=copy.version_id) == {"MLmodel": 12, "weights.bin": 1000}


def test_versions_that_many_make_at_once_are_numbered_without_gaps(platform: Platform) -> None:
    model, run_id = platform.a_model(), platform.a_run()

    with ThreadPoolExecutor(64) as pool:
        made = list(pool.map(lambda _: platform.a_version(model.name, run_id), range(64)))

    assert sorted(version.version_number for version in made) == list(range(1, 65))
    in_time = sorted(made, key=lambda version: version.version_number)
    times = [version.create_time.ToMilliseconds() for version in in_time]
    assert times == sorted(times)


def test_a_failed_attempt_leaves_no_gap(platform: Platform) -> None:
    model, run_id = platform.a_model(), platform.a_run()
    platform.a_version(model.name, run_id)

    refused(platform.versions.CreateVersion, draft(model.name, of_run(run_id, "nothing")))

    assert platform.a_version(model.name, run_id).version_number == 2


def test_the_same_request_twice_makes_one_version(platform: Platform) -> None:
    model, run_id, request_id = platform.a_model(), platform.a_run(), new_id()

    with ThreadPoolExecutor(8) as pool:
        requests = [
            pool.submit(
                platform.versions.CreateVersion,
                draft(model.name, of_run(run_id), request_id=request_id),
            )
            for _ in range(8)
        ]
        made = [request.result().version for request in requests]

    assert {version.version_number for version in made} == {1}
    assert listed(platform, version_id=made[0].version_id) == {"MLmodel": 12, "weights.bin": 1000}


def test_a_retry_is_answered_though_the_run_is_gone_since(platform: Platform) -> None:
    model, run_id, request_id = platform.a_model(), platform.a_run(), new_id()
    first = platform.a_version(model.name, run_id, request_id=request_id)
    platform.runs.DeleteRun(tracking.DeleteRunRequest(run_id=run_id))

    assert platform.a_version(model.name, run_id, request_id=request_id) == first


def test_a_request_id_with_other_contents_is_refused(platform: Platform) -> None:
    model, run_id, request_id = platform.a_model(), platform.a_run(), new_id()
    platform.a_version(model.name, run_id, request_id=request_id)

    other = draft(model.name, of_run(run_id, "notes.txt"), request_id=request_id)
    refusal = refused(platform.versions.CreateVersion, other)

    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")


@pytest.mark.parametrize(
    ("source", "path"),
    [
        (api.VersionSource(), "source"),
        (api.VersionSource(run=api.RunFiles(path="model")), "source.run.run_id"),
        (api.VersionSource(run=api.RunFiles(run_id="../../etc", path="model")), "source.run.run_id"),
        (api.VersionSource(version=api.VersionCopy(version_number=1)), "source.version.model_name"),
        (api.VersionSource(version=api.VersionCopy(model_name="fraud")), "source.version.version_number"),
    ],
)
def test_a_source_that_names_nothing_is_refused_by_its_path(
    platform: Platform, source: api.VersionSource, path: str
) -> None:
    request = draft(platform.a_model().name, source, tags={"mlflow.prompt.is_prompt": "true"})
    refusal = refused(platform.versions.CreateVersion, request)

    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert list(refusal.violations) == [path]


@pytest.mark.parametrize("path", ["../model", "/etc", "a//b", "a/./b", "a/", "a\nb"])
def test_a_path_that_climbs_is_refused(platform: Platform, path: str) -> None:
    refusal = refused(platform.versions.CreateVersion, draft(platform.a_model().name, of_run(platform.a_run(), path)))

    assert refusal.reason == "PATH_INVALID"


@pytest.mark.parametrize("path", ["a\\b", "x" * 1025, "a\u2215..\uff0f\uff0e\uff0e"])
def test_a_path_that_artifacts_refuses_is_refused(platform: Platform, path: str) -> None:
    model, run_id = platform.a_model(), platform.a_run()

    refusal = refused(platform.versions.CreateVersion, draft(model.name, of_run(run_id, path)))

    assert refusal.reason in ("PATH_INVALID", "SOURCE_EMPTY")


def test_what_a_version_is_made_from_must_be_there(platform: Platform) -> None:
    model, run_id = platform.a_model(), platform.a_run()

    def refusal(source: api.VersionSource) -> tuple[str, str]:
        answer = refused(platform.versions.CreateVersion, draft(model.name, source))
        return answer.code, answer.reason

    assert refusal(of_run(new_id())) == ("NOT_FOUND", "RUN_NOT_FOUND")
    assert refusal(of_run(run_id, "nothing")) == ("FAILED_PRECONDITION", "SOURCE_EMPTY")
    assert refusal(of_run(platform.a_run({}))) == ("FAILED_PRECONDITION", "SOURCE_EMPTY")
    assert refusal(copy_of("none-at-all", 1)) == ("NOT_FOUND", "MODEL_NOT_FOUND")
    assert refusal(copy_of(model.name, 1)) == ("NOT_FOUND", "VERSION_NOT_FOUND")
    platform.runs.DeleteRun(tracking.DeleteRunRequest(run_id=run_id))
    assert refusal(of_run(run_id)) == ("FAILED_PRECONDITION", "RUN_DELETED")
    assert platform.models.GetModel(api.GetModelRequest(model_id=model.model_id)).model.last_version_number == 0


def test_an_empty_source_names_run_and_path(platform: Platform) -> None:
    model, run_id = platform.a_model(), platform.a_run()

    request = draft(model.name, of_run(run_id, "nothing"))

    assert refused(platform.versions.CreateVersion, request).metadata == {"run_id": run_id, "path": "nothing"}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"description": "x" * 100_001}, "description"),
        ({"tags": {"k" * 251: ""}}, f"tags['{'k' * 40}']"),
        ({"tags": {"k": "x" * 8001}}, "tags['k']"),
        ({"tags": {str(n): "" for n in range(1001)}}, "tags"),
        ({"reason": "x" * 5001}, "reason"),
        ({"signature": api.Signature(inputs="x" * 1_000_001)}, "signature.inputs"),
        ({"signature": api.Signature(inputs=f'"{"x" * 600_000}"', outputs=f'"{"x" * 600_000}"')}, "signature"),
        ({"signature": api.Signature(params="x")}, "signature.params"),
        ({"flavors": [api.Flavor(name="x" * 251)]}, "flavors[0].name"),
        ({"flavors": [api.Flavor(name=str(n)) for n in range(101)]}, "flavors"),
        ({"request_id": "x" * 65}, "request_id"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_by_its_path(
    platform: Platform, fields: dict[str, object], path: str
) -> None:
    model = platform.a_model()

    request = draft(model.name, of_run(RUN), **fields)
    refusal = refused(platform.versions.CreateVersion, request)

    assert (refusal.reason, list(refusal.violations)) == ("FIELD_INVALID", [path])


def test_a_version_of_all_files_of_a_run(platform: Platform) -> None:
    version = platform.a_version(platform.a_model().name, path="")

    assert version.source == of_run(version.run_id, "")
    assert listed(platform, version_id=version.version_id) == {path: len(content) for path, content in FILES.items()}


def test_signature_and_flavors_are_kept_and_inherited_by_copies(platform: Platform) -> None:
    model = platform.a_model().name
    signature = api.Signature(inputs='[{"type": "double"}]', outputs='[{"type": "long"}]')
    flavors = [api.Flavor(name="sklearn", library_version="1.5.2"), api.Flavor(name="python_function")]

    made = platform.a_version(model, signature=signature, flavors=flavors)
    copy = platform.versions.CreateVersion(draft(model, copy_of(model, 1))).version
    own = draft(model, copy_of(model, 1), signature=api.Signature(), flavors=[api.Flavor(name="onnx")])
    other = platform.versions.CreateVersion(own).version
    plain = platform.a_version(model)

    assert (made.signature, list(made.flavors)) == (signature, flavors)
    assert (copy.signature, list(copy.flavors)) == (signature, flavors)
    assert (other.HasField("signature"), other.signature.inputs) == (True, "")
    assert [flavor.name for flavor in other.flavors] == ["onnx"]
    assert (plain.HasField("signature"), list(plain.flavors)) == (False, [])
    assert platform.versions.GetVersion(api.GetVersionRequest(version_id=made.version_id)).version == made


def test_a_copy_names_its_source_by_an_id_that_outlives_the_name(platform: Platform) -> None:
    model = platform.a_model()
    made = platform.a_version(model.name)
    target, name = platform.a_model().name, unique("scam")
    pretended = copy_of(model.name, 1)
    pretended.version.version_id = new_id()

    created = platform.versions.CreateVersion(draft(target, pretended)).version
    platform.models.UpdateModel(api.UpdateModelRequest(model=api.Model(model_id=model.model_id, name=name)))

    found = platform.versions.GetVersion(api.GetVersionRequest(version_id=created.version_id)).version
    expected = api.VersionCopy(model_name=model.name, version_number=1, version_id=made.version_id)
    assert created.source.version == found.source.version == expected
    by_id = platform.versions.GetVersion(api.GetVersionRequest(version_id=found.source.version.version_id)).version
    assert (by_id.model_name, by_id.version_number) == (name, 1)
    trail = api.ListAuditRecordsRequest(workspace=WORKSPACE, model_name=target)
    after = json.loads(platform.audit.ListAuditRecords(trail).records[0].after)
    assert (after["source"], after["source_version_id"]) == (f"models:/{model.name}/1", made.version_id)


def test_a_version_of_a_run_names_no_other_version(platform: Platform) -> None:
    model = platform.a_model().name
    platform.a_version(model)

    request = api.ListAuditRecordsRequest(workspace=WORKSPACE, model_name=model)
    assert "source_version_id" not in json.loads(platform.audit.ListAuditRecords(request).records[0].after)
