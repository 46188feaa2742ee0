"""XGBoost models in MLflow's format: save them to a folder, log them to a run, load them back.

The file of a model is XGBoost's own: trees, weights and settings as data. Loading it runs no code of its author.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelry._sdk.flavors.xgboost import FLAVOR, save_model

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.autologging.options import AutologOptions
    from modelry._sdk.packaging.logged import LoggedModel
    from modelry._sdk.packaging.options import LogOptions

    class _Autolog(AutologOptions, total=False):
        importance_types: list[str]
        pos_label: Any


__all__ = ["autolog", "load_model", "log_model", "save_model"]

load_model = FLAVOR.load_model


def log_model(
    xgb_model: Any,
    artifact_path: str | None = None,
    *,
    model_format: str = "ubj",
    **options: Unpack[LogOptions],
) -> LoggedModel:
    """Logs a model to a run, and registers it under `registered_model_name`: see `save_model` and `LogOptions`."""
    model = {"xgb_model": xgb_model, "model_format": model_format}
    return FLAVOR.log_model(save_model, model, artifact_path, options)


def autolog(*, disable: bool = False, **options: Unpack[_Autolog]) -> None:
    """Has each fit of XGBoost log itself: params, metrics of each iteration, importances, model.

    `importance_types` (`["weight"]`) are those of `Booster.get_score`. `pos_label` is as in `modelry.sklearn.autolog`.
    For the other options see `modelry.autolog` and docs/autologging.md. `disable=True` turns it off. Raises
    InvalidArgument for an option that is not there.
    """
    from modelry._sdk.autologging.switch import switch
    from modelry._sdk.recipes.xgboost_fits import XGBOOST

    switch(XGBOOST, options, disable=disable)
