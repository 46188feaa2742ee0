"""What autologging records of frameworks for tables."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest

import modelry
from modelry import Client
from modelry._sdk.recipes.frameworks import FRAMEWORKS
from modelry.types import Run
from tests.families.tabular import autologged
from tests.families.tabular.autologged import CLASSES, FEATURES

pytestmark = [
    pytest.mark.usefixtures("off_again"),
    pytest.mark.filterwarnings("ignore:The argument .eval_set. is deprecated"),
]


@pytest.fixture
def off_again(fluent: None) -> Any:
    yield
    modelry.flush()
    modelry.autolog(disable=True)


def last() -> Run:
    found = modelry.last_active_run()
    assert found is not None
    return found


def test_the_page_has_what_is_recorded() -> None:
    assert autologged.table(autologged.FITS) == autologged.on_the_page("tabular")


def test_iterations_of_xgboost_are_a_series_and_early_stopping_is_seen(client: Client) -> None:
    import xgboost

    modelry.xgboost.autolog(log_models=False)
    data = xgboost.DMatrix(FEATURES, CLASSES)
    params = {"objective": "binary:logistic", "eval_metric": ["auc", "ndcg@5"], "eta": 1.0}
    result: dict[str, Any] = {}

    booster = xgboost.train(
        params, data, 60, evals=[(data, "eval")], early_stopping_rounds=2, evals_result=result, verbose_eval=False
    )

    run = last()
    assert run.params["eta"] == "1.0"
    assert run.params["early_stopping_rounds"] == "2"
    assert run.metrics["best_iteration"] == booster.best_iteration
    series = client.metrics.read(run.run_id, "eval-ndcg_at_5")
    values = result["eval"]["ndcg@5"]
    assert list(series.values) == [*values, values[booster.best_iteration]]
    assert list(series.steps) == [*range(len(values)), len(values)]


def test_a_model_of_the_scikit_learn_interface_has_both(client: Client) -> None:
    import lightgbm
    import xgboost

    modelry.autolog()
    for kind, key in (
        (xgboost.XGBClassifier, "validation_0-logloss"),
        (lightgbm.LGBMClassifier, "valid_0-binary_logloss"),
    ):
        model = kind(n_estimators=4)
        model.fit(FEATURES, CLASSES, eval_set=[(FEATURES.iloc[:300], CLASSES.iloc[:300])])

        run = last()
        assert len(client.metrics.read(run.run_id, key)) == 4
        assert run.metrics["training_accuracy_score"] == model.score(FEATURES, CLASSES)
        loaded: Any = modelry.pyfunc.load_model(f"runs:/{run.run_id}/model")
        assert (np.asarray(loaded.predict(FEATURES)) == model.predict(FEATURES)).all()


def test_a_function_that_was_imported_by_name_before_is_observed() -> None:
    code = (
        "from xgboost import train as fit; import xgboost, modelry; k = [fit]\n"
        "modelry.xgboost.autolog(); print(fit is k[0], fit is xgboost.train, fit is xgboost.sklearn.train)\n"
        "modelry.autolog(disable=True); print(fit is k[0], xgboost.train is k[0], xgboost.sklearn.train is k[0])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)

    assert done.stdout.splitlines() == ["False True True", "True True True"]


def test_importances_and_a_booster_as_model_are_logged(client: Client) -> None:
    import lightgbm

    modelry.lightgbm.autolog(importance_types=["gain"], log_input_examples=True)

    seen: list[Any] = []
    data = lightgbm.Dataset(FEATURES, CLASSES)
    booster = lightgbm.train(
        {"verbose": -1}, data, 3, [data], None, None, None, False, [lambda state: seen.append(state)]
    )

    assert len(seen) == 3
    run = last()
    made = json.loads(client.artifacts.read_bytes(f"runs/{run.run_id}", "feature_importance_gain.json"))
    assert list(made) == booster.feature_name()
    loaded = modelry.lightgbm.load_model(f"runs:/{run.run_id}/model")
    assert loaded.predict(FEATURES) == pytest.approx(booster.predict(FEATURES))


def test_a_training_that_raises_ends_its_run_as_failed() -> None:
    import xgboost

    modelry.xgboost.autolog()

    with pytest.raises(xgboost.core.XGBoostError):
        xgboost.train({"objective": "none:such"}, xgboost.DMatrix(FEATURES, CLASSES), 2)

    assert last().status is modelry.RunStatus.FAILED


def test_a_booster_is_the_same_as_without_autologging() -> None:
    import lightgbm
    import xgboost

    def trained() -> list[str]:
        data = xgboost.DMatrix(FEATURES, CLASSES)
        first = xgboost.train({"seed": 1, "subsample": 0.5}, data, 5, callbacks=None)
        second = lightgbm.train({"verbose": -1, "seed": 1}, lightgbm.Dataset(FEATURES, CLASSES), 5)
        return [str(first.save_raw("json")), second.model_to_string()]

    expected = trained()
    modelry.autolog(log_models=False)

    assert trained() == expected


def test_the_data_of_boosters_is_an_input_of_the_run() -> None:
    import lightgbm
    import xgboost

    modelry.autolog(log_models=False)
    eval_rows = FEATURES.iloc[:100]

    train, other = xgboost.DMatrix(FEATURES, CLASSES), xgboost.DMatrix(eval_rows, CLASSES.iloc[:100])
    xgboost.train({"objective": "binary:logistic"}, train, 2, evals=[(train, "train"), (other, "eval")])
    ours = last()
    lightgbm.train(
        {"verbose": -1},
        lightgbm.Dataset(FEATURES, CLASSES),
        2,
        valid_sets=[lightgbm.Dataset(eval_rows, CLASSES.iloc[:100])],
    )

    digests = [modelry.data.from_numpy(each.get_data(), targets=each.get_label()).digest for each in (train, other)]
    assert {each.context: each.dataset.digest for each in ours.datasets} == dict(
        zip(("train", "eval"), digests, strict=True)
    )
    assert {each.context: each.dataset.digest for each in last().datasets} == {
        "train": modelry.data.from_pandas(FEATURES).digest,
        "eval": modelry.data.from_pandas(eval_rows).digest,
    }


def test_the_versions_that_autologging_calls_tested_are_those_of_these_tests() -> None:
    for framework in FRAMEWORKS.values():
        if framework.name in ("xgboost", "lightgbm", "catboost", "statsmodels"):
            assert version(framework.distribution).startswith(f"{framework.tested}.")
