"""What tests of the recorder need: a server that they may kill, and scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import modelry
from modelry import Client
from modelry._sdk.recording.attempts import ORIGIN
from modelry._sdk.transport.connection import connect
from tests.parts.deployment import Deployment

PATIENCE_S = 30.0


def use(deployment: Deployment) -> Client:
    modelry.set_tracking_uri(deployment.address)
    return Client()


def start_again(deployment: Deployment) -> None:
    """Starts the platform; this process, which saw it away, looks for it at once, also if it delivers a spool."""
    deployment.start()
    connect(deployment.address).close()
    connect(deployment.address, origin=ORIGIN).close()


def run_script(code: str, address: str, spool: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "MODELRY_TRACKING_URI": address, "MODELRY_SPOOL_DIR": str(spool), **environment}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=settings, check=False
    )


def leave(copies: Path) -> None:
    """Makes copies of files look as if the process that made them had ended."""
    target = copies / "target.json"
    target.write_text(target.read_text().replace(f'"{os.getpid()}"', '"0"'))
