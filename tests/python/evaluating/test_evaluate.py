"""What an evaluation finds and what its run has."""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

import modelry
from modelry import Client
from modelry.errors import DatasetEmpty, InvalidArgument, ThresholdsNotMet
from modelry.models import Threshold, make_metric

pytestmark = pytest.mark.usefixtures("fluent")

CHANCE = np.random.default_rng(11)
FRAME = pd.DataFrame(CHANCE.normal(size=(400, 3)), columns=["a", "b", "c"])
FRAME["region"] = CHANCE.choice(["north", "south", "tiny"], 400, p=[0.6, 0.37, 0.03])
FRAME["label"] = (FRAME["a"] + CHANCE.normal(size=400) > 0).astype(int)
FRAME["price"] = 3 * FRAME["a"] + CHANCE.normal(size=400)
CLASSIFIER = LogisticRegression().fit(FRAME[["a", "b", "c"]], FRAME["label"])
REGRESSOR = LinearRegression().fit(FRAME[["a", "b", "c"]], FRAME["price"])
ABC = ["a", "b", "c"]


def report(client: Client, found: Any) -> Any:
    return json.loads(client.artifacts.read_bytes(f"runs/{found.run_id}", f"evaluations/{found.name}/report.json"))


def count_of_runs() -> int:
    return len(modelry.search_runs(output_format="list"))


def test_a_classifier_is_evaluated_in_a_run_of_its_own(client: Client) -> None:
    found = modelry.evaluate(CLASSIFIER, FRAME, "label", model_type="classifier", feature_names=ABC, name="holdout")

    run = client.runs.get(found.run_id)
    assert run.status is modelry.RunStatus.FINISHED
    assert found.metrics["accuracy_score"] == pytest.approx(CLASSIFIER.score(FRAME[ABC], FRAME["label"]))
    assert dict(run.metrics) == pytest.approx(dict(found.metrics))
    assert not found.left_out
    assert run.tags["modelry.evaluation.holdout"] == "LogisticRegression"
    files = {each.path for each in client.artifacts.list(f"runs/{run.run_id}", recursive=True)}
    assert set(found.artifacts) <= files
    names = {path.rpartition("/")[2] for path in found.artifacts}
    assert names == {
        "report.json",
        "per_class_metrics.json",
        "predictions.json",
        "confusion_matrix.png",
        "roc_curve_plot.png",
        "precision_recall_curve_plot.png",
        "calibration_curve_plot.png",
        "lift_and_gain.json",
        "lift_curve_plot.png",
        "gain_curve_plot.png",
    }
    (given,) = run.datasets
    assert given.context == "holdout"
    assert report(client, found)["dataset"]["digest"] == given.dataset.digest


def test_in_an_active_run_the_metrics_have_the_name_in_front(client: Client) -> None:
    with modelry.start_run() as run:
        modelry.evaluate(REGRESSOR, FRAME, "price", model_type="regressor", feature_names=ABC)
        modelry.evaluate(REGRESSOR, FRAME, "price", model_type="regressor", feature_names=ABC, name="holdout")
        modelry.evaluate(
            REGRESSOR,
            FRAME,
            "price",
            model_type="regressor",
            feature_names=ABC,
            evaluator_config={"metric_prefix": "x_"},
        )

    kept = client.runs.get(run.run_id).metrics
    assert {"r2_score", "holdout.r2_score", "x_r2_score"} <= kept.keys()


