"""Flavors whose framework is not installed: the families in tests/families have them."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

FRAMEWORKS = {
    "catboost": "catboost",
    "keras": "keras",
    "lightgbm": "lightgbm",
    "onnx": "onnx",
    "pytorch": "torch",
    "statsmodels": "statsmodels",
    "tensorflow": "tensorflow",
    "transformers": "transformers",
    "xgboost": "xgboost",
}


@pytest.mark.parametrize(("flavor", "framework"), FRAMEWORKS.items())
def test_a_flavor_without_its_framework_says_what_to_install(flavor: str, framework: str, tmp_path: Path) -> None:
    if find_spec(framework):
        pytest.skip(f"{framework} is installed here")
    module: Any = importlib.import_module(f"modelry.{flavor}")
    (tmp_path / "MLmodel").touch()

    for call, given in ((module.save_model, (object(), tmp_path / "model")), (module.load_model, (tmp_path,))):
        with pytest.raises(ModuleNotFoundError, match=f"pip install {framework}$") as raised:
            call(*given)
        assert raised.value.name == framework
    assert not (tmp_path / "model").exists()
