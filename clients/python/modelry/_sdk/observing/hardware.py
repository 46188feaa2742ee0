"""The machine of a run: processors, memory and GPUs, and what a container leaves of them."""

from __future__ import annotations

import math
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

from modelry._sdk.observing import gpus
from modelry._sdk.observing.containers import Cgroup, usable_cpus

_GIBIBYTE = 1 << 30


def described() -> dict[str, Any]:
    """The machine as values for JSON. What a container or job may use is there only where it is less."""
    count, memory, cgroup = os.cpu_count() or 1, _memory_bytes(), Cgroup()
    found: dict[str, Any] = {"cpu": _cpu_model(), "cpus": count}
    cpus = min(cgroup.cpus(), usable_cpus())
    if cpus < count:
        found["usable_cpus"] = round(cpus, 2)
    if memory:
        found["memory_bytes"] = memory
    limit = cgroup.memory_bytes()
    if not math.isinf(limit) and (not memory or limit < memory):
        found["usable_memory_bytes"] = int(limit)
    found["gpus"] = [
        {
            **{"index": gpu.index, "vendor": gpu.vendor, "name": gpu.name, "uuid": gpu.uuid},
            **{"memory_bytes": gpu.memory_bytes, "driver": gpu.driver},
        }
        for gpu in gpus.found()
    ]
    return found


def tags(machine: dict[str, Any]) -> dict[str, str]:
    """What of a machine people search for: processor and GPU by name and number, memory in GiB, as the run may use."""
    found = {
        "modelry.hardware.cpu": machine["cpu"],
        "modelry.hardware.cpus": f"{machine.get('usable_cpus', machine['cpus']):g}",
        "modelry.hardware.gpus": str(len(machine["gpus"])),
    }
    memory = machine.get("usable_memory_bytes", machine.get("memory_bytes"))
    if memory:
        found["modelry.hardware.memory_gib"] = str(round(memory / _GIBIBYTE))
    if machine["gpus"]:
        found["modelry.hardware.gpu"] = ", ".join(dict.fromkeys(gpu["name"] for gpu in machine["gpus"]))
    return found


def _cpu_model() -> str:
    with suppress(OSError, UnicodeDecodeError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    """The memory of the machine. 0 where the system does not say."""
    with suppress(ValueError, OSError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(ImportError):
        import psutil

        return int(psutil.virtual_memory().total)
    return 0
