"""The arguments that `save_model` and `log_model` of all flavors have in common, as types for `**options`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from modelry._sdk.client import Client


class SaveOptions(TypedDict, total=False):
    """How a model is saved: the options of MLflow's `save_model`.

    `signature` and `input_example` describe the input, see `modelry.models.infer_signature`. `code_paths` are files and
    folders of code that become part of the model. Without `pip_requirements` or `conda_env`, the packages that the
    model refers to are found and pinned; `extra_pip_requirements` are added to them. `metadata` is a mapping of your
    own, of what YAML holds. `extra_files` are copied beside the model.
    """

    signature: Any
    input_example: Any
    code_paths: Any
    pip_requirements: Any
    extra_pip_requirements: Any
    conda_env: Any
    metadata: Any
    extra_files: Any
    mlflow_model: Any


class LogOptions(SaveOptions, total=False):
    """Where a model is logged to, and how it is saved.

    `name` is its path in the run, which MLflow 2 calls `artifact_path`. Default: `model`. `run_id` is its run. Default:
    the active run, which is started if there is none. With `registered_model_name` it becomes the next version of that
    registered model, which is created if there is none. `await_registration_for` has no effect: a version is ready when
    the call returns.
    """

    name: str | None
    registered_model_name: str | None
    run_id: str | None
    client: Client | None
    await_registration_for: int | None
