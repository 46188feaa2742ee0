"""What autologging says of models that become no version."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import modelry
from modelry import Client

pytestmark = pytest.mark.usefixtures("autologging")


def test_a_model_that_the_registry_does_not_take_is_logged_and_told_as_not_registered(
    client: Client,
    features: np.ndarray,
    classes: np.ndarray,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MODELRY_TIMEOUT", "1s")
    modelry.set_registry_uri("127.0.0.1:1")
    modelry.sklearn.autolog(registered_model_name="not-there", log_plots=False)
    with modelry.start_run() as run:
        LogisticRegression().fit(features, classes)
    modelry.flush()

    assert client.artifacts.get(f"runs/{run.run_id}", "model/MLmodel").size_bytes > 0
    told = [text for text in caplog.messages if "registered" in text]
    assert len(told) == 1
    assert "the model was logged, but not registered: Unavailable" in told[0]
    assert not any("model was not logged" in text for text in caplog.messages)
