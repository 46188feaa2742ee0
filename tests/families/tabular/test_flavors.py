"""Models of frameworks for tables: saved, logged and loaded here, and exchanged with MLflow in both directions."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import yaml
from sklearn.datasets import load_diabetes

import modelry
import modelry.models
from modelry import Client
from modelry.errors import FailedPrecondition, InvalidArgument

FEATURES, TARGET = load_diabetes(return_X_y=True, as_frame=True)
SAMPLE: pandas.DataFrame = FEATURES.head(3)


@dataclass(frozen=True)
class Case:
    """A model of a flavor: how it is made and asked, which file it is stored in, and which packages it needs."""

    flavor: str
    made: Callable[[], Any]
    asked: Callable[[Any], Any]
    file: str
    needs: set[str]
    has_code: bool = False
    options: dict[str, Any] | None = None


def xgboost_booster() -> Any:
    import xgboost

    return xgboost.train({"max_depth": 2}, xgboost.DMatrix(FEATURES, TARGET), 5)


def of_a_matrix(model: Any) -> Any:
    import xgboost

    return model.predict(xgboost.DMatrix(SAMPLE))


def xgboost_regressor() -> Any:
    import xgboost

    return xgboost.XGBRegressor(n_estimators=5).fit(FEATURES, TARGET)


def lightgbm_booster() -> Any:
    import lightgbm

    return lightgbm.train({"verbose": -1}, lightgbm.Dataset(FEATURES, TARGET), 5)


def lightgbm_regressor() -> Any:
    import lightgbm

    return lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(FEATURES, TARGET)


def catboost_regressor() -> Any:
    import catboost

    return catboost.CatBoostRegressor(iterations=5, verbose=False, allow_writing_files=False).fit(FEATURES, TARGET)


def statsmodels_results() -> Any:
    from statsmodels.regression.linear_model import OLS

    return OLS(TARGET, FEATURES).fit()


def onnx_graph() -> Any:
    from skl2onnx import to_onnx
    from sklearn.linear_model import Ridge

    return to_onnx(Ridge().fit(FEATURES.to_numpy(np.float32), TARGET), FEATURES.to_numpy(np.float32)[:1])


def of_a_session(model: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"X": SAMPLE.to_numpy(np.float32)})[0].reshape(-1)


def predicted(model: Any) -> Any:
    return model.predict(SAMPLE)


CASES = {
    "xgboost Booster": Case("xgboost", xgboost_booster, of_a_matrix, "model.ubj", {"xgboost"}),
    "xgboost in JSON": Case(
        "xgboost", xgboost_booster, of_a_matrix, "model.json", {"xgboost"}, options={"model_format": "json"}
    ),
    "XGBRegressor": Case("xgboost", xgboost_regressor, predicted, "model.ubj", {"xgboost", "scikit-learn"}),
    "lightgbm Booster": Case("lightgbm", lightgbm_booster, predicted, "model.lgb", {"lightgbm"}),
    "LGBMRegressor": Case(
        "lightgbm", lightgbm_regressor, predicted, "model.pkl", {"lightgbm", "scikit-learn", "cloudpickle"}, True
    ),
    "LGBMRegressor by skops": Case(
        "lightgbm",
        lightgbm_regressor,
        predicted,
        "model.skops",
        {"lightgbm", "scikit-learn", "skops"},
        True,
        {"serialization_format": "skops"},
    ),
    "catboost": Case("catboost", catboost_regressor, predicted, "model.cb", {"catboost"}),
    "statsmodels": Case(
        "statsmodels", statsmodels_results, predicted, "model.statsmodels", {"statsmodels", "pandas"}, True
    ),
    "onnx": Case("onnx", onnx_graph, of_a_session, "model.onnx", {"onnx", "onnxruntime"}),
}
pytestmark = pytest.mark.filterwarnings("ignore:Operation with range is deprecated")


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def flavor_of(case: Case) -> Any:
    return importlib.import_module(f"modelry.{case.flavor}")


def in_mlflow_alone(folder: Path, code: str) -> Any:
    """Runs code in a process that has MLflow and can't import Modelry; answers with what it prints, read as JSON."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import sys, json; sys.modules['modelry'] = None; {code}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"PATH": "", "MLFLOW_DISABLE_TELEMETRY": "true", "HOME": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def as_numbers(answer: Any) -> list[float]:
    """Predictions as plain numbers, whatever the flavor gives."""
    return [float(each) for each in np.asarray(answer, dtype=object).reshape(-1)]


def test_a_model_comes_back_as_it_was_saved(case: Case, tmp_path: Path) -> None:
    model = case.made()

    flavor_of(case).save_model(model, tmp_path / "model", input_example=SAMPLE, **(case.options or {}))
    loaded = flavor_of(case).load_model(tmp_path / "model")
    served = modelry.pyfunc.load_model(tmp_path / "model")

    expected = pytest.approx(as_numbers(case.asked(model)), rel=1e-5)
    assert type(loaded) is type(model) or case.flavor == "statsmodels"
    assert as_numbers(case.asked(loaded)) == expected
    given = SAMPLE.to_numpy(np.float32) if case.flavor == "onnx" else SAMPLE
    answer: Any = served.predict(given)
    assert as_numbers(answer["variable"] if isinstance(answer, dict) else answer) == expected


