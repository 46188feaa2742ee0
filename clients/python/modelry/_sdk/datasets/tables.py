"""Datasets from tables: pandas, Polars and Arrow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from modelry._sdk.datasets import digests
from modelry._sdk.datasets.dataset import (
    Dataset,
    json_of,
    require_first_rows,
    require_targets,
    undescribed,
    warn_if_empty,
    within,
)
from modelry._sdk.datasets.digests import Column
from modelry._sdk.datasets.profiles import MOST_COLUMNS
from modelry._sdk.values import signals
from modelry._sdk.values.plain import plain
from modelry._sdk.values.texts import text_of
from modelry.errors import InvalidArgument

_TYPES = {
    **dict.fromkeys(("int8", "uint8", "int16", "uint16", "int32"), "integer"),
    **dict.fromkeys(("int64", "uint32"), "long"),
    **dict.fromkeys(("float16", "float32"), "float"),
    **{"float64": "double", "bool": "boolean", "string": "string", "binary": "binary"},
}
"""The types of columns that MLflow has, by those of the digest. Times are `datetime`, all others `any`."""
_TIME = re.compile(r"timestamp\[|datetime64\[|date(32|64)\[")


def from_pandas(
    df: Any,
    source: str = "",
    targets: str | None = None,
    name: str | None = None,
    digest: str | None = None,
    *,
    first_rows: int | None = None,
) -> Dataset:
    """Describes a pandas DataFrame, or what pandas makes one of: a Series, a dictionary, a list of records.

    The digest covers the names and types of the columns and every cell, without the index, the name and the source. It
    takes about a second for 160 MB of numbers. To save that, give a `digest` of your own, or let only the `first_rows`
    be read: then the digest begins with `first-<n>-rows:`. Tables of Polars and Arrow go to `from_polars` and
    `from_arrow`. If the table can't be described, nothing is raised: name and source are recorded, with a warning, as
    there is for a table without rows. Raises InvalidArgument for `first_rows` below 1 and `targets` that are no column.
    """
    require_first_rows(first_rows)
    if type(df).__module__.partition(".")[0] in ("polars", "pyarrow"):
        return from_arrow(df, source, targets, name, digest, first_rows=first_rows)
    try:
        frame = _frame(df)
        rows, width = frame.shape
        read = frame if first_rows is None else frame.iloc[: max(0, first_rows)]
        columns = None if digest else [digests.of_pandas(read.iloc[:, position]) for position in range(width)]
        named = [(text_of(column), str(kind)) for column, kind in frame.dtypes.items()]
        found = _described(named, columns, rows, name, source, digest, targets=targets, first_rows=first_rows)
    except Exception as problem:  # It may be the object of another library, which may raise anything.
        signals.pass_on(problem)
        return undescribed(df, problem, name=name, source=source, digest=digest)
    require_targets(targets, [column for column, _ in named])
    return found.holding(frame, targets)


def from_polars(
    df: Any,
    source: str = "",
    targets: str | None = None,
    name: str | None = None,
    digest: str | None = None,
    *,
    first_rows: int | None = None,
) -> Dataset:
    """Describes a DataFrame or Series of Polars; needs PyArrow. See `from_pandas` for the digest and what is raised.

    An Arrow table of equal content has the same digest. A LazyFrame has no content yet: give what `collect()` returns.
    """
    return from_arrow(df, source, targets, name, digest, first_rows=first_rows)


def from_arrow(
    table: Any,
    source: str = "",
    targets: str | None = None,
    name: str | None = None,
    digest: str | None = None,
    *,
    first_rows: int | None = None,
) -> Dataset:
    """Describes a Table, RecordBatch, RecordBatchReader or Dataset of PyArrow; see `from_pandas`.

    Readers and datasets are read in batches, so they may be larger than the memory; a reader is used up by it. The
    sizes of the batches do not count, nor whether texts are dictionaries or views.
    """
    require_first_rows(first_rows)
    try:
        fields, batches = _batches(table)
        named = [(field.name, str(field.type)) for field in fields]
        found = of_batches(
            *(named, fields, batches),
            name=name,
            source=source,
            digest=digest,
            targets=targets,
            first_rows=first_rows,
        )
    except Exception as problem:  # It may be the object of another library, which may raise anything.
        signals.pass_on(problem)
        return undescribed(table, problem, name=name, source=source, digest=digest)
    require_targets(targets, [column for column, _ in named])
    return found.holding(None if hasattr(table, "read_next_batch") else table, targets)


def of_batches(
    named: Sequence[tuple[str, str]],
    fields: Iterable[Any],
    batches: Iterable[Any],
    *,
    name: str | None,
    source: str,
    digest: str | None,
    **options: Any,
) -> Dataset:
    """The dataset of batches of Arrow, which have the columns `fields`."""
    columns, rows = [digests.arrow_column(field.type) for field in fields], 0
    most = options.get("first_rows")
    for batch in batches:
        read = batch if most is None else batch.slice(0, max(0, most - rows))
        rows += batch.num_rows
        if digest is None:
            for column, array in zip(columns, read.columns, strict=True):
                digests.add_arrow(column, array)
    return _described(named, columns if digest is None else None, rows, name, source, digest, **options)


def _described(
    named: Sequence[tuple[str, str]],
    columns: Sequence[Column] | None,
    rows: int,
    name: str | None,
    source: str,
    digest: str | None,
    *,
    targets: str | None = None,
    first_rows: int | None = None,
    source_type: str = "",
) -> Dataset:
    name = name or "dataset"
    warn_if_empty(name, rows)
    is_part = first_rows is not None and first_rows < rows
    schema, left_out = within(_colspec(named, columns))
    profile: dict[str, Any] = {"num_rows": rows, "num_elements": rows * len(named)}
    if is_part and columns is not None:
        profile["rows_read"] = first_rows
    if columns is not None:
        known = zip(named[:MOST_COLUMNS], columns, strict=False)
        profile["columns"] = {column: each.profile.described() for (column, _), each in known if each.profile}
    if columns is not None:
        content = [[column, each.digest()] for (column, _), each in zip(named, columns, strict=True)]
        digest = digests.digest_of([rows if not is_part else first_rows, content])
        digest = f"first-{first_rows}-rows:{digest}" if is_part else digest
    return Dataset(
        name,
        digest=digest or "",
        source=source,
        source_type=source_type,
        schema=json_of(
            {"mlflow_colspec": schema}
            | ({"columns_left_out": left_out} if left_out else {})
            | ({} if targets is None else {"targets": plain(targets)})
        ),
        profile=json_of(profile),
    )


def _colspec(named: Sequence[tuple[str, str]], columns: Sequence[Column] | None) -> list[dict[str, Any]]:
    """The columns as MLflow writes them, with the type of the library as `dtype`."""
    if columns is None:
        return [{"name": name, "type": "any", "dtype": kind} for name, kind in named]
    return [
        {
            "name": name,
            "type": _TYPES.get(column.kind) or ("datetime" if _TIME.match(column.kind) else "any"),
            "required": not (column.profile and column.profile.nulls),
            "dtype": kind,
        }
        for (name, kind), column in zip(named, columns, strict=True)
    ]


def _frame(given: Any) -> Any:
    import pandas as pd

    if isinstance(given, pd.DataFrame):
        return given
    if isinstance(given, pd.Series):
        return given.to_frame()
    if hasattr(given, "to_pandas"):
        return given.to_pandas()
    return pd.DataFrame(given)


def _batches(table: Any) -> tuple[list[Any], Iterable[Any]]:
    """The columns and the batches of what Polars or PyArrow hold."""
    if hasattr(table, "collect") and not hasattr(table, "to_arrow"):
        raise InvalidArgument("a LazyFrame has no content yet; give what its collect() returns")
    if hasattr(table, "to_frame"):  # a Series of Polars
        table = table.to_frame()
    if hasattr(table, "to_arrow"):  # Polars
        import pyarrow as pa

        arrow = pa.table({str(at): each.to_arrow() for at, each in enumerate(table.get_columns())})
        table = arrow.rename_columns(table.columns)
    if hasattr(table, "to_batches") and hasattr(table, "schema"):  # Table, Dataset
        return list(table.schema), table.to_batches()
    if hasattr(table, "read_next_batch") or hasattr(table, "num_rows"):
        return list(table.schema), table if hasattr(table, "read_next_batch") else [table]
    raise InvalidArgument(f"{type(table).__name__} is no table of Polars or PyArrow")
