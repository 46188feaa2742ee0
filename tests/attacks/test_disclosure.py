"""What somebody learns who has no credential, who has the database, or who is another user of the machine."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from modelry.api.access import v1 as access
from modelry_server.targets import ROOMS
from tests.attacks.conftest import Scene
from tests.parts import free_port
from tests.parts.deployment import running
from tests.parts.locked import Locked, locked
from tests.parts.postgres import PostgresServer
from tests.parts.refusal import unpacked


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Locked, int]]:
    """A platform with a port of metrics, and that port."""
    port = free_port()
    folder = tmp_path_factory.mktemp("measured")
    with locked("all", folder, {"server.metrics-port": str(port)}) as found:
        yield found, port


def test_o02_health_tells_everybody_that_it_serves_and_nothing_else(scene: Scene) -> None:
    channel = scene.locked.deployment.channel("tracking")
    stub: Any = health_pb2_grpc.HealthStub(channel)

    for service in ("", "modelry.api.tracking.v1.RunService"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
        assert answer == health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
    for service in ("modelry.internal.access.v1.IdentityService", "nothing", scene.things.workspace):
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)
        assert unpacked(caught.value).code == "NOT_FOUND"


@pytest.mark.parametrize("service", ["v1alpha", "v1"])
def test_o02_reflection_tells_nothing_without_a_credential(scene: Scene, service: str) -> None:
    channel = scene.locked.deployment.channel("tracking")
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    method: Any = channel.stream_stream(f"/grpc.reflection.{service}.ServerReflection/ServerReflectionInfo")

    with pytest.raises(grpc.RpcError) as caught:
        list(method(iter([asked.SerializeToString()]), timeout=20))
    assert unpacked(caught.value).code in ("UNAUTHENTICATED", "UNIMPLEMENTED")


def test_o02_reflection_tells_who_is_known_nothing_of_internal_services(scene: Scene) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(scene.locked.deployment.channel("tracking"))
    asked = reflection_pb2.ServerReflectionRequest(list_services="")

    [answer] = stub.ServerReflectionInfo(iter([asked]), timeout=20, metadata=scene.attacker.metadata)

    names = [each.name for each in answer.list_services_response.service]
    assert names
    assert not any("internal" in name for name in names)


def test_o02_what_is_unknown_is_refused_without_a_word_about_the_server(scene: Scene) -> None:
    channel = scene.locked.deployment.channel("tracking")
    unary: Any = channel.unary_unary
    for method in ("/modelry.api.tracking.v1.RunService/Nothing", "/a/b", "/modelry.internal.x/y"):
        with pytest.raises(grpc.RpcError) as caught:
            unary(method)(b"", timeout=20)
        found = unpacked(caught.value)
        assert found.code == "UNIMPLEMENTED"
        for word in (str(scene.locked.deployment.folder), "Traceback", "python", os.uname().nodename):
            assert word not in str(found)


def test_o02_the_port_of_metrics_has_no_names_of_things_or_people(measured: tuple[Locked, int]) -> None:
    found, port = measured
    workspace = found.workspace()
    who = found.somebody("reader", access.Place(workspace=workspace))
    found.ask("access.v1.PrincipalService/WhoAmI", access.WhoAmIRequest(), who.metadata)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text = answer.read().decode()

    assert "modelry_rpc_calls_total" in text
    for secret in (workspace, who.name, who.principal_id, who.secret, found.admin.secret, str(found.deployment.folder)):
        assert secret not in text
    for path in ("/", "/debug", "/metrics/../etc/passwd", "/config"):
        try:
            with opener.open(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
                other = answer.read().decode()
        except urllib.error.HTTPError as error:
            other = error.read().decode()
        assert str(found.deployment.folder) not in other
        assert "root:" not in other


def test_o02_no_web_page_answers_at_the_port_of_clients(scene: Scene) -> None:
    host, port = scene.locked.deployment.address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = connection.recv(65536)

    assert not answer.startswith(b"HTTP/1.1 200")
    assert b"modelry" not in answer.lower()


def secrets_of(found: Locked) -> list[str]:
    """Every text by which somebody could get in."""
    second = found.token_of(found.admin.principal_id)
    rotated = found.ask("access.v1.TokenService/RotateToken", access.RotateTokenRequest(token_id=second.token_id))
    return [found.admin.secret, second.secret, rotated.secret, found.somebody("admin").secret]


def test_o03_a_stolen_database_lets_nobody_in(tmp_path: Path) -> None:
    folder = tmp_path / "platform"
    with locked("all", folder) as found:
        secrets = [*secrets_of(found), found.deployment.service_key]
        [database] = [path for path in folder.rglob("*access*.db")] or [folder / "modelry.db"]
        with closing(sqlite3.connect(database)) as stolen:
            rows = "\n".join(stolen.iterdump())
        stored = b"".join(path.read_bytes() for path in folder.rglob("*.db*"))

    assert found.admin.token_id in rows
    for secret in secrets:
        assert secret not in rows
        for part in (secret, secret.split("_")[-1], secret.split("_")[-1][:20]):
            assert part.encode() not in stored


def test_o03_a_bootstrap_token_is_in_no_database(tmp_path: Path) -> None:
    folder = tmp_path / "platform"
    with running("all", folder, settings={"server.authentication": "required"}):
        text = (folder / "bootstrap.token").read_text().strip()
        stored = b"".join(path.read_bytes() for path in folder.rglob("*.db*"))

    assert text.startswith("mdy_b_")
    assert text.split("_")[-1].encode() not in stored


def test_o03_a_stolen_dump_of_postgres_lets_nobody_in(postgres_server: PostgresServer, tmp_path: Path) -> None:
    with (
        postgres_server.database() as url,
        locked("all", tmp_path / "platform", database_urls=dict.fromkeys(ROOMS, url)) as found,
    ):
        secrets = secrets_of(found)
        engine = sqlalchemy.create_engine(url)
        rows = []
        with engine.connect() as connection:
            for schema in sqlalchemy.inspect(engine).get_schema_names():
                for table in sqlalchemy.inspect(engine).get_table_names(schema):
                    rows += [str(row) for row in connection.exec_driver_sql(f'SELECT * FROM "{schema}"."{table}"')]
        engine.dispose()

    assert any(found.admin.token_id in row for row in rows)
    for secret in secrets:
        assert not any(secret.split("_")[-1] in row for row in rows)


def test_o04_no_file_of_a_server_is_open_to_other_users(scene: Scene) -> None:
    folder = scene.locked.deployment.folder
    made = [path for path in folder.rglob("*") if not path.is_symlink() and path.suffix != ".log"]

    readable = {
        str(path.relative_to(folder)): oct(path.stat().st_mode)
        for path in made
        if path.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP)
    }
    assert any(path.suffix == ".db" for path in made)
    assert {name for name in readable if not name.endswith(".sock")} == set()
    for path in made:
        if path.is_socket():
            assert not path.parent.stat().st_mode & (stat.S_IRWXO | stat.S_IRWXG), path
