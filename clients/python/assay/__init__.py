"""Assay: experiments, runs and models of machine learning, over gRPC.

    import assay

    with assay.start_run():
        assay.log_param("lr", 0.1)
        assay.log_metric("loss", 0.5, step=1)

Importing it costs little: each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay import datasets as data
    from assay import errors, models, pyfunc, sklearn
    from assay._sdk.client import Client
    from assay._sdk.experiments import Experiment, Lifecycle
    from assay._sdk.fluent import (
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
        register_model,
        search_experiments,
        search_runs,
        set_experiment,
        set_registered_model_alias,
        set_registry_uri,
        set_tracking_uri,
        start_run,
        sync,
        transition_model_version_stage,
    )
    from assay._sdk.logs import (
        delete_tag,
        log_artifact,
        log_artifacts,
        log_dict,
        log_figure,
        log_image,
        log_input,
        log_metric,
        log_metrics,
        log_param,
        log_params,
        log_text,
        set_tag,
        set_tags,
    )
    from assay._sdk.metrics import MetricColumns, MetricSummary
    from assay._sdk.run import ActiveRun
    from assay._sdk.runs import Run, RunStatus
    from assay.errors import AssayError

_MODULES = {
    "data": "assay.datasets",
    "errors": "assay.errors",
    "models": "assay.models",
    "pyfunc": "assay.pyfunc",
    "sklearn": "assay.sklearn",
}
_NAMES = {
    "assay.errors": ["AssayError"],
    "assay._sdk.client": ["Client"],
    "assay._sdk.experiments": ["Experiment", "Lifecycle"],
    "assay._sdk.metrics": ["MetricColumns", "MetricSummary"],
    "assay._sdk.run": ["ActiveRun"],
    "assay._sdk.runs": ["Run", "RunStatus"],
    "assay._sdk.fluent": [
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
        "register_model",
        "search_experiments",
        "search_runs",
        "set_experiment",
        "set_registered_model_alias",
        "set_registry_uri",
        "set_tracking_uri",
        "start_run",
        "sync",
        "transition_model_version_stage",
    ],
    "assay._sdk.logs": [
        "delete_tag",
        "log_artifact",
        "log_artifacts",
        "log_dict",
        "log_figure",
        "log_image",
        "log_input",
        "log_metric",
        "log_metrics",
        "log_param",
        "log_params",
        "log_text",
        "set_tag",
        "set_tags",
    ],
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__version__ = "0.1.0"
__all__ = [
    "ActiveRun",
    "AssayError",
    "Client",
    "Experiment",
    "Lifecycle",
    "MetricColumns",
    "MetricSummary",
    "Run",
    "RunStatus",
    "active_run",
    "create_experiment",
    "data",
    "delete_run",
    "delete_tag",
    "end_run",
    "errors",
    "flush",
    "get_experiment",
    "get_experiment_by_name",
    "get_registry_uri",
    "get_run",
    "get_tracking_uri",
    "last_active_run",
    "log_artifact",
    "log_artifacts",
    "log_dict",
    "log_figure",
    "log_image",
    "log_input",
    "log_metric",
    "log_metrics",
    "log_param",
    "log_params",
    "log_text",
    "models",
    "pyfunc",
    "register_model",
    "search_experiments",
    "search_runs",
    "set_experiment",
    "set_registered_model_alias",
    "set_registry_uri",
    "set_tag",
    "set_tags",
    "set_tracking_uri",
    "sklearn",
    "start_run",
    "sync",
    "transition_model_version_stage",
]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    else:
        raise AttributeError(f"module 'assay' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
