"""Metrics of rankers: how well scores order the rows of each query.

NDCG has linear gains (Järvelin and Kekäläinen, 2002), as scikit-learn's `ndcg_score`; MAP and the mean reciprocal rank
are those of trec_eval. As there, queries without a relevant row don't count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from modelry._sdk.scoring.scoring import summed

if TYPE_CHECKING:
    from modelry._sdk.scoring.scoring import Array, Floats


@dataclass
class Ranked:
    """Scores of rows, their relevance (0: not relevant; more is better), and the query of each as a position.

    A unit is a query. Rows of a query with equal scores are put in an order by chance, from `seed`, so that the order
    of the data does not help.
    """

    targets: Floats
    said: Floats
    queries: Array
    weights: Floats
    ks: Sequence[int]
    seed: int = 0

    @property
    def units(self) -> int:
        """The number of queries."""
        return len(self.weights)

    @property
    def without_relevant(self) -> int:
        """How many queries have no relevant row."""
        return self.units - int(self._counted.sum())

    @cached_property
    def _counted(self) -> Array:
        counted: Array = np.bincount(self.queries, weights=self.targets > 0, minlength=self.units) > 0
        return counted

    @cached_property
    def _by_query(self) -> dict[str, Floats]:
        """Each metric of each query."""
        tied = np.random.default_rng(self.seed).random(len(self.said))
        gains, rank = _in_order(self.targets, self.queries, np.lexsort((tied, -self.said, self.queries)))
        query = np.sort(self.queries, kind="stable")
        best, _ = _in_order(self.targets, self.queries, np.lexsort((-self.targets, self.queries)))
        is_relevant = gains > 0
        relevant = self._sums(query, is_relevant)
        # How many of the rows up to each one are relevant, within its query.
        seen = np.cumsum(is_relevant)
        before = np.append(0, seen)[np.searchsorted(query, np.arange(self.units))]
        seen = seen - before[query]
        first = np.full(self.units, np.inf)
        np.minimum.at(first, query, np.where(is_relevant, rank, np.inf))
        found = {"mrr": 1 / first}
        for k in self.ks:
            near = rank <= k
            discounts = near / np.log2(rank + 1)
            hits = self._sums(query, is_relevant & near)
            ideal = self._sums(query, best * discounts)
            found[f"ndcg_at_{k}"] = _ratio(self._sums(query, gains * discounts), ideal)
            found[f"map_at_{k}"] = _ratio(self._sums(query, is_relevant * near * seen / rank), np.minimum(relevant, k))
            found[f"precision_at_{k}"] = hits / k
            found[f"recall_at_{k}"] = _ratio(hits, relevant)
        return found

    def score(self, weights: Floats) -> dict[str, float]:
        """The means over the queries if these have the weights."""
        counted = weights * self._counted
        total = counted.sum()
        if total <= 0:
            return {}
        return {name: float(summed(values, counted) / total) for name, values in self._by_query.items()}

    def part(self, rows: Array) -> Ranked:
        """The rows that a mask selects, with the queries that they belong to."""
        there, queries = np.unique(self.queries[rows], return_inverse=True)
        return Ranked(self.targets[rows], self.said[rows], queries, self.weights[there], self.ks, self.seed)

    def missing(self) -> Mapping[str, str]:
        """Why there are no metrics."""
        names = ["mrr", *(f"{name}_at_{k}" for k in self.ks for name in ("ndcg", "map", "precision", "recall"))]
        return dict.fromkeys(names, "no query has a relevant row, one whose target is above 0")

    def _sums(self, query: Array, values: Array) -> Floats:
        return np.bincount(query, weights=values, minlength=self.units).astype(np.float64, copy=False)


def _in_order(targets: Floats, queries: Array, order: Array) -> tuple[Floats, Array]:
    """The targets in an order that goes by query first, and the rank of each in its query, from 1."""
    query = queries[order]
    begins = np.flatnonzero(np.append(True, query[1:] != query[:-1]))
    lengths = np.diff(np.append(begins, len(query)))
    return targets[order], np.arange(len(query)) - np.repeat(begins, lengths) + 1


def _ratio(parts: Floats, wholes: Floats) -> Floats:
    return np.divide(parts, wholes, out=np.zeros(len(parts)), where=wholes > 0)
