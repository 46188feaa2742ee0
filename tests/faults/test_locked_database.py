"""Another program holds a lock in the databases: writes end in time, reads go on, and a drain is as short as ever."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
import sqlalchemy as sa

from modelry.api.access import v1 as access
from modelry.api.artifacts import v1 as artifacts
from modelry.api.registry import v1 as registry
from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.ids import new_id
from modelry_server.targets import ROOMS
from tests.contract.artifacts.conftest import Client as Files
from tests.contract.tracking.conftest import line, points_of
from tests.parts import deployment as deployments
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually
from tests.parts.own_connection import connection
from tests.parts.postgres import PostgresServer
from tests.parts.refusal import unpacked

Start = Callable[..., Deployment]


@pytest.fixture(params=["sqlite", "postgres"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """Starts all services on one kind of database."""
    with ExitStack() as stack:
        urls: dict[str, str] = {}
        if request.param == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            urls = dict.fromkeys(ROOMS, stack.enter_context(server.database()))

        def start_it(**settings: str) -> Deployment:
            flags = {f"server.{name.replace('_', '-')}": value for name, value in settings.items()}
            return stack.enter_context(deployments.running("all", tmp_path / "platform", urls, flags))

        yield start_it


@contextmanager
def locked(platform: Deployment) -> Iterator[None]:
    """A block in which another program holds locks that let all reads go on, and no write."""
    url = platform.flags.get("tracking.database-url")
    with ExitStack() as stack:
        if url is None:
            for room in ROOMS:
                path = platform.folder / f"{room}.db"
                other = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
                other.execute("BEGIN IMMEDIATE")
            yield
        else:
            address = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
            connection = stack.enter_context(psycopg.connect(address))
            found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            connection.execute(f"LOCK TABLE {', '.join(name for (name,) in found)} IN SHARE MODE".encode())
            yield
            connection.rollback()


def writes(run_id: str) -> dict[str, tuple[Any, str, Callable[[], Any]]]:
    """A write of each service, and each kind of write of tracking: its stub, its method, and makes its request."""
    owner = artifacts.ArtifactOwner(run_id=run_id)
    return {
        "access": (
            access.WorkspaceServiceStub,
            "CreateWorkspace",
            lambda: access.CreateWorkspaceRequest(name=f"w{new_id()}"),
        ),
        "runs": (
            tracking.RunServiceStub,
            "CreateRun",
            lambda: tracking.CreateRunRequest(experiment_id="0"),
        ),
        "tags": (
            tracking.RunServiceStub,
            "SetRunTags",
            lambda: tracking.SetRunTagsRequest(run_id=run_id, tags={"a": "b"}),
        ),
        "metrics": (
            tracking.MetricServiceStub,
            "WriteMetrics",
            lambda: tracking.WriteMetricsRequest(
                run_id=run_id, writer_id=new_id(), batch_number=1, metrics=[line("m", [1])]
            ),
        ),
        "artifacts": (
            artifacts.ArtifactServiceStub,
            "DeleteArtifact",
            lambda: artifacts.DeleteArtifactRequest(owner=owner, path="file"),
        ),
        "registry": (
            registry.ModelServiceStub,
            "CreateModel",
            lambda: registry.CreateModelRequest(workspace="default", name=f"m{new_id()}"),
        ),
    }


def reads(channel: grpc.Channel, run_id: str) -> bool:
    """Whether a run can be read: a call that waits for a place has the same limit as those that have one."""
    try:
        tracking.RunServiceStub(channel).GetRun(tracking.GetRunRequest(run_id=run_id), timeout=20)
    except grpc.RpcError:
        return False
    return True


def test_writes_that_wait_for_a_lock_end_at_the_limit_of_calls_and_hold_up_nobody(start: Start) -> None:
    platform = start(call_limit="1s")
    runs, metrics = platform.stub(tracking.RunServiceStub), platform.stub(tracking.MetricServiceStub)
    run_id = runs.CreateRun(tracking.CreateRunRequest(experiment_id="0")).run.run_id
    Files(platform).write(artifacts.ArtifactOwner(run_id=run_id), {"file": b"content"})
    everything = writes(run_id)
    told: dict[str, set[str]] = {}
    took: dict[str, float] = {}
    with (
        connection(platform) as first,
        connection(platform) as second,
        connection(platform) as third,
        locked(platform),
    ):
        for name, (stub, method, request) in everything.items():
            begun = time.monotonic()
            calls = [getattr(stub(each), method).future(request()) for _ in range(8) for each in (first, second)]
            eventually(lambda: reads(third, run_id), within_s=3)
            told[name] = {unpacked(call.exception(timeout=30)).reason for call in calls}
            took[name] = time.monotonic() - begun

    owner = artifacts.ArtifactOwner(run_id=run_id)
    files = platform.stub(artifacts.ArtifactServiceStub).ListArtifacts(artifacts.ListArtifactsRequest(owner=owner))
    models = platform.stub(registry.ModelServiceStub).SearchModels(registry.SearchModelsRequest(workspace="default"))
    found = runs.SearchRuns(tracking.SearchRunsRequest(workspace="default")).runs
    points = metrics.ReadMetrics(tracking.ReadMetricsRequest(run_ids=[run_id]))
    workspaces = platform.stub(access.WorkspaceServiceStub).ListWorkspaces(access.ListWorkspacesRequest())

    assert told == {name: {"CALL_TOO_LONG"} for name in everything}
    assert max(took.values()) < 2, took
    assert [artifact.path for artifact in files.artifacts] == ["file"]
    assert list(models.models) == []
    assert [(run.run_id, dict(run.tags)) for run in found] == [(run_id, {})]
    assert sum(len(points_of(answer.columns)) for answer in points) == 0
    assert [workspace.name for workspace in workspaces.workspaces] == ["default"]
    for stub, method, request in everything.values():
        getattr(platform.stub(stub), method)(request(), timeout=20)
    assert '"database.write_ended"' in platform.log("all")
    assert '"rpc.failed"' not in platform.log("all")


def log(platform: Deployment, run_id: str, key: str, timeout: float) -> tuple[Any, Callable[[], float]]:
    """A call that sets a tag, and a function that says how long it took."""
    begun, ended = time.monotonic(), []
    request = tracking.LogBatchRequest(run_id=run_id, tags={key: "1"})
    call = platform.stub(tracking.RunServiceStub).LogBatch.future(request, timeout=timeout)
    call.add_done_callback(lambda _: ended.append(time.monotonic()))
    return call, lambda: eventually(lambda: ended)[0] - begun


def test_a_batch_that_waits_behind_others_ends_at_its_own_deadline(start: Start) -> None:
    platform, pause = start(), threading.Event()
    runs = platform.stub(tracking.RunServiceStub)
    run_id = runs.CreateRun(tracking.CreateRunRequest(experiment_id="0")).run.run_id
    with locked(platform):
        first, _ = log(platform, run_id, "first", 20)
        pause.wait(0.2)
        hasty, took = log(platform, run_id, "hasty", 1)
        pause.wait(0.2)
        patient, _ = log(platform, run_id, "patient", 20)
        told = hasty.exception(timeout=10)
        pause.wait(1.8)
    first.result(10)
    patient.result(10)

    assert told.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 1 <= took() < 1.5
    assert set(runs.GetRun(tracking.GetRunRequest(run_id=run_id)).run.tags) == {"first", "patient"}


def test_batches_that_overlap_all_end_at_the_limit_of_calls(start: Start) -> None:
    platform, pause = start(call_limit="2s"), threading.Event()
    runs = platform.stub(tracking.RunServiceStub)
    run_id = runs.CreateRun(tracking.CreateRunRequest(experiment_id="0")).run.run_id
    with locked(platform):
        sent: list[tuple[Any, Callable[[], float]]] = []
        for wait_s, key in ((0.1, "first"), (1.7, "second"), (0, "third")):
            sent.append(log(platform, run_id, key, 30))
            pause.wait(wait_s)
        told = {unpacked(call.exception(timeout=10)).reason for call, _ in sent}
        took = [each() for _, each in sent]

    assert told == {"CALL_TOO_LONG"}
    assert 2 <= min(took) <= max(took) < 2.8, took
    assert dict(runs.GetRun(tracking.GetRunRequest(run_id=run_id)).run.tags) == {}


def test_a_change_whose_lock_comes_just_after_its_deadline_is_not_made(start: Start) -> None:
    platform = start()
    runs, models = platform.stub(tracking.RunServiceStub), platform.stub(registry.ModelServiceStub)
    run_id = runs.CreateRun(tracking.CreateRunRequest(experiment_id="0")).run.run_id
    told = []
    for number in range(8):
        timeout = 0.45 + number / 100
        create = registry.CreateModelRequest(workspace="default", name=f"m{number}")
        batch = tracking.LogBatchRequest(run_id=run_id, tags={f"t{number}": "1"})
        changes: list[tuple[Any, Any]] = [(models.CreateModel, create), (runs.LogBatch, batch)]
        with locked(platform):
            calls: list[Any] = [each.future(request, timeout=timeout) for each, request in changes]
            threading.Event().wait(timeout + 0.06)
        told += [call.exception(timeout=10).code() for call in calls]
    models.CreateModel(registry.CreateModelRequest(workspace="default", name="last"))
    runs.LogBatch(tracking.LogBatchRequest(run_id=run_id, tags={"last": "1"}))

    made = models.SearchModels(registry.SearchModelsRequest(workspace="default")).models
    assert told == [grpc.StatusCode.DEADLINE_EXCEEDED] * 16
    assert [model.name for model in made] == ["last"]
    assert set(runs.GetRun(tracking.GetRunRequest(run_id=run_id)).run.tags) == {"last"}


def test_a_server_whose_writes_wait_for_a_lock_drains_in_time(start: Start) -> None:
    platform = start(drain="1s")
    run_id = platform.stub(tracking.RunServiceStub).CreateRun(tracking.CreateRunRequest(experiment_id="0")).run.run_id
    Files(platform).write(artifacts.ArtifactOwner(run_id=run_id), {"file": b"content"})
    process = platform.process("all")
    with connection(platform) as channel, locked(platform):
        calls = [getattr(stub(channel), method).future(request()) for stub, method, request in writes(run_id).values()]
        with pytest.raises(grpc.FutureTimeoutError):
            calls[0].result(timeout=1)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code, took = process.wait(20), time.monotonic() - begun
        told = {unpacked(call.exception(timeout=10)).reason for call in calls}

    assert (code, told) == (0, {"DATABASE_UNAVAILABLE"})
    assert took < 5
    assert '"server.stopped"' in platform.log("all")
