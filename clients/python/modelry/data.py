"""Datasets to log with a run: `modelry.data.from_pandas(frame, source="s3://bucket/iris.csv")`.

Recorded are the source of the data, a digest of its content, the columns and the size; never the data itself. What
describes data in memory (`from_pandas`, `from_polars`, `from_arrow`, `from_numpy`, `from_huggingface`) warns and raises
nothing. What reads data (`from_files`, `from_sql`, `from_dvc`) raises typed errors; `log_input` with a path tells them.
"""

from __future__ import annotations

from modelry._sdk.datasets.arrays import from_numpy
from modelry._sdk.datasets.dataset import Dataset
from modelry._sdk.datasets.dvc import from_dvc
from modelry._sdk.datasets.files import from_files
from modelry._sdk.datasets.hub import from_huggingface
from modelry._sdk.datasets.queries import from_sql
from modelry._sdk.datasets.tables import from_arrow, from_pandas, from_polars

__all__ = [
    "Dataset",
    "from_arrow",
    "from_dvc",
    "from_files",
    "from_huggingface",
    "from_numpy",
    "from_pandas",
    "from_polars",
    "from_sql",
]
