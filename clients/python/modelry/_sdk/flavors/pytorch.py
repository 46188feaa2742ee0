"""How models of PyTorch are saved."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging import devices
from modelry._sdk.packaging.flavor import FlavorShell
from modelry._sdk.packaging.takes import Formats, Takes
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from typing import Unpack

    from modelry._sdk.packaging.options import SaveOptions


_TAKES = Takes("pytorch_model", "a torch.nn.Module", ("torch.Module",))
_FORMATS = Formats("serialization_format", ("pickle", "pt2"))
FLAVOR = FlavorShell("mlflow.pytorch", "pytorch", "torch", _TAKES, _FORMATS)


def save_model(
    pytorch_model: Any,
    path: str | os.PathLike[str],
    *,
    serialization_format: str = "pickle",
    pickle_module: Any = None,
    **options: Unpack[SaveOptions],
) -> None:
    """Saves a model to a folder on this machine, which must not exist or must be empty.

    `pytorch_model` is a torch.nn.Module. It is saved as in evaluation (`eval()`), and is afterwards as it was.
    `serialization_format` is `pickle`, the whole module by `pickle_module` (default: cloudpickle), or `pt2`, its graph
    by `torch.export`. The latter needs an input example of arrays or tensors. A dimension of size 1 in it becomes
    fixed, so give two rows or more. What is loaded has no class of yours, and can't be trained on.

    Raises InvalidArgument for another object than a module, another format, and `pt2` without an example; and
    MlflowException for what else can't be saved.
    """
    FLAVOR.require(pytorch_model)
    require_example_of_graph(serialization_format, options)
    given = {
        "pytorch_model": pytorch_model,
        "serialization_format": serialization_format,
        "pickle_module": pickle_module,
        **options,
        "input_example": _as_array(options.get("input_example")),
    }
    packages = ["torch", "pandas", *(["cloudpickle"] if serialization_format == "pickle" else [])]
    with _evaluating(pytorch_model), _device_of(pytorch_model):
        FLAVOR.save(path, given, inspected=pytorch_model, packages=packages)


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Keeps a model from learning from the input example, and from storing that it is being trained."""
    training = [each for each in model.modules() if each.training] if hasattr(model, "modules") else []
    for each in training:
        each.training = False
    try:
        yield
    finally:
        for each in training:
            each.training = True


def _device_of(model: Any) -> AbstractContextManager[None]:
    torch = sys.modules.get("torch")
    return devices.of_the_model(model) if torch and isinstance(model, torch.nn.Module) else nullcontext()


def require_example_of_graph(serialization_format: str, options: Mapping[str, Any]) -> None:
    """Raises InvalidArgument for a graph (`pt2`) without an input example."""
    if serialization_format == "pt2" and options.get("input_example") is None:
        problem = "serialization_format='pt2' needs an input_example: an array or a tensor of two rows or more"
        raise InvalidArgument(problem, reason="FIELD_INVALID", fields={"input_example": "is missing"})


def _as_array(example: Any) -> Any:
    """A tensor as the array that MLflow can store and infer a signature from; anything else as it is."""
    return example.detach().cpu().numpy() if hasattr(example, "detach") else example