def test_slices_have_metrics_and_small_ones_are_named() -> None:
    found = modelry.evaluate(
        *(CLASSIFIER, FRAME, "label"),
        model_type="classifier",
        feature_names=ABC,
        slices={"region": None, "a": 2, "b": [-1.0, 0.0, 1.0]},
        extra_metrics=[make_metric(lambda predictions: len(predictions), name="seen")],
    )

    rows = {(row["column"], row["slice"]): row for row in found.tables["slices"]}
    north = FRAME[FRAME["region"] == "north"]
    assert rows["region", "north"]["rows"] == len(north) == rows["region", "north"]["seen"]
    assert rows["region", "north"]["accuracy_score"] == pytest.approx(CLASSIFIER.score(north[ABC], north["label"]))
    assert rows["region", "tiny"]["is_small"]
    assert not rows["region", "north"]["is_small"]
    assert [name for column, name in rows if column == "b"] == ["[-1, 0)", "[0, 1]", "below -1", "above 1"]
    for column in ("region", "a", "b"):
        assert sum(row["rows"] for (of, _), row in rows.items() if of == column) == 400


def test_a_column_of_many_values_has_a_bounded_number_of_slices() -> None:
    frame = FRAME.assign(city=[f"city {at % 50}" for at in range(400)], **{"a": FRAME["a"].mask(FRAME.index < 10)})

    found = modelry.evaluate(
        *(lambda features: np.zeros(len(features)), frame, "price"), model_type="regressor", slices=["city", "a"]
    )

    of_city = [row for row in found.tables["slices"] if row["column"] == "city"]
    assert len(of_city) == 21
    assert of_city[-1]["slice"] == "(other)"
    assert sum(row["rows"] for row in of_city) == 400
    of_a = [row for row in found.tables["slices"] if row["column"] == "a"]
    assert [row["rows"] for row in of_a][-1] == 10
    assert of_a[-1]["slice"] == "(missing)"
    assert len(of_a) == 5


def test_intervals_hold_the_value_and_are_the_same_for_a_seed() -> None:
    def evaluated(seed: int) -> Any:
        return modelry.evaluate(
            *(CLASSIFIER, FRAME, "label"),
            model_type="classifier",
            feature_names=ABC,
            confidence=0.9,
            samples=200,
            seed=seed,
        )

    first, again, other = evaluated(1), evaluated(1), evaluated(2)

    assert first.intervals == again.intervals
    assert first.intervals != other.intervals
    for name, each in first.intervals.items():
        assert each.low < first.metrics[name] < each.high
        assert each.confidence == 0.9
    assert "true_positives" not in first.intervals


def test_an_interval_of_a_mean_is_that_of_theory() -> None:
    errors = CHANCE.normal(size=2000)

    found = modelry.evaluate(
        *(lambda rows: np.zeros(len(rows)), errors.reshape(-1, 1), errors), model_type="regressor", confidence=0.95
    )

    interval = found.intervals["mean_squared_error"]
    half = 1.96 * (errors**2).std() / np.sqrt(2000)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.1)


def test_a_baseline_of_other_features_is_said_to_have_failed() -> None:
    other = LogisticRegression().fit(FRAME[["a"]], FRAME["label"])

    with pytest.raises(ValueError, match="feature names") as raised:
        modelry.evaluate(CLASSIFIER, FRAME, "label", model_type="classifier", feature_names=ABC, baseline=other)

    assert raised.value.__notes__ == ["the baseline failed, and not the model; it must take the same features"]


def test_a_baseline_is_compared_on_the_same_rows_in_pairs() -> None:
    worse = LogisticRegression().fit(FRAME[ABC] * [0, 1, 1], FRAME["label"])

    found = modelry.evaluate(
        *(CLASSIFIER, FRAME, "label"),
        model_type="classifier",
        feature_names=ABC,
        baseline=worse,
        confidence=0.95,
        samples=200,
        thresholds={
            "roc_auc": Threshold(min=0.5, min_change=0.001),
            "log_loss": Threshold(max=0.1),
            "accuracy_score": Threshold(min_relative_change=5.0),
            "nothing": Threshold(min=0),
        },
    )

    assert found.differences["roc_auc"] == pytest.approx(found.metrics["roc_auc"] - found.baseline_metrics["roc_auc"])
    pair = found.difference_intervals["roc_auc"]
    assert pair.low <= found.differences["roc_auc"] <= pair.high
    verdicts = {each.metric: each for each in found.verdicts}
    assert {name: each.passed for name, each in verdicts.items()} == {
        "roc_auc": True,
        "log_loss": False,
        "accuracy_score": False,
        "nothing": False,
    }
    assert not found.passed
    assert "at most 0.1" in verdicts["log_loss"].text
    assert "there is none" in verdicts["nothing"].text


