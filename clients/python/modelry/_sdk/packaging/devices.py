"""The devices of models of PyTorch: where an example goes as they are saved, and their tensors as they are loaded."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelry._sdk.schemas import borrowed
from modelry.errors import FailedPrecondition

LOADER = "mlflow.pytorch"
"""The module of MLflow that saves and loads a model of PyTorch, also as a Python function."""


@contextmanager
def of_the_model(model: Any) -> Iterator[None]:
    """Has MLflow try the input example on the device of a model. It would try it on the CPU, whatever the model has."""
    import torch

    there = next((each.device for each in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    if there.type == "cpu":
        yield
        return
    module = borrowed.mlflow_module(LOADER)
    wrapped, export = module._PyTorchWrapper, torch.export.export

    def export_there(model: Any, examples: Any, **options: Any) -> Any:
        return export(model, tuple(each.to(there) for each in examples), **options)

    with (
        borrowed.replaced(module, _PyTorchWrapper=lambda model, device: wrapped(model, str(there))),
        borrowed.replaced(torch.export, export=export_there),
    ):
        yield


def usable(storage: Any, location: str) -> Any:
    """For `map_location` of `torch.load`: what a GPU had is on the CPU where PyTorch sees no GPU, else as it was."""
    import torch

    return storage if location.startswith("cuda") and not torch.cuda.is_available() else None


@contextmanager
def usable_by_default() -> Iterator[None]:
    """Has MLflow load so. It has no `map_location` for a model that is loaded as a Python function."""
    module = borrowed.mlflow_module(LOADER)
    load = functools.partial(module._load_model, map_location=usable)
    with borrowed.replaced(module, _load_model=load), graphs_of_a_gpu_refused():
        yield


@contextmanager
def graphs_of_a_gpu_refused() -> Iterator[None]:
    """Says what PyTorch only logs: a graph (`pt2`) names a GPU, and it sees none. Raises FailedPrecondition."""
    try:
        yield
    except RuntimeError as problem:
        import torch

        if torch.cuda.is_available() or "deserializing" not in str(problem):
            raise
        raise FailedPrecondition(
            "PyTorch can't read this graph (pt2). If it was saved on a GPU it needs one, and PyTorch sees none here: "
            "save it of the model on the CPU (net.cpu()), or in another format",
            reason="MODEL_NEEDS_DEVICE",
        ) from problem
