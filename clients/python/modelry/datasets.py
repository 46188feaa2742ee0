"""Datasets to log with a run: `modelry.data.from_pandas(frame, source="s3://bucket/iris.csv")`.

Recorded are the source of the data, a digest of its content, the columns and the size; never the data itself.
"""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any

__all__ = ["Dataset", "from_numpy", "from_pandas"]

_ROWS_OF_DIGEST = 10_000


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
        content: Any = None,
    ) -> None:
        self.name = name
        self.source = source
        self.source_type = source_type or _source_type(source)
        self.schema = schema
        self.profile = profile
        self._digest = digest
        self._content = content

    @functools.cached_property
    def digest(self) -> str:
        """What distinguishes its content from other content: 16 hexadecimal characters if it is computed."""
        return self._digest or _digest_of(self._content, f"{self.name}{self.source}{self.schema}{self.profile}")

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
    """Describes a pandas DataFrame. The digest covers its columns, its size and up to 10,000 evenly spread rows."""
    columns = [{"name": str(column), "type": str(kind)} for column, kind in df.dtypes.items()]
    schema: dict[str, Any] = {"columns": columns}
    if targets is not None:
        schema["targets"] = targets
    profile = {"num_rows": len(df), "num_elements": int(df.size)}
    return Dataset(
        name or "dataset",
        digest=digest or "",
        source=source,
        schema=json.dumps(schema),
        profile=json.dumps(profile),
        content=df,
    )


def from_numpy(
    features: Any, source: str = "", targets: Any = None, name: str | None = None, digest: str | None = None
) -> Dataset:
    """Describes a NumPy array and its targets. The digest covers shapes, types and up to 10,000 evenly spread rows."""
    schema: dict[str, Any] = {"features": {"shape": list(features.shape), "type": str(features.dtype)}}
    profile = {"features_shape": list(features.shape), "features_size": int(features.size)}
    if targets is not None:
        schema["targets"] = {"shape": list(targets.shape), "type": str(targets.dtype)}
    return Dataset(
        name or "dataset",
        digest=digest or "",
        source=source,
        schema=json.dumps(schema),
        profile=json.dumps(profile),
        content=(features, targets),
    )


def _digest_of(content: Any, described: str) -> str:
    digest = hashlib.sha256(described.encode(errors="replace"))
    for part in content if isinstance(content, tuple) else (content,):
        if part is not None:
            rows = part[:: max(1, len(part) // _ROWS_OF_DIGEST)] if part.ndim else part
            digest.update(_bytes_of(rows))
    return digest.hexdigest()[:16]


def _bytes_of(rows: Any) -> bytes:
    if hasattr(rows, "columns"):
        import pandas as pd

        try:
            hashes = pd.util.hash_pandas_object(rows, index=False)
        except TypeError:  # A cell that can't be hashed, such as a list.
            hashes = pd.util.hash_pandas_object(rows.apply(lambda column: column.map(repr)), index=False)
        return bytes(hashes.to_numpy().tobytes())
    return bytes(rows.tobytes()) if rows.dtype != object else repr(rows.tolist()).encode()


def _source_type(source: str) -> str:
    scheme, separator, _ = source.partition("://")
    if not source:
        return ""
    return {"https": "http"}.get(scheme, scheme) if separator else "local"
