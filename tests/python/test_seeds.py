"""The snippets of the articles that people learn from, with `modelry` where they say `mlflow`.

Calls of `MlflowClient` are written by their nouns: `client.transition_model_version_stage(...)` is
`client.promotions.promote(...)`. What an article leaves open (its model, its data, its report) is filled in.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

import modelry
import modelry.pyfunc
import modelry.sklearn
from modelry import Client
from modelry.errors import FieldInvalid
from modelry.models.signature import infer_signature
from tests.parts.deployment import Deployment

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


def test_seed_2_manages_models(platform: Deployment, model: Ridge, unique: str) -> None:
    with modelry.start_run() as run:
        modelry.sklearn.log_model(model, artifact_path="model")
    run_id = run.run_id
    model_uri = f"runs:/{run_id}/model"
    loaded_model: Any = modelry.sklearn.load_model(model_uri)
    assert list(loaded_model.predict(INPUTS)) == pytest.approx(list(model.predict(INPUTS)))

    modelry.set_tracking_uri(f"grpc://{platform.address}")
    client = Client()
    client.models.create(f"my_model-{unique}")
    client.versions.create(name=f"my_model-{unique}", source=f"runs:/{run_id}/model", run_id=run_id)
    client.promotions.promote(name=f"my_model-{unique}", version=1, stage="Production")

    version = client.versions.get(f"my_model-{unique}", 1)
    assert (version.stage, version.run_id, version.source) == ("Production", run_id, model_uri)


def test_seed_3_registers_signs_finds_and_aliases(platform: Deployment, unique: str) -> None:
    bikes = f"bikes-{unique}"
    modelry.set_tracking_uri(f"grpc://{platform.address}")
    modelry.set_registry_uri(f"grpc://{platform.address}")
    client = Client()
    client.models.create(bikes)

    # Saving, with a signature
    inputs = INPUTS
    with modelry.start_run(run_name="training") as run:
        model = Ridge().fit(INPUTS, OUTPUTS)
        outputs = model.predict(inputs)
        signature = infer_signature(inputs, outputs)
        model_info = modelry.sklearn.log_model(model, "models")
        signed = modelry.sklearn.log_model(model, artifact_path="models", signature=signature, input_example=inputs)
    assert run.run_name == "training"
    assert (model_info.model_uri, signed.signature) == (f"runs:/{run.run_id}/models", signature)

    # Registering and loading
    model_version = modelry.register_model(name=bikes, model_uri=model_info.model_uri)
    assert model_version.version == 1
    loaded: Any = modelry.sklearn.load_model(f"models:/{bikes}/1")
    assert list(loaded.predict(inputs)) == pytest.approx(list(outputs))

    # Finding
    assert [found.version for found in client.versions.search(f"name='{bikes}'")] == [1]

    # Marking as ready, by an alias
    client.aliases.set(name=bikes, alias="Champion", version=1)
    champion: Any = modelry.pyfunc.load_model(model_uri=f"models:/{bikes}@Champion")
    assert list(champion.predict(inputs)) == pytest.approx(list(outputs))
    modelry.register_model(name=bikes, model_uri=signed.model_uri)
    versions = client.versions.search(f"name='{bikes}'", max_results=1, order_by=["version_number DESC"])
    last_version = versions[0].version
    client.aliases.set(name=bikes, alias="Champion", version=last_version)
    assert client.aliases.get(bikes, "Champion").version == 2

    # Rolling back
    modelry.set_registered_model_alias(name=bikes, alias="Champion", version=1)
    assert client.aliases.get(bikes, "Champion").version == 1


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
