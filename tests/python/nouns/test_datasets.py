from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import modelry
from modelry import Client
from modelry._sdk.nouns.datasets import dataset_from
from modelry.errors import DatasetNotFound, InvalidArgument
from modelry.types import Dataset, DatasetInput


def test_a_dataset_is_logged_read_and_found(client: Client, unique: str) -> None:
    run_id = client.runs.create().run_id
    given = Dataset(name=unique, digest="d1", source="s3://b/k", source_type="s3", schema="{}", profile="[]")

    stored = client.datasets.log(run_id, [DatasetInput(given, "training")])[0]
    client.datasets.log(run_id, [DatasetInput(given, "training")])

    inputs = client.runs.get(run_id).datasets
    assert client.datasets.get(stored.dataset_id).schema == "{}"
    assert [(each.dataset.name, each.context) for each in inputs] == [(unique, "training")]
    assert [found.dataset_id for found in client.datasets.search(f"name = '{unique}'")] == [stored.dataset_id]
    with pytest.raises(DatasetNotFound):
        client.datasets.get("f" * 32)


def test_a_frame_is_described_and_its_digest_tells_contents_apart() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    dataset = modelry.data.from_pandas(frame, source="s3://bucket/frame.csv", targets="b", name="frame")
    same = modelry.data.from_pandas(frame.copy(), source="s3://bucket/frame.csv", targets="b", name="frame")
    other = modelry.data.from_pandas(frame.assign(a=[1, 3]), source="s3://bucket/frame.csv", targets="b", name="frame")

    assert (dataset.name, dataset.source_type, len(dataset.digest)) == ("frame", "s3", 16)
    assert json.loads(dataset.schema)["mlflow_colspec"][0] == {
        "name": "a",
        "type": "long",
        "required": True,
        "dtype": "int64",
    }
    assert json.loads(dataset.profile) == {
        "num_rows": 2,
        "num_elements": 4,
        "columns": {"a": {"nulls": 0, "min": 1, "max": 2, "mean": 1.5}, "b": {"nulls": 0, "distinct": 2}},
    }
    assert dataset.digest == same.digest != other.digest


def test_an_array_is_described() -> None:
    one = modelry.data.from_numpy(np.zeros((3, 2)), targets=np.ones(3), name="zeros", source="/tmp/zeros.npy")
    other = modelry.data.from_numpy(np.ones((3, 2)), targets=np.ones(3), name="zeros", source="/tmp/zeros.npy")

    assert json.loads(one.schema)["features"] == {"shape": [3, 2], "type": "float64"}
    assert one.source_type == "local"
    assert one.digest != other.digest


def test_datasets_of_other_libraries_are_taken_by_what_they_say() -> None:
    class Theirs:
        name, digest = "theirs", "abc"

        def to_dict(self) -> dict[str, object]:
            return {"source": {"uri": "x"}, "source_type": "http", "schema": None, "profile": '{"rows": 1}'}

    taken = dataset_from(Theirs())

    assert (taken.name, taken.digest, taken.source, taken.schema) == ("theirs", "abc", '{"uri": "x"}', "")
    with pytest.raises(InvalidArgument, match=r"modelry\.data\.from_pandas"):
        dataset_from(object())


def test_cells_that_cant_be_hashed_and_an_array_without_rows_have_a_digest_too() -> None:
    lists = [modelry.data.from_pandas(pd.DataFrame({"a": [[1], cell], "b": [1, 2]})) for cell in ([2], [2], [3])]
    numbers = [modelry.data.from_numpy(np.array(number)) for number in (4.0, 4.0, 5.0)]

    for same, again, other in (lists, numbers):
        assert same.digest == again.digest != other.digest


def test_a_table_of_very_many_columns_is_recorded_with_the_first_of_them(client: Client, unique: str) -> None:
    wide = pd.DataFrame(np.zeros((2, 30_000)), columns=[f"ENSG{number:011d}" for number in range(30_000)])
    run_id = client.runs.create().run_id
    described = dataset_from(modelry.data.from_pandas(wide, name=unique))
    stored = client.datasets.log(run_id, [DatasetInput(described)])[0]

    read = client.datasets.get(stored.dataset_id)
    schema = json.loads(read.schema)
    assert (schema["mlflow_colspec"][0]["name"], schema["mlflow_colspec"][0]["type"]) == ("ENSG00000000000", "double")
    assert len(schema["mlflow_colspec"]) + schema["columns_left_out"] == 30_000
    assert json.loads(read.profile)["num_elements"] == 60_000


def test_fields_that_are_too_long_are_cut_and_told(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    given = Dataset(name="n" * 600, digest="d" * 200, source="s" * 70_000, schema="ä" * 600_000, profile="x")
    run_id = client.runs.create().run_id
    stored = client.datasets.log(run_id, [DatasetInput(dataset_from(given))])[0]

    assert (len(stored.name), len(stored.digest), len(stored.source)) == (500, 64, 64_000)
    assert "left_out" in json.loads(client.datasets.get(stored.dataset_id).schema)
    assert len([text for text in caplog.messages if "is cut" in text]) == 4
