"""Datasets as the data of evaluations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

import modelry
from modelry import Client

pytestmark = pytest.mark.usefixtures("fluent")

CHANCE = np.random.default_rng(11)
ABC = ["a", "b", "c"]
FRAME = pd.DataFrame(CHANCE.normal(size=(400, 3)), columns=ABC)
FRAME["label"] = (FRAME["a"] + CHANCE.normal(size=400) > 0).astype(int)
FRAME["price"] = 3 * FRAME["a"] + CHANCE.normal(size=400)
CLASSIFIER = LogisticRegression().fit(FRAME[ABC], FRAME["label"])
REGRESSOR = LinearRegression().fit(FRAME[ABC], FRAME["price"])


def _of_mlflow(targets: bool) -> Any:
    import mlflow.data

    return mlflow.data.from_pandas(FRAME[[*ABC, "price"]], targets="price" if targets else None, name="of mlflow")  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore:Starting with pandas version 4.0", "ignore:.*does not have valid feature names")
@pytest.mark.parametrize(
    ("data", "name"),
    [
        (lambda: modelry.data.from_pandas(FRAME[[*ABC, "price"]], targets="price", name="of pandas"), "of pandas"),
        (lambda: modelry.data.from_arrow(pa.table(FRAME[[*ABC, "price"]]), targets="price"), "dataset"),
        (lambda: modelry.data.from_numpy(FRAME[ABC].to_numpy(), targets=FRAME["price"].to_numpy()), "dataset"),
        (lambda: _of_mlflow(targets=True), "of mlflow"),
    ],
)
def test_datasets_are_taken_with_their_targets_and_recorded_as_they_are(
    client: Client, data: Callable[[], Any], name: str
) -> None:
    given = data()

    found = modelry.evaluate(REGRESSOR, given, model_type="regressor")

    expected = modelry.evaluate(REGRESSOR, FRAME, "price", feature_names=ABC, model_type="regressor")
    assert dict(found.metrics) == pytest.approx(dict(expected.metrics))
    assert (found.dataset_name, found.dataset_digest) == (name, given.digest)
    (kept,) = client.runs.get(found.run_id).datasets
    assert (kept.dataset.name, kept.dataset.digest) == (name, given.digest)


def test_what_is_given_counts_before_what_the_dataset_has() -> None:
    given = modelry.data.from_pandas(FRAME[[*ABC, "price", "label"]], targets="price")

    found = modelry.evaluate(
        *(CLASSIFIER, given, "label"), model_type="classifier", feature_names=ABC, dataset_name="mine"
    )

    assert found.metrics["accuracy_score"] == pytest.approx(CLASSIFIER.score(FRAME[ABC], FRAME["label"]))
    assert (found.dataset_name, found.dataset_digest) == ("mine", given.digest)


@pytest.mark.filterwarnings("ignore:Starting with pandas version 4.0")
def test_the_predictions_of_a_dataset_of_mlflow_are_taken() -> None:
    import mlflow.data

    table = FRAME[["price"]].assign(said=REGRESSOR.predict(FRAME[ABC]))
    given = mlflow.data.from_pandas(table, targets="price", predictions="said")  # type: ignore[attr-defined]

    found = modelry.evaluate(data=given, model_type="regressor")

    assert found.metrics["r2_score"] == pytest.approx(REGRESSOR.score(FRAME[ABC], FRAME["price"]))


def test_a_model_that_gets_a_column_too_many_is_told_to_name_its_features() -> None:
    with pytest.raises(ValueError, match="feature names should match") as caught:
        modelry.evaluate(REGRESSOR, FRAME[[*ABC, "label", "price"]], "price", model_type="regressor")

    (note,) = caught.value.__notes__
    assert note == (
        "the model got the columns a, b, c, label; name those that it takes by feature_names=['a', 'b', 'c']"
    )
