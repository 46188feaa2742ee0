"""TensorFlow models in MLflow's format: save them to a folder, log them to a run, load them back.

A Keras model is stored as `.keras`, as data, and a `tf.Module` as a SavedModel, a graph that can read and write files
when it is loaded or used. `custom_objects` of a Keras model are pickled beside it: `modelry.keras` stores none.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging import keras_parts
from modelry._sdk.packaging.flavor import FlavorShell
from modelry._sdk.packaging.takes import Takes

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.autologging.options import AutologOptions
    from modelry._sdk.client import Client
    from modelry._sdk.packaging.logged import LoggedModel
    from modelry._sdk.packaging.options import LogOptions, SaveOptions

    class _Autolog(AutologOptions, total=False):
        log_every_n_steps: int | None


__all__ = ["autolog", "load_model", "log_model", "save_model"]

_TAKES = Takes("model", "a keras.Model or a tf.Module", ("keras.Model", "tensorflow.Module", "tf_keras.Model"))
_FLAVOR = FlavorShell("mlflow.tensorflow", "tensorflow", "tensorflow", _TAKES, also="keras")


def save_model(
    model: Any,
    path: str | os.PathLike[str],
    *,
    custom_objects: dict[str, Any] | None = None,
    saved_model_kwargs: dict[str, Any] | None = None,
    keras_model_kwargs: dict[str, Any] | None = None,
    **options: Unpack[SaveOptions],
) -> None:
    """Saves a model to a folder on this machine, which must not exist or must be empty.

    `model` is a keras.Model or a tf.Module. `custom_objects` are classes and functions of a Keras model by their names;
    they are pickled, and so are those that are registered with Keras. `keras_model_kwargs` are those of
    `keras.Model.save`, `saved_model_kwargs` those of `tf.saved_model.save`.

    Raises MlflowException for what can't be saved.
    """
    _FLAVOR.require(model)
    given = {
        "model": model,
        "custom_objects": custom_objects,
        "saved_model_kwargs": saved_model_kwargs,
        "keras_model_kwargs": keras_model_kwargs,
        **options,
    }
    parts = keras_parts.inspected(model, "tensorflow")
    packages = ["pandas", *(["cloudpickle"] if keras_parts.are_pickled(model, custom_objects) else [])]
    _FLAVOR.save(path, given, inspected=[parts, custom_objects], packages=packages)


def log_model(
    model: Any,
    artifact_path: str | None = None,
    *,
    custom_objects: dict[str, Any] | None = None,
    saved_model_kwargs: dict[str, Any] | None = None,
    keras_model_kwargs: dict[str, Any] | None = None,
    **options: Unpack[LogOptions],
) -> LoggedModel:
    """Logs a model to a run, and registers it under `registered_model_name`: see `save_model` and `LogOptions`."""
    given = {
        "model": model,
        "custom_objects": custom_objects,
        "saved_model_kwargs": saved_model_kwargs,
        "keras_model_kwargs": keras_model_kwargs,
    }
    return _FLAVOR.log_model(save_model, given, artifact_path, options)


def load_model(
    model_uri: str | os.PathLike[str],
    dst_path: str | os.PathLike[str] | None = None,
    *,
    saved_model_kwargs: dict[str, Any] | None = None,
    keras_model_kwargs: dict[str, Any] | None = None,
    client: Client | None = None,
) -> Any:
    """Loads a model from `runs:/…`, `models:/…` or a folder on this machine: see `FlavorShell.load_model`.

    `keras_model_kwargs` are those of `keras.saving.load_model`, such as `custom_objects`, and `saved_model_kwargs`
    those of `tf.saved_model.load`.
    """
    given = {"saved_model_kwargs": saved_model_kwargs, "keras_model_kwargs": keras_model_kwargs}
    return _FLAVOR.load(model_uri, dst_path=dst_path, client=client, **given)


def autolog(*, disable: bool = False, **options: Unpack[_Autolog]) -> None:
    """Does what `modelry.keras.autolog` does: Keras is what trains models of TensorFlow."""
    from modelry._sdk.autologging.switch import switch
    from modelry._sdk.recipes.keras_fits import KERAS

    switch(KERAS, options, disable=disable)
