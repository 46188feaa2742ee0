"""What the articles that people learn from say of XGBoost and LightGBM, with `modelry` where they say `mlflow`."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

import modelry
from modelry import Client

INPUTS, OUTPUTS = load_diabetes(return_X_y=True, as_frame=True)

pytestmark = pytest.mark.usefixtures("fluent")


def trained(flavor: str) -> Any:
    """What the article leaves open: `model = ...  # your model training logic here`."""
    if flavor == "xgboost":
        return importlib.import_module("xgboost").XGBRegressor(n_estimators=5).fit(INPUTS, OUTPUTS)
    return importlib.import_module("lightgbm").LGBMRegressor(n_estimators=5, verbose=-1).fit(INPUTS, OUTPUTS)


@pytest.mark.parametrize("flavor", ["xgboost", "lightgbm"])
def test_seed_2_logs_and_loads_a_model_of_a_framework(flavor: str) -> None:
    framework: Any = importlib.import_module(f"modelry.{flavor}")
    model = trained(flavor)

    # Log model
    with modelry.start_run() as run:
        framework.log_model(model, artifact_path="model")

    # Load model later
    model_uri = f"runs:/{run.run_id}/model"
    loaded_model = framework.load_model(model_uri)
    as_function: Any = modelry.pyfunc.load_model(model_uri)
    np.testing.assert_allclose(loaded_model.predict(INPUTS), model.predict(INPUTS), rtol=1e-6)
    np.testing.assert_allclose(as_function.predict(INPUTS), model.predict(INPUTS), rtol=1e-6)


@pytest.mark.parametrize("flavor", ["xgboost", "lightgbm"])
def test_seed_3_registers_a_model_that_autologging_has_logged(flavor: str, client: Client, unique: str) -> None:
    bikes = f"bikes-{unique}"

    modelry.autolog()
    try:
        with modelry.start_run(run_name="training") as run:
            model = trained(flavor)
    finally:
        modelry.autolog(disable=True)
    model_version = modelry.register_model(name=bikes, model_uri=f"runs:/{run.run_id}/model")
    modelry.MlflowClient().set_registered_model_alias(name=bikes, alias="Champion", version=1)

    assert model_version.version == 1
    model_uri = f"models:/{bikes}@Champion"
    champion: Any = modelry.pyfunc.load_model(model_uri=model_uri)
    np.testing.assert_allclose(champion.predict(INPUTS), model.predict(INPUTS), rtol=1e-6)
    found = client.runs.get(run.run_id)
    assert found.params["n_estimators"] == "5"
    assert "training_r2_score" in found.metrics
