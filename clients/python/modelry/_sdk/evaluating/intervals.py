"""Confidence intervals by the bootstrap: percentile intervals, of rows or queries drawn with replacement.

Source of the method: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13. The difference between
two models is computed in each sample for the same rows, so what both find hard cancels out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modelry._sdk.evaluating.custom import CustomMetric, arguments, values_of
from modelry._sdk.nouns.evaluations import Interval
from modelry._sdk.scoring.given import at_rows
from modelry._sdk.scoring.scoring import COUNTS
from modelry._sdk.values import signals
from modelry._sdk.values.texts import said_of

if TYPE_CHECKING:
    from modelry._sdk.scoring.scoring import Floats, Scorer

METHOD = "percentile bootstrap"
SECONDS = 30.0
"""After this time no further sample of a metric of one's own is begun."""
_LEAST_DEFINED = 0.5


@dataclass(frozen=True, slots=True)
class Sampling:
    """How intervals are computed: the confidence, such as 0.95, the number of samples, and the seed."""

    confidence: float
    samples: int
    seed: int


def intervals(
    scorer: Scorer, sampling: Sampling, other: Scorer | None = None
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """The intervals of the metrics, and those of their differences from the metrics of another scorer.

    The other one has the same units. A metric that is undefined in more than half of the samples has no interval.
    """
    draws = np.random.default_rng(sampling.seed)
    drawn: dict[str, Floats] = {}
    apart: dict[str, Floats] = {}
    for number in range(sampling.samples):
        times = np.bincount(draws.integers(scorer.units, size=scorer.units), minlength=scorer.units)
        weights = scorer.weights * times
        own = scorer.score(weights)
        _note(drawn, own, number, sampling.samples)
        if other is not None:
            others = other.score(weights)
            both = {name: own[name] - others[name] for name in own if name in others}
            _note(apart, both, number, sampling.samples)
    return _percentiles(drawn, sampling), _percentiles(apart, sampling)


def of_own(
    metrics: Iterable[CustomMetric],
    known: Mapping[str, Any],
    sampling: Sampling,
    other: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Interval], dict[str, Interval], dict[str, str]]:
    """The intervals of metrics of one's own, those of differences, and why some have none.

    The function is called again for the rows of each sample. `known` is what it can ask for, `other` the same with the
    predictions of a baseline. After 30 s for a metric no further sample is begun.
    """
    found: dict[str, Interval] = {}
    differences: dict[str, Interval] = {}
    left_out: dict[str, str] = {}
    for metric in metrics:
        own, apart, why = _of_function(metric, known, sampling, other)
        found |= own
        differences |= apart
        if why:
            left_out[metric.name] = why
    return found, differences, left_out


def _of_function(
    metric: CustomMetric, known: Mapping[str, Any], sampling: Sampling, other: Mapping[str, Any] | None
) -> tuple[dict[str, Interval], dict[str, Interval], str]:
    try:
        asked = arguments(metric, {**known, "metrics": None})
    except Exception as problem:  # Its signature can't be read, or it asks for what is not there: `left_out` says so.
        signals.pass_on(problem)
        return {}, {}, "the metric itself is left out"
    if "metrics" in asked:
        return {}, {}, "it asks for metrics, which are those of all rows"
    if not asked:
        return {}, {}, "it takes no rows"
    others = None if other is None else {name: other[name] for name in asked}
    rows, draws = len(known["weights"]), np.random.default_rng(sampling.seed)
    drawn: dict[str, Floats] = {}
    apart: dict[str, Floats] = {}
    until, why = time.monotonic() + SECONDS, "it was not defined in half of the samples or more"
    for number in range(sampling.samples):
        if time.monotonic() > until:
            why = f"{number} of {sampling.samples} samples took {SECONDS:g} s; give fewer samples"
            break
        chosen = draws.integers(rows, size=rows)
        try:
            own = values_of(metric, at_rows(asked, chosen))
            before = None if others is None else values_of(metric, at_rows(others, chosen))
        except Exception as problem:  # It is the code of the caller, which may raise anything for some rows.
            signals.pass_on(problem)
            why = f"in half of the samples or more it raised {type(problem).__name__}: {said_of(problem)}"
            continue
        _note(drawn, own, number, sampling.samples)
        if before is not None:
            both = {name: own[name] - before[name] for name in own if name in before}
            _note(apart, both, number, sampling.samples)
    found = _percentiles(drawn, sampling)
    return found, _percentiles(apart, sampling), "" if found else why


def _note(table: dict[str, Floats], found: Mapping[str, float], number: int, samples: int) -> None:
    for name, value in found.items():
        if name in COUNTS or not math.isfinite(value):
            continue
        if name not in table:
            table[name] = np.full(samples, np.nan)
        table[name][number] = value


def _percentiles(table: Mapping[str, Floats], sampling: Sampling) -> dict[str, Interval]:
    tail = (1 - sampling.confidence) / 2
    found = {}
    for name, values in table.items():
        defined = values[~np.isnan(values)]
        if len(defined) > _LEAST_DEFINED * sampling.samples:
            low, high = np.quantile(defined, [tail, 1 - tail])
            found[name] = Interval(float(low), float(high), sampling.confidence, len(defined))
    return found
