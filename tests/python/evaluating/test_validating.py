"""Results that are held against thresholds after the evaluation."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import modelry
from modelry.errors import InvalidArgument, ThresholdsNotMet
from modelry.models import EvaluationResult, MetricThreshold, Threshold


def result(left_out: dict[str, str] | None = None, baseline: Any = None, **metrics: float) -> EvaluationResult:
    return EvaluationResult("holdout", "", "", metrics, left_out or {}, baseline_metrics=baseline or {})


def test_a_result_that_keeps_its_thresholds_passes() -> None:
    thresholds = {
        "roc_auc": Threshold(min=0.8, min_change=0.1),
        "log_loss": MetricThreshold(0.5, greater_is_better=False),
    }

    modelry.validate_evaluation_results(thresholds, result(roc_auc=0.8, log_loss=0.5), result(roc_auc=0.7))
    modelry.validate_evaluation_results(thresholds, {"roc_auc": 0.8, "log_loss": 0.5}, {"roc_auc": 0.7})
    modelry.validate_evaluation_results(thresholds, result(roc_auc=0.8, log_loss=0.5, baseline={"roc_auc": 0.7}))


def test_the_error_names_every_metric_that_failed_with_value_and_threshold() -> None:
    with pytest.raises(ThresholdsNotMet) as raised:
        modelry.validate_evaluation_results(
            validation_thresholds={
                "roc_auc": Threshold(min=0.8),
                "log_loss": Threshold(max=0.5),
                "accuracy_score": Threshold(min=0.5),
                "mrr": Threshold(min=0.1),
                "r2_score": Threshold(min_change=0.1),
            },
            candidate_result=result(
                {"mrr": "no query has a relevant row"}, roc_auc=0.7, log_loss=0.9, accuracy_score=1, r2_score=1
            ),
            baseline_result=None,
        )

    error = pickle.loads(pickle.dumps(raised.value))
    assert isinstance(error, ThresholdsNotMet)
    assert dict(error.fields) == {
        "roc_auc": "0.7, needed at least 0.8",
        "log_loss": "0.9, needed at most 0.5",
        "mrr": "not known: no query has a relevant row",
        "r2_score": "1, not comparable: no baseline is given",
    }
    assert [(each.metric, each.value) for each in error.verdicts] == [
        ("roc_auc", 0.7),
        ("log_loss", 0.9),
        ("mrr", None),
        ("r2_score", 1),
    ]
    assert "has not kept 4 of 5 thresholds: roc_auc: 0.7, needed at least 0.8; log_loss" in str(error)


def test_results_and_thresholds_of_mlflow_are_taken_and_judged_as_there() -> None:
    import mlflow
    from mlflow.exceptions import MlflowException

    models: Any = mlflow.models

    cases = [
        ({"threshold": 0.8, "greater_is_better": True}, 0.8, 0.1),
        ({"threshold": 0.8, "greater_is_better": False}, 0.81, 0.1),
        ({"min_absolute_change": 0.25, "greater_is_better": True}, 0.75, 0.5),
        ({"min_absolute_change": 0.25, "greater_is_better": False}, 0.5, 0.5),
        ({"min_relative_change": 0.5, "greater_is_better": True}, 0.75, 0.5),
        ({"min_relative_change": 0.5, "greater_is_better": True}, 0.7, 0.5),
        ({"min_relative_change": 0.5, "greater_is_better": True}, 0.0, 0.0),
        ({"min_relative_change": 0.5, "greater_is_better": True}, 0.1, 0.0),
    ]
    for given, value, before in cases:
        results = [models.EvaluationResult(metrics={"m": each}, artifacts={}) for each in (value, before)]
        said = []
        for validate, errors in (
            (mlflow.validate_evaluation_results, MlflowException),
            (modelry.validate_evaluation_results, ThresholdsNotMet),
        ):
            try:
                validate({"m": models.MetricThreshold(**given)}, *results)
                said.append(True)
            except errors:
                said.append(False)

        assert said[0] == said[1], (given, value, before)


@pytest.mark.parametrize(("thresholds", "candidate"), [({"m": 0.5}, {"m": 1}), ({"m": Threshold(min=0)}, 0.5)])
def test_what_is_no_threshold_and_no_result_is_refused(thresholds: Any, candidate: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"give modelry\.models\.Threshold|give what evaluate returned"):
        modelry.validate_evaluation_results(thresholds, candidate)
