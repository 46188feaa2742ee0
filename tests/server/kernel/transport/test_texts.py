"""A text with U+0000 is refused when the request arrives, with the path of its field."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.struct_pb2 import Struct

from modelry.api.access import v1 as access
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.transport.texts import violations
from tests.parts.refusal import refused
from tests.server.kernel.stage import served


def found(message: Any) -> dict[str, str]:
    return violations(message, message.SerializeToString())


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
