"""Fixtures: nobody's credentials, so that those of who runs the tests are not used, and a server that judges tokens."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelry._sdk.fluent import session
from tests.parts.deployment import Deployment, running
from tests.parts.guarded_server import GuardedServer, guarded


@pytest.fixture(scope="package")
def platform_of_tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The platform behind the servers of these tests."""
    with running("all", tmp_path_factory.mktemp("platform")) as deployment:
        yield deployment


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for settings of a user who has none, without a token in the environment, and a new process."""
    for name in ("MODELRY_TOKEN", "MODELRY_TOKEN_FILE", "MODELRY_TRACKING_URI", "MODELRY_INSECURE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MODELRY_SPOOL_DIR", str(tmp_path / "spool"))
    session.renew()
    yield tmp_path / "config"
    session.renew()


@pytest.fixture
def token() -> str:
    """A token that appears nowhere else: a canary."""
    return f"canary-{secrets.token_hex(12)}"


@pytest.fixture
def guard(platform_of_tokens: Deployment, token: str) -> Iterator[GuardedServer]:
    """A server that takes calls with the token only."""
    with guarded(platform_of_tokens.address, lambda given: given == token) as server:
        yield server
