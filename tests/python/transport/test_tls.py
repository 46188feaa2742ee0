"""Connections with TLS: nothing is sent in plain text, and each reason why there is no connection is said in words."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import modelry
from modelry import Client
from modelry._sdk.fluent import session
from modelry._sdk.transport.connection import connect
from modelry.errors import ModelryError, Unavailable
from modelry_server.kernel.transport.tls import Files, ServerTls
from tests.parts import free_port
from tests.parts.certificates import Authority, Pair
from tests.parts.deployment import Deployment, running
from tests.server.kernel.stage import staged

FILES = ("MODELRY_CA_FILE", "MODELRY_CLIENT_CERTIFICATE_FILE", "MODELRY_CLIENT_KEY_FILE")


@pytest.fixture(autouse=True)
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*FILES, "MODELRY_INSECURE", "grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue("server")


@pytest.fixture(scope="module", params=["all", "split"])
def encrypted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Deployment]:
    """A platform whose ports have TLS."""
    with running(request.param, tmp_path_factory.mktemp("data"), authority=authority) as platform:
        yield platform


Serving = Callable[..., int]


@pytest.fixture
def serving() -> Iterator[Serving]:
    """Starts servers, by the certificate that they show and the authorities of clients; answers with the port."""
    with ExitStack() as stages:

        def start(pair: Pair | None, clients: Path | None = None) -> int:
            mtls = f"127.0.0.1:{free_port()}" if clients else ""
            tls = ServerTls(Files(pair.certificate, pair.key, clients)) if pair else None
            stage = stages.enter_context(staged(tls=tls, mtls_address=mtls))
            return stage.server.mtls_port or stage.server.port

        yield start


def refused(client: Client) -> ModelryError:
    """The error of a call that gets no connection."""
    with pytest.raises(ModelryError) as refusal:
        client.workspaces.get("default")
    assert isinstance(refusal.value, Unavailable), refusal.value
    return refusal.value


# --- what works ----------------------------------------------------------------------------------------------------


def test_calls_streams_uploads_and_runs_go_over_tls(encrypted: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in encrypted.environment().items():
        monkeypatch.setenv(key, value)
    client = Client()
    run = client.runs.create("0")
    content = os.urandom(3 << 20)

    client.artifacts.upload_bytes(f"runs/{run.run_id}", "big.bin", content)
    client.runs.log_metrics(run.run_id, {"loss": 0.5})

    assert client.artifacts.read_bytes(f"runs/{run.run_id}", "big.bin") == content
    assert list(client.metrics.read(run.run_id, "loss").values) == [0.5]
    assert client.models.create(f"model-{run.run_id}").name == f"model-{run.run_id}"  # the registry asks the others
    assert client.workspaces.get("default").name == "default"


def test_a_run_is_delivered_over_tls(encrypted: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in encrypted.environment().items():
        monkeypatch.setenv(key, value)
    session.renew()

    with modelry.start_run() as run:
        modelry.log_metric("loss", 0.25)
        modelry.log_text("hello", "note.txt")

    finished = Client().runs.get(run.run_id)
    assert (finished.status, dict(finished.metrics)) == ("FINISHED", {"loss": 0.25})
    session.renew()


def test_the_command_line_has_the_same_settings(encrypted: Deployment) -> None:
    environment = {**os.environ, **encrypted.environment()}
    command = [sys.executable, "-c", "from modelry_cli.main import main; main()", "workspace", "list"]

    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    assert "default" in done.stdout, done.stderr


def test_files_may_be_given_to_a_client(serving: Serving, authority: Authority, pair: Pair) -> None:
    own = authority.issue("trainer")
    port = serving(pair, authority.file)

    client = Client(
        f"grpcs://localhost:{port}",
        ca_file=str(authority.file),
        client_certificate_file=str(own.certificate),
        client_key_file=str(own.key),
    )

    assert client.workspaces.get("default").name == "default"


def test_a_connection_keeps_its_files_when_it_is_pickled(serving: Serving, authority: Authority, pair: Pair) -> None:
    client = Client(f"grpcs://localhost:{serving(pair)}", ca_file=str(authority.file))

    assert pickle.loads(pickle.dumps(client)).workspaces.get("default").name == "default"
    assert client._connection.apart().address.tls


def test_a_certificate_that_is_renewed_is_used_after_the_old_one_was_refused(
    serving: Serving, authority: Authority, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Authority(tmp_path / "own").issue("trainer")
    monkeypatch.setenv("MODELRY_CA_FILE", str(authority.file))
    monkeypatch.setenv("MODELRY_CLIENT_CERTIFICATE_FILE", str(old.certificate))
    monkeypatch.setenv("MODELRY_CLIENT_KEY_FILE", str(old.key))
    client = Client(f"grpcs://localhost:{serving(pair, authority.file)}")
    refused(client)

    old.replace(authority.issue("renewed"))

    refused(client)  # by the old one: the new one is seen after it
    assert client.workspaces.get("default").name == "default"


# --- O6: what is refused, and how it is said -----------------------------------------------------------------------


def test_o06_a_client_without_tls_is_told_that_the_server_needs_it(serving: Serving, pair: Pair) -> None:
    port = serving(pair)

    error = refused(Client(f"grpc://localhost:{port}"))

    assert error.reason == "TLS_REQUIRED"
    assert f"the server needs TLS; write grpcs://localhost:{port} in MODELRY_TRACKING_URI" in error.message


@pytest.mark.parametrize("insecure", [None, True])
def test_o06_a_client_with_tls_sends_no_plain_text_to_a_server_without_it(
    serving: Serving, authority: Authority, insecure: bool | None
) -> None:
    port = serving(None)

    error = refused(Client(f"grpcs://localhost:{port}", ca_file=str(authority.file), insecure=insecure))

    assert error.reason == "TLS_NOT_SPOKEN"
    assert "has no TLS, and nothing was sent in plain text" in error.message


@pytest.mark.parametrize("address", ["grpc://{}:1", "{}:1", "dns:///{}:1", "grpcs://{}:1", "grpcs://localhost:1"])
def test_o06_other_machines_get_tls_whatever_the_address(address: str) -> None:
    assert not connect(address.format("tracking.example.org"))._plain


def test_o06_a_wrong_name_is_said(serving: Serving, authority: Authority) -> None:
    port = serving(authority.issue("elsewhere", hosts=("other.example.org",)))

    error = refused(Client(f"grpcs://localhost:{port}", ca_file=str(authority.file)))

    assert error.reason == "TLS_WRONG_NAME"
    assert "the certificate of the server has the wrong name: it is not for 'localhost'" in error.message


def test_o06_an_expired_certificate_is_said(serving: Serving, authority: Authority) -> None:
    port = serving(authority.issue("expired", ends=datetime.now(UTC) - timedelta(days=1)))

    error = refused(Client(f"grpcs://localhost:{port}", ca_file=str(authority.file)))

    assert error.reason == "TLS_CERTIFICATE_EXPIRED"
    assert "the certificate of the server has expired" in error.message


@pytest.mark.parametrize("same_name", [True, False])
def test_o06_an_unknown_authority_is_said(
    serving: Serving, authority: Authority, pair: Pair, tmp_path: Path, same_name: bool
) -> None:
    other = Authority(tmp_path / "other", **({} if same_name else {"name": "Another authority"}))
    port = serving(pair)

    error = refused(Client(f"grpcs://localhost:{port}", ca_file=str(other.file)))

    assert error.reason == "TLS_UNKNOWN_AUTHORITY"
    assert f"from an unknown authority, not one of {str(other.file)!r}; set MODELRY_CA_FILE" in error.message


def test_o06_without_a_file_the_authorities_of_the_system_are_known(serving: Serving, pair: Pair) -> None:
    error = refused(Client(f"grpcs://localhost:{serving(pair)}"))

    assert error.reason == "TLS_UNKNOWN_AUTHORITY"
    assert "not one of the authorities that this machine trusts" in error.message


def test_o06_a_client_without_a_certificate_is_told_that_the_server_asks_for_one(
    serving: Serving, authority: Authority, pair: Pair
) -> None:
    error = refused(Client(f"grpcs://localhost:{serving(pair, authority.file)}", ca_file=str(authority.file)))

    assert error.reason == "TLS_CLIENT_CERTIFICATE_MISSING"
    assert "set MODELRY_CLIENT_CERTIFICATE_FILE and MODELRY_CLIENT_KEY_FILE" in error.message


@pytest.mark.parametrize("kind", ["other", "expired"])
def test_o06_a_client_whose_certificate_is_refused_is_told_so(
    serving: Serving, authority: Authority, pair: Pair, tmp_path: Path, kind: str
) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    issuing = Authority(tmp_path / "other", "Another authority") if kind == "other" else authority
    own = issuing.issue("trainer", ends=yesterday if kind == "expired" else None)
    port = serving(pair, authority.file)

    error = refused(
        Client(
            f"grpcs://localhost:{port}",
            ca_file=str(authority.file),
            client_certificate_file=str(own.certificate),
            client_key_file=str(own.key),
        )
    )

    assert error.reason == "TLS_CLIENT_CERTIFICATE_REFUSED"
    assert "refuses the certificate of MODELRY_CLIENT_CERTIFICATE_FILE" in error.message


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "content", "said"),
    [
        ("MODELRY_CA_FILE", None, "can't be read: No such file"),
        ("MODELRY_CA_FILE", b"", "must have the certificates of authorities, as PEM"),
        ("MODELRY_CA_FILE", b"no certificate", "must have the certificates of authorities, as PEM"),
        ("MODELRY_CLIENT_CERTIFICATE_FILE", None, "can't be read: No such file"),
        ("MODELRY_CLIENT_CERTIFICATE_FILE", b"no certificate", "must have a certificate, and '.*trainer.key' its key"),
        ("MODELRY_CLIENT_KEY_FILE", None, "can't be read: No such file"),
        ("MODELRY_CLIENT_KEY_FILE", b"no key", "must have a certificate, and '.*' its key"),
        ("MODELRY_CLIENT_KEY_FILE", b"other", "is not the key of the certificate in '.*trainer.pem'"),
    ],
)
def test_a_file_that_cant_be_used_is_named_and_nothing_is_sent(
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    content: bytes | None,
    said: str,
) -> None:
    own = authority.issue("trainer")
    wrong = tmp_path / "wrong.pem"
    if content is not None:
        wrong.write_bytes(authority.issue("other").key.read_bytes() if content == b"other" else content)
    files = dict(zip(FILES, (authority.file, own.certificate, own.key), strict=True)) | {variable: wrong}
    for name, file in files.items():
        monkeypatch.setenv(name, str(file))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)

        with pytest.raises(Unavailable, match=said) as refusal:
            Client(f"grpcs://localhost:{listener.getsockname()[1]}").workspaces.get("default")

        with pytest.raises(BlockingIOError):
            listener.accept()
    assert refusal.value.reason == "TLS_FILE_UNUSABLE"
    assert "PRIVATE" not in refusal.value.message


@pytest.mark.parametrize("variable", FILES[1:])
def test_a_certificate_and_its_key_need_each_other(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    own = authority.issue("trainer")
    monkeypatch.setenv(variable, str(own.key if "KEY" in variable else own.certificate))
    [other] = {*FILES[1:]} - {variable}

    with pytest.raises(Unavailable, match=f"{variable}='.*': the file needs {other}, too"):
        Client("grpcs://localhost:1").workspaces.get("default")


# --- looking at a server -------------------------------------------------------------------------------------------


def test_a_look_at_a_server_that_says_nothing_is_short(authority: Authority) -> None:
    """A server that takes connections, answers the first by closing it, and the others by nothing."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        held: list[socket.socket] = []

        def answer() -> None:
            while True:
                try:
                    connection, _ = mute.accept()
                except OSError:
                    return
                if connection.recv(5, socket.MSG_PEEK)[:1] == b"P":  # HTTP/2 in plain text begins so
                    connection.close()
                else:
                    held.append(connection)

        threading.Thread(target=answer, daemon=True).start()
        client = Client(f"127.0.0.1:{mute.getsockname()[1]}")
        refused(client)
        again = time.monotonic()
        error = refused(client)
        took = time.monotonic() - again
        mute.shutdown(socket.SHUT_RDWR)
    for each in held:
        with closing(each):
            sent = each.recv(1 << 16)
            assert sent[:1] == b"\x16"  # a handshake, and nothing else
            assert len(sent) == 5 + int.from_bytes(sent[3:5], "big")

    assert len(held) == 1  # it does not look again for ten seconds
    assert "something there ended the connection" in error.message
    assert took < 2
