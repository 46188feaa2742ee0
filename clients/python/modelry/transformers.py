"""Hugging Face Transformers in MLflow's format: save pipelines to a folder, log them to a run, load them back.

The weights are stored as safetensors, and the rest as text: data, unless a class of the model is not part of
Transformers. Nothing is looked up on a hub while a model is saved.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging.flavor import FlavorShell
from modelry._sdk.packaging.takes import Takes
from modelry._sdk.recipes.transformers_fits import ModelryCallback
from modelry._sdk.schemas import borrowed
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.autologging.options import AutologOptions
    from modelry._sdk.client import Client
    from modelry._sdk.packaging.logged import LoggedModel
    from modelry._sdk.packaging.options import LogOptions, SaveOptions

    class TransformersSaveOptions(SaveOptions, total=False):
        """The options of MLflow's `save_model` for Transformers."""

        processor: Any
        torch_dtype: Any
        model_card: Any
        model_config: Any
        prompt_template: Any
        save_pretrained: bool
        base_model_path: Any

    class TransformersLogOptions(TransformersSaveOptions, LogOptions, total=False):
        """Those, and where the model is logged to."""

    class _Autolog(AutologOptions, total=False):
        log_checkpoints: bool


__all__ = ["ModelryCallback", "autolog", "load_model", "log_model", "save_model"]

_TAKES = Takes(
    "transformers_model",
    "a pipeline, a dict of its parts, or the path of a checkpoint",
    ("transformers.Pipeline", "builtins.dict", "builtins.str"),
)
_FLAVOR = FlavorShell("mlflow.transformers", "transformers", "transformers", _TAKES)
# With these MLflow asks a hub for the card and the license of a model, by its name.
_LOOKUPS = ("_fetch_model_card", "_write_license_information")


def save_model(
    transformers_model: Any,
    path: str | os.PathLike[str],
    *,
    task: str | None = None,
    **options: Unpack[TransformersSaveOptions],
) -> None:
    """Saves a model to a folder on this machine, which must not exist or must be empty.

    `transformers_model` is a pipeline; a dict of its parts (`model`, `tokenizer`, …), or the path of a checkpoint on
    this machine, for which `task` says what it does, such as `text-classification`. `model_card` is a
    `huggingface_hub.ModelCard`, which is stored too. `save_pretrained=False` stores the name and the revision in a hub
    instead of the weights; that, and loading it, asks the hub. The other options are those of MLflow.

    Raises InvalidArgument without a task, and MlflowException for what can't be saved.
    """
    _FLAVOR.require(transformers_model)
    if task is None and isinstance(transformers_model, dict | str):
        problem = "the parts of a pipeline, or the path of a checkpoint, need a task, such as 'text-classification'"
        raise InvalidArgument(problem, reason="FIELD_INVALID", fields={"task": "is missing"})
    if isinstance(transformers_model, str) and os.path.isdir(transformers_model):
        # MLflow 3 can't read the table of tasks of Transformers 5 for a path.
        import transformers

        transformers_model = transformers.pipeline(task, model=transformers_model, device="cpu")
    given = {"transformers_model": transformers_model, "task": task, **options}
    with borrowed.answering_nothing(_FLAVOR.check(), *_LOOKUPS):
        _FLAVOR.save(path, given, inspected=transformers_model, packages=["transformers", "torch", "pandas"])


def log_model(
    transformers_model: Any,
    artifact_path: str | None = None,
    *,
    task: str | None = None,
    **options: Unpack[TransformersLogOptions],
) -> LoggedModel:
    """Logs a model to a run, and registers it under `registered_model_name`: see `save_model` and `LogOptions`."""
    model = {"transformers_model": transformers_model, "task": task}
    return _FLAVOR.log_model(save_model, model, artifact_path, options)


def load_model(
    model_uri: str | os.PathLike[str],
    dst_path: str | os.PathLike[str] | None = None,
    *,
    return_type: str = "pipeline",
    device: Any = None,
    client: Client | None = None,
    **options: Any,
) -> Any:
    """Loads a model from `runs:/…`, `models:/…` or a folder on this machine: see `FlavorShell.load_model`.

    `return_type` is `pipeline` or `components`, a dict. `device` and the options are those of
    `transformers.pipeline`.
    """
    given = {"return_type": return_type, "device": device, **options}
    return _FLAVOR.load(model_uri, dst_path=dst_path, client=client, **given)


def autolog(*, disable: bool = False, **options: Unpack[_Autolog]) -> None:
    """Has each `Trainer.train` log itself: params, what the Trainer reports, model.

    Each Trainer gets a `ModelryCallback` for it. `log_checkpoints` (False) uploads the checkpoints that the Trainer
    saves. The model is logged if its class says what it does and the Trainer has its tokenizer (`processing_class`).
    For the other options see `modelry.autolog` and docs/autologging.md. `disable=True` turns it off. Raises
    InvalidArgument for an option that is not there.
    """
    from modelry._sdk.autologging.switch import switch
    from modelry._sdk.recipes.transformers_fits import TRANSFORMERS

    switch(TRANSFORMERS, options, disable=disable)
