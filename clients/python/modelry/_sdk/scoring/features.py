"""Features as numbers and back, so that what needs numbers can ask a model that takes texts, dates or integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modelry._sdk.scoring.given import at_rows
from modelry._sdk.values.arrays import array_of
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    from modelry._sdk.scoring.scoring import Array, Floats


@dataclass(frozen=True, slots=True)
class Coded:
    """Features, and the same as `numbers` of the shape (rows, features).

    A column that is no number has codes: the code of a value is the first row of `columns` that has it. So every value
    comes back as it was, in the type of its column.
    """

    features: Any
    numbers: Floats
    names: Sequence[str]
    columns: Sequence[Any]
    is_code: Sequence[bool]

    @classmethod
    def of(cls, features: Any) -> Coded:
        """Raises InvalidArgument for what has no columns."""
        names, columns = _columns(features)
        coded = [_coded(column) for column in columns]
        numbers = np.column_stack([values for values, _ in coded]) if coded else np.zeros((0, 0))
        return cls(features, numbers, names, columns, [is_code for _, is_code in coded])

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.numbers)

    @property
    def has_codes(self) -> bool:
        """Whether a column is no number."""
        return any(self.is_code)

    def part(self, rows: Array) -> Coded:
        """The rows at these positions."""
        return Coded(at_rows(self.features, rows), self.numbers[rows], self.names, self.columns, self.is_code)

    def back(self, numbers: Floats) -> Any:
        """Rows of numbers as features: a table, a mapping of columns or an array, as the features are."""
        found = [
            at_rows(column, values.astype(np.int64)) if is_code else values.astype(column.dtype)
            for column, values, is_code in zip(self.columns, numbers.T, self.is_code, strict=True)
        ]
        if isinstance(self.features, dict):
            return dict(zip(self.features, found, strict=True))
        if hasattr(self.features, "iloc"):
            import pandas as pd

            plain = {at: pd.Series(array_of_column(values)) for at, values in enumerate(found)}
            return pd.DataFrame(plain).set_axis(self.features.columns, axis=1)
        return np.column_stack(found).astype(array_of(self.features[:1]).dtype)


def array_of_column(values: Any) -> Any:
    """The values of a column without its index, in its type."""
    return values.array if hasattr(values, "array") else values


def _columns(features: Any) -> tuple[list[str], list[Any]]:
    if isinstance(features, dict):
        columns = [array_of(values) for values in features.values()]
        if any(column.ndim != 1 for column in columns):
            raise InvalidArgument("a feature has more than one dimension")
        return [str(name) for name in features], columns
    if hasattr(features, "iloc"):
        return [str(name) for name in features.columns], [features.iloc[:, at] for at in range(features.shape[1])]
    array = array_of(features)
    if array.ndim != 2:
        raise InvalidArgument(f"the features have the shape {array.shape}; only tables are explained")
    return [str(at) for at in range(array.shape[1])], list(array.T)


def _coded(column: Any) -> tuple[Floats, bool]:
    """The numbers of a column, and whether they are codes."""
    if getattr(column.dtype, "kind", "O") in "biuf" and isinstance(column.dtype, np.dtype):
        return np.asarray(column, dtype=np.float64), False
    first: dict[Any, int] = {}
    values = column.tolist()
    return np.array([first.setdefault(value, at) for at, value in enumerate(values)], dtype=np.float64), True
