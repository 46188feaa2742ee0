"""What comments of the contract promise where two rpcs, or two calls of one, might be expected to behave alike."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_reflection.v1alpha import reflection_pb2

from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.ids import new_id
from tests.contract.registry.conftest import WORKSPACE, Platform, key_of, unique
from tests.parts.deployment import Deployment
from tests.parts.refusal import refused


@pytest.fixture
def platform(deployment: Deployment) -> Platform:
    return Platform.of(deployment)


def test_the_first_end_time_of_a_run_stays_until_an_update_changes_it(platform: Platform) -> None:
    run_id = platform.a_run(files={})
    ask = platform.runs

    first = ask.FinishRun(tracking.FinishRunRequest(run_id=run_id, end_time=Timestamp(seconds=1000))).run
    again = ask.FinishRun(tracking.FinishRunRequest(run_id=run_id, end_time=Timestamp(seconds=2000))).run
    change = tracking.Run(run_id=run_id, end_time=Timestamp(seconds=2000))
    updated = ask.UpdateRun(tracking.UpdateRunRequest(run=change)).run

    assert (first.end_time.seconds, again.end_time.seconds, updated.end_time.seconds) == (1000, 1000, 2000)
    assert again == first


def test_an_alias_keeps_its_version_but_not_its_model(platform: Platform) -> None:
    model = platform.a_model()
    version = platform.a_version(model.name)
    platform.set_alias(version, "champion")

    refusal = refused(platform.versions.DeleteVersion, registry.DeleteVersionRequest(**key_of(version)))
    platform.models.DeleteModel(registry.DeleteModelRequest(workspace=WORKSPACE, model_name=model.name))

    gone = refused(platform.models.GetModel, registry.GetModelRequest(model_id=model.model_id))
    assert (refusal.reason, gone.reason) == ("VERSION_IN_USE", "MODEL_NOT_FOUND")


def test_a_repeated_request_for_a_model_that_was_deleted_says_so(platform: Platform) -> None:
    request = registry.CreateModelRequest(workspace=WORKSPACE, name=unique("gone"), request_id=new_id())
    platform.models.CreateModel(request)
    platform.models.DeleteModel(registry.DeleteModelRequest(workspace=WORKSPACE, model_name=request.name))

    assert refused(platform.models.CreateModel, request).reason == "MODEL_NOT_FOUND"


def test_a_list_of_nothing_is_empty_where_the_thing_itself_is_missing(platform: Platform) -> None:
    owner = artifacts.ArtifactOwner(run_id=platform.a_run(files={}))

    listed = platform.files.ListArtifacts(artifacts.ListArtifactsRequest(owner=owner, path="nothing")).artifacts
    refusal = refused(platform.files.GetArtifact, artifacts.GetArtifactRequest(owner=owner, path="nothing"))
    root = platform.files.GetArtifact(artifacts.GetArtifactRequest(owner=owner)).artifact

    assert (list(listed), refusal.reason) == ([], "ARTIFACT_NOT_FOUND")
    assert (root.kind, root.file_count) == (artifacts.ARTIFACT_KIND_FOLDER, 0)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
@pytest.mark.parametrize("room", ["access", "tracking", "artifacts", "registry"])
def test_reflection_answers_under_both_of_its_names(deployment: Deployment, room: str, version: str) -> None:
    channel: Any = deployment.channel(room)
    ask = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    wanted = [reflection_pb2.ServerReflectionRequest(list_services="")]

    [listed] = ask(iter(wanted), timeout=20)

    names = {service.name for service in listed.list_services_response.service}
    assert any(name.startswith(f"modelry.api.{room}.v1.") for name in names)


def test_a_stream_of_the_internal_listener_has_no_reflection(deployment: Deployment) -> None:
    channel: Any = deployment.internal_channel("artifacts")
    ask = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")

    with pytest.raises(grpc.RpcError) as caught:
        list(ask(iter([b""]), timeout=20))

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
