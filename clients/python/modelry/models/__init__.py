"""Models in MLflow's format, so that Modelry and MLflow load what the other one saved.

`modelry.sklearn` and `modelry.pyfunc` save, log and load models; this module has what they share, and what evaluates
them. It needs the extra `modelry[models]`.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from modelry._sdk.schemas.borrowed import mlflow_module
from modelry.models import signature as signature
from modelry.models.signature import infer_signature as infer_signature

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from modelry._sdk.client import Client
    from modelry._sdk.evaluating.custom import make_metric as make_metric
    from modelry._sdk.evaluating.evaluation import evaluate as evaluate
    from modelry._sdk.evaluating.result import EvaluationResult as EvaluationResult
    from modelry._sdk.evaluating.thresholds import MetricThreshold as MetricThreshold
    from modelry._sdk.evaluating.thresholds import Threshold as Threshold
    from modelry._sdk.evaluating.thresholds import Verdict as Verdict
    from modelry._sdk.nouns.evaluations import Interval as Interval
    from modelry._sdk.packaging.checking import Check as Check
    from modelry._sdk.packaging.checking import Problem as Problem
    from modelry._sdk.packaging.logged import LoggedModel as LoggedModel
    from modelry.models.signature import ModelSignature as ModelSignature

__all__ = [
    "Check",
    "EvaluationResult",
    "Interval",
    "LoggedModel",
    "MetricThreshold",
    "ModelSignature",
    "Problem",
    "Threshold",
    "Verdict",
    "check",
    "evaluate",
    "infer_signature",
    "make_metric",
    "set_model",
    "signature",
]

_LATER = {
    "Check": "modelry._sdk.packaging.checking",
    "EvaluationResult": "modelry._sdk.evaluating.result",
    "Interval": "modelry._sdk.nouns.evaluations",
    "LoggedModel": "modelry._sdk.packaging.logged",
    "MetricThreshold": "modelry._sdk.evaluating.thresholds",
    "Problem": "modelry._sdk.packaging.checking",
    "Threshold": "modelry._sdk.evaluating.thresholds",
    "Verdict": "modelry._sdk.evaluating.thresholds",
    "evaluate": "modelry._sdk.evaluating.evaluation",
    "make_metric": "modelry._sdk.evaluating.custom",
}
"""Where names are that are loaded when they are first used."""

_log = logging.getLogger("modelry")


def check(
    model_uri: str | os.PathLike[str],
    *,
    timeout: float = 900.0,
    progress: Callable[[str], None] | None = None,
    client: Client | None = None,
) -> Check:
    """Loads a model in a fresh environment with nothing but its requirements, and predicts its input example there.

    The model is at `runs:/…`, `models:/…` or in a folder. The result says what is missing or fails; nothing of that is
    raised. No code of the model runs in this process. The environment is made with uv if that is installed, else with
    venv and pip, and has the version of this Python; it is kept in `~/.cache/modelry/environments` (or below
    `XDG_CACHE_HOME`) and used again for the same requirements. Installers are set by their own variables, such as
    `PIP_INDEX_URL` and `PIP_NO_INDEX`. After `timeout` seconds everything is ended. `progress` is called with a text at
    each step; by default it goes to the log at the level INFO.

    Raises NotFound if there is no model, and InvalidArgument for a URI that can't be parsed or a model that is refused.
    """
    from modelry._sdk.packaging import checking

    return checking.check(model_uri, client, timeout, progress or _log.info)


def set_model(model: Any) -> None:
    """Says in a code file which object is the model: a PythonModel, or a function of the input.

    It is MLflow's own. A code file that takes it from `mlflow.models` can be loaded where Modelry is not installed.
    """
    mlflow_module("mlflow.models").set_model(model)


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    if name == "ModelSignature":
        return signature.ModelSignature
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
