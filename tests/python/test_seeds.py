"""The snippets of the articles that people learn from, with `modelry` where they say `mlflow`.

What an article leaves open (its model, its data, its report, its address) is filled in. Names of models have an ending,
because the tests share a server. Snippets of other frameworks are in `tests/families/*/test_seeds.py`.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pandas
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error

import modelry
import modelry.pyfunc
import modelry.sklearn
from modelry import Client
from modelry.errors import FieldInvalid, InvalidArgument
from modelry.models.signature import infer_signature
from tests.parts import free_port
from tests.parts.deployment import Deployment
from tests.parts.eventually import eventually

INPUTS, OUTPUTS = load_diabetes(return_X_y=True, as_frame=True)

pytestmark = [
    pytest.mark.usefixtures("fluent"),
    pytest.mark.filterwarnings("ignore:.*type hint:UserWarning"),
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]


@pytest.fixture(scope="module")
def model() -> Ridge:
    return Ridge().fit(INPUTS, OUTPUTS)


def test_seed_0_takes_a_model_through_all_stages(client: Client, model: Ridge, unique: str, tmp_path: Path) -> None:
    name = f"ChurnPredictionModel-{unique}"
    run = modelry.start_run()
    modelry.sklearn.log_model(model, artifact_path="model", registered_model_name=name)

    staged = modelry.transition_model_version_stage(name=name, version=1, stage="Staging")
    modelry.set_tag("Staging Feedback", "Passed UAT with minor issues")
    in_use = modelry.transition_model_version_stage(name=name, version=1, stage="Production")
    modelry.set_tag("User Feedback", "Positive impact on churn reduction")
    modelry.set_tag("Documentation", "Complete")
    archived = modelry.transition_model_version_stage(name=name, version=1, stage="Archived")
    modelry.set_tag("Deprecation Status", "Deprecated")
    renewed = modelry.transition_model_version_stage(name=name, version=1, stage="None")

    def generate_compliance_report() -> str:
        report = tmp_path / "compliance_report.json"
        report.write_text(json.dumps({"model": name, "approved": True}))
        return str(report)

    compliance_report = generate_compliance_report()
    modelry.log_artifact(compliance_report)
    modelry.end_run()

    assert [version.stage for version in (staged, in_use, archived, renewed)] == [
        "Staging",
        "Production",
        "Archived",
        "None",
    ]
    moves = [(move.from_stage, move.to_stage) for move in client.promotions.list(name)]
    assert moves == [
        ("Archived", "None"),
        ("Production", "Archived"),
        ("Staging", "Production"),
        ("None", "Staging"),
    ]
    tags = client.runs.get(run.run_id).tags
    assert tags["Staging Feedback"] == "Passed UAT with minor issues"
    assert tags["User Feedback"] == "Positive impact on churn reduction"
    assert (tags["Documentation"], tags["Deprecation Status"]) == ("Complete", "Deprecated")
    stored = client.artifacts.read_bytes(f"runs/{run.run_id}", "compliance_report.json")
    assert json.loads(stored) == {"model": name, "approved": True}


def test_seed_0_serves_a_stage_by_its_uri(model: Ridge, unique: str) -> None:
    name = f"ChurnPredictionModel-{unique}"
    modelry.sklearn.log_model(model, registered_model_name=name)

    for stage in ("Staging", "Production"):
        modelry.transition_model_version_stage(name=name, version=1, stage=stage)
        loaded: Any = modelry.pyfunc.load_model(f"models:/{name}/{stage}")
        assert len(loaded.predict(INPUTS)) == len(INPUTS)
    with pytest.raises(FieldInvalid, match="'None', 'Staging', 'Production', 'Archived'"):
        modelry.transition_model_version_stage(name=name, version=1, stage="Retired")


def test_seed_0_describes_compares_and_audits_what_it_promotes(client: Client, unique: str) -> None:
    name = f"ChurnPredictionModel-{unique}"
    mlflow_client = modelry.MlflowClient()

    # Run code, with a signature, and register by code
    for alpha in (100.0, 0.1):
        with modelry.start_run():
            model = Ridge(alpha=alpha).fit(INPUTS, OUTPUTS)
            modelry.log_param("alpha", alpha)
            modelry.log_metric("training_mse", mean_squared_error(OUTPUTS, model.predict(INPUTS)))
            signature = infer_signature(INPUTS, model.predict(INPUTS))
            modelry.sklearn.log_model(model, name="model", signature=signature, registered_model_name=name)
    modelry.flush()

    # Comparison, best model
    compared = client.versions.compare(name, 1, 2)
    training_mse = next(row for row in compared.metrics if row.metric == "training_mse")
    assert training_mse.difference is not None
    assert training_mse.difference < 0

    # Description, tags, comments of teammates, metadata, stage
    mlflow_client.update_registered_model(name, "Who will leave us")
    mlflow_client.update_model_version(name, 2, "Trained on all rows")
    mlflow_client.set_model_version_tag(name, 2, "Staging Feedback", "Passed UAT with minor issues")
    mlflow_client.transition_model_version_stage(name, 2, "Production", archive_existing_versions=True)

    # Lineage, audit, inference
    found = mlflow_client.get_latest_versions(name, ["Production"])[0]
    assert (found.version, found.description, found.tags["Staging Feedback"]) == (
        2,
        "Trained on all rows",
        "Passed UAT with minor issues",
    )
    assert client.runs.get(found.run_id).params["alpha"] == "0.1"
    actions = [record.action for record in client.audit.list(name)]
    assert len(actions) >= 6
    served: Any = modelry.pyfunc.load_model(f"models:/{name}/Production")
    assert len(served.predict(INPUTS)) == len(INPUTS)


def test_seed_0_serves_what_it_has_downloaded_by_mlflows_server(
    client: Client, model: Ridge, unique: str, tmp_path: Path
) -> None:
    """`mlflow models serve -m "models:/ChurnPredictionModel/Staging" -p 5000`, with the files in a folder."""
    name = f"ChurnPredictionModel-{unique}"
    modelry.sklearn.log_model(model, input_example=INPUTS.head(2), registered_model_name=name)
    modelry.transition_model_version_stage(name=name, version=1, stage="Staging")
    client.artifacts.download(client.versions.resolve(f"models:/{name}/Staging").owner, "", tmp_path / "staging")
    port = free_port()

    scripts = os.path.dirname(sys.executable)
    served = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "models", "serve", "-m", "staging", "-p", str(port), "--env-manager=local"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        start_new_session=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        eventually(lambda: _answers(f"{address}/ping"), within_s=60)
        example = (tmp_path / "staging" / "serving_input_example.json").read_bytes()
        request = urllib.request.Request(
            f"{address}/invocations", example, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            predictions = json.load(answer)["predictions"]
    finally:
        os.killpg(served.pid, signal.SIGTERM)
        served.wait(30)

    assert predictions == pytest.approx(list(model.predict(INPUTS.head(2))))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_seed_1_records_params_metrics_and_the_model(client: Client) -> None:
    file, n, lr = "corpus.txt", 3, 0.1
    model = Ridge(alpha=lr).fit(INPUTS, OUTPUTS)
    score = model.score(INPUTS, OUTPUTS)

    with modelry.start_run() as run:
        modelry.log_param("data_file", file)
        modelry.log_param("n", n)
        modelry.log_param("learn_rate", lr)
        modelry.log_metric("score", score)
        modelry.sklearn.log_model(model)

    found = client.runs.get(run.run_id)
    assert found.params == {"data_file": "corpus.txt", "n": "3", "learn_rate": "0.1"}
    assert found.metrics == {"score": score}
    assert found.status == "FINISHED"
    assert client.artifacts.get(f"runs/{run.run_id}", "model/MLmodel").kind == "file"


def test_seed_2_tracks_an_experiment(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outputs").mkdir()
    Path("outputs/model.pkl").write_bytes(b"weights")

    with modelry.start_run():
        modelry.log_param("learning_rate", 0.01)
        modelry.log_metric("accuracy", 0.92)
        modelry.log_artifact("outputs/model.pkl")

    run = modelry.last_active_run()
    assert run is not None
    assert (run.params, run.metrics) == ({"learning_rate": "0.01"}, {"accuracy": 0.92})
    assert client.artifacts.read_bytes(f"runs/{run.run_id}", "model.pkl") == b"weights"


def test_seed_2_logs_a_model_as_a_file_and_as_a_model(client: Client, model: Ridge, tmp_path: Path) -> None:
    file = tmp_path / "model.pkl"
    file.write_bytes(pickle.dumps(model))

    with modelry.start_run() as run:
        modelry.log_artifact(str(file))
        # Log model
        modelry.sklearn.log_model(model, artifact_path="model")

    # Load model later
    model_uri = f"runs:/{run.run_id}/model"
    loaded_model: Any = modelry.sklearn.load_model(model_uri)
    as_function: Any = modelry.pyfunc.load_model(model_uri)
    assert isinstance(loaded_model, Ridge)
    assert list(loaded_model.predict(INPUTS)) == pytest.approx(list(model.predict(INPUTS)))
    assert list(as_function.predict(INPUTS)) == pytest.approx(list(model.predict(INPUTS)))
    files = {artifact.path for artifact in client.artifacts.list(f"runs/{run.run_id}", recursive=True)}
    assert {"model.pkl", "model/model.pkl", "model/requirements.txt", "model/conda.yaml"} <= files
    with pytest.raises(InvalidArgument, match="name the folder that has the MLmodel file"):
        modelry.sklearn.load_model(f"runs:/{run.run_id}/model.pkl")


def test_seed_2_registers_and_promotes(platform: Deployment, model: Ridge, unique: str) -> None:
    from modelry import MlflowClient

    with modelry.start_run() as run:
        modelry.sklearn.log_model(model, artifact_path="model")
    run_id = run.run_id

    modelry.set_tracking_uri(f"grpc://{platform.address}")
    client = MlflowClient()

    # Register a new model
    client.create_registered_model(f"my_model-{unique}")

    # Create model version
    client.create_model_version(name=f"my_model-{unique}", source=f"runs:/{run_id}/model", run_id=run_id)

    # Transition version to Production
    client.transition_model_version_stage(name=f"my_model-{unique}", version=1, stage="Production")

    version = client.get_model_version(f"my_model-{unique}", 1)
    assert (version.current_stage, version.run_id, version.source) == ("Production", run_id, f"runs:/{run_id}/model")


@pytest.mark.parametrize("uri", ["http://10.0.0.5:5000", "http://<tracking-server-ip>:5000", "file://./mlruns"])
def test_addresses_of_mlflow_are_refused_with_what_would_be_right(uri: str) -> None:
    for choose in (modelry.set_tracking_uri, modelry.set_registry_uri):
        with pytest.raises(InvalidArgument, match="write grpc://host:port"):
            choose(uri)
    with pytest.raises(InvalidArgument, match=r"'\./mlruns' is not a host and a port"):
        modelry.MlflowClient(tracking_uri="./mlruns", registry_uri="./mlruns")


def test_seed_3_registers_signs_finds_and_aliases(platform: Deployment, unique: str) -> None:
    from modelry.models.signature import infer_signature
    from modelry.tracking import MlflowClient

    # Initializing. What is `./mlruns` in the article is the address of a server.
    bikes, address = f"bikes-{unique}", f"grpc://{platform.address}"
    modelry.set_tracking_uri(address)
    modelry.set_registry_uri(address)
    client = modelry.tracking.MlflowClient()
    client.create_registered_model(bikes)

    # Saving, with a signature
    inputs = INPUTS
    with modelry.start_run(run_name="training") as run:
        model = Ridge().fit(INPUTS, OUTPUTS)
        outputs = model.predict(inputs)
        model_info = modelry.sklearn.log_model(model, "models")
        signature = infer_signature(inputs, outputs)
        signed = modelry.sklearn.log_model(model, artifact_path="models", signature=signature, input_example=inputs)
    assert run.run_name == "training"
    assert (model_info.model_uri, signed.signature) == (f"runs:/{run.run_id}/models", signature)

    # Registering and loading
    model_version = modelry.register_model(name=bikes, model_uri=model_info.model_uri)
    assert model_version.version == 1
    model_uri = f"models:/{bikes}/1"
    loaded: Any = modelry.sklearn.load_model(model_uri)
    predictions = loaded.predict(inputs)
    assert list(predictions) == pytest.approx(list(outputs))

    # Finding
    model_versions = client.search_model_versions(f"name='{bikes}'")
    for model_version in model_versions:
        assert bikes in str(model_version)
    assert [model_version.version for model_version in model_versions] == [1]

    # Marking as ready, by an alias
    client = MlflowClient(tracking_uri=address, registry_uri=address)
    client.set_registered_model_alias(name=bikes, alias="Champion", version=1)
    model_uri = f"models:/{bikes}@Champion"
    champion: Any = modelry.pyfunc.load_model(model_uri=model_uri)
    assert list(champion.predict(inputs)) == pytest.approx(list(outputs))
    modelry.register_model(name=bikes, model_uri=signed.model_uri)
    versions = client.search_model_versions(f"name='{bikes}'", max_results=1, order_by=["version_number DESC"])
    last_version = versions[0].version
    client.set_registered_model_alias(name=bikes, alias="Champion", version=last_version)
    assert client.get_model_version_by_alias(bikes, "Champion").version == 2

    # Rolling back
    client.set_registered_model_alias(name=bikes, alias="Champion", version=1)
    assert client.get_model_version_by_alias(bikes, "Champion").version == 1


def test_seed_3_saves_by_autologging(client: Client) -> None:
    modelry.autolog()
    try:
        with modelry.start_run(run_name="training") as run:
            model = Ridge().fit(INPUTS, OUTPUTS)
    finally:
        modelry.autolog(disable=True)

    found = client.runs.get(run.run_id)
    assert found.params["alpha"] == "1.0"
    assert found.metrics["training_r2_score"] == pytest.approx(model.score(INPUTS, OUTPUTS))
    loaded: Any = modelry.sklearn.load_model(f"runs:/{run.run_id}/model")
    assert list(loaded.predict(INPUTS)) == pytest.approx(list(model.predict(INPUTS)))


def test_seed_3_saves_custom_logic(tmp_path: Path) -> None:
    def some_transformation(column: Any) -> Any:
        return column + 1

    class CustomModel(modelry.pyfunc.PythonModel):
        def load_context(self, context: Any) -> None:
            pass

        def predict(self, context: Any, model_input, params=None):  # type: ignore[no-untyped-def]
            return model_input.apply(some_transformation)

    modelry.pyfunc.save_model(path=tmp_path / "path/to/save", python_model=CustomModel())

    loaded: Any = modelry.pyfunc.load_model(tmp_path / "path/to/save")
    assert list(loaded.predict(pandas.DataFrame({"a": [1.0, 2.0]}))["a"]) == [2.0, 3.0]


def test_seed_4_the_folder_of_a_model_holds_what_the_article_lists(client: Client, model: Ridge) -> None:
    logged = modelry.sklearn.log_model(model, signature=infer_signature(INPUTS, OUTPUTS), input_example=INPUTS.head(2))

    files = {artifact.path for artifact in client.artifacts.list(f"runs/{logged.run_id}", "model")}
    assert {
        f"model/{name}" for name in ("MLmodel", "model.pkl", "conda.yaml", "python_env.yaml", "requirements.txt")
    } <= files
    described = client.artifacts.read_bytes(f"runs/{logged.run_id}", "model/MLmodel").decode()
    for key in (
        "flavors:",
        "utc_time_created:",
        "run_id:",
        "signature:",
        "saved_input_example_info:",
        "mlflow_version:",
    ):
        assert key in described
