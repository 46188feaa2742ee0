from __future__ import annotations

import pytest

from modelry.api.registry import v1 as api
from tests.contract.registry.conftest import WORKSPACE, Platform, unique
from tests.parts.refusal import refused


def asked(model_name: str, alias: str) -> api.GetAliasRequest:
    return api.GetAliasRequest(workspace=WORKSPACE, model_name=model_name, alias=alias)


def removal(model_name: str, alias: str) -> api.DeleteAliasRequest:
    return api.DeleteAliasRequest(workspace=WORKSPACE, model_name=model_name, alias=alias)


def test_an_alias_is_answered_with_the_version_that_it_points_at(platform: Platform) -> None:
    version = platform.a_version(platform.a_model().name, tags={"k": "v"})

    platform.set_alias(version, "champion")
    answer = platform.aliases.GetAlias(asked(version.model_name, "champion"))

    alias = answer.alias
    assert (alias.workspace, alias.model_name, alias.alias, alias.version_number) == (
        WORKSPACE,
        version.model_name,
        "champion",
        1,
    )
    assert (answer.version.version_id, dict(answer.version.tags)) == (version.version_id, {"k": "v"})
    assert list(answer.version.aliases) == ["champion"]
    model = platform.models.GetModel(api.GetModelRequest(model_id=version.model_id)).model
    assert model.aliases == {"champion": 1}


def test_an_alias_moves_and_goes(platform: Platform) -> None:
    model, run_id = platform.a_model().name, platform.a_run()
    for _ in range(2):
        platform.set_alias(platform.a_version(model, run_id), "champion")
    assert platform.aliases.GetAlias(asked(model, "champion")).version.version_number == 2

    platform.aliases.DeleteAlias(removal(model, "champion"))

    refusal = refused(platform.aliases.GetAlias, asked(model, "champion"))
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "ALIAS_NOT_FOUND")
    assert refusal.resource == ("alias", f"{model}@champion")
    assert refused(platform.aliases.DeleteAlias, removal(model, "champion")).reason == "ALIAS_NOT_FOUND"


@pytest.mark.parametrize(
    "alias", ["", "x" * 251, "3", "v3", "V3", "latest", "LATEST", "Production", "staging", "a/b", "a@b", "a\0", "é"]
)
def test_what_can_be_taken_for_something_else_is_no_alias(platform: Platform, alias: str) -> None:
    version = platform.a_version(platform.a_model().name)

    request = api.SetAliasRequest(workspace=WORKSPACE, model_name=version.model_name, alias=alias, version_number=1)
    refusal = refused(platform.aliases.SetAlias, request)

    assert (refusal.code, refusal.reason, list(refusal.violations)) == ("INVALID_ARGUMENT", "FIELD_INVALID", ["alias"])


@pytest.mark.parametrize("alias", ["latest", "3", "a/b", "x" * 10_000])
def test_what_is_no_alias_is_not_found(platform: Platform, alias: str) -> None:
    model = platform.a_model().name

    assert refused(platform.aliases.GetAlias, asked(model, alias)).reason == "ALIAS_NOT_FOUND"


@pytest.mark.parametrize("field", ["workspace", "model_name", "alias"])
def test_what_a_request_is_about_is_required(platform: Platform, field: str) -> None:
    request = asked(platform.a_model().name, "champion")
    request.ClearField(field)  # type: ignore[arg-type]

    refusal = refused(platform.aliases.GetAlias, request)

    assert (refusal.reason, list(refusal.violations)) == ("FIELD_INVALID", [field])


def test_what_is_not_there_is_named(platform: Platform) -> None:
    model = platform.a_model().name

    missing = api.SetAliasRequest(workspace=WORKSPACE, model_name=model, alias="champion", version_number=1)
    assert refused(platform.aliases.SetAlias, missing).reason == "VERSION_NOT_FOUND"
    missing.reason = "x" * 5001
    assert list(refused(platform.aliases.SetAlias, missing).violations) == ["reason"]
    missing.model_name = unique("none")
    assert refused(platform.aliases.SetAlias, missing).reason == "MODEL_NOT_FOUND"
    assert refused(platform.aliases.GetAlias, asked(missing.model_name, "champion")).reason == "MODEL_NOT_FOUND"
