"""Signatures: what a model takes and what it gives. They are MLflow's own, so that MLflow reads them too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelry._sdk.schemas import inferring
from modelry._sdk.schemas.borrowed import mlflow_module

if TYPE_CHECKING:
    from mlflow.models.signature import ModelSignature as ModelSignature


def infer_signature(model_input: Any = None, model_output: Any = None, params: dict[str, Any] | None = None) -> Any:
    """The signature of a model with such inputs and outputs.

    They are frames or series of pandas, arrays, sparse matrices, tensors, lists and dicts of values. `params` are
    further arguments of its `predict`, with their defaults. The signature is the one that MLflow infers. Where MLflow
    would say that anything fits, this raises InvalidArgument that names the column, and what would be right.
    """
    inputs = None if model_input is None else inferring.schema_of(model_input, "the input")
    outputs = None if model_output is None else inferring.schema_of(model_output, "the output")
    further = inferring.params_schema_of(params) if params else None
    return mlflow_module("mlflow.models.signature").ModelSignature(inputs=inputs, outputs=outputs, params=further)


def __getattr__(name: str) -> Any:
    if name == "ModelSignature":
        return mlflow_module("mlflow.models.signature").ModelSignature
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["ModelSignature", "infer_signature"]
