"""A point, from the training loop to disk and back to a plot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from modelry.api.tracking import v1 as api
from tests.contract.tracking.conftest import Point, bits_of, points_of, value_of
from tests.parts.deployment import REPOSITORY, Deployment
from tests.parts.eventually import eventually

POINTS = 600
SPECIAL = [float("nan"), float("inf"), float("-inf"), -0.0, 5e-324]

# Logs a third of its points, waits for a word, and so on; prints the id of its run first.
TRAINING_LOOP = """
import sys
import modelry

special = [float("nan"), float("inf"), float("-inf"), -0.0, 5e-324]
modelry.set_tracking_uri(sys.argv[1])
run = modelry.start_run(run_name="loop")
print(run.info.run_id, flush=True)
for number in range(600):
    value = special[number // 7 % 5] if number % 7 == 0 else number / 3
    modelry.log_metric("loss", value, step=number // 2, timestamp=1_000 + number % 2)
    if number % 50 == 0:
        modelry.log_param(f"p{number}", number)
    if number % 200 == 199:
        print("logged", flush=True)
        sys.stdin.readline()
modelry.end_run()
assert modelry.flush(80)  # its caller waits only so long for it
"""


def logged() -> list[Point]:
    """What the loop logs."""
    values = [SPECIAL[number // 7 % 5] if number % 7 == 0 else number / 3 for number in range(POINTS)]
    return [(number // 2, 1_000 + number % 2, bits_of(value)) for number, value in enumerate(values)]


def test_what_the_loop_logged_is_what_the_plot_shows(mortal: Deployment, tmp_path: Path) -> None:
    victim = mortal.target_of("tracking")
    sources = os.pathsep.join(str(REPOSITORY / each) for each in ("clients/python", "clients/cli", "services"))
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MODELRY_")}
    only_metrics = {"MODELRY_SNAPSHOT": "0", "MODELRY_CONSOLE": "0"}
    environment = {**kept, **mortal.environment(), **only_metrics, "PYTHONPATH": sources}
    environment["MODELRY_SPOOL_DIR"] = str(tmp_path / "spool")
    command = [sys.executable, "-c", TRAINING_LOOP, f"grpc://{mortal.address}"]

    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    ) as loop:
        assert loop.stdin
        assert loop.stdout
        run_id = loop.stdout.readline().strip()

        def next_third() -> None:
            assert loop.stdout
            assert loop.stdout.readline() == "logged\n"

        def go_on() -> None:
            assert loop.stdin
            loop.stdin.write("on\n")
            loop.stdin.flush()

        next_third()
        mortal.kill(victim)  # in the middle of what the recorder sends
        go_on()
        next_third()  # logged while no server was there
        mortal.start(victim)
        go_on()
        next_third()
        go_on()
        assert loop.wait(90) == 0

    metrics, runs = mortal.stub(api.MetricServiceStub), mortal.stub(api.RunServiceStub)
    eventually(lambda: runs.GetRun(api.GetRunRequest(run_id=run_id), wait_for_ready=True, timeout=20))
    read = metrics.ReadMetrics(api.ReadMetricsRequest(run_ids=[run_id], keys=["loss"]))
    assert [point for answer in read for point in points_of(answer.columns)] == logged()

    [plot] = metrics.ReadMetrics(api.ReadMetricsRequest(run_ids=[run_id], max_points=100))
    shown = points_of(plot.columns)
    finite = [value for _, _, bits in logged() if abs(value := value_of(bits)) < float("inf")]
    assert len(shown) <= 100
    assert set(shown) <= set(logged())
    assert (shown[0], shown[-1]) == (logged()[0], logged()[-1])
    assert {min(finite), max(finite)} <= {value_of(bits) for _, _, bits in shown}
    assert any(value_of(bits) != value_of(bits) for _, _, bits in shown)

    run = runs.GetRun(api.GetRunRequest(run_id=run_id)).run
    [summary] = run.metrics
    assert (run.status, summary.point_count) == (api.RUN_STATUS_FINISHED, POINTS)
    assert (summary.last_step, bits_of(summary.last_value)) == (logged()[-1][0], logged()[-1][2])
    assert dict(run.params) == {f"p{number}": str(number) for number in range(0, POINTS, 50)}
