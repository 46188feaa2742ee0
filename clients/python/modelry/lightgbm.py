"""LightGBM models in MLflow's format: save them to a folder, log them to a run, load them back.

The file of a Booster is LightGBM's own text: trees as data. A model of the scikit-learn interface is pickled, and
loading it runs code that its author chose: log its `booster_`, or load only what you trust.
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
    "lgb_model", "a Booster or a model of LightGBM's scikit-learn interface", ("lightgbm.Booster", "lightgbm.LGBMModel")
)
_FORMATS = Formats("serialization_format", ("cloudpickle", "pickle", "skops"))
_FLAVOR = FlavorShell("mlflow.lightgbm", "lightgbm", "lightgbm", _TAKES, _FORMATS)
load_model = _FLAVOR.load_model


def save_model(
    lgb_model: Any,
    path: str | os.PathLike[str],
    *,
    serialization_format: str = "cloudpickle",
    **options: Unpack[SaveOptions],
) -> None:
    """Saves a model to a folder on this machine, which must not exist or must be empty.

    `lgb_model` is a Booster, or a model of LightGBM's scikit-learn interface. Only for the latter is
    `serialization_format`: `cloudpickle`, `pickle`, or `skops`, whose types are named in the model.

    Raises MlflowException for what can't be saved.
    """
    _FLAVOR.require(lgb_model)
    given = {"lgb_model": lgb_model, "serialization_format": serialization_format, **options}
    _FLAVOR.save(path, given, inspected=lgb_model, packages=["lightgbm", *_format_of(lgb_model, serialization_format)])


def log_model(
    lgb_model: Any,
    artifact_path: str | None = None,
    *,
    serialization_format: str = "cloudpickle",
    **options: Unpack[LogOptions],
) -> LoggedModel:
    """Logs a model to a run, and registers it under `registered_model_name`: see `save_model` and `LogOptions`."""
    model = {"lgb_model": lgb_model, "serialization_format": serialization_format}
    return _FLAVOR.log_model(save_model, model, artifact_path, options)


def autolog(*, disable: bool = False, **options: Unpack[_Autolog]) -> None:
    """Has each fit of LightGBM log itself: params, metrics of each iteration, importances, model.

    `importance_types` (`["split", "gain"]`) are those of `Booster.feature_importance`. `pos_label` is as in
    `modelry.sklearn.autolog`.
    For the other options see `modelry.autolog` and docs/autologging.md. `disable=True` turns it off. Raises
    InvalidArgument for an option that is not there.
    """
    from modelry._sdk.autologging.switch import switch
    from modelry._sdk.recipes.lightgbm_fits import LIGHTGBM

    switch(LIGHTGBM, options, disable=disable)


def _format_of(model: Any, serialization_format: str) -> set[str]:
    is_booster = any(each.__name__ == "Booster" for each in type(model).__mro__)
    return set() if is_booster else {serialization_format} & {"cloudpickle", "skops"}
