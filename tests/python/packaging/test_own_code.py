"""Models that bring modules of the same names."""

from __future__ import annotations

import json
import py_compile
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest
from sklearn.linear_model import Ridge

import modelry.pyfunc
import modelry.sklearn
from modelry._sdk.requiring import own_code
from modelry.errors import FailedPrecondition

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*type hint:UserWarning"),
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]
FRAME = pandas.DataFrame({"x": [10.0]})
MODULE, LOADER_NAME = "prep_of_a_test", "loader_of_a_test"
OURS = {MODULE, LOADER_NAME}


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """The table of modules and the path, as they were."""
    kept, path = dict(sys.modules), list(sys.path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    sys.modules.update({name: each for name, each in kept.items() if name.partition(".")[0] in OURS})
    sys.path[:] = path


def a_model(folder: Path, factor: int, *, package: bool = False) -> str:
    """A model with a module of its own, which it imports when it predicts."""
    folder.mkdir()
    source = f"def scale(x):\n    return x * {factor}\n"
    module = folder / (MODULE if package else f"{MODULE}.py")
    if package:
        module.mkdir()
        (module / "__init__.py").write_text("")
        (module / "part.py").write_text(source)
    else:
        module.write_text(source)

    class Model(modelry.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            import importlib

            return importlib.import_module(f"{MODULE}.part" if package else MODULE).scale(model_input)

    modelry.pyfunc.save_model(folder / "model", python_model=Model(), code_paths=[str(module)])
    return str(folder / "model")


def seen(model: Any) -> float:
    return float(model.predict(FRAME)["x"][0])


@pytest.mark.parametrize("package", [False, True])
def test_each_model_predicts_with_its_own_code(tmp_path: Path, package: bool) -> None:
    uris = [a_model(tmp_path / str(factor), factor, package=package) for factor in (1, 2, 3)]

    models = [modelry.pyfunc.load_model(uri) for uri in uris]

    assert [seen(model) for model in (*models, *reversed(models))] == [10.0, 20.0, 30.0, 30.0, 20.0, 10.0]


def test_a_model_that_has_predicted_goes_on_with_its_code_when_another_comes(tmp_path: Path) -> None:
    one = modelry.pyfunc.load_model(a_model(tmp_path / "1", 1))
    assert seen(one) == 10.0

    two = modelry.pyfunc.load_model(a_model(tmp_path / "2", 2))

    assert [seen(two), seen(one), seen(two)] == [20.0, 10.0, 20.0]
    del one
    assert seen(two) == 20.0


LOADER = f"""import {MODULE}
class Model:
    def predict(self, x, params=None):
        return x * {MODULE}.FACTOR
def _load_pyfunc(path):
    return Model()
"""
READS = (
    "import json, pathlib\n"
    "FACTOR = json.loads((pathlib.Path(__file__).resolve().parent / 'settings.json').read_text())['factor']\n"
)


def a_model_with(folder: Path, factor: int, form: str) -> Path:
    """A model whose code has the same text whatever the factor is; it comes from data, or from bytecode."""
    code = folder / "code"
    code.mkdir(parents=True)
    if form == "in a package":
        code = code / MODULE
        code.mkdir()
        (code / "__init__.py").write_text(READS)
    elif form in ("in a folder beside it", "in a folder of a package"):
        code = code / MODULE if "package" in form else code
        (code / "data").mkdir(parents=True)
        name = "__init__.py" if "package" in form else f"{MODULE}.py"
        (code / name).write_text(READS.replace(".parent /", ".parent / 'data' /"))
        code = code / "data"
    elif form == "beside it":
        (code / f"{MODULE}.py").write_text(READS)
    if form == "in bytecode":
        (folder / "source.py").write_text(f"FACTOR = {factor}\n")
        py_compile.compile(str(folder / "source.py"), cfile=str(code / f"{MODULE}.pyc"))
    else:
        (code / "settings.json").write_text(json.dumps({"factor": factor}))
    (folder / "code" / f"{LOADER_NAME}.py").write_text(LOADER)
    (folder / "MLmodel").write_text(f"flavors: {{python_function: {{loader_module: {LOADER_NAME}, code: code}}}}")
    return folder


FORMS = ["in a package", "beside it", "in a folder beside it", "in a folder of a package", "in bytecode"]


@pytest.mark.parametrize("form", FORMS)
def test_models_whose_code_has_the_same_text_do_not_share_what_differs(tmp_path: Path, form: str) -> None:
    models = [
        modelry.pyfunc.load_model(a_model_with(tmp_path / str(factor), factor, form), suppress_warnings=True)
        for factor in (1, 2, 3)
    ]

    assert [seen(model) for model in (*models, *reversed(models))] == [10.0, 20.0, 30.0, 30.0, 20.0, 10.0]


@pytest.mark.parametrize("form", FORMS)
def test_a_module_of_the_process_with_other_data_is_another_one(tmp_path: Path, form: str) -> None:
    sys.path.insert(0, str(a_model_with(tmp_path / "mine", 7, form) / "code"))
    mine = __import__(MODULE)
    same = own_code.OwnCode(str(a_model_with(tmp_path / "same", 7, form) / "code"))
    # Bytecode names the file that it was compiled from, so it is another one.
    assert same.others() == ([MODULE] if form == "in bytecode" else [])
    del same

    model = modelry.pyfunc.load_model(a_model_with(tmp_path / "1", 1, form))

    assert (seen(model), mine.FACTOR) == (10.0, 7)
    assert sys.modules[MODULE] is mine


def test_an_object_is_refused_if_only_the_data_of_a_module_differs(tmp_path: Path) -> None:
    one = own_code.OwnCode(str(a_model_with(tmp_path / "1", 1, "in a package") / "code"))
    two = own_code.OwnCode(str(a_model_with(tmp_path / "2", 2, "in a package") / "code"))

    with pytest.raises(FailedPrecondition, match=MODULE):
        own_code.require_alone(two)
    assert one.others() == [MODULE]


def test_a_library_in_machine_code_is_a_module(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / f"{MODULE}.cpython-311-x86_64-linux-gnu.so").write_bytes(bytes([number]))

    one, two = (own_code.OwnCode(str(tmp_path / str(number))) for number in (1, 2))

    assert one.others() == two.others() == [MODULE]


def test_a_module_of_the_process_stays_what_it_is(tmp_path: Path) -> None:
    (tmp_path / f"{MODULE}.py").write_text("def scale(x):\n    return x * 7\n")
    sys.path.insert(0, str(tmp_path))
    mine = __import__(MODULE)

    model = modelry.pyfunc.load_model(a_model(tmp_path / "1", 1))

    assert seen(model) == 10.0
    assert sys.modules[MODULE] is mine
    assert mine.scale(1) == 7


def test_models_with_the_same_code_share_it(tmp_path: Path) -> None:
    models = [modelry.pyfunc.load_model(a_model(tmp_path / name, 2)) for name in ("a", "b")]

    assert [seen(model) for model in models] == [20.0, 20.0]
    assert MODULE in sys.modules


def test_threads_that_predict_with_different_models_get_their_own_code(tmp_path: Path) -> None:
    models = [modelry.pyfunc.load_model(a_model(tmp_path / str(factor), factor)) for factor in (1, 2)]
    wrong: list[float] = []

    def predict(model: Any, right: float) -> None:
        for _ in range(20):
            if (value := seen(model)) != right:
                wrong.append(value)

    threads = [
        threading.Thread(target=predict, args=(model, right)) for model, right in zip(models, (10.0, 20.0), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_an_object_that_can_not_be_kept_apart_is_refused_with_the_name_of_the_module(tmp_path: Path) -> None:
    one = modelry.pyfunc.load_model(a_model(tmp_path / "1", 1))
    module = tmp_path / f"{MODULE}.py"
    module.write_text("def other(x):\n    return x\n")
    modelry.sklearn.save_model(Ridge().fit([[1.0]], [1.0]), tmp_path / "sklearn", code_paths=[str(module)])

    with pytest.raises(FailedPrecondition, match=MODULE) as refused:
        modelry.sklearn.load_model(tmp_path / "sklearn")

    assert refused.value.reason == "MODEL_CODE_CONFLICT"
    assert modelry.pyfunc.load_model(tmp_path / "sklearn").metadata.flavors.keys() == {"python_function", "sklearn"}
    assert seen(one) == 10.0
