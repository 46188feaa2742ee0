"""Metrics of your own: functions that get what they name as parameters."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from modelry._sdk.values import signals
from modelry._sdk.values.texts import said_of
from modelry.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class CustomMetric:
    """A metric of your own. `greater_is_better` is None if it is not known."""

    eval_fn: Callable[..., Any]
    name: str
    greater_is_better: bool | None = None


def make_metric(
    eval_fn: Callable[..., Any], greater_is_better: bool | None = None, name: str | None = None
) -> CustomMetric:
    """Makes a metric of a function, for `extra_metrics` of `evaluate`.

    The function gets what its parameters name: `predictions`, `targets`, `weights`, `probabilities`, `metrics` (those
    that are known by then), `data` (all of it), or any column of the data. It returns a number, or a mapping of names
    to numbers. Default name: that of the function. Raises InvalidArgument for a name that can't be one.
    """
    if not callable(eval_fn):
        raise InvalidArgument(f"eval_fn must be a function, not {type(eval_fn).__name__}")
    found = name or getattr(eval_fn, "__name__", "")
    if not found or found == "<lambda>":
        raise InvalidArgument("a metric of a lambda needs a name; give name='...'")
    return CustomMetric(eval_fn, found, greater_is_better)


def listed(metrics: Any) -> tuple[Any, ...]:
    """The list that a caller gave as `extra_metrics`. Raises InvalidArgument for what is no list."""
    if metrics is None:
        return ()
    if isinstance(metrics, list | tuple | set):
        return tuple(metrics)
    name = getattr(metrics, "__name__", type(metrics).__name__)
    raise InvalidArgument(
        f"extra_metrics must be a list of functions or of what make_metric gives, not {name}; "
        + ("write extra_metrics=[…]" if callable(metrics) or isinstance(metrics, CustomMetric) else "give a list"),
        fields={"extra_metrics": "must be a list"},
    )


def given(metrics: Iterable[Any]) -> list[CustomMetric]:
    """The metrics that a caller gave: ours, MLflow's `EvaluationMetric`, or functions."""
    found = []
    for each in metrics or ():
        if isinstance(each, CustomMetric):
            found.append(each)
        elif hasattr(each, "eval_fn") and hasattr(each, "name"):
            found.append(CustomMetric(each.eval_fn, each.name, getattr(each, "greater_is_better", None)))
        else:
            found.append(make_metric(each))
    names = [each.name for each in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InvalidArgument(f"two metrics are named {sorted(twice)[0]!r}; give each a name with make_metric")
    return found


def scored(
    metrics: Iterable[CustomMetric], known: Mapping[str, Any], built_in: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, str]]:
    """The values of the metrics, and why some are left out. `known` is what a function can ask for."""
    found: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for metric in metrics:
        try:
            values = values_of(metric, {**known, "metrics": {**built_in, **found}})
        except Exception as problem:  # It is the code of the caller, which may raise anything.
            signals.pass_on(problem)
            left_out[metric.name] = f"{type(problem).__name__}: {said_of(problem)}"
            continue
        for name, value in values.items():
            if math.isfinite(value):
                found[name] = value
            else:
                left_out[name] = f"the function gave {value}"
    return found, left_out


def values_of(metric: CustomMetric, known: Mapping[str, Any]) -> dict[str, float]:
    """What the function gives, by name. Raises what it raises, and InvalidArgument for what is no number."""
    return _numbers(metric.name, metric.eval_fn(**arguments(metric, known)))


def arguments(metric: CustomMetric, known: Mapping[str, Any]) -> dict[str, Any]:
    """What a function asks for. Raises InvalidArgument for what is not known."""
    asked: dict[str, Any] = {}
    for name, parameter in inspect.signature(metric.eval_fn).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name in known:
            asked[name] = known[name]
        elif parameter.default is parameter.empty:
            raise InvalidArgument(f"the metric asks for {name!r}, which is none of {', '.join(sorted(known))}")
    return asked


def _numbers(name: str, answer: Any) -> dict[str, float]:
    """What a function returned, by name. MLflow's MetricValue has `aggregate_results`."""
    if hasattr(answer, "aggregate_results"):
        found = dict(answer.aggregate_results or {})
        if not found:
            raise InvalidArgument("the metric has no aggregate results")
        return {f"{name}.{each}": float(value) for each, value in found.items()}
    if isinstance(answer, Mapping):
        return {str(each): float(value) for each, value in answer.items()}
    if answer is None:
        raise InvalidArgument("the function returned nothing; it must return a number")
    return {name: float(answer)}
