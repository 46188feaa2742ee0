"""Scripts that fork, run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from modelry import Client
from tests.parts.deployment import Deployment

SCRIPT_SECONDS = 90


class Script:
    """A finished script, of which every line that it printed is an answer."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        assert done.returncode == 0, done.stderr
        self.errors = done.stderr
        self.lines = done.stdout.split("\n")[:-1]


def run(server: Deployment, spool: Path, code: str, **environment: str) -> Script:
    """Runs a script, as a user does: from a file, since `spawn` loads the file again."""
    file = spool.parent / "script.py"
    file.write_text(code)
    settings = {**os.environ, **server.environment(), "MODELRY_SPOOL_DIR": str(spool), **environment}
    # Python 3.12 warns of each fork of a process with threads.
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SCRIPT_SECONDS, env=settings, check=False)
    return Script(done)


def steps(client: Client, run_id: str) -> dict[str, list[int]]:
    """The steps of what was logged; a run on a busy machine lasts long enough for system metrics, too."""
    every = {series.key: list(series.steps) for _, series in client.metrics.read_many([run_id])}
    return {key: found for key, found in every.items() if not key.startswith("system/")}
