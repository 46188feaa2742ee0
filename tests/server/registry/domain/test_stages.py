"""Stages are names under a policy."""

from dataclasses import FrozenInstanceError

import pytest

from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests.fields import Fields
from modelry_server.registry.domain import names
from modelry_server.registry.domain.stages import DEFAULT, StagePolicy, policy_of

CLINICAL = StagePolicy(
    stages=("Draft", "Validated", "Live", "Withdrawn"), serving=("Live",), first="Draft", archive="Withdrawn"
)
"""A policy as a team may have it later."""


def test_the_default_policy_is_the_contracts() -> None:
    assert policy_of("default", "0" * 32) is DEFAULT
    assert DEFAULT.stages == ("None", "Staging", "Production", "Archived")
    assert DEFAULT.serving == ("Staging", "Production")
    assert (DEFAULT.first, DEFAULT.archive) == ("None", "Archived")


def test_a_policy_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        DEFAULT.first = "Staging"  # type: ignore[misc]


@pytest.mark.parametrize(
    "parts",
    [
        {"first": "New"},
        {"archive": "Gone"},
        {"serving": ("Live", "Elsewhere")},
        {"stages": ("Draft", "draft", "Live", "Withdrawn")},
        {"first": "Live"},
        {"archive": "Live"},
    ],
)
def test_a_policy_that_contradicts_itself_cannot_be_made(parts: dict[str, object]) -> None:
    whole = {
        "stages": CLINICAL.stages,
        "serving": CLINICAL.serving,
        "first": CLINICAL.first,
        "archive": CLINICAL.archive,
    }

    with pytest.raises(ValueError, match="stage"):
        StagePolicy(**(whole | parts))  # type: ignore[arg-type]


def test_another_policy_has_its_own_stages() -> None:
    with Fields() as fields:
        CLINICAL.judge(fields, "stage", "Validated")
        CLINICAL.judge_archiving(fields, "archive_existing", "Live")

    with pytest.raises(FieldInvalid, match="use one of 'Draft', 'Validated', 'Live', 'Withdrawn'"), Fields() as fields:
        CLINICAL.judge(fields, "stage", "Production")
    with pytest.raises(FieldInvalid, match="use it with 'Live'"), Fields() as fields:
        CLINICAL.judge_archiving(fields, "archive_existing", "Draft")


def test_an_alias_cannot_have_the_name_of_a_stage_of_its_policy() -> None:
    with Fields() as fields:
        names.judge_alias(fields, "alias", "production", CLINICAL)

    with pytest.raises(FieldInvalid, match="it means a stage"), Fields() as fields:
        names.judge_alias(fields, "alias", "LIVE", CLINICAL)


def test_stages_are_told_in_the_order_of_the_policy() -> None:
    assert DEFAULT.ordered(["Archived", "Staging", "Archived"]) == ("Staging", "Archived")
    assert DEFAULT.ordered([]) == DEFAULT.stages
