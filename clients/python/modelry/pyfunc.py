"""Models as Python functions, in MLflow's format: any model by one `predict`, and models with logic of your own.

    class Doubled(modelry.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input * 2

`PythonModel` and `PythonModelContext` are MLflow's own classes, so that a model logged here can be loaded where there
is no Modelry. Loading a model runs code that its author chose: load only what you trust.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging import borrowed, loading, logged, requirements

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel as PyFuncModel
    from mlflow.pyfunc.model import PythonModel as PythonModel
    from mlflow.pyfunc.model import PythonModelContext as PythonModelContext

    from modelry._sdk.client import Client

_MLFLOWS = ("PyFuncModel", "PythonModel", "PythonModelContext")

__all__ = ["PyFuncModel", "PythonModel", "PythonModelContext", "load_model", "log_model", "save_model"]


def __getattr__(name: str) -> Any:
    if name in _MLFLOWS:
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
    """Saves a model to a folder of this machine that must not exist or must be empty.

    `python_model` is a PythonModel, a function of the input, or the path of a script that calls `set_model`.
    `artifacts` are files that it finds by name in `context.artifacts`: paths of this machine, `runs:/…` or `models:/…`.
    Without `pip_requirements` or `conda_env`, the packages that the model refers to are found and pinned. Further
    options are those of MLflow's `save_model`: `signature`, `input_example`, `metadata`, `code_paths`, `loader_module`,
    `data_path`, `model_config`, …. Raises MlflowException for what can't be saved.
    """
    flavor = borrowed.mlflow_module("mlflow.pyfunc")
    needed, extra = pip_requirements, extra_pip_requirements
    if pip_requirements is None and conda_env is None and python_model is not None:
        found = requirements.inferred(_inspectable(python_model), packaging_options.get("input_example"))
        own = requirements.pinned("cloudpickle")
        needed, extra = requirements.merged(own, found, requirements.listed(extra)), None
    # The advice is to give a script, which is pickled nowhere; what loading means is said above.
    with borrowed.errors_only("mlflow.pyfunc"), tempfile.TemporaryDirectory(prefix="modelry-artifacts-") as temporary:
        flavor.save_model(
            os.fspath(path),
            python_model=python_model,
            artifacts=_fetched(artifacts, temporary, client),
            pip_requirements=needed,
            extra_pip_requirements=extra,
            conda_env=conda_env,
            **packaging_options,
        )


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
    """Logs a model to the active run, which is started if there is none, or to the run of `run_id`.

    It lies at `name`, or `artifact_path` as MLflow 2 spells it; by default at `model`. With `registered_model_name` it
    becomes the next version of that registered model, which is made if it is missing. `save_options` are those of
    `save_model`. `await_registration_for` is accepted for MLflow's sake: a version is ready when the call returns.
    """
    destination = logged.Destination(artifact_path, name, run_id, registered_model_name, client)

    def save(folder: str, metadata: Any) -> None:
        save_model(folder, mlflow_model=metadata, client=client, **save_options)

    return logged.log(save, destination)


def load_model(
    model_uri: str | os.PathLike[str],
    suppress_warnings: bool = False,
    dst_path: str | os.PathLike[str] | None = None,
    *,
    model_config: Any = None,
    client: Client | None = None,
) -> PyFuncModel:
    """Loads a model of any flavor as a Python function from `runs:/…`, `models:/…` or a folder of this machine.

    What it answers with has `predict(input, params=None)`, which checks the input against the signature, and
    `metadata`. The files are downloaded to `dst_path`, or to a temporary folder that lives as long as the model. It
    warns of packages that are installed in another version than the model asks for. Raises NotFound where there is
    none, InvalidArgument for a URI that can't be read, and MlflowException where the files are no such model.
    """
    flavor = borrowed.mlflow_module("mlflow.pyfunc")

    def load(folder: str) -> PyFuncModel:
        model: PyFuncModel = flavor.load_model(folder, suppress_warnings=suppress_warnings, model_config=model_config)
        return model

    return loading.loaded(model_uri, load, dst_path=dst_path, client=client)


def _inspectable(python_model: Any) -> Any:
    if isinstance(python_model, str | Path):
        return compile(Path(python_model).read_bytes(), os.fspath(python_model), "exec", dont_inherit=True)
    return python_model


def _fetched(artifacts: Mapping[str, str] | None, folder: str, client: Client | None) -> dict[str, str] | None:
    if artifacts is None:
        return None
    local = {}
    for number, (name, uri) in enumerate(artifacts.items()):
        remote = uri.startswith(("runs:", "models:"))
        local[name] = loading.local_path(uri, os.path.join(folder, str(number)), client) if remote else uri
    return local
