"""Tables as the bytes of a file, in the formats of MLflow's `log_table`: JSON with `columns` and `data`, or Parquet."""

from __future__ import annotations

import io
import json
import math
import uuid
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from modelry._sdk.files import paths
from modelry._sdk.values import foreign, signals
from modelry._sdk.values.plain import plain
from modelry._sdk.values.texts import said_of, text_of
from modelry.errors import InvalidArgument

if TYPE_CHECKING:
    import pandas as pd

_ENDINGS = (".json", ".parquet")
_LARGEST_EXACT = 2**53
"""Beyond it a float can't hold every whole number."""
_THUMBNAIL_PIXELS = 256


def checked(path: str) -> str:
    """The path itself, if a table can be there. Raises PathInvalid, and InvalidArgument for another extension."""
    if PurePosixPath(paths.checked(path)).suffix not in _ENDINGS:
        raise InvalidArgument(f"{path!r}: a table is written to a file with the extension .json or .parquet")
    return path


def frame_of(given: Any) -> pd.DataFrame:
    """A table of pandas, from one, from a dictionary of columns (or of one row), a list of rows, Polars or Arrow.

    Raises InvalidArgument for anything else, and without pandas.
    """
    try:
        import pandas as pd
    except ImportError:
        raise InvalidArgument("tables need pandas; install it") from None
    if isinstance(given, pd.DataFrame):
        return given
    if callable(getattr(given, "to_pandas", None)):
        given = given.to_pandas()
    elif isinstance(given, dict):
        try:
            given = pd.DataFrame(given)
        except ValueError:  # It has values only, so it is one row, unless its columns differ in length.
            if any(isinstance(each, list | tuple) for each in given.values()):
                raise
            given = pd.DataFrame([given])
    elif isinstance(given, list) and all(isinstance(each, dict) for each in given):
        given = pd.DataFrame(given)
    if not isinstance(given, pd.DataFrame):
        wanted = "a dictionary of columns, a list of rows as dictionaries, or a DataFrame"
        raise InvalidArgument(f"a table is {wanted}, not {type(given).__name__}")
    return given


def images_apart(frame: pd.DataFrame, path: str) -> tuple[pd.DataFrame, dict[str, bytes]]:
    """The table with images of Pillow replaced by where they will be, as MLflow does, and these files by their path."""
    files: dict[str, bytes] = {}

    def placed(cell: Any) -> Any:
        if hasattr(cell, "to_pil"):
            cell = cell.to_pil()
        if not (hasattr(cell, "save") and hasattr(cell, "resize") and hasattr(cell, "thumbnail")):
            return cell
        place = f"table_images/{PurePosixPath(path).with_suffix('')}/{uuid.uuid4()}"
        small = cell.convert("RGBA")
        small.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
        for ending, picture in (("png", cell), ("webp", small)):
            out = io.BytesIO()
            picture.save(out, format=ending)
            files[f"{place}.{ending}"] = out.getvalue()
        return {"type": "image", "filepath": f"{place}.png", "compressed_filepath": f"{place}.webp"}

    for position, kind in enumerate(frame.dtypes):
        if getattr(kind, "kind", "") == "O":
            known = len(files)
            column = [placed(cell) for cell in frame.iloc[:, position]]
            if len(files) > known:
                frame = frame.copy(deep=False)
                frame.isetitem(position, column)
    return frame, files


