"""Evaluations of versions, and versions side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import modelry
from modelry import Client
from modelry._sdk.fluent import session
from modelry.errors import FieldInvalid, InvalidArgument
from modelry.models import Interval, Threshold
from tests.parts.deployment import Deployment

pytestmark = pytest.mark.usefixtures("fluent")

CHANCE = np.random.default_rng(5)
FRAME = pd.DataFrame(CHANCE.normal(size=(200, 2)), columns=["a", "b"])
FRAME["label"] = (FRAME["a"] + 0.5 * CHANCE.normal(size=200) > 0).astype(int)
CLASSIFIER = LogisticRegression().fit(FRAME[["a", "b"]], FRAME["label"])
ABOVE = Threshold(min=0.5)


@pytest.fixture
def model(client: Client, unique: str) -> str:
    """The name of a model with two versions; the second one knows only noise."""
    features = FRAME[["a", "b"]]
    for scale in ([1, 1], [0, 1]):
        with modelry.start_run():
            modelry.log_param("scale", scale)
            modelry.log_metric("val_loss", 1.0 / (1 + scale[0]))
            fitted = LogisticRegression().fit(features * scale, FRAME["label"])
            fitted.coef_ = fitted.coef_ * scale
            modelry.sklearn.log_model(fitted, registered_model_name=unique, pip_requirements=[])
    client.aliases.set(unique, "champion", 1)
    return unique


def test_a_version_gets_the_evaluation_under_its_name(client: Client, model: str) -> None:
    found = modelry.evaluate(
        f"models:/{model}@champion",
        FRAME,
        "label",
        model_type="classifier",
        name="holdout",
        confidence=0.9,
        samples=50,
        thresholds={"roc_auc": ABOVE, "log_loss": Threshold(max=0.0)},
    )

    (kept,) = client.evaluations.list(model, 1)
    assert found.version == f"models:/{model}/1"
    assert client.evaluations.get(found.evaluation_id) == kept
    assert (kept.evaluation_id, kept.name, kept.run_id) == (found.evaluation_id, "holdout", found.run_id)
    assert kept.metrics == pytest.approx(dict(found.metrics))
    assert "roc_auc" in kept.metrics
    assert dict(kept.intervals) == dict(found.intervals)
    assert kept.intervals["roc_auc"].confidence == 0.9
    assert kept.verdicts == {"roc_auc": True, "log_loss": False}
    assert "needed at most 0" in kept.explanations["log_loss"]
    assert not kept.passed
    (given,) = client.runs.get(found.run_id).datasets
    assert kept.dataset_digest == given.dataset.digest
    assert client.runs.get(found.run_id).tags["modelry.evaluation.holdout"] == f"models:/{model}/1"


def test_a_baseline_can_be_another_version(model: str) -> None:
    found = modelry.evaluate(
        *(f"models:/{model}/2", FRAME, "label"),
        model_type="classifier",
        baseline=f"models:/{model}@champion",
        thresholds={"roc_auc": Threshold(min_change=0)},
    )

    assert found.differences["roc_auc"] < 0
    assert not found.passed


def test_a_model_object_can_be_named_as_a_version(client: Client, model: str) -> None:
    loaded = modelry.sklearn.load_model(f"models:/{model}/2")

    found = modelry.evaluate(loaded, FRAME, "label", model_type="classifier", version=f"models:/{model}/2")

    assert [each.run_id for each in client.evaluations.list(model, 2, "default")] == [found.run_id]
    with pytest.raises(InvalidArgument, match="is not the version of the model"):
        modelry.evaluate(*(f"models:/{model}/1", FRAME, "label"), model_type="classifier", version=f"models:/{model}/2")


def test_two_versions_are_compared_by_their_runs_and_their_newest_evaluations(client: Client, model: str) -> None:
    for number in (1, 1, 2):
        modelry.evaluate(
            *(f"models:/{model}/{number}", FRAME if number == 2 else FRAME.iloc[:150], "label"),
            model_type="classifier",
            name="holdout",
        )
    modelry.evaluate(f"models:/{model}/1", FRAME, "label", model_type="classifier", name="fresh")
    client.versions.set_tags(model, 2, {"team": "rides"})

    found = client.versions.compare(model, 1, 2)

    rows = {(row.source, row.metric): row for row in found.metrics}
    loss = rows["run", "val_loss"]
    assert (loss.first, loss.second, loss.difference, loss.better) == (0.5, 1.0, 0.5, 1)
    auc = rows["evaluation.holdout", "roc_auc"]
    assert auc.first is not None
    assert auc.second is not None
    assert auc.difference == pytest.approx(auc.second - auc.first)
    assert (auc.better, auc.same_data) == (1, False)
    assert rows["evaluation.holdout", "example_count"].better is None
    assert rows["evaluation.fresh", "roc_auc"].second is None
    assert found.params == {"scale": ("[1, 1]", "[0, 1]")}
    assert found.tags == {"team": (None, "rides")}
    assert not found.same_files


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("val_loss", False), ("holdout.roc_auc", True), ("ndcg_at_10", True), ("RMSE", False), ("epoch", None)],
)
def test_names_tell_which_way_is_better(metric: str, expected: bool | None) -> None:
    from modelry._sdk.values.directions import is_better_when_greater

    assert is_better_when_greater(metric) is expected


def test_files_of_a_run_mean_the_one_version_that_they_are_the_source_of(
    client: Client, model: str, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    second = client.versions.get(model, 2)
    loaded = modelry.pyfunc.load_model(second.source)

    found = [modelry.evaluate(each, FRAME, "label", model_type="classifier") for each in (second.source, loaded)]

    assert {each.version for each in found} == {f"models:/{model}/2"}
    assert {each.run_id for each in client.evaluations.list(model, 2)} == {each.run_id for each in found}

    client.models.create(f"{unique}-other")
    client.versions.create(f"{unique}-other", second.source)
    with caplog.at_level("WARNING", "modelry"):
        of_several = modelry.evaluate(second.source, FRAME, "label", model_type="classifier")
        named = modelry.evaluate(second.source, FRAME, "label", model_type="classifier", version=f"models:/{model}/2")

    assert (of_several.version, named.version) == ("", f"models:/{model}/2")
    (line,) = [each.getMessage() for each in caplog.records if "linked to no version" in each.getMessage()]
    assert f"models:/{model}/2" in line
    assert f"models:/{unique}-other/1" in line


def test_a_model_that_was_just_logged_is_evaluated_as_its_version(client: Client, unique: str) -> None:
    fitted = LogisticRegression().fit(FRAME[["a", "b"]], FRAME["label"])
    with modelry.start_run():
        plain = modelry.sklearn.log_model(fitted, name="plain", pip_requirements=[])
        registered = modelry.sklearn.log_model(fitted, registered_model_name=unique, pip_requirements=[])

    found = [modelry.evaluate(each, FRAME, "label", model_type="classifier") for each in (plain, registered)]

    assert [each.version for each in found] == ["", f"models:/{unique}/1"]
    assert client.runs.get(found[0].run_id).tags["modelry.evaluation.default"] == plain.model_uri


def test_a_second_evaluation_of_a_name_leaves_the_first_whole(client: Client, model: str) -> None:
    given: dict[str, Any] = {"model_type": "classifier", "name": "holdout"}
    with modelry.start_run() as run:
        found = [modelry.evaluate(f"models:/{model}/{number}", FRAME, "label", **given) for number in (1, 2)]
    with modelry.start_run(run.run_id):
        found.append(modelry.evaluate(f"models:/{model}/2", FRAME, "label", **given))

    assert len({each.run_id for each in found}) == 3
    assert found[0].run_id == run.run_id
    for each, prefix in zip(found, ("holdout.", "", ""), strict=True):
        kept = client.evaluations.list(model, each.version.rpartition("/")[2])
        (own,) = [one for one in kept if one.evaluation_id == each.evaluation_id]
        assert (
            (own.run_id, own.artifact_path) == (each.run_id, each.artifact_path) == (each.run_id, "evaluations/holdout")
        )
        logged = client.runs.get(own.run_id)
        assert logged.parent_run_id == ("" if each is found[0] else run.run_id)
        assert logged.tags["modelry.evaluation.holdout"] == each.version
        assert logged.metrics[f"{prefix}roc_auc"] == pytest.approx(own.metrics["roc_auc"])
        report = json.loads(client.artifacts.read_bytes(f"runs/{own.run_id}", f"{own.artifact_path}/report.json"))
        assert (report["model"], report["metrics"]["roc_auc"]) == (each.version, pytest.approx(each.metrics["roc_auc"]))


def test_processes_that_share_a_run_overwrite_no_evaluation(client: Client, platform: Deployment, unique: str) -> None:
    code = """
