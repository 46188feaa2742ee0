from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelry import Client
from modelry.types import Interval
from tests.cli.conftest import Modelry

Read = Callable[..., Any]


def test_evaluations_are_listed_and_versions_compared(client: Client, read: Read, modelry: Modelry, name: str) -> None:
    client.models.create(name)
    for loss in (0.5, 0.25):
        run = client.runs.create("0", params={"loss": str(loss)})
        client.artifacts.upload_bytes(f"runs/{run.run_id}", "model/MLmodel", b"flavors: {}")
        made = client.versions.create(name, f"runs:/{run.run_id}/model")
        client.evaluations.create(
            *(name, made.version_number, "holdout", run.run_id),
            metrics={"log_loss": loss},
            intervals={"log_loss": Interval(loss - 0.1, loss + 0.1, 0.9)},
            verdicts={"log_loss": (loss < 0.4, "needed at most 0.4")},
        )

    listed = read("evaluation", "list", name, "--name", "holdout")
    shown = modelry("evaluation", "list", name).out
    compared = read("version", "compare", name, "1", "2")
    drawn = modelry("version", "compare", name, "1", "2").out

    assert [(each["version_number"], each["verdicts"]) for each in listed] == [
        (2, {"log_loss": True}),
        (1, {"log_loss": False}),
    ]
    assert listed[0]["intervals"]["log_loss"] == {"low": 0.15, "high": 0.35, "confidence": 0.9, "samples": 0}
    assert "log_loss 0.25 [0.15, 0.35]" in shown
    assert read("evaluation", "list", name, "--latest") == listed
    assert read("evaluation", "get", listed[0]["evaluation_id"]) == listed[0]
    assert compared["metrics"][0]["better"] == 2
    assert compared["params"] == {"loss": ["0.5", "0.25"]}
    assert "evaluation.holdout" in drawn
    assert "param loss: 0.5 -> 0.25" in drawn
    assert "files: the same" in drawn


def test_a_list_shows_three_metrics_those_with_a_threshold_first(client: Client, modelry: Modelry, name: str) -> None:
    client.models.create(name)
    run = client.runs.create("0")
    client.artifacts.upload_bytes(f"runs/{run.run_id}", "model/MLmodel", b"flavors: {}")
    client.versions.create(name, f"runs:/{run.run_id}/model")
    metrics = {f"metric_{number:02}": number / 4 for number in range(20)}
    client.evaluations.create(name, 1, "holdout", run.run_id, metrics=metrics, verdicts={"metric_07": (True, "kept")})

    out = modelry("evaluation", "list", name).out

    assert "metric_07 1.75, metric_00 0, metric_01 0.25 and 17 more" in out
    assert "metric_02" not in out
