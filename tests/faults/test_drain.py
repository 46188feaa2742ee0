"""A server that is asked to end finishes what it has begun, and then ends."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from grpc_health.v1 import health_pb2, health_pb2_grpc

from modelry.api.access.v1.workspace_service_pb2 import GetWorkspaceRequest
from modelry.api.access.v1.workspace_service_pb2_grpc import WorkspaceServiceStub
from modelry.api.artifacts import v1 as artifacts
from modelry.api.tracking import v1 as api
from modelry_server.config import Config
from modelry_server.kernel.config import load
from modelry_server.targets import build
from tests.contract.tracking.conftest import line, points_of
from tests.parts import deployment as deployments
from tests.parts.deployment import Deployment
from tests.parts.refusal import unpacked

ENDED_S = 20


@pytest.fixture
def tracking(tmp_path: Path) -> Iterator[Deployment]:
    """Access and tracking at work, with time for a batch to wait for its predecessor."""
    settings = {"tracking.gap-wait": "3s", "server.drain": "15s"}
    with deployments.running(
        "split", tmp_path / "platform", settings=settings, rooms=("access", "tracking")
    ) as running:
        yield running


def terminated(deployment: Deployment, target: str) -> subprocess.Popen[bytes]:
    """The process of a target, asked to end."""
    process = deployment.process(target)
    process.send_signal(signal.SIGTERM)
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_asked_to_end_as_soon_as_it_answers_ends(tmp_path: Path, number: signal.Signals) -> None:
    deployment = Deployment("split", tmp_path, {}, {}, rooms=("access",))
    deployment.upgrade()

    for _ in range(4):
        deployment.start()
        process = deployment.process("access")
        process.send_signal(number)

        assert process.wait(ENDED_S) == 0
        deployment.stop()


def test_a_server_that_ends_leaves_no_sockets_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:  # the path of a socket has 107 characters at most
        monkeypatch.setenv("TMPDIR", short)
        with deployments.running("all", tmp_path):
            during = list(Path(short).iterdir())

        assert len(during) == 1
        assert list(Path(short).iterdir()) == []


def test_what_a_killed_server_leaves_is_taken_away_by_the_next_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        folder = Path(short)
        monkeypatch.setenv("TMPDIR", short)
        (folder / "modelry-services-of-somebody").mkdir()
        (folder / "modelry-services-elsewhere").symlink_to(tmp_path)
        (tmp_path / "lock").touch()
        others = set(folder.iterdir())
        with deployments.running("all", tmp_path / "one") as alive, deployments.running("all", tmp_path / "two") as two:
            both = set(folder.iterdir()) - others
            two.kill()
            left = set(folder.iterdir()) - others
            two.start()
            again = set(folder.iterdir()) - others

            workspace = GetWorkspaceRequest(name="default")
            assert alive.stub(WorkspaceServiceStub).GetWorkspace(workspace).workspace.name == "default"
            runs = alive.stub(api.RunServiceStub).SearchRuns(
                api.SearchRunsRequest(workspace="default")
            )  # asks access by its socket
            assert list(runs.runs) == []

        assert len(both) == len(again) == 2
        assert left == both
        assert len(both & again) == 1
        assert set(folder.iterdir()) == others
        assert (tmp_path / "lock").exists()


def test_a_call_in_flight_is_answered(tracking: Deployment) -> None:
    run_id = tracking.stub(api.RunServiceStub).CreateRun(api.CreateRunRequest(experiment_id="0")).run.run_id
    early = api.WriteMetricsRequest(run_id=run_id, writer_id="w", batch_number=2, metrics=[line("loss", [2])])
    health: Any = health_pb2_grpc.HealthStub(tracking.channel("tracking"))
    states = health.Watch(health_pb2.HealthCheckRequest(service="modelry.api.tracking.v1.RunService"))
    assert next(states).status == health_pb2.HealthCheckResponse.SERVING

    call = tracking.stub(api.MetricServiceStub).WriteMetrics.future(early)
    tracking.stub(api.RunServiceStub).SearchRuns(
        api.SearchRunsRequest(workspace="default", page_size=1)
    )  # came later and is answered
    process = terminated(tracking, "tracking")

    assert next(states).status == health_pb2.HealthCheckResponse.NOT_SERVING
    states.cancel()
    answer = unpacked(call.exception(timeout=ENDED_S))
    assert (answer.code, answer.reason) == ("ABORTED", "BATCH_GAP")
    assert process.wait(ENDED_S) == 0


def test_a_stream_in_flight_comes_to_its_end(tracking: Deployment) -> None:
    run_id = tracking.stub(api.RunServiceStub).CreateRun(api.CreateRunRequest(experiment_id="0")).run.run_id
    metrics = tracking.stub(api.MetricServiceStub)
    for number in range(1, 6):
        steps = range((number - 1) * 100_000, number * 100_000)
        batch = api.WriteMetricsRequest(run_id=run_id, writer_id="w", batch_number=number, metrics=[line("k", steps)])
        metrics.WriteMetrics(batch)
    stream = metrics.ReadMetrics(api.ReadMetricsRequest(run_ids=[run_id]))
    found = points_of(next(stream).columns)

    process = terminated(tracking, "tracking")
    for answer in stream:
        found += points_of(answer.columns)

    assert found == points_of(line("", range(500_000)))
    assert process.wait(ENDED_S) == 0


def test_what_was_acknowledged_until_the_end_is_there_after_a_restart(tracking: Deployment) -> None:
    runs, enough = tracking.stub(api.RunServiceStub), threading.Event()

    def load(_: int) -> list[str]:
        made: list[str] = []
        try:
            while True:
                made.append(runs.CreateRun(api.CreateRunRequest(experiment_id="0")).run.run_id)
                if len(made) == 10:
                    enough.set()
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                raise
        return made

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load, number) for number in range(4)]
        assert enough.wait(30)
        process = terminated(tracking, "tracking")
        acknowledged = {run_id for each in loads for run_id in each.result(30)}
    assert process.wait(ENDED_S) == 0
    tracking.stop("tracking")
    tracking.start("tracking")

    for run_id in acknowledged:
        assert runs.GetRun(api.GetRunRequest(run_id=run_id), wait_for_ready=True).run.run_id == run_id


def upload(run_id: str, count: int) -> Iterator[artifacts.WriteArtifactsRequest]:
    """The steps of an upload of small files."""
    step, content = artifacts.WriteArtifactsRequest, b"abc"
    yield step(owner=artifacts.ArtifactOwner(run_id=run_id))
    for number in range(count):
        yield step(header=artifacts.ArtifactHeader(path=f"f{number}", size_bytes=len(content)))
        yield step(content=content)
        yield step(sha256=hashlib.sha256(content).hexdigest())
    yield step(sent_file_count=count)


def files_of(run_id: str, platform: Deployment) -> list[str]:
    """The files of a run."""
    request = artifacts.ListArtifactsRequest(owner=artifacts.ArtifactOwner(run_id=run_id))
    stub = platform.stub(artifacts.ArtifactServiceStub)
    return [each.path for each in stub.ListArtifacts(request, wait_for_ready=True).artifacts]


@contextlib.contextmanager
def slow_uploads(database: Path, until: threading.Event) -> Iterator[threading.Event]:
    """Lets each COMMIT of an upload begin only then, as on a disk that is slow; tells that one waits."""
    waits = threading.Event()

    def traced(statement: str) -> None:
        if statement == "COMMIT" and "upload" in threading.current_thread().name:
            waits.set()
            assert until.wait(ENDED_S)

    def connected(connection: sqlite3.Connection, _: object) -> None:
        [(_, _, path)] = connection.execute("PRAGMA database_list")
        if path == str(database):
            connection.set_trace_callback(traced)

    sa.event.listen(sa.Pool, "connect", connected)
    yield waits
    sa.event.remove(sa.Pool, "connect", connected)


def test_an_upload_that_commits_when_the_drain_ends_is_told_what_became_of_it(tmp_path: Path) -> None:
    drain_s = 1.0
    platform = Deployment("all", tmp_path, {}, {"server.drain": f"{drain_s:g}s"})
    platform.upgrade()
    flags = {**platform.flags, "server.listen": "127.0.0.1:0"}
    may_commit = threading.Event()
    with slow_uploads(tmp_path / "artifacts.db", may_commit) as waits, ThreadPoolExecutor(1) as pool:
        server = build("all", load(Config, environment={}, flags=flags))
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            run_id = api.RunServiceStub(channel).CreateRun(api.CreateRunRequest(experiment_id="0")).run.run_id
            call = artifacts.ArtifactServiceStub(channel).WriteArtifacts.future(upload(run_id, 1))
            assert waits.wait(ENDED_S)
            ended = pool.submit(server.stop)
            with contextlib.suppress(grpc.FutureTimeoutError):
                call.exception(drain_s + 0.6)  # the drain is over, and connections are not closed yet
            may_commit.set()
            error = call.exception(ENDED_S)
            told = unpacked(error).reason if error else "OK"
            ended.result(ENDED_S)

    platform.start()
    found = files_of(run_id, platform)
    platform.stop()

    assert (told, found) in [("OK", ["f0"]), ("DATABASE_UNAVAILABLE", [])]


def test_an_upload_whose_files_still_come_when_the_drain_ends_is_told_so_and_has_written_nothing(
    tmp_path: Path,
) -> None:
    with deployments.running("all", tmp_path, settings={"server.drain": "500ms"}) as platform:
        run_id = platform.stub(api.RunServiceStub).CreateRun(api.CreateRunRequest(experiment_id="0")).run.run_id
        comes, has_ended = threading.Event(), threading.Event()

        def steps() -> Iterator[artifacts.WriteArtifactsRequest]:
            for step in upload(run_id, 10_000):
                yield step
                comes.set()
                has_ended.wait(0.01)

        call = platform.stub(artifacts.ArtifactServiceStub).WriteArtifacts.future(steps())
        assert comes.wait(ENDED_S)
        process = terminated(platform, "all")
        refusal = unpacked(call.exception(ENDED_S))
        has_ended.set()
        assert process.wait(ENDED_S) == 0
        platform.stop()
        platform.start()
        found = files_of(run_id, platform)

    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DRAINING")
    assert found == []
