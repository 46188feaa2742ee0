"""Arguments of `modelry.data` that can't be right are refused."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import modelry
from modelry.errors import InvalidArgument

FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": [0, 1]})


@pytest.mark.parametrize(
    "describe", [modelry.data.from_pandas, lambda df, **given: modelry.data.from_arrow(df, **given)]
)
@pytest.mark.parametrize("table", [FRAME, pa.table(FRAME)])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"first_rows": "10"}, "first_rows must be a whole number of rows, 1 or more, or None for all, not '10'"),
        ({"first_rows": 0}, "first_rows must be .* not 0"),
        ({"first_rows": True}, "first_rows must be .* not True"),
        ({"targets": "zz"}, "targets='zz' is no column; there are a, b"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_is_right(
    describe: Any, table: Any, given: dict[str, Any], said: str
) -> None:
    if describe is not modelry.data.from_pandas and table is FRAME:
        table = pa.RecordBatch.from_pandas(FRAME)

    with pytest.raises(InvalidArgument, match=said):
        describe(table, **given)


def test_what_is_right_is_taken() -> None:
    assert modelry.data.from_pandas(FRAME, targets="b", first_rows=1).digest.startswith("first-1-rows:")
    assert modelry.data.from_pandas(FRAME.rename(columns={"b": 7}), targets="7").targets == "7"
