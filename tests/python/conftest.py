"""Fixtures: a client, and the functions that training code calls, both at work on a real platform."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

import assay
from assay import Client
from assay._sdk import session, settings
from tests.parts.deployment import Deployment


@pytest.fixture
def client(deployment: Deployment) -> Client:
    """A client of the platform."""
    return Client(deployment.address)


@pytest.fixture
def fluent(deployment: Deployment) -> Iterator[None]:
    """`assay.start_run` and its like, going to the platform; runs that a test leaves on are ended."""
    before = settings.tracking_uri(), session.registry_uri()
    assay.set_tracking_uri(deployment.address)
    assay.set_registry_uri(deployment.address)
    yield
    while assay.active_run() is not None:
        assay.end_run()
    assay.set_tracking_uri(before[0])
    assay.set_registry_uri(before[1])


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
