"""What is known of the machine: containers by files of cgroups, AMD's cards by those of their driver."""

from __future__ import annotations

import json
import math
import os
import threading
from importlib import metadata
from pathlib import Path

import pytest

from modelry._sdk.observing import drivers, gpus, hardware
from modelry._sdk.observing.containers import Cgroup
from modelry._sdk.observing.meter import Meter
from modelry._sdk.observing.packages import Packages
from modelry._sdk.observing.places import Naming
from tests.parts.eventually import eventually


def written(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content + "\n")
    return folder


def test_the_lowest_limit_of_the_groups_above_counts(tmp_path: Path) -> None:
    root = written(tmp_path / "cgroup")
    written(root / "job", cpu__max="400000 100000", memory__max="max")
    own = {"memory__current": "700", "memory__stat": "anon 500\ninactive_file 200"}
    written(root / "job" / "step", cpu__max="max 100000", memory__max="1000", **own)
    (tmp_path / "self").write_text("0::/job/step\n")

    found = Cgroup(root, tmp_path / "self")

    assert found.cpus() == 4.0
    assert found.memory_bytes() == 1000
    assert found.memory_used_bytes() == 500


def test_limits_of_version_1_count_too(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    written(root / "cpu", cpu__cfs_quota_us="150000", cpu__cfs_period_us="100000")
    files = {"memory__limit_in_bytes": "2000", "memory__usage_in_bytes": "900", "memory__stat": "total_inactive_file 1"}
    written(root / "memory" / "docker", **files)
    (tmp_path / "self").write_text("5:cpu,cpuacct:/elsewhere\n4:memory:/docker\n")

    found = Cgroup(root, tmp_path / "self")

    assert (found.cpus(), found.memory_bytes(), found.memory_used_bytes()) == (1.5, 2000, 899)


def test_without_limits_everything_is_usable(tmp_path: Path) -> None:
    found = Cgroup(tmp_path, tmp_path / "missing")

    assert (found.cpus(), found.memory_bytes()) == (math.inf, math.inf)
    with pytest.raises(ValueError, match="no limit"):
        found.memory_used_bytes()


def test_the_cards_of_amd_are_read_from_the_files_of_their_driver(tmp_path: Path) -> None:
    card = {"gpu_busy_percent": "37", "mem_info_vram_total": "64000000000", "mem_info_vram_used": "16000000000"}
    device = written(tmp_path / "card1" / "device", vendor="0x1002", product_name="Instinct", unique_id="ab12", **card)
    written(device / "hwmon" / "hwmon3", power1_average="250000000", power1_cap="500000000", temp1_input="61000")
    written(tmp_path / "card0" / "device", vendor="0x8086")
    written(tmp_path / "card1-DP-1")

    (found,) = [gpu for gpu in gpus.found(tmp_path) if gpu.vendor == "AMD"]

    assert (found.index, found.name, found.uuid, found.memory_bytes) == (0, "Instinct", "ab12", 64_000_000_000)
    assert found.sample() == {
        "utilization_percentage": 37.0,
        "memory_usage_megabytes": 16_000.0,
        "memory_usage_percentage": 25.0,
        "power_usage_watts": 250.0,
        "power_usage_percentage": 50.0,
        "temperature_celsius": 61.0,
    }


def test_what_a_gpu_does_not_tell_is_left_out() -> None:
    def fail() -> float:
        raise RuntimeError("the driver is gone")

    gpu = gpus.Gpu(0, "NVIDIA", "H", "GPU-1", 1, "", {"power_usage_watts": fail, "temperature_celsius": lambda: 40.0})

    assert gpu.sample() == {"temperature_celsius": 40.0}


@pytest.mark.parametrize(
    ("given", "seen"),
    [(None, [0, 1]), ("1", [1]), ("", []), ("GPU-aa", [0]), ("0,1", [0, 1]), ("MIG-3f", [0, 1]), ("-1", [])],
)
def test_a_process_sees_the_gpus_that_it_may_use(
    monkeypatch: pytest.MonkeyPatch, given: str | None, seen: list[int]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    both = [gpus.Gpu(index, "NVIDIA", "H", f"GPU-{name}", 1, "", {}) for index, name in enumerate(("aa", "bb"))]

    assert [gpu.index for gpu in gpus.visible(both)] == seen


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a file whose reading hangs")
def test_a_driver_that_hangs_holds_up_only_its_own_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "SECONDS", 0.1)
    card = written(tmp_path / "card0" / "device", vendor="0x1002", mem_info_vram_total="1000", mem_info_vram_used="500")
    os.mkfifo(card / "gpu_busy_percent")
    seen = gpus.found(tmp_path)
    meter = Meter([gpu for gpu in seen if gpu.vendor == "AMD"])

    first, second = meter.read(), meter.read()
    asked = [thread for thread in threading.enumerate() if thread.name == "modelry-driver-amd"]
    with open(card / "gpu_busy_percent", "w") as answers:  # the driver answers again
        (card / "gpu_busy_percent").unlink()
        (card / "gpu_busy_percent").write_text("40")
        answers.write("40")
    again = eventually(lambda: (found := meter.read().of_node) and "amd_gpu_0_memory_usage_percentage" in found)

    assert len(seen) >= 1
    assert len(asked) == 1
    for reading in (first, second):
        assert "cpu_utilization_percentage" in reading.of_node
        assert not [name for name in reading.of_node if "gpu" in name]
    assert again


def test_a_sample_has_the_names_of_mlflow_and_their_units() -> None:
    reading = Meter().read()

    assert reading.of_node.keys() >= {
        "cpu_utilization_percentage",
        "system_memory_usage_megabytes",
        "system_memory_usage_percentage",
        "disk_usage_percentage",
        "disk_usage_megabytes",
        "disk_available_megabytes",
    }
    assert reading.of_process.keys() == {"process_cpu_utilization_percentage", "process_memory_usage_megabytes"}
    assert reading.totals.keys() >= {"network_receive_megabytes", "network_transmit_megabytes"}
    assert 0 < reading.of_node["system_memory_usage_percentage"] < 100
    assert 10 < reading.of_process["process_memory_usage_megabytes"] < 10_000


def test_the_machine_is_described_in_values_of_json() -> None:
    machine = hardware.described()

    assert json.loads(json.dumps(machine)) == machine
    assert machine["cpus"] >= 1
    assert machine["memory_bytes"] > 1 << 28
    tags = hardware.tags(machine | {"gpus": [{"name": "H100"}, {"name": "H100"}], "usable_cpus": 1.5})
    assert (tags["modelry.hardware.gpu"], tags["modelry.hardware.gpus"]) == ("H100", "2")
    assert tags["modelry.hardware.cpus"] == "1.5"


def test_the_packages_are_listed_as_they_are_installed() -> None:
    lines = Packages().text().splitlines()

    assert f"grpcio=={metadata.version('grpcio')}" in lines
    assert f"psutil=={metadata.version('psutil')}" in lines
    names = [line.partition("==")[0].lower().replace("_", "-") for line in lines]
    assert names == sorted(set(names))


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, {"system/a", "system/b"}),
        ({"RANK": "0", "WORLD_SIZE": "1"}, {"system/a", "system/b"}),
        ({"SLURM_PROCID": "0"}, {"system/a", "system/b"}),
        ({"RANK": "0", "WORLD_SIZE": "4", "LOCAL_RANK": "0"}, {"system/n1/a", "system/n1/rank_0/b"}),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, {"system/n1/rank_3/b"}),
        ({"NODE_RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, {"system/n1/rank_1/b"}),  # Lightning's
    ],
)
def test_metrics_say_node_and_rank_where_a_job_has_several(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], names: set[str]
) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    naming = Naming.of_process("n1" if len(environment) > 2 else None)

    assert set(naming.named({"a": 1.0}, {"b": 2.0})) == names
