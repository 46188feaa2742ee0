"""Rows in the order of a score: the curves of two classes, and the areas under them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelry._sdk.scoring.scoring import summed

if TYPE_CHECKING:
    from modelry._sdk.scoring.scoring import Array, Floats


class Ordered:
    """Rows from the highest score to the lowest, of which some are positive. Equal scores count as one threshold."""

    def __init__(self, is_positive: Array, scores: Array) -> None:
        self.order = np.argsort(-scores, kind="stable")
        self.thresholds = scores[self.order]
        self._ends = np.flatnonzero(np.append(self.thresholds[1:] != self.thresholds[:-1], True))
        self.thresholds = self.thresholds[self._ends]
        self._positive = is_positive[self.order].astype(np.float64)
        self._all_differ = len(self._ends) == len(scores)

    def counts(self, weights: Floats) -> tuple[Floats, Floats]:
        """The weights of the true and of the false positives at each threshold, from the highest."""
        ordered = weights[self.order]
        hits = ordered * self._positive
        misses = np.cumsum(ordered - hits)
        hits = np.cumsum(hits)
        return (hits, misses) if self._all_differ else (hits[self._ends], misses[self._ends])

    def areas(self, weights: Floats) -> tuple[float, float]:
        """The area under the ROC curve by the trapezoidal rule, and the average precision.

        The latter is the area under precision and recall without lines between the points, which would promise too
        much (Davis and Goadrich, 2006). NaN where a class that is needed has no weight.
        """
        hits, misses = self.counts(weights)
        if hits[-1] <= 0:
            return np.nan, np.nan
        rises = _steps(hits)
        precision = summed(rises, _precision(hits, misses)) / hits[-1]
        if misses[-1] <= 0:
            return np.nan, precision
        return summed(_steps(misses), hits + hits - rises) / (2 * hits[-1] * misses[-1]), precision

    def roc(self, weights: Floats) -> tuple[Floats, Floats]:
        """The false and the true positive rates, from (0, 0) to (1, 1)."""
        hits, misses = self.counts(weights)
        return np.append(0.0, misses / misses[-1]), np.append(0.0, hits / hits[-1])

    def precision_recall(self, weights: Floats) -> tuple[Floats, Floats]:
        """The recalls and the precisions, from the highest threshold."""
        hits, misses = self.counts(weights)
        return np.append(0.0, hits / hits[-1]), np.append(1.0, _precision(hits, misses))

    def gain(self, weights: Floats) -> tuple[Floats, Floats]:
        """The share of all rows, and the share of the positive ones among them, from (0, 0) to (1, 1)."""
        hits, misses = self.counts(weights)
        everything = hits + misses
        return np.append(0.0, everything / everything[-1]), np.append(0.0, hits / hits[-1])

    def lift(self, weights: Floats) -> tuple[Floats, Floats]:
        """The share of all rows, and how many times as often they are positive as all rows are: gain by share."""
        rows, gains = self.gain(weights)
        there = rows > 0
        return rows[there], gains[there] / rows[there]


def _steps(sums: Floats) -> Floats:
    steps = sums.copy()
    steps[1:] -= sums[:-1]
    return steps


def _precision(hits: Floats, misses: Floats) -> Floats:
    everything = hits + misses
    return np.divide(hits, everything, out=np.ones_like(hits), where=everything > 0)
