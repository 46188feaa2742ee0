"""CatBoost models in MLflow's format: save them to a folder, log them to a run, load them back.

The file of a model is CatBoost's own: trees and settings as data. Loading it runs no code of its author.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelry._sdk.flavors.catboost import FLAVOR, save_model

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.autologging.options import AutologOptions
    from modelry._sdk.packaging.logged import LoggedModel
    from modelry._sdk.packaging.options import LogOptions

__all__ = ["autolog", "load_model", "log_model", "save_model"]

load_model = FLAVOR.load_model


def log_model(
    cb_model: Any,
    artifact_path: str | None = None,
    *,
    format: str = "cbm",
    **options: Unpack[LogOptions],
) -> LoggedModel:
    """Logs a model to a run, and registers it under `registered_model_name`: see `save_model` and `LogOptions`."""
    model = {"cb_model": cb_model, "format": format}
    return FLAVOR.log_model(save_model, model, artifact_path, options)


def autolog(*, disable: bool = False, **options: Unpack[AutologOptions]) -> None:
    """Has each fit of CatBoost log itself: params, metrics of each iteration, importances, model.

    For the other options see `modelry.autolog` and docs/autologging.md. `disable=True` turns it off. Raises
    InvalidArgument for an option that is not there.
    """
    from modelry._sdk.autologging.switch import switch
    from modelry._sdk.recipes.catboost_fits import CATBOOST

    switch(CATBOOST, options, disable=disable)
