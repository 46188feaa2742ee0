"""What an evaluation has computed is never lost, whatever the run and the registry say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pandas as pd
import pytest

import modelry
from modelry import Client
from modelry.errors import FieldInvalid, InvalidArgument
from modelry.models import Threshold, make_metric
from tests.parts.deployment import Deployment
from tests.parts.faulty_server import faulty

pytestmark = pytest.mark.usefixtures("fluent")

FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0], "price": [1.0, 2.0, 4.0]})


def identity(rows: Any) -> Any:
    return rows["a"]


@pytest.fixture
def version(client: Client, a_run: Any, unique: str) -> str:
    """The URI of a version, whose files are no model: what is evaluated is a function."""
    client.models.create(unique)
    client.versions.create(unique, f"runs:/{a_run()}/model")
    return f"models:/{unique}/1"


def evaluated(**options: Any) -> Any:
    return modelry.evaluate(identity, FRAME, "price", model_type="regressor", **options)


def warned(caplog: pytest.LogCaptureFixture, words: str) -> str:
    (line,) = [each.getMessage() for each in caplog.records if words in each.getMessage()]
    return line


def test_more_metrics_than_an_evaluation_takes_stay_in_the_run(
    client: Client, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    many = make_metric(lambda targets: {f"k{at}": float(at) for at in range(1200)}, name="many")

    found = evaluated(version=version, extra_metrics=[many])

    assert (found.version, found.evaluation_id, len(found.metrics)) == (version, "", 1209)
    line = warned(caplog, "not linked")
    assert found.run_id in line
    assert version in line
    assert "at most 1000" in line
    run = client.runs.get(found.run_id)
    assert run.status is modelry.RunStatus.FINISHED
    assert dict(run.metrics) == pytest.approx(dict(found.metrics))
    with pytest.raises(FieldInvalid):
        found.link()
    fewer = replace(found, metrics={"r2_score": found.metrics["r2_score"]})
    assert client.evaluations.latest(version.split("/")[1], 1) == {}
    assert fewer.link().evaluation_id == client.evaluations.latest(version.split("/")[1], 1)["default"].evaluation_id


def test_a_result_is_linked_later_if_the_registry_is_away(
    client: Client, platform: Deployment, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    with faulty(platform.addresses["registry"]) as between:
        between.rule = lambda method, _: grpc.StatusCode.UNAVAILABLE if method.endswith("/CreateEvaluation") else None
        modelry.set_registry_uri(between.address)
        found = evaluated(version=version, name="holdout", confidence=0.9, samples=20)

    assert found.evaluation_id == ""
    assert "result.link()" in warned(caplog, "not linked")
    assert client.runs.get(found.run_id).status is modelry.RunStatus.FINISHED
    modelry.set_registry_uri(platform.addresses["registry"])
    late, again = found.link(), found.link()

    (kept,) = client.evaluations.list(version.split("/")[1])
    assert late == again == replace(found, evaluation_id=kept.evaluation_id)
    assert late.link() is late
    assert (kept.name, kept.run_id, kept.artifact_path) == ("holdout", found.run_id, "evaluations/holdout")
    assert (kept.dataset_digest, dict(kept.intervals)) == (found.dataset_digest, dict(found.intervals))


def test_a_result_of_no_version_can_be_linked_to_one(client: Client, version: str) -> None:
    found = evaluated()

    with pytest.raises(InvalidArgument, match="belongs to no version"):
        found.link()
    with pytest.raises(InvalidArgument, match="is not the URI of a version"):
        found.link(f"runs:/{found.run_id}/model")
    linked = found.link(version)

    assert linked.version == version
    assert [each.evaluation_id for each in client.evaluations.list(version.split("/")[1])] == [linked.evaluation_id]


def test_a_result_is_returned_if_no_run_can_be_started(
    client: Client, version: str, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    gone = client.experiments.create(unique).experiment_id
    modelry.set_experiment(experiment_id=gone)
    client.experiments.delete(gone)

    found = evaluated(version=version)

    assert found.metrics["max_error"] == 1.0
    assert (found.run_id, found.evaluation_id, found.artifacts) == ("", "", ())
    assert "it is in no run" in warned(caplog, "evaluation default")
    with pytest.raises(InvalidArgument, match="no run has this result"):
        found.link()


def test_limits_that_are_known_are_checked_before_the_model_is_asked(version: str) -> None:
    asked = []

    def model(rows: Any) -> Any:
        asked.append(len(rows))
        return np.zeros(len(rows))

    many = {f"m{at}": Threshold(min=0) for at in range(101)}
    for options, words in (
        ({"thresholds": many, "version": version}, "101 entries; .* at most 100"),
        ({"thresholds": {"m" * 251: Threshold(min=0)}}, "1 to 250 characters"),
        ({"dataset_name": "d" * 501}, "at most 500"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            modelry.evaluate(model, FRAME, "price", model_type="regressor", **options)
    assert not asked
