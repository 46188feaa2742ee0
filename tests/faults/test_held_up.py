"""Nobody can hold what all need: calls without a message, idle streams, slow readers, searches whose caller left.

Nor does a connection hold up itself: calls that failed leave nothing behind.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from modelry.api.artifacts import v1 as artifacts
from modelry.api.tracking import v1 as tracking
from tests.parts import deployment as deployments
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually
from tests.parts.own_connection import connection, process_of, write_file
from tests.parts.raw_client import RawClient
from tests.parts.refusal import refused

GET_EXPERIMENT = "/modelry.api.tracking.v1.ExperimentService/GetExperiment"
READ_METRICS = "/modelry.api.tracking.v1.MetricService/ReadMetrics"
CHECK = "/grpc.health.v1.Health/Check"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
SEARCH_RUNS = "/modelry.api.tracking.v1.RunService/SearchRuns"
WATCH = "/grpc.health.v1.Health/Watch"
WRITE_ARTIFACTS = "/modelry.api.artifacts.v1.ArtifactService/WriteArtifacts"


@pytest.fixture(scope="module", params=["all", "split"])
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server with the limits that it has by default."""
    with deployments.running(request.param, tmp_path_factory.mktemp("platform")) as running:
        yield running


Hold = Callable[[grpc.Channel, Callable[..., Iterator[Any]], str], list[Any]]


def half_open(method: str, count: int) -> Hold:
    """Calls that send headers and no message."""

    def hold(channel: Any, idle: Callable[..., Iterator[Any]], run_id: str) -> list[Any]:
        return [channel.stream_stream(method)(idle()) for _ in range(count)]

    return hold


def reflected(channel: grpc.Channel) -> Any:
    """What a stream of reflection, which ends then, is told."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    return next(stub.ServerReflectionInfo(iter([question]), timeout=5))


def uploading(channel: grpc.Channel, idle: Callable[..., Iterator[Any]], run_id: str, count: int = 100) -> list[Any]:
    """Uploads that name their owner and send nothing more."""
    first = artifacts.WriteArtifactsRequest(owner=artifacts.ArtifactOwner(run_id=run_id))
    method: Any = channel.stream_unary(
        "/modelry.api.artifacts.v1.ArtifactService/WriteArtifacts",
        request_serializer=artifacts.WriteArtifactsRequest.SerializeToString,
    )
    return [method.future(idle(first)) for _ in range(count)]


@pytest.mark.parametrize(
    "hold",
    [
        half_open(GET_EXPERIMENT, 400),
        half_open(READ_METRICS, 400),
        half_open(CHECK, 400),
        uploading,
    ],
    ids=["unary calls", "streams", "health", "uploads"],
)
def test_idle_calls_of_one_client_hold_up_nobody_else(platform: Deployment, hold: Hold) -> None:
    leave = threading.Event()

    def idle(*first: Any) -> Iterator[Any]:
        yield from first
        leave.wait(60)

    with ExitStack() as stack:
        others = stack.enter_context(connection(platform))
        bad = stack.enter_context(connection(platform, "artifacts" if hold is uploading else "tracking"))
        stack.callback(leave.set)
        experiments, metrics = tracking.ExperimentServiceStub(others), tracking.MetricServiceStub(others)
        run_id = tracking.RunServiceStub(others).CreateRun(tracking.CreateRunRequest(experiment_id="0")).run.run_id
        calls = hold(bad, idle, run_id)
        process = process_of(platform, "artifacts" if hold is uploading else "tracking")
        eventually(lambda: process.num_threads() > 90)  # each call that has arrived holds one

        found = experiments.GetExperiment(tracking.GetExperimentRequest(experiment_id="0"), timeout=5)
        read = list(metrics.ReadMetrics(tracking.ReadMetricsRequest(run_ids=[run_id]), timeout=5))
        stub: Any = health_pb2_grpc.HealthStub(others)
        health = stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
        for call in calls:
            call.cancel()

    assert (found.experiment.experiment_id, read, health.status) == ("0", [], health_pb2.HealthCheckResponse.SERVING)


@pytest.mark.parametrize("method", [GET_EXPERIMENT, READ_METRICS, CHECK, WATCH])
def test_q07_calls_without_a_message_of_many_clients_hold_up_nobody(platform: Deployment, method: str) -> None:
    with ExitStack() as stack:
        others = stack.enter_context(connection(platform))
        bad = [stack.enter_context(RawClient(platform.addresses["tracking"])) for _ in range(24)]
        for each in bad:
            for _ in range(128):
                each.call(method)
        eventually(lambda: sum(each.open for each in bad) <= 256)

        experiments, metrics = tracking.ExperimentServiceStub(others), tracking.MetricServiceStub(others)
        found = experiments.GetExperiment(tracking.GetExperimentRequest(experiment_id="0"), timeout=5)
        run_id = tracking.RunServiceStub(others).CreateRun(tracking.CreateRunRequest(experiment_id="0")).run.run_id
        read = list(metrics.ReadMetrics(tracking.ReadMetricsRequest(run_ids=[run_id]), timeout=5))
        stub: Any = health_pb2_grpc.HealthStub(others)
        health = stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
        watched = next(stub.Watch(health_pb2.HealthCheckRequest(), timeout=5))
        services = reflected(others).list_services_response.service

    assert (found.experiment.experiment_id, read) == ("0", [])
    assert "grpc.health.v1.Health" in {each.name for each in services}
    assert (health.status, watched.status) == (health_pb2.HealthCheckResponse.SERVING,) * 2


Fail = Callable[[grpc.Channel, str], object]


def refused_in_a_group(channel: grpc.Channel, run_id: str) -> object:
    """A batch that its group refuses: the param has another value."""
    batch = tracking.LogBatchRequest(run_id=run_id, params={"p": "other"})
    return refused(tracking.RunServiceStub(channel).LogBatch, batch)


def refused_upload(channel: grpc.Channel, run_id: str) -> object:
    """An upload to a path that can't be."""
    first = artifacts.WriteArtifactsRequest(owner=artifacts.ArtifactOwner(run_id=run_id))
    file = artifacts.WriteArtifactsRequest(header=artifacts.ArtifactHeader(path="../x"))
    return refused(artifacts.ArtifactServiceStub(channel).WriteArtifacts, iter([first, file]))


