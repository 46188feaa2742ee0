"""However many connections are open, there are files left for databases, content and streams."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest

from modelry.api.artifacts import v1 as artifacts
from modelry.api.tracking import v1 as tracking
from tests.contract.artifacts.conftest import Client as Files
from tests.parts import deployment as deployments
from tests.parts import free_port
from tests.parts.eventually import eventually
from tests.parts.own_connection import connection, process_of, write_file
from tests.parts.raw_client import RawClient


@pytest.mark.parametrize(
    ("open_files", "accepted"),
    [((1250, 1250), range(150, 196)), ((100, 4000), range(300, 301))],
    ids=["few files", "a low soft limit"],
)
def test_connections_leave_files_for_databases_content_and_streams(
    tmp_path: Path, open_files: tuple[int, int], accepted: range
) -> None:
    settings = {"server.streams": "32"}
    with (
        deployments.running("all", tmp_path / "platform", settings=settings, open_files=open_files) as platform,
        ExitStack() as stack,
    ):
        channels = [stack.enter_context(connection(platform)) for _ in range(2)]
        runs = tracking.RunServiceStub(channels[0])
        run_id = runs.CreateRun(tracking.CreateRunRequest(experiment_id="0"), timeout=10).run.run_id
        owner = artifacts.ArtifactOwner(run_id=run_id)
        files = Files(platform)
        files.write(owner, {f"{number}": str(number).encode() for number in range(1500)} | {"large": b"x" * (8 << 20)})
        process = process_of(platform, "tracking")
        blobs = platform.folder / "blobs"
        assert len([each for each in blobs.iterdir() if each.is_dir()]) > 250
        assert process.num_fds() > 250  # the folders are kept open

        slow = [
            artifacts.ArtifactServiceStub(channel).ReadArtifacts(
                artifacts.ReadArtifactsRequest(owner=owner, path="large")
            )
            for channel in channels
            for _ in range(15)
        ]
        for each in slow:
            next(each)
        flood = stack.enter_context(ExitStack())
        clients = [flood.enter_context(RawClient(platform.addresses["tracking"])) for _ in range(300)]
        eventually(lambda: sum(not each.is_closed for each in clients) in accepted)

        def work(number: int) -> None:
            runs.CreateRun(tracking.CreateRunRequest(experiment_id="0"), timeout=20)
            runs.SearchRuns(tracking.SearchRunsRequest(workspace="default"), timeout=20)

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(work, range(48)))
        write_file(channels[0], run_id, "during")
        flood.close()
        with connection(platform) as later:
            write_file(later, run_id, "after")
        for each in slow:
            each.cancel()
        warned = '"server.few_files"' in platform.log("all")

    assert warned == (open_files == (1250, 1250))


def test_the_metrics_and_the_log_say_that_all_connections_are_taken(tmp_path: Path) -> None:
    settings = {"server.connections": "20", "server.metrics-port": str(free_port())}

    def shown(what: str) -> float:
        with urlopen(f"http://127.0.0.1:{settings['server.metrics-port']}/metrics", timeout=5) as answer:
            lines = [line for line in answer.read().decode().splitlines() if line.startswith(f"modelry_rpc_{what}")]
        return sum(float(line.split()[-1]) for line in lines)

    here = '{kind="connection",listener="public"}'
    with (
        deployments.running("all", tmp_path / "platform", settings=settings) as platform,
        connection(platform) as channel,
        ExitStack() as stack,
    ):
        tracking.ExperimentServiceStub(channel).SearchExperiments(
            tracking.SearchExperimentsRequest(workspace="default"), timeout=10
        )
        for _ in range(5):
            stack.enter_context(RawClient(platform.addresses["tracking"]))
        eventually(lambda: shown("held" + here) == 6)
        quiet = "rpc.connections_full" not in platform.log("all")
        many = [stack.enter_context(RawClient(platform.addresses["tracking"])) for _ in range(30)]
        eventually(lambda: shown("held" + here) == 20)
        refused = sum(each.is_closed for each in many)
        eventually(lambda: '"rpc.connections_full"' in platform.log("all"))
        limits = shown("limit" + here)

    assert quiet
    assert refused > 10
    assert limits == 20


def test_a_server_serves_some_connections_where_files_are_few(tmp_path: Path) -> None:
    with (
        deployments.running("all", tmp_path / "platform", open_files=(400, 400)) as platform,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(RawClient(platform.addresses["tracking"])) for _ in range(80)]
        eventually(lambda: 45 <= sum(not each.is_closed for each in clients) <= 50)
        warned = '"server.few_files"' in platform.log("all")

    assert warned
