"""Where the token of a call comes from, and where it goes."""

from __future__ import annotations

import copy
import logging
import os
import pickle
from pathlib import Path

import grpc
import pytest

import modelry
from modelry import Client
from modelry._sdk.credentials.tokens import LONGEST, Token
from modelry.errors import CredentialInvalid, InvalidArgument, PermissionMissing, Unauthenticated
from tests.parts import free_port
from tests.parts.guarded_server import GuardedServer


def used(guard: GuardedServer) -> set[str]:
    return {given.removeprefix("Bearer ") for _, given in guard.seen}


def test_each_source_gives_the_token_and_the_first_one_counts(
    guard: GuardedServer, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(f"{token}\n")

    monkeypatch.setenv("MODELRY_TOKEN_FILE", str(tmp_path / "token"))
    Client(guard.address).experiments.get("0")
    (tmp_path / "token").write_text("wrong")
    monkeypatch.setenv("MODELRY_TOKEN", token)
    Client(guard.address).experiments.get("0")
    monkeypatch.setenv("MODELRY_TOKEN", "wrong")
    Client(guard.address, token=token).experiments.get("0")
    modelry.set_tracking_uri(guard.address, token=token)
    Client(guard.address).experiments.get("0")

    assert used(guard) == {token}


def test_each_kind_of_call_has_the_token(guard: GuardedServer, token: str, tmp_path: Path) -> None:
    modelry.set_tracking_uri(guard.address, token=token)
    client = Client(guard.address)
    (tmp_path / "a.txt").write_text("content")

    with modelry.start_run() as run:
        modelry.log_metric("loss", 0.5)
        modelry.log_text("later", "later.txt")
    modelry.flush()
    client.artifacts.upload(f"runs/{run.id}", str(tmp_path / "a.txt"))
    client.artifacts.download(f"runs/{run.id}", "a.txt", str(tmp_path / "down"))
    client.metrics.read(run.id, "loss")

    assert used(guard) == {token}
    names = {path.rpartition("/")[2] for path, _ in guard.seen}
    assert names >= {"CreateRun", "WriteMetrics", "WriteArtifacts", "ReadArtifacts", "ReadMetrics", "LogHeartbeats"}


def test_without_a_token_nothing_is_sent_and_a_refusal_says_what_to_do(guard: GuardedServer) -> None:
    with pytest.raises(Unauthenticated, match=f"modelry login --server {guard.address}") as raised:
        Client(guard.address).experiments.get("0")

    assert "MODELRY_TOKEN" in raised.value.message
    assert used(guard) == {""}


def test_a_refused_token_is_named_by_its_source_and_never_shown(
    guard: GuardedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELRY_TOKEN", "canary-of-nobody")

    with pytest.raises(CredentialInvalid, match="the token of MODELRY_TOKEN is refused; set MODELRY_TOKEN") as raised:
        Client(guard.address).experiments.get("0")

    assert "canary" not in repr(raised.value) + str(raised.value.metadata)
    assert len(guard.seen) == 1


def test_a14_a_server_that_quotes_the_token_does_not_get_it_into_a_message(guard: GuardedServer, token: str) -> None:
    guard.rule, guard.says = (lambda method, request: grpc.StatusCode.INVALID_ARGUMENT), f"what is {token}?"

    with pytest.raises(InvalidArgument, match=r"what is \*\*\*\?") as raised:
        Client(guard.address, token=token).experiments.get("0")

    assert token not in str(raised.value)


def test_a_missing_permission_says_which_token_was_used(guard: GuardedServer, token: str) -> None:
    guard.denies = True

    with pytest.raises(PermissionMissing, match="called with the token that the program gave"):
        Client(guard.address, token=token).experiments.get("0")


@pytest.mark.parametrize("insecure", [None, True])
def test_o06_a_token_never_goes_over_plain_text_to_another_machine(
    insecure: bool | None, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if insecure is None:
        monkeypatch.setenv("MODELRY_INSECURE", "1")
    client = Client(f"192.0.2.1:{free_port()}", token=token, insecure=insecure)

    with pytest.raises(Unauthenticated, match="without TLS") as raised:
        client.experiments.get("0")

    assert raised.value.reason == "TOKEN_NOT_SENT"
    assert token not in raised.value.message


def test_o06_a_token_goes_to_a_socket_of_this_machine_in_plain_text() -> None:
    connection = Client("unix:///tmp/modelry-nobody.sock", token="t")._connection

    assert connection._signing.token() == Token("t", "that the program gave", "give it another one")


def test_o07_the_token_of_the_environment_goes_to_the_server_of_the_environment_only(
    guard: GuardedServer, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELRY_TRACKING_URI", "grpc://127.0.0.1:1")
    monkeypatch.setenv("MODELRY_TOKEN", token)

    with pytest.raises(Unauthenticated, match=r"of MODELRY_TOKEN was not sent.*it is for grpc://127.0.0.1:1"):
        Client(guard.address).experiments.get("0")
    monkeypatch.setenv("MODELRY_TRACKING_URI", guard.address)
    Client(guard.address).experiments.get("0")

    assert [given for _, given in guard.seen] == ["", f"Bearer {token}"]


def test_o07_a_spool_that_names_another_server_gets_no_token(
    guard: GuardedServer, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELRY_START_TIMEOUT", "1s")
    modelry.set_tracking_uri(guard.address)
    with modelry.start_run():
        modelry.log_metric("m", 1.0)
    modelry._sdk.fluent.session.renew()  # type: ignore[attr-defined]
    monkeypatch.setenv("MODELRY_TOKEN", token)

    left = modelry.sync()
    given_before = used(guard)
    report = modelry.sync(guard.address)

    assert left.files_left == 1
    assert "MODELRY_TRACKING_URI" in left.problems[0]
    assert given_before == {""}
    assert (report.files_left, report.points_delivered) == (0, 1)


def test_services_with_an_address_of_their_own_get_the_token_of_the_environment(
    guard: GuardedServer, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELRY_TRACKING_URI", "127.0.0.1:1")
    monkeypatch.setenv("MODELRY_REGISTRY_URI", guard.address)
    monkeypatch.setenv("MODELRY_TOKEN", token)

    list(Client().models.search())
    list(Client(guard.address).models.search())

    assert used(guard) == {token}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("two words", "has a space"),
        ("line\nbreak", "a line break"),
        ("schlüssel", "not ASCII"),
        ("Bearer abc", "give the token alone"),
        ("x" * (LONGEST + 1), f"at most {LONGEST}"),
    ],
)
def test_what_can_not_be_a_token_is_refused_and_not_shown(
    text: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: GuardedServer
) -> None:
    with pytest.raises(InvalidArgument, match=why) as of_argument:
        Client(guard.address, token=text)
    with pytest.raises(InvalidArgument, match=why):
        modelry.set_tracking_uri(guard.address, token=text)
    (tmp_path / "token").write_text(text)
    monkeypatch.setenv("MODELRY_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(Unauthenticated, match=why) as of_file:
        Client(guard.address).experiments.get("0")

    assert of_file.value.reason == "TOKEN_NOT_SENT"
    assert guard.seen == []
    assert not text or text not in of_argument.value.message + of_file.value.message


def test_a_variable_that_can_not_be_a_token_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELRY_TOKEN", "two words")

    with pytest.raises(InvalidArgument, match="MODELRY_TOKEN has a space"):
        Client()


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_a_token_file_that_is_none_is_an_error_that_names_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: GuardedServer
) -> None:
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    monkeypatch.setenv("MODELRY_TOKEN_FILE", str(path))

    with pytest.raises(Unauthenticated, match=f"MODELRY_TOKEN_FILE={path}"):
        Client(guard.address).experiments.get("0")

    assert guard.seen == []


def test_neither_a_pickle_nor_a_repr_holds_the_token(
    guard: GuardedServer, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELRY_TOKEN", token)
    client = Client(guard.address, token=token)
    client.experiments.get("0")

    pickled = pickle.dumps(client)
    monkeypatch.delenv("MODELRY_TOKEN")

    assert token.encode() not in pickled
    assert token not in repr(client) + repr(client._connection) + repr(client._connection._signing.token())
    with pytest.raises(TypeError, match="can't be pickled"):
        copy.copy(client._connection._signing.token())
    with pytest.raises(Unauthenticated):
        pickle.loads(pickled).experiments.get("0")
    monkeypatch.setenv("MODELRY_TOKEN", token)
    assert pickle.loads(pickled).experiments.get("0").experiment_id == "0"


def test_a_token_that_was_refused_is_looked_for_once_more(
    guard: GuardedServer, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "token"
    path.write_text("x" * len(token))
    seen = path.stat()
    monkeypatch.setenv("MODELRY_TOKEN_FILE", str(path))
    client = Client(guard.address)
    with pytest.raises(Unauthenticated):
        client.experiments.get("0")
    path.write_text(token)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))  # as on a file system with coarse times

    with caplog.at_level(logging.DEBUG):
        client.experiments.get("0")
    path.write_text("")

    assert client.experiments.get("0").experiment_id == "0"
    assert token not in caplog.text
