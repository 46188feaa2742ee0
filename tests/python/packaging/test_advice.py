"""Advice that is wrong here, or names functions of MLflow, is not said. What is useful is said in our words."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
from sklearn.linear_model import LinearRegression

import modelry.pyfunc
import modelry.sklearn
from modelry._sdk.schemas.borrowed import mlflow_module
from modelry.models import infer_signature

CLASSES = """
import sys
import modelry.pyfunc

class Odd: ...

class Plain(modelry.pyfunc.PythonModel):
    def predict(self, context, model_input):
        return model_input

class Hinted(modelry.pyfunc.PythonModel):
    def predict(self, context, model_input: list[Odd]):
        return model_input

modelry.pyfunc.save_model(sys.argv[1], python_model=Hinted())
print(modelry.pyfunc.load_model(sys.argv[1]).predict([1]))
"""

MIXED = """
import mlflow.pyfunc
from modelry.models import infer_signature

infer_signature([1, 2])
mlflow.models.infer_signature([1, 2])
"""


def plain(model_input):  # type: ignore[no-untyped-def]
    return model_input


def hinted(model_input: list[dict[str, float]]) -> list[dict[str, float]]:
    return model_input


def anything(model_input: list[Any]) -> list[Any]:
    return model_input


def unsupported(model_input: list[complex]) -> list[complex]:
    return model_input


@pytest.mark.parametrize(
    ("function", "given"),
    [(plain, None), (hinted, None), (anything, None), (unsupported, None), (plain, pandas.DataFrame({"a": [1]}))],
)
def test_a_function_is_saved_loaded_and_called_without_a_warning(
    tmp_path: Path, function: Callable[..., Any], given: Any
) -> None:
    signature = None if given is None else infer_signature(given)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        modelry.pyfunc.save_model(tmp_path / "model", python_model=function, signature=signature)
        model = modelry.pyfunc.load_model(tmp_path / "model")
        model.predict([{"a": 1.0}] if given is None else given)


def test_classes_are_defined_without_a_warning_where_only_modelry_is_imported(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error::UserWarning", "-c", CLASSES, str(tmp_path / "model")]

    ran = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stdout.strip()) == (0, "[1]"), ran.stderr
    assert "mlflow" not in ran.stderr.lower()
    assert "a signature can't hold the type hints of predict" in ran.stderr


def test_hints_that_no_signature_can_hold_are_told_with_what_would_be_right(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    modelry.pyfunc.save_model(tmp_path / "model", python_model=unsupported)

    assert caplog.text.count("its input is not checked: a signature can't hold the type hints of predict") == 1
    assert "Unsupported type hint `complex`" in caplog.text
    assert "list[dict[str, float]]" in caplog.text


def test_a_signature_that_differs_from_the_hints_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    signature = infer_signature(pandas.DataFrame({"b": ["x"]}))

    modelry.pyfunc.save_model(tmp_path / "model", python_model=hinted, signature=signature)

    assert "the model has the signature of the type hints of its predict, which is not the given one" in caplog.text


def test_whole_numbers_have_a_signature_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        infer_signature([1, 2], {"a": [1, 2]})


def test_a_program_that_uses_mlflow_itself_still_hears_it() -> None:
    ran = subprocess.run([sys.executable, "-c", MIXED], capture_output=True, text=True, check=True)

    assert ran.stderr.count("integer column(s)") == 1


def test_other_packages_are_told_without_functions_of_mlflow(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = LinearRegression().fit([[1.0], [2.0]], [1, 2])
    modelry.sklearn.save_model(model, tmp_path / "model", pip_requirements=["numpy==1.0", "scikit-learn"])
    assert caplog.text == ""

    modelry.pyfunc.load_model(tmp_path / "model")

    assert "numpy (current: " in caplog.text
    assert "Install what the file requirements.txt of the model lists" in caplog.text
    assert "get_model_dependencies" not in caplog.text
    mlflow_module("mlflow.pyfunc").load_model(str(tmp_path / "model"))
    assert "get_model_dependencies" in caplog.text
