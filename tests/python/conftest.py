"""Fixtures: a client, and the functions that training code calls, both at work on a real platform."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import modelry
from modelry import Client
from modelry._sdk.fluent import session
from tests.parts.deployment import Deployment


@pytest.fixture(scope="session", autouse=True)
def spool_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where what is logged is kept while no server answers: not in the home of who runs the tests."""
    folder = tmp_path_factory.mktemp("spool")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELRY_SPOOL_DIR", str(folder))
        yield folder


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where it is ignored, as in what a shell runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def platform(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """The platform, where the environment says that it is."""
    for key, value in deployment.environment().items():
        monkeypatch.setenv(key, value)
    return deployment


@pytest.fixture
def client(platform: Deployment) -> Client:
    """A client of the platform."""
    return Client(platform.address)


@pytest.fixture
def fluent(platform: Deployment) -> Iterator[None]:
    """`modelry.start_run` and its like, going to the platform, with the state of a new process."""
    session.renew()
    modelry.set_tracking_uri(platform.address)
    yield
    while modelry.active_run() is not None:
        modelry.end_run()
    session.renew()


@pytest.fixture
def unique() -> str:
    """A word that no other test uses."""
    return uuid.uuid4().hex[:12]


@pytest.fixture
def a_run(client: Client) -> Callable[..., str]:
    """Makes a run that holds files, given by path and content; answers with its id."""

    def make(**files: bytes) -> str:
        run_id = client.runs.create("0").run_id
        for name, content in (files or {"model": b"weights"}).items():
            client.artifacts.upload_bytes(f"runs/{run_id}", f"model/{name}", content)
        return run_id

    return make
