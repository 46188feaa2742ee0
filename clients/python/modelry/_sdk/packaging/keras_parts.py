"""What the flavors `keras` and `tensorflow` have to know of a model of Keras."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import Any

from modelry._sdk.files import local_files
from modelry._sdk.schemas import borrowed
from modelry.errors import InvalidArgument


def prepare(path: str | os.PathLike[str]) -> None:
    """Makes the folder of a model, since MLflow stores an input example before it does.

    Raises InvalidArgument for one that has files, and for a URL.
    """
    local_files.require_no_url(path, local_files.SAVED)
    os.makedirs(path, exist_ok=True)
    if os.listdir(path):
        raise InvalidArgument(
            f"the folder {os.fspath(path)!r} is not empty; give one that is empty, or that does not exist",
            reason="FIELD_INVALID",
            fields={"path": "is not empty"},
        )


def signature_of(model: Any, example: Any) -> Any:
    """The signature of an example and of what the model answers to it."""
    mlflow = borrowed.mlflow_module("mlflow.models")
    return mlflow.infer_signature(example, model.predict(example, verbose=0))


def inspected(model: Any, *modules: str) -> list[Any]:
    """What of a model tells the packages that it needs: its classes and its backend, without the weights."""
    import keras

    if not isinstance(model, keras.Model):
        return [type(model), *map(importlib.import_module, modules)]
    backend = keras.backend.backend()
    return [*map(importlib.import_module, (*modules, backend)), *{type(each) for each in _layers(model)}]


def are_pickled(model: Any, custom_objects: Any) -> bool:
    """Whether MLflow stores classes or functions beside a Keras model."""
    import keras

    return isinstance(model, keras.Model) and bool(custom_objects or keras.saving.get_custom_objects())


def _layers(layer: Any) -> Iterator[Any]:
    yield layer
    for each in getattr(layer, "layers", ()):
        yield from _layers(each)
