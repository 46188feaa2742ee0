"""Requests as large as a message may be, of nothing but items: they are refused soon, and others are answered."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc

from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.requests.fields import MOST_VIOLATIONS
from modelry_server.kernel.transport.messages import LARGE_BYTES
from modelry_server.kernel.transport.texts import MOST_ITEMS
from modelry_server.kernel.transport.wire import MOST_FIELDS, MOST_NUMBERS, MOST_OF_RUN
from tests.contract.test_every_service import RPCS, UNARY, call
from tests.parts import deployment as deployments
from tests.parts.deployment import Deployment
from tests.parts.refusal import Refusal

ROOM_LEFT = 100  # bytes of a message for what is around its items
SLOWER = 25
"""How many times as slow others may be. It is about 5; it was 45 to 170 when such requests were parsed first."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """All rooms in one process."""
    with deployments.running("all", tmp_path_factory.mktemp("lists")) as running:
        yield running


def varint(number: int) -> bytes:
    low = bytes([number & 0x7F | (0x80 if number > 0x7F else 0)])
    return low + varint(number >> 7) if number > 0x7F else low


def delimited(field: FieldDescriptor, content: bytes) -> bytes:
    return varint(field.number << 3 | 2) + varint(len(content)) + content


def lists(message: Descriptor, path: tuple[FieldDescriptor, ...] = ()) -> list[tuple[FieldDescriptor, ...]]:
    """The lists and maps of texts and messages, with the messages that they are in."""
    found: list[tuple[FieldDescriptor, ...]] = []
    for field in message.fields:
        if field.type not in (FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_STRING):
            continue
        if field.is_repeated:
            found.append((*path, field))
        elif field.message_type and not path:
            found += lists(field.message_type, (field,))
    return found


def long_list(path: tuple[FieldDescriptor, ...], most_bytes: int = (4 << 20) - ROOM_LEFT) -> bytes:
    one = delimited(path[-1], b"")
    content = one * (most_bytes // len(one))
    for field in reversed(path[:-1]):
        content = delimited(field, content)
    return content


REQUESTS = [
    pytest.param(rpc, path, id=f"{rpc.rpartition('/')[2]}-{'.'.join(field.name for field in path)}")
    for rpc in UNARY
    for path in lists(RPCS[rpc].input_type)
]


def distinct_entries(count: int) -> bytes:
    return tracking.SetRunTagsRequest(tags={f"{at:06}": "" for at in range(count)}).SerializeToString()


def described(answer: Refusal | list[bytes]) -> dict[str, str]:
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    return answer.violations


@pytest.mark.parametrize(("rpc", "path"), REQUESTS)
def test_each_list_that_is_as_long_as_can_be_is_refused_before_it_is_parsed(
    whole: Deployment, rpc: str, path: tuple[FieldDescriptor, ...]
) -> None:
    violations = described(call(whole, rpc, long_list(path)))

    assert list(violations) == ["message"]
    most = MOST_OF_RUN if rpc.endswith("/UpdateRun") else MOST_FIELDS
    assert f"more than {most} fields" in violations["message"]


@pytest.mark.parametrize(("rpc", "path"), REQUESTS)
def test_each_list_that_is_far_too_long_is_refused_by_its_path(
    whole: Deployment, rpc: str, path: tuple[FieldDescriptor, ...]
) -> None:
    answer = call(whole, rpc, long_list(path, LARGE_BYTES - ROOM_LEFT))

    if path[-1].message_type and path[-1].message_type.GetOptions().map_entry:
        return  # entries without a key are one and the same; the next test has others
    name = ".".join(field.name for field in path)
    violations = described(answer)
    assert list(violations) == [name]
    assert f"at most {MOST_ITEMS} are allowed" in violations[name]


def test_a_map_that_is_far_too_long_is_refused_by_its_path(whole: Deployment) -> None:
    answer = call(whole, "/modelry.api.tracking.v1.RunService/SetRunTags", distinct_entries(20_000))

    assert described(answer) == {"tags": f"has 20000 entries, at most {MOST_ITEMS} are allowed in one list"}


@pytest.mark.parametrize(
    ("numbers", "violations"),
    [
        (390_000, {"types": "has 390000 entries, at most 100 are allowed in one call"}),
        (
            4_000_000,
            {
                "message": f"has more than {MOST_NUMBERS} numbers, with all that is in its lists and maps; "
                "send several smaller requests"
            },
        ),
    ],
)
def test_a_list_of_numbers_that_is_far_too_long_is_refused(
    whole: Deployment, numbers: int, violations: dict[str, str]
) -> None:
    types = RPCS["/modelry.api.registry.v1.EventService/ListEvents"].input_type.fields_by_name["types"]
    workspace = RPCS["/modelry.api.registry.v1.EventService/ListEvents"].input_type.fields_by_name["workspace"]
    content = delimited(workspace, b"default") + delimited(types, b"\1" * numbers)

    answer = call(whole, "/modelry.api.registry.v1.EventService/ListEvents", content)

    assert described(answer) == violations


def test_of_a_list_with_many_bad_items_the_first_are_described(whole: Deployment) -> None:
    answer = call(
        whole,
        "/modelry.api.tracking.v1.MetricService/ReadMetrics",
        tracking.ReadMetricsRequest(run_ids=[f"bad {at}" for at in range(100)]).SerializeToString(),
    )

    assert isinstance(answer, Refusal)
    assert 0 < len(answer.violations) <= MOST_VIOLATIONS
    assert answer.message.startswith(f"100 fields are wrong, {100 - MOST_VIOLATIONS} of them are not listed")


@pytest.mark.parametrize(
    ("rpc", "field"),
    [
        ("/modelry.api.tracking.v1.DatasetService/LogDatasets", "inputs"),
        ("/modelry.api.tracking.v1.RunService/DeleteRunTags", "keys"),
        ("/modelry.api.tracking.v1.MetricService/WriteMetrics", "metrics"),
        ("/modelry.api.tracking.v1.RunService/SetRunTags", "tags"),
    ],
)
def test_others_are_answered_while_such_requests_are_refused(whole: Deployment, rpc: str, field: str) -> None:
    descriptor = RPCS[rpc].input_type.fields_by_name[field]
    content = distinct_entries(300_000) if field == "tags" else long_list((descriptor,))
    channel: Any = grpc.insecure_channel(
        whole.addresses["tracking"], options=[("grpc.use_local_subchannel_pool", 1)]
    )  # a connection of its own
    health: Any = health_pb2_grpc.HealthStub(channel)
    runs: Any = tracking.RunServiceStub(channel)
    refusals: list[bool] = []
    stopped = threading.Event()

    def flood() -> None:
        while not stopped.is_set():
            refusals.append(isinstance(call(whole, rpc, content), Refusal))

    def median_s() -> float:
        took: list[float] = []
        for _ in range(15):
            begun = time.perf_counter()
            health.Check(health_pb2.HealthCheckRequest(), timeout=60)
            with pytest.raises(grpc.RpcError):
                runs.GetRun(tracking.GetRunRequest(run_id="a" * 32), timeout=60)
            took.append(time.perf_counter() - begun)
        return statistics.median(took)

    quiet = median_s()
    floods = [threading.Thread(target=flood) for _ in range(2)]
    for each in floods:
        each.start()
    busy = median_s()
    stopped.set()
    for each in floods:
        each.join()
    channel.close()

    assert refusals
    assert all(refusals)
    assert busy < SLOWER * quiet
