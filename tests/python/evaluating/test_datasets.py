"""Datasets as the data of evaluations."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

import modelry
from modelry import Client
from modelry.errors import InvalidArgument

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


def _with_answers(kind: str) -> Any:
    """A dataset that has its targets, and of MLflow also predictions, as columns."""
    import mlflow.data

    table = FRAME[[*ABC, "price"]]
    if kind == "mlflow":
        said = table.assign(said=table["price"])
        return mlflow.data.from_pandas(said, targets="price", predictions="said")  # type: ignore[attr-defined]
    if kind == "numbered":
        numbered = table.set_axis(range(4), axis="columns")
        return mlflow.data.from_pandas(numbered, targets=3)  # type: ignore[attr-defined]
    if kind == "arrow":
        return modelry.data.from_arrow(pa.table(table), targets="price")
    return modelry.data.from_pandas(table, targets="price")


@pytest.mark.filterwarnings("ignore:Starting with pandas version 4.0")
@pytest.mark.parametrize(
    ("kind", "other"),
    [
        *itertools.product(["pandas", "arrow", "mlflow"], ["array", "column", "series", "weights", "none"]),
        *itertools.product(["numbered"], ["array", "series"]),  # names of columns are texts
    ],
)
def test_the_targets_and_predictions_of_a_dataset_are_never_features(kind: str, other: str) -> None:
    given, seen = _with_answers(kind), []
    targets = {"array": FRAME["price"].to_numpy(), "column": "a", "series": FRAME["b"]}.get(other)

    def model(rows: Any) -> Any:
        seen.append([str(name) for name in rows.columns])
        return np.zeros(len(rows))

    weights = np.ones(len(FRAME)) if other == "weights" else None
    modelry.evaluate(model, given, targets, model_type="regressor", baseline=model, weights=weights)

    names = ["0", "1", "2"] if kind == "numbered" else ["b", "c"] if other == "column" else ABC
    assert seen == [names, names]


@pytest.mark.filterwarnings("ignore:Starting with pandas version 4.0")
def test_features_that_tell_the_target_are_refused() -> None:
    for data, targets, named in (
        (_with_answers("pandas"), FRAME["label"], "price"),
        (_with_answers("mlflow"), None, "said"),
        (FRAME, "price", "price"),
    ):
        with pytest.raises(InvalidArgument, match=rf"feature_names has '{named}', a column of targets or predictions"):
            modelry.evaluate(REGRESSOR, data, targets, model_type="regressor", feature_names=[*ABC, named])


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
