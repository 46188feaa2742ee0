"""What the articles that people learn from say of PyTorch and Keras, with `modelry` where they say `mlflow`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import modelry
import modelry.keras
import modelry.pytorch
import modelry.tensorflow
from modelry import Client
from modelry.models.signature import infer_signature

INPUTS = np.arange(12, dtype=np.float32).reshape(6, 2)

pytestmark = [
    pytest.mark.usefixtures("fluent"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]


def a_network() -> Any:
    torch.manual_seed(0)
    return torch.nn.Linear(2, 1).eval()


def a_keras_model() -> Any:
    keras: Any = importlib.import_module("keras")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    return model


def test_seed_2_logs_and_loads_a_model_of_pytorch(client: Client, tmp_path: Path) -> None:
    model = a_network()
    outputs = model(torch.from_numpy(INPUTS)).detach().numpy()
    torch.save(model.state_dict(), tmp_path / "model.pt")

    with modelry.start_run() as run:
        modelry.log_artifact(str(tmp_path / "model.pt"))
        # Log model
        modelry.pytorch.log_model(model, artifact_path="model", signature=infer_signature(INPUTS, outputs))

    # Load model later
    model_uri = f"runs:/{run.run_id}/model"
    loaded_model: Any = modelry.pytorch.load_model(model_uri)
    as_function: Any = modelry.pyfunc.load_model(model_uri)
    np.testing.assert_allclose(loaded_model(torch.from_numpy(INPUTS)).detach().numpy(), outputs)
    np.testing.assert_allclose(as_function.predict(INPUTS), outputs)
    kept = client.artifacts.download(f"runs/{run.run_id}", "model.pt", tmp_path / "again")
    assert torch.load(kept, weights_only=True).keys() == model.state_dict().keys()


@pytest.mark.parametrize("flavor", ["keras", "tensorflow"])
def test_seed_2_logs_and_loads_a_model_of_keras(flavor: str) -> None:
    framework: Any = getattr(modelry, flavor)
    model = a_keras_model()
    model.fit(INPUTS, INPUTS.sum(axis=1), verbose=0)  # else Keras warns that the optimizer has no state
    outputs = model.predict(INPUTS, verbose=0)

    # Log model
    with modelry.start_run() as run:
        framework.log_model(model, artifact_path="model", signature=infer_signature(INPUTS, outputs))

    # Load model later
    model_uri = f"runs:/{run.run_id}/model"
    loaded_model = framework.load_model(model_uri)
    as_function: Any = modelry.pyfunc.load_model(model_uri)
    np.testing.assert_allclose(loaded_model.predict(INPUTS, verbose=0), outputs, rtol=1e-5)
    np.testing.assert_allclose(as_function.predict(INPUTS), outputs, rtol=1e-5)


def test_seed_3_registers_a_model_that_autologging_has_logged(client: Client, unique: str) -> None:
    bikes = f"bikes-{unique}"
    model = a_keras_model()

    modelry.autolog()
    try:
        with modelry.start_run(run_name="training") as run:
            model.fit(INPUTS, INPUTS.sum(axis=1), epochs=2, verbose=0)
    finally:
        modelry.autolog(disable=True)
    modelry.register_model(name=bikes, model_uri=f"runs:/{run.run_id}/model")
    modelry.MlflowClient().set_registered_model_alias(name=bikes, alias="Champion", version=1)

    champion: Any = modelry.pyfunc.load_model(model_uri=f"models:/{bikes}@Champion")
    np.testing.assert_allclose(champion.predict(INPUTS), model.predict(INPUTS, verbose=0), rtol=1e-5)
    assert client.metrics.read(run.run_id, "loss").steps.tolist() == [0, 1]
