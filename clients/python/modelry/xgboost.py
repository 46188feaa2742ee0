"""XGBoost models in MLflow's format: save them to a folder, log them to a run, load them back.

The file of a model is XGBoost's own: trees, weights and settings as data. Loading it runs no code of its author.
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

    class _Autolog(AutologOptions, total=False):
        importance_types: list[str]
        pos_label: Any


__all__ = ["autolog", "load_model", "log_model", "save_model"]

_TAKES = Takes(
    "xgb_model", "a Booster or a model of XGBoost's scikit-learn interface", ("xgboost.Booster", "xgboost.XGBModel")
)
_FLAVOR = FlavorShell("mlflow.xgboost", "xgboost", "xgboost", _TAKES, Formats("model_format", ("ubj", "json")))
load_model = _FLAVOR.load_model


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
    _FLAVOR.require(xgb_model)
    given = {"xgb_model": xgb_model, "model_format": model_format, **options}
    _FLAVOR.save(path, given, inspected=xgb_model, packages=["xgboost"])


def log_model(
    xgb_model: Any,
    artifact_path: str | None = None,
    *,
    model_format: str = "ubj",
    **options: Unpack[LogOptions],
) -> LoggedModel:
    """Logs a model to a run, and registers it under `registered_model_name`: see `save_model` and `LogOptions`."""
    model = {"xgb_model": xgb_model, "model_format": model_format}
    return _FLAVOR.log_model(save_model, model, artifact_path, options)


def autolog(*, disable: bool = False, **options: Unpack[_Autolog]) -> None:
    """Has each fit of XGBoost log itself: params, metrics of each iteration, importances, model.

    `importance_types` (`["weight"]`) are those of `Booster.get_score`. `pos_label` is as in `modelry.sklearn.autolog`.
    For the other options see `modelry.autolog` and docs/autologging.md. `disable=True` turns it off. Raises
    InvalidArgument for an option that is not there.
    """
    from modelry._sdk.autologging.switch import switch
    from modelry._sdk.recipes.xgboost_fits import XGBOOST

    switch(XGBOOST, options, disable=disable)
