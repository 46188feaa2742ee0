"""What signatures are inferred from, and what a loaded model then takes."""

from __future__ import annotations

import datetime
import decimal
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow.models.signature
import mlflow.types.utils
import numpy
import pandas
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.models import ModelSignature

import modelry.pyfunc
from modelry._sdk.schemas import enforcing
from modelry.errors import InvalidArgument
from modelry.models import infer_signature

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*type hint:UserWarning"),
    pytest.mark.filterwarnings("ignore:Hint. Inferred schema contains integer:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*input example:UserWarning"),
    pytest.mark.filterwarnings("ignore:Series.values returning an ndarray"),  # MLflow asks zoned times for it
]

NOW = datetime.datetime.fromisoformat("2026-01-31T08:15")
COLUMNS: dict[str, Any] = {
    "whole": [1, 2, 3],
    "short": numpy.array([1, 2, 3], "int8"),
    "unsigned": numpy.array([1, 2, 3], "uint32"),
    "half": numpy.array([1, 2, 3], "float16"),
    "float": numpy.array([1, numpy.nan, 3], "float32"),
    "number": [1.5, None, 3.0],
    "nullable": pandas.array([1, None, 3], "Int64"),
    "nullable_short": pandas.array([1, None, 3], "Int8"),
    "nullable_full": pandas.array([1, 2, 3], "Int64"),
    "nullable_float": pandas.array([1.5, None, 3], "Float64"),
    "switch": [True, False, True],
    "nullable_switch": pandas.array([True, None, False], "boolean"),
    "text": ["a", "b", "c"],
    "text_missing": ["a", None, "c"],
    "text_object": pandas.Series(["a", None, "c"], dtype=object),
    "objects": pandas.Series([1, None, 3], dtype=object),
    "category": pandas.Categorical(["a", "b", None]),
    "category_of_numbers": pandas.Categorical([1, 2, 1]),
    "bytes": [b"a", b"bc", b""],
    "time": pandas.to_datetime(["2026-01-31", None, "2026-02-01"]),
    "time_zone": pandas.to_datetime(["2026-01-31", None, "2026-02-01"]).tz_localize("Europe/Berlin"),
    "second": pandas.to_datetime(["2026-01-31", "2026-02-01", "2026-02-02"]).as_unit("s"),
    "moment": pandas.Series([NOW, NOW, NOW], dtype=object),
    "date": pandas.Series([NOW.date()] * 3, dtype=object),
    "nothing": [None, None, None],
    "ragged": [[1, 2], [3], []],
    "vectors": [numpy.array([1.0, 2.0]), numpy.array([3.0]), numpy.array([4.0])],
    "object": [{"a": 1, "b": "x"}, {"a": 2}, {"a": 3, "b": "y"}],
    "nested": [{"a": [{"b": 1.5}]}, {"a": []}, {"a": [{"b": 2.5}, {"b": 3.5}]}],
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_has_the_type_that_mlflow_infers_and_is_taken_again(name: str) -> None:
    frame = pandas.DataFrame({name: COLUMNS[name]})

    inputs = infer_signature(frame).inputs
    ready = enforcing.fitted(frame, inputs)

    assert inputs == mlflow.types.utils._infer_schema(frame)
    assert list(ready.columns) == [name]
    assert len(ready) == 3


values = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_infinity=False), st.text(max_size=3),
    st.binary(max_size=3), st.datetimes(), st.dates(),
)  # fmt: skip
DTYPES = ["int8", "int32", "int64", "uint8", "uint16", "uint32", "float16", "float32", "float64", "Int32", "Float32"]
objects = st.builds(
    lambda kind, rows: pandas.Series([rows[0]] * 3 if kind else rows, dtype=object),
    st.booleans(),
    st.lists(values, min_size=3, max_size=3),
)
numbers = st.builds(
    lambda dtype, rows: pandas.Series(rows).astype(dtype),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 100), min_size=3, max_size=3),
)
series = st.one_of(objects, numbers, st.sampled_from([pandas.Series(each) for each in COLUMNS.values()]))
frames = st.lists(series, min_size=1, max_size=6).map(lambda each: pandas.DataFrame(dict(enumerate(each))))


