"""The databases of services: where they are, who can read them, and that each has one process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelry.api.access.v1.workspace_service_pb2 import GetWorkspaceRequest
from modelry.api.access.v1.workspace_service_pb2_grpc import WorkspaceServiceStub
from modelry_server.config import Config
from modelry_server.databases import database, require_same_locks, take_databases
from modelry_server.kernel.config import ConfigurationInvalid, load
from modelry_server.kernel.sql.database import DatabaseUnusable
from modelry_server.targets import ROOMS, mistakes
from tests.parts.deployment import running


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


def test_services_may_share_a_file_and_each_has_one_process(tmp_path: Path) -> None:
    flags = {f"{room}.database-url": f"sqlite:///{tmp_path / 'all.db'}" for room in ROOMS}
    config = load(Config, environment={}, flags={"server.data-folder": str(tmp_path), **flags})
    (tmp_path / "all.db").touch()

    access, tracking = take_databases(["access"], config), take_databases(["tracking"], config)
    with pytest.raises(DatabaseUnusable, match=f"database of access in the folder {tmp_path}: process {os.getpid()};"):
        take_databases(ROOMS, config)
    for each in (*access.values(), *tracking.values()):
        os.close(each)

    taken = take_databases(ROOMS, config)
    assert [*taken] == [*ROOMS]
    for each in taken.values():
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


def test_o04_databases_can_be_read_by_their_user_only(tmp_path: Path) -> None:
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
def test_o04_a_folder_to_which_others_can_write_is_refused(tmp_path: Path, key: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)
    named = f"sqlite:///{data}/x.db" if key == "access__database_url" else str(data)
    flags = {"server.data-folder": str(tmp_path), key.replace("__", ".").replace("_", "-"): named}

    found = [*mistakes("access", load(Config, environment={}, flags=flags))]

    assert found == [f"{key.replace('__', '.')} = {str(data)!r}: other users can write to it; run `chmod go-w {data}`"]


@pytest.mark.parametrize("room", ROOMS)
def test_what_was_used_with_authentication_is_not_opened_without_unless_that_is_said(
    tmp_path: Path, room: str, caplog: pytest.LogCaptureFixture
) -> None:
    def opened(**settings: str) -> None:
        flags = {f"server.{key.replace('_', '-')}": value for key, value in settings.items()}
        config = load(Config, environment={}, flags={"server.data-folder": str(tmp_path), **flags})
        db = database(config, room)
        db.upgrade()
        try:
            require_same_locks({room: db}, config)
        finally:
            db.close()

    opened()
    opened(authentication="required")
    with pytest.raises(ConfigurationInvalid, match="callers of this installation have to say who they are"):
        opened()
    opened(authentication="required")
    assert "authentication.dropped" not in caplog.messages
    opened(drop_authentication="true")
    opened()
    [told] = [each.modelry_fields for each in caplog.records if each.message == "authentication.dropped"]  # type: ignore[attr-defined]
    assert told["service"] == room
    assert "review all role bindings, service accounts and tokens" in told["right"]
    opened(authentication="required")
    opened(authentication="required", drop_authentication="true")  # never comes so far, see below
    with pytest.raises(ConfigurationInvalid, match="callers of this installation have to say who they are"):
        opened()


def test_a_setting_that_drops_authentication_is_not_left_behind_where_it_is_required(tmp_path: Path) -> None:
    flags = {"server.data-folder": str(tmp_path), "server.authentication": "required"}
    flags["server.drop-authentication"] = "true"

    found = [*mistakes("all", load(Config, environment={}, flags=flags))]

    assert found == [
        "server.drop_authentication = True: server.authentication = 'required' keeps authentication; take one of them "
        "out (drop_authentication is for a single start with authentication = 'none')"
    ]
