"""A request with a text that has U+0000, or with a list that is far too long, is refused with the path of the field."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct

from modelry.api.access import v1 as access
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.errors import FieldInvalid
from modelry_server.kernel.requests.fields import MOST_VIOLATIONS
from modelry_server.kernel.transport.texts import MOST_ITEMS, judge
from tests.parts.refusal import refused
from tests.server.kernel.stage import served


def found(message: Any) -> dict[str, str]:
    try:
        judge(message, message.SerializeToString())
    except FieldInvalid as error:
        return error.violations
    return {}


def test_a_request_without_such_a_text_is_fine_whatever_else_is_zero() -> None:
    metrics = [tracking.MetricColumns(key="loss", steps=[0], times_ms=[0], values=[0.0])]
    request = tracking.LogBatchRequest(run_id="a" * 32, metrics=metrics, params={"": "\\0"}, tags={"a": "\1"})

    assert b"\0" in request.SerializeToString()
    assert found(request) == {}


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (tracking.GetRunRequest(run_id="\0"), "run_id"),
        (tracking.LogBatchRequest(params={"lr": "0\0"}), "params['lr']"),
        (tracking.LogBatchRequest(tags={"a\0": "v"}), r"tags['a\x00']"),
        (
            tracking.LogBatchRequest(metrics=[tracking.MetricColumns(key="a"), tracking.MetricColumns(key="\0")]),
            "metrics[1].key",
        ),
        (
            access.UpdateWorkspaceRequest(workspace=access.Workspace(name="a", description="\0")),
            "workspace.description",
        ),
    ],
)
def test_a_bad_text_is_found_and_named_by_its_path(request_: Any, path: str) -> None:
    assert list(found(request_)) == [path]
    assert "U+0000" in found(request_)[path]


def test_messages_in_messages_of_their_own_type_are_searched() -> None:
    nested = Struct()
    nested.update({"a": {"b": ["fine", {"c": "\0"}]}})

    assert list(found(nested)) == [
        "fields['a'].struct_value.fields['b'].list_value.values[1].struct_value.fields['c'].string_value"
    ]


def test_all_bad_texts_of_a_request_are_told_at_once_and_long_ones_are_cut() -> None:
    request = tracking.LogBatchRequest(run_id="\0" * 1000, params={"k" * 100 + "\0": "\0"})

    assert len(found(request)) == 2
    assert all(len(path) + len(text) < 300 for path, text in found(request).items())


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (tracking.LogDatasetsRequest(inputs=[tracking.DatasetInput()] * (MOST_ITEMS + 1)), "inputs"),
        (tracking.DeleteRunTagsRequest(keys=["a"] * (MOST_ITEMS + 1)), "keys"),
        (tracking.LogBatchRequest(tags={str(at): "" for at in range(MOST_ITEMS + 1)}), "tags"),
        (tracking.GetRunRequest(read_mask=FieldMask(paths=["name"] * (MOST_ITEMS + 1))), "read_mask.paths"),
    ],
)
def test_a_list_that_is_far_too_long_is_named_with_its_length_and_its_items_are_not_searched(
    request_: Any, path: str
) -> None:
    assert found(request_) == {path: f"has {MOST_ITEMS + 1} entries, at most {MOST_ITEMS} are allowed in one list"}


def test_a_list_in_an_item_of_a_list_is_counted_too() -> None:
    nested = Struct()
    nested.get_or_create_list("a").extend(["b"] * (MOST_ITEMS + 1))

    assert list(found(nested["a"])) == ["values"]


def test_columns_of_points_may_be_longer() -> None:
    points = MOST_ITEMS + 1
    columns = tracking.MetricColumns(key="loss", steps=range(points), times_ms=range(points), values=range(points))

    assert found(tracking.WriteMetricsRequest(metrics=[columns])) == {}


def test_of_many_bad_texts_the_first_are_told_and_the_others_counted() -> None:
    request = tracking.DeleteRunTagsRequest(keys=["\0"] * (MOST_VIOLATIONS + 7))

    with pytest.raises(FieldInvalid, match="27 fields are wrong, 7 of them are not listed") as caught:
        judge(request, request.SerializeToString())

    assert list(caught.value.violations) == [f"keys[{at}]" for at in range(MOST_VIOLATIONS)]
    assert caught.value.metadata == {"more_fields": "7"}


def test_each_text_of_each_request_of_a_service_is_searched() -> None:
    services = itertools.chain.from_iterable(
        package.DESCRIPTOR.services_by_name.values()
        for package in (access.workspace_service_pb2, tracking.run_service_pb2, tracking.metric_service_pb2)
    )
    for method in itertools.chain.from_iterable(service.methods for service in services):
        kind = method.input_type._concrete_class
        for field in method.input_type.fields:
            if field.type == FieldDescriptor.TYPE_STRING:
                value = "\0" if isinstance(getattr(kind(), field.name), str) else ["\0"]
                assert len(found(kind(**{field.name: value}))) == 1, field.full_name


def test_the_service_never_sees_such_a_request() -> None:
    seen: list[str] = []

    def act(name: str) -> str:
        seen.append(name)
        return name

    with served(act) as channel:
        stub = access.WorkspaceServiceStub(channel)
        refusal = refused(stub.GetWorkspace, access.GetWorkspaceRequest(name="te\0am"))

    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert refusal.violations == {"name": r"'te\x00am' contains the control character U+0000"}
    assert seen == []
