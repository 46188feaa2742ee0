"""The registry is killed while many make versions: what it acknowledged is there, each request made one version."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import grpc

from modelry.api.registry import v1 as api
from modelry_server.kernel.ids import new_id
from modelry_server.targets import ROOMS
from tests.contract.registry.conftest import WORKSPACE, Platform, of_run
from tests.parts.deployment import running
from tests.parts.eventually import eventually

WRITERS = 6
EACH = 10
KILLS = (10, 25)
"""After how many acknowledged versions the registry is killed."""


def made(platform: Platform, request: api.CreateVersionRequest) -> api.Version | None:
    """The version of a request; None while there is no answer."""
    try:
        return platform.versions.CreateVersion(request, timeout=10).version
    except grpc.RpcError:
        return None


def test_a_killed_registry_keeps_what_it_acknowledged_and_makes_each_version_once(
    database_url: str, tmp_path: Path
) -> None:
    with running("split", tmp_path / "platform", dict.fromkeys(ROOMS, database_url)) as deployment:
        platform = Platform.of(deployment)
        model, run_id = platform.a_model().name, platform.a_run()
        acknowledged: list[api.Version] = []
        counted = threading.Semaphore(0)

        def write() -> None:
            for _ in range(EACH):
                request = api.CreateVersionRequest(
                    workspace=WORKSPACE, model_name=model, source=of_run(run_id), request_id=new_id()
                )
                version = eventually(partial(made, platform, request), within_s=60)
                assert version is not None
                acknowledged.append(version)
                counted.release()

        with ThreadPoolExecutor(WRITERS) as pool:
            writing = [pool.submit(write) for _ in range(WRITERS)]
            for before, count in zip((0, *KILLS), KILLS, strict=False):
                for _ in range(count - before):
                    assert counted.acquire(timeout=60)
                deployment.kill("registry")
                deployment.start("registry")
            for each in writing:
                each.result()

        wanted = api.SearchVersionsRequest(workspace=WORKSPACE, filter=f"model_name = '{model}'", page_size=1000)
        found = platform.versions.SearchVersions(wanted)
        assert sorted(version.version_number for version in found.versions) == list(range(1, WRITERS * EACH + 1))
        assert {version.version_id for version in found.versions} == {each.version_id for each in acknowledged}
        history = api.ListAuditRecordsRequest(workspace=WORKSPACE, model_name=model, page_size=1000)
        records = platform.audit.ListAuditRecords(history).records[::-1]
        assert len(records) == WRITERS * EACH + 1
        assert [record.previous_digest for record in records] == ["", *(record.digest for record in records[:-1])]
        events = platform.events.ListEvents(api.ListEventsRequest(workspace=WORKSPACE, page_size=1000)).events
        assert len({event.cursor for event in events}) == len(events) == WRITERS * EACH + 1
