"""The command line against the real platform, in this process."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from modelry import Client
from modelry_cli.tree import app
from tests.parts.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document that it wrote."""
        return json.loads(self.out)


Modelry = Callable[..., Answer]


@pytest.fixture
def modelry(deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Modelry:
    """Runs a command against the platform; words are its arguments."""
    for name, value in {**deployment.environment(), "MODELRY_SPOOL_DIR": str(tmp_path / "spool")}.items():
        monkeypatch.setenv(name, value)

    def run(*words: object) -> Answer:
        result = CliRunner().invoke(app, [str(word) for word in words], prog_name="modelry")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def read(modelry: Modelry) -> Callable[..., Any]:
    """Runs a command that must succeed, and answers with its JSON."""

    def run(*words: object) -> Any:
        answer = modelry(*words, "--output", "json")
        assert answer.code == 0, answer.err
        return answer.document

    return run


@pytest.fixture
def client(modelry: Modelry, deployment: Deployment) -> Client:
    """The SDK's client of the same platform, for what a test needs beforehand."""
    return Client(deployment.address)


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"cli-{uuid.uuid4().hex[:12]}"
