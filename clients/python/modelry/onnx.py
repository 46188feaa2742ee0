"""ONNX models in MLflow's format: save them to a folder, log them to a run, load them back.

The file of a model is a graph as data, whatever framework made it. Loading it runs no code of its author. Predictions
of `modelry.pyfunc` need `onnxruntime`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging.flavor import FlavorShell
from modelry._sdk.packaging.takes import Takes

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.packaging.logged import LoggedModel
    from modelry._sdk.packaging.options import LogOptions, SaveOptions

__all__ = ["load_model", "log_model", "save_model"]

_TAKES = Takes("onnx_model", "an onnx.ModelProto", ("onnx.ModelProto",))
_FLAVOR = FlavorShell("mlflow.onnx", "onnx", "onnx", _TAKES)
load_model = _FLAVOR.load_model


def save_model(
    onnx_model: Any,
    path: str | os.PathLike[str],
    *,
    onnx_execution_providers: Any = None,
    onnx_session_options: Any = None,
    save_as_external_data: bool = True,
    **options: Unpack[SaveOptions],
) -> None:
    """Saves a model to a folder on this machine, which must not exist or must be empty.

    `onnx_model` is a ModelProto. Predictions use `onnx_execution_providers` and `onnx_session_options`, which are those
    of onnxruntime. `save_as_external_data` keeps large tensors in files beside the graph, which a graph above 2 GiB
    needs.

    Raises MlflowException for what can't be saved.
    """
    _FLAVOR.require(onnx_model)
    given = {
        "onnx_model": onnx_model,
        "onnx_execution_providers": onnx_execution_providers,
        "onnx_session_options": onnx_session_options,
        "save_as_external_data": save_as_external_data,
        **options,
    }
    _FLAVOR.save(path, given, inspected=onnx_model, packages=["onnx", "onnxruntime", "pandas"])


def log_model(
    onnx_model: Any,
    artifact_path: str | None = None,
    *,
    onnx_execution_providers: Any = None,
    onnx_session_options: Any = None,
    save_as_external_data: bool = True,
    **options: Unpack[LogOptions],
) -> LoggedModel:
    """Logs a model to a run, and registers it under `registered_model_name`: see `save_model` and `LogOptions`."""
    model = {
        "onnx_model": onnx_model,
        "onnx_execution_providers": onnx_execution_providers,
        "onnx_session_options": onnx_session_options,
        "save_as_external_data": save_as_external_data,
    }
    return _FLAVOR.log_model(save_model, model, artifact_path, options)
