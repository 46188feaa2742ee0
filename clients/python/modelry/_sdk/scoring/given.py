"""The data of an evaluation: what the columns are for."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modelry._sdk.values.arrays import array_of
from modelry.errors import DatasetEmpty, InvalidArgument

if TYPE_CHECKING:
    from modelry._sdk.scoring.scoring import Array, Floats

_WANTED = "give a table, an array or a mapping of columns"


@dataclass
class Given:
    """The rows to evaluate on. `features` is what a model gets. `table` is everything, by which slices are found."""

    table: Any
    features: Any
    targets: Array | None
    weights: Floats | None
    rows: int

    def column(self, name: str, what: str) -> Any:
        """A column of the table. Raises InvalidArgument if there is none."""
        return _column(self.table, name, what)

    def advice(self, wanted: Any = None) -> str:
        """What to say if a model fails that may want other columns. `wanted` is what it says that it was fitted with.

        Empty if it got just these, or no table.
        """
        names = [str(name) for name in _names(self.features)]
        right = None if wanted is None else [str(name) for name in wanted]
        if not names or names == right:
            return ""
        advice = f"the model got the columns {_few(names)}; name those that it takes by feature_names"
        return advice if right is None else f"{advice}={right[:20]}" + (" and so on" if len(right) > 20 else "")

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return _names(self.table)


def read(
    data: Any,
    targets: Any,
    *,
    weights: Any = None,
    feature_names: Sequence[str] | None = None,
    apart: Sequence[str] = (),
    answers: Sequence[Any] = (),
) -> Given:
    """Tells targets and weights from features. The columns `apart` are no features either, nor are the `answers`.

    The latter are other targets and predictions that the data has, and `feature_names` can't name them, nor `targets`.

    `data` is a table of pandas, Polars or Arrow, an array, or a mapping of columns. `targets` and `weights` are names
    of columns, or as many values as there are rows. Raises DatasetEmpty for data without rows, and InvalidArgument for
    columns that are not there, other numbers of rows, weights that can't be weights, and features that tell the target.
    """
    table = _table(data)
    rows = _rows(table)
    if rows == 0:
        raise DatasetEmpty("the data to evaluate on has no rows")
    told = {str(name) for name in (*answers, *([targets] if isinstance(targets, str) else []))}
    left = {*told, *apart, *([weights] if isinstance(weights, str) else [])}
    found = Given(
        table=table,
        features=table,
        targets=None if targets is None else _values(table, targets, "targets", rows),
        weights=None if weights is None else _weights(_values(table, weights, "weights", rows)),
        rows=rows,
    )
    if feature_names is not None:
        found.features = _selected(table, [_feature(table, name, told) for name in feature_names])
    elif left and _names(table):
        found.features = _selected(table, [name for name in _names(table) if str(name) not in left])
    return found


def _feature(table: Any, name: str, told: Collection[str]) -> str:
    """A column that a model can get. Raises InvalidArgument for targets and predictions, which tell it the answer."""
    if str(name) in told:
        problem = f"feature_names has {name!r}, a column of targets or predictions, which tells the model the answer"
        raise InvalidArgument(f"{problem}; leave it out", fields={"feature_names": "has targets or predictions"})
    return _named(table, name, "feature_names")


def _table(data: Any) -> Any:
    if data is None:
        raise InvalidArgument(f"evaluate needs data; {_WANTED}")
    if type(data).__module__.partition(".")[0] in ("polars", "pyarrow") and hasattr(data, "to_pandas"):
        return data.to_pandas()
    if hasattr(data, "to_table"):  # a dataset of PyArrow
        return data.to_table().to_pandas()
    if hasattr(data, "to_pandas") and not hasattr(data, "iloc"):  # a dataset of Hugging Face
        return data.to_pandas()
    if hasattr(data, "iloc") or hasattr(data, "toarray"):
        return data.to_frame() if getattr(data, "ndim", 2) == 1 and hasattr(data, "to_frame") else data
    if isinstance(data, Mapping):
        columns = {str(name): array_of(values) for name, values in data.items()}
        if single := [name for name, values in columns.items() if not values.shape]:
            raise InvalidArgument(f"the column {single[0]!r} of the data is one value; give as many as there are rows")
        return columns
    if isinstance(data, str | bytes):
        raise InvalidArgument(f"data is the text {data!r:.80}; read it first, for example with pandas.read_csv")
    if isinstance(data, os.PathLike):
        raise InvalidArgument(
            f"data is the path {os.fspath(data)!r:.80}; read it first, for example with pandas.read_csv"
        )
    array = array_of(data)
    if not array.shape:
        raise InvalidArgument(f"data is a {type(data).__name__}, which has no rows; {_WANTED}")
    return array


def _rows(table: Any) -> int:
    if isinstance(table, dict):
        lengths = {name: len(values) for name, values in table.items()}
        if len(set(lengths.values())) > 1:
            raise InvalidArgument(f"the columns of the data have different numbers of rows: {lengths}")
        return next(iter(lengths.values()), 0)
    shape = getattr(table, "shape", ())
    if not shape:
        raise InvalidArgument(f"data is {type(table).__name__}, which has no rows")
    return int(shape[0])


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _names(table: Any) -> list[str]:
    return list(table) if isinstance(table, dict) else list(getattr(table, "columns", ()))


def _named(table: Any, name: str, what: str) -> str:
    names = _names(table)
    if name not in names:
        there = ", ".join(map(str, names[:20])) or "none: it is an array"
        raise InvalidArgument(f"{what}: the data has no column {name!r}; its columns are {there}")
    return name


def _column(table: Any, name: str, what: str) -> Any:
    return table[_named(table, name, what)]


def _selected(table: Any, names: list[str]) -> Any:
    return {name: table[name] for name in names} if isinstance(table, dict) else table[names]


def _values(table: Any, given: Any, what: str, rows: int) -> Array:
    values = one_column(_column(table, given, what) if isinstance(given, str) else given, what)
    if len(values) != rows:
        raise InvalidArgument(f"{what} has {len(values)} values, and the data has {rows} rows")
    return values


def one_column(values: Any, what: str) -> Array:
    """Values as an array of one dimension. Raises InvalidArgument for more, and for missing values."""
    if hasattr(values, "iloc") and getattr(values, "ndim", 1) == 2 and values.shape[1] == 1:
        values = values.iloc[:, 0]
    is_missing = values.isna().to_numpy() if hasattr(values, "isna") and getattr(values, "ndim", 2) == 1 else None
    array = array_of(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise InvalidArgument(f"{what} has the shape {array.shape}; it must be one column")
    if is_missing is None:
        is_missing = np.array([each is None or each != each for each in array]) if array.dtype == object else None
    if is_missing is None:
        is_missing = np.isnan(array) if array.dtype.kind == "f" else np.zeros(len(array), bool)
    if is_missing.any():
        first = int(np.flatnonzero(is_missing)[0])
        raise InvalidArgument(
            f"{what} has {int(is_missing.sum())} missing values, the first in row {first}; leave these rows out"
        )
    return array


def numbers(values: Any, what: str) -> Floats:
    """Values as numbers. Raises InvalidArgument for what is none, or not finite."""
    array = one_column(values, what)
    try:
        found = array.astype(np.float64)
    except (TypeError, ValueError) as problem:
        raise InvalidArgument(f"{what} must be numbers: {problem}") from None
    if not np.isfinite(found).all():
        raise InvalidArgument(f"{what} has infinite values")
    return found


def at_rows(values: Any, rows: Array) -> Any:
    """The rows at these positions of a table, a column, an array or a mapping of columns; None of None."""
    if isinstance(values, dict):
        return {name: at_rows(each, rows) for name, each in values.items()}
    if values is None:
        return None
    return values.iloc[rows] if hasattr(values, "iloc") else values[rows]


def _weights(values: Array) -> Floats:
    found = numbers(values, "weights")
    if (found < 0).any():
        raise InvalidArgument(f"weights must not be negative; the smallest is {found.min():g}")
    if found.sum() <= 0:
        raise InvalidArgument("the weights are all 0")
    return found
