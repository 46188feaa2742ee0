"""Keras 3 models in MLflow's format: save them to a folder, log them to a run, load them back.

The file of a model is Keras' own `.keras`: layers and weights as data. It is loaded in Keras' safe mode, which refuses
layers that are code (`Lambda` of a Python function). A class of your own must be known where it is loaded: register it
with `keras.saving.register_keras_serializable`, or give it as `custom_objects`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelry._sdk.flavors.keras import FLAVOR, save_model

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.autologging.options import AutologOptions
    from modelry._sdk.client import Client
    from modelry._sdk.packaging.logged import LoggedModel
    from modelry._sdk.packaging.options import LogOptions

    class _Autolog(AutologOptions, total=False):
        log_every_n_steps: int | None


__all__ = ["autolog", "load_model", "log_model", "save_model"]


def log_model(
    model: Any,
    artifact_path: str | None = None,
    *,
    save_exported_model: bool = False,
    save_model_kwargs: dict[str, Any] | None = None,
    **options: Unpack[LogOptions],
) -> LoggedModel:
    """Logs a model to a run, and registers it under `registered_model_name`: see `save_model` and `LogOptions`."""
    given = {"model": model, "save_exported_model": save_exported_model, "save_model_kwargs": save_model_kwargs}
    return FLAVOR.log_model(save_model, given, artifact_path, options)


def load_model(
    model_uri: str | os.PathLike[str],
    dst_path: str | os.PathLike[str] | None = None,
    *,
    custom_objects: dict[str, Any] | None = None,
    load_model_kwargs: dict[str, Any] | None = None,
    client: Client | None = None,
) -> Any:
    """Loads a model from `runs:/…`, `models:/…` or a folder on this machine: see `FlavorShell.load_model`.

    `custom_objects` are your classes and functions by the name that the model has for them, and `load_model_kwargs`
    those of `keras.saving.load_model`. Raises ValueError, from Keras, for a class that it does not know.
    """
    given = {"custom_objects": custom_objects, "load_model_kwargs": load_model_kwargs}
    return FLAVOR.load(model_uri, dst_path=dst_path, client=client, **given)


def autolog(*, disable: bool = False, **options: Unpack[_Autolog]) -> None:
    """Has each `Model.fit` of Keras 3 log itself: params, metrics of each epoch, summary, model.

    With `log_every_n_steps` the metrics of the training are logged every so many batches, by the number of the batch.
    For the other options see `modelry.autolog` and docs/autologging.md. `disable=True` turns it off. Raises
    InvalidArgument for an option that is not there.
    """
    from modelry._sdk.autologging.switch import switch
    from modelry._sdk.recipes.keras_fits import KERAS

    switch(KERAS, options, disable=disable)