@given(frame=frames)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_schema_of_a_frame_is_mlflows_or_refused_where_mlflow_refuses(frame: pandas.DataFrame) -> None:
    try:
        expected = mlflow.types.utils._infer_schema(frame)
    except Exception:
        with pytest.raises(InvalidArgument, match=r"the column '[0-9]' of the input"):
            infer_signature(frame)
        return

    inputs = infer_signature(frame).inputs

    assert inputs == expected
    assert len(enforcing.fitted(frame, inputs)) == len(frame)


@given(frame=frames, other=frames)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_mlflow_takes_is_taken_and_converted_alike(frame: pandas.DataFrame, other: pandas.DataFrame) -> None:
    from mlflow.models.utils import _enforce_schema

    try:
        schema = mlflow.types.utils._infer_schema(frame)
        expected = _enforce_schema(other, schema)
    except Exception:
        return

    pandas.testing.assert_frame_equal(enforcing.fitted(other, schema), expected)


OTHER_DATA: dict[str, Any] = {
    "array": numpy.arange(6.0).reshape(3, 2),
    "ragged array": numpy.array([[1], [1, 2]], dtype=object),
    "array of texts": numpy.array(["a", "bc"]),
    "arrays": {"a": numpy.zeros((2, 3), "float32"), "b": numpy.array([1, 2])},
    "sparse rows": scipy.sparse.csr_matrix(numpy.eye(3)),
    "sparse columns": scipy.sparse.csc_matrix(numpy.eye(3)),
    "series": pandas.Series([1, 2], name="a"),
    "series without a name": pandas.Series([1.5, 2]),
    "text": "one sentence",
    "number": 1.5,
    "texts": ["one", "two"],
    "numbers": [1, 2, 3],
    "lists": [[1, 2], [3]],
    "rows": [{"a": 1, "b": "x"}, {"a": 2}, {"b": None, "a": 3}],
    "rows with a gap": [{"a": 1, "n": 1}, {"a": 2, "n": None}, {"a": 3}],
    "nested rows": [{"a": {"b": [1, 2]}}, {"a": {"b": []}}],
    "dict": {"a": 1.5, "b": "x"},
    "dict of lists": {"ids": [1, 2, 3], "name": "x"},
    "dict of texts": {"a": ["x", "y"], "b": "z"},
    "times": [NOW, NOW],
    "frame of numbered columns": pandas.DataFrame([[1, 2.5], [3, 4.5]]),
    "frame without rows": pandas.DataFrame({"a": pandas.Series([], dtype="float64")}),
}


@pytest.mark.parametrize("kind", OTHER_DATA)
def test_other_data_are_described_as_by_mlflow_and_taken_again(kind: str) -> None:
    data = OTHER_DATA[kind]

    inputs = infer_signature(data).inputs

    assert inputs == mlflow.types.utils._infer_schema(data)
    assert enforcing.fitted(data, inputs) is not None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pandas.DataFrame({"n": numpy.array([1], "uint64")}), ["column 'n'", "uint64", "cast it to int64"]),
        (pandas.DataFrame({"d": pandas.to_timedelta(["1s"])}), ["column 'd'", "timedelta64", "total_seconds"]),
        (pandas.DataFrame({"p": [decimal.Decimal("1.5")]}), ["column 'p'", "'1.5'", "float64, or to texts"]),
        (pandas.DataFrame({"z": [1j]}), ["column 'z'", "complex128", "two columns"]),
        (pandas.DataFrame({"m": pandas.Series([1, "x"], dtype=object)}), ["column 'm'", "one type"]),
        (pandas.DataFrame({"p": pandas.period_range("2026", periods=2, freq="M")}), ["'p'", "to_timestamp"]),
        (pandas.DataFrame([[1, 2]], columns=["a", "a"]), ["several columns", "'a'"]),
        (
            pandas.DataFrame([[1, 2]], columns=pandas.MultiIndex.from_tuples([("a", 1), ("a", 2)])),
            ["2 levels", "'_'.join"],
        ),
        (pandas.DataFrame(), ["no columns"]),
        (pandas.Series([1.5, None]), ["needs a name"]),
        (scipy.sparse.coo_matrix(numpy.eye(2)), ["format coo", ".tocsr()"]),
        (numpy.array(1.5), ["without dimensions"]),
        ({1: "x"}, ["keys are not all texts"]),
        ([], ["empty list"]),
        ((1, 2), ["of type tuple", "give a list"]),
        ({"a": decimal.Decimal(1)}, ["'a' of the input", "Decimal", "float64"]),
        ([{"a": 1}, {"a": "x"}], ["'a' of the input", "one type"]),
        ([1, "x"], ["one type"]),
        (Path("x"), ["of type PosixPath", "give"]),
    ],
)
def test_data_without_a_signature_are_refused_with_advice(data: Any, words: list[str]) -> None:
    with pytest.raises(InvalidArgument) as raised:
        infer_signature(data)

    assert raised.value.reason == "SIGNATURE_NOT_INFERRED"
    assert [word for word in words if word not in raised.value.message] == []


