"""Metrics of classifiers, with MLflow's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from modelry._sdk.scoring.ranking_curves import Ordered
from modelry._sdk.scoring.scoring import summed

if TYPE_CHECKING:
    from modelry._sdk.scoring.scoring import Array, Floats

AVERAGES = ("weighted", "macro", "micro")
_BY_SHARE = ("log_loss", "roc_auc", "precision_recall_auc")


@dataclass
class Classified:
    """Classes as a model predicts them.

    `targets` and `said` are positions in `labels`. `shares` are probabilities with a column for each label, None if the
    model gives none; `why_none` says why. With two labels the metrics are those of `positive`, the position of the
    positive one. With more they are averages over the classes: by their weights, plain (`macro`) or over all decisions
    (`micro`).
    """

    targets: Array
    said: Array
    labels: Sequence[Any]
    weights: Floats
    shares: Floats | None = None
    positive: int | None = None
    average: str = "weighted"
    why_none: str = ""

    @property
    def units(self) -> int:
        """The number of rows."""
        return len(self.targets)

    @cached_property
    def _cells(self) -> Array:
        cells: Array = self.targets * len(self.labels) + self.said
        return cells

    @cached_property
    def _losses(self) -> Floats | None:
        """Minus the logarithm of the probability of the true class, for each row."""
        if self.shares is None:
            return None
        edge = np.finfo(self.shares.dtype).eps
        true = self.shares[np.arange(self.units), self.targets]
        return -np.log(np.clip(true, edge, 1 - edge))

    @cached_property
    def curves(self) -> dict[int, Ordered]:
        """The rows in the order of the probability of a class: of the positive one, or of each."""
        if self.shares is None:
            return {}
        of = range(len(self.labels)) if self.positive is None else [self.positive]
        return {each: Ordered(self.targets == each, self.shares[:, each]) for each in of}

    def matrix(self, weights: Floats) -> Floats:
        """The weights of the rows by true class (rows) and predicted class (columns)."""
        size = len(self.labels)
        counted = np.bincount(self._cells, weights=weights, minlength=size * size)
        return counted.astype(np.float64, copy=False).reshape(size, size)

    def score(self, weights: Floats) -> dict[str, float]:
        """The metrics if the rows have these weights."""
        matrix = self.matrix(weights)
        total = matrix.sum()
        if total <= 0:
            return {}
        found = {"accuracy_score": np.trace(matrix) / total}
        found |= self._of_positive(matrix) if self.positive is not None else self._averages(matrix)
        if self._losses is not None:
            found["log_loss"] = summed(self._losses, weights) / total
            roc, area = self._areas(weights, matrix.sum(axis=1))
            found |= {"roc_auc": roc, "precision_recall_auc": area}
        return {name: float(value) for name, value in found.items() if not np.isnan(value)}

    def part(self, rows: Array) -> Classified:
        """The rows that a mask selects."""
        return replace(
            self,
            targets=self.targets[rows],
            said=self.said[rows],
            weights=self.weights[rows],
            shares=None if self.shares is None else self.shares[rows],
        )

    def missing(self) -> Mapping[str, str]:
        """Why metrics of probabilities are left out."""
        if self.shares is None:
            return dict.fromkeys(_BY_SHARE, self.why_none or "the model gives labels and no probabilities")
        there = {int(each) for each in np.unique(self.targets[self.weights > 0])}
        if len(there) == 1:
            only = self.labels[there.pop()]
            return dict.fromkeys(_BY_SHARE[1:], f"the targets have only the class {only!r}")
        if self.positive is None and self.average == "micro":
            return dict.fromkeys(_BY_SHARE[1:], "areas are averaged 'weighted' or 'macro'")
        absent = [self.labels[each] for each in range(len(self.labels)) if each not in there]
        why = f"the targets have no row of {', '.join(map(repr, absent[:5]))}, so a curve of it has no area"
        return dict.fromkeys(_BY_SHARE[1:], why) if absent else {}

    def per_class(self) -> list[dict[str, Any]]:
        """A row for each class: its metrics against all others."""
        matrix = self.matrix(self.weights)
        rows = []
        for each, label in enumerate(self.labels):
            found = _of_one(matrix, each)
            if self.shares is not None:
                curve = self.curves.get(each) or Ordered(self.targets == each, self.shares[:, each])
                roc, area = curve.areas(self.weights)
                found |= {"roc_auc": roc, "precision_recall_auc": area}
            told = {key: None if np.isnan(value) else float(value) for key, value in found.items()}
            rows.append({"class": str(label), "support": float(matrix[each].sum()), **told})
        return rows

    def _of_positive(self, matrix: Floats) -> dict[str, Any]:
        assert self.positive is not None
        return _of_one(matrix, self.positive)

    def _averages(self, matrix: Floats) -> dict[str, Any]:
        if self.average == "micro":
            share = np.trace(matrix) / matrix.sum()
            return dict.fromkeys(("recall_score", "precision_score", "f1_score"), share)
        hits, true, said = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
        by_class = {
            "recall_score": _ratio(hits, true),
            "precision_score": _ratio(hits, said),
            "f1_score": _ratio(2 * hits, true + said),
        }
        if self.average == "macro":
            counted = (true + said) > 0
            return {name: values[counted].mean() for name, values in by_class.items()}
        return {name: np.dot(values, true) / true.sum() for name, values in by_class.items()}

    def _areas(self, weights: Floats, support: Floats) -> tuple[float, float]:
        if self.positive is not None:
            return self.curves[self.positive].areas(weights)
        if self.average == "micro" or not (support > 0).all():
            return np.nan, np.nan
        each = np.array([curve.areas(weights) for curve in self.curves.values()])
        shares = support / support.sum() if self.average == "weighted" else np.full(len(support), 1 / len(support))
        roc, area = shares @ each
        return float(roc), float(area)


def _of_one(matrix: Floats, positive: int) -> dict[str, Any]:
    """The metrics of one class. Without a predicted or a true row of it a share is 0, as scikit-learn has it."""
    hits = matrix[positive, positive]
    misses, false = matrix[positive].sum() - hits, matrix[:, positive].sum() - hits
    return {
        "true_negatives": matrix.sum() - hits - misses - false,
        "false_positives": false,
        "false_negatives": misses,
        "true_positives": hits,
        "recall_score": _share(hits, hits + misses),
        "precision_score": _share(hits, hits + false),
        "f1_score": _share(2 * hits, 2 * hits + misses + false),
    }


def _share(part: Any, whole: Any) -> Any:
    return part / whole if whole > 0 else 0.0


def _ratio(parts: Floats, wholes: Floats) -> Floats:
    return np.divide(parts, wholes, out=np.zeros_like(parts), where=wholes > 0)