import modelry
modelry.start_run()
for _ in range(2):
    found = modelry.evaluate(data={"y": [0, 1] * ROWS, "p": [0, 1] * ROWS}, targets="y", predictions="p",
                             model_type="classifier", name="h")
    print(found.run_id)
"""
    with modelry.start_run() as run:
        given = {**os.environ, "MODELRY_TRACKING_URI": platform.address, "MODELRY_RUN_ID": run.run_id}
        scripts = [
            subprocess.Popen(
                [sys.executable, "-c", code.replace("ROWS", str(rows))], env=given, stdout=subprocess.PIPE, text=True
            )
            for rows in (10, 20)
        ]
        table = pd.DataFrame({"y": [0, 1], "p": [0, 1]})
        own = modelry.evaluate(data=table, targets="y", predictions="p", model_type="classifier", name="h")
        said = [script.communicate(timeout=60)[0].split() for script in scripts]

    assert own.run_id == run.run_id
    assert client.runs.get(run.run_id).metrics["h.example_count"] == 2
    for found, count in zip(said, (20, 40), strict=True):
        logged = [client.runs.get(run_id) for run_id in found]
        assert [each.metrics["example_count"] for each in logged] == [count, count]
        assert {each.parent_run_id for each in logged} == {run.run_id}
    assert len({own.run_id, *said[0], *said[1]}) == 5


def test_a_process_that_continues_its_own_run_evaluates_there() -> None:
    with modelry.start_run() as run:
        modelry.log_param("a", 1)

    with modelry.start_run(run.run_id):
        found = modelry.evaluate(
            *(CLASSIFIER, FRAME, "label"), feature_names=["a", "b"], model_type="classifier", name="later"
        )

    assert (found.run_id, found.artifact_path) == (run.run_id, "evaluations/later")


def test_a_forked_process_evaluates_in_a_child_run(client: Client) -> None:
    given: dict[str, Any] = {"feature_names": ["a", "b"], "model_type": "classifier"}
    with modelry.start_run() as run:
        session.current().after_fork_in_child()  # what a fork calls
        found = modelry.evaluate(CLASSIFIER, FRAME, "label", **given)

    assert client.runs.get(found.run_id).parent_run_id == run.run_id


def test_evaluations_whose_metrics_have_other_names_share_a_run(client: Client, model: str) -> None:
    with modelry.start_run() as run:
        first, second = (
            modelry.evaluate(
                *(f"models:/{model}/{number}", FRAME, "label"), model_type="classifier", metric_prefix=f"v{number}_"
            )
            for number in (1, 2)
        )

    assert first.run_id == second.run_id == run.run_id
    assert (first.artifact_path, second.artifact_path) == ("evaluations/default", "evaluations/default-2")
    assert not {*first.artifacts} & {*second.artifacts}
    logged = client.runs.get(run.run_id)
    assert {"v1_roc_auc", "v2_roc_auc"} <= logged.metrics.keys()
    assert logged.tags["modelry.evaluation.default-2"] == second.version


def test_the_interval_of_a_metric_that_is_not_given_is_refused(client: Client, model: str) -> None:
    run_id = client.versions.get(model, 1).run_id
    own = Interval(0.8, 0.9, 0.95)

    with pytest.raises(InvalidArgument, match="'mse', which is not among the metrics"):
        client.evaluations.create(model, 1, "one", run_id, metrics={"auc": 0.85}, intervals={"auc": own, "mse": own})
    upside_down = {"auc": Interval(0.9, 0.8, 0.95)}
    with pytest.raises(FieldInvalid, match="its lower end"):
        client.evaluations.create(model, 1, "one", run_id, metrics={"auc": 0.85}, intervals=upside_down)
    assert not list(client.evaluations.list(model, 1))
