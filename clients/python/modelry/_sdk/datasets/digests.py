"""Digests of tables and arrays: every cell counts, and the parts in which a column comes do not.

A column has one digest whatever library holds it: its type, where cells are missing, the sizes of texts and lists, and
the content as little-endian bytes or UTF-8, each hashed with SHA-256. So tables of equal content in Polars and Arrow
have equal digests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelry._sdk.datasets.profiles import Profile
from modelry._sdk.values.arrays import array_of, is_array
from modelry._sdk.values.texts import text_of

if TYPE_CHECKING:
    import numpy.typing as npt

_CELLS_AT_ONCE = 1 << 16
_UNITS = {"s", "ms", "us", "ns"}


def digest_of(described: object) -> str:
    """16 hexadecimal characters for what JSON can hold."""
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]


class Column:
    """The digest and the profile of a column that is fed in parts: of `kind`, with the columns `below` if it nests.

    `counts` is false for what nests in another column, which has no profile of its own.
    """

    def __init__(self, kind: str, below: Sequence[Column] = (), *, counts: bool = True) -> None:
        self.kind = kind
        self.below = below
        self.profile = Profile(kind) if counts else None
        self.rows = 0
        self._missing, self._sizes, self._content = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()

    def digest(self) -> list[Any]:
        """What distinguishes it from columns of other content, as JSON can hold it."""
        parts = [each.hexdigest() for each in (self._missing, self._sizes, self._content)]
        return [self.kind, self.rows, *parts, *(each.digest() for each in self.below)]

    def numbers(self, values: npt.NDArray[Any], missing: npt.NDArray[Any] | None = None) -> None:
        """Adds cells of a fixed width: numbers, or times as integers. Where `missing` is true, the value is ignored."""
        import numpy as np

        missing = self._without(len(values), missing)
        if self.profile is not None:
            self.profile.numbers(values if missing is None else values[~missing])
        if missing is not None:
            values = np.where(missing, np.zeros((), values.dtype), values)
        if values.dtype.kind == "f" and (unknown := np.isnan(values)).any():
            values = np.where(unknown, np.array(np.nan, values.dtype), values)  # every NaN has the same bytes
        self._content.update(bytes_of(values))

    def fixed(self, content: Any, rows: int, missing: npt.NDArray[Any] | None) -> None:
        """Adds cells of a fixed width as their bytes, which are 0 where cells are missing."""
        self._without(rows, missing)
        self._content.update(content)

    def texts(self, cells: npt.NDArray[Any], missing: npt.NDArray[Any]) -> None:
        """Adds an array of texts."""
        import numpy as np

        for start in range(0, len(cells), _CELLS_AT_ONCE):
            some, lacking = cells[start : start + _CELLS_AT_ONCE], missing[start : start + _CELLS_AT_ONCE]
            listed = (np.where(lacking, "", some) if lacking.any() else some).tolist()
            joined = "".join(listed)
            if joined.isascii():
                sizes, content = map(len, listed), joined.encode()
            else:
                parts = [each.encode(errors="surrogatepass") for each in listed]
                sizes, content = map(len, parts), b"".join(parts)
            if self.profile is not None:
                self.profile.words(len(some), some[~lacking].__getitem__)
            self.sized(np.fromiter(sizes, np.int64, len(listed)), content, lacking)

    def sized(self, sizes: npt.NDArray[Any], content: Any, missing: npt.NDArray[Any] | None) -> None:
        """Adds texts, bytes or lists: the size of each, and all contents in a row. What is missing has the size 0."""
        self._without(len(sizes), missing)
        self._sizes.update(bytes_of(sizes))
        self._content.update(content)

    def cells(self, cells: Iterable[Any]) -> None:
        """Adds cells of any types."""
        found = [_of_cell(cell) for cell in cells]
        self.rows += len(found)
        self._content.update(b"".join(found))

    def _without(self, rows: int, missing: npt.NDArray[Any] | None) -> npt.NDArray[Any] | None:
        """Notes which cells are missing, by their rows. None if no cell is."""
        import numpy as np

        before, self.rows = self.rows, self.rows + rows
        if missing is None or not missing.any():
            return None
        at = np.flatnonzero(missing)
        if self.profile is not None:
            self.profile.nulls += len(at)
        self._missing.update(bytes_of(at.astype(np.int64) + before))
        return missing


def of_pandas(series: Any) -> Column:
    """The column of a pandas Series."""
    import numpy as np
    import pandas as pd

    cells, kind = series.array, series.dtype
    if isinstance(kind, pd.CategoricalDtype):
        codes, known = np.asarray(cells.codes), np.asarray(kind.categories)
        if not len(known):
            return _missing_only(len(series))
        return _of_numpy(known[codes], codes < 0)
    if hasattr(cells, "__arrow_array__") and "pyarrow" in (getattr(kind, "storage", ""), _storage(kind)):
        return of_arrow(cells.__arrow_array__())
    if isinstance(kind, pd.DatetimeTZDtype):
        column = Column(f"timestamp[{kind.unit}, tz={kind.tz}]")
        column.numbers(cells.asi8, np.asarray(series.isna()))
        return column
    if pd.api.types.is_extension_array_dtype(kind) and hasattr(kind, "numpy_dtype"):  # Int64, boolean
        missing = np.asarray(series.isna())
        return _of_numpy(series.to_numpy(dtype=kind.numpy_dtype, na_value=kind.numpy_dtype.type(0)), missing)
    return _of_numpy(np.asarray(cells), None)


def _storage(kind: Any) -> str:
    return "pyarrow" if hasattr(kind, "pyarrow_dtype") else ""


def _missing_only(rows: int) -> Column:
    import numpy as np

    column = Column("null")
    column.numbers(np.zeros(rows, np.uint8), np.ones(rows, bool))
    return column


def _of_numpy(values: npt.NDArray[Any], missing: npt.NDArray[Any] | None) -> Column:
    import numpy as np
    import pandas as pd

    if values.dtype.kind == "O":
        lacking = np.asarray(pd.isna(values)) if missing is None else missing
        if pd.api.types.infer_dtype(values[~lacking]) == "string":
            column = Column("string")
            column.texts(values, lacking)
        else:
            column = Column("object")
            column.cells(None if isnt else cell for cell, isnt in zip(values, lacking, strict=True))
            if column.profile is not None:
                column.profile.nulls = int(lacking.sum())
        return column
    column = Column(kind_of(values.dtype))
    if values.dtype.kind in "mM":
        missing = np.isnat(values) if missing is None else missing
        values = values.view(np.int64)
    column.numbers(values, missing)
    return column


def kind_of(kind: Any) -> str:
    """The name of a type of NumPy as the digest has it."""
    import numpy as np

    if kind.kind in "mM" and (unit := np.datetime_data(kind)[0]) in _UNITS:
        return f"{'timestamp' if kind.kind == 'M' else 'duration'}[{unit}]"
    return str(kind.newbyteorder("="))


def of_arrow(chunks: Any) -> Column:
    """The column of an Arrow array, whole or in chunks."""
    column = arrow_column(chunks.type)
    for chunk in getattr(chunks, "chunks", [chunks]):
        add_arrow(column, chunk)
    return column


def arrow_column(kind: Any, *, counts: bool = True) -> Column:
    """An empty column of a type of Arrow. Dictionaries and views are what they stand for."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        return arrow_column(kind.value_type, counts=counts)
    if isinstance(kind, pa.BaseExtensionType):
        return arrow_column(kind.storage_type, counts=counts)
    if _is_list(kind):
        return Column("list", [arrow_column(kind.value_type, counts=False)], counts=counts)
    if types.is_struct(kind):
        fields = [kind.field(position) for position in range(kind.num_fields)]
        below = [arrow_column(field.type, counts=False) for field in fields]
        return Column(json.dumps(["struct", *(field.name for field in fields)]), below, counts=counts)
    if _is_text(kind):
        return Column("string", counts=counts)
    if _is_bytes(kind):
        return Column("binary", counts=counts)
    names = {"double": "float64", "float": "float32", "halffloat": "float16"}
    return Column(names.get(str(kind), str(kind)), counts=counts)


