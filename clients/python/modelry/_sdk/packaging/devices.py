"""Where the tensors of a model of PyTorch go when it is loaded."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelry._sdk.packaging import borrowed

LOADER = "mlflow.pytorch"
"""The module of MLflow that loads a model of PyTorch, also as a Python function."""


def usable(storage: Any, location: str) -> Any:
    """For `map_location` of `torch.load`: what a GPU had is on the CPU where PyTorch sees no GPU, else as it was."""
    import torch

    return storage if location.startswith("cuda") and not torch.cuda.is_available() else None


@contextmanager
def usable_by_default() -> Iterator[None]:
    """Has MLflow load so. It has no `map_location` for a model that is loaded as a Python function."""
    module = borrowed.mlflow_module(LOADER)
    with borrowed.replaced(module, _load_model=functools.partial(module._load_model, map_location=usable)):
        yield