def test_a_param_without_a_type_is_named() -> None:
    signature = infer_signature([1.5], [1.5], {"k": 3, "words": ["a"], "since": NOW})

    with pytest.raises(InvalidArgument, match=r"the param 'k'.*'None'.*give a number"):
        infer_signature([1.5], params={"other": 1, "k": None})

    assert [param.name for param in signature.params.params] == ["k", "words", "since"]


class Same(modelry.pyfunc.PythonModel):
    """Gives back what it gets."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return (model_input, params) if params else model_input


def loaded(folder: Path, data: Any, params: dict[str, Any] | None = None) -> Any:
    modelry.pyfunc.save_model(folder, python_model=Same(), signature=infer_signature(data, params=params))
    return modelry.pyfunc.load_model(folder)


def test_a_model_says_which_columns_do_not_fit_and_what_was_expected(tmp_path: Path) -> None:
    model = loaded(
        tmp_path / "model",
        pandas.DataFrame(
            {
                "age": [1, 2], "price": [1.5, 2.5], "born": pandas.to_datetime(["2026", "2025"]),
                "tags": [["a"], ["b"]], "fit": [True, False],
            }
        ),
    )  # fmt: skip

    with pytest.raises(InvalidArgument) as raised:
        model.predict(
            pandas.DataFrame(
                {"age": [1, None], "price": ["x", "y"], "born": ["1.1.", "2.1."], "tags": [["a"], [7]], "fit": [0, 1]}
            )
        )

    message = raised.value.message
    assert raised.value.reason == "INPUT_REFUSED"
    for part in (
        "the column 'age': expected long (int64), got float64 such as '1.0'; 1 of 2 rows have no value",
        "the column 'price': expected double (float64), got str such as 'x'; give numbers",
        "the column 'born': expected datetime (datetime64[ns]), got str such as '1.1.'; give times",
        "the column 'tags': expected Array(string), got in row 1 '[7]'",
        "the column 'fit': expected boolean (bool), got int64 such as '0'; give True and False",
    ):
        assert part in message, message


@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")
def test_a_column_of_pandas_is_an_example_of_its_signature(tmp_path: Path) -> None:
    column = pandas.Series([1, 2], name="minutes")

    modelry.pyfunc.save_model(
        tmp_path / "model",
        python_model=Same(),
        signature=infer_signature(column),
        input_example=column,
        pip_requirements=[],
    )

    answer: Any = modelry.pyfunc.load_model(tmp_path / "model").predict(column)
    assert answer["minutes"].tolist() == [1, 2]


def test_missing_and_unknown_columns_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = loaded(tmp_path / "model", pandas.DataFrame({"a": [1.0, 2.0], "b": [1.0, None], "c": [1.0, 2.0]}))

    with pytest.raises(InvalidArgument, match=r"missing column 'a'; the input has 'A', which"):
        model.predict(pandas.DataFrame({"A": [1.0], "c": [2.0]}))
    answer = model.predict(pandas.DataFrame({"c": [2.0], "z": [1], "a": [1.0]}))

    assert list(answer.columns) == ["a", "c"]  # b is optional
    assert "does not get the columns 'z'" in caplog.text


def test_a_message_does_not_hold_all_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(tmp_path / "model", pandas.DataFrame({"a": [1.0, 2.0]}))
    frame = pandas.DataFrame({"a": [f"secret {at}" * 100 for at in range(10_000)]})

    with pytest.raises(InvalidArgument) as shown:
        model.predict(frame)
    monkeypatch.setenv("MLFLOW_DISABLE_SCHEMA_DETAILS", "true")
    with pytest.raises(InvalidArgument) as hidden:
        model.predict(frame)

    assert len(shown.value.message) < 400
    assert "secret" not in hidden.value.message


def test_whole_numbers_with_missing_values_reach_a_model_as_they_are(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"n": COLUMNS["nullable"], "at": COLUMNS["time_zone"], "kind": COLUMNS["category"]})
    model = loaded(tmp_path / "model", frame)

    pandas.testing.assert_frame_equal(model.predict(frame), frame)


def test_tensors_that_do_not_fit_are_named(tmp_path: Path) -> None:
    one = loaded(tmp_path / "one", numpy.zeros((2, 3), "float32"))
    two = loaded(tmp_path / "two", {"a": numpy.zeros((2, 3), "float32"), "b": numpy.zeros(2)})

    with pytest.raises(InvalidArgument, match=r"dtype of input float64 does not match expected dtype float32"):
        one.predict(numpy.zeros((2, 3)))
    with pytest.raises(InvalidArgument, match=r"the tensor 'a': Shape of input \(2, 4\).*; missing tensor 'b'"):
        two.predict({"a": numpy.zeros((2, 4), "float32")})
    with pytest.raises(InvalidArgument, match=r"the tensor 'b': expected an array of float64, got list"):
        two.predict({"a": numpy.zeros((2, 3), "float32"), "b": [1.0, 2.0]})


def test_params_that_do_not_fit_are_named(tmp_path: Path) -> None:
    model = loaded(tmp_path / "model", pandas.DataFrame({"a": [1.0]}), {"k": 3})

    with pytest.raises(InvalidArgument, match=r"the params: .*'k'"):
        model.predict(pandas.DataFrame({"a": [1.0]}), params={"k": "x"})

    assert model.predict(pandas.DataFrame({"a": [1.0]}), params={"k": 5})[1] == {"k": 5}


def test_mlflow_reads_our_signatures_and_we_read_those_of_mlflow(tmp_path: Path) -> None:
    frame = pandas.DataFrame(COLUMNS)
    ours = infer_signature(frame, numpy.zeros(3), {"k": 3})
    modelry.pyfunc.save_model(tmp_path / "ours", python_model=Same(), signature=ours)
    theirs = mlflow.models.signature.infer_signature(frame, numpy.zeros(3), {"k": 3})
    mlflow.pyfunc.save_model(
        str(tmp_path / "theirs"), python_model=Same(), signature=theirs, pip_requirements=["cloudpickle"]
    )

    read = json.loads(
        subprocess.run(
            [
                sys.executable, "-W", "ignore", "-c",
                "import sys, json; sys.modules['modelry'] = None; from mlflow.models import Model\n"
                "print(json.dumps(Model.load(sys.argv[1]).signature.to_dict()))",
                str(tmp_path / "ours"),
            ],
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout
    )  # fmt: skip
    back = modelry.pyfunc.load_model(tmp_path / "theirs").metadata.signature

    assert ModelSignature.from_dict(read) == ours == theirs == back


@pytest.mark.parametrize(
    ("given", "comes"),
    [
        *(("int8", "int32"), ("int16", "int32"), ("uint8", "int32"), ("uint16", "int32"), ("uint32", "int64")),
        *(("float16", "float32"), ("int32", "int32"), ("int64", "int64"), ("float32", "float32"), ("bool", "bool")),
    ],
)
def test_numbers_of_fewer_bits_come_as_the_type_of_the_signature(given: str, comes: str) -> None:
    rows = pandas.DataFrame({"a": numpy.array([0, 1], given)})

    ready = enforcing.fitted(rows, infer_signature(rows).inputs)

    assert str(ready["a"].dtype) == comes
    assert ready["a"].tolist() == [0, 1]
    assert str(rows["a"].dtype) == given
