"""How models of Hugging Face Transformers are saved."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging.flavor import FlavorShell
from modelry._sdk.packaging.takes import Takes
from modelry._sdk.schemas import borrowed
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.packaging.options import SaveOptions

    class TransformersSaveOptions(SaveOptions, total=False):
        """The options of MLflow's `save_model` for Transformers."""

        processor: Any
        torch_dtype: Any
        model_card: Any
        model_config: Any
        prompt_template: Any
        save_pretrained: bool
        base_model_path: Any


_TAKES = Takes(
    "transformers_model",
    "a pipeline, a dict of its parts, or the path of a checkpoint",
    ("transformers.Pipeline", "builtins.dict", "builtins.str"),
)
FLAVOR = FlavorShell("mlflow.transformers", "transformers", "transformers", _TAKES)
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
    FLAVOR.require(transformers_model)
    if task is None and isinstance(transformers_model, dict | str):
        problem = "the parts of a pipeline, or the path of a checkpoint, need a task, such as 'text-classification'"
        raise InvalidArgument(problem, reason="FIELD_INVALID", fields={"task": "is missing"})
    if isinstance(transformers_model, str) and os.path.isdir(transformers_model):
        # MLflow 3 can't read the table of tasks of Transformers 5 for a path.
        import transformers

        transformers_model = transformers.pipeline(task, model=transformers_model, device="cpu")
    given = {"transformers_model": transformers_model, "task": task, **options}
    with borrowed.answering_nothing(FLAVOR.check(), *_LOOKUPS):
        FLAVOR.save(path, given, inspected=transformers_model, packages=["transformers", "torch", "pandas"])
