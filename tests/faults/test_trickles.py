"""Streams that a byte now and then keeps open hold up nobody, and whoever is busy beside them goes on."""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from modelry.api.artifacts import v1 as artifacts
from modelry.api.tracking import v1 as tracking
from tests.parts import deployment as deployments
from tests.parts.deployment import Deployment
from tests.parts.own_connection import connection, write_file
from tests.parts.raw_client import RawClient

STREAMS = 16
OF_ONE = 8
GAP_S = 0.4
READ_METRICS = "/modelry.api.tracking.v1.MetricService/ReadMetrics"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
WRITE_ARTIFACTS = "/modelry.api.artifacts.v1.ArtifactService/WriteArtifacts"

Step = Callable[[RawClient, int], object]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server with few places for streams."""
    settings = {"server.streams": str(STREAMS)}
    with deployments.running("all", tmp_path_factory.mktemp("platform"), settings=settings) as running:
        yield running


@pytest.fixture(scope="module")
def run_id(platform: Deployment) -> str:
    """A run with a file, and with more series than gRPC takes at once of a stream that is read slowly."""
    runs, metrics = platform.stub(tracking.RunServiceStub), platform.stub(tracking.MetricServiceStub)
    made = runs.CreateRun(tracking.CreateRunRequest(experiment_id="0")).run.run_id
    for batch in range(4):
        columns = [
            tracking.MetricColumns(key=f"{batch}-{number}", steps=[1], times_ms=[1], values=[1.0])
            for number in range(500)
        ]
        metrics.WriteMetrics(
            tracking.WriteMetricsRequest(run_id=made, writer_id="w", batch_number=batch + 1, metrics=columns)
        )
    with connection(platform) as channel:
        write_file(channel, made, "x")
    return made


def trickling_uploads(client: RawClient, run_id: str) -> Step:
    """Begins a file in each stream, of which a byte comes at a time."""
    owner = artifacts.WriteArtifactsRequest(owner=artifacts.ArtifactOwner(run_id=run_id))
    for number in range(OF_ONE):
        header = artifacts.ArtifactHeader(path=f"{id(client)}-{number}", size_bytes=1 << 30)
        client.send(
            client.begin(WRITE_ARTIFACTS), _framed(owner) + _framed(artifacts.WriteArtifactsRequest(header=header))
        )
    return lambda client, stream: client.send(stream, _framed(artifacts.WriteArtifactsRequest(content=b"x")))


def trickling_readers(client: RawClient, run_id: str) -> Step:
    """Begins to read all series in each stream, of which a small window is taken at a time."""
    request = tracking.ReadMetricsRequest(run_ids=[run_id]).SerializeToString()
    for _ in range(OF_ONE):
        client.call(READ_METRICS, request)
    return lambda client, stream: client.widen(stream, 200)


def reflecting(client: RawClient, run_id: str) -> Step:
    """Begins streams of reflection, each with a question at a time."""
    for _ in range(16):
        client.begin(REFLECT)
    return lambda client, stream: client.send(stream, _framed(reflection_pb2.ServerReflectionRequest(host="")))


Begin = Callable[[RawClient, str], Step]


@contextmanager
def trickling(platform: Deployment, run_id: str, begin: Begin, *, connections: int = 2) -> Iterator[list[RawClient]]:
    """Connections with streams in which something moves all the time, within a block."""
    with ExitStack() as stack:
        window = 0 if begin is trickling_readers else 65535
        bad = [stack.enter_context(RawClient(platform.address, window=window)) for _ in range(connections)]
        steps = [begin(each, run_id) for each in bad]
        stop, moved = threading.Event(), threading.Semaphore(0)

        def go_on() -> None:
            while not stop.wait(GAP_S):
                for client, step in zip(bad, steps, strict=True):
                    for number in range(client.made):
                        with suppress(OSError):
                            step(client, 2 * number + 1)
                moved.release()

        with ThreadPoolExecutor(1) as pool:
            pool.submit(go_on)
            try:
                for _ in range(6):
                    assert moved.acquire(timeout=20)
                yield bad
            finally:
                stop.set()


def read(channel: grpc.Channel, run_id: str) -> bytes:
    """Reads the file of the run."""
    request = artifacts.ReadArtifactsRequest(owner=artifacts.ArtifactOwner(run_id=run_id), path="x")
    return b"".join(each.content for each in artifacts.ArtifactServiceStub(channel).ReadArtifacts(request, timeout=10))


@pytest.mark.parametrize("begin", [trickling_uploads, trickling_readers, reflecting])
def test_streams_of_two_connections_in_which_little_moves_hold_up_nobody(
    platform: Deployment, run_id: str, begin: Begin
) -> None:
    with connection(platform) as others, trickling(platform, run_id, begin) as bad:
        before = sum(each.open for each in bad)
        metrics: Any = tracking.MetricServiceStub(others)
        wanted = tracking.ReadMetricsRequest(run_ids=[run_id], keys=["0-1"])
        for number in range(8):
            assert read(others, run_id) == b"x"
            write_file(others, run_id, f"{begin.__name__}-{number}")
            assert [len(each.columns.steps) for each in metrics.ReadMetrics(wanted, timeout=10)] == [1]
        after = sum(each.open for each in bad)

    assert before == (32 if begin is reflecting else STREAMS)
    assert STREAMS - 4 <= after <= before


def test_streams_of_reflection_make_room_for_those_of_others(platform: Deployment, run_id: str) -> None:
    with connection(platform) as others, trickling(platform, run_id, reflecting) as bad:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(others)
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = next(stub.ServerReflectionInfo(iter([question]), timeout=5))
        held = sum(each.open for each in bad)

    assert "grpc.health.v1.Health" in {each.name for each in answer.list_services_response.service}
    assert held == 31


def test_a_client_with_many_busy_uploads_beside_a_trickling_one_goes_on(platform: Deployment, run_id: str) -> None:
    content, count = bytes(256 << 10), 64
    size, digest = len(content) * count, hashlib.sha256(content * count).hexdigest()
    begun, finish = threading.Semaphore(0), threading.Event()

    def steps(path: str) -> Iterator[artifacts.WriteArtifactsRequest]:
        yield artifacts.WriteArtifactsRequest(owner=artifacts.ArtifactOwner(run_id=run_id))
        yield artifacts.WriteArtifactsRequest(header=artifacts.ArtifactHeader(path=path, size_bytes=size))
        for number in range(count):
            yield artifacts.WriteArtifactsRequest(content=content)
            if number == 1:
                begun.release()
            finish.wait(0.0 if finish.is_set() else GAP_S / 4)
        yield artifacts.WriteArtifactsRequest(sha256=digest)
        yield artifacts.WriteArtifactsRequest(sent_file_count=1)

    with (
        connection(platform) as others,
        connection(platform) as busy,
        trickling(platform, run_id, trickling_uploads, connections=1) as bad,
    ):
        stub: Any = artifacts.ArtifactServiceStub(busy)
        uploads = [stub.WriteArtifacts.future(steps(f"busy-{number}"), timeout=60) for number in range(OF_ONE)]
        for _ in uploads:
            assert begun.acquire(timeout=20)
        for _ in range(8):
            assert read(others, run_id) == b"x"
        finish.set()
        written = [each.result(60).size_bytes for each in uploads]
        held = bad[0].open

    assert written == [size] * OF_ONE
    assert held < OF_ONE


def _framed(message: Message) -> bytes:
    content = message.SerializeToString()
    return b"\0" + struct.pack(">I", len(content)) + content
