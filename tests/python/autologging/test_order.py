"""What autologging does in the background comes before what the program does after the fit, as the program says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate

import modelry
from modelry import ActiveRun, Client, MlflowClient
from modelry._sdk.recording.afterwork import Afterwork
from modelry._sdk.transport import process

pytestmark = pytest.mark.usefixtures("autologging")

RETURNED = threading.Event()


class Slow(LinearRegression):  # type: ignore[misc]
    """Takes a while for each answer, which only the background asks for."""

    def predict(self, rows: Any) -> Any:
        threading.Event().wait(0.1)
        return super().predict(rows)


class Waiting(LinearRegression):  # type: ignore[misc]
    """Answers when the test says so."""

    def predict(self, rows: Any) -> Any:
        assert RETURNED.wait(60)
        return super().predict(rows)


class SlowToClassify(LogisticRegression):  # type: ignore[misc]
    """Takes a while for each answer."""

    def predict_proba(self, rows: Any) -> Any:
        threading.Event().wait(0.1)
        return super().predict_proba(rows)


def test_a_model_that_is_logged_after_the_fit_is_the_one_that_is_there_and_registered(
    features: np.ndarray, unique: str
) -> None:
    modelry.sklearn.autolog(log_input_examples=True)
    with modelry.start_run() as run:
        model = Slow().fit(features, features[:, 0])
        model.marker = "mine"
        modelry.sklearn.log_model(model, name="model", registered_model_name=unique)

    assert modelry.sklearn.load_model(f"runs:/{run.run_id}/model").marker == "mine"
    assert modelry.sklearn.load_model(f"models:/{unique}/1").marker == "mine"


def test_a_model_that_a_client_uploads_after_the_fit_is_the_one_that_is_there(
    client: Client, features: np.ndarray
) -> None:
    modelry.sklearn.autolog()
    with modelry.start_run() as run:
        Slow().fit(features, features[:, 0])
        client.artifacts.upload_bytes(f"runs/{run.run_id}", "model/MLmodel", b"mine")

    assert client.artifacts.read_bytes(f"runs/{run.run_id}", "model/MLmodel") == b"mine"


def test_files_that_are_logged_after_the_fit_are_the_ones_that_are_there(
    client: Client, features: np.ndarray, classes: np.ndarray, tmp_path: Path
) -> None:
    modelry.sklearn.autolog(log_models=False)
    (tmp_path / "training_confusion_matrix.png").write_bytes(b"mine")
    with modelry.start_run() as run:
        SlowToClassify().fit(features, classes)
        modelry.log_text("mine", "training_roc_curve.png")
        modelry.log_artifacts(tmp_path, synchronous=False)

    owner = f"runs/{run.run_id}"
    assert client.artifacts.read_bytes(owner, "training_roc_curve.png") == b"mine"
    assert client.artifacts.read_bytes(owner, "training_confusion_matrix.png") == b"mine"
    assert client.artifacts.read_bytes(owner, "training_precision_recall_curve.png") != b"mine"


def test_files_elsewhere_and_what_is_logged_do_not_wait(client: Client, features: np.ndarray) -> None:
    RETURNED.clear()
    modelry.sklearn.autolog()
    with modelry.start_run() as run:
        Waiting().fit(features, features[:, 0])
        modelry.log_text("mine", "models.txt")
        modelry.log_metric("mine", 1.0)
        client.artifacts.upload_bytes(f"runs/{run.run_id}", "other/MLmodel", b"mine")
        with modelry.start_run(nested=True) as other:
            modelry.log_text("mine", "model/MLmodel")
            assert client.runs.get(other.run_id).run_id == other.run_id
        RETURNED.set()

    assert client.artifacts.read_bytes(f"runs/{run.run_id}", "models.txt") == b"mine"


READS: dict[str, Callable[[Client, str, str], object]] = {
    "load_model": lambda client, run_id, name: modelry.sklearn.load_model(f"runs:/{run_id}/model"),
    "pyfunc": lambda client, run_id, name: modelry.pyfunc.load_model(f"runs:/{run_id}/model"),
    "register_model": lambda client, run_id, name: modelry.register_model(f"runs:/{run_id}/model", name),
    "create": lambda client, run_id, name: client.versions.create(name, f"runs:/{run_id}/model"),
    "create_model_version": lambda client, run_id, name: MlflowClient().create_model_version(
        name, f"runs:/{run_id}/model", run_id
    ),
    "list": lambda client, run_id, name: list(client.artifacts.list(f"runs/{run_id}", "model")),
    "get": lambda client, run_id, name: client.artifacts.get(f"runs/{run_id}", "model/MLmodel"),
    "read_bytes": lambda client, run_id, name: client.artifacts.read_bytes(f"runs/{run_id}", "model/MLmodel"),
    "runs.get": lambda client, run_id, name: "training_r2_score" in client.runs.get(run_id).metrics,
    "get_run": lambda client, run_id, name: "training_r2_score" in modelry.get_run(run_id).metrics,
    "metrics.read": lambda client, run_id, name: client.metrics.read(run_id, "training_r2_score").values,
}


@pytest.mark.parametrize("read", READS)
def test_who_reads_the_run_of_a_fit_finds_what_the_fit_logs(
    client: Client, features: np.ndarray, unique: str, read: str
) -> None:
    modelry.sklearn.autolog()
    client.models.create(unique)
    with modelry.start_run() as run:
        Slow().fit(features, features[:, 0])

        assert READS[read](client, run.run_id, unique)


def test_an_evaluation_of_the_model_of_a_fit_and_its_download_find_it(
    client: Client, features: np.ndarray, tmp_path: Path
) -> None:
    modelry.sklearn.autolog()
    with modelry.start_run() as run:
        Slow().fit(features, features[:, 0])
        client.artifacts.download(f"runs/{run.run_id}", "model", tmp_path)
        model = f"runs:/{run.run_id}/model"
        result = modelry.evaluate(model, features, targets=features[:, 0], model_type="regressor")

    assert (tmp_path / "MLmodel").is_file()
    assert result.metrics["r2_score"] == pytest.approx(1)


def test_the_version_that_a_fit_registers_is_the_latest_one(features: np.ndarray, unique: str) -> None:
    modelry.sklearn.autolog(registered_model_name=unique)
    with modelry.start_run():
        Slow().fit(features, features[:, 0])

        assert [each.version_number for each in MlflowClient().get_latest_versions(unique)] == [1]
        assert isinstance(modelry.sklearn.load_model(f"models:/{unique}/latest"), Slow)


class Curious(LinearRegression):  # type: ignore[misc]
    """Reads and writes its run while it is copied and while it answers, as no model should."""

    def fit(self, rows: Any, targets: Any) -> Any:
        self.run_id = _active().run_id
        return super().fit(rows, targets)

    def predict(self, rows: Any) -> Any:
        modelry.log_text("asked", "model/asked.txt", run_id=self.run_id)
        modelry.get_run(self.run_id)
        return super().predict(rows)

    def __getstate__(self) -> Any:
        threading.Event().wait(0.1)
        modelry.get_run(self.run_id)
        return super().__getstate__()


def test_the_background_does_not_wait_for_itself(features: np.ndarray) -> None:
    modelry.sklearn.autolog()
    with modelry.start_run() as run:
        Curious().fit(features, features[:, 0])

        assert isinstance(modelry.sklearn.load_model(f"runs:/{run.run_id}/model"), Curious)


def _active() -> ActiveRun:
    found = modelry.active_run()
    assert found is not None
    return found


FITS: dict[str, Callable[[Any, Any], object]] = {
    "classifier": lambda rows, classes: SlowToClassify().fit(rows, classes),
    "regressor": lambda rows, classes: Slow().fit(rows, classes),
    "search": lambda rows, classes: GridSearchCV(SlowToClassify(), {"C": [1, 2]}, cv=2).fit(rows, classes),
    "folds": lambda rows, classes: cross_validate(SlowToClassify(), rows, classes, cv=2),
}


@pytest.mark.parametrize("fit", FITS)
def test_writers_know_each_file_that_the_background_writes(
    client: Client, features: np.ndarray, classes: np.ndarray, fit: str
) -> None:
    modelry.sklearn.autolog()
    with modelry.start_run() as run:
        modelry.flush()
        FITS[fit](features, classes)
        jobs = list(process.current().part(Afterwork)._pending.values())

    told = {path for job in jobs for path in job.files or ()}
    written = {file.path for file in client.artifacts.list(f"runs/{run.run_id}")} - {"modelry"}
    assert told == written
