"""How stages travel."""

import pytest

from modelry.api.registry import v1 as api
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.registry.entities import Stage
from modelry_server.registry.rpc import versions


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_has_its_number_in_the_contract(stage: Stage) -> None:
    assert versions.stage("stage", versions.NUMBERS[stage]) is stage


@pytest.mark.parametrize("number", [api.STAGE_UNSPECIFIED, 5, -1, 2**31 - 1])
def test_a_number_that_is_no_stage_is_refused_with_those_that_are(number: int) -> None:
    with pytest.raises(FieldInvalid, match=r"STAGE_NONE \(1\), STAGE_STAGING \(2\)") as refusal:
        versions.stage("stages[2]", number)

    assert list(refusal.value.violations) == ["stages[2]"]
