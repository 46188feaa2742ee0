"""What `log_input` takes beside a dataset: tables, arrays, paths and datasets of Hugging Face."""

from __future__ import annotations

import os
from typing import Any

from modelry._sdk.datasets.arrays import from_numpy
from modelry._sdk.datasets.dataset import Dataset
from modelry._sdk.datasets.dvc import from_dvc
from modelry._sdk.datasets.files import from_files
from modelry._sdk.datasets.hub import from_huggingface
from modelry._sdk.datasets.sources import without_credentials
from modelry._sdk.datasets.tables import from_arrow, from_pandas
from modelry._sdk.values.arrays import is_array
from modelry.errors import InvalidArgument


def described(given: Any) -> Dataset | None:
    """The dataset of an object of a library or of a path. None if it is no such thing.

    A path is described by `from_files`, the path of a `.dvc` file by `from_dvc`, whose errors it raises.
    """
    library = type(given).__module__.partition(".")[0]
    if isinstance(given, str | os.PathLike):
        path = os.fspath(given)
        if isinstance(path, str) and "://" in path:
            shown = without_credentials(path)
            raise InvalidArgument(
                f"{shown!r} is not opened; read it, and log modelry.data.from_pandas(..., source={shown!r})"
            )
        return from_dvc(path) if os.fsdecode(path).endswith(".dvc") else from_files(path)
    if library == "datasets" and hasattr(given, "features"):
        return from_huggingface(given)
    if library == "pyarrow" and hasattr(given, "read_next_batch"):
        raise InvalidArgument("a reader is used up when it is read; describe it with modelry.data.from_arrow(...)")
    if library in ("polars", "pyarrow"):
        return from_arrow(given)
    if hasattr(given, "iloc"):
        return from_pandas(given)
    return from_numpy(given) if is_array(given) or hasattr(given, "tocsr") else None
