"""The folder of a model: what is in it, and that either side loads what the other wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest
import yaml
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

import modelry.models
import modelry.pyfunc
import modelry.sklearn
from modelry.errors import FailedPrecondition, InvalidArgument, NotFound

FEATURES, TARGET = load_diabetes(return_X_y=True, as_frame=True)
SAMPLE: pandas.DataFrame = FEATURES.head(3)

pytestmark = [
    # MLflow's advice to whom defines a PythonModel without type hints, and its own use of pandas.
    pytest.mark.filterwarnings("ignore:.*type hint:UserWarning"),
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]


@pytest.fixture(scope="module")
def model() -> Ridge:
    return Ridge().fit(FEATURES, TARGET)


def in_mlflow_alone(code: str, *arguments: object) -> Any:
    """Runs code in a process that has MLflow and can't import Modelry; answers with what it prints, read as JSON."""
    barred = "import sys, json; sys.modules['modelry'] = None; " + code
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", barred, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "", "MLFLOW_DISABLE_TELEMETRY": "true", "HOME": str(arguments[0])},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_folder_is_a_model_of_mlflows(tmp_path: Path, model: Ridge) -> None:
    signature = modelry.models.infer_signature(FEATURES, model.predict(FEATURES))

    modelry.sklearn.save_model(model, tmp_path / "model", signature=signature, input_example=SAMPLE)

    files = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"MLmodel", "model.pkl", "requirements.txt", "conda.yaml", "python_env.yaml", "input_example.json"} <= files
    described = yaml.safe_load((tmp_path / "model" / "MLmodel").read_text())
    assert described["flavors"].keys() == {"python_function", "sklearn"}
    assert "bmi" in described["signature"]["inputs"]
    pins = (tmp_path / "model" / "requirements.txt").read_text().split()
    named = [pin.partition("==")[0] for pin in pins if not pin.startswith("pyarrow")]  # pandas may keep texts in it
    assert named == ["mlflow", "cloudpickle", "numpy", "pandas", "scikit-learn"]
    assert yaml.safe_load((tmp_path / "model" / "conda.yaml").read_text())["dependencies"][-1] == {"pip": pins}


def test_mlflow_loads_what_modelry_saved(tmp_path: Path, model: Ridge) -> None:
    modelry.sklearn.save_model(model, tmp_path / "model", input_example=SAMPLE)

    predicted = in_mlflow_alone(
        "import mlflow, mlflow.sklearn as flavor\n"
        "at = sys.argv[1] + '/model'\n"
        "example = mlflow.models.Model.load(at).load_input_example(at)\n"
        "loaded = [flavor.load_model(at), mlflow.pyfunc.load_model(at)]\n"
        "print(json.dumps([list(map(float, one.predict(example))) for one in loaded]))",
        tmp_path,
    )

    assert predicted == [pytest.approx(list(model.predict(SAMPLE)))] * 2


def test_modelry_loads_what_mlflow_saved(tmp_path: Path) -> None:
    predicted = in_mlflow_alone(
        "import mlflow.sklearn\n"
        "from sklearn.datasets import load_diabetes\n"
        "from sklearn.linear_model import Ridge\n"
        "x, y = load_diabetes(return_X_y=True, as_frame=True)\n"
        "model = Ridge().fit(x, y)\n"
        "mlflow.sklearn.save_model(model, sys.argv[1] + '/model', serialization_format='cloudpickle',\n"
        "    pip_requirements=['scikit-learn'])\n"
        "print(json.dumps(list(map(float, model.predict(x.head(3))))))",
        tmp_path,
    )

    assert list(modelry.sklearn.load_model(tmp_path / "model").predict(SAMPLE)) == pytest.approx(predicted)
    assert list(modelry.pyfunc.load_model(f"file://{tmp_path}/model").predict(SAMPLE)) == pytest.approx(predicted)


