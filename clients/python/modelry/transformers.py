"""Hugging Face Transformers in MLflow's format: save pipelines to a folder, log them to a run, load them back.

The weights are stored as safetensors, and the rest as text: data, unless a class of the model is not part of
Transformers. Nothing is looked up on a hub while a model is saved.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelry._sdk.flavors.transformers import FLAVOR, save_model
from modelry._sdk.recipes.transformers_fits import ModelryCallback

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.autologging.options import AutologOptions
    from modelry._sdk.client import Client
    from modelry._sdk.flavors.transformers import TransformersSaveOptions
    from modelry._sdk.packaging.logged import LoggedModel
    from modelry._sdk.packaging.options import LogOptions

    class TransformersLogOptions(TransformersSaveOptions, LogOptions, total=False):
        """Those, and where the model is logged to."""

    class _Autolog(AutologOptions, total=False):
        log_checkpoints: bool


__all__ = ["ModelryCallback", "autolog", "load_model", "log_model", "save_model"]


def log_model(
    transformers_model: Any,
    artifact_path: str | None = None,
    *,
    task: str | None = None,
    **options: Unpack[TransformersLogOptions],
) -> LoggedModel:
    """Logs a model to a run, and registers it under `registered_model_name`: see `save_model` and `LogOptions`."""
    model = {"transformers_model": transformers_model, "task": task}
    return FLAVOR.log_model(save_model, model, artifact_path, options)


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
    return FLAVOR.load(model_uri, dst_path=dst_path, client=client, **given)


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
