"""Before a server answers: no stranger can reach it, and what is wrong with the settings is said in words."""

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
from modelry_server.kernel.config import ConfigurationInvalid, load
from modelry_server.kernel.sql.database import DatabaseUnusable
from modelry_server.targets import ROOMS, TARGETS, build, database, mistakes, take_databases
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


@pytest.mark.parametrize(
    "listen",
    [
        "0.0.0.0:0",
        "[::]:0",
        "192.168.0.1:0",
        "example.org:0",
        "localhost.example.org:0",
        "127.0.0.1.example.org:0",
    ],
)
def test_a_server_that_strangers_could_reach_does_not_start(tmp_path: Path, listen: str) -> None:
    config = load(Config, environment={}, flags={"server.listen": listen, "server.data-folder": str(tmp_path)})

    with pytest.raises(ConfigurationInvalid, match="no authentication is configured"):
        build("access", config)


def test_where_a_service_alone_listens_is_refused_under_the_key_that_says_it(tmp_path: Path) -> None:
    config = load(Config, environment={}, flags={"access.address": "0.0.0.0:1", "server.data-folder": str(tmp_path)})

    with pytest.raises(ConfigurationInvalid, match=r"access\.address = '0\.0\.0\.0:1'"):
        build("access", config)


@pytest.mark.parametrize(
    ("target", "key", "value", "said"),
    [
        ("access", "server.internal-listen", "0.0.0.0:1", "server.internal_listen = '0.0.0.0:1': a port needs"),
        ("access", "server.internal-listen", "127.0.0.1:1", "server.internal_listen = '127.0.0.1:1': a port needs"),
        ("access", "access.internal-address", "[::]:1", "access.internal_address = '[::]:1': a port needs"),
        ("tracking", "access.internal-address", "localhost:1", "access.internal_address = 'localhost:1': a port needs"),
        ("access", "server.service-key", "swordfish", "server.service_key = (secret): must have at least 32"),
        ("access", "server.service-key", "swordfish " * 9, "server.service_key = (secret): must have at least 32"),
        ("all", "server.internal-listen", "127.0.0.1:1", "server.internal_listen = '127.0.0.1:1': all services in one"),
    ],
)
def test_what_would_open_the_internal_listener_to_strangers_is_refused(
    target: str, key: str, value: str, said: str
) -> None:
    config = load(Config, environment={}, flags={key: value})

    [told] = mistakes(target, config)

    assert told.startswith(said)
    assert "swordfish" not in told


def test_with_a_key_of_its_own_a_service_may_listen_where_other_machines_reach_it() -> None:
    flags = {"server.internal-listen": "0.0.0.0:1", "server.service-key": "k" * 32}

    assert [*mistakes("access", load(Config, environment={}, flags=flags))] == []


def test_services_that_start_with_the_same_folder_share_a_key_that_only_their_user_can_read(tmp_path: Path) -> None:
    with running("split", tmp_path, rooms=("access", "tracking")) as platform:
        runs = platform.stub(RunServiceStub)
        found = runs.SearchRuns(SearchRunsRequest(workspace="default"), timeout=30)  # tracking asks access

    assert list(found.runs) == []
    assert (tmp_path / "service.key").stat().st_mode & 0o777 == 0o600


def test_a_key_that_other_users_can_read_keeps_a_server_from_starting(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.9.9.9:0", "localhost:0", "[::1]:0"])
def test_a_server_on_this_machine_starts(tmp_path: Path, listen: str) -> None:
    flags = {"server.listen": listen, "server.internal-listen": listen, "server.data-folder": str(tmp_path)}
    flags |= {"server.service-key": KEY}
    config = load(Config, environment={}, flags=flags)
    db = database(config, "access")
    db.upgrade()
    db.close()

    server = build("access", config)

    server.start()
    server.stop()


def test_all_is_every_service_and_each_service_is_a_target_of_its_own() -> None:
    assert {"all": ROOMS, **{room: (room,) for room in ROOMS}} == TARGETS


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "postgresql+psycopg2://root:swordfish@127.0.0.1/x",
        "mysql://root:swordfish@127.0.0.1/x",
        "sqlite+nothing",
        "://",
    ],
)
def test_a_database_that_is_not_supported_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    config = load(Config, environment={}, flags={"tracking.database-url": url})

    with pytest.raises(ConfigurationInvalid, match=r"tracking\.database_url") as caught:
        database(config, "tracking")

    assert "swordfish" not in str(caught.value)


def test_the_short_form_of_a_postgresql_url_is_understood() -> None:
    config = load(Config, environment={}, flags={"tracking.database-url": "postgresql://modelry@127.0.0.1/x"})

    db = database(config, "tracking")

    assert db.url.drivername == "postgresql+psycopg"
    db.close()


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


def test_services_may_share_a_file_and_each_has_one_process(tmp_path: Path) -> None:
    flags = {f"{room}.database-url": f"sqlite:///{tmp_path / 'all.db'}" for room in ROOMS}
    config = load(Config, environment={}, flags={"server.data-folder": str(tmp_path), **flags})
    (tmp_path / "all.db").touch()

    access, tracking = take_databases("access", config), take_databases("tracking", config)
    with pytest.raises(DatabaseUnusable, match=f"database of access in the folder {tmp_path}: process {os.getpid()};"):
        take_databases("all", config)
    for each in (*access, *tracking):
        os.close(each)

    taken = take_databases("all", config)
    assert len(taken) == len(ROOMS)
    for each in taken:
        os.close(each)


@pytest.mark.parametrize(
    "name", ["a b", "100% mine", "a?b", "a%40b", "a#b", "a;b=c&d", "line\nfeed", "\u00fc", "'q'", "@:"]
)
def test_all_databases_are_in_the_data_folder_whatever_its_name(tmp_path: Path, name: str) -> None:
    config = load(Config, environment={}, flags={"server.data-folder": str(tmp_path / name)})

    for room in ROOMS:
        opened = database(config, room)
        opened.upgrade()
        opened.close()

    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert {f"{room}.db" for room in ROOMS} <= {path.name for path in (tmp_path / name).iterdir()}


def test_databases_can_be_read_by_their_user_only(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    (data / "access.db").touch()
    (data / "access.db").chmod(0o644)

    with running("all", data) as platform:
        platform.stub(WorkspaceServiceStub).GetWorkspace(GetWorkspaceRequest(name="default"), timeout=30)
        modes = {path.name: path.stat().st_mode & 0o077 for path in data.iterdir() if ".db" in path.name}

    assert len(modes) >= 4
    assert set(modes.values()) == {0}


@pytest.mark.parametrize("key", ["server__data_folder", "access__database_url"])
def test_a_folder_to_which_others_can_write_is_refused(tmp_path: Path, key: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)
    named = f"sqlite:///{data}/x.db" if key == "access__database_url" else str(data)
    flags = {"server.data-folder": str(tmp_path), key.replace("__", ".").replace("_", "-"): named}

    found = [*mistakes("access", load(Config, environment={}, flags=flags))]

    assert found == [f"{key.replace('__', '.')} = {str(data)!r}: other users can write to it; run `chmod go-w {data}`"]