def test_mlflow_loads_a_model_with_logic_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "factor.txt").write_text("3")
    defined: dict[str, Any] = {"__name__": "__main__", "modelry": modelry}
    exec(
        """
class Scaled(modelry.pyfunc.PythonModel):
    def load_context(self, context):
        with open(context.artifacts["factor"]) as file:
            self.factor = float(file.read())

    def predict(self, context, model_input):
        return model_input * self.factor
""",
        defined,
    )
    modelry.pyfunc.save_model(
        tmp_path / "model", python_model=defined["Scaled"](), artifacts={"factor": str(tmp_path / "factor.txt")}
    )

    predicted = in_mlflow_alone(
        "import mlflow, pandas\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1] + '/model')\n"
        "print(json.dumps(model.predict(pandas.DataFrame({'a': [1.0, 2.0]})).to_dict('list')))",
        tmp_path,
    )

    assert predicted == {"a": [3.0, 6.0]}
    answer: Any = modelry.pyfunc.load_model(tmp_path / "model").predict(pandas.DataFrame({"a": [5.0]}))
    assert list(answer["a"]) == [15.0]


def test_a_function_is_a_model(tmp_path: Path) -> None:
    def doubled(model_input: pandas.DataFrame) -> pandas.DataFrame:
        return model_input * 2

    modelry.pyfunc.save_model(tmp_path / "model", python_model=doubled, input_example=SAMPLE)

    pandas.testing.assert_frame_equal(modelry.pyfunc.load_model(tmp_path / "model").predict(SAMPLE), SAMPLE * 2)


def test_the_signature_is_checked_when_the_model_predicts(tmp_path: Path, model: Ridge) -> None:
    signature = modelry.models.signature.infer_signature(FEATURES, model.predict(FEATURES))
    modelry.sklearn.save_model(model, tmp_path / "model", signature=signature)
    loaded = modelry.pyfunc.load_model(tmp_path / "model")

    assert loaded.metadata.signature == signature
    with pytest.raises(InvalidArgument, match="missing column 'bmi'"):
        loaded.predict(SAMPLE.drop(columns="bmi"))


def test_skops_holds_no_code(tmp_path: Path, model: Ridge) -> None:
    pytest.importorskip("skops")

    modelry.sklearn.save_model(model, tmp_path / "model", serialization_format="skops")

    assert (tmp_path / "model" / "model.skops").is_file()
    assert list(modelry.sklearn.load_model(tmp_path / "model").predict(SAMPLE)) == list(model.predict(SAMPLE))


def test_requirements_given_are_taken_as_they_are(tmp_path: Path, model: Ridge) -> None:
    modelry.sklearn.save_model(model, tmp_path / "given", pip_requirements=["scikit-learn<2"])
    modelry.sklearn.save_model(model, tmp_path / "more", extra_pip_requirements=["numpy<3", "lightgbm"])

    assert (tmp_path / "given" / "requirements.txt").read_text().split()[1:] == ["scikit-learn<2"]
    more = (tmp_path / "more" / "requirements.txt").read_text().split()
    assert {"numpy<3", "lightgbm"} <= set(more)
    assert not any(pin.startswith("numpy==") for pin in more)


def test_a_machine_can_refuse_to_load_what_may_run_code(
    tmp_path: Path, model: Ridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    modelry.sklearn.save_model(model, tmp_path / "model")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")

    for load in (modelry.sklearn.load_model, modelry.pyfunc.load_model):
        with pytest.raises(FailedPrecondition, match="a pickle of scikit-learn") as refused:
            load(tmp_path / "model")
        assert refused.value.reason == "MODEL_HAS_CODE"


def test_what_is_not_there_or_no_uri_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no model at"):
        modelry.sklearn.load_model("/nowhere/model")
    with pytest.raises(InvalidArgument, match="'s3'"):
        modelry.pyfunc.load_model("s3://bucket/model")
    with pytest.raises(InvalidArgument, match="has no file MLmodel, so it is no model in MLflow's format"):
        modelry.pyfunc.load_model(tmp_path)
