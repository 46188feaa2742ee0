"""The arguments of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from modelry._sdk.client import Client
    from modelry._sdk.datasets.dataset import Dataset

_OF_CONFIG = {
    **{name: name for name in ("pos_label", "label_list", "average", "metric_prefix")},
    **{"sample_weights": "weights", "retriever_k": "k", "log_model_explainability": "explain"},
}
"""The keys of MLflow's `evaluator_config` that are arguments here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The arguments of `evaluate`, which says what they mean."""

    model: Any = None
    data: Any = None
    targets: Any = None
    model_type: str | None = None
    predictions: str | None = None
    probabilities: str | Sequence[str] | None = None
    name: str = "default"
    version: str | None = None
    feature_names: Sequence[str] | None = None
    weights: Any = None
    slices: Any = None
    confidence: float | None = None
    samples: int = 1000
    seed: int = 0
    baseline: Any = None
    thresholds: Mapping[str, Any] | None = None
    validate: str = "record"
    extra_metrics: Sequence[Any] = ()
    label_list: Sequence[Any] | None = None
    pos_label: Any = None
    average: str = "weighted"
    group: str | None = None
    k: int | Sequence[int] = 10
    metric_prefix: str | None = None
    dataset_name: str | None = None
    batch_rows: int | None = None
    inference_params: Mapping[str, Any] | None = None
    explain: bool | int = False
    client: Client | None = None
    dataset: Dataset | None = None
    """What is recorded of the data, where that was given as a dataset."""
    answers: Sequence[Any] = ()
    """The columns that this dataset has for targets and predictions: they are no features, whatever is given."""


def with_config(options: Options, config: Mapping[str, Any]) -> Options:
    """The options with those of MLflow's `evaluator_config`. Raises InvalidArgument for a key that is none."""
    inner = config["default"] if set(config) == {"default"} and isinstance(config["default"], Mapping) else config
    for key in inner:
        if key not in _OF_CONFIG:
            raise InvalidArgument(f"evaluator_config has no {key!r} here; there are {', '.join(sorted(_OF_CONFIG))}")
    return replace(options, **{_OF_CONFIG[key]: value for key, value in inner.items()})
