"""Models as Python functions, in MLflow's format: any model with one `predict`, and models with logic of your own.

    class Doubled(modelry.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input * 2

`PythonModel` and `PythonModelContext` are MLflow's own classes, so that a model logged here can be loaded without
Modelry. Loading a model runs code that its author chose: load only what you trust.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelry._sdk.files import local_files
from modelry._sdk.packaging import borrowed, loading, logged
from modelry._sdk.packaging.flavor import PYTHON_FUNCTION, FlavorShell

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel as PyFuncModel
    from mlflow.pyfunc.model import PythonModel as PythonModel
    from mlflow.pyfunc.model import PythonModelContext as PythonModelContext

    from modelry._sdk.client import Client

__all__ = ["PyFuncModel", "PythonModel", "PythonModelContext", "load_model", "log_model", "save_model"]

_OF_MLFLOW = ("PyFuncModel", "PythonModel", "PythonModelContext")
_FLAVOR = FlavorShell("mlflow.pyfunc", PYTHON_FUNCTION)


def __getattr__(name: str) -> Any:
    if name in _OF_MLFLOW:
        return getattr(borrowed.mlflow_module("mlflow.pyfunc"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def save_model(
    path: str | os.PathLike[str],
    *,
    python_model: Any = None,
    artifacts: Mapping[str, str] | None = None,
    pip_requirements: Any = None,
    extra_pip_requirements: Any = None,
    conda_env: Any = None,
    client: Client | None = None,
    **packaging_options: Any,
) -> None:
    """Saves a model to a folder on this machine, which must not exist or must be empty.

    `python_model` is a PythonModel, a function of the input, or the path of a script that calls `set_model`.
    `artifacts` are files that it finds by name in `context.artifacts`: local paths, `runs:/…` or `models:/…`. Without
    `pip_requirements` or `conda_env`, the packages that the model refers to are found and pinned. Further options are
    those of MLflow's `save_model`: `signature`, `input_example`, `metadata`, `code_paths`, `loader_module`,
    `data_path`, `model_config`, …. Raises MlflowException for what can't be saved.
    """
    with tempfile.TemporaryDirectory(prefix="modelry-artifacts-") as temporary:
        options = {
            "python_model": python_model,
            "artifacts": _fetched(artifacts, temporary, client),
            "pip_requirements": pip_requirements,
            "extra_pip_requirements": extra_pip_requirements,
            "conda_env": conda_env,
            **packaging_options,
        }
        _FLAVOR.save(path, options, inspected=_inspectable(python_model), packages=["cloudpickle"])


def log_model(
    artifact_path: str | None = None,
    *,
    name: str | None = None,
    registered_model_name: str | None = None,
    run_id: str | None = None,
    client: Client | None = None,
    await_registration_for: int | None = None,
    **save_options: Any,
) -> logged.LoggedModel:
    """Logs a model to the active run, which is started if there is none, or to the run `run_id`.

    Its path is `name`, which MLflow 2 calls `artifact_path`. Default: `model`. With `registered_model_name` it becomes
    the next version of that registered model, which is created if there is none. `save_options` are those of
    `save_model`. `await_registration_for` has no effect: a version is ready when the call returns.
    """
    destination = logged.Destination(
        artifact_path=artifact_path,
        name=name,
        run_id=run_id,
        registered_model_name=registered_model_name,
        client=client,
    )
    return _FLAVOR.log(save_model, {"client": client, **save_options}, destination)


def load_model(
    model_uri: str | os.PathLike[str],
    suppress_warnings: bool = False,
    dst_path: str | os.PathLike[str] | None = None,
    *,
    model_config: Any = None,
    client: Client | None = None,
) -> PyFuncModel:
    """Loads a model of any flavor as a Python function from `runs:/…`, `models:/…` or a folder on this machine.

    The result has `predict(input, params=None)`, which checks the input against the signature, and `metadata`. The
    files are downloaded to `dst_path`, or to a temporary folder that lives as long as the model. There is a warning if
    installed packages have other versions than the model asks for. Raises NotFound if there is no model,
    InvalidArgument for a URI that can't be parsed, and MlflowException if the files are not a model.
    """
    model: PyFuncModel = _FLAVOR.load(
        model_uri, dst_path=dst_path, client=client, suppress_warnings=suppress_warnings, model_config=model_config
    )
    return model


def _inspectable(python_model: Any) -> Any:
    if isinstance(python_model, str | Path):
        return compile(Path(python_model).read_bytes(), os.fspath(python_model), "exec", dont_inherit=True)
    return python_model


def _fetched(artifacts: Mapping[str, str] | None, folder: str, client: Client | None) -> dict[str, str] | None:
    if artifacts is None:
        return None
    local = {}
    for number, (name, uri) in enumerate(artifacts.items()):
        if uri.startswith(("runs:", "models:")):
            uri = loading.local_path(uri, os.path.join(folder, str(number)), client)
        local_files.given(uri)
        local[name] = uri
    return local