def test_a_failed_threshold_is_recorded_before_it_raises(client: Client) -> None:
    with pytest.raises(ThresholdsNotMet, match=r"r2_score: .* needed at least 2") as raised:
        modelry.evaluate(
            *(REGRESSOR, FRAME, "price"),
            model_type="regressor",
            feature_names=ABC,
            thresholds={"r2_score": Threshold(min=2.0)},
            validate="raise",
        )

    run = client.runs.get(raised.value.metadata["run_id"])
    assert run.status is modelry.RunStatus.FINISHED
    content = client.artifacts.read_bytes(f"runs/{run.run_id}", "evaluations/default/report.json")
    assert json.loads(content)["verdicts"][0]["passed"] is False


def test_thresholds_and_metrics_of_mlflow_are_taken() -> None:
    theirs: Any = importlib.import_module("mlflow.models")

    def bias(predictions: Any, targets: Any, metrics: Any) -> float:
        return float(np.mean(predictions - targets))

    found = modelry.models.evaluate(
        *(REGRESSOR, FRAME),
        targets="price",
        model_type="regressor",
        feature_names=ABC,
        evaluators=["default"],
        extra_metrics=[theirs.make_metric(eval_fn=bias, greater_is_better=False)],
        thresholds={"bias": theirs.MetricThreshold(threshold=0.5, greater_is_better=False)},
    )

    assert found.metrics["bias"] == pytest.approx(0, abs=1e-9)
    assert found.passed


def test_metrics_of_ones_own_get_what_they_name_and_one_that_fails_stops_none() -> None:
    def weighted(predictions: Any, targets: Any, c: Any, metrics: Any, scale: float = 2.0) -> dict[str, float]:
        return {"cost": float((np.abs(predictions - targets) * c.abs()).sum() * scale), "r2": metrics["r2_score"]}

    def broken(targets: Any) -> float:
        raise ValueError("no such thing")

    found = modelry.evaluate(
        *(REGRESSOR, FRAME, "price"), model_type="regressor", feature_names=ABC, extra_metrics=[weighted, broken]
    )

    assert found.metrics["cost"] > 0
    assert found.metrics["r2"] == found.metrics["r2_score"]
    assert found.left_out["broken"] == "ValueError: no such thing"


def test_own_metrics_alone_need_numpy_only_and_no_targets() -> None:
    found = modelry.evaluate(
        data={"x": np.arange(4.0), "said": np.arange(4.0)}, predictions="said", extra_metrics=[lambda_sum]
    )

    assert found.metrics == {"example_count": 4.0, "lambda_sum": 6.0}


def lambda_sum(predictions: Any) -> float:
    return float(predictions.sum())


def test_predictions_and_probabilities_can_be_columns_of_the_data() -> None:
    frame = FRAME.assign(said=CLASSIFIER.predict(FRAME[ABC]), share=CLASSIFIER.predict_proba(FRAME[ABC])[:, 1])

    of_columns = modelry.evaluate(
        None, frame, "label", model_type="classifier", predictions="said", probabilities="share"
    )
    of_model = modelry.evaluate(CLASSIFIER, FRAME, "label", model_type="classifier", feature_names=ABC)
    labels_only = modelry.evaluate(None, frame, "label", model_type="classifier", predictions="said")

    assert of_columns.metrics == pytest.approx(of_model.metrics)
    assert "roc_auc" not in labels_only.metrics
    assert "probabilities" in labels_only.left_out["roc_auc"]


