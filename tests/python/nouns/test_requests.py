"""What the nouns of the registry send, seen by a scripted server."""

from __future__ import annotations

from typing import Any

import pytest

from modelry.api.registry import v1 as registry
from modelry.errors import FieldInvalid, InvalidArgument, VersionNotFound
from modelry.types import Flavor, Signature
from tests.python.registry_script import a_version, scripted

RUN = "0123456789abcdef0123456789abcdef"
rpcs = registry.rpcs


def test_a_promotion_has_the_workspace_a_request_id_and_the_stage_by_its_name() -> None:
    moved = registry.PromoteVersionResponse(
        promotion=registry.Promotion(
            promotion_id="p1", to_stage="Production", state=registry.PROMOTION_STATE_COMPLETED
        ),
        version=a_version(2, stage="Production"),
        archived_version_numbers=[1, 7],
    )
    stayed = registry.PromoteVersionResponse(version=a_version(2, stage="Shadow"))

    with scripted({rpcs.PROMOTE_VERSION: [moved, stayed]}) as (client, server):
        first = client.promotions.promote("bikes", "2", "production", archive_existing=True, reason="better")
        second = client.promotions.promote("bikes", 2, "Shadow")

    assert first.promotion is not None
    assert (first.promotion.promotion_id, first.promotion.state) == ("p1", "COMPLETED")
    assert first.archived_version_numbers == (1, 7)
    assert (second.promotion, second.version.stage) == (None, "Shadow")
    one, other = server.requests
    assert (one.workspace, one.model_name, one.version_number, one.stage) == ("default", "bikes", 2, "Production")
    assert other.stage == "Shadow"
    assert len({one.request_id, other.request_id, ""}) == 3


def test_a_promotion_is_read_by_its_id() -> None:
    answer = registry.GetPromotionResponse(
        promotion=registry.Promotion(promotion_id="p1", archived_version_numbers=[3])
    )

    with scripted({rpcs.GET_PROMOTION: [answer]}) as (client, server):
        found = client.promotions.get("p1")

    assert (found.promotion_id, found.archived_version_numbers) == ("p1", (3,))
    assert server.requests[0].promotion_id == "p1"


def test_a_version_is_created_from_a_uri_with_signature_and_flavors() -> None:
    answer = registry.CreateVersionResponse(
        version=a_version(
            source=registry.VersionSource(run=registry.RunFiles(run_id=RUN, path="model")),
            signature=registry.Signature(inputs="[]"),
            flavors=[registry.Flavor(name="sklearn", library_version="1.5.2")],
        )
    )

    with scripted({rpcs.CREATE_VERSION: [answer]}) as (client, server):
        made = client.versions.create(
            "bikes", f"runs:/{RUN}/model", signature=Signature(inputs="[]"), flavors=[Flavor("sklearn", "1.5.2")]
        )

    (request,) = server.requests
    assert (request.source.run.run_id, request.source.run.path) == (RUN, "model")
    assert (request.signature.inputs, request.flavors[0].library_version) == ("[]", "1.5.2")
    assert request.request_id
    assert (made.source, made.signature, made.flavors) == (
        f"runs:/{RUN}/model",
        Signature(inputs="[]"),
        (Flavor("sklearn", "1.5.2"),),
    )


def test_a_version_without_a_signature_has_none() -> None:
    answer = registry.CreateVersionResponse(version=a_version())

    with scripted({rpcs.CREATE_VERSION: [answer]}) as (client, server):
        made = client.versions.create("bikes", "models:/cars/3")

    assert not server.requests[0].HasField("signature")
    assert (made.signature, made.flavors) == (None, ())


def test_a_source_that_can_not_be_is_refused_before_anything_is_sent() -> None:
    with scripted({}) as (client, _):
        with pytest.raises(InvalidArgument, match=r"can't be the source of a version\. Use runs:/"):
            client.versions.create("bikes", "models:/cars/latest")
        with pytest.raises(FieldInvalid, match="is not the run of the source"):
            client.versions.create("bikes", f"runs:/{RUN}/model", run_id="f" * 32)


def test_a_change_names_the_thing_by_its_id() -> None:
    answers: dict[Any, list[Any]] = {
        rpcs.GET_VERSION: [registry.GetVersionResponse(version=a_version(3))],
        rpcs.UPDATE_VERSION: [registry.UpdateVersionResponse(version=a_version(3))],
        rpcs.GET_MODEL: [registry.GetModelResponse(model=registry.Model(model_id="m1", name="bikes"))],
        rpcs.UPDATE_MODEL: [registry.UpdateModelResponse(model=registry.Model(model_id="m1", name="cars"))],
    }

    with scripted(answers) as (client, server):
        client.versions.update("bikes", 3, description="")
        client.models.rename("bikes", "cars", etag="e")

    _, version, _, model = server.requests
    assert (version.version.version_id, list(version.update_mask.paths)) == ("v3", ["description"])
    assert (model.model.model_id, model.model.name, model.model.etag) == ("m1", "cars", "e")
    assert list(model.update_mask.paths) == ["name"]


def test_a_thing_is_read_by_its_id_without_a_workspace() -> None:
    answers: dict[Any, list[Any]] = {
        rpcs.GET_VERSION: [registry.GetVersionResponse(version=a_version())],
        rpcs.GET_MODEL: [registry.GetModelResponse()],
    }

    with scripted(answers) as (client, server):
        client.versions.get(version_id="v1")
        client.models.get(model_id="m1")

    assert server.requests == [registry.GetVersionRequest(version_id="v1"), registry.GetModelRequest(model_id="m1")]


@pytest.mark.parametrize(
    ("uri", "request_"),
    [
        ("models:/bikes@champion", registry.GetAliasRequest(workspace="default", model_name="bikes", alias="champion")),
        ("models:/bikes/3", registry.GetVersionRequest(workspace="default", model_name="bikes", version_number=3)),
        ("models:/bikes/latest", registry.ListLatestVersionsRequest(workspace="default", model_name="bikes")),
        (
            "models:/bikes/Shadow",
            registry.ListLatestVersionsRequest(workspace="default", model_name="bikes", stages=["Shadow"]),
        ),
    ],
)
def test_a_uri_is_resolved_by_one_call(uri: str, request_: Any) -> None:
    answers: dict[Any, list[Any]] = {
        rpcs.GET_ALIAS: [registry.GetAliasResponse(version=a_version(3))],
        rpcs.GET_VERSION: [registry.GetVersionResponse(version=a_version(3))],
        rpcs.LIST_LATEST_VERSIONS: [registry.ListLatestVersionsResponse(versions=[a_version(3), a_version(1)])],
    }

    with scripted(answers) as (client, server):
        found = client.versions.resolve(uri)

    assert (found.version_number, found.owner) == (3, "versions/v3")
    assert server.requests == [request_]


def test_a_uri_that_means_no_version_says_so() -> None:
    empty = registry.ListLatestVersionsResponse()

    with scripted({rpcs.LIST_LATEST_VERSIONS: [empty, empty]}) as (client, _):
        with pytest.raises(VersionNotFound, match="'bikes' has no version in stage 'Shadow'"):
            client.versions.resolve("models:/bikes/Shadow")
        with pytest.raises(VersionNotFound, match="'bikes' has no versions"):
            client.versions.resolve("models:/bikes/latest")
        with pytest.raises(InvalidArgument, match="is not the URI of a version"):
            client.versions.resolve(f"runs:/{RUN}/model")
