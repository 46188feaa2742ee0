"""What every kind of model gives: a scorer, whose metrics are functions of the weights of its units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Floats = npt.NDArray[np.float64]

COUNTS = ("true_positives", "true_negatives", "false_positives", "false_negatives", "sum_on_target", "mean_on_target")
"""Metrics that describe the data or count rows: they get no interval."""


class Scorer(Protocol):
    """Predictions that can be scored. Its units, such as rows or queries, are what weights and samples are of."""

    @property
    def units(self) -> int:
        """How many there are."""
        ...

    weights: Floats
    """The weight of each unit."""

    def score(self, weights: Floats) -> dict[str, float]:
        """The metrics if the units have these weights. One that is not defined is left out."""
        ...

    def part(self, rows: Array) -> Scorer:
        """That of the rows that a mask selects."""
        ...

    def missing(self) -> Mapping[str, str]:
        """Why a metric of this kind of model is not among the metrics, by its name."""
        ...


def summed(values: Array, weights: Array) -> float:
    """The weighted sum. Without BLAS, whose threads cost more than they save where cores are busy."""
    return float(np.einsum("i,i->", values, weights))