def test_a_function_that_gives_a_share_or_a_table_of_shares_is_a_classifier() -> None:
    expected = modelry.evaluate(CLASSIFIER, FRAME, "label", model_type="classifier", feature_names=ABC).metrics

    for predict in (lambda rows: CLASSIFIER.predict_proba(rows)[:, 1], CLASSIFIER.predict_proba):
        found = modelry.evaluate(predict, FRAME, "label", model_type="classifier", feature_names=ABC, batch_rows=90)
        assert found.metrics == pytest.approx(expected)


def test_a_ranker_is_evaluated_by_query() -> None:
    frame = pd.DataFrame({"query": np.repeat(["a", "b", "c"], 4), "score": [4, 3, 2, 1] * 3})
    frame["relevance"] = [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]

    found = modelry.evaluate(
        lambda rows: rows["score"], frame, "relevance", model_type="ranker", group="query", k=[1, 2], confidence=0.9
    )

    assert found.metrics["mrr"] == 0.75
    assert found.metrics["precision_at_1"] == 0.5
    assert found.metrics["recall_at_2"] == 1.0
    assert found.metrics["query_count"] == 3


def test_weights_count() -> None:
    weights = np.where(FRAME["region"] == "north", 0.0, 1.0)
    south = FRAME[weights > 0]

    weighted = modelry.evaluate(
        REGRESSOR, FRAME, "price", model_type="regressor", feature_names=ABC, weights=weights
    ).metrics
    alone = modelry.evaluate(REGRESSOR, south, "price", model_type="regressor", feature_names=ABC).metrics

    assert {**weighted, "example_count": 0} == pytest.approx({**alone, "example_count": 0})


def test_data_of_one_class_leaves_out_what_has_no_value() -> None:
    ones = FRAME[FRAME["label"] == 1]

    found = modelry.evaluate(
        CLASSIFIER, ones, "label", model_type="classifier", feature_names=ABC, confidence=0.9, samples=50
    )
    without_model = modelry.evaluate(None, ones, "label", model_type="classifier", predictions="label")

    assert "roc_auc" not in found.metrics
    assert found.left_out["roc_auc"] == "the targets have only the class 1"
    assert found.metrics["accuracy_score"] == found.metrics["recall_score"]
    assert without_model.metrics["accuracy_score"] == 1.0


