"""How models of XGBoost are saved."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging.flavor import FlavorShell
from modelry._sdk.packaging.takes import Formats, Takes

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.packaging.options import SaveOptions


_TAKES = Takes(
    "xgb_model", "a Booster or a model of XGBoost's scikit-learn interface", ("xgboost.Booster", "xgboost.XGBModel")
)
FLAVOR = FlavorShell("mlflow.xgboost", "xgboost", "xgboost", _TAKES, Formats("model_format", ("ubj", "json")))


def save_model(
    xgb_model: Any,
    path: str | os.PathLike[str],
    *,
    model_format: str = "ubj",
    **options: Unpack[SaveOptions],
) -> None:
    """Saves a model to a folder on this machine, which must not exist or must be empty.

    `xgb_model` is a Booster, or a model of XGBoost's scikit-learn interface. `model_format` is `ubj` (binary JSON) or
    `json`.

    Raises MlflowException for what can't be saved.
    """
    FLAVOR.require(xgb_model)
    given = {"xgb_model": xgb_model, "model_format": model_format, **options}
    FLAVOR.save(path, given, inspected=xgb_model, packages=["xgboost"])
