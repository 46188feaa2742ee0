"""Datasets of Hugging Face's `datasets`."""

from __future__ import annotations

from typing import Any

from modelry._sdk.datasets import tables
from modelry._sdk.datasets.dataset import Dataset, json_of, require_first_rows, require_targets, undescribed
from modelry._sdk.values import signals
from modelry.errors import InvalidArgument


def from_huggingface(
    ds: Any,
    path: str | None = None,
    *,
    revision: str | None = None,
    targets: str | None = None,
    name: str | None = None,
    digest: str | None = None,
    first_rows: int | None = None,
) -> Dataset:
    """Describes a `datasets.Dataset`, with the rows that it selects, in their order; see `from_pandas`.

    `path` and `revision` are those of `load_dataset`; the object does not know the revision. The source is JSON, with
    configuration, split, version and fingerprint too. The fingerprint tells how the dataset was made, the digest what
    is in it. A table of Arrow with the same rows has the same digest. Default `name`: the path, or what the dataset is
    called. A DatasetDict is not one dataset: give one of its splits. A streaming dataset has no digest before it is
    read.
    """
    require_first_rows(first_rows)
    try:
        if isinstance(ds, dict):
            raise InvalidArgument(f"it has the splits {', '.join(map(repr, ds))}; give one of them as ds['train']")
        if not hasattr(ds, "with_format") or not hasattr(ds, "num_rows"):
            raise InvalidArgument("it is no datasets.Dataset with rows; load it without streaming")
        info = ds.info
        origin = {
            "path": path or info.dataset_name or "",
            "config_name": info.config_name or "",
            "split": str(ds.split or ""),
            "revision": revision or "",
            "version": str(info.version or ""),
            "fingerprint": ds._fingerprint,
        }
        schema = ds.features.arrow_schema
        batches = (batch for table in ds.with_format("arrow").iter(10_000) for batch in table.to_batches())
        found = tables.of_batches(
            [(field, str(kind.dtype if hasattr(kind, "dtype") else kind)) for field, kind in ds.features.items()],
            *(list(schema), batches),
            name=name or path or info.dataset_name,
            source=json_of({key: value for key, value in origin.items() if value}),
            source_type="hugging_face",
            digest=digest,
            targets=targets,
            first_rows=first_rows,
        )
    except Exception as problem:  # It may be the object of another library, which may raise anything.
        signals.pass_on(problem)
        return undescribed(ds, problem, name=name or path, source=path or "", digest=digest)
    require_targets(targets, list(ds.features))
    return found.holding(ds, targets)