def test_fits_of_an_evaluated_function_log_nothing() -> None:
    modelry.sklearn.autolog()
    try:
        before = count_of_runs()

        modelry.evaluate(
            lambda rows: LinearRegression().fit(rows, rows["a"]).predict(rows),
            *(FRAME, "price"),
            model_type="regressor",
            feature_names=ABC,
        )

        assert count_of_runs() == before + 1
    finally:
        modelry.sklearn.autolog(disable=True)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"data": FRAME.iloc[:0]}, DatasetEmpty, "no rows"),
        ({"data": Path("hold.csv")}, InvalidArgument, "data is the path 'hold.csv'; read it first, for example with p"),
        ({"data": "hold.csv"}, InvalidArgument, "data is the text 'hold.csv'; read it first, for example with pandas"),
        ({"data": iter([1])}, InvalidArgument, "data is a list_iterator, which has no rows; give a table, an array or"),
        ({"data": {"a": 5}}, InvalidArgument, "the column 'a' of the data is one value; give as many as there are row"),
        ({"targets": "prize"}, InvalidArgument, "no column 'prize'; its columns are a, b"),
        ({"targets": [1, 2]}, InvalidArgument, "targets has 2 values, and the data has 400 rows"),
        ({"targets": FRAME["price"].mask(FRAME.index == 3)}, InvalidArgument, "1 missing values, the first in row 3"),
        ({"targets": "region"}, InvalidArgument, "targets must be numbers"),
        ({"targets": None}, InvalidArgument, "a regressor needs targets"),
        ({"model": None}, InvalidArgument, "either a model, or predictions"),
        ({"model": 5}, InvalidArgument, "a int can't predict"),
        ({"model": lambda rows: [1.0]}, InvalidArgument, "1 predictions for 400 rows"),
        ({"model": FRAME, "data": REGRESSOR}, InvalidArgument, "is a LinearRegression.* are model and data swapped"),
        ({"model": FRAME, "data": "models:/a/1"}, InvalidArgument, "'models:/a/1', which is a model"),
        ({"data": modelry.data.Dataset("d", digest="1")}, InvalidArgument, "dataset 'd', which does not have its rows"),
        ({"data": modelry.types.Dataset(name="d", digest="1")}, InvalidArgument, "'d', which does not have its rows"),
        ({"model_type": "oracle"}, InvalidArgument, "model_type='oracle'"),
        ({"extra_metrics": len}, InvalidArgument, r"extra_metrics must be a list .*, not len; write extra_metrics=\["),
        ({"extra_metrics": 5}, InvalidArgument, "extra_metrics must be a list .*, not int; give a list"),
        ({"model_type": None}, InvalidArgument, "model_type .* or extra_metrics"),
        ({"model_type": "ranker"}, InvalidArgument, "a ranker needs group"),
        ({"name": "a.b"}, InvalidArgument, "name='a.b'"),
        ({"weights": -np.ones(400)}, InvalidArgument, "must not be negative"),
        ({"weights": np.zeros(400)}, InvalidArgument, "all 0"),
        ({"confidence": 95}, InvalidArgument, "confidence=95 must be between 0 and 1"),
        ({"slices": ["nowhere"]}, InvalidArgument, "slices: the data has no column 'nowhere'"),
        ({"slices": {"a": [3, 1]}}, InvalidArgument, "must be 2 or more numbers that rise"),
        ({"slices": {"region": 3}}, InvalidArgument, "'region' has bins"),
        ({"thresholds": {"r2_score": 0.5}}, InvalidArgument, "give modelry.models.Threshold"),
        ({"thresholds": {"r2_score": Threshold(min_change=0.1)}}, InvalidArgument, "give baseline"),
        ({"evaluator_config": {"magic": 1}}, InvalidArgument, "evaluator_config has no 'magic'"),
        ({"explain": 5001}, InvalidArgument, "explain=5001 must be True, False, or how many rows"),
        ({"evaluators": "oracle"}, InvalidArgument, "only 'default'"),
        ({"model": "models:/nobody/1"}, modelry.errors.ModelNotFound, "nobody"),
    ],
)
def test_what_does_not_fit_is_refused_and_logs_nothing(
    change: dict[str, Any], error: type[Exception], said: str
) -> None:
    before = count_of_runs()
    given: dict[str, Any] = {"model": REGRESSOR, "data": FRAME, "targets": "price", "model_type": "regressor"}

    with pytest.raises(error, match=said):
        modelry.evaluate(**{**given, "feature_names": ABC, **change})

    assert count_of_runs() == before


@pytest.mark.parametrize("bounds", [{}, {"min": float("nan")}, {"min": 2.0, "max": 1.0}, {"max": True}])
def test_a_threshold_needs_bounds_that_can_be_kept(bounds: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        Threshold(**bounds)


def test_labels_that_are_texts_on_one_side_only_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"differ in type \(int and str\) or spelling only"):
        modelry.evaluate(lambda rows: np.full(len(rows), "1", dtype=object), FRAME, "label", model_type="classifier")


@pytest.mark.skipif(importlib.util.find_spec("shap") is not None, reason="shap is installed")
def test_explanations_without_shap_say_what_to_install() -> None:
    found = modelry.evaluate(REGRESSOR, FRAME, "price", model_type="regressor", feature_names=ABC, explain=True)

    assert found.left_out["explanations"] == "shap is not installed: pip install 'modelry[explain]'"
    assert found.metrics["r2_score"] > 0


