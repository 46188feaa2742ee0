"""What the container or job of this process may use, where that is less than the machine has: cgroups of Linux."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
_NO_LIMIT = 1 << 60
"""Version 1 writes a number near 2⁶³ where there is no limit."""


class Cgroup:
    """The limits of this process's group and of those above it, of version 2 or 1."""

    def __init__(self, root: Path = ROOT, own: Path = OWN) -> None:
        self._root = root
        self._paths = _paths_in(own)
        self._memory_folder: Path | None = None

    def cpus(self) -> float:
        """How many processors it may use, in fractions. Infinite without a limit."""
        limits = []
        for folder in self._folders(""):
            quota, _, period = _line(folder / "cpu.max").partition(" ")
            limits.append((quota, period))
        for folder in self._folders("cpu"):
            limits.append((_line(folder / "cpu.cfs_quota_us"), _line(folder / "cpu.cfs_period_us")))
        return min(
            (int(quota) / int(period) for quota, period in limits if _both_count(quota, period)), default=math.inf
        )

    def memory_bytes(self) -> float:
        """How much memory it may use. Infinite without a limit."""
        lowest = math.inf
        for name, controller in (("memory.max", ""), ("memory.limit_in_bytes", "memory")):
            for folder in self._folders(controller):
                limit = _line(folder / name)
                if limit.isdecimal() and int(limit) < min(lowest, _NO_LIMIT):
                    lowest, self._memory_folder = int(limit), folder
        return lowest

    def memory_used_bytes(self) -> float:
        """How much the group with the lowest limit uses, without files that the system may drop from memory.

        Raises ValueError where that is not known.
        """
        if self._memory_folder is None:
            raise ValueError("there is no limit of memory")
        used = _line(self._memory_folder / "memory.current") or _line(self._memory_folder / "memory.usage_in_bytes")
        pairs = (line.split() for line in _text(self._memory_folder / "memory.stat").splitlines())
        stat = {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
        return int(used) - stat.get("total_inactive_file", stat.get("inactive_file", 0))

    def _folders(self, controller: str) -> Iterator[Path]:
        """The folders of this process's group and those above it. In a container the root is often its own."""
        root = self._root / controller if controller else self._root
        path = self._paths.get(controller, "/").strip("/")
        parts = path.split("/") if path else []
        for count in range(len(parts), -1, -1):
            folder = root.joinpath(*parts[:count])
            if folder.is_dir():
                yield folder


def usable_cpus() -> int:
    """The number of processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _paths_in(own: Path) -> dict[str, str]:
    """The path of the process's group by controller; that of version 2 is ''."""
    found = {}
    for line in _text(own).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _both_count(quota: str, period: str) -> bool:
    return quota.isdecimal() and period.isdecimal() and int(period) > 0


def _line(file: Path) -> str:
    return _text(file).strip()


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
