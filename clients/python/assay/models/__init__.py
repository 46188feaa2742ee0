"""Models: saved, logged and loaded in MLflow's format, so that either side loads what the other wrote.

`assay.sklearn` and `assay.pyfunc` save, log and load; here is what they share. What does it is loaded when it is first
used; it needs the extra `assay[models]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assay.models import signature as signature
from assay.models.signature import infer_signature as infer_signature

if TYPE_CHECKING:
    from assay._sdk.packaging.logged import LoggedModel as LoggedModel
    from assay.models.signature import ModelSignature as ModelSignature

__all__ = ["LoggedModel", "ModelSignature", "infer_signature", "signature"]


def __getattr__(name: str) -> Any:
    if name == "LoggedModel":
        from assay._sdk.packaging.logged import LoggedModel

        return LoggedModel
    if name == "ModelSignature":
        return signature.ModelSignature
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
