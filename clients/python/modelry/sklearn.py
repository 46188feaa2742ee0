"""Scikit-learn models, in MLflow's format: save them to a folder, log them to a run, load them back.

Loading a model runs code that its author chose: a pickle can do anything when it is read. Load only what you trust, or
save with `serialization_format="skops"` and load with a program that trusts only the types that it knows.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging import logged
from modelry._sdk.packaging.flavor import FlavorShell

if TYPE_CHECKING:
    from modelry._sdk.client import Client

__all__ = ["load_model", "log_model", "save_model"]

DEFAULT_FORMAT = "cloudpickle"
_FLAVOR = FlavorShell("mlflow.sklearn", "sklearn")


def save_model(
    sk_model: Any,
    path: str | os.PathLike[str],
    *,
    serialization_format: str = DEFAULT_FORMAT,
    pip_requirements: Any = None,
    extra_pip_requirements: Any = None,
    conda_env: Any = None,
    **packaging_options: Any,
) -> None:
    """Saves a model to a folder on this machine, which must not exist or must be empty.

    `serialization_format` is `cloudpickle` or `pickle` (a file `model.pkl`), or `skops` (`model.skops`, without code;
    types that it does not know, such as those of trees, must be named in `skops_trusted_types`). Without
    `pip_requirements` or `conda_env`, the packages that the model refers to are found and pinned. Further options are
    those of MLflow's `save_model`: `signature`, `input_example`, `metadata`, `code_paths`, `pyfunc_predict_fn`, ….
    Raises MlflowException for what can't be saved.
    """
    options = {
        "sk_model": sk_model,
        "serialization_format": serialization_format,
        "pip_requirements": pip_requirements,
        "extra_pip_requirements": extra_pip_requirements,
        "conda_env": conda_env,
        **packaging_options,
    }
    packages = ["scikit-learn", *({serialization_format} & {"cloudpickle", "skops"})]
    _FLAVOR.save(path, options, inspected=sk_model, packages=packages)


def log_model(
    sk_model: Any,
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
    return _FLAVOR.log(functools.partial(save_model, sk_model), save_options, destination)


def load_model(
    model_uri: str | os.PathLike[str],
    dst_path: str | os.PathLike[str] | None = None,
    *,
    client: Client | None = None,
) -> Any:
    """Loads a scikit-learn model from `runs:/…`, `models:/…` or a folder on this machine.

    The files are downloaded to `dst_path`, or to a temporary folder. Raises NotFound if there is no model,
    InvalidArgument for a URI that can't be parsed, and MlflowException if the files are not a scikit-learn model.
    """
    return _FLAVOR.load(model_uri, dst_path=dst_path, client=client)
