"""A flavor refuses what is no model of its kind, before a run is started or anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

import modelry
import modelry.pyfunc
import modelry.sklearn
from modelry._sdk.packaging.takes import Takes
from modelry.errors import InvalidArgument


class Model(modelry.pyfunc.PythonModel):
    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return model_input


WRONG: dict[str, tuple[Callable[..., Any], Callable[..., Any], Any, str]] = {
    f"{flavor} {name}": (save, log, given, said)
    for flavor, save, log in (
        ("sklearn", lambda given, path: modelry.sklearn.save_model(given, path), modelry.sklearn.log_model),
        (
            "pyfunc",
            lambda given, path: modelry.pyfunc.save_model(path, python_model=given),
            lambda given: modelry.pyfunc.log_model(python_model=given),
        ),
    )
    for name, given, said in (
        ("number", 5, "_model is 5 of type int; give a"),
        ("None", None, "_model is None of type NoneType; give a"),
        ("list", [1], r"_model is \[1\] of type list; give a"),
        (
            "class",
            Model if flavor == "pyfunc" else LinearRegression,
            r"_model is the class \w+; give .*, such as \w+\(\)",
        ),
    )
}


@pytest.mark.usefixtures("fluent")
@pytest.mark.parametrize(("save", "log", "given", "said"), WRONG.values(), ids=WRONG)
def test_what_is_no_model_is_refused_and_nothing_is_started(
    tmp_path: Path, save: Callable[..., Any], log: Callable[..., Any], given: Any, said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said):
        save(given, tmp_path / "model")
    with pytest.raises(InvalidArgument, match=said):
        log(given)

    assert not (tmp_path / "model").exists()
    assert modelry.active_run() is None


@pytest.mark.parametrize("made", [LinearRegression, StandardScaler, NearestNeighbors])
def test_every_kind_of_estimator_is_taken(tmp_path: Path, made: Callable[[], Any]) -> None:
    modelry.sklearn.save_model(made().fit([[1.0], [2.0]], [1, 2]), tmp_path / "model")

    assert type(modelry.sklearn.load_model(tmp_path / "model")) is made


def test_a_class_is_known_by_its_package_and_with_its_subclasses() -> None:
    takes = Takes("a_model", "a dict", ("builtins.dict",))

    class Derived(dict[str, int]):
        pass

    takes.require(Derived())
    with pytest.raises(InvalidArgument, match="a_model is the class Derived; give a dict, such as Derived"):
        takes.require(Derived)
