"""Explanations by the real SHAP: of trees, of linear models, and of anything else."""

from __future__ import annotations

import json
import logging
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modelry
from modelry import Client
from modelry._sdk.scoring import explaining

pytestmark = [pytest.mark.usefixtures("fluent"), pytest.mark.timeout(300)]

CHANCE = np.random.default_rng(3)
FRAME = pd.DataFrame(CHANCE.normal(size=(300, 3)), columns=["strong", "weak", "none"])
ABC = list(FRAME)
FRAME["price"] = 3 * FRAME["strong"] + FRAME["weak"]
FRAME["label"] = (FRAME["price"] > 0).astype(int)
FRAME["level"] = FRAME["label"] + (FRAME["price"] > 2)


def evaluated(model: Any, target: str = "label", **options: Any) -> Any:
    kind = "regressor" if target == "price" else "classifier"
    given = {"model_type": kind, "feature_names": ABC, "explain": 40, **options}
    return modelry.evaluate(model, FRAME, target, **given)


def features(found: Any) -> list[str]:
    assert "explanations" not in found.left_out, found.left_out
    return [row["feature"] for row in found.tables["explanations"]]


def told(client: Client, found: Any) -> Any:
    report = client.artifacts.read_bytes(f"runs/{found.run_id}", "evaluations/default/report.json")
    return json.loads(report)["explanations"]


def trees() -> dict[str, Any]:
    import catboost
    import lightgbm
    import xgboost

    rows, label = FRAME[ABC], FRAME["label"]
    return {
        "forest": RandomForestClassifier(10, random_state=0).fit(rows, label),
        "xgboost": xgboost.XGBClassifier(n_estimators=10).fit(rows, label),
        "lightgbm": lightgbm.LGBMClassifier(n_estimators=10, verbose=-1).fit(rows, label),
        "catboost": catboost.CatBoostClassifier(iterations=10, verbose=0, allow_writing_files=False).fit(rows, label),
    }


@pytest.mark.parametrize("name", ["forest", "xgboost", "lightgbm", "catboost"])
def test_trees_are_explained_as_trees(name: str, client: Client) -> None:
    found = evaluated(trees()[name])

    assert features(found) == ["strong", "weak", "none"]
    assert told(client, found) == {
        "algorithm": "tree",
        "of": "raw output of the model",
        "outputs": ["1"],
        "rows": 40,
        "background_rows": 100,
    }
    names = {path.rpartition("/")[2] for path in found.artifacts}
    assert {"explanations.json", "shap_feature_importance_plot.png", "shap_beeswarm_plot.png"} <= names


def test_a_linear_model_has_the_values_of_the_formula(client: Client) -> None:
    model = LinearRegression().fit(FRAME[ABC], FRAME["price"])

    found = evaluated(model, "price", seed=4)

    order = np.random.default_rng(4).permutation(300)
    middle = FRAME[ABC].iloc[order[:100]].mean()
    expected = (model.coef_ * (FRAME[ABC].iloc[order[-40:]] - middle)).abs().mean()
    by_feature = {row["feature"]: row["mean_abs_shap_value"] for row in found.tables["explanations"]}
    assert by_feature == pytest.approx(expected.to_dict(), abs=1e-9)
    assert told(client, found)["algorithm"] == "linear"


def test_the_positive_class_is_explained_whichever_it_is() -> None:
    model = LogisticRegression().fit(FRAME[ABC], FRAME["label"])
    given = {"labels": [0, 1], "features": FRAME[ABC]}

    def of(positive: int) -> Any:
        from modelry._sdk.scoring.classifying import Classified

        codes = FRAME["label"].to_numpy()
        scorer = Classified(codes, codes, given["labels"], np.ones(300), positive=positive)
        found, _ = explaining.explained(model, given["features"], scorer, 40, 0)
        assert found is not None
        return found.values

    assert np.allclose(of(1), -of(0))
    assert (
        np.corrcoef(of(1)[:, 0, 0], FRAME["strong"].iloc[np.random.default_rng(0).permutation(300)[-40:]])[0, 1] > 0.99
    )


def test_more_classes_have_a_picture_and_a_column_each() -> None:
    found = evaluated(RandomForestClassifier(10, random_state=0).fit(FRAME[ABC], FRAME["level"]), "level")

    assert features(found)[0] == "strong"
    assert {"of 0", "of 1", "of 2"} <= set(found.tables["explanations"][0])
    assert {f"evaluations/default/shap_beeswarm_plot_{each}.png" for each in range(3)} <= set(found.artifacts)


def test_a_pipeline_a_pyfunc_and_a_function_are_explained_from_outside(client: Client) -> None:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME[ABC], FRAME["label"])
    with modelry.start_run():
        logged = modelry.sklearn.log_model(pipeline, pip_requirements=[])

    of_pyfunc = evaluated(logged, explain=5)
    of_function = evaluated(lambda rows: 3 * rows["strong"].to_numpy() + rows["weak"].to_numpy(), "price", explain=5)

    assert features(of_pyfunc)[:2] == features(of_function)[:2] == ["strong", "weak"]
    assert (told(client, of_pyfunc)["algorithm"], told(client, of_pyfunc)["of"]) == ("permutation", "probability")
    assert (told(client, of_function)["algorithm"], told(client, of_function)["of"]) == ("permutation", "prediction")


def test_texts_dates_and_integers_reach_the_model_in_their_types() -> None:
    frame = FRAME.assign(
        city=CHANCE.choice(["Bonn", "Rome"], 300),
        day=pd.Timestamp("2026-01-01") + pd.to_timedelta(CHANCE.integers(0, 9, 300), "D"),
        count=CHANCE.integers(0, 9, 300),
        size=pd.Categorical(CHANCE.choice(["s", "l"], 300)),
    )
    seen = []

    def model(rows: pd.DataFrame) -> Any:
        seen.append(rows.dtypes.astype(str).to_dict())
        return rows["strong"].to_numpy() + 2 * (rows["city"] == "Rome") + (rows["size"] == "l") * 0

    names = ["strong", "city", "day", "count", "size"]
    found = modelry.evaluate(*(model, frame, "price"), model_type="regressor", feature_names=names, explain=3)

    assert set(features(found)[:2]) == {"strong", "city"}
    assert all(each == seen[0] for each in seen)


def test_it_ends_when_the_time_is_over_and_says_so(
    monkeypatch: pytest.MonkeyPatch, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(explaining, "SECONDS", 0.0)

    with caplog.at_level(logging.WARNING, "modelry"):
        found = evaluated(LinearRegression().fit(FRAME[ABC], FRAME["price"]), "price")

    assert told(client, found)["rows"] == 1
    assert "1 of 40 rows are explained" in caplog.text


def test_the_global_generator_is_as_it_was_and_too_many_features_are_left_out() -> None:
    wide = np.zeros((20, 501))
    before = np.random.get_state()[1].tolist()  # type: ignore[index]

    found = modelry.evaluate(lambda rows: rows[:, 0], wide, np.arange(20), model_type="regressor", explain=True)
    evaluated(lambda rows: rows["strong"].to_numpy(), "price", explain=1)

    assert "there are 501 features" in found.left_out["explanations"]
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]


def test_without_being_asked_nothing_is_explained() -> None:
    found = evaluated(LinearRegression().fit(FRAME[ABC], FRAME["price"]), "price", explain=False)

    assert "explanations" not in found.tables
    assert not [path for path in found.artifacts if "shap" in path]
