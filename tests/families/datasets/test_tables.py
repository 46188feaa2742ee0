"""Tables of Polars and datasets of Hugging Face."""

from __future__ import annotations

import datetime
import json
from typing import Any

import datasets
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import modelry
from modelry import Client

CELLS: dict[str, list[Any]] = {
    "number": [1, 2, None],
    "share": [0.5, None, float("nan")],
    "word": ["a", None, "ü"],
    "flag": [True, False, None],
    "time": [
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        None,
        datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC),
    ],
    "list": [[1, 2], None, []],
    "member": [{"a": 1, "b": "x"}, {"a": None, "b": "y"}, None],
}


def test_tables_of_equal_content_have_one_digest() -> None:
    frame = pl.DataFrame(CELLS, strict=False)
    arrow = frame.to_arrow()
    cut = pa.concat_tables([arrow.slice(0, 1), arrow.slice(1)])

    digest = modelry.data.from_polars(frame).digest

    assert [modelry.data.from_arrow(each).digest for each in (arrow, cut, cut.to_reader(1))] == [digest] * 3
    assert modelry.data.from_polars(frame.with_columns(pl.col("word").cast(pl.Categorical))).digest == digest
    assert modelry.data.from_polars(frame.rechunk().vstack(frame[:0])).digest == digest


@pytest.mark.parametrize("column", CELLS)
def test_a_changed_cell_changes_the_digest(column: str) -> None:
    frame = pl.DataFrame(CELLS, strict=False)
    changed = frame.with_columns(pl.col(column).reverse())

    assert modelry.data.from_polars(changed).digest != modelry.data.from_polars(frame).digest


def test_pandas_polars_and_hugging_face_agree_where_they_have_the_same_types() -> None:
    cells = {"number": [1, 2, 3], "share": [0.5, 1.5, 2.5], "word": ["a", "b", "ü"], "flag": [True, False, True]}
    hub = datasets.Dataset.from_dict(cells)

    described = [
        modelry.data.from_pandas(pd.DataFrame(cells)),
        modelry.data.from_polars(pl.DataFrame(cells)),
        modelry.data.from_huggingface(hub, "org/words", revision="abc"),
    ]

    assert len({each.digest for each in described}) == 1
    assert len({each.profile for each in described}) == 1
    source = json.loads(described[2].source)
    assert (source["path"], source["revision"], source["fingerprint"]) == ("org/words", "abc", hub._fingerprint)
    assert modelry.data.from_huggingface(hub.select([2, 1])).digest != described[2].digest


def test_an_unread_table_is_told(caplog: pytest.LogCaptureFixture) -> None:
    modelry.data.from_polars(pl.LazyFrame({"a": [1]}))
    modelry.data.from_huggingface(datasets.DatasetDict(train=datasets.Dataset.from_dict({"a": [1]})))

    assert "collect()" in caplog.messages[0]
    assert "ds['train']" in caplog.messages[1]


@pytest.mark.usefixtures("fluent")
def test_a_run_takes_the_objects_themselves(client: Client) -> None:
    with modelry.start_run() as run:
        modelry.log_input(pl.DataFrame({"a": [1]}), "polars")
        modelry.log_input(datasets.Dataset.from_dict({"a": [1]}), "hub")

    assert [each.context for each in client.runs.get(run.run_id).datasets] == ["hub", "polars"]
