"""What a user reads who comes to the wrong place, or with what does not fit."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import grpc
import pytest

import modelry
from modelry import Client
from modelry._sdk.transport.connection import connect
from modelry.api.tracking import v1 as tracking
from modelry.api.tracking.v1 import rpcs
from modelry.errors import DeadlineExceeded, FieldInvalid, InvalidArgument, Unavailable, Unimplemented
from tests.parts import free_port
from tests.parts.deployment import Deployment

PROXIES = ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


Answering = Callable[..., str]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Makes servers that say the same to everybody and close or reset the connection."""
    servers: list[socket.socket] = []

    def start(words: bytes, *, resets: bool = False) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)
        threading.Thread(target=_answer_all, args=(server, words, resets), daemon=True).start()
        return f"127.0.0.1:{server.getsockname()[1]}"

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def _answer_all(server: socket.socket, words: bytes, resets: bool) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with closing(connection):
            connection.sendall(words)
            if resets:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "not gRPC, so it is another server"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak gRPC"),
        (b"", "another kind of server, one that needs TLS, or one that has too many connections"),
    ],
)
def test_a_server_of_another_kind_is_said_to_be_one(answering: Answering, words: bytes, told: str) -> None:
    address = answering(words)

    with pytest.raises(Unavailable) as refusal:
        Client(address).runs.get("0" * 32)

    assert address in refusal.value.message
    assert told in refusal.value.message
    assert "MODELRY_TRACKING_URI" in refusal.value.message


def test_a_server_that_never_answers_may_be_of_another_kind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(DeadlineExceeded) as refusal:
            connect(address).call(rpcs.GET_RUN, tracking.GetRunRequest(run_id="0" * 32), timeout=0.5)

    assert address in refusal.value.message
    assert "another kind of server, or one that needs TLS" in refusal.value.message
    assert "MODELRY_TRACKING_URI must be the gRPC address" in refusal.value.message


@pytest.mark.parametrize("name", ["grpc", "google", "numbers", "random"])
def test_a_file_with_the_name_of_a_module_that_is_needed_is_named(tmp_path: Path, name: str) -> None:
    in_the_way = tmp_path / f"{name}.py"
    in_the_way.write_text("x = 1\n")
    script = tmp_path / "script.py"
    script.write_text("import modelry\nmodelry.start_run()\n")

    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=os.environ, check=False)

    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: {in_the_way} has the name of")
    assert last.endswith("rename the file")


@pytest.mark.parametrize(
    "uri", ["grpc://u:secret@host:1", "u:secret@host:1", "http://u:sec@ret@host", "u:secret@[::1]"]
)
def test_no_password_is_shown_and_the_variable_is_named(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MODELRY_TRACKING_URI", uri)

    with pytest.raises(InvalidArgument, match="MODELRY_TRACKING_URI '") as refusal:
        Client()

    shown = f"{refusal.value} {refusal.value.metadata} {refusal.value.fields}"
    assert "sec" not in shown
    assert "u:" not in shown


def test_the_variable_of_an_experiment_that_is_refused_is_named(
    platform: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    modelry.set_tracking_uri(platform.address)
    monkeypatch.setenv("MODELRY_EXPERIMENT_NAME", "  spaced ")

    with pytest.raises(FieldInvalid, match=r"MODELRY_EXPERIMENT_NAME='  spaced ': name: .*white space"):
        modelry.start_run()


def test_a_server_that_resets_connections_is_told_like_one_that_closes_them(answering: Answering) -> None:
    address = answering(b"", resets=True)

    with pytest.raises(Unavailable, match="something there ended the connection"):
        Client(address).runs.get("0" * 32)


def test_another_grpc_server_is_said_to_be_one() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()

    with pytest.raises(Unimplemented, match=rf"{address}.*another server.*MODELRY_TRACKING_URI"):
        Client(address).runs.get("0" * 32)

    server.stop(None).wait()


def test_loopback_calls_go_to_no_proxy(platform: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    port = platform.address.rpartition(":")[2]

    assert Client(f"localhost:{port}").experiments.get("0").experiment_id == "0"


def test_a_proxy_that_is_in_the_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{free_port()}")

    with pytest.raises(Unavailable, match=r"proxy of http_proxy.*no_proxy") as refusal:
        Client(f"tracking.example.org:{free_port()}", insecure=True).runs.get("0" * 32)

    assert "secret" not in refusal.value.message


@pytest.mark.parametrize(
    "older",
    [
        "sys.modules['google.protobuf.runtime_version'] = None",  # as of protobuf 4
        "import google.protobuf; google.protobuf.__version__ = '5.29.3'",
    ],
)
def test_a_protobuf_that_is_too_old_is_named_with_the_one_that_is_needed(older: str) -> None:
    code = f"import sys\n{older}\nimport modelry\nmodelry.start_run()"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)

    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: Modelry needs protobuf 6.31.1 or later")
    assert "pip install" in last
