"""CatBoost models in MLflow's format: save them to a folder, log them to a run, load them back.

The file of a model is CatBoost's own: trees and settings as data. Loading it runs no code of its author.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging.flavor import FlavorShell
from modelry._sdk.packaging.takes import Formats, Takes

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.autologging.options import AutologOptions
    from modelry._sdk.packaging.logged import LoggedModel
    from modelry._sdk.packaging.options import LogOptions, SaveOptions

__all__ = ["autolog", "load_model", "log_model", "save_model"]

_TAKES = Takes("cb_model", "a CatBoost model", ("catboost.CatBoost",))
_FORMATS = Formats("format", ("cbm", "json", "onnx", "coreml"))
_FLAVOR = FlavorShell("mlflow.catboost", "catboost", "catboost", _TAKES, _FORMATS)
load_model = _FLAVOR.load_model


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
    _FLAVOR.require(cb_model)
    given = {"cb_model": cb_model, "format": format, **options}
    _FLAVOR.save(path, given, inspected=cb_model, packages=["catboost"])


def log_model(
    cb_model: Any,
    artifact_path: str | None = None,
    *,
    format: str = "cbm",
    **options: Unpack[LogOptions],
) -> LoggedModel:
    """Logs a model to a run, and registers it under `registered_model_name`: see `save_model` and `LogOptions`."""
    model = {"cb_model": cb_model, "format": format}
    return _FLAVOR.log_model(save_model, model, artifact_path, options)


def autolog(*, disable: bool = False, **options: Unpack[AutologOptions]) -> None:
    """Has each fit of CatBoost log itself: params, metrics of each iteration, importances, model.

    For the other options see `modelry.autolog` and docs/autologging.md. `disable=True` turns it off. Raises
    InvalidArgument for an option that is not there.
    """
    from modelry._sdk.autologging.switch import switch
    from modelry._sdk.recipes.catboost_fits import CATBOOST

    switch(CATBOOST, options, disable=disable)
