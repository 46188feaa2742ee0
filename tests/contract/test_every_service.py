"""What holds for every service and every rpc that clients can call, whatever it is for."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

import modelry.api
from tests.parts.deployment import Deployment
from tests.parts.refusal import Refusal, unpacked

SERVICES: dict[str, ServiceDescriptor] = {
    service.full_name: service
    for found in pkgutil.walk_packages(modelry.api.__path__, "modelry.api.")
    if found.name.endswith("_pb2")
    for service in importlib.import_module(found.name).DESCRIPTOR.services_by_name.values()
}
RPCS: dict[str, MethodDescriptor] = {
    f"/{service.full_name}/{method.name}": method for service in SERVICES.values() for method in service.methods
}
UNARY = sorted(
    rpc
    for rpc, method in RPCS.items()
    if not method.client_streaming and not rpc.endswith("/CreateAdministrator")  # refused before its request is read
)
OURS = {
    *("FIELD_INVALID", "FILTER_SYNTAX", "PAGE_TOKEN_INVALID", "PATH_INVALID", "CURSOR_INVALID"),
    *(f"{noun}_NOT_FOUND" for noun in ("WORKSPACE", "EXPERIMENT", "RUN", "DATASET", "ARTIFACT", "OWNER")),
    *(f"{noun}_NOT_FOUND" for noun in ("MODEL", "VERSION", "ALIAS", "PROMOTION")),
    *(f"{noun}_NOT_FOUND" for noun in ("PRINCIPAL", "GROUP", "TOKEN", "ROLE", "ROLE_BINDING")),
}
HOSTILE_TEXTS = [
    "\0",
    "a\0b",
    "x" * 20_000,
    "../../etc/passwd",
    "'; DROP TABLE runs; --",
    "%00%2e%2e%2f",
    "\u202e\u200b\ufeff",
    "\U0001f600" * 600,
    " ",
    "-1",
    "9" * 40,
]
HOSTILE_NUMBERS = [-1, 0, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63)]


def room_of(rpc: str) -> str:
    return rpc.split(".")[2]


def call(deployment: Deployment, rpc: str, content: bytes) -> Refusal | list[bytes]:
    """Sends bytes to a method; gives what came back as bytes, or why it was refused."""
    channel: Any = deployment.channel(room_of(rpc))
    method = RPCS[rpc]
    try:
        if method.server_streaming:
            return list(channel.unary_stream(rpc)(content, timeout=20))
        return [channel.unary_unary(rpc)(content, timeout=20)]
    except grpc.RpcError as error:
        return unpacked(error)


def blank(rpc: str) -> Any:
    return GetMessageClass(RPCS[rpc].input_type)()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_health_is_told_for_each_service_by_its_name(deployment: Deployment, name: str) -> None:
    health: Any = health_pb2_grpc.HealthStub(deployment.channel(room_of(name)))

    assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == health_pb2.HealthCheckResponse.SERVING
    assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_a_service_that_is_not_there_is_not_found(deployment: Deployment) -> None:
    health: Any = health_pb2_grpc.HealthStub(deployment.channel("tracking"))

    with pytest.raises(grpc.RpcError) as caught:
        health.Check(health_pb2.HealthCheckRequest(service="modelry.api.brewing.v1.TeaService"))

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("room", ["access", "tracking", "artifacts", "registry"])
def test_reflection_names_the_public_services_and_gives_their_files(deployment: Deployment, room: str) -> None:
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(deployment.channel(room))
    mine = sorted(name for name in SERVICES if room_of(name) == room)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        *(reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in mine),
    ]

    listed, *files = reflection.ServerReflectionInfo(iter(asked))

    names = {service.name for service in listed.list_services_response.service}
    assert set(mine) <= names
    assert [name for name in names if name.startswith("modelry.") and name not in SERVICES] == []
    assert all(answer.file_descriptor_response.file_descriptor_proto for answer in files)


@pytest.mark.parametrize("room", ["access", "tracking", "artifacts", "registry"])
@pytest.mark.parametrize("rpc", ["/modelry.api.{room}.v1.TeaService/Brew", "/no", "/a/b/c"])
def test_a_method_that_is_not_there_is_unimplemented(deployment: Deployment, room: str, rpc: str) -> None:
    channel: Any = deployment.channel(room)

    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(rpc.format(room=room))(b"", timeout=20)

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("rpc", UNARY)
def test_a_message_over_the_limit_is_refused(deployment: Deployment, rpc: str) -> None:
    answer = call(deployment, rpc, bytes(5 << 20))

    assert isinstance(answer, Refusal)
    assert answer.code == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("content", [b"\xff" * 10, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xff\xfe"])
@pytest.mark.parametrize("rpc", UNARY)
def test_bytes_that_are_no_message_are_the_callers_mistake(deployment: Deployment, rpc: str, content: bytes) -> None:
    answer = call(deployment, rpc, content)

    assert not isinstance(answer, Refusal) or (answer.code, answer.domain) in {
        ("INVALID_ARGUMENT", "modelry.dev"),
        ("NOT_FOUND", "modelry.dev"),
    }


@pytest.mark.parametrize("rpc", UNARY)
def test_an_empty_request_is_answered_or_refused_with_a_reason(deployment: Deployment, rpc: str) -> None:
    answer = call(deployment, rpc, b"")

    if isinstance(answer, Refusal):
        assert answer.reason in OURS, answer
        assert answer.violations or answer.resource[0]


@pytest.mark.parametrize("rpc", UNARY)
def test_hostile_values_in_any_field_are_answered_or_refused_with_a_reason(deployment: Deployment, rpc: str) -> None:
    wrong: list[str] = []

    for path, request in _hostile(rpc):
        answer = call(deployment, rpc, request.SerializeToString())
        if isinstance(answer, Refusal) and (answer.code not in _PLAIN or answer.domain != "modelry.dev"):
            wrong.append(f"{path}: {answer.code} {answer.message[:200]}")

    assert wrong == []


_PLAIN = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION"}


def _hostile(rpc: str) -> list[tuple[str, Any]]:
    """Requests with one hostile value each, at every field that there is."""
    found: list[tuple[str, Any]] = []
    for path, field in _fields(RPCS[rpc].input_type):
        texts = field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE)
        values: list[Any] = HOSTILE_TEXTS if texts else HOSTILE_NUMBERS
        for value in values:
            request = blank(rpc)
            if _put(request, path, field, value):
                found.append((f"{'.'.join(path)}={value!r:.40}", request))
    return found


def _fields(message: Descriptor, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], FieldDescriptor]]:
    """The fields for texts and numbers, also those of messages within, by path."""
    found: list[tuple[tuple[str, ...], FieldDescriptor]] = []
    for field in message.fields:
        here = (*path, field.name)
        if field.message_type and not field.message_type.GetOptions().map_entry:
            if len(here) < 4:
                found += _fields(field.message_type, here)
        elif field.type not in (FieldDescriptor.TYPE_BOOL, FieldDescriptor.TYPE_BYTES):
            found.append((here, field))
    return found


def _put(message: Any, path: tuple[str, ...], field: FieldDescriptor, value: Any) -> bool:
    """Writes a value at a path; False where the field can't hold it."""
    for name in path[:-1]:
        inner = getattr(message, name)
        message = inner.add() if hasattr(inner, "add") else inner
    try:
        if field.type == FieldDescriptor.TYPE_MESSAGE:  # a map: the value is put at both places
            getattr(message, path[-1])[str(value)] = str(value)
        elif field.is_repeated:
            getattr(message, path[-1]).append(value)
        else:
            setattr(message, path[-1], value)
    except (ValueError, TypeError):
        return False
    return True


@pytest.mark.parametrize("room", ["access", "tracking", "artifacts", "registry"])
def test_what_is_large_once_unpacked_is_refused(deployment: Deployment, room: str) -> None:
    channel: Any = deployment.channel(room)
    rpc = next(rpc for rpc in UNARY if room_of(rpc) == room and not RPCS[rpc].server_streaming)

    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(rpc)(bytes(64 << 20), compression=grpc.Compression.Gzip, timeout=20)

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("room", ["access", "tracking", "artifacts", "registry"])
def test_metadata_over_the_limit_is_refused_and_the_connection_goes_on(deployment: Deployment, room: str) -> None:
    channel: Any = deployment.channel(room)
    health: Any = health_pb2_grpc.HealthStub(channel)

    with pytest.raises(grpc.RpcError) as caught:
        health.Check(health_pb2.HealthCheckRequest(), metadata=(("x-large", "a" * 70_000),), timeout=20)

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=20).status == health_pb2.HealthCheckResponse.SERVING
