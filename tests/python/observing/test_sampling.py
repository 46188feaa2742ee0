"""System metrics: what runs get of them, when, and what never happens because of them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

import modelry
from modelry import Client
from modelry._sdk.observing.sampling import Sampling, means
from modelry._sdk.transport import process
from modelry.errors import InvalidArgument
from tests.parts.eventually import eventually
from tests.python.observing.conftest import Program

CPU = "system/cpu_utilization_percentage"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, fluent: None) -> None:
    monkeypatch.setenv("MODELRY_SYSTEM_METRICS_INTERVAL", "200ms")


def metrics_of(run: modelry.ActiveRun) -> Mapping[str, float]:
    return modelry.get_run(run.run_id).metrics


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "modelry-sampling"]


def test_a_run_has_the_use_of_the_machine_while_it_runs(client: Client) -> None:
    with modelry.start_run() as run:
        eventually(lambda: client.runs.get(run.run_id).metrics.get("system/network_receive_megabytes") is not None)

    found = metrics_of(run)
    assert 0 <= found[CPU] <= 100
    assert found["system/process_memory_usage_megabytes"] > 1
    assert 0 <= found["system/network_receive_megabytes"] < 10_000


def test_totals_count_from_the_start_of_each_run(client: Client) -> None:
    import psutil

    with modelry.start_run() as run:
        eventually(lambda: "system/network_receive_megabytes" in client.runs.get(run.run_id).metrics)

    since_boot = psutil.net_io_counters().bytes_recv / 1e6
    assert metrics_of(run)["system/network_receive_megabytes"] <= since_boot / 2 + 1


def test_one_thread_samples_all_open_runs(client: Client) -> None:
    with modelry.start_run() as outer, modelry.start_run(nested=True) as inner:
        eventually(lambda: all(CPU in client.runs.get(run.run_id).metrics for run in (outer, inner)))
        eventually(lambda: len(threads()) == 1)  # those of tests before may still end


def test_a_run_that_has_ended_gets_no_more(client: Client) -> None:
    with modelry.start_run() as outer:
        with modelry.start_run(nested=True) as inner:
            eventually(lambda: CPU in client.runs.get(inner.run_id).metrics)
        modelry.flush(10)
        count = client.runs.get(inner.run_id).summaries[CPU].point_count
        before = client.runs.get(outer.run_id).summaries[CPU].point_count
        eventually(lambda: client.runs.get(outer.run_id).summaries[CPU].point_count > before + 2)

    assert client.runs.get(inner.run_id).summaries[CPU].point_count == count


def test_a_run_shorter_than_a_period_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELRY_SYSTEM_METRICS_INTERVAL", "1h")

    with modelry.start_run() as run:
        modelry.log_metric("loss", 1.0)

    assert metrics_of(run) == {"loss": 1.0}


def test_the_environment_the_program_and_each_run_turn_it_off_and_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELRY_SYSTEM_METRICS", "0")
    with modelry.start_run() as off, modelry.start_run(nested=True, log_system_metrics=True) as wanted:
        eventually(lambda: CPU in client.runs.get(wanted.run_id).metrics)
    assert CPU not in metrics_of(off)

    modelry.enable_system_metrics_logging()
    with modelry.start_run(log_system_metrics=False) as unwanted, modelry.start_run(nested=True) as on:
        eventually(lambda: CPU in client.runs.get(on.run_id).metrics)
    assert CPU not in metrics_of(unwanted)

    modelry.disable_system_metrics_logging()
    with modelry.start_run(log_system_metrics=True) as on, modelry.start_run(nested=True) as off:
        eventually(lambda: CPU in client.runs.get(on.run_id).metrics)
    assert CPU not in metrics_of(off)


def test_a_point_is_the_mean_of_as_many_samples_as_the_program_says(
    client: Client,
) -> None:
    modelry.set_system_metrics_samples_before_logging(3)

    with modelry.start_run() as run:
        eventually(lambda: (found := client.runs.get(run.run_id).summaries.get(CPU)) and found.point_count >= 2)

    points = client.metrics.read(run.run_id, CPU)
    assert points.times_ms[1] - points.times_ms[0] > 1.9 * 200
    assert means([{"a": 1.0}, {"a": 2.0, "b": 5.0}, {"a": 6.0}]) == {"a": 3.0, "b": 5.0}


@pytest.mark.parametrize("samples", [0, -1, 1.5, True, "3", 10_001])
def test_a_number_of_samples_that_can_not_be_is_refused(samples: object) -> None:
    with pytest.raises(InvalidArgument, match="whole number from 1 to 10,000"):
        modelry.set_system_metrics_samples_before_logging(samples)  # type: ignore[arg-type]

    assert process.current().part(Sampling).samples == 1


def test_the_program_sets_period_and_node(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELRY_SYSTEM_METRICS_INTERVAL", "1h")
    modelry.set_system_metrics_sampling_interval(0.2)
    modelry.set_system_metrics_node_id("left")

    with modelry.start_run() as run:
        assert eventually(lambda: "system/left/cpu_utilization_percentage" in client.runs.get(run.run_id).metrics)


@pytest.mark.parametrize("interval", [0, -1, 0.01, float("nan"), float("inf"), "10", True, 1e9])
def test_an_interval_that_is_none_is_refused_and_changes_nothing(interval: float) -> None:
    with pytest.raises(InvalidArgument, match=r"seconds from 0\.1 to 86,400"):
        modelry.set_system_metrics_sampling_interval(interval)

    assert process.current().part(Sampling).interval is None


@pytest.mark.parametrize("node_id", ["", "a/b", "x" * 101, 3])
def test_a_node_id_that_is_none_is_refused(node_id: str) -> None:
    with pytest.raises(InvalidArgument, match="1 to 100 characters"):
        modelry.set_system_metrics_node_id(node_id)


def test_a_forked_child_leaves_the_sampling_to_its_parent(client: Client) -> None:
    with modelry.start_run() as run:
        eventually(lambda: CPU in client.runs.get(run.run_id).metrics)
        child = os.fork()
        if child == 0:
            os._exit(len(threads()))
        assert os.waitpid(child, 0)[1] == 0
        before = client.runs.get(run.run_id).summaries[CPU].point_count
        eventually(lambda: client.runs.get(run.run_id).summaries[CPU].point_count > before)


def test_without_psutil_nothing_is_sampled_and_training_goes_on(
    client: Client, program: Program, tmp_path: Path
) -> None:
    (tmp_path / "psutil.py").write_text("raise ImportError('no psutil here')\n")
    code = """
import logging, modelry, threading
logging.basicConfig(level=logging.INFO)
with modelry.start_run() as run:
    for each in threading.enumerate():
        if each.name == "modelry-sampling":
            each.join(20)
    modelry.log_metric("loss", 1.0)
print(run.run_id)
"""

    done = program(code, folder=tmp_path, MODELRY_SNAPSHOT="0")

    assert client.runs.get(done.stdout.strip()).metrics == {"loss": 1.0}
    assert done.stderr.count("psutil is missing: pip install 'modelry[system]'") == 1


def test_a_driver_that_hangs_stops_neither_training_nor_the_exit(
    client: Client, program: Program, tmp_path: Path
) -> None:
    (tmp_path / "pynvml.py").write_text("import threading\ndef nvmlInit():\n    threading.Event().wait()\n")
    code = """
import modelry, json, time
began = time.monotonic()
with modelry.start_run() as run:
    modelry.log_metric("loss", 1.0)
print(json.dumps([run.run_id, time.monotonic() - began]))
"""

    run_id, seconds = json.loads(program(code, folder=tmp_path, MODELRY_SNAPSHOT="0").stdout)

    assert client.runs.get(run_id).metrics == {"loss": 1.0}
    assert seconds < 10
