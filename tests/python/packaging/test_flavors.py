"""Flavors whose framework is not installed: the families in tests/families have them."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

FLAVORS = ["catboost", "lightgbm", "onnx", "statsmodels", "xgboost"]


@pytest.mark.parametrize("flavor", FLAVORS)
def test_a_flavor_without_its_framework_says_what_to_install(flavor: str, tmp_path: Path) -> None:
    if find_spec(flavor):
        pytest.skip(f"{flavor} is installed here")
    module: Any = importlib.import_module(f"modelry.{flavor}")
    (tmp_path / "MLmodel").touch()

    for call, given in ((module.save_model, (object(), tmp_path / "model")), (module.load_model, (tmp_path,))):
        with pytest.raises(ModuleNotFoundError, match=f"pip install {flavor}$") as raised:
            call(*given)
        assert raised.value.name == flavor
    assert not (tmp_path / "model").exists()