def add_arrow(column: Column, array: Any) -> None:
    """Adds an array of Arrow to the column of its type."""
    import numpy as np
    import pyarrow as pa

    types, kind = pa.types, array.type
    if not len(array):
        return
    missing = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    if types.is_dictionary(kind):
        add_arrow(column, array.dictionary_decode())
    elif isinstance(kind, pa.BaseExtensionType):
        add_arrow(column, array.storage)
    elif types.is_null(kind):
        column.numbers(np.zeros(len(array), np.uint8), np.ones(len(array), bool))
    elif types.is_boolean(kind):
        column.numbers(array.cast(pa.uint8()).fill_null(0).to_numpy(zero_copy_only=False).view(bool), missing)
    elif _is_text(kind) or _is_bytes(kind):
        _add_sized(column, array, missing)
    elif _is_list(kind):
        counted = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        column.sized(counted if missing is None else np.where(missing, 0, counted), b"", missing)
        add_arrow(column.below[0], array.flatten())
    elif types.is_struct(kind):
        column.fixed(b"", len(array), missing)
        for below, each in zip(column.below, array.flatten(), strict=True):
            add_arrow(below, each)
    elif types.is_integer(kind) or types.is_floating(kind):
        filled = array if missing is None else array.fill_null(0)
        column.numbers(filled.to_numpy(zero_copy_only=False), missing)
    elif types.is_temporal(kind) and kind.bit_width in (32, 64):
        whole = array.view(pa.int64() if kind.bit_width == 64 else pa.int32())
        column.numbers((whole if missing is None else whole.fill_null(0)).to_numpy(zero_copy_only=False), missing)
    else:
        if missing is not None and column.profile is not None:
            column.profile.nulls += int(missing.sum())
        column.cells(array.to_pylist())


