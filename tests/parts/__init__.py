"""Real parts for tests: each module finds or starts one, in the order that its docstring says."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import socket
import subprocess

# Below the ports that systems give to outgoing connections: one of those may be taken at any moment.
_PORTS = range(12_000, 32_000)
_candidates = itertools.islice(itertools.cycle(_PORTS), random.SystemRandom().randrange(len(_PORTS)), None)


class PartMissing(Exception):
    """A part is neither running nor can it be started here. The message says what to install."""


def docker_answers() -> bool:
    """Whether containers can be started here."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=20).returncode == 0


def free_port() -> int:
    """A port of the loopback address on which nothing listens now, and that no other call gives soon.

    Each process begins elsewhere, since tests run in several processes at once.
    """
    for _ in _PORTS:
        port = next(_candidates)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise PartMissing(f"none of the ports {_PORTS.start} to {_PORTS.stop - 1} is free")


def in_ci() -> bool:
    """Whether a missing part is a failure rather than a reason to skip."""
    return os.environ.get("CI", "").lower() in {"1", "true"}