def test_a_picture_that_fails_stops_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    from modelry._sdk.autologging import plots

    monkeypatch.setattr(plots, "frame", lambda width, height: 1 / 0)

    with caplog.at_level(logging.WARNING):
        found = modelry.evaluate(REGRESSOR, FRAME, "price", model_type="regressor", feature_names=ABC)

    assert found.metrics["r2_score"] > 0
    assert "a picture is left out: ZeroDivisionError" in caplog.text


def test_metrics_of_ones_own_have_intervals_over_rows_or_a_reason_why_not() -> None:
    def mean_error(predictions: Any, targets: Any) -> Any:
        return {"own_mse": ((predictions - targets) ** 2).mean(), "biggest_of_a": 1.0}

    def fails_for_samples(a: Any) -> float:
        if len(set(a)) < len(a):
            raise ValueError("a row came twice")
        return 1.0

    found = modelry.evaluate(
        *(REGRESSOR, FRAME, "price"),
        model_type="regressor",
        feature_names=ABC,
        confidence=0.9,
        samples=100,
        baseline=lambda rows: np.zeros(len(rows)),
        extra_metrics=[
            mean_error,
            fails_for_samples,
            make_metric(lambda metrics: 2 * metrics["r2_score"], name="double"),
            make_metric(lambda: 3, name="constant"),
        ],
    )

    assert found.intervals["own_mse"].low == pytest.approx(found.intervals["mean_squared_error"].low)
    assert found.intervals["own_mse"].high == pytest.approx(found.intervals["mean_squared_error"].high)
    pair, own_pair = found.difference_intervals["mean_squared_error"], found.difference_intervals["own_mse"]
    assert (own_pair.low, own_pair.high) == pytest.approx((pair.low, pair.high))
    assert dict(found.intervals_left_out) == {
        "fails_for_samples": "in half of the samples or more it raised ValueError: a row came twice",
        "double": "it asks for metrics, which are those of all rows",
        "constant": "it takes no rows",
    }
    assert found.metrics["constant"] == 3


def test_own_metrics_alone_have_intervals_and_slow_ones_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from modelry._sdk.evaluating import intervals

    def share(data: Any, region: Any) -> float:
        return float((region == "north").mean() + len(data) - len(region))

    given: dict[str, Any] = {"predictions": "a", "extra_metrics": [share], "confidence": 0.9, "samples": 50}
    found = modelry.evaluate(None, FRAME, **given)
    monkeypatch.setattr(intervals, "SECONDS", -1.0)
    slow = modelry.evaluate(None, FRAME, **given)

    assert found.intervals["share"].low < found.metrics["share"] < found.intervals["share"].high
    assert slow.intervals_left_out == {"share": "0 of 50 samples took -1 s; give fewer samples"}


def test_lift_and_gain_are_those_of_their_definition() -> None:
    targets, shares = np.array([1, 1, 0, 1, 0, 0, 0, 0, 0, 0]), np.linspace(0.9, 0.05, 10)

    found = modelry.evaluate(lambda rows: rows[:, 0], shares.reshape(-1, 1), targets, model_type="classifier")

    by_share = {round(row["share_of_rows"], 2): row for row in found.tables["lift_and_gain"]}
    assert len(by_share) == 20
    assert by_share[0.2]["gain"] == pytest.approx(2 / 3)
    assert by_share[0.2]["lift"] == pytest.approx(1 / 0.3)
    assert by_share[0.35]["gain"] == pytest.approx(2.5 / 3)
    assert (by_share[1.0]["gain"], by_share[1.0]["lift"]) == pytest.approx((1, 1))


def test_rows_of_equal_probability_have_the_lift_of_chance() -> None:
    found = modelry.evaluate(
        lambda rows: np.full((len(rows), 2), 0.5), FRAME[["a"]], FRAME["label"], model_type="classifier"
    )

    assert [row["lift"] for row in found.tables["lift_and_gain"]] == pytest.approx([1.0] * 20)
