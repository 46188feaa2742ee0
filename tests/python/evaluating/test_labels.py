"""Targets and predictions that have no label in common."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

import modelry
from modelry.errors import InvalidArgument

pytestmark = pytest.mark.usefixtures("fluent")

TARGETS = np.array([0, 1, 1, 0])
ROWS = np.zeros((4, 1))


def evaluated(targets: Any, said: Any, **options: Any) -> Any:
    return modelry.evaluate(
        lambda rows: np.asarray(said), ROWS, np.asarray(targets), model_type="classifier", **options
    )


@pytest.mark.parametrize(
    ("targets", "said", "hint"),
    [
        (TARGETS, ["0", "1", "1", "0"], r"targets are 0, 1 and the predictions '0', '1', .* type \(int and str\)"),
        (TARGETS, ["yes", "no", "yes", "no"], "some labels are texts and some are not; map the predictions"),
        (["yes", "no", "yes", "no"], TARGETS, "targets are 'no', 'yes' and the predictions 0, 1"),
        (["yes", "no", "yes", "no"], ["Yes", "No ", "Yes", "No "], "or spelling only"),
        ([True, False, True, True], ["True", "False", "True", "True"], r"type \(bool and str\)"),
        (["a", "b", "a", "b"], [0.1, 0.7, 0.2, 0.4], "look like scores; give labels"),
        ([1, 2, 1, 2], [0.1, 0.7, 0.2, 0.4], "look like scores; give labels"),
    ],
)
def test_predictions_that_cannot_mean_the_targets_are_refused(targets: Any, said: Any, hint: str) -> None:
    with pytest.raises(InvalidArgument, match=hint):
        evaluated(targets, said)


def test_a_model_of_other_classes_is_refused() -> None:
    class Model:
        classes_ = np.array([3, 4])

        def predict(self, rows: Any) -> Any:
            return np.full(len(rows), 3)

        def predict_proba(self, rows: Any) -> Any:
            return np.full((len(rows), 2), 0.5)

    with pytest.raises(InvalidArgument, match="the model knows 3, 4 only"):
        modelry.evaluate(Model(), ROWS, TARGETS, model_type="classifier")


def test_labels_of_one_type_without_a_common_one_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = evaluated(["a", "b", "a", "b"], ["c", "d", "c", "d"])

    assert found.metrics["accuracy_score"] == 0
    assert "the targets are 'a', 'b' and the predictions 'c', 'd', with no label in both" in caplog.text


def test_labels_that_are_given_or_met_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "modelry"):
        evaluated(["a", "a", "a", "a"], ["b", "b", "b", "b"], label_list=["a", "b"])
        evaluated(["a", "b", "a", "b"], ["b", "b", "b", "c"])

    assert "no label in both" not in caplog.text
