"""Real parts for tests: each module finds or starts one, in the order that its docstring says."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess


class PartMissing(Exception):
    """A part is neither running nor can it be started here. The message says what to install."""


def docker_answers() -> bool:
    """Whether containers can be started here."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=20).returncode == 0


def free_port() -> int:
    """A port of the loopback address on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def in_ci() -> bool:
    """Whether a missing part is a failure rather than a reason to skip."""
    return os.environ.get("CI", "").lower() in {"1", "true"}
