"""Models in MLflow's format, so that Modelry and MLflow load what the other one saved.

`modelry.sklearn` and `modelry.pyfunc` save, log and load models; this module has what they share. It needs the extra
`modelry[models]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelry.models import signature as signature
from modelry.models.signature import infer_signature as infer_signature

if TYPE_CHECKING:
    from modelry._sdk.packaging.logged import LoggedModel as LoggedModel
    from modelry.models.signature import ModelSignature as ModelSignature

__all__ = ["LoggedModel", "ModelSignature", "infer_signature", "signature"]


def __getattr__(name: str) -> Any:
    if name == "LoggedModel":
        from modelry._sdk.packaging.logged import LoggedModel

        return LoggedModel
    if name == "ModelSignature":
        return signature.ModelSignature
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
