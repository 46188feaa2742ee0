"""The GPUs of this machine: NVIDIA's by the library NVML, AMD's by the files of its driver."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from modelry._sdk.observing.drivers import Driver

log = logging.getLogger("modelry")

DRM = Path("/sys/class/drm")
"""Where the drivers of Linux show their graphics cards."""
_AMD = "0x1002"
_FIRST_SECONDS = 15.0
"""How long a driver may take to begin, as that of NVIDIA does where nothing has used it yet."""
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU.

    `index` is that of the driver, as in `nvidia-smi`, and `memory_bytes` is 0 if it is not known. `quantities` has a
    function for each metric that it may have, by the end of its name; one that the GPU does not have raises.
    """

    index: int
    vendor: str
    name: str
    uuid: str
    memory_bytes: int
    driver: str
    quantities: Mapping[str, Callable[[], float]]

    def sample(self) -> dict[str, float]:
        """The present values of its metrics: percentage, megabytes (10⁶ bytes), watts, °C. Raises nothing."""
        values = {}
        for name, read in self.quantities.items():
            with suppress(Exception):  # NVML has an error for each thing that a GPU or its driver can't do.
                values[name] = read()
        return values


def found(drm: Path = DRM) -> list[Gpu]:
    """The GPUs of this machine, as far as their drivers tell of them in time. Raises nothing."""
    looks: dict[str, Callable[[], Iterator[Gpu]]] = {"nvidia": _nvidia, "amd": lambda: _amd(drm)}
    return [
        gpu
        for name, look in looks.items()
        for gpu in Driver[list[Gpu]](name).ask(partial(_seen, look), seconds=_FIRST_SECONDS) or ()
    ]


def _seen(look: Callable[[], Iterator[Gpu]]) -> list[Gpu]:
    gpus: list[Gpu] = []
    try:
        gpus.extend(look())
    except Exception as problem:  # no such library, no driver, or one that has failed
        log.debug("no GPUs are seen: %s: %s", type(problem).__name__, problem)
    return gpus


def visible(gpus: list[Gpu]) -> list[Gpu]:
    """Those that this process may use, by `CUDA_VISIBLE_DEVICES` or AMD's `HIP_` and `ROCR_VISIBLE_DEVICES`.

    Numbers in these variables are taken in the order of the bus, as with `CUDA_DEVICE_ORDER=PCI_BUS_ID`.
    """
    return [gpu for gpu in gpus if _is_visible(gpu)]


def _is_visible(gpu: Gpu) -> bool:
    names = ("CUDA_VISIBLE_DEVICES",) if gpu.vendor == "NVIDIA" else ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
    given = next((os.environ[name] for name in names if name in os.environ), None)
    if given is None:
        return True
    chosen = [each.strip() for each in given.split(",") if each.strip()]
    if any(each.startswith("MIG-") for each in chosen):
        return True  # a part of a GPU, which is known by another UUID than its GPU
    return any(each == str(gpu.index) or (gpu.uuid and gpu.uuid.startswith(each)) for each in chosen)


def _nvidia() -> Iterator[Gpu]:
    import pynvml

    pynvml.nvmlInit()
    driver = _text(pynvml.nvmlSystemGetDriverVersion())
    for index in range(pynvml.nvmlDeviceGetCount()):
        with suppress(pynvml.NVMLError):  # one that is lost or forbidden does not hide the others
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            yield Gpu(
                index=index,
                vendor="NVIDIA",
                name=_text(pynvml.nvmlDeviceGetName(handle)),
                uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
                memory_bytes=int(_nvidia_memory(pynvml, handle).total),
                driver=driver,
                quantities=_nvidia_quantities(pynvml, handle),
            )


def _nvidia_quantities(nvml: Any, handle: Any) -> dict[str, Callable[[], float]]:
    def memory_percentage() -> float:
        memory = _nvidia_memory(nvml, handle)
        return 100 * float(memory.used) / float(memory.total)

    def watts() -> float:
        return float(nvml.nvmlDeviceGetPowerUsage(handle)) / 1000

    return {
        "utilization_percentage": lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        "memory_usage_megabytes": lambda: _nvidia_memory(nvml, handle).used / MEGABYTE,
        "memory_usage_percentage": memory_percentage,
        "power_usage_watts": watts,
        "power_usage_percentage": lambda: 100_000 * watts() / nvml.nvmlDeviceGetEnforcedPowerLimit(handle),
        "temperature_celsius": lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
    }


def _nvidia_memory(nvml: Any, handle: Any) -> Any:
    """The memory as `nvidia-smi` shows it; older drivers count what they keep for themselves as used."""
    with suppress(Exception):
        return nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
    return nvml.nvmlDeviceGetMemoryInfo(handle)


def _amd(drm: Path) -> Iterator[Gpu]:
    devices = {card.name: card / "device" for card in drm.glob("card*") if card.name[4:].isdecimal()}
    of_amd = [devices[name] for name in sorted(devices, key=lambda name: int(name[4:])) if _is_of_amd(devices[name])]
    # The driver of the processor's own graphics tells no use of it, and is no GPU for computing.
    for index, device in enumerate(each for each in of_amd if (each / "gpu_busy_percent").exists()):
        yield Gpu(
            index=index,
            vendor="AMD",
            name=_line(device / "product_name") or _line(device / "device"),
            uuid=_line(device / "unique_id"),
            memory_bytes=int(_line(device / "mem_info_vram_total") or 0),
            driver=_line(Path("/sys/module/amdgpu/version")),
            quantities=_amd_quantities(device),
        )


def _amd_quantities(device: Path) -> dict[str, Callable[[], float]]:
    sensors = next(iter(sorted(device.glob("hwmon/hwmon*"))), device)

    def watts() -> float:  # The driver writes microwatts; which file there is depends on the card.
        return float(_line(sensors / "power1_average") or _line(sensors / "power1_input")) / 1e6

    def used() -> float:
        return float(_line(device / "mem_info_vram_used"))

    return {
        "utilization_percentage": lambda: float(_line(device / "gpu_busy_percent")),
        "memory_usage_megabytes": lambda: used() / MEGABYTE,
        "memory_usage_percentage": lambda: 100 * used() / float(_line(device / "mem_info_vram_total")),
        "power_usage_watts": watts,
        "power_usage_percentage": lambda: 1e8 * watts() / float(_line(sensors / "power1_cap")),
        "temperature_celsius": lambda: float(_line(sensors / "temp1_input")) / 1000,
    }


def _is_of_amd(device: Path) -> bool:
    return _line(device / "vendor") == _AMD


def _line(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _text(given: Any) -> str:
    """Older versions of NVML's module answer with bytes."""
    return given.decode() if isinstance(given, bytes) else str(given)
