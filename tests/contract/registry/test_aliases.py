from __future__ import annotations

import pytest

from modelry.api.registry import v1 as api
from tests.contract.registry.conftest import Platform, unique
from tests.parts.refusal import refused


def test_an_alias_is_answered_with_the_version_that_it_points_at(platform: Platform) -> None:
    version = platform.a_version(platform.a_model().name, tags={"k": "v"})

    platform.aliases.SetAlias(api.SetAliasRequest(model=version.model, alias="champion", number=1))
    answer = platform.aliases.GetAlias(api.GetAliasRequest(model=version.model, alias="champion"))

    assert (answer.alias.model, answer.alias.alias, answer.alias.number) == (version.model, "champion", 1)
    assert (answer.version.version_id, dict(answer.version.tags)) == (version.version_id, {"k": "v"})
    assert list(answer.version.aliases) == ["champion"]
    assert platform.models.GetModel(api.GetModelRequest(name=version.model)).model.aliases == {"champion": 1}


def test_an_alias_moves_and_goes(platform: Platform) -> None:
    model, run_id = platform.a_model().name, platform.a_run()
    for number in (1, 2):
        platform.a_version(model, run_id)
        platform.aliases.SetAlias(api.SetAliasRequest(model=model, alias="champion", number=number))
    wanted = api.GetAliasRequest(model=model, alias="champion")
    assert platform.aliases.GetAlias(wanted).version.number == 2

    platform.aliases.DeleteAlias(api.DeleteAliasRequest(model=model, alias="champion"))

    refusal = refused(platform.aliases.GetAlias, wanted)
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "ALIAS_NOT_FOUND")
    assert refusal.resource == ("alias", f"{model}@champion")
    again = api.DeleteAliasRequest(model=model, alias="champion")
    assert refused(platform.aliases.DeleteAlias, again).reason == "ALIAS_NOT_FOUND"


@pytest.mark.parametrize(
    "alias", ["", "x" * 251, "3", "v3", "V3", "latest", "LATEST", "Production", "staging", "a/b", "a@b", "a\0", "é"]
)
def test_what_can_be_taken_for_something_else_is_no_alias(platform: Platform, alias: str) -> None:
    model = platform.a_version(platform.a_model().name).model

    refusal = refused(platform.aliases.SetAlias, api.SetAliasRequest(model=model, alias=alias, number=1))

    assert (refusal.code, refusal.reason, list(refusal.violations)) == ("INVALID_ARGUMENT", "FIELD_INVALID", ["alias"])


@pytest.mark.parametrize("alias", ["", "latest", "3", "a\0b", "x" * 10_000])
def test_what_is_no_alias_is_not_found(platform: Platform, alias: str) -> None:
    model = platform.a_model().name

    assert refused(platform.aliases.GetAlias, api.GetAliasRequest(model=model, alias=alias)).reason == "ALIAS_NOT_FOUND"


def test_what_is_not_there_is_named(platform: Platform) -> None:
    model = platform.a_model().name

    missing = api.SetAliasRequest(model=model, alias="champion", number=1)
    assert refused(platform.aliases.SetAlias, missing).reason == "VERSION_NOT_FOUND"
    missing.model = unique("none")
    assert refused(platform.aliases.SetAlias, missing).reason == "MODEL_NOT_FOUND"
    unknown = api.GetAliasRequest(model=missing.model, alias="champion")
    assert refused(platform.aliases.GetAlias, unknown).reason == "MODEL_NOT_FOUND"
    missing.reason = "x" * 5001
    assert list(refused(platform.aliases.SetAlias, missing).violations) == ["reason"]
