"""Signatures: what a model takes and what it gives. They are MLflow's own, so that MLflow reads them too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelry._sdk.packaging.borrowed import mlflow_module

if TYPE_CHECKING:
    from mlflow.models.signature import ModelSignature as ModelSignature


def infer_signature(model_input: Any = None, model_output: Any = None, params: dict[str, Any] | None = None) -> Any:
    """The signature of a model with such inputs and outputs: data frames, arrays, or lists and dicts of values.

    `params` are further arguments of its `predict`, with their defaults. Raises MlflowException for data whose schema
    can't be inferred.
    """
    return mlflow_module("mlflow.models.signature").infer_signature(model_input, model_output, params)


def __getattr__(name: str) -> Any:
    if name == "ModelSignature":
        return mlflow_module("mlflow.models.signature").ModelSignature
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["ModelSignature", "infer_signature"]
