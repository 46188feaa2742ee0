"""Who is heard where: clients at the public listener, services with their key at the internal one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from modelry.api.access import v1 as access
from modelry.internal.artifacts import v1 as internal
from modelry_server.kernel import caller
from modelry_server.kernel.caller import Caller, Credential
from modelry_server.kernel.transport.server import Server
from modelry_server.permissions import PERMISSIONS
from tests.parts.refusal import refused
from tests.parts.vouched import rewritten, vouched
from tests.server.kernel.stage import INTERNAL, KEY, SERVICE, SMALL, Stage, ask, staged

SEEN: list[Caller] = []


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A server that notes who calls."""
    SEEN.clear()

    def act(name: str) -> str:
        SEEN.append(caller.current())
        return name

    with staged(act) as found:
        yield found


@pytest.fixture
def public(stage: Stage) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(stage.address) as channel:
        yield channel


@pytest.fixture
def inside(stage: Stage) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(stage.internal) as channel:
        yield channel


@pytest.mark.parametrize("metadata", [(), vouched(KEY, "access"), (("modelry-service-key", KEY),)])
def test_an_internal_service_is_not_there_for_clients_whatever_they_send(
    public: grpc.Channel, metadata: tuple[tuple[str, str], ...]
) -> None:
    stub = internal.SnapshotServiceStub(public)

    refusal = refused(stub.GetSnapshot, internal.GetSnapshotRequest(version_id="v"), metadata=metadata)

    assert refusal.code == "UNIMPLEMENTED"
    assert SEEN == []


@pytest.mark.parametrize("key", [None, "", KEY[:-1], KEY + "x", KEY.upper(), "x" * len(KEY)])
def test_an_internal_listener_refuses_every_call_without_the_key(inside: grpc.Channel, key: str | None) -> None:
    metadata = () if key is None else vouched(key, "access")
    snapshots, workspaces = internal.SnapshotServiceStub(inside), access.WorkspaceServiceStub(inside)

    refusals = [
        refused(snapshots.GetSnapshot, internal.GetSnapshotRequest(version_id="v"), metadata=metadata),
        refused(workspaces.GetWorkspace, access.GetWorkspaceRequest(name="x"), metadata=metadata),
    ]

    assert {(each.code, each.reason) for each in refusals} == {("UNAUTHENTICATED", "NOT_A_SERVICE")}
    assert KEY not in str(refusals)
    assert SEEN == []


def test_an_internal_listener_answers_internal_and_public_services_with_the_key(inside: grpc.Channel) -> None:
    metadata = vouched(KEY, "access")
    snapshots = internal.SnapshotServiceStub(inside)

    found = snapshots.GetSnapshot(internal.GetSnapshotRequest(version_id="v"), metadata=metadata).snapshot

    assert found.version_id == "v"
    assert ask(inside, "x", metadata=metadata) == "x"
    assert [each.is_service for each in SEEN] == [True, True]


def test_a_service_is_believed_what_it_says_of_the_caller(inside: grpc.Channel) -> None:
    for credential in (Credential.NONE, Credential.SERVICE):
        who = Caller("ann", "0" * 32, "ipv4:10.0.0.1:99", credential=credential)
        ask(inside, "x", metadata=vouched(KEY, "access", who))

    assert {(each.subject, each.peer, each.is_service) for each in SEEN} == {("ann", "ipv4:10.0.0.1:99", True)}
    assert [each.credential for each in SEEN] == [Credential.NONE, Credential.SERVICE]


def of_another_release(*path: str) -> tuple[tuple[str, str], ...]:
    """What a service of a later release sends, with one more member in an object of its statement."""

    def add(content: dict[str, Any]) -> None:
        for name in path:
            content = content[name]
        content["later"] = "of a later release"

    [(name, statement)] = vouched(KEY, "access", Caller("ann", "0" * 32))
    return ((name, rewritten(statement, KEY, add)),)


def test_a_service_of_a_later_release_is_believed(inside: grpc.Channel) -> None:
    assert ask(inside, "x", metadata=of_another_release()) == "x"
    assert [each.subject for each in SEEN] == ["ann"]


def test_a_service_of_a_later_release_is_refused_if_it_says_a_limit_that_is_unknown_here(inside: grpc.Channel) -> None:
    stub = access.WorkspaceServiceStub(inside)

    refusal = refused(stub.GetWorkspace, access.GetWorkspaceRequest(name="x"), metadata=of_another_release("only"))

    assert (refusal.code, refusal.reason, SEEN) == ("UNAUTHENTICATED", "NOT_A_SERVICE", [])


