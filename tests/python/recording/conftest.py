"""Fixtures: a server that a test may kill, and a spool and a state of the process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelry._sdk.fluent import session
from tests.parts.deployment import Deployment, running


@pytest.fixture
def own_on_sqlite(tmp_path: Path) -> Iterator[Deployment]:
    with running("all", tmp_path / "own") as deployment:
        yield deployment


@pytest.fixture(autouse=True)
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "spool"
    monkeypatch.setenv("MODELRY_SPOOL_DIR", str(folder))
    session.renew()
    yield folder
    session.renew()
