"""Searches that would take minutes take neither all places nor all time: other calls are answered, and they end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from modelry.api.tracking import v1 as tracking
from modelry_server.kernel.ids import new_id
from modelry_server.targets import ROOMS
from tests.parts import deployment as deployments
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually
from tests.parts.own_connection import connection
from tests.parts.postgres import PostgresServer
from tests.parts.raw_client import RawClient
from tests.parts.refusal import refused, unpacked

COSTLY = " OR ".join(f"params.long LIKE '%{'a' * 990}{end}%'" for end in "bcdefghijklmnop")
"""A filter within all limits that takes a tenth of a second for each run."""
SEARCH_RUNS = "/modelry.api.tracking.v1.RunService/SearchRuns"
LOG_BYTES = 4 << 20
"""SQLite's write-ahead log is emptied when it is larger."""
WAITING_BYTES = 128 << 20
"""Of the searches that wait for a place."""
PAGE = tracking.SearchRunsRequest(workspace="default", page_size=1)
SORTED = tracking.SearchRunsRequest(workspace="default", page_size=1, order_by=["params.long"])
CHEAP = tracking.SearchRunsRequest(workspace="default", page_size=1, filter="params.long IS NULL")
"""A search that finds none of the runs that are there from the beginning."""


@contextmanager
def searched(
    kind: str, folder: Path, request: pytest.FixtureRequest, settings: dict[str, str] | None = None
) -> Iterator[Deployment]:
    """Tracking with runs that COSTLY searches for minutes."""
    name, database = kind.split("-")
    rooms = ROOMS if name == "all" else ("access", "tracking")
    with ExitStack() as stack:
        urls: dict[str, str] = {}
        if database == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            urls = dict.fromkeys(rooms, stack.enter_context(server.database()))
        running = stack.enter_context(deployments.running(name, folder / "platform", urls, settings, rooms=rooms))
        runs = running.stub(tracking.RunServiceStub)
        for _ in range(1000):
            runs.CreateRun(tracking.CreateRunRequest(experiment_id="0", params={"long": "a" * 5900}))
        yield running


@pytest.fixture(params=["all-sqlite", "split-sqlite", "all-postgres"])
def platform(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """A server with the limits that it has by default."""
    with searched(request.param, tmp_path, request) as running:
        yield running


@pytest.fixture(params=["all-sqlite", "split-postgres"])
def hasty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """A server that ends calls soon."""
    with searched(request.param, tmp_path, request, {"server.call-limit": "2s"}) as running:
        yield running


def costly(channel: grpc.Channel) -> Any:
    """A search that would take minutes, without a deadline."""
    runs: Any = tracking.RunServiceStub(channel)
    return runs.SearchRuns.future(tracking.SearchRunsRequest(workspace="default", filter=COSTLY))


def test_costly_searches_leave_places_for_other_calls(platform: Deployment) -> None:
    columns = tracking.MetricColumns(key="m", steps=[1], times_ms=[1], values=[1.0])
    with connection(platform) as first, connection(platform) as second, connection(platform) as others:
        runs, metrics = tracking.RunServiceStub(others), tracking.MetricServiceStub(others)
        run_id = runs.CreateRun(tracking.CreateRunRequest(experiment_id="0")).run.run_id
        batch = tracking.WriteMetricsRequest(run_id=run_id, writer_id=new_id(), batch_number=1, metrics=[columns])

        searches = [costly(channel) for _ in range(20) for channel in (first, second)]
        late = eventually(lambda: _refused(runs.SearchRuns, CHEAP))
        late_too = _refused(runs.SearchRuns, SORTED)
        listed = runs.SearchRuns(PAGE, timeout=20)
        found = runs.GetRun(tracking.GetRunRequest(run_id=run_id), timeout=20)
        written = metrics.WriteMetrics(batch, timeout=20)
        made = runs.CreateRun(tracking.CreateRunRequest(experiment_id="0"), timeout=20)
        ended = [each for each in searches if each.done()]
        for each in searches:
            each.cancel()

    assert late.code == "DEADLINE_EXCEEDED"  # all places of searches are taken
    assert late_too is not None
    assert late_too.code == "DEADLINE_EXCEEDED"
    assert ([run.run_id for run in listed.runs], found.run.run_id) == ([run_id], run_id)
    assert (written.durable_batch_number, bool(made.run.run_id)) == (1, True)
    assert ended == []


def test_costly_searches_of_one_connection_leave_it_its_other_calls_and_others_their_searches(
    platform: Deployment,
) -> None:
    with connection(platform) as first, connection(platform) as others:
        runs = tracking.RunServiceStub(first)
        searches = [costly(first) for _ in range(20)]
        late = eventually(lambda: _refused(runs.SearchRuns, CHEAP))
        made = runs.CreateRun(tracking.CreateRunRequest(experiment_id="0"), timeout=20)
        found = tracking.RunServiceStub(others).SearchRuns(CHEAP, timeout=20)
        for each in searches:
            each.cancel()

    assert late.code == "DEADLINE_EXCEEDED"
    assert [run.run_id for run in found.runs] == [made.run.run_id]


@contextmanager
def flooded(address: str, method: str, message: bytes, connections: int) -> Iterator[Sequence[RawClient]]:
    """Connections that each keep 128 calls open: one that is refused is made again."""
    leave = threading.Event()

    def refill(clients: Sequence[RawClient]) -> None:
        with suppress(OSError):
            while not leave.wait(0.2):
                for client in clients:
                    for _ in range(128 - client.open):
                        client.call(method, message)

    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(address)) for _ in range(connections)]
        filling = threading.Thread(target=refill, args=(clients,))
        filling.start()
        stack.callback(filling.join, 20)
        stack.callback(leave.set)
        yield clients


