"""Models on a real platform: logged, registered, and loaded by every URI."""

from __future__ import annotations

import gc
import importlib.metadata
from pathlib import Path
from typing import Any

import pandas
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

import modelry
import modelry.models
import modelry.pyfunc
import modelry.sklearn
from modelry import Client
from modelry.errors import AliasNotFound, InvalidArgument, OwnerNotFound, VersionNotFound

FEATURES, TARGET = load_diabetes(return_X_y=True, as_frame=True)

pytestmark = [
    pytest.mark.usefixtures("fluent"),
    pytest.mark.filterwarnings("ignore:.*type hint:UserWarning"),
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]


@pytest.fixture(scope="module")
def model() -> Ridge:
    return Ridge().fit(FEATURES, TARGET)


def test_a_model_is_logged_to_the_active_run(client: Client, model: Ridge) -> None:
    signature = modelry.models.infer_signature(FEATURES, model.predict(FEATURES))

    with modelry.start_run() as run:
        logged = modelry.sklearn.log_model(model, name="ridge", signature=signature, input_example=FEATURES.head(2))

    assert logged.run_id == run.run_id
    assert logged.model_uri == f"runs:/{run.run_id}/ridge"
    assert logged.signature == signature
    assert logged.flavors.keys() == {"python_function", "sklearn"}
    assert logged.registered_model_version is None
    paths = {artifact.path for artifact in client.artifacts.list(f"runs/{run.run_id}", "ridge")}
    assert {"ridge/MLmodel", "ridge/model.pkl", "ridge/requirements.txt", "ridge/input_example.json"} <= paths
    described = client.artifacts.read_bytes(f"runs/{run.run_id}", "ridge/MLmodel").decode()
    assert f"run_id: {run.run_id}" in described
    assert "artifact_path: ridge" in described


def test_a_model_is_logged_where_no_run_is_active_by_starting_one(model: Ridge) -> None:
    logged = modelry.sklearn.log_model(model)

    active = modelry.active_run()
    assert active is not None
    assert logged.model_uri == f"runs:/{active.run_id}/model"


def test_a_model_with_a_refused_file_is_not_visible_in_parts(
    client: Client, fluent: None, model: Ridge, caplog: pytest.LogCaptureFixture
) -> None:
    with modelry.start_run() as run:
        modelry.log_text("in the way", "model")
        modelry.sklearn.log_model(model)
        modelry.flush(30)

    (found,) = client.artifacts.list(f"runs/{run.run_id}", recursive=True)
    assert (found.path, found.kind) == ("model", "file")
    assert "'model' is a file" in caplog.text


def test_a_registered_model_loads_by_number_stage_alias_and_latest(client: Client, model: Ridge, unique: str) -> None:
    with modelry.start_run():
        first = modelry.sklearn.log_model(model, "model", registered_model_name=unique)
        second = modelry.sklearn.log_model(model, artifact_path="model", name="model", registered_model_name=unique)
    client.promotions.promote(unique, 1, "Production")
    client.aliases.set(unique, "champion", 2)

    version = client.versions.get(unique, 1)
    assert {flavor.name: flavor.library_version for flavor in version.flavors} == {
        "python_function": "",
        "sklearn": importlib.metadata.version("scikit-learn"),
    }
    assert version.signature is None
    expected = list(model.predict(FEATURES.head(2)))
    assert (first.registered_model_version, second.registered_model_version) == (1, 2)
    for uri in (
        first.model_uri,
        *(f"models:/{unique}{rest}" for rest in ("/1", "/Production", "/production", "/latest", "@champion")),
    ):
        assert list(modelry.sklearn.load_model(uri).predict(FEATURES.head(2))) == pytest.approx(expected)
        assert list(modelry.pyfunc.load_model(uri).predict(FEATURES.head(2))) == pytest.approx(expected)


