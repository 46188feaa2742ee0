"""Digests of tables and arrays: every cell counts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from modelry._sdk.values.arrays import array_of, is_array
from modelry._sdk.values.texts import text_of

_ROWS_AT_ONCE = 1 << 20
_BYTES_AT_ONCE = 16 << 20


def digest_of(described: str, contents: Iterable[Any]) -> str:
    """16 hexadecimal characters for a description and the contents of pandas DataFrames and NumPy arrays.

    It reads every cell, some gigabytes of numbers in a few seconds, and needs little memory beside them.
    """
    digest = hashlib.sha256(text_of(described).encode())
    for content in contents:
        digest.update(b"\0")
        for part in _of_table(content) if hasattr(content, "iloc") else _of_array(content):
            digest.update(part)
    return digest.hexdigest()[:16]


def _of_table(table: Any) -> Iterator[bytes]:
    for position in range(table.shape[1]):
        column = table.iloc[:, position]
        for start in range(0, len(column), _ROWS_AT_ONCE):
            yield from _of_column(column.iloc[start : start + _ROWS_AT_ONCE])


def _of_column(column: Any) -> Iterator[bytes]:
    import pandas as pd

    cells = column.array
    if isinstance(cells, pd.arrays.NumpyExtensionArray):
        cells = column.to_numpy()
        if not cells.dtype.hasobject:
            yield from _of_array(cells)
            return
    if not hasattr(cells.dtype, "hasobject") or pd.api.types.infer_dtype(column, skipna=True) == "string":
        try:
            hashes = pd.util.hash_array(cells)
        except (TypeError, ValueError, NotImplementedError):
            pass  # A type of a column that pandas can't hash.
        else:
            yield bytes(hashes.tobytes())
            return
    yield from map(_of_cell, column)


def _of_array(array: Any) -> Iterator[bytes]:
    if array.dtype.hasobject:
        yield from (_of_cell(cell) for cell in array.ravel().tolist())
    elif not array.ndim:
        yield bytes(array.tobytes())
    else:
        rows = max(1, _BYTES_AT_ONCE // max(1, array.nbytes // max(1, len(array))))
        for start in range(0, len(array), rows):
            yield bytes(array[start : start + rows].tobytes())


def _of_cell(cell: Any) -> bytes:
    """A cell with its type, its length and its content, so that no two different cells look the same."""
    if isinstance(cell, bytes):
        content = cell
    elif isinstance(cell, Mapping):
        content = b"".join(_of_cell(key) + _of_cell(value) for key, value in cell.items())
    elif isinstance(cell, list | tuple):
        content = b"".join(map(_of_cell, cell))
    elif is_array(cell) and getattr(cell, "shape", ()) != ():
        array = array_of(cell)
        content = f"{array.dtype}{array.shape}".encode() + b"".join(_of_array(array))
    else:
        content = text_of(cell).encode()
    return f"{type(cell).__name__}:{len(content)}:".encode() + content
