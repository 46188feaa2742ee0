"""Profiles of columns: how many cells are missing, the range of numbers and times, how many different texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy.typing as npt

MOST_COLUMNS = 500
"""Of how many columns a profile tells more than the table as a whole."""

_TIME = re.compile(r"timestamp\[(s|ms|us|ns)")


class Profile:
    """What is known of a column after its cells were seen once: exact, but for the number of different texts.

    Texts are told apart in the first `MOST_READ` rows.
    """

    MOST_READ: ClassVar[int] = 100_000

    def __init__(self, kind: str) -> None:
        self.nulls = 0
        self._kind = kind
        self._count = 0
        self._sum: Any = 0.0
        self._smallest: Any = None
        self._largest: Any = None
        self._words: set[Any] | None = None
        self._read = 0

    def numbers(self, values: npt.NDArray[Any]) -> None:
        """Adds numbers, or times as integers. NaN counts as missing in the profile."""
        import numpy as np

        if values.dtype.kind not in "iufb" or not len(values):
            return
        with np.errstate(all="ignore"):
            smallest, largest, total = values.min(), values.max(), values.sum(dtype=np.float64)
            if np.isnan(total) and np.isnan(smallest):
                known = values[~np.isnan(values)]
                self.nulls += len(values) - len(known)
                self.numbers(known)
                return
        self._count += len(values)
        self._sum += total
        self._smallest = smallest if self._smallest is None else min(self._smallest, smallest)
        self._largest = largest if self._largest is None else max(self._largest, largest)

    def words(self, rows: int, listed: Callable[[slice], Iterable[Any]]) -> None:
        """Adds some rows of texts. `listed` gives the texts of those that a slice selects."""
        if self._words is None:
            self._words = set()
        if (most := self.MOST_READ - self._read) > 0:
            self._words.update(listed(slice(most)))
            self._read += min(rows, most)
        self._count += rows

    def described(self) -> dict[str, Any]:
        """The profile as JSON can hold it."""
        found: dict[str, Any] = {"nulls": self.nulls}
        if self._words is not None:
            found["distinct"] = len(self._words)
            if self._count > self._read:
                found["distinct_in_first_rows"] = self._read
        elif self._count:
            found |= {"min": self._shown(self._smallest), "max": self._shown(self._largest)}
            if not _TIME.match(self._kind):
                found["mean"] = self._shown(self._sum / self._count)
        return found

    def _shown(self, value: Any) -> Any:
        import numpy as np

        unit: Any
        if time := _TIME.match(self._kind):
            unit = time[1]
            return str(np.datetime64(int(value), unit))
        number = value.item() if hasattr(value, "item") else value
        return number if np.isfinite(number) else str(number)
