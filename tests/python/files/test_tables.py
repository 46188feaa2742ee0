"""Tables come back as they were logged, and MLflow reads them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from modelry._sdk.files.tables import checked, frame_of, images_apart, of_table, table_of
from modelry.errors import InvalidArgument, PathInvalid

TABLE = pd.DataFrame(
    {
        "text": ["007", "2024-01-01", "ü"],
        "number": [1e-17, 0.1 + 0.2, float("nan")],
        "whole": [2**62 + 1, -1, 0],
        "yes": [True, False, True],
        "nested": [[1, {"a": None}], {"b": [2.5]}, None],
    }
)


def again(frame: Any, path: str = "a.json", before: bytes | None = None) -> pd.DataFrame:
    return table_of(of_table(frame, path, before)[0], path)


def test_a_table_comes_back_as_it_was() -> None:
    pd.testing.assert_frame_equal(again(TABLE), TABLE)


def test_mlflow_reads_the_same_table_and_ours_reads_that_of_mlflow(tmp_path: Any) -> None:
    plain = TABLE.assign(number=[0.5, 0.25, None], whole=[1, 2, 3])
    (tmp_path / "a.json").write_bytes(of_table(plain, "a.json")[0])
    plain.to_json(tmp_path / "b.json", orient="split", index=False, date_format="iso")  # as MLflow writes it

    pd.testing.assert_frame_equal(
        pd.read_json(tmp_path / "a.json", orient="split"), pd.read_json(tmp_path / "b.json", orient="split")
    )
    pd.testing.assert_frame_equal(table_of((tmp_path / "b.json").read_bytes(), "b.json"), plain)


def test_appending_changes_nothing_of_what_is_there_and_may_add_columns() -> None:
    first, _ = of_table(pd.DataFrame({"a": ["007"], "b": [2**62 + 1]}), "a.json")

    second, _ = of_table(pd.DataFrame({"c": [1.5], "a": ["x"]}), "a.json", first)

    assert json.loads(second) == {"columns": ["a", "b", "c"], "data": [["007", 2**62 + 1, None], ["x", None, 1.5]]}


@pytest.mark.parametrize(
    ("cells", "kept"),
    [
        (pd.Series([1, None], dtype="Int64"), [1, None]),
        (pd.to_datetime(pd.Series(["2024-01-01 10:00:00.123456", None])), ["2024-01-01T10:00:00.123456", None]),
        (pd.to_datetime(pd.Series(["2024-01-01"])).dt.tz_localize("Europe/Berlin"), ["2024-01-01T00:00:00+01:00"]),
        (pd.Series(["a", "b"], dtype="category"), ["a", "b"]),
        (pd.Series([np.float32(0.5), np.inf]), [0.5, None]),
        (pd.Series([np.arange(2), [float("nan")]]), [[0, 1], [None]]),
        (pd.Series([{"a": np.int64(1)}, {1, 2}], dtype=object), [{"a": 1}, [1, 2]]),
        (pd.to_timedelta(pd.Series(["1 day"])), ["P1DT0H0M0S"]),
    ],
)
def test_cells_of_all_kinds_become_what_json_has(cells: Any, kept: list[Any]) -> None:
    content, _ = of_table(pd.DataFrame({"a": cells}), "a.json")

    assert [row[0] for row in json.loads(content)["data"]] == kept


def test_parquet_keeps_types_and_appends() -> None:
    frame = pd.DataFrame({"a": pd.to_datetime(["2024-01-01"]), "b": ["007"]})

    twice = again(frame, "a.parquet", of_table(frame, "a.parquet")[0])

    pd.testing.assert_frame_equal(twice, pd.concat([frame, frame], ignore_index=True))


def test_tables_may_be_dictionaries_and_lists_of_rows() -> None:
    assert frame_of({"a": [1, 2], "b": "x"}).to_dict("list") == {"a": [1, 2], "b": ["x", "x"]}
    assert frame_of({"a": 1, "b": "x"}).to_dict("list") == {"a": [1], "b": ["x"]}
    assert frame_of([{"a": 1}, {"a": 2}]).to_dict("list") == {"a": [1, 2]}
    with pytest.raises(InvalidArgument, match="not ndarray"):
        frame_of(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="same length"):
        frame_of({"a": [1, 2], "b": [1]})


def test_images_in_cells_become_files_beside_the_table() -> None:
    frame = pd.DataFrame({"image": [Image.new("RGB", (300, 10), "red"), None], "label": ["a", "b"]})

    table, files = images_apart(frame, "deep/a.json")

    first, second = table["image"]
    assert (first["type"], second) == ("image", None)
    assert sorted(files) == sorted([first["filepath"], first["compressed_filepath"]])
    assert first["filepath"].startswith("table_images/deep/a/")
    assert again(table)["image"][0] == first
    assert isinstance(frame["image"][0], Image.Image)


def test_what_would_be_lost_is_told() -> None:
    indexed = pd.DataFrame({"a": [1]}, index=pd.Index(["x"], name="id"))

    assert "reset_index" in of_table(indexed, "a.json")[1]
    assert of_table(TABLE, "a.json")[1] == ""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "other JSON"),
        (b'{"columns":["a"],"data":[[1,2]]}', "other"),
    ],
)
def test_what_is_no_table_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        table_of(content, "a.json")


def test_names_that_can_t_be_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"\.json or \.parquet"):
        checked("a.csv")
    with pytest.raises(PathInvalid):
        checked("../a.json")
    with pytest.raises(InvalidArgument, match="two columns of the table are named '1'"):
        of_table(pd.DataFrame([[1, 2]], columns=[1, "1"]), "a.json")
    with pytest.raises(InvalidArgument, match="Parquet"):
        of_table(pd.DataFrame({"a": [1, "x"]}), "a.parquet")
