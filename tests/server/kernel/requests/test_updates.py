"""Update masks: which fields change, and to what."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from modelry.api.access import v1 as access
from modelry.api.tracking import v1 as api
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests.updates import changes

CHANGEABLE = ("name", "description")
GIVEN = api.Run(run_id="r", name="n")


@pytest.mark.parametrize(
    ("paths", "changed"),
    [
        ([], {"name": "n"}),
        (["name"], {"name": "n"}),
        (["description"], {"description": ""}),
        (["description", "name"], {"name": "n", "description": ""}),
        (["name", "name"], {"name": "n"}),
        (["*"], {"name": "n", "description": ""}),
    ],
)
def test_a_mask_names_what_changes_and_an_empty_one_stands_for_what_is_set(
    paths: Sequence[str], changed: dict[str, str]
) -> None:
    assert changes(GIVEN, FieldMask(paths=paths), CHANGEABLE) == changed


@pytest.mark.parametrize(
    ("paths", "changed"),
    [
        ([], {"quotas.run_count": 0}),
        (["quotas.run_count"], {"quotas.run_count": 0}),
        (["quotas.stored_bytes"], {"quotas.stored_bytes": None}),
        (["quotas.stored_bytes", "quotas.run_count"], {"quotas.run_count": 0, "quotas.stored_bytes": None}),
        (["quotas"], {"quotas.run_count": 0, "quotas.stored_bytes": None}),
        (["quotas", "quotas.run_count"], {"quotas.run_count": 0, "quotas.stored_bytes": None}),
        (["*"], {"description": "", "quotas.run_count": 0, "quotas.stored_bytes": None}),
    ],
)
def test_a_mask_names_fields_of_messages_and_an_optional_one_that_is_not_set_is_none(
    paths: Sequence[str], changed: dict[str, object]
) -> None:
    given = access.Workspace(name="w", quotas=access.WorkspaceQuotas(run_count=0, version_count=5))

    found = changes(given, FieldMask(paths=paths), ("description", "quotas.run_count", "quotas.stored_bytes"))

    assert found == changed


@pytest.mark.parametrize("path", ["quotas.", "quotas.version_count", "quotas.run_count.x", ".run_count", "run_count"])
def test_any_other_path_in_a_message_is_refused(path: str) -> None:
    with pytest.raises(FieldInvalid, match=r"allowed: quotas, quotas\.run_count"):
        changes(access.Workspace(), FieldMask(paths=[path]), ("quotas.run_count",))


def test_an_empty_mask_and_nothing_set_changes_nothing() -> None:
    assert changes(api.Run(run_id="r"), FieldMask(), CHANGEABLE) == {}


@pytest.mark.parametrize("paths", [["run_id"], ["name", "nothing"], ["*", "name"], [""], ["Name"], ["name.x"], ["**"]])
def test_any_other_path_is_refused_with_those_that_are_allowed(paths: Sequence[str]) -> None:
    with pytest.raises(FieldInvalid, match="allowed: description, name") as caught:
        changes(GIVEN, FieldMask(paths=paths), CHANGEABLE)

    assert list(caught.value.violations) == ["update_mask"]


def test_a_message_keeps_its_type_and_counts_as_set_by_its_presence() -> None:
    given = api.Run(run_id="r")
    given.end_time.FromMilliseconds(5)

    assert changes(given, FieldMask(), ("end_time", "start_time")) == {"end_time": given.end_time}
    assert list(changes(given, FieldMask(paths=["*"]), ("end_time", "start_time"))) == ["end_time", "start_time"]
