from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelry import Client
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
            verdicts={"log_loss": (loss < 0.4, "needed at most 0.4")},
        )

    listed = read("evaluation", "list", name, "--name", "holdout")
    compared = read("version", "compare", name, "1", "2")
    drawn = modelry("version", "compare", name, "1", "2").out

    assert [(each["version_number"], each["verdicts"]) for each in listed] == [
        (2, {"log_loss": True}),
        (1, {"log_loss": False}),
    ]
    assert compared["metrics"][0]["better"] == 2
    assert compared["params"] == {"loss": ["0.5", "0.25"]}
    assert "evaluation.holdout" in drawn
    assert "param loss: 0.5 -> 0.25" in drawn
    assert "files: the same" in drawn
