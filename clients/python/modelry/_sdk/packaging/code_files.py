"""Code files that make a model (`python_model="model.py"`): they run one after the other.

MLflow keeps the model that `set_model` was called with in one variable of the process: a file that calls it not would
get the model of the file before, and two threads would mix theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from modelry._sdk.schemas.borrowed import mlflow_module
from modelry._sdk.transport import process


class Running(process.Turn):
    """Held by the thread whose code file runs."""


@contextmanager
def alone() -> Iterator[None]:
    """While it is entered, one code file runs, and begins without a model."""
    variables = vars(mlflow_module("mlflow.models.model"))
    with process.current().part(Running).lock:
        variables["__mlflow_model__"] = None
        try:
            yield
        finally:
            variables["__mlflow_model__"] = None
