"""Thresholds that metrics must keep, and the verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelry._sdk.values.directions import is_better_when_greater
from modelry.errors import InvalidArgument, ThresholdsNotMet


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


def MetricThreshold(
    threshold: float | None = None,
    min_absolute_change: float | None = None,
    min_relative_change: float | None = None,
    *,
    greater_is_better: bool,
) -> Threshold:
    """A Threshold by MLflow's arguments: `threshold` is the least value, or the most if less is better.

    Raises InvalidArgument as Threshold does.
    """
    return Threshold(
        min=threshold if greater_is_better else None,
        max=None if greater_is_better else threshold,
        min_change=min_absolute_change,
        min_relative_change=min_relative_change,
        greater_is_better=greater_is_better,
    )


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
            found[metric] = MetricThreshold(
                each.threshold,
                getattr(each, "min_absolute_change", None),
                getattr(each, "min_relative_change", None),
                greater_is_better=bool(each.greater_is_better),
            )
        else:
            raise InvalidArgument(
                f"the threshold of {metric!r} is {each!r}; give modelry.models.Threshold(min=...) or (max=...)"
            )
    return found


def validate_evaluation_results(
    validation_thresholds: Mapping[str, Any], candidate_result: Any, baseline_result: Any = None
) -> None:
    """Raises ThresholdsNotMet if a metric of a result does not keep its threshold, with all that do not.

    `validation_thresholds` maps metrics to `Threshold`s or MLflow's `MetricThreshold`s. `candidate_result` and
    `baseline_result` are what `evaluate` returned, here or in MLflow, or mappings of metrics to numbers. Default
    baseline: the one that the candidate was evaluated with. A metric that is missing has not kept its threshold. The
    error has the failed verdicts as `verdicts`. Nothing is recorded, other than by `thresholds` of `evaluate`.

    Raises InvalidArgument for what is no threshold and no result.
    """
    asked = given(validation_thresholds)
    metrics = _metrics_of(candidate_result, "candidate_result")
    baseline = getattr(candidate_result, "baseline_metrics", None) or None
    if baseline_result is not None:
        baseline = _metrics_of(baseline_result, "baseline_result")
    better = {name: is_better_when_greater(name) for name in asked}
    left_out = getattr(candidate_result, "left_out", {})
    check(verdicts(asked, metrics, baseline, better=better, left_out=left_out), "the result")


def check(found: Sequence[Verdict], of: str, metadata: Mapping[str, str] | None = None) -> None:
    """Raises ThresholdsNotMet that names every failed verdict, if there is one."""
    failed = tuple(each for each in found if not each.passed)
    if not failed:
        return
    said = "; ".join(f"{each.metric}: {each.text}" for each in failed)
    error = ThresholdsNotMet(
        f"{of} has not kept {len(failed)} of {len(found)} thresholds: {said}",
        metadata=metadata,
        fields={each.metric: each.text for each in failed},
    )
    error.verdicts = failed
    raise error


def _metrics_of(result: Any, what: str) -> Mapping[str, float]:
    found = getattr(result, "metrics", result)
    if not isinstance(found, Mapping):
        raise InvalidArgument(f"{what} is a {type(result).__name__}; give what evaluate returned, or metrics by name")
    return found


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
            kept &= gain > 0 or before != 0 or threshold.min_relative_change <= 0  # a share of 0 means: any gain
            said.append(f"better by {threshold.min_relative_change:.2%} than {before:.6g}")
    return Verdict(metric, bool(kept), value, before, f"{value:.6g}, needed {' and '.join(said)}")


def number_or_none(found: Mapping[str, float], name: str) -> float | None:
    """The value of a metric, None if there is none or it is NaN."""
    value = found.get(name)
    return None if value is None or math.isnan(value) else value
