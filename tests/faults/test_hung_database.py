"""PostgreSQL hangs: its host takes connections and bytes, and nothing is answered. Nobody waits for it without end."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from modelry.api.tracking import v1 as api
from modelry_server.targets import ROOMS
from tests.contract.tracking.conftest import line, points_of
from tests.parts import deployment as deployments
from tests.parts import free_port
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually
from tests.parts.postgres import PostgresServer
from tests.parts.refusal import unpacked

TOLD_S = 60  # more than the patience of the watch and one of its rounds
DRAIN_S, GRACE_S = 1, 5


@pytest.fixture
def platform(own_postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Deployment]:
    """All services on a PostgreSQL that can be paused."""
    url = own_postgres_server.url.set(drivername="postgresql").render_as_string()
    settings = {"server.drain": f"{DRAIN_S}s", "server.metrics-port": str(free_port())}
    with deployments.running("all", tmp_path / "platform", dict.fromkeys(ROOMS, url), settings) as running:
        yield running


def batch(run_id: str, writer: int, number: int) -> api.WriteMetricsRequest:
    """One point."""
    metrics = [line(f"m{writer}", [number])]
    return api.WriteMetricsRequest(run_id=run_id, writer_id=str(writer), batch_number=number, metrics=metrics)


def metric(platform: Deployment, name: str) -> str:
    """The value of a Prometheus metric of the server."""
    with urlopen(f"http://127.0.0.1:{platform.flags['server.metrics-port']}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return next((each.rpartition(" ")[2] for each in lines if each.startswith(name)), "")


def test_writers_are_told_of_a_database_that_hangs_and_go_on_once_it_answers(
    platform: Deployment, own_postgres_server: PostgresServer
) -> None:
    metrics = platform.stub(api.MetricServiceStub)
    run_id = platform.stub(api.RunServiceStub).CreateRun(api.CreateRunRequest(experiment_id="0")).run.run_id
    writers = range(6)
    for writer in writers:
        metrics.WriteMetrics(batch(run_id, writer, 1))

    with own_postgres_server.paused():
        calls = [metrics.WriteMetrics.future(batch(run_id, writer, 2)) for writer in writers]
        told = [unpacked(call.exception(timeout=TOLD_S)) for call in calls]
        during = metric(platform, 'modelry_database_up{service="tracking"}')
    for number in (2, 3):
        for writer in writers:
            metrics.WriteMetrics(batch(run_id, writer, number), timeout=20)
    read = list(metrics.ReadMetrics(api.ReadMetricsRequest(run_ids=[run_id]), timeout=20))

    assert {(answer.code, answer.reason) for answer in told} == {("UNAVAILABLE", "DATABASE_UNAVAILABLE")}
    assert sum(len(points_of(answer.columns)) for answer in read) == 3 * len(writers)
    assert during == "0.0"
    eventually(lambda: metric(platform, 'modelry_database_up{service="tracking"}') == "1.0")
    assert '"database.unavailable"' in platform.log("all")
    assert '"rpc.failed"' not in platform.log("all")


def test_a_pause_of_ten_seconds_costs_no_writer_an_error(
    platform: Deployment, own_postgres_server: PostgresServer
) -> None:
    metrics = platform.stub(api.MetricServiceStub)
    run_id = platform.stub(api.RunServiceStub).CreateRun(api.CreateRunRequest(experiment_id="0")).run.run_id
    metrics.WriteMetrics(batch(run_id, 0, 1))

    with own_postgres_server.paused():
        calls = [metrics.WriteMetrics.future(batch(run_id, writer, 1)) for writer in range(1, 9)]
        with pytest.raises(grpc.FutureTimeoutError):
            calls[0].result(timeout=10)
    answers = [call.result(timeout=20) for call in calls]

    assert [answer.durable_batch_number for answer in answers] == [1] * 8


@pytest.mark.parametrize("signals", [1, 2])
def test_a_server_that_waits_for_a_database_that_hangs_ends_when_asked_and_starts_again(
    platform: Deployment, own_postgres_server: PostgresServer, signals: int
) -> None:
    metrics = platform.stub(api.MetricServiceStub)
    run_id = platform.stub(api.RunServiceStub).CreateRun(api.CreateRunRequest(experiment_id="0")).run.run_id
    metrics.WriteMetrics(batch(run_id, 0, 1))
    process = platform.process("all")

    with own_postgres_server.paused():
        call = metrics.WriteMetrics.future(batch(run_id, 0, 2))
        health: Any = health_pb2_grpc.HealthStub(platform.channel("tracking"))
        health.Check(health_pb2.HealthCheckRequest(), timeout=20)  # came later and is answered
        assert not call.done()
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        if signals == 2:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            process.send_signal(signal.SIGTERM)
        code, took = process.wait(20), time.monotonic() - begun
    platform.stop()
    platform.start()
    metrics.WriteMetrics(batch(run_id, 0, 2), wait_for_ready=True, timeout=20)
    read = list(metrics.ReadMetrics(api.ReadMetricsRequest(run_ids=[run_id]), timeout=20))

    assert code == 1
    assert took < (DRAIN_S + GRACE_S + 2 if signals == 1 else 2)
    assert '"server.stopped_hard"' in platform.log("all")
    assert '"calls": 1' in platform.log("all")
    assert sum(len(points_of(answer.columns)) for answer in read) == 2
