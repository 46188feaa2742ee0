"""Which process writes a file of the spool, and whether it may still be at work.

A lock says so where it works. Some file systems have no locks, and those of others hold on one machine only. So a file
also names its process, and a process on another machine shows by the file's time that it is at work.
"""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

BEAT_SECONDS = 20.0
"""How often a process sets the time of its files."""
SILENT_SECONDS = 120.0
"""After so long without that, a process on another machine counts as ended."""


def me() -> dict[str, str]:
    """Names this process: host, machine (one boot and one space of process numbers), number, and start."""
    process = str(os.getpid())
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "process": process,
        "started": _started(process) or "",
    }


def name_of(holder: Mapping[str, str]) -> str:
    """Names a process, other than any that had its number before or on another machine.

    A file may name it as the `writer` of what another process has moved to it.
    """
    return holder.get("writer") or " ".join(holder.get(key, "") for key in ("host", "machine", "process", "started"))


def may_be_at_work(holder: Mapping[str, str], file: Path) -> bool:
    """Whether the process that writes a file may still do so."""
    if (holder.get("host"), holder.get("machine")) != (socket.gethostname(), _machine()):
        return _age(file) < SILENT_SECONDS
    started = _started(holder.get("process", ""))
    return started is not None and started == holder.get("started", started)


def _machine() -> str:
    """Names one boot of a machine and one space of process numbers. Empty where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(process: str) -> str | None:
    """When a process started; empty if the system does not tell, None if there is no such process any more."""
    if not process.isdecimal():
        return None
    try:
        fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else fields[19].decode()
    except (OSError, IndexError):
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return None
    except OSError:
        return ""
    return ""


def _age(file: Path) -> float:
    """How many seconds ago the time of a file was set, by the clock of its file system."""
    now = time.time()
    with suppress(OSError), tempfile.TemporaryFile(dir=file.parent) as probe:
        now = os.fstat(probe.fileno()).st_mtime
    try:
        return now - os.stat(file).st_mtime
    except OSError:
        return 0.0