def test_a_model_that_is_registered_later_has_the_signature_of_its_file(
    client: Client, model: Ridge, unique: str
) -> None:
    signature = modelry.models.infer_signature(FEATURES, model.predict(FEATURES))
    logged = modelry.sklearn.log_model(model, signature=signature)

    version = modelry.register_model(logged.model_uri, unique)
    copy = client.versions.create(unique, f"models:/{unique}/1")

    assert version.signature is not None
    assert version.signature.inputs == signature.to_dict()["inputs"]
    assert {flavor.name for flavor in version.flavors} == {"python_function", "sklearn"}
    assert (copy.signature, copy.flavors) == (version.signature, version.flavors)


def test_what_a_uri_names_and_is_not_there_says_so(client: Client, model: Ridge, unique: str) -> None:
    modelry.sklearn.log_model(model, registered_model_name=unique)

    with pytest.raises(VersionNotFound, match="no version in stage 'Staging'"):
        modelry.sklearn.load_model(f"models:/{unique}/Staging")
    with pytest.raises(VersionNotFound):
        modelry.sklearn.load_model(f"models:/{unique}/2")
    with pytest.raises(AliasNotFound):
        modelry.pyfunc.load_model(f"models:/{unique}@champion")


def test_a_model_goes_to_the_run_that_is_named(client: Client, model: Ridge) -> None:
    run_id = client.runs.create("0").run_id

    logged = modelry.sklearn.log_model(model, run_id=run_id, client=client)

    assert logged.run_id == run_id
    assert modelry.active_run() is None
    loaded: Any = modelry.sklearn.load_model(logged.model_uri, client=client)
    assert isinstance(loaded, Ridge)


def test_a_path_is_named_once(model: Ridge, client: Client) -> None:
    with pytest.raises(InvalidArgument, match="differ"):
        modelry.sklearn.log_model(model, "a", name="b")
    with pytest.raises(InvalidArgument, match=r"part '\.\.'"):
        modelry.sklearn.log_model(model, "../b")
    with pytest.raises(OwnerNotFound):
        modelry.sklearn.log_model(model, run_id="0" * 32, client=client)


def test_a_file_of_a_model_is_no_model(model: Ridge, tmp_path: Path) -> None:
    with modelry.start_run() as run:
        modelry.sklearn.log_model(model, "model")

    uri = f"runs:/{run.run_id}/model/MLmodel"
    for folder in (None, tmp_path):
        with pytest.raises(InvalidArgument, match=f"'{uri}' is a file"):
            modelry.sklearn.load_model(uri, dst_path=folder)
    with pytest.raises(InvalidArgument, match=r"MLmodel' is a file"):
        modelry.pyfunc.load_model(tmp_path / "MLmodel")


def test_downloaded_files_live_as_long_as_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unique: str
) -> None:
    (tmp_path / "factor.txt").write_text("3")

    class Late(modelry.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: pandas.DataFrame, params: Any = None) -> pandas.DataFrame:
            return model_input * float(Path(context.artifacts["factor"]).read_text())

    with modelry.start_run() as run:
        modelry.log_artifact(tmp_path / "factor.txt", "inputs")
        logged = modelry.pyfunc.log_model(
            name="late",
            python_model=Late(),
            artifacts={"factor": f"runs:/{run.run_id}/inputs/factor.txt"},
            registered_model_name=unique,
        )
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    loaded: Any = modelry.pyfunc.load_model(f"models:/{unique}/1")

    assert list(loaded.predict(pandas.DataFrame({"a": [2.0]}))["a"]) == [6.0]
    assert len(list(tmp_path.glob("modelry-model-*"))) == 1
    del loaded
    gc.collect()
    assert list(tmp_path.glob("modelry-model-*")) == []
    kept: Any = modelry.pyfunc.load_model(logged.model_uri, dst_path=tmp_path / "kept")
    del kept
    assert (tmp_path / "kept" / "MLmodel").is_file()


def test_the_requirements_of_a_logged_model_are_pinned(client: Client, model: Ridge) -> None:
    with modelry.start_run() as run:
        modelry.sklearn.log_model(model, "model", extra_pip_requirements=["lightgbm"])

    pins = client.artifacts.read_bytes(f"runs/{run.run_id}", "model/requirements.txt").decode().split()
    assert f"scikit-learn=={importlib.metadata.version('scikit-learn')}" in pins
    assert "lightgbm" in pins
