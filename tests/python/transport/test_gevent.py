"""gRPC in programs whose threads gevent has replaced: without its way of waiting it would block for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelry import Client
from tests.parts.deployment import Deployment

_PROGRAM = """
from gevent import monkey
monkey.patch_all({parts})
import modelry
with modelry.start_run() as run:
    modelry.log_metric("loss", 1.0)
    modelry.log_text("x", "x.txt")
print(run.run_id, modelry.flush(20))
"""


@pytest.mark.parametrize("parts", ["", "thread=False"])
def test_a_program_that_gevent_has_patched_logs_as_any_other(
    client: Client, platform: Deployment, tmp_path: Path, parts: str
) -> None:
    script = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(parts=parts)],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
        env={**os.environ, "MODELRY_SPOOL_DIR": str(tmp_path / "spool")},
    )

    run_id, flushed = script.stdout.split()
    run = client.runs.get(run_id)
    assert (flushed, run.status, run.metrics) == ("True", "FINISHED", {"loss": 1.0})
    assert client.artifacts.read_bytes(f"runs/{run_id}", "x.txt") == b"x"
