"""Before a server answers: what is wrong with the settings is said in words."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from modelry.api.access.v1.workspace_service_pb2 import GetWorkspaceRequest
from modelry.api.access.v1.workspace_service_pb2_grpc import WorkspaceServiceStub
from modelry.api.tracking.v1 import RunServiceStub, SearchRunsRequest
from modelry_server.config import Config
from modelry_server.databases import database
from modelry_server.kernel.config import load
from modelry_server.targets import ROOMS, TARGETS
from tests.parts import free_port
from tests.parts.deployment import REPOSITORY, running
from tests.parts.grpc_traces import trace

KEY = "the-key-of-the-services-of-a-test"
SOURCES = os.pathsep.join(str(REPOSITORY / each) for each in ("clients/python", "clients/cli", "services"))


def started(room: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A server that is expected not to start."""
    flags = [f"--{key.replace('__', '.').replace('_', '-')}={value}" for key, value in settings.items()]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MODELRY_")}
    return subprocess.run(
        [sys.executable, "-m", "modelry_server", f"--target={room}", *flags],
        env={**kept, "PYTHONPATH": SOURCES},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it was not measured, and nothing is chosen")
@pytest.mark.parametrize("given", [None, "", "-event_engine_client"])
def test_who_waits_for_calls_reads_from_the_network_unless_grpc_is_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    trace(monkeypatch, "event_engine_endpoint", experiments=given)

    with running("all", tmp_path) as platform:
        platform.stub(WorkspaceServiceStub).GetWorkspace(GetWorkspaceRequest(name="default"), timeout=30)
        said = platform.log("all")

    assert "Unknown experiment" not in said
    assert ("Acceptor" in said) == (given is not None)


def test_services_that_start_with_the_same_folder_share_a_key_that_only_their_user_can_read(tmp_path: Path) -> None:
    with running("split", tmp_path, rooms=("access", "tracking")) as platform:
        runs = platform.stub(RunServiceStub)
        found = runs.SearchRuns(SearchRunsRequest(workspace="default"), timeout=30)  # tracking asks access

    assert list(found.runs) == []
    assert (tmp_path / "service.key").stat().st_mode & 0o777 == 0o600


def test_o04_a_key_that_other_users_can_read_keeps_a_server_from_starting(tmp_path: Path) -> None:
    file = tmp_path / "service.key"
    file.write_text("swordfish" * 9)
    file.chmod(0o644)
    config = load(Config, environment={}, flags={"server.data-folder": str(tmp_path)})
    db = database(config, "access")
    db.upgrade()
    db.close()

    ended = started("access", server__data_folder=str(tmp_path), server__listen="127.0.0.1:0")

    assert ended.returncode == 1
    assert f"{file}: other users can read or change the key of the services; run `chmod 600 {file}`" in ended.stderr
    assert "swordfish" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_all_is_every_service_and_each_service_is_a_target_of_its_own() -> None:
    assert {"all": ROOMS, **{room: (room,) for room in ROOMS}} == TARGETS


def test_a_server_tells_all_mistakes_at_once_whoever_finds_them(tmp_path: Path) -> None:
    ended = started(
        "artifacts",
        server__workers="many",
        server__listen="0.0.0.0:99999",
        artifacts__database_url="mysql://root:swordfish@127.0.0.1/x",
        artifacts__address="nonsense",
        artifacts__s3_bucket="modelry",
        artifacts__garbage_grace="1h",
        registry__database_url="mysql://127.0.0.1/not-of-this-target",
    )

    head, *told = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert head == "the configuration can't be used:"
    assert [line.split()[0] for line in told] == [
        "server.workers",
        "server.listen",
        "artifacts.address",
        "artifacts.s3_bucket",
        "artifacts.garbage_grace",
        "artifacts.database_url",
    ]
    assert "swordfish" not in ended.stderr


def test_a_server_needs_only_the_settings_of_the_services_that_it_runs(tmp_path: Path) -> None:
    flags = {"artifacts__store": "minio", "artifacts__s3_endpoint": "127.0.0.1:9", "artifacts__s3_bucket": "modelry"}
    folder = {"server__data_folder": str(tmp_path)}

    access, artifacts = (started(target, **flags, **folder) for target in ("access", "artifacts"))

    assert "modelry db upgrade" in access.stderr
    assert "artifacts.s3_access_key" not in access.stderr
    assert "artifacts.s3_access_key" in artifacts.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"tracking__database_url": "postgresql://nobody:swordfish@127.0.0.1:1/none"},
            "database of tracking, postgresql+psycopg://nobody:***@127.0.0.1:1/none, can't be opened: ",
        ),
        ({"tracking__database_url": "mysql://127.0.0.1/x"}, "tracking.database_url"),
        ({"server__data_folder": __file__}, f"server.data_folder = {__file__!r}: is not a folder"),
        ({"server__workers": "many", "server__strems": "1"}, "did you mean server.streams"),
    ],
)
def test_a_server_that_can_not_start_says_why_in_words(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    usual = {"server__data_folder": str(tmp_path), "server__listen": "127.0.0.1:0"}

    ended = started("tracking", **{**usual, **settings})

    assert ended.returncode == 1
    assert said in ended.stderr
    assert "swordfish" not in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("server__listen", "can't listen at 127.0.0.1:{port}: Address already in use"),
        ("server__internal_listen", "can't listen at 127.0.0.1:{port}: Address already in use"),
        (
            "server__metrics_port",
            "server.metrics_port = {port}: can't listen there on 127.0.0.1: Address already in use",
        ),
    ],
)
def test_a_port_that_is_taken_is_said_before_anything_else(tmp_path: Path, key: str, said: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        value = f"127.0.0.1:{port}" if key.endswith("listen") else str(port)

        usual = {"server__data_folder": str(tmp_path), "server__listen": "127.0.0.1:0", "server__service_key": KEY}
        ended = started("tracking", **{**usual, key: value})

    assert ended.returncode == 1
    assert said.format(port=port) in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("key", ["server__listen", "server__internal_listen"])
def test_the_port_of_metrics_is_none_at_which_the_server_listens(tmp_path: Path, key: str) -> None:
    port = free_port()
    usual = {"server__data_folder": str(tmp_path), "server__listen": "127.0.0.1:0", "server__service_key": KEY}

    ended = started("tracking", **{**usual, key: f"127.0.0.1:{port}", "server__metrics_port": str(port)})

    name = key.replace("__", ".")
    said = f"server.metrics_port = {port}: the server itself listens there ({name} = '127.0.0.1:{port}'); use another"
    assert (ended.returncode, said in ended.stderr) == (1, True)
    assert ended.stderr.count("\n") == 2  # the headline and one mistake
