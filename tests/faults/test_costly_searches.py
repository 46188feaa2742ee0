"""Searches that would take minutes end before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from modelry.api.tracking import v1 as tracking
from modelry_server.targets import ROOMS
from tests.parts import deployment as deployments
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually
from tests.parts.postgres import PostgresServer
from tests.parts.refusal import unpacked

COSTLY = " OR ".join(f"params.long LIKE '%{'a' * 990}{end}%'" for end in "bcdefghijklmnop")
"""A filter within all limits that takes a tenth of a second for each run."""
LOG_BYTES = 4 << 20
"""SQLite's write-ahead log is emptied when it is larger."""


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


@pytest.fixture(params=["all-sqlite", "split-postgres"])
def hasty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """A server that ends calls soon."""
    with searched(request.param, tmp_path, request, {"server.call-limit": "2s"}) as running:
        yield running


@contextmanager
def connection(platform: Deployment) -> Iterator[grpc.Channel]:
    """A connection that is nobody else's."""
    with grpc.insecure_channel(platform.addresses["tracking"], [("grpc.use_local_subchannel_pool", 1)]) as channel:
        grpc.channel_ready_future(channel).result(20)
        yield channel


def costly(channel: grpc.Channel) -> Any:
    """A search that would take minutes, without a deadline."""
    runs: Any = tracking.RunServiceStub(channel)
    return runs.SearchRuns.future(tracking.SearchRunsRequest(workspace="default", filter=COSTLY))


def test_a_costly_search_without_a_deadline_ends_at_the_limit_of_the_server(hasty: Deployment) -> None:
    small = tracking.SearchRunsRequest(workspace="default", page_size=1)
    with connection(hasty) as first, connection(hasty) as second:
        searches = [costly(channel) for _ in range(20) for channel in (first, second)]
        refusals = [unpacked(each.exception(20)) for each in searches]
        found = tracking.RunServiceStub(first).SearchRuns(small, timeout=5)

    assert {(each.code, each.reason) for each in refusals} == {("DEADLINE_EXCEEDED", "CALL_TOO_LONG")}
    assert refusals[0].metadata == {"limit_s": "2"}
    assert len(found.runs) == 1


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