def of_table(frame: pd.DataFrame, path: str, before: bytes | None = None) -> tuple[bytes, str]:
    """The table in the format of the extension, after the rows of `before`, and what its readers must know, if any.

    A column that only one of the two has is empty in the rows of the other. Raises InvalidArgument for two columns of
    the same name, for content that `before` can't have, and for what the format can't hold.
    """
    names = [text_of(name) for name in frame.columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidArgument(f"two columns of the table are named {twice[0]!r}; give them different names")
    index = [text_of(name) for name in frame.index.names if name is not None]
    note = f"its index {', '.join(index)} is not logged; table.reset_index() makes a column of it" if index else ""
    if path.endswith(".parquet"):
        return _parquet(frame.set_axis(names, axis=1), path, before), note
    columns = [_cells(frame.iloc[:, position]) for position in range(len(names))]
    rows = [list(row) for row in zip(*columns, strict=True)]
    if before is not None:
        names, rows = _appended(_split(before, path), names, rows)
    return json.dumps({"columns": names, "data": rows}, ensure_ascii=False, allow_nan=False).encode(), note


def table_of(content: bytes, path: str) -> pd.DataFrame:
    """The table in a file. Texts stay texts, also those that look like numbers or dates.

    Raises InvalidArgument for content that is no table.
    """
    import pandas as pd

    if path.endswith(".parquet"):
        return _read_parquet(content, path)
    names, rows = _split(content, path)
    frame = pd.DataFrame(rows, columns=names, dtype=object)
    for position in range(len(names)):
        frame.isetitem(position, _typed(frame.iloc[:, position]))
    return frame


def _cells(column: pd.Series[Any]) -> list[Any]:
    """The cells as what JSON has. What is missing, NaN or infinite is None."""
    kind = getattr(column.dtype, "kind", "O") if type(column.dtype).__module__.startswith("numpy") else "O"
    if kind in "iub":
        return list(column.tolist())
    if kind == "f":
        return [_finite(each) for each in column.astype("float64").tolist()]
    missing = column.isna().tolist()
    cells = column.astype(object).tolist()
    return [None if is_missing else _cell(each) for each, is_missing in zip(cells, missing, strict=True)]


def _cell(given: Any) -> Any:
    if isinstance(given, str):
        return text_of(given)
    is_time = hasattr(given, "isoformat")  # also a duration of pandas, whose text is none that others read
    return given.isoformat() if is_time else _finite(plain(given))


def _finite(given: Any) -> Any:
    if isinstance(given, float):
        return given if math.isfinite(given) else None
    if isinstance(given, list):
        return [_finite(each) for each in given]
    if isinstance(given, dict):
        return {key: _finite(each) for key, each in given.items()}
    return given


def _split(content: bytes, path: str) -> tuple[list[str], list[list[Any]]]:
    try:
        found = foreign.json_object_of(content)
    except foreign.Unreadable as problem:
        raise InvalidArgument(f"{path!r} {problem}, so it is no table") from None
    names: Any = found.get("columns")
    rows: Any = found.get("data")
    is_table = isinstance(names, list) and isinstance(rows, list) and all(isinstance(row, list) for row in rows)
    if is_table and {len(row) for row in rows} <= {len(names)}:
        return [text_of(name) for name in names], rows
    raise InvalidArgument(f"{path!r} has other JSON than a table: `columns`, and `data` with a list for each row")


def _appended(
    before: tuple[list[str], list[list[Any]]], names: list[str], rows: list[list[Any]]
) -> tuple[list[str], list[list[Any]]]:
    known, old = before
    if known == names:
        return names, old + rows
    both = known + [name for name in names if name not in known]
    place = {name: position for position, name in enumerate(names)}
    chosen = [place.get(name) for name in both]
    padding = [None] * (len(both) - len(known))
    new = [[None if at is None else row[at] for at in chosen] for row in rows]
    return both, [row + padding for row in old] + new


def _typed(column: pd.Series[Any]) -> pd.Series[Any]:
    """The column with the type of its values. Whole numbers with missing ones are floats where these can hold them."""
    kinds = {type(each) for each in column if each is not None}
    if kinds == {int, float} or (kinds in ({int}, {float}) and column.isna().any()):
        if all(each is None or abs(each) <= _LARGEST_EXACT for each in column if type(each) is not float):
            return column.astype("float64")
        return column
    return column if kinds - {int, float, bool, str} else column.infer_objects()


def _parquet(frame: pd.DataFrame, path: str, before: bytes | None) -> bytes:
    import pandas as pd

    if before is not None:
        frame = pd.concat([_read_parquet(before, path), frame], ignore_index=True)
    out = io.BytesIO()
    try:
        frame.to_parquet(out, index=False)
    except ImportError:
        raise _needs_arrow(path) from None
    except Exception as problem:  # Arrow raises errors of its own for what Parquet can't hold.
        signals.pass_on(problem)
        advice = "give each column values of one type, or use the extension .json"
        raise InvalidArgument(
            f"{path!r}: the table can't be written as Parquet: {said_of(problem)}; {advice}"
        ) from None
    return out.getvalue()


def _read_parquet(content: bytes, path: str) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(io.BytesIO(content))
    except ImportError:
        raise _needs_arrow(path) from None
    except Exception as problem:  # Arrow raises errors of its own.
        signals.pass_on(problem)
        raise InvalidArgument(f"{path!r} is no Parquet file that can be read: {said_of(problem)}") from None


def _needs_arrow(path: str) -> InvalidArgument:
    return InvalidArgument(f"{path!r}: Parquet needs the package pyarrow; install it, or use the extension .json")
