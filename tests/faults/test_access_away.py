"""Access is away for longer than a run may be silent: runs whose heartbeats were refused meanwhile are not lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from modelry.api.tracking import v1 as api
from modelry_server.kernel.authority import FRESH_S
from tests.parts.eventually import eventually
from tests.parts.locked import Locked, locked
from tests.parts.postgres import PostgresServer
from tests.parts.refusal import unpacked

PERIOD_S = 1
LONG_PERIOD_S = 4
"""Of the run whose process ends: its time is not over before it is noticed that access is away."""
GET = "tracking.v1.RunService/GetRun"
AWAY_S = FRESH_S + 5 * PERIOD_S

Away = Callable[[], AbstractContextManager[None]]
"""A block in which nobody can ask access."""


@pytest.fixture(params=["split, access is stopped", "all, the database of access hangs"])
def platform(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Locked, Away]]:
    """A platform that looks for lost runs all the time, and what takes access away."""
    name, _ = request.param.split(", ")
    settings = {"tracking.lost-interval": "0.2s"}
    urls: dict[str, str] = {}
    if name == "all":
        database: PostgresServer = request.getfixturevalue("own_postgres_server")
        urls["access"] = database.url.set(drivername="postgresql").render_as_string()
    with locked(name, tmp_path / "platform", settings, database_urls=urls) as known:

        @contextmanager
        def stopped() -> Iterator[None]:
            known.deployment.stop("access")
            yield
            known.deployment.start("access")

        yield known, (stopped if name == "split" else database.paused)


class Process:
    """Sends heartbeats of a run, as its process does, and notes how each was answered."""

    def __init__(self, known: Locked, run_id: str, period_s: int) -> None:
        self._known = known
        self._request = api.LogHeartbeatsRequest(run_ids=[run_id], period=Duration(seconds=period_s))
        self.refused: list[str] = []
        self.accepted = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live)

    def beat(self) -> None:
        """Sends one. Raises grpc.RpcError."""
        rpc = "/modelry.api.tracking.v1.RunService/LogHeartbeats"
        self._known.call(rpc, self._request, self._known.admin.metadata, timeout=2)
        self.accepted += 1

    def _live(self) -> None:
        while not self._ended.wait(PERIOD_S / 4):
            try:
                self.beat()
            except grpc.RpcError as error:
                self.refused.append(unpacked(error).reason or error.code().name)

    def __enter__(self) -> Process:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def a_run(known: Locked) -> str:
    return str(known.ask("tracking.v1.RunService/CreateRun", api.CreateRunRequest(experiment_id="0")).run.run_id)


def lost(known: Locked) -> list[str]:
    """The ids of all runs that were ever lost, also if they are running again."""
    lines = known.deployment.log(known.deployment.target_of("tracking")).splitlines()
    return [json.loads(line)["run_id"] for line in lines if '"run.lost"' in line]


def test_a_live_run_is_never_lost_while_access_is_away_and_one_that_is_gone_is_lost_afterwards(
    platform: tuple[Locked, Away],
) -> None:
    known, away = platform
    live, gone = a_run(known), a_run(known)
    with Process(known, live, PERIOD_S) as process:
        eventually(lambda: process.accepted > 3)
        Process(known, gone, LONG_PERIOD_S).beat()
        with away():
            eventually(lambda: process.refused)
            since = time.monotonic()
            eventually(lambda: time.monotonic() - since > AWAY_S)
        lost_while_away = lost(known)
        accepted = process.accepted
        eventually(lambda: process.accepted > accepted)
        eventually(lambda: gone in lost(known))
        states = [known.ask(GET, api.GetRunRequest(run_id=each)).run.status for each in (live, gone)]

    assert {"SERVICE_UNAVAILABLE", "DEADLINE_EXCEEDED"} & {*process.refused}
    assert (lost_while_away, lost(known)) == ([], [gone])
    assert states == [api.RUN_STATUS_RUNNING, api.RUN_STATUS_LOST]