def test_a_client_can_claim_a_name_and_nothing_else(public: grpc.Channel) -> None:
    claims = (("modelry-credential", "service"), ("modelry-peer", "ipv4:10.0.0.1:99"), *vouched(KEY, "access"))

    ask(public, "x", metadata=(("modelry-subject", "ann"), *claims))

    [seen] = SEEN
    assert (seen.subject, seen.credential, seen.is_service) == ("ann", Credential.NONE, False)
    assert seen.peer.startswith("ipv4:127.0.0.1:")


def test_health_needs_no_key_and_tells_of_internal_services_inside_only(
    public: grpc.Channel, inside: grpc.Channel
) -> None:
    def state(channel: grpc.Channel, name: str) -> Any:
        health: Any = health_pb2_grpc.HealthStub(channel)
        return health.Check(health_pb2.HealthCheckRequest(service=name), timeout=20).status

    serving = health_pb2.HealthCheckResponse.SERVING
    assert [state(inside, name) for name in ("", SERVICE, INTERNAL)] == [serving] * 3
    assert [state(public, name) for name in ("", SERVICE)] == [serving] * 2
    with pytest.raises(grpc.RpcError) as caught:
        state(public, INTERNAL)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_tells_clients_of_public_services_and_is_not_there_inside(
    public: grpc.Channel, inside: grpc.Channel
) -> None:
    asked = [reflection_pb2.ServerReflectionRequest(list_services="")]
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(public)

    [listed] = stub.ServerReflectionInfo(iter(asked), timeout=20)

    names = {service.name for service in listed.list_services_response.service}
    assert SERVICE in names
    assert INTERNAL not in names
    hidden: Any = reflection_pb2_grpc.ServerReflectionStub(inside)
    with pytest.raises(grpc.RpcError) as caught:
        list(hidden.ServerReflectionInfo(iter(asked), timeout=20))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def reflected(channel: grpc.Channel, **asked: Any) -> Any:
    """What reflection answers to one question."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    [answer] = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(**asked)]), timeout=20)
    return answer


@pytest.mark.parametrize(
    "asked",
    [
        {"file_containing_symbol": INTERNAL},
        {"file_containing_symbol": "modelry.internal.artifacts.v1.Snapshot"},
        {"file_by_filename": "modelry/internal/artifacts/v1/snapshot_service.proto"},
        {"all_extension_numbers_of_type": "modelry.internal.artifacts.v1.Snapshot"},
        {"file_containing_symbol": "modelry.api.registry.v1.ModelService"},  # which this server does not run
    ],
)
def test_reflection_does_not_give_out_what_the_listener_does_not_serve(
    public: grpc.Channel, asked: dict[str, str]
) -> None:
    from modelry.api.registry import v1  # noqa: F401 - now the process knows its files

    answer = reflected(public, **asked)

    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert not answer.file_descriptor_response.file_descriptor_proto


@pytest.mark.parametrize(
    ("asked", "file"),
    [
        ({"file_containing_symbol": SERVICE}, "modelry/api/access/v1/workspace_service.proto"),
        ({"file_by_filename": "google/protobuf/timestamp.proto"}, "google/protobuf/timestamp.proto"),
        ({"file_containing_symbol": "google.rpc.ErrorInfo"}, "google/rpc/error_details.proto"),
        ({"file_containing_symbol": "grpc.health.v1.Health"}, "grpc_health/v1/health.proto"),
    ],
)
def test_reflection_gives_the_files_of_what_is_served_and_what_they_import(
    public: grpc.Channel, asked: dict[str, str], file: str
) -> None:
    given = reflected(public, **asked).file_descriptor_response.file_descriptor_proto

    files = [FileDescriptorProto.FromString(each) for each in given]
    assert file in {each.name for each in files}
    assert {name for each in files for name in each.dependency} <= {each.name for each in files}


def test_an_internal_listener_without_a_key_is_not_made() -> None:
    with pytest.raises(ValueError, match="need the key"):
        Server(
            [],
            address="127.0.0.1:0",
            internal={"x": "127.0.0.1:0"},
            key="",
            permissions=PERMISSIONS,
            limits=SMALL,
        )
