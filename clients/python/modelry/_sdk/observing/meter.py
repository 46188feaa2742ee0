"""Reads what the machine and this process use at present. The names are MLflow's where MLflow has the metric."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from modelry._sdk.observing import gpus
from modelry._sdk.observing.containers import Cgroup
from modelry._sdk.observing.drivers import Driver
from modelry._sdk.observing.gpus import MEGABYTE

Reads = Callable[[], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read at one time: values, and totals that only grow and of which a run has the difference."""

    of_node: dict[str, float]
    of_process: dict[str, float]
    totals: dict[str, float]


class Meter:
    """Reads the metrics of this machine and this process. Made and used by one thread.

    `seen` are its GPUs, by default those that are found. Raises ImportError without psutil.
    """

    def __init__(self, seen: list[gpus.Gpu] | None = None) -> None:
        import psutil

        self._psutil = psutil
        self._process = psutil.Process()
        self._cgroup = Cgroup()
        self._memory_limit = self._cgroup.memory_bytes()
        self._gpus = gpus.found() if seen is None else seen
        self._drivers = {gpu.vendor: Driver[dict[str, float]](gpu.vendor.lower()) for gpu in self._gpus}
        psutil.cpu_percent()  # The first call of these two begins their period.
        self._process.cpu_percent()

    def read(self, *, all_gpus: bool = False) -> Reading:
        """Reads everything that can be read in time. The GPUs are `all_gpus` or those that are visible here."""
        shown = self._gpus if all_gpus else gpus.visible(self._gpus)
        of_node = _read(self._cpu, self._memory, self._disk)
        for vendor, driver in self._drivers.items():
            of_vendor = [gpu for gpu in shown if gpu.vendor == vendor]
            of_node.update((of_vendor and driver.ask(partial(_of_gpus, of_vendor))) or {})
        return Reading(of_node=of_node, of_process=_read(self._process_cpu, self._process_memory), totals=self.totals())

    def totals(self) -> dict[str, float]:
        """What was read, written, received and sent since the machine started, in megabytes (10⁶ bytes)."""
        return _read(self._disk_traffic, self._network_traffic)

    def _cpu(self) -> dict[str, float]:
        return {"cpu_utilization_percentage": self._psutil.cpu_percent()}

    def _memory(self) -> dict[str, float]:
        """Of the container, where it may use less than the machine has."""
        memory = self._psutil.virtual_memory()
        used, total = float(memory.used), float(memory.total)
        if self._memory_limit < total:
            used, total = self._cgroup.memory_used_bytes(), self._memory_limit
        return {
            "system_memory_usage_megabytes": used / MEGABYTE,
            "system_memory_usage_percentage": 100 * used / total,
        }

    def _disk(self) -> dict[str, float]:
        """Of the disk with the working folder."""
        disk = self._psutil.disk_usage(os.getcwd())
        return {
            "disk_usage_percentage": disk.percent,
            "disk_usage_megabytes": disk.used / MEGABYTE,
            "disk_available_megabytes": disk.free / MEGABYTE,
        }

    def _process_cpu(self) -> dict[str, float]:
        return {"process_cpu_utilization_percentage": self._process.cpu_percent()}

    def _process_memory(self) -> dict[str, float]:
        return {"process_memory_usage_megabytes": self._process.memory_info().rss / MEGABYTE}

    def _disk_traffic(self) -> dict[str, float]:
        traffic = self._psutil.disk_io_counters()
        if traffic is None:
            return {}
        return {
            "disk_read_megabytes": traffic.read_bytes / MEGABYTE,
            "disk_write_megabytes": traffic.write_bytes / MEGABYTE,
        }

    def _network_traffic(self) -> dict[str, float]:
        traffic = self._psutil.net_io_counters()
        return {
            "network_receive_megabytes": traffic.bytes_recv / MEGABYTE,
            "network_transmit_megabytes": traffic.bytes_sent / MEGABYTE,
        }


def _read(*parts: Reads) -> dict[str, float]:
    """What the parts read, without those that fail, as with files that a container hides."""
    values: dict[str, float] = {}
    for part in parts:
        with suppress(Exception):
            values.update(part())
    return values


def _of_gpus(shown: list[gpus.Gpu]) -> dict[str, float]:
    values: dict[str, float] = {}
    for gpu in shown:
        prefix = f"gpu_{gpu.index}_" if gpu.vendor == "NVIDIA" else f"amd_gpu_{gpu.index}_"
        values |= {prefix + name: value for name, value in gpu.sample().items()}
    return values