def refused_stream(channel: grpc.Channel, run_id: str) -> object:
    """A read of a run that is not there."""
    return refused(tracking.MetricServiceStub(channel).ReadMetrics, tracking.ReadMetricsRequest(run_ids=["f" * 32]))


def left_stream(channel: grpc.Channel, run_id: str) -> object:
    """A stream whose caller leaves after the first message."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    stream = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    next(stream)
    return stream.cancel()


def left_call(channel: grpc.Channel, run_id: str) -> object:
    """A unary call that is cancelled at once."""
    return tracking.RunServiceStub(channel).GetRun.future(tracking.GetRunRequest(run_id=run_id)).cancel()


@pytest.mark.parametrize("fail", [refused_in_a_group, refused_upload, refused_stream, left_stream, left_call])
def test_q07_a_connection_goes_on_after_hundreds_of_calls_that_failed(platform: Deployment, fail: Fail) -> None:
    room = "artifacts" if fail is refused_upload else "tracking"
    with connection(platform) as others, connection(platform, room) as failing:
        start = tracking.CreateRunRequest(experiment_id="0", params={"p": "one"})
        run_id = tracking.RunServiceStub(others).CreateRun(start).run.run_id
        for _ in range(400):  # more than may be open at once
            fail(failing, run_id)

        def is_served() -> bool:
            stub: Any = health_pb2_grpc.HealthStub(failing)
            try:
                return bool(stub.Check(health_pb2.HealthCheckRequest(), timeout=5))
            except grpc.RpcError:
                return False

        eventually(is_served)


def test_watches_of_health_that_end_while_they_begin_hold_up_nobody(platform: Deployment) -> None:
    with connection(platform) as others, connection(platform) as watching:
        experiments = tracking.ExperimentServiceStub(others)
        stub: Any = health_pb2_grpc.HealthStub(watching)
        for _ in range(10):
            watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(400)]
            for watch in watches:
                watch.cancel()
            found = experiments.GetExperiment(tracking.GetExperimentRequest(experiment_id="0"), timeout=10)
            assert found.experiment.experiment_id == "0"


def test_a_watch_of_health_that_nobody_reads_holds_up_neither_health_nor_the_end(tmp_path: Path) -> None:
    with deployments.running("all", tmp_path / "platform") as platform, connection(platform) as others:
        stub: Any = health_pb2_grpc.HealthStub(others)
        with RawClient(platform.addresses["tracking"], window=0) as bad:
            for _ in range(10):
                bad.call(WATCH, b"")
            watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=20)
            states = [next(watch).status]
            checked = stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status
            process = process_of(platform, "tracking")
            process.terminate()
            states.append(next(watch).status)
            code = platform.process("all").wait(20)

    assert (states, checked, code) == ([SERVING, NOT_SERVING], SERVING, 0)


def test_q08_streams_that_nobody_reads_make_room_for_those_of_others(platform: Deployment) -> None:
    with ExitStack() as stack:
        others = stack.enter_context(connection(platform))
        run_id = tracking.RunServiceStub(others).CreateRun(tracking.CreateRunRequest(experiment_id="0")).run.run_id
        columns = tracking.MetricColumns(key="m", steps=[1], times_ms=[1], values=[1.0])
        metrics = tracking.MetricServiceStub(others)
        batch = tracking.WriteMetricsRequest(run_id=run_id, writer_id="w", batch_number=1, metrics=[columns])
        metrics.WriteMetrics(batch, timeout=5)
        request = tracking.ReadMetricsRequest(run_ids=[run_id])
        bad = [stack.enter_context(RawClient(platform.addresses["tracking"], window=0)) for _ in range(2)]
        for each in bad:
            for _ in range(128):
                each.call(READ_METRICS, request.SerializeToString())

        def read() -> bool:
            with suppress(grpc.RpcError):  # a stream may wait for a second
                return [len(step.columns.steps) for step in metrics.ReadMetrics(request, timeout=5)] == [1]
            return False

        eventually(lambda: sum(each.begun for each in bad) == 256)
        eventually(lambda: read() and sum(each.open for each in bad) < 256)
        if platform.name == "all":
            write_file(others, run_id, "x")
        held = sum(each.open for each in bad)

    assert 250 <= held < 256


def test_a_connection_that_has_all_its_streams_is_told_so_and_its_calls_go_on(platform: Deployment) -> None:
    leave = threading.Event()

    def idle(*first: Any) -> Iterator[Any]:
        yield from first
        leave.wait(60)

    runs = platform.stub(tracking.RunServiceStub)
    run_id = runs.CreateRun(tracking.CreateRunRequest(experiment_id="0")).run.run_id
    owner = artifacts.ArtifactOwner(run_id=run_id)
    with connection(platform, "artifacts") as channel:
        stub: Any = artifacts.ArtifactServiceStub(channel)
        streams = uploading(channel, idle, run_id, count=150)  # more than there are places

        def told() -> Any:
            streams.extend(uploading(channel, idle, run_id, count=1))  # the read before may have had the last place
            with suppress(StopIteration):  # while the uploads still come
                next(stub.ReadArtifacts(artifacts.ReadArtifactsRequest(owner=owner), timeout=5))
            return None

        with pytest.raises(grpc.RpcError) as raised:
            eventually(told)
        found = stub.ListArtifacts(artifacts.ListArtifactsRequest(owner=owner), timeout=5)
        checker: Any = health_pb2_grpc.HealthStub(channel)
        health = checker.Check(health_pb2.HealthCheckRequest(), timeout=5)
        leave.set()
        for stream in streams:
            stream.cancel()

    refused: Any = raised.value
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "too many open streams" in refused.details()
    assert (list(found.artifacts), health.status) == ([], SERVING)


def test_q08_watches_of_health_make_room_for_those_of_others(platform: Deployment) -> None:
    with ExitStack() as stack:
        others = stack.enter_context(connection(platform))
        bad = [stack.enter_context(RawClient(platform.addresses["tracking"])) for _ in range(2)]
        for each in bad:
            for _ in range(128):
                each.call(WATCH, b"")
        stub: Any = health_pb2_grpc.HealthStub(others)

        def watched() -> bool:
            watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=20)
            with suppress(grpc.RpcError):  # a watch has its place for a second
                return bool(next(watch).status == SERVING and watch.cancel())
            return False

        eventually(lambda: sum(each.begun for each in bad) == 256)
        eventually(lambda: watched() and sum(each.open for each in bad) < 256)
        held = sum(each.open for each in bad)

    assert 250 <= held < 256


def test_searches_whose_caller_left_end(platform: Deployment) -> None:
    with connection(platform) as others, connection(platform) as bad:
        runs = tracking.RunServiceStub(others)
        for _ in range(150):
            runs.CreateRun(tracking.CreateRunRequest(experiment_id="0", tags={"long": "a" * 8000}))
        slow = " OR ".join([f"tags.long LIKE '%{'a' * 900}b'"] * 17)
        search = tracking.SearchRunsRequest(workspace="default", filter=slow, page_size=1)

        process = process_of(platform, "tracking")
        calls = [tracking.RunServiceStub(bad).SearchRuns.future(search) for _ in range(32)]
        eventually(lambda: process.cpu_percent(0.2) > 50)
        busy = tracking.ExperimentServiceStub(others).GetExperiment(
            tracking.GetExperimentRequest(experiment_id="0"), timeout=10
        )
        for call in calls:
            call.cancel()
        eventually(lambda: process.cpu_percent(0.5) < 20)

    assert busy.experiment.experiment_id == "0"


def test_slow_readers_of_a_long_series_share_a_bounded_memory(tmp_path: Path) -> None:
    with deployments.running("all", tmp_path / "platform") as platform, ExitStack() as stack:
        channel = platform.channel("tracking")
        run_id = tracking.RunServiceStub(channel).CreateRun(tracking.CreateRunRequest(experiment_id="0")).run.run_id
        points, metrics = 1_000_000, tracking.MetricServiceStub(channel)
        for number in range(points // 100_000):
            steps = range(number * 100_000, (number + 1) * 100_000)
            batch = tracking.MetricColumns(key="m", steps=steps, times_ms=steps, values=map(float, steps))
            metrics.WriteMetrics(
                tracking.WriteMetricsRequest(run_id=run_id, writer_id="w", batch_number=number + 1, metrics=[batch])
            )
        request = tracking.ReadMetricsRequest(run_ids=[run_id])
        assert sum(len(each.columns.steps) for each in metrics.ReadMetrics(request)) == points
        process = process_of(platform, "tracking")
        before = process.memory_info().rss

        readers = [tracking.MetricServiceStub(stack.enter_context(connection(platform))) for _ in range(40)]
        streams = [reader.ReadMetrics(request) for reader in readers]
        for stream in streams:
            next(stream)
        eventually(lambda: process.cpu_percent(0.5) < 10, within_s=60)
        held = process.memory_info().rss - before
        rest = [sum(len(each.columns.steps) for each in stream) for stream in streams[:3]]
        for stream in streams:
            stream.cancel()

    assert held < 80 << 20
    assert [points - each for each in rest] == [8192] * 3


def test_uploads_that_come_faster_than_they_are_read_share_a_bounded_memory(tmp_path: Path) -> None:
    def sent(message: artifacts.WriteArtifactsRequest) -> bytes:
        content = message.SerializeToString()
        return b"\0" + len(content).to_bytes(4, "big") + content

    header = artifacts.ArtifactHeader(path="x", size_bytes=1 << 40)
    with (
        deployments.running("all", tmp_path / "platform") as platform,
        RawClient(platform.addresses["artifacts"]) as bad,
    ):
        runs = platform.stub(tracking.RunServiceStub)
        run_id = runs.CreateRun(tracking.CreateRunRequest(experiment_id="0")).run.run_id
        owner = artifacts.ArtifactOwner(run_id=run_id)
        process = process_of(platform, "artifacts")
        before = process.memory_info().rss
        streams = [bad.begin(WRITE_ARTIFACTS) for _ in range(60)]
        for stream in streams:
            first = sent(artifacts.WriteArtifactsRequest(owner=owner))
            assert bad.send(stream, first + sent(artifacts.WriteArtifactsRequest(header=header)))
        nothing = sent(artifacts.WriteArtifactsRequest(content=b"")) * 2000
        until, taken = time.monotonic() + 6, 0
        while time.monotonic() < until:
            bad.widened.clear()
            found = sum(bad.send(stream, nothing) for stream in streams)
            taken += found
            if not found:
                bad.widened.wait(0.1)
        held = process.memory_info().rss - before

    assert taken > 2 * 60
    assert bad.open == 60
    assert held < 300 << 20


def test_answers_that_nobody_reads_are_dropped_when_they_are_too_many(tmp_path: Path) -> None:
    with deployments.running("all", tmp_path / "platform") as platform, connection(platform) as others:
        runs = tracking.RunServiceStub(others)
        for _ in range(3):
            run_id = runs.CreateRun(tracking.CreateRunRequest(experiment_id="0")).run.run_id
            for part in range(5):
                params = {f"{part}-{number}": "v" * 2000 for number in range(100)}
                runs.LogBatch(tracking.LogBatchRequest(run_id=run_id, params=params))
        search = tracking.SearchRunsRequest(workspace="default")
        size = runs.SearchRuns(search).ByteSize()

        with RawClient(platform.addresses["tracking"], window=0) as bad:
            for _ in range(120):
                bad.call(SEARCH_RUNS, search.SerializeToString())
            eventually(lambda: bad.open * size <= 256 << 20, within_s=60)
            found = runs.SearchRuns(search, timeout=10).ByteSize()

    assert 120 * size > 256 << 20
    assert found == size


def test_small_answers_that_nobody_reads_are_dropped_when_they_are_too_many(platform: Deployment) -> None:
    message = tracking.GetExperimentRequest(experiment_id="0").SerializeToString()
    with ExitStack() as stack:
        others = stack.enter_context(connection(platform))
        bad = [stack.enter_context(RawClient(platform.addresses["tracking"], window=0)) for _ in range(12)]
        for each in bad:
            for _ in range(128):
                each.call(GET_EXPERIMENT, message)
        eventually(lambda: sum(each.open for each in bad) <= 1024)
        experiments = tracking.ExperimentServiceStub(others)
        found = experiments.GetExperiment(tracking.GetExperimentRequest(experiment_id="0"), timeout=5)

    assert found.experiment.experiment_id == "0"


def test_calls_and_streams_that_wait_too_long_for_their_client_are_ended(tmp_path: Path) -> None:
    settings = {"server.idle-limit": "1s"}
    leave = threading.Event()

    def idle(*first: Any) -> Iterator[Any]:
        yield from first
        leave.wait(60)

    with (
        deployments.running("all", tmp_path / "platform", settings=settings) as platform,
        connection(platform) as channel,
    ):
        run_id = tracking.RunServiceStub(channel).CreateRun(tracking.CreateRunRequest(experiment_id="0")).run.run_id
        method: Any = channel.stream_unary(GET_EXPERIMENT)
        ended = []
        for call in (uploading(channel, idle, run_id)[0], method.future(idle())):
            with pytest.raises(grpc.RpcError) as caught:
                call.result(20)
            ended.append(caught.value.code())
        leave.set()

    assert ended == [grpc.StatusCode.CANCELLED] * 2


def test_an_answer_that_nobody_reads_is_dropped_in_the_end(tmp_path: Path) -> None:
    settings = {"server.idle-limit": "1s"}
    with (
        deployments.running("all", tmp_path / "platform", settings=settings) as platform,
        RawClient(platform.addresses["tracking"], window=0) as bad,
    ):
        begun = time.monotonic()
        bad.call(GET_EXPERIMENT, tracking.GetExperimentRequest(experiment_id="0").SerializeToString())
        eventually(lambda: bad.open == 0)

    assert time.monotonic() - begun > 0.9
