"""A run that began offline is never lost because of what its start says: the rest of it is recorded."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import modelry
from modelry.types import Run
from tests.parts.deployment import Deployment
from tests.python.recording.scripts import PATIENCE_S, start_again, use

REFUSED: dict[str, dict[str, Any]] = {
    "a name that ends with white space": {"run_name": "trial 3 "},
    "a name that is too long": {"run_name": "n" * 501},
    "a description that is too long": {"description": "d" * 100_001},
    "a tag that is too long": {"tags": {"long": "v" * 9000}},
    "tags that are too many bytes for one request": {"tags": {f"{n:04}": "v" * 7000 for n in range(700)}},
    "all of them": {"run_name": "\n", "description": "d" * 100_001, "tags": {"long": "v" * 9000}},
}


def test_a_start_that_the_server_refuses_costs_only_what_it_refuses(
    own_on_sqlite: Deployment, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = use(own_on_sqlite)
    own_on_sqlite.kill()
    runs = {}
    with caplog.at_level(logging.WARNING, "modelry"):
        for what, given in REFUSED.items():
            tags = {**given.get("tags", {}), "good": "yes"}
            with modelry.start_run(**{"description": "What it is.", **given, "tags": tags}) as run:
                modelry.log_metric("m", 1.0)
            runs[what] = run.id
        monkeypatch.setattr("modelry._sdk.observing.tags.user", lambda: "u" * 251)
        with modelry.start_run(run_name="of a long user") as run:
            modelry.log_metric("m", 1.0)
        runs["a user that is too long"] = run.id
        start_again(own_on_sqlite)
        complete = [modelry.flush(PATIENCE_S), modelry.flush(PATIENCE_S)]

    stored: dict[str, Run] = {what: client.runs.get(run_id) for what, run_id in runs.items()}
    assert {what: (run.metrics, run.status) for what, run in stored.items()} == dict.fromkeys(
        runs, ({"m": 1.0}, "FINISHED")
    )
    assert {run.tags.get("good") for what, run in stored.items() if what in REFUSED} == {"yes"}
    assert not any("long" in run.tags for run in stored.values())
    assert 30 < len(stored["tags that are too many bytes for one request"].tags) < 60  # 256 KiB of them
    assert {run.description for what, run in stored.items() if what in REFUSED} == {"What it is.", ""}
    assert complete == [False, True]
    assert any("begins or ends with white space" in message for message in caplog.messages)


def test_a_run_whose_experiment_was_deleted_waits_until_it_is_restored(own_on_sqlite: Deployment, unique: str) -> None:
    client = use(own_on_sqlite)
    experiment = client.experiments.create(unique)
    modelry.set_experiment(unique)
    own_on_sqlite.kill()
    with modelry.start_run() as run:
        modelry.log_metric("m", 1.0)
    start_again(own_on_sqlite)
    client.experiments.delete(experiment.experiment_id)

    while_deleted = modelry.flush(2)
    client.experiments.restore(experiment.experiment_id)
    restored = modelry.flush(PATIENCE_S)

    assert (while_deleted, restored) == (False, True)
    assert client.runs.get(run.id).metrics == {"m": 1.0}
