"""Tokens that are rotated while a run logs: nothing is lost, and it is warned of once."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelry
from modelry import Client
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually
from tests.parts.guarded_server import GuardedServer, guarded


class Rotating:
    """A token file whose writer gives out a new token now and then. Only the newest is valid."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        self.write()

    @property
    def valid(self) -> str:
        return f"canary-token-{self.number}"

    def expire(self) -> None:
        """Makes the token in the file invalid, before there is another one."""
        self.number += 1

    def write(self) -> None:
        """Puts the new token into the file's place."""
        made = self.path.with_name("new")
        made.write_text(self.valid)
        os.replace(made, self.path)


@pytest.fixture
def rotating(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rotating:
    monkeypatch.setenv("MODELRY_TOKEN_FILE", str(tmp_path / "token"))
    return Rotating(tmp_path / "token")


@pytest.fixture
def judge(platform_of_tokens: Deployment, rotating: Rotating) -> Iterator[GuardedServer]:
    with guarded(platform_of_tokens.address, lambda given: given == rotating.valid) as server:
        yield server


def spooled(folder: Path) -> str:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return "".join(path.read_bytes().decode("latin-1") for path in files)


def test_a_token_that_is_rotated_again_and_again_loses_no_point(
    judge: GuardedServer, rotating: Rotating, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    modelry.set_tracking_uri(judge.address)
    step = 0

    with modelry.start_run() as run:
        for rotation in range(15):
            rotating.expire()
            if rotation % 3:  # else the new one is there before anything is sent
                calls = len(judge.seen)
                modelry.log_metric("loss", 1.0, step=(step := step + 1))
                eventually(lambda calls=calls: len(judge.seen) > calls)  # type: ignore[misc]
            assert "canary" not in spooled(tmp_path / "spool")
            rotating.write()
            for _ in range(100):
                modelry.log_metric("loss", 1.0, step=(step := step + 1))
        assert modelry.flush(30)

    reader = Client(judge.address)
    assert list(reader.metrics.read(run.id, "loss").steps) == list(range(1, step + 1))
    warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert all("is refused" in record.getMessage() for record in warned)
    assert len(warned) <= 10  # one for each time without a valid token
    assert "canary" not in caplog.text


def test_a_new_token_that_is_there_in_time_is_taken_without_a_warning(
    judge: GuardedServer, rotating: Rotating, caplog: pytest.LogCaptureFixture
) -> None:
    modelry.set_tracking_uri(judge.address)

    with modelry.start_run() as run:
        for step in range(10):
            rotating.expire()
            rotating.write()
            modelry.log_metric("loss", 1.0, step=step)
            assert modelry.flush(30)

    assert len(Client(judge.address).metrics.read(run.id, "loss").steps) == 10
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_token_that_expires_in_the_middle_of_an_upload_has_it_sent_again(
    judge: GuardedServer, rotating: Rotating, tmp_path: Path
) -> None:
    client = Client(judge.address)
    run_id = client.runs.create("0").run_id
    (tmp_path / "large").write_bytes(os.urandom(5 << 20))
    judged: list[str] = []

    def expires(given: str) -> bool:
        judged.append(given)
        if len(judged) == 2:
            rotating.expire()
            rotating.write()
        return given == rotating.valid

    judge.is_valid, judge.pieces = expires, 4
    client.artifacts.upload(f"runs/{run_id}", str(tmp_path / "large"))
    client.artifacts.download(f"runs/{run_id}", "large", str(tmp_path / "down"))

    assert judged[:3] == ["canary-token-0", "canary-token-0", "canary-token-1"]
    downloaded = next(path for path in (tmp_path / "down").rglob("*") if path.is_file())
    assert downloaded.read_bytes() == (tmp_path / "large").read_bytes()


def test_a_run_without_a_token_is_kept_and_sent_when_there_is_one(
    guard: GuardedServer, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    modelry.set_tracking_uri(guard.address)

    with modelry.start_run() as run:
        modelry.log_metric("loss", 1.0)
        modelry.log_text("text", "a.txt")
        assert not modelry.flush(0.5)
        monkeypatch.setenv("MODELRY_TOKEN", token)
        assert modelry.flush(30)

    assert len(Client(guard.address).metrics.read(run.id, "loss").steps) == 1
    assert [each.path for each in Client(guard.address).artifacts.list(f"runs/{run.id}")] == ["a.txt"]
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warned) == 1
    assert "modelry login" in warned[0]
    assert token not in caplog.text + spooled(tmp_path / "spool")


def test_what_a_missing_permission_refuses_is_kept(
    guard: GuardedServer, token: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELRY_TRACKING_URI", guard.address)
    monkeypatch.setenv("MODELRY_TOKEN", token)
    modelry._sdk.fluent.session.renew()  # type: ignore[attr-defined]

    with modelry.start_run() as run:
        guard.denies = True
        modelry.log_metric("loss", 1.0)
        modelry.log_param("lr", 0.1)
        assert not modelry.flush(1)
    modelry._sdk.fluent.session.renew()  # type: ignore[attr-defined]
    guard.denies = False
    report = modelry.sync()

    assert (report.requests_left, report.requests_refused) == (0, 0)
    assert len(Client(guard.address).metrics.read(run.id, "loss").steps) == 1
    assert Client(guard.address).runs.get(run.id).params["lr"] == "0.1"