def _add_sized(column: Column, array: Any, missing: npt.NDArray[Any] | None) -> None:
    import numpy as np
    import pyarrow as pa

    is_text = _is_text(array.type)
    if column.profile is not None and is_text:
        given = array
        column.profile.words(len(given), lambda few: given[few].drop_null().unique().to_pylist())
    array = array.cast(pa.large_string() if is_text else pa.large_binary())
    if missing is not None:
        array = array.fill_null("" if is_text else b"")
    _, offsets, content = array.buffers()
    ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    column.sized(np.diff(ends), memoryview(content)[ends[0] : ends[-1]] if content is not None else b"", missing)


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_bytes(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def of_array(array: npt.NDArray[Any]) -> list[Any]:
    """The digest of an array of NumPy with any number of dimensions, as JSON can hold it."""
    import numpy as np

    column = Column(kind_of(array.dtype), counts=False)
    if array.dtype.hasobject:
        column.cells(array.ravel().tolist())
    elif not array.flags.c_contiguous and array.ndim and len(array):
        rows = max(1, (16 << 20) // max(1, array.nbytes // len(array)))  # some at once, since each is copied
        for start in range(0, len(array), rows):
            column.fixed(bytes_of(np.ascontiguousarray(array[start : start + rows])), rows, None)
        column.rows = array.size
    else:
        column.fixed(bytes_of(array), array.size, None)
    return [list(array.shape), *column.digest()]


def bytes_of(values: npt.NDArray[Any]) -> Any:
    """The bytes of an array, little-endian, without a copy where it is so in memory."""
    import numpy as np

    if values.dtype.byteorder == ">" and values.dtype.names is None:
        values = values.astype(values.dtype.newbyteorder("<"))
    flat: Any = np.ascontiguousarray(values).reshape(-1)
    return memoryview(flat.view(np.uint8)) if values.size else b""


def _of_cell(cell: Any) -> bytes:
    """A cell with its type, its length and its content, so that no two different cells look the same."""
    if isinstance(cell, bytes):
        content = cell
    elif isinstance(cell, Mapping):
        content = b"".join(_of_cell(key) + _of_cell(value) for key, value in cell.items())
    elif isinstance(cell, list | tuple):
        content = b"".join(map(_of_cell, cell))
    elif is_array(cell) and getattr(cell, "shape", ()) != ():
        content = json.dumps(of_array(array_of(cell))).encode()
    else:
        content = text_of(cell).encode()
    return f"{type(cell).__name__}:{len(content)}:".encode() + content
