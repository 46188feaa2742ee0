"""Slices: the metrics of parts of the data, by the values of a column or by ranges of its numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modelry._sdk.values.arrays import array_of
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from modelry._sdk.scoring.given import Given
    from modelry._sdk.scoring.scoring import Array

MOST_SLICES = 20
"""The most slices of a column: the values with most rows; those of the others are one slice, named `(other)`."""
SMALL_ROWS = 30
"""Slices of fewer rows are named small: their metrics say little."""
_BINS = 4
MISSING, OTHER = "(missing)", "(other)"

Bins = int | Sequence[float] | None


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the rows: those where `column` has the value or the range that `name` says."""

    column: str
    name: str
    rows: Array
    """A mask of the rows."""

    @property
    def count(self) -> int:
        """The number of rows."""
        return int(self.rows.sum())

    @property
    def is_small(self) -> bool:
        """Whether it has too few rows to say much."""
        return self.count < SMALL_ROWS


def wanted(slices: Iterable[str] | Mapping[str, Bins] | str | None) -> dict[str, Bins]:
    """The columns to slice by, each with its bins. Raises InvalidArgument for bins that can't be any."""
    if not slices:
        return {}
    if isinstance(slices, str):
        return {slices: None}
    if not isinstance(slices, Mapping):
        return dict.fromkeys(slices)
    for column, bins in slices.items():
        if isinstance(bins, int) and not 2 <= bins <= MOST_SLICES:
            raise InvalidArgument(f"slices: {bins} bins of {column!r}; use 2 to {MOST_SLICES}")
        if isinstance(bins, Sequence) and (
            not 2 <= len(bins) <= MOST_SLICES + 1 or any(low >= high for low, high in itertools.pairwise(bins))
        ):
            raise InvalidArgument(f"slices: the edges {bins!r} of {column!r} must be 2 or more numbers that rise")
    return dict(slices)


def slices_of(given: Given, by: Mapping[str, Bins]) -> list[Slice]:
    """The slices of each column. A column of many different numbers is cut into quarters, unless bins are given."""
    found: list[Slice] = []
    for column, bins in by.items():
        values = given.column(column, "slices")
        array = array_of(values)
        is_missing = _missing(values, array)
        parts = (
            _ranges(column, array, is_missing, bins)
            if _is_cut(array, is_missing, bins)
            else _by_value(array, is_missing)
        )
        if is_missing.any():
            parts.append((MISSING, is_missing))
        found += [Slice(column, name, rows) for name, rows in parts if rows.any()]
    return found


def _missing(values: Any, array: Array) -> Array:
    if hasattr(values, "isna"):
        return np.asarray(values.isna(), dtype=bool)
    if array.dtype.kind == "f":
        return np.isnan(array)
    return (
        np.array([each is None or each != each for each in array])
        if array.dtype == object
        else np.zeros(len(array), bool)
    )


def _is_cut(array: Array, is_missing: Array, bins: Bins) -> bool:
    if bins is not None:
        return True
    return array.dtype.kind in "iuf" and len(np.unique(array[~is_missing])) > MOST_SLICES


def _ranges(column: str, array: Array, is_missing: Array, bins: Bins) -> list[tuple[str, Array]]:
    try:
        numbers = np.where(is_missing, np.nan, array).astype(np.float64)
    except (TypeError, ValueError):
        raise InvalidArgument(f"slices: {column!r} has bins, but its values are no numbers") from None
    known = numbers[~is_missing]
    if not len(known):
        return []
    if bins is None or isinstance(bins, int):
        edges = np.unique(np.quantile(known, np.linspace(0, 1, (bins or _BINS) + 1)))
        edges = edges if len(edges) > 1 else np.array([edges[0], edges[0]])
    else:
        edges = np.asarray(bins, dtype=np.float64)
    parts = []
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        is_last = number == len(edges) - 2
        inside = (numbers >= low) & ((numbers <= high) if is_last else (numbers < high))
        parts.append((f"[{low:.6g}, {high:.6g}{']' if is_last else ')'}", inside))
    parts.append((f"below {edges[0]:.6g}", numbers < edges[0]))
    parts.append((f"above {edges[-1]:.6g}", numbers > edges[-1]))
    return parts


def _by_value(array: Array, is_missing: Array) -> list[tuple[str, Array]]:
    texts = np.array([str(each) for each in array], dtype=object)
    texts[is_missing] = ""
    names, counts = np.unique(texts[~is_missing].astype(str), return_counts=True)
    kept = names[np.argsort(-counts, kind="stable")][:MOST_SLICES]
    parts = [(str(name), (texts == name) & ~is_missing) for name in kept]
    if len(names) > len(kept):
        parts.append((OTHER, ~np.isin(texts.astype(str), kept) & ~is_missing))
    return parts
