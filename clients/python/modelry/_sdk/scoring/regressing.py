"""Metrics of regressors, with MLflow's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from modelry._sdk.scoring.scoring import summed

if TYPE_CHECKING:
    from modelry._sdk.scoring.scoring import Array, Floats


@dataclass
class Regressed:
    """Numbers as a model predicts them."""

    targets: Floats
    said: Floats
    weights: Floats

    @property
    def units(self) -> int:
        """The number of rows."""
        return len(self.targets)

    @cached_property
    def errors(self) -> Floats:
        """The size of the error of each row."""
        return np.abs(self.targets - self.said)

    @cached_property
    def _shares(self) -> Floats:
        return self.errors / np.maximum(np.abs(self.targets), np.finfo(np.float64).eps)

    def score(self, weights: Floats) -> dict[str, float]:
        """The metrics if the rows have these weights."""
        total = weights.sum()
        if total <= 0:
            return {}
        squared = summed(self.errors**2, weights) / total
        mean = summed(self.targets, weights) / total
        found = {
            "mean_absolute_error": summed(self.errors, weights) / total,
            "mean_squared_error": squared,
            "root_mean_squared_error": np.sqrt(squared),
            "max_error": self.errors.max(where=weights > 0, initial=0.0),
            "mean_absolute_percentage_error": summed(self._shares, weights) / total,
            "sum_on_target": summed(self.targets, weights),
            "mean_on_target": mean,
        }
        spread = summed((self.targets - mean) ** 2, weights) / total
        if spread > 0:
            found["r2_score"] = 1 - squared / spread
        return {name: float(value) for name, value in found.items() if np.isfinite(value)}

    def part(self, rows: Array) -> Regressed:
        """The rows that a mask selects."""
        return Regressed(self.targets[rows], self.said[rows], self.weights[rows])

    def missing(self) -> Mapping[str, str]:
        """Why R² is left out."""
        return {"r2_score": "all targets are equal, so there is no variance to explain"}
