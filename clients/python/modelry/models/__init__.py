"""Models in MLflow's format, so that Modelry and MLflow load what the other one saved.

`modelry.sklearn` and `modelry.pyfunc` save, log and load models; this module has what they share, and what evaluates
them. It needs the extra `modelry[models]`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from modelry.models import signature as signature
from modelry.models.signature import infer_signature as infer_signature

if TYPE_CHECKING:
    from modelry._sdk.evaluating.custom import make_metric as make_metric
    from modelry._sdk.evaluating.evaluation import evaluate as evaluate
    from modelry._sdk.evaluating.result import EvaluationResult as EvaluationResult
    from modelry._sdk.evaluating.result import Interval as Interval
    from modelry._sdk.evaluating.thresholds import Threshold as Threshold
    from modelry._sdk.evaluating.thresholds import Verdict as Verdict
    from modelry._sdk.packaging.logged import LoggedModel as LoggedModel
    from modelry.models.signature import ModelSignature as ModelSignature

__all__ = [
    "EvaluationResult",
    "Interval",
    "LoggedModel",
    "ModelSignature",
    "Threshold",
    "Verdict",
    "evaluate",
    "infer_signature",
    "make_metric",
    "signature",
]

_LATER = {
    "EvaluationResult": "modelry._sdk.evaluating.result",
    "Interval": "modelry._sdk.evaluating.result",
    "LoggedModel": "modelry._sdk.packaging.logged",
    "Threshold": "modelry._sdk.evaluating.thresholds",
    "Verdict": "modelry._sdk.evaluating.thresholds",
    "evaluate": "modelry._sdk.evaluating.evaluation",
    "make_metric": "modelry._sdk.evaluating.custom",
}
"""Where names are that are loaded when they are first used."""


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    if name == "ModelSignature":
        return signature.ModelSignature
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
