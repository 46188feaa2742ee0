"""Confidence intervals by the bootstrap: percentile intervals, of rows or queries drawn with replacement.

Source of the method: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13. The difference between
two models is computed in each sample for the same rows, so what both find hard cancels out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modelry._sdk.evaluating.result import Interval
from modelry._sdk.evaluating.scoring import COUNTS

if TYPE_CHECKING:
    from modelry._sdk.evaluating.scoring import Floats, Scorer

METHOD = "percentile bootstrap"
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


def _note(table: dict[str, Floats], found: Mapping[str, float], number: int, samples: int) -> None:
    for name, value in found.items():
        if name in COUNTS:
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
