"""What is logged of a framework: the options that all have in common, and its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict


class AutologOptions(TypedDict, total=False):
    """The options that every `autolog` has, with MLflow's names.

    `log_models` (True) logs the fitted model, with a signature (`log_model_signatures`, True) and the first rows as an
    input example (`log_input_examples`, False). With `registered_model_name` it becomes a version of that registered
    model. `log_datasets` (True) records the training data as an input of the run. `log_plots` (True) draws what people
    look at, where Matplotlib is installed. `extra_tags` are set on the runs that autologging starts. `exclusive`
    (False) leaves fits alone while a run of yours is active. `silent` (False) turns the warnings of autologging off.
    `disable_for_unsupported_versions` (False) leaves a framework alone whose installed version is not of the tested
    major number; there is a warning either way.
    """

    log_models: bool
    log_input_examples: bool
    log_model_signatures: bool
    log_datasets: bool
    log_plots: bool
    registered_model_name: str | None
    extra_tags: Mapping[str, object] | None
    exclusive: bool
    disable_for_unsupported_versions: bool
    silent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options in effect for a framework; see `AutologOptions`. `own` are those that only it has."""

    log_models: bool = True
    log_input_examples: bool = False
    log_model_signatures: bool = True
    log_datasets: bool = True
    log_plots: bool = True
    registered_model_name: str | None = None
    extra_tags: Mapping[str, object] | None = None
    exclusive: bool = False
    disable_for_unsupported_versions: bool = False
    silent: bool = False
    own: Mapping[str, Any] = field(default_factory=dict)
