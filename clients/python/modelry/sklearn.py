"""Scikit-learn models, in MLflow's format: save them to a folder, log them to a run, load them back.

Loading a model runs code that its author chose: a pickle can do anything when it is read. Load only what you trust, or
save with `serialization_format="skops"` and load with a program that trusts only the types that it knows.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging import borrowed, loading, logged, requirements

if TYPE_CHECKING:
    from modelry._sdk.client import Client

__all__ = ["load_model", "log_model", "save_model"]

DEFAULT_FORMAT = "cloudpickle"


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
    """Saves a model to a folder of this machine that must not exist or must be empty.

    `serialization_format` is `cloudpickle` or `pickle` (a file `model.pkl`) or `skops` (`model.skops`, no code inside,
    but each type that it does not know must be named in `skops_trusted_types`, such as those of trees). Without
    `pip_requirements` or `conda_env`, the packages that the model refers to are found and pinned. Further options are
    those of MLflow's `save_model`: `signature`, `input_example`, `metadata`, `code_paths`, `pyfunc_predict_fn`, ….
    Raises MlflowException for what can't be saved.
    """
    flavor = borrowed.mlflow_module("mlflow.sklearn")
    needed, extra = pip_requirements, extra_pip_requirements
    if pip_requirements is None and conda_env is None:
        own = requirements.pinned("scikit-learn", *({serialization_format} & {"cloudpickle", "skops"}))
        found = requirements.inferred(sk_model, packaging_options.get("input_example"))
        needed, extra = requirements.merged(own, found, requirements.listed(extra)), None
    # The advice is to use skops, which can't save a tree without naming its types.
    with borrowed.errors_only("mlflow.sklearn"):
        flavor.save_model(
            sk_model,
            os.fspath(path),
            serialization_format=serialization_format,
            pip_requirements=needed,
            extra_pip_requirements=extra,
            conda_env=conda_env,
            **packaging_options,
        )


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
    """Logs a model to the active run, which is started if there is none, or to the run of `run_id`.

    It lies at `name`, or `artifact_path` as MLflow 2 spells it; by default at `model`. With `registered_model_name` it
    becomes the next version of that registered model, which is made if it is missing. `save_options` are those of
    `save_model`. `await_registration_for` is accepted for MLflow's sake: a version is ready when the call returns.
    """
    destination = logged.Destination(artifact_path, name, run_id, registered_model_name, client)

    def save(folder: str, metadata: Any) -> None:
        save_model(sk_model, folder, mlflow_model=metadata, **save_options)

    return logged.log(save, destination)


def load_model(
    model_uri: str | os.PathLike[str],
    dst_path: str | os.PathLike[str] | None = None,
    *,
    client: Client | None = None,
) -> Any:
    """Loads a scikit-learn model from `runs:/…`, `models:/…` or a folder of this machine.

    The files are downloaded to `dst_path`, or to a temporary folder. Raises NotFound where there is none,
    InvalidArgument for a URI that can't be read, and MlflowException where the files are no scikit-learn model.
    """
    flavor = borrowed.mlflow_module("mlflow.sklearn")
    return loading.loaded(model_uri, flavor.load_model, dst_path=dst_path, client=client)