def test_costly_searches_of_many_connections_hold_up_nobody_and_those_who_have_most_are_refused(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    search = tracking.SearchRunsRequest(workspace="default", filter=COSTLY).SerializeToString()
    columns = tracking.MetricColumns(key="m", steps=[1], times_ms=[1], values=[1.0])
    with (
        searched("all-sqlite", tmp_path, request) as platform,
        connection(platform) as others,
        connection(platform) as greedy,
        flooded(platform.addresses["tracking"], SEARCH_RUNS, search, connections=30) as flood,
    ):
        runs, metrics = tracking.RunServiceStub(others), tracking.MetricServiceStub(others)
        health: Any = health_pb2_grpc.HealthStub(others)
        eventually(lambda: sum(each.made for each in flood) > 2 * 30 * 128)  # many were refused

        run_id = runs.CreateRun(tracking.CreateRunRequest(experiment_id="0"), timeout=5).run.run_id
        found = runs.GetRun(tracking.GetRunRequest(run_id=run_id), timeout=5)
        batch = tracking.WriteMetricsRequest(run_id=run_id, writer_id=new_id(), batch_number=1, metrics=[columns])
        written = metrics.WriteMetrics(batch, timeout=5)
        checked = health.Check(health_pb2.HealthCheckRequest(), timeout=5)
        watched = next(health.Watch(health_pb2.HealthCheckRequest(), timeout=5))
        searches: list[Any] = []
        refusal = eventually(lambda: _refused_with_a_reason(greedy, searches))
        for each in searches:
            each.cancel()

    assert (found.run.run_id, written.durable_batch_number) == (run_id, 1)
    assert (checked.status, watched.status) == (health_pb2.HealthCheckResponse.SERVING,) * 2
    assert (refusal.code, refusal.reason, refusal.retry) == ("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS", True)


def test_large_requests_that_wait_are_refused_above_a_sum_of_bytes_and_not_those_of_others(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    large = tracking.SearchRunsRequest(workspace="default", filter=f"params.long = '{'a' * (4000 << 10)}'")
    with (
        searched("all-sqlite", tmp_path, request) as platform,
        connection(platform) as first,
        connection(platform) as second,
        connection(platform) as greedy,
        connection(platform) as others,
    ):
        runs = tracking.RunServiceStub(others)
        searches = [costly(channel) for _ in range(20) for channel in (first, second)]
        eventually(lambda: _refused(runs.SearchRuns, CHEAP))  # all places of searches are taken
        found = runs.SearchRuns.future(CHEAP)
        flood: Any = tracking.RunServiceStub(greedy).SearchRuns
        begun = [flood.future(large) for _ in range(50)]
        eventually(lambda: sum(each.done() for each in begun) == 50 - WAITING_BYTES // large.ByteSize())
        refusals = [unpacked(each.exception()) for each in begun if each.done()]
        is_answered = found.done()
        for each in (*searches, *begun):
            each.cancel()
        answered = found.result(20)

    assert {(each.code, each.reason, each.retry) for each in refusals} == {
        ("RESOURCE_EXHAUSTED", "TOO_MANY_CALLS", True)
    }
    assert refusals[0].metadata == {"limit": "256", "limit_bytes": str(WAITING_BYTES)}
    assert not is_answered
    assert list(answered.runs) == []


def test_a_costly_search_without_a_deadline_ends_at_the_limit_of_the_server(hasty: Deployment) -> None:
    with connection(hasty) as first, connection(hasty) as second:
        searches = [costly(channel) for _ in range(20) for channel in (first, second)]
        refusals = [unpacked(each.exception(20)) for each in searches]
        found = tracking.RunServiceStub(first).SearchRuns(CHEAP, timeout=20)

    assert {(each.code, each.reason) for each in refusals} == {("DEADLINE_EXCEEDED", "CALL_TOO_LONG")}
    assert refusals[0].metadata == {"limit_s": "2"}
    assert list(found.runs) == []


def test_the_log_of_sqlite_is_emptied_once_a_costly_search_has_ended(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with searched("all-sqlite", tmp_path, request, {"server.call-limit": "2s"}) as platform:
        log = platform.folder / "tracking.db-wal"
        runs = platform.stub(tracking.RunServiceStub)
        with connection(platform) as channel:
            search = costly(channel)
            params = {f"p{number}": "v" * 5000 for number in range(50)}
            while log.stat().st_size <= 2 * LOG_BYTES and not search.done():
                runs.CreateRun(tracking.CreateRunRequest(experiment_id="0", params=params))
            held = log.stat().st_size
            ended = search.exception(20)

        eventually(lambda: log.stat().st_size <= LOG_BYTES)

    assert held > LOG_BYTES
    assert unpacked(ended).reason == "CALL_TOO_LONG"


def _refused(method: Any, request: Any) -> Any:
    try:
        return refused(method, request, timeout=0.5)
    except AssertionError:
        return None


def _refused_with_a_reason(channel: grpc.Channel, searches: list[Any]) -> Any:
    """Begins ten more searches, and gives a refusal that has a reason; others were cancelled as they came."""
    searches += [costly(channel) for _ in range(10)]
    refusals = (unpacked(each.exception()) for each in searches if each.done())
    return next((each for each in refusals if each.reason), None)
