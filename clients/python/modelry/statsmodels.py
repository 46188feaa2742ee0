"""Statsmodels models in MLflow's format: save them to a folder, log them to a run, load them back.

The file of a model is a pickle, since statsmodels has no other format. Loading it runs code that its author chose: load
only what you trust.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelry._sdk.flavors.statsmodels import FLAVOR, save_model

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.autologging.options import AutologOptions
    from modelry._sdk.packaging.logged import LoggedModel
    from modelry._sdk.packaging.options import LogOptions

__all__ = ["autolog", "load_model", "log_model", "save_model"]

load_model = FLAVOR.load_model


def log_model(
    statsmodels_model: Any,
    artifact_path: str | None = None,
    *,
    remove_data: bool = False,
    **options: Unpack[LogOptions],
) -> LoggedModel:
    """Logs a model to a run, and registers it under `registered_model_name`: see `save_model` and `LogOptions`."""
    model = {"statsmodels_model": statsmodels_model, "remove_data": remove_data}
    return FLAVOR.log_model(save_model, model, artifact_path, options)


def autolog(*, disable: bool = False, **options: Unpack[AutologOptions]) -> None:
    """Has each fit of statsmodels log itself: its arguments, the figures and the summary of the results, model.

    For the other options see `modelry.autolog` and docs/autologging.md. `disable=True` turns it off. Raises
    InvalidArgument for an option that is not there.
    """
    from modelry._sdk.autologging.switch import switch
    from modelry._sdk.recipes.statsmodels_fits import STATSMODELS

    switch(STATSMODELS, options, disable=disable)
