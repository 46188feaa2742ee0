"""Services with a process each meet at sockets that no other user of the machine reaches, or at ports with a key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelry.api.access.v1 import GetWorkspaceRequest, WorkspaceServiceStub
from modelry.api.tracking.v1 import RunServiceStub, SearchRunsRequest
from modelry_server.addresses import internal_address
from modelry_server.config import Config
from modelry_server.databases import database
from modelry_server.kernel.config import ConfigurationInvalid, load
from modelry_server.kernel.transport import sockets
from modelry_server.kernel.transport.server import AddressUnusable
from modelry_server.targets import ROOMS, build, mistakes
from tests.parts import free_port
from tests.parts.deployment import Deployment, running
from tests.parts.eventually import eventually
from tests.server.test_start import started

KEY = "the-key-of-the-services-of-a-test"


def settings(folder: Path, **flags: str) -> Config:
    """The settings of a process, without an environment."""
    given = {key.replace("__", ".").replace("_", "-"): value for key, value in flags.items()}
    common = {"server.data-folder": str(folder), "server.listen": "127.0.0.1:0"}
    return load(Config, environment={}, flags={**common, **given})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with the database of access."""
    folder = tmp_path / "data"
    folder.mkdir()
    db = database(settings(folder), "access")
    db.upgrade()
    db.close()
    return folder


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Deployment]:
    """Access and tracking, which asks access, with a process each."""
    with running("split", tmp_path, rooms=("access", "tracking")) as platform:
        yield platform


def asks(platform: Deployment) -> bool:
    """Whether tracking gets an answer of access. Raises what it answers instead."""
    runs = platform.stub(RunServiceStub)
    return not runs.SearchRuns(SearchRunsRequest(workspace="default"), timeout=30, wait_for_ready=True).runs


def test_by_default_services_meet_in_a_folder_that_only_their_user_can_open(pair: Deployment) -> None:
    internal = pair.folder / "internal"

    assert asks(pair)
    assert internal.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in internal.iterdir() if path.is_socket()} == {"access.sock", "tracking.sock"}


def test_services_on_several_machines_talk_over_ports_with_a_key_of_their_own(tmp_path: Path) -> None:
    ports = {f"{room}.internal-address": f"127.0.0.1:{free_port()}" for room in ROOMS}

    with running("split", tmp_path, None, {**ports, "server.service-key": KEY}, ("access", "tracking")) as platform:
        assert asks(platform)
        assert platform.internal_address("access") == ports["access.internal-address"]

    assert not (tmp_path / "internal").exists()
    assert not (tmp_path / "service.key").exists()


def test_a_port_is_refused_without_a_key_and_the_way_out_is_named(tmp_path: Path) -> None:
    config = settings(tmp_path)
    wrong = settings(tmp_path, access__internal_address="127.0.0.1:1")

    assert [*mistakes("tracking", config)] == []
    [said] = mistakes("tracking", wrong)
    assert "needs server.service_key" in said
    assert "leave access.internal_address empty" in said
    assert [*mistakes("all", wrong)] == []


def test_the_socket_of_a_killed_process_does_not_hinder_the_next_start(pair: Deployment) -> None:
    pair.kill("access")
    assert (pair.folder / "internal" / "access.sock").is_socket()

    pair.start("access")

    stub = pair.stub(WorkspaceServiceStub)
    assert stub.GetWorkspace(GetWorkspaceRequest(name="default"), timeout=30, wait_for_ready=True)
    assert eventually(lambda: asks(pair))


def test_a_second_process_of_a_service_is_refused_and_does_not_take_the_socket(pair: Deployment) -> None:
    socket = pair.folder / "internal" / "access.sock"
    before = socket.stat().st_ino

    ended = started("access", server__data_folder=str(pair.folder), server__listen="127.0.0.1:0")

    assert ended.returncode == 1
    assert f"can't listen at unix:{socket}: another process listens there" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert socket.stat().st_ino == before
    assert asks(pair)


def test_a_server_that_comes_between_the_check_and_the_start_of_another_is_refused_too(data: Path) -> None:
    first = build("access", settings(data))
    first.start()

    with pytest.raises(AddressUnusable, match="another process listens there"):
        build("access", settings(data))

    first.stop()
    second = build("access", settings(data))
    second.start()
    second.stop()


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_folder_that_others_can_open_is_refused_with_what_to_do(data: Path, mode: int) -> None:
    (data / "internal").mkdir()
    (data / "internal").chmod(mode)

    with pytest.raises(ConfigurationInvalid, match=f"other users can open .*chmod 700 {data}/internal"):
        build("access", settings(data))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(data: Path) -> None:
    (data / "internal").mkdir(mode=0o700)
    os.chown(data / "internal", 65534, -1)

    with pytest.raises(ConfigurationInvalid, match="belongs to the user 65534, and this process runs as the user 0"):
        build("access", settings(data))


def test_a_link_or_a_file_is_not_the_folder(data: Path, tmp_path: Path) -> None:
    (data / "internal").symlink_to(tmp_path)
    with pytest.raises(ConfigurationInvalid, match="not a link"):
        build("access", settings(data))

    (data / "internal").unlink()
    (data / "internal").touch()
    with pytest.raises(ConfigurationInvalid, match="can't be made or read: File exists"):
        build("access", settings(data))


def test_a_data_folder_in_which_others_can_replace_the_folder_is_refused(data: Path) -> None:
    data.chmod(0o777)

    with pytest.raises(ConfigurationInvalid, match=f"other users can write .*chmod go-w {data}"):
        build("access", settings(data))


def test_a_socket_elsewhere_must_be_in_a_private_folder_too(data: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o755)

    with pytest.raises(ConfigurationInvalid, match=f"chmod 700 {elsewhere}"):
        build("access", settings(data, access__internal_address=f"unix:{elsewhere}/access.sock"))


@pytest.mark.parametrize("letter", ["x", "\u00fc"])
def test_a_path_that_is_too_long_for_a_socket_is_told_with_the_setting(tmp_path: Path, letter: str) -> None:
    deep = tmp_path / (letter * 100)
    path = f"{deep}/internal/access.sock"

    [of_folder] = mistakes("access", settings(deep))
    [of_address] = mistakes("access", settings(tmp_path, access__internal_address=f"unix:{deep}"))

    length = len(os.fsencode(path))
    assert of_folder.startswith(f"server.data_folder = {str(deep)!r}: the path of a socket may have at most")
    assert f"{path!r} has {length}" in of_folder
    assert of_address.startswith(f"access.internal_address = 'unix:{deep}': the path of a socket may have at most")
    assert [*mistakes("all", settings(deep))] == []


def test_a_path_of_the_longest_kind_is_accepted_and_one_more_byte_is_not(tmp_path: Path) -> None:
    room = sockets.LONGEST - len(os.fsencode(tmp_path)) - 1

    for length, count in ((room, 0), (room + 1, 1)):
        config = settings(tmp_path, access__internal_address=f"unix:{tmp_path}/{'x' * length}")
        assert len([*mistakes("access", config)]) == count


@pytest.mark.parametrize("name", ["a b", "\u00fc", "100%20", "h#x", "q?y"])
def test_a_data_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    with running("split", tmp_path / name, rooms=("access", "tracking")) as platform:
        assert asks(platform)


def test_a_relative_data_folder_is_the_same_place_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    found = internal_address("access", settings(Path("data")))

    assert found == f"unix:{tmp_path}/data/internal/access.sock"
