from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from modelry import Lifecycle, LifecycleFilter, RunStatus
from modelry._sdk.nouns.artifacts import _artifact_of
from modelry._sdk.nouns.audit import _record_of
from modelry._sdk.nouns.enums import member_of, name_of, stage_name, version_number
from modelry._sdk.nouns.events import _event_of
from modelry._sdk.nouns.experiments import experiment_of
from modelry._sdk.nouns.promotions import _promotion_of
from modelry._sdk.nouns.runs import run_of, status_number
from modelry._sdk.nouns.versions import version_of
from modelry.api.artifacts import v1 as artifacts
from modelry.api.common import v1 as common
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking
from modelry.errors import FieldInvalid, InvalidArgument


@pytest.mark.parametrize("number", [0, 99])
@pytest.mark.parametrize(
    ("read", "message", "attribute", "field"),
    [
        (run_of, tracking.Run, "status", "status"),
        (run_of, tracking.Run, "lifecycle", "lifecycle"),
        (experiment_of, tracking.Experiment, "lifecycle", "lifecycle"),
        (version_of, registry.Version, "state", "state"),
        (_promotion_of, registry.Promotion, "state", "state"),
        (_event_of, registry.Event, "type", "type"),
        (_record_of, common.AuditRecord, "credential_kind", "credential_kind"),
        (_artifact_of, artifacts.Artifact, "kind", "kind"),
    ],
)
def test_a_value_of_the_future_is_shown_as_unknown(
    read: Any, message: Any, attribute: str, field: str, number: int
) -> None:
    shown = getattr(read(message(**{field: number})), attribute)

    assert shown == f"UNKNOWN({number})"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (tracking.RunStatus, list(RunStatus)),
        (common.Lifecycle, list(Lifecycle)),
        (common.LifecycleFilter, list(LifecycleFilter)),
        (registry.VersionState, ["PENDING", "READY", "FAILED"]),
        (registry.PromotionState, ["COMPLETED"]),
        (common.CredentialKind, ["NONE", "API_TOKEN", "OIDC_TOKEN", "CLIENT_CERTIFICATE", "SERVICE"]),
        (artifacts.ArtifactKind, ["FILE", "FOLDER"]),
    ],
)
def test_the_known_values_have_the_names_of_the_contract(kind: Any, names: list[str]) -> None:
    assert [name_of(kind, number) for number in kind.values() if number] == names


def test_an_unknown_status_is_a_status_that_equals_no_known_one() -> None:
    status = RunStatus("UNKNOWN(9)")

    assert isinstance(status, RunStatus)
    assert status not in list(RunStatus)
    assert status is RunStatus("UNKNOWN(9)") is pickle.loads(pickle.dumps(status)) is copy.deepcopy(status)
    with pytest.raises(ValueError, match="'DONE' is not a valid RunStatus"):
        RunStatus("DONE")


@pytest.mark.parametrize("status", ["DONE", "UNKNOWN(9)", "UNSPECIFIED", "", None, 3])
def test_a_status_that_is_not_known_is_not_sent(status: Any) -> None:
    with pytest.raises(InvalidArgument, match="not one of RUNNING, SCHEDULED, FINISHED, FAILED, KILLED"):
        status_number(status)


def test_a_word_may_be_written_in_any_letter_case() -> None:
    assert member_of("lifecycle", "any", LifecycleFilter) == "ANY"
    assert member_of("lifecycle", Lifecycle.DELETED, LifecycleFilter) == "DELETED"


@pytest.mark.parametrize(
    ("given", "sent"),
    [("production", "Production"), ("NONE", "None"), ("Shadow", "Shadow"), ("shadow", "shadow"), ("", "")],
)
def test_only_the_default_stages_may_be_written_in_any_letter_case(given: str, sent: str) -> None:
    assert stage_name(given) == sent


def test_what_is_not_a_text_is_not_a_stage() -> None:
    with pytest.raises(FieldInvalid, match="None is not the name of a stage"):
        stage_name(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(("given", "number"), [(1, 1), ("7", 7), ("007", 7), (2**63 - 1, 2**63 - 1)])
def test_a_version_number_may_be_written_as_digits(given: int | str, number: int) -> None:
    assert version_number(given) == number
