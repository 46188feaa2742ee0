"""A repeated `request_id` answers with what the first call made, whatever has the name now."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelry.api.registry import v1 as api
from modelry_server.kernel.ids import new_id
from tests.contract.registry.conftest import WORKSPACE, Platform, draft, key_of, of_run, unique

Repeat = Callable[[], tuple[str, str]]
"""Sends the same request. Returns the id of what it made, and the name of the model in the answer."""


def promotion(platform: Platform, model: api.Model, run_id: str) -> Repeat:
    version = platform.a_version(model.name, run_id)
    request = api.PromoteVersionRequest(**key_of(version), stage="Staging", request_id=new_id())

    def send() -> tuple[str, str]:
        made = platform.promotions.PromoteVersion(request)
        assert (made.version.version_id, made.version.stage) == (version.version_id, "Staging")
        assert made.version.model_name == made.promotion.model_name
        return made.promotion.promotion_id, made.promotion.model_name

    return send


def promotion_of_nothing(platform: Platform, model: api.Model, run_id: str) -> Repeat:
    version = platform.a_version(model.name, run_id)
    request = api.PromoteVersionRequest(**key_of(version), stage=version.stage, request_id=new_id())

    def send() -> tuple[str, str]:
        made = platform.promotions.PromoteVersion(request)
        assert not made.HasField("promotion")
        return made.version.version_id, made.version.model_name

    return send


def creation_of_a_version(platform: Platform, model: api.Model, run_id: str) -> Repeat:
    request = draft(model.name, of_run(run_id), request_id=new_id())

    def send() -> tuple[str, str]:
        made = platform.versions.CreateVersion(request).version
        return made.version_id, made.model_name

    return send


def creation_of_an_existing_model(platform: Platform, model: api.Model, run_id: str) -> Repeat:
    request = api.CreateModelRequest(workspace=WORKSPACE, name=model.name, allow_existing=True, request_id=new_id())

    def send() -> tuple[str, str]:
        made = platform.models.CreateModel(request).model
        assert made.model_id == model.model_id
        return made.model_id, made.name

    return send


@pytest.mark.parametrize(
    "prepare", [promotion, promotion_of_nothing, creation_of_a_version, creation_of_an_existing_model]
)
def test_a_repeated_request_answers_with_the_first_thing_though_another_model_has_the_name(
    platform: Platform, prepare: Callable[[Platform, api.Model, str], Repeat]
) -> None:
    model, run_id, new_name = platform.a_model(), platform.a_run(), unique("renamed")
    send = prepare(platform, model, run_id)
    made, name = send()
    assert name == model.name

    renamed = api.UpdateModelRequest(model=api.Model(model_id=model.model_id, name=new_name))
    renamed.update_mask.paths.append("name")
    platform.models.UpdateModel(renamed)
    assert send() == (made, new_name)  # nothing has the old name

    platform.a_model(model.name)
    platform.a_version(model.name, run_id)
    assert send() == (made, new_name)
