"""How models of Keras 3 are saved."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging import keras_parts
from modelry._sdk.packaging.flavor import FlavorShell
from modelry._sdk.packaging.takes import Takes

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.packaging.options import SaveOptions


_TAKES = Takes("model", "a keras.Model", ("keras.Model",))
FLAVOR = FlavorShell("mlflow.keras", "keras", "keras", _TAKES)


def save_model(
    model: Any,
    path: str | os.PathLike[str],
    *,
    save_exported_model: bool = False,
    save_model_kwargs: dict[str, Any] | None = None,
    **options: Unpack[SaveOptions],
) -> None:
    """Saves a model to a folder on this machine, which must not exist or must be empty.

    `model` is a keras.Model, with any backend. `save_exported_model` saves its graph as TensorFlow's SavedModel, which
    needs a signature, instead of `.keras`. `save_model_kwargs` are those of `keras.Model.save`. Without a signature,
    it is inferred from an input example of arrays. Keras models have no `code_paths` and `extra_files`.

    Raises InvalidArgument if the folder is not empty, and MlflowException for what can't be saved.
    """
    FLAVOR.require(model)
    keras_parts.prepare(path)
    example, signature = options.get("input_example"), options.get("signature")
    if signature is None and example is not None:
        signature = keras_parts.signature_of(model, example)
    given = {
        "model": model,
        "save_exported_model": save_exported_model,
        "save_model_kwargs": save_model_kwargs,
        **options,
        "signature": signature,
    }
    FLAVOR.save(path, given, inspected=keras_parts.inspected(model), packages=["keras", "pandas"])
