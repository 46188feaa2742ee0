"""Modelry: tracks machine-learning experiments and manages the models that they produce.

    import modelry

    with modelry.start_run():
        modelry.log_param("lr", 0.1)
        modelry.log_metric("loss", 0.5, step=1)

Importing it is quick: each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from modelry._sdk.transport import process as _process

if TYPE_CHECKING:
    from modelry import (
        catboost,
        data,
        errors,
        filesystem,
        keras,
        lightgbm,
        models,
        onnx,
        optuna,
        pyfunc,
        pytorch,
        sklearn,
        statsmodels,
        tensorflow,
        tracking,
        transformers,
        types,
        xgboost,
    )
    from modelry._sdk.client import Client
    from modelry._sdk.evaluating.evaluation import evaluate
    from modelry._sdk.evaluating.thresholds import validate_evaluation_results
    from modelry._sdk.fluent.active_run import ActiveRun
    from modelry._sdk.fluent.functions import (
        active_run,
        create_experiment,
        delete_run,
        end_run,
        flush,
        get_experiment,
        get_experiment_by_name,
        get_registry_uri,
        get_run,
        get_tracking_uri,
        last_active_run,
        set_experiment,
        set_registered_model_alias,
        set_registry_uri,
        set_tracking_uri,
        start_run,
        sync,
        transition_model_version_stage,
    )
    from modelry._sdk.fluent.logging import (
        delete_tag,
        log_artifact,
        log_artifacts,
        log_audio,
        log_dict,
        log_figure,
        log_image,
        log_input,
        log_metric,
        log_metrics,
        log_param,
        log_params,
        log_table,
        log_text,
        set_tag,
        set_tags,
    )
    from modelry._sdk.fluent.mlflow_client import MlflowClient
    from modelry._sdk.fluent.searching import load_table, search_experiments, search_runs
    from modelry._sdk.fluent.system_metrics import (
        disable_system_metrics_logging,
        enable_system_metrics_logging,
        set_system_metrics_node_id,
        set_system_metrics_samples_before_logging,
        set_system_metrics_sampling_interval,
    )
    from modelry._sdk.nouns.enums import Lifecycle, LifecycleFilter, RunStatus
    from modelry._sdk.nouns.experiments import Experiment
    from modelry._sdk.nouns.metrics import MetricColumns, MetricSummary
    from modelry._sdk.nouns.runs import Run
    from modelry._sdk.packaging.registering import register_model
    from modelry._sdk.recipes.frameworks import autolog
    from modelry.errors import ModelryError

_MODULES = {
    "catboost": "modelry.catboost",
    "data": "modelry.data",
    "errors": "modelry.errors",
    "filesystem": "modelry.filesystem",
    "keras": "modelry.keras",
    "lightgbm": "modelry.lightgbm",
    "models": "modelry.models",
    "onnx": "modelry.onnx",
    "optuna": "modelry.optuna",
    "pyfunc": "modelry.pyfunc",
    "pytorch": "modelry.pytorch",
    "sklearn": "modelry.sklearn",
    "statsmodels": "modelry.statsmodels",
    "tensorflow": "modelry.tensorflow",
    "tracking": "modelry.tracking",
    "transformers": "modelry.transformers",
    "types": "modelry.types",
    "xgboost": "modelry.xgboost",
}
_NAMES = {
    "modelry.errors": ["ModelryError"],
    "modelry._sdk.recipes.frameworks": ["autolog"],
    "modelry._sdk.client": ["Client"],
    "modelry._sdk.evaluating.evaluation": ["evaluate"],
    "modelry._sdk.evaluating.thresholds": ["validate_evaluation_results"],
    "modelry._sdk.fluent.active_run": ["ActiveRun"],
    "modelry._sdk.fluent.mlflow_client": ["MlflowClient"],
    "modelry._sdk.fluent.searching": ["load_table", "search_experiments", "search_runs"],
    "modelry._sdk.fluent.system_metrics": [
        "disable_system_metrics_logging",
        "enable_system_metrics_logging",
        "set_system_metrics_node_id",
        "set_system_metrics_samples_before_logging",
        "set_system_metrics_sampling_interval",
    ],
    "modelry._sdk.nouns.enums": ["Lifecycle", "LifecycleFilter", "RunStatus"],
    "modelry._sdk.nouns.experiments": ["Experiment"],
    "modelry._sdk.nouns.metrics": ["MetricColumns", "MetricSummary"],
    "modelry._sdk.nouns.runs": ["Run"],
    "modelry._sdk.packaging.registering": ["register_model"],
    "modelry._sdk.fluent.functions": [
        "active_run",
        "create_experiment",
        "delete_run",
        "end_run",
        "flush",
        "get_experiment",
        "get_experiment_by_name",
        "get_registry_uri",
        "get_run",
        "get_tracking_uri",
        "last_active_run",
        "set_experiment",
        "set_registered_model_alias",
        "set_registry_uri",
        "set_tracking_uri",
        "start_run",
        "sync",
        "transition_model_version_stage",
    ],
    "modelry._sdk.fluent.logging": [
        "delete_tag",
        "log_artifact",
        "log_artifacts",
        "log_audio",
        "log_dict",
        "log_figure",
        "log_image",
        "log_input",
        "log_metric",
        "log_metrics",
        "log_param",
        "log_params",
        "log_table",
        "log_text",
        "set_tag",
        "set_tags",
    ],
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__version__ = "0.1.0"
__all__ = [
    "ActiveRun",
    "Client",
    "Experiment",
    "Lifecycle",
    "LifecycleFilter",
    "MetricColumns",
    "MetricSummary",
    "MlflowClient",
    "ModelryError",
    "Run",
    "RunStatus",
    "active_run",
    "autolog",
    "catboost",
    "create_experiment",
    "data",
    "delete_run",
    "delete_tag",
    "disable_system_metrics_logging",
    "enable_system_metrics_logging",
    "end_run",
    "errors",
    "evaluate",
    "filesystem",
    "flush",
    "get_experiment",
    "get_experiment_by_name",
    "get_registry_uri",
    "get_run",
    "get_tracking_uri",
    "keras",
    "last_active_run",
    "lightgbm",
    "load_table",
    "log_artifact",
    "log_artifacts",
    "log_audio",
    "log_dict",
    "log_figure",
    "log_image",
    "log_input",
    "log_metric",
    "log_metrics",
    "log_param",
    "log_params",
    "log_table",
    "log_text",
    "models",
    "onnx",
    "optuna",
    "pyfunc",
    "pytorch",
    "register_model",
    "search_experiments",
    "search_runs",
    "set_experiment",
    "set_registered_model_alias",
    "set_registry_uri",
    "set_system_metrics_node_id",
    "set_system_metrics_samples_before_logging",
    "set_system_metrics_sampling_interval",
    "set_tag",
    "set_tags",
    "set_tracking_uri",
    "sklearn",
    "start_run",
    "statsmodels",
    "sync",
    "tensorflow",
    "tracking",
    "transformers",
    "transition_model_version_stage",
    "types",
    "validate_evaluation_results",
    "xgboost",
]


def _deliver_for_children() -> None:
    from modelry._sdk.recording.children import Children

    _process.current().part(Children)


_process.before_forks(_deliver_for_children)


if not TYPE_CHECKING:  # or every name would be one for a type checker

    def __getattr__(name: str) -> Any:
        if name in _MODULE_OF:
            value = getattr(_loaded(_MODULE_OF[name]), name)
        elif name in _MODULES:
            value = _loaded(_MODULES[name])
        else:
            raise AttributeError(f"module 'modelry' has no attribute {name!r}{_advice(name)}")
        globals()[name] = value
        return value


def _loaded(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except (ImportError, AttributeError) as problem:
        if file := _in_the_way():
            raise ImportError(
                f"{file} has the name of a module of Python and is imported in its place; rename the file"
            ) from problem
        raise


def _in_the_way() -> str:
    """A file beside the script with the name of a module of the standard library. Empty if none was imported."""
    beside = os.path.abspath(sys.path[0] if sys.path else "")
    for name in sys.stdlib_module_names:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and name != "__main__" and os.path.dirname(os.path.abspath(file)) == beside:
            return str(file)
    return ""


def _advice(name: str) -> str:
    """Where MLflow's functions are, for a name that is neither private nor a typo, to which Python has advice."""
    import difflib

    if name.startswith("_") or difflib.get_close_matches(name, __all__, n=1, cutoff=0.8):
        return ""
    return "; docs/coming-from-mlflow.md says what each function of MLflow is here"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
