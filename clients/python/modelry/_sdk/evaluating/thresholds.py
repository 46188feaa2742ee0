"""Thresholds that metrics must keep, and the verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelry.errors import InvalidArgument


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """What a metric must keep, bounds included.

    `min` and `max` bound its value. `min_change` is by how much it must be better than that of the baseline, in the
    units of the metric, and `min_relative_change` the same as a share of the size of the baseline's value; 0 means not
    worse, and a negative number how much worse it may be. For metrics of your own, `greater_is_better` says what better
    is. Raises InvalidArgument for no bound, bounds that are no finite numbers, and `min` above `max`.
    """

    min: float | None = None
    max: float | None = None
    min_change: float | None = None
    min_relative_change: float | None = None
    greater_is_better: bool | None = None

    def __post_init__(self) -> None:
        bounds = {
            "min": self.min,
            "max": self.max,
            "min_change": self.min_change,
            "min_relative_change": self.min_relative_change,
        }
        given = {name: value for name, value in bounds.items() if value is not None}
        if not given:
            raise InvalidArgument(f"a Threshold needs one of {', '.join(bounds)}; this one has none")
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise InvalidArgument(f"{name}={value!r} of a Threshold is not a finite number")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise InvalidArgument(f"min={self.min} of a Threshold is above max={self.max}; nothing can keep both")

    @property
    def needs_baseline(self) -> bool:
        """Whether it compares with a baseline."""
        return self.min_change is not None or self.min_relative_change is not None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a metric has kept its threshold. `text` says what was found and what was needed.

    `value` and `baseline` are None where there is none.
    """

    metric: str
    passed: bool
    value: float | None
    baseline: float | None
    text: str

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'}: {self.metric}: {self.text}"


def given(thresholds: Mapping[str, Any] | None) -> dict[str, Threshold]:
    """The thresholds that a caller gave: ours, or MLflow's `MetricThreshold`. Raises InvalidArgument for others."""
    found: dict[str, Threshold] = {}
    for metric, each in (thresholds or {}).items():
        if isinstance(each, Threshold):
            found[metric] = each
        elif hasattr(each, "threshold") and hasattr(each, "greater_is_better"):
            found[metric] = _of_mlflow(each)
        else:
            raise InvalidArgument(
                f"the threshold of {metric!r} is {each!r}; give modelry.models.Threshold(min=...) or (max=...)"
            )
    return found


def _of_mlflow(given: Any) -> Threshold:
    greater = bool(given.greater_is_better)
    return Threshold(
        min=given.threshold if greater else None,
        max=None if greater else given.threshold,
        min_change=getattr(given, "min_absolute_change", None),
        min_relative_change=getattr(given, "min_relative_change", None),
        greater_is_better=greater,
    )


def verdicts(
    thresholds: Mapping[str, Threshold],
    metrics: Mapping[str, float],
    baseline: Mapping[str, float] | None,
    *,
    better: Mapping[str, bool | None],
    left_out: Mapping[str, str],
) -> list[Verdict]:
    """A verdict for each threshold. `better` says of each metric whether more is better."""
    return [
        _verdict(metric, each, metrics, baseline, better.get(metric), left_out) for metric, each in thresholds.items()
    ]


def _verdict(
    metric: str,
    threshold: Threshold,
    metrics: Mapping[str, float],
    baseline: Mapping[str, float] | None,
    greater: bool | None,
    left_out: Mapping[str, str],
) -> Verdict:
    value, before = number_or_none(metrics, metric), number_or_none(baseline or {}, metric)
    if value is None:
        why = left_out.get(metric) or f"there is none; there are {', '.join(sorted(metrics)) or 'no metrics'}"
        return Verdict(metric, False, None, before, f"not known: {why}")
    said, kept = [], True
    if threshold.min is not None:
        kept &= value >= threshold.min
        said.append(f"at least {threshold.min:g}")
    if threshold.max is not None:
        kept &= value <= threshold.max
        said.append(f"at most {threshold.max:g}")
    if threshold.needs_baseline:
        greater = greater if threshold.greater_is_better is None else threshold.greater_is_better
        if before is None or greater is None:
            why = "the baseline has no such metric" if baseline is not None else "no baseline is given"
            why = why if before is None else "give greater_is_better"
            return Verdict(metric, False, value, before, f"{value:.6g}, not comparable: {why}")
        gain = value - before if greater else before - value
        if threshold.min_change is not None:
            kept &= gain >= threshold.min_change
            said.append(f"better by {threshold.min_change:g} than {before:.6g}")
        if threshold.min_relative_change is not None:
            kept &= gain >= threshold.min_relative_change * abs(before)
            said.append(f"better by {threshold.min_relative_change:.2%} than {before:.6g}")
    return Verdict(metric, bool(kept), value, before, f"{value:.6g}, needed {' and '.join(said)}")


def number_or_none(found: Mapping[str, float], name: str) -> float | None:
    """The value of a metric, None if there is none or it is NaN."""
    value = found.get(name)
    return None if value is None or math.isnan(value) else value