def test_the_folder_has_the_file_of_the_framework_and_what_it_needs(case: Case, tmp_path: Path) -> None:
    flavor_of(case).save_model(case.made(), tmp_path / "model", **(case.options or {}))

    files = {path.name for path in (tmp_path / "model").iterdir()}
    assert {case.file, "MLmodel", "requirements.txt"} <= files
    pins = (tmp_path / "model" / "requirements.txt").read_text().split()
    assert case.needs <= {pin.partition("==")[0] for pin in pins}
    assert all("==" in pin for pin in pins)
    described = yaml.safe_load((tmp_path / "model" / "MLmodel").read_text())
    assert described["flavors"].keys() == {"python_function", case.flavor}


def test_mlflow_loads_what_modelry_saved(case: Case, tmp_path: Path) -> None:
    model = case.made()
    flavor_of(case).save_model(model, tmp_path / "model", **(case.options or {}))
    SAMPLE.to_pickle(tmp_path / "sample")

    given = "sample.to_numpy('float32')" if case.flavor == "onnx" else "sample"
    answer = in_mlflow_alone(
        tmp_path,
        "import mlflow, pandas, numpy as np\n"
        "sample = pandas.read_pickle('sample')\n"
        f"answer = mlflow.pyfunc.load_model('model').predict({given})\n"
        "answer = answer['variable'] if isinstance(answer, dict) else answer\n"
        "print(json.dumps([float(each) for each in np.asarray(answer, dtype=object).reshape(-1)]))",
    )

    assert answer == pytest.approx(as_numbers(case.asked(model)), rel=1e-5)


def test_modelry_loads_what_mlflow_saved(case: Case, tmp_path: Path) -> None:
    mlflow = importlib.import_module(f"mlflow.{case.flavor}")
    model = case.made()

    mlflow.save_model(model, str(tmp_path / "model"), pip_requirements=[], **(case.options or {}))

    assert as_numbers(case.asked(flavor_of(case).load_model(tmp_path / "model"))) == pytest.approx(
        as_numbers(case.asked(model)), rel=1e-5
    )


def test_a_model_with_code_is_refused_where_the_environment_forbids_it(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flavor_of(case).save_model(case.made(), tmp_path / "model", **(case.options or {}))
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")

    for load in (flavor_of(case).load_model, modelry.pyfunc.load_model):
        if case.has_code:
            with pytest.raises(Exception, match="MLFLOW_ALLOW_PICKLE_DESERIALIZATION"):
                load(tmp_path / "model")
        else:
            load(tmp_path / "model")


@pytest.mark.parametrize("flavor", ["xgboost", "lightgbm"])
def test_a_class_of_another_package_is_code(flavor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[f"{flavor} Booster"]
    flavor_of(case).save_model(case.made(), tmp_path / "model")
    described = tmp_path / "model" / "MLmodel"
    described.write_text(re.sub("model_class: .*", "model_class: pprint.PrettyPrinter", described.read_text()))
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")

    for load in (flavor_of(case).load_model, modelry.pyfunc.load_model):
        with pytest.raises(FailedPrecondition, match=r"the class 'pprint\.PrettyPrinter'"):
            load(tmp_path / "model")


@pytest.mark.usefixtures("fluent")
def test_a_model_is_logged_registered_and_loaded(case: Case, client: Client, unique: str) -> None:
    model = case.made()
    example = SAMPLE.to_numpy(np.float32) if case.flavor == "onnx" else SAMPLE
    signature = modelry.models.infer_signature(example, np.zeros(3))

    with modelry.start_run() as run:
        logged = flavor_of(case).log_model(
            model, name="it", signature=signature, registered_model_name=unique, **(case.options or {})
        )

    assert logged.model_uri == f"runs:/{run.run_id}/it"
    assert logged.registered_model_version == 1
    assert client.versions.get(unique, 1).flavors
    for uri in (logged.model_uri, f"models:/{unique}/1"):
        assert as_numbers(case.asked(flavor_of(case).load_model(uri))) == pytest.approx(as_numbers(case.asked(model)))


@pytest.mark.parametrize("flavor", ["xgboost", "lightgbm", "catboost", "statsmodels", "onnx"])
@pytest.mark.parametrize("given", [5, None, [1], dict, FEATURES])
@pytest.mark.usefixtures("fluent")
def test_what_is_no_model_of_the_flavor_is_refused(tmp_path: Path, flavor: str, given: Any) -> None:
    module = importlib.import_module(f"modelry.{flavor}")

    with pytest.raises(InvalidArgument, match=r"(?s)model is .*; give "):
        module.save_model(given, tmp_path / "model")
    with pytest.raises(InvalidArgument, match=r"(?s)model is .*; give "):
        module.log_model(given)

    assert not (tmp_path / "model").exists()
    assert modelry.active_run() is None
