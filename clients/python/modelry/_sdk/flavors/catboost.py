"""How models of CatBoost are saved."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging.flavor import FlavorShell
from modelry._sdk.packaging.takes import Formats, Takes

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.packaging.options import SaveOptions


_TAKES = Takes("cb_model", "a CatBoost model", ("catboost.CatBoost",))
_FORMATS = Formats("format", ("cbm", "json", "onnx", "coreml"))
FLAVOR = FlavorShell("mlflow.catboost", "catboost", "catboost", _TAKES, _FORMATS)


def save_model(
    cb_model: Any,
    path: str | os.PathLike[str],
    *,
    format: str = "cbm",
    **options: Unpack[SaveOptions],
) -> None:
    """Saves a model to a folder on this machine, which must not exist or must be empty.

    `cb_model` is a CatBoost, CatBoostClassifier, CatBoostRegressor or CatBoostRanker. `format` is one that CatBoost can
    load: `cbm` (binary) or `json`.

    Raises MlflowException for what can't be saved.
    """
    FLAVOR.require(cb_model)
    given = {"cb_model": cb_model, "format": format, **options}
    FLAVOR.save(path, given, inspected=cb_model, packages=["catboost"])
