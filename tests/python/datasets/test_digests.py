"""Every cell of a table or an array counts in its digest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import modelry

ROWS = 30_000


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "number": np.arange(float(ROWS)),
            "word": ["a"] * ROWS,
            "mixed": [1, "1"] * (ROWS // 2),
            "vector": [np.zeros(2000)] * 10 + [None] * (ROWS - 10),
            "kind": pd.Categorical(["x", "y"] * (ROWS // 2)),
            "time": pd.date_range("2026-01-01", periods=ROWS, freq="s", tz="UTC"),
            "maybe": pd.array([1, None] * (ROWS // 2), "Int64"),
        }
    )


@pytest.mark.parametrize(
    ("column", "row", "value"),
    [
        ("number", 17_001, -1.0),
        ("word", 17_001, "b"),
        ("mixed", 17_001, 1),
        ("kind", 17_001, "x"),
        ("time", 17_001, pd.Timestamp("2027-01-01", tz="UTC")),
        ("maybe", 17_001, 2),
        ("vector", 5, np.concatenate([np.zeros(1000), [1.0], np.zeros(999)])),
    ],
)
def test_a_changed_cell_changes_the_digest_of_a_table(column: str, row: int, value: Any) -> None:
    changed = frame()
    changed.at[row, column] = value

    assert modelry.data.from_pandas(frame()).digest == modelry.data.from_pandas(frame()).digest
    assert modelry.data.from_pandas(changed).digest != modelry.data.from_pandas(frame()).digest


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((50_000, 2)),
        np.asfortranarray(np.zeros((50_000, 2))),
        np.zeros(50_000, np.uint8),
        np.zeros(50_000, "datetime64[ns]"),
        np.array(["a"] * 50_000),
        np.array(["a"] * 50_000, object),
    ],
)
def test_a_changed_element_changes_the_digest_of_an_array(array: Any) -> None:
    changed = array.copy()
    changed[33_333] = np.ones((), array.dtype) if array.dtype.kind not in "UO" else "b"

    assert modelry.data.from_numpy(array).digest == modelry.data.from_numpy(array.copy()).digest
    assert modelry.data.from_numpy(array).digest != modelry.data.from_numpy(changed).digest


def test_the_layout_of_an_array_in_memory_does_not_count() -> None:
    array = np.arange(6.0).reshape(2, 3)

    assert modelry.data.from_numpy(array).digest == modelry.data.from_numpy(np.asfortranarray(array)).digest


@pytest.mark.parametrize("given", [[[1, 2]], {"a": [1], "b": [[2]]}, 5, [[1], [2, 3]], "text", None])
def test_what_is_no_array_is_described_or_told_and_raises_nothing(given: Any) -> None:
    dataset = modelry.data.from_numpy(given, source=None)  # type: ignore[arg-type]

    assert len(dataset.digest) == 16


@pytest.mark.parametrize("given", [{"a": [1]}, [{"a": 1}], pd.Series([1], name="a"), np.ones((1, 1)), 5, "text"])
def test_what_is_no_table_is_described_or_told_and_raises_nothing(given: Any, caplog: pytest.LogCaptureFixture) -> None:
    dataset = modelry.data.from_pandas(given)

    assert len(dataset.digest) == 16
    assert bool(dataset.schema) != any("can't be described" in text for text in caplog.messages)
