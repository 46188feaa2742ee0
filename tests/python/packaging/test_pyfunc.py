"""Models with logic of their own: a class, a function, a code file, a loader module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest
import yaml

import modelry.pyfunc
import modelry.sklearn
from modelry.errors import InvalidArgument, LocalFileChanged, NotFound
from modelry.models import infer_signature

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*[tT]ype hint:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*input example:UserWarning"),
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),  # MLflow's, of its examples
    pytest.mark.filterwarnings("ignore:Hint. Inferred schema contains integer:UserWarning"),
]
NUMBERS = pandas.DataFrame({"a": [1.0, 2.0]})
CODE = """
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

class Tripled(PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input * (params or {}).get("factor", 3)

set_model(Tripled())
"""


def in_another_process(folder: Path, code: str, *, importing: str = "") -> Any:
    """What code makes of the folder of a model, in a process without Modelry."""
    program = f"import sys, json; sys.modules['modelry'] = None; import mlflow, pandas\n{code}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        cwd=folder,
        env={"PATH": "", "HOME": str(folder), "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": importing},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


PREDICTION = """
model = mlflow.pyfunc.load_model(sys.argv[1])
print(json.dumps(model.predict(pandas.DataFrame({'a': [1.0, 2.0]}))['a'].tolist()))
"""


def loaded(folder: Path, **options: Any) -> Any:
    return modelry.pyfunc.load_model(folder, **options)


def described(folder: Path) -> Any:
    return yaml.safe_load((folder / "MLmodel").read_text())


def test_a_code_file_is_a_model_without_a_pickle(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(CODE)

    modelry.pyfunc.save_model(
        tmp_path / "model",
        python_model=tmp_path / "model.py",
        signature=infer_signature(NUMBERS, params={"factor": 3}),
        input_example=NUMBERS,
    )
    model = loaded(tmp_path / "model")

    assert list(model.predict(NUMBERS)["a"]) == [3.0, 6.0]
    assert list(model.predict(NUMBERS, params={"factor": 5})["a"]) == [5.0, 10.0]
    assert in_another_process(tmp_path / "model", PREDICTION) == [3.0, 6.0]
    assert list((tmp_path / "model").glob("*.pkl")) == []
    assert (tmp_path / "model" / "model.py").read_text() == CODE


def test_a_code_file_may_take_set_model_from_modelry(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CODE.replace("from mlflow.models", "from modelry.models"))

    modelry.pyfunc.save_model(tmp_path / "model", python_model=str(tmp_path / "mine.py"))

    assert list(loaded(tmp_path / "model").predict(NUMBERS)["a"]) == [3.0, 6.0]


def test_a_code_file_that_is_missing_or_names_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("x = 1\n")

    with pytest.raises(NotFound, match=r"missing\.py"):
        modelry.pyfunc.save_model(tmp_path / "model", python_model=tmp_path / "missing.py")
    with pytest.raises(Exception, match="set_model"):
        modelry.pyfunc.save_model(tmp_path / "model", python_model=tmp_path / "empty.py")

    assert not (tmp_path / "model").exists()


def test_no_place_of_the_author_is_in_the_model(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(CODE)
    (tmp_path / "factor.txt").write_text("3")

    modelry.pyfunc.save_model(
        tmp_path / "model",
        python_model=str(tmp_path / "model.py"),
        artifacts={"factor": str(tmp_path / "factor.txt")},
        code_paths=[str(tmp_path / "model.py")],
    )

    written = (tmp_path / "model" / "MLmodel").read_text()
    assert str(tmp_path) not in written
    flavor = described(tmp_path / "model")["flavors"]["python_function"]
    assert flavor["model_code_path"] == "model.py"
    assert flavor["artifacts"]["factor"] == {"path": "artifacts/factor.txt", "uri": "factor.txt"}
    assert list(loaded(tmp_path / "model").predict(NUMBERS)["a"]) == [3.0, 6.0]


def test_a_function_with_type_hints_has_their_signature(tmp_path: Path) -> None:
    def lengths(model_input: list[str]) -> list[int]:
        return [len(text) for text in model_input]

    modelry.pyfunc.save_model(tmp_path / "model", python_model=lengths, input_example=["a", "bc"])
    model = loaded(tmp_path / "model")

    assert json.loads(described(tmp_path / "model")["signature"]["inputs"]) == [{"type": "string", "required": True}]
    assert model.predict(["one", "four"]) == [3, 4]
    with pytest.raises(Exception, match="Expected type str, but got int"):
        model.predict(["one", 7])


def test_a_loader_module_makes_a_model_of_data(tmp_path: Path) -> None:
    (tmp_path / "thrice_loader.py").write_text(
        "import json, pathlib\n"
        "class Model:\n"
        "    def __init__(self, factor): self.factor = factor\n"
        "    def predict(self, data): return data * self.factor\n"
        "def _load_pyfunc(path): return Model(json.loads(pathlib.Path(path).read_text())['factor'])\n"
    )
    (tmp_path / "factor.json").write_text('{"factor": 3}')

    modelry.pyfunc.save_model(
        tmp_path / "model",
        loader_module="thrice_loader",
        data_path=str(tmp_path / "factor.json"),
        code_paths=[str(tmp_path / "thrice_loader.py")],
    )

    assert in_another_process(tmp_path / "model", PREDICTION) == [3.0, 6.0]
    assert list(loaded(tmp_path / "model").predict(NUMBERS)["a"]) == [3.0, 6.0]


def test_lambdas_and_classes_of_a_function_or_a_script_load_elsewhere(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, modelry.pyfunc\n"
        "class Tripled(modelry.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input): return model_input * 3\n"
        "def local():\n"
        "    class Inner(Tripled): pass\n"
        "    return Inner()\n"
        "models = {'main': Tripled(), 'local': local(), 'lambda': lambda model_input: model_input * 3}\n"
        "for name, model in models.items():\n"
        "    modelry.pyfunc.save_model(f'{sys.argv[1]}/{name}', python_model=model)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", script, tmp_path], check=True, timeout=100, cwd=tmp_path)

    assert [in_another_process(tmp_path / name, PREDICTION) for name in ("main", "local", "lambda")] == [[3.0, 6.0]] * 3


class Locked(modelry.pyfunc.PythonModel):
    """Has something deep inside that no pickle can hold."""

    def __init__(self) -> None:
        self.weights = numpy.ones(3)
        self.store = {"by name": [1, {"lock": threading.Lock()}]}

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return model_input


def test_what_can_not_be_pickled_is_named(tmp_path: Path) -> None:
    lock = threading.Lock()

    def locked(model_input: Any) -> Any:
        with lock:
            return model_input

    with pytest.raises(InvalidArgument) as raised:
        modelry.pyfunc.save_model(tmp_path / "model", python_model=Locked())
    with pytest.raises(InvalidArgument, match="its attribute 'lock' is a lock"):
        modelry.pyfunc.save_model(tmp_path / "model", python_model=locked)

    assert raised.value.reason == "MODEL_NOT_PICKLABLE"
    assert raised.value.metadata == {"attribute": "store['by name'][1]['lock']", "type": "lock"}
    assert "load_context" in raised.value.message
    assert not (tmp_path / "model").exists()


def test_an_estimator_that_can_not_be_pickled_names_its_step(tmp_path: Path) -> None:
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer

    lock = threading.Lock()
    pipeline = Pipeline([("first", FunctionTransformer(lambda rows: (lock, rows)[1]))])

    with pytest.raises(InvalidArgument, match=r"its attribute 'steps\[0\]\[1\]\.func\.lock' is a lock"):
        modelry.sklearn.save_model(pipeline, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_example_that_breaks_the_signature_is_refused_with_the_column(tmp_path: Path) -> None:
    from sklearn.linear_model import LinearRegression

    signature = infer_signature(NUMBERS)
    wrong = pandas.DataFrame({"a": ["x"]})

    with pytest.raises(InvalidArgument, match="input example does not fit the signature: the column 'a': expected dou"):
        modelry.pyfunc.save_model(
            tmp_path / "model", python_model=lambda model_input: model_input, signature=signature, input_example=wrong
        )
    with pytest.raises(InvalidArgument, match="column 'a'"):
        modelry.sklearn.save_model(
            LinearRegression().fit(NUMBERS, [1, 2]), tmp_path / "model", signature=signature, input_example=wrong
        )

    assert not (tmp_path / "model").exists()


def test_an_example_that_mlflow_would_refuse_is_kept_if_it_fits(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"n": pandas.array([1, None], "Int64")})

    modelry.pyfunc.save_model(
        tmp_path / "model",
        python_model=lambda model_input: model_input,
        signature=infer_signature(frame),
        input_example=frame,
    )
    model = loaded(tmp_path / "model")

    assert json.loads((tmp_path / "model" / "input_example.json").read_text())["data"] == [[1], [None]]
    pandas.testing.assert_frame_equal(model.predict(frame), frame)


def test_a_model_has_settings_that_a_load_may_change(tmp_path: Path) -> None:
    class Scaled(modelry.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return model_input * context.model_config["factor"]

    modelry.pyfunc.save_model(tmp_path / "model", python_model=Scaled(), model_config={"factor": 3})

    assert list(loaded(tmp_path / "model").predict(NUMBERS)["a"]) == [3.0, 6.0]
    changed = loaded(tmp_path / "model", model_config={"factor": 4})
    assert list(changed.predict(NUMBERS)["a"]) == [4.0, 8.0]


def test_the_working_folder_is_left_as_it_is(tmp_path: Path) -> None:
    before = os.getcwd()

    modelry.pyfunc.save_model(tmp_path / "model", python_model=lambda model_input: model_input)

    assert os.getcwd() == before


def test_a_file_that_changes_while_it_is_copied_is_refused(tmp_path: Path) -> None:
    grows = tmp_path / "grows.txt"
    grows.write_text("1")
    (tmp_path / "model.py").write_text(CODE + f"open({os.fspath(grows)!r}, 'w').close()\n")

    with pytest.raises(LocalFileChanged, match=r"grows\.txt' changed while it was copied") as raised:
        modelry.pyfunc.save_model(
            tmp_path / "model", python_model=tmp_path / "model.py", artifacts={"log": os.fspath(grows)}
        )

    assert raised.value.metadata == {"path": os.fspath(grows)}
    assert not (tmp_path / "model").exists()


def test_plain_pickle_refuses_what_only_this_process_has(tmp_path: Path) -> None:
    from sklearn.preprocessing import FunctionTransformer

    script: dict[str, Any] = {"__name__": "__main__"}
    exec("def double(rows): return rows * 2", script)

    for function, name in ((script["double"], "double of __main__"), (lambda rows: rows, "<lambda>")):
        with pytest.raises(InvalidArgument, match=f"the function .*{name}.*serialization_format='cloudpickle'"):
            modelry.sklearn.save_model(FunctionTransformer(function), tmp_path / "model", serialization_format="pickle")
    assert not (tmp_path / "model").exists()
