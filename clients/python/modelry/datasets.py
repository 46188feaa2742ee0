"""Datasets to log with a run: `modelry.data.from_pandas(frame, source="s3://bucket/iris.csv")`.

Recorded are the source of the data, a digest of its content, the columns and the size; never the data itself.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from modelry._sdk.values import signals
from modelry._sdk.values.arrays import array_of
from modelry._sdk.values.digests import digest_of
from modelry._sdk.values.plain import plain
from modelry._sdk.values.texts import said_of, text_of

__all__ = ["Dataset", "from_numpy", "from_pandas"]

log = logging.getLogger("modelry")

_LONGEST_SCHEMA = 500_000
"""The most characters of a schema; a server takes twice as many."""


class Dataset:
    """A dataset: a name, a digest, its source, its columns and its size. Schema and profile are JSON.

    Without a `digest`, one is computed from the content when it is first read.
    """

    def __init__(
        self,
        name: str,
        *,
        digest: str = "",
        source: str = "",
        source_type: str = "",
        schema: str = "",
        profile: str = "",
        content: Sequence[Any] = (),
    ) -> None:
        self.name = text_of(name)
        self.source = text_of(source or "")
        self.source_type = source_type or _source_type(self.source)
        self.schema = schema
        self.profile = profile
        self._digest = digest
        self._content = content

    @functools.cached_property
    def digest(self) -> str:
        """What distinguishes its content from other content: 16 hexadecimal characters if it is computed."""
        return self._digest or digest_of(f"{self.name}{self.source}{self.schema}{self.profile}", self._content)

    def to_dict(self) -> dict[str, str]:
        """Everything that is recorded, by name."""
        return {
            "name": self.name,
            "digest": self.digest,
            "source": self.source,
            "source_type": self.source_type,
            "schema": self.schema,
            "profile": self.profile,
        }

    def __repr__(self) -> str:
        return f"Dataset(name={self.name!r}, source={self.source!r})"


def from_pandas(
    df: Any, source: str = "", targets: str | None = None, name: str | None = None, digest: str | None = None
) -> Dataset:
    """Describes a pandas DataFrame, or what pandas makes one of: a Series, a table of another library, a dictionary.

    The digest covers its columns, its size and every cell, without the index. To save the time that this takes with
    many gigabytes, give a `digest` of your own. Of very many columns the schema has the first ones, and how many it
    leaves out. Nothing is raised: if the table can't be described, name and source are, with a warning.
    """
    try:
        frame = _frame(df)
    except Exception as problem:  # It may be the object of another library, which may raise anything.
        signals.pass_on(problem)
        return _undescribed(df, problem, name=name, source=source, digest=digest)
    schema = _within([{"name": text_of(column), "type": str(kind)} for column, kind in frame.dtypes.items()])
    if targets is not None:
        schema["targets"] = plain(targets)
    profile = {"num_rows": len(frame), "num_elements": int(frame.size)}
    return Dataset(
        name or "dataset",
        digest=digest or "",
        source=source,
        schema=json.dumps(schema),
        profile=json.dumps(profile),
        content=[frame],
    )


def from_numpy(
    features: Any, source: str = "", targets: Any = None, name: str | None = None, digest: str | None = None
) -> Dataset:
    """Describes a NumPy array and its targets; or tensors, nested lists, sparse matrices, and dictionaries of those.

    The digest covers shapes, types and every element; see `from_pandas`, also for what can't be described.
    """
    try:
        arrays = _named("features", features) | ({} if targets is None else _named("targets", targets))
    except Exception as problem:  # It may be the object of another library, which may raise anything.
        signals.pass_on(problem)
        return _undescribed(features, problem, name=name, source=source, digest=digest)
    schema = {named: {"shape": list(array.shape), "type": str(array.dtype)} for named, array in arrays.items()}
    first = next(iter(arrays.values()), None)
    size = {} if first is None else {"features_shape": list(first.shape), "features_size": int(first.size)}
    return Dataset(
        name or "dataset",
        digest=digest or "",
        source=source,
        schema=json.dumps(schema),
        profile=json.dumps(size),
        content=[part for array in arrays.values() for part in _parts(array)],
    )


def _frame(given: Any) -> Any:
    import pandas as pd

    if isinstance(given, pd.DataFrame):
        return given
    if isinstance(given, pd.Series):
        return given.to_frame()
    if hasattr(given, "to_pandas"):  # Polars, PyArrow
        return given.to_pandas()
    return pd.DataFrame(given)


def _within(columns: list[dict[str, str]]) -> dict[str, Any]:
    """The schema of as many columns as fit."""
    room, kept = _LONGEST_SCHEMA, 0
    for column in columns:
        room -= len(json.dumps(column)) + 2
        if room < 0:
            break
        kept += 1
    schema: dict[str, Any] = {"columns": columns[:kept]}
    return schema if kept == len(columns) else schema | {"columns_left_out": len(columns) - kept}


def _named(name: str, given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return {f"{name}.{text_of(key)}": _array(value) for key, value in given.items()}
    return {name: _array(given)}


def _array(given: Any) -> Any:
    return given.tocsr() if hasattr(given, "tocsr") else array_of(given)


def _parts(array: Any) -> list[Any]:
    """What the digest reads of an array, or of a sparse matrix of SciPy."""
    return [array.data, array.indices, array.indptr] if hasattr(array, "indptr") else [array]


def _undescribed(given: Any, problem: Exception, *, name: str | None, source: str, digest: str | None) -> Dataset:
    log.warning(
        "dataset %r: %s can't be described (%s: %.200s), so its digest leaves the content out; give a `digest`",
        *(name or "dataset", type(given).__name__, type(problem).__name__, said_of(problem)),
    )
    return Dataset(name or "dataset", digest=digest or "", source=source)


def _source_type(source: str) -> str:
    scheme, separator, _ = source.partition("://")
    if not source:
        return ""
    return {"https": "http"}.get(scheme, scheme) if separator else "local"
