"""The schema of data: what MLflow's own code infers, found faster, or refused with the column and with advice.

MLflow looks at each value of a frame on its own, which takes 7 s for 100 rows of 30,000 columns, and answers data that
it can't describe with a schema that allows anything. Here the types of columns are read from the frame, and only
columns of objects are walked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from modelry._sdk.schemas import advice
from modelry._sdk.schemas.borrowed import mlflow_module
from modelry._sdk.values import signals
from modelry._sdk.values.arrays import array_of
from modelry._sdk.values.texts import text_of
from modelry.errors import InvalidArgument

_ADVICE = {
    "c": "give the real and the imaginary part as two columns",
    "m": "give a number, such as .dt.total_seconds()",
    "u": "cast it to int64 if its numbers are below 2**63, else to float64",
    "f": "cast it to float64",
}
"""What to do with types that the format does not have, by their kind in NumPy."""

_ADVICE_FOR_OBJECTS = {
    "complex": _ADVICE["c"],
    "date": "cast it to datetime64[ns]",
    "decimal": "cast it to float64, or to texts if each digit counts",
    "interval": "give the two ends as two columns",
    "period": "give a time, such as .dt.to_timestamp()",
    "timedelta": _ADVICE["m"],
    "timedelta64": _ADVICE["m"],
}
"""The same by what pandas calls a column of objects."""


def schema_of(data: Any, what: str) -> Any:
    """The schema of inputs or outputs, as MLflow infers it. `what` names them in messages.

    Raises InvalidArgument that names the column, for data that the format can't describe.
    """
    import numpy
    import pandas

    data = plain(data, what)
    if isinstance(data, pandas.DataFrame):
        return _of_frame(data, what)
    if isinstance(data, list | dict) and not data:
        raise _refused(what, "an empty list or dict says nothing of its values", "give at least one example")
    if isinstance(data, pandas.Series):
        if data.name is None and data.isna().any():
            raise _refused(what, "a series with missing values needs a name", "give it one: series.rename('age')")
        found = _of_frame(data.to_frame(), what)
        found.inputs[0].name = data.name
        return found
    if dataclasses.is_dataclass(data):
        return mlflow_module("mlflow.types.schema").convert_dataclass_to_schema(data)
    if isinstance(data, numpy.ndarray):
        return mlflow_module("mlflow.types.schema").Schema([_of_array(data, None, what)])
    if isinstance(data, dict) and all(isinstance(each, numpy.ndarray) for each in data.values()):
        arrays = [_of_array(each, name, f"{text_of(name)[:200]!r} of {what}") for name, each in data.items()]
        return mlflow_module("mlflow.types.schema").Schema(arrays)
    try:
        with advice.unsaid():
            return mlflow_module("mlflow.types.utils")._infer_schema(data)
    except ImportError:  # MLflow looks for sparse matrices
        raise ModuleNotFoundError(
            f"a signature of {type(data).__name__} needs scipy, which is not installed: pip install scipy", name="scipy"
        ) from None
    except Exception as problem:
        signals.pass_on(problem)
        if isinstance(data, list) and data and all(isinstance(row, dict) for row in data):
            data = {key: [row.get(key) for row in data] for key in dict.fromkeys(key for row in data for key in row)}
        if isinstance(data, dict):
            _blame_key(data, what)
        raise _refused(what, _reason(problem, data), _advice_for(data)) from problem


def plain(data: Any, what: str) -> Any:
    """Data with tensors as NumPy arrays, also those in a dict. Sparse matrices in coordinates are refused."""
    if _is_tensor(data):
        return array_of(data)
    if isinstance(data, dict):
        return {key: array_of(each) if _is_tensor(each) else each for key, each in data.items()}
    if hasattr(data, "tocsr") and getattr(data, "format", "csr") not in {"csr", "csc"}:
        raise _refused(
            what, f"a sparse matrix of the format {data.format} has no rows or columns to read", "use .tocsr()"
        )
    return data


def params_schema_of(params: Any) -> Any:
    """The schema of the further arguments of `predict`. Raises InvalidArgument that names the param."""
    if not isinstance(params, dict):
        raise _refused("params", f"expected a dict of names and defaults, got {type(params).__name__}", "give a dict")
    infer = mlflow_module("mlflow.types.utils")._infer_param_schema
    for name, value in params.items():
        try:
            infer({name: value})
        except Exception as problem:
            signals.pass_on(problem)
            raise _refused(
                f"the param {text_of(name)[:200]!r}",
                f"its default is {text_of(value)[:80]!r} of type {type(value).__name__}",
                "give a number, text, boolean or time, a list of them, or a dict",
            ) from problem
    return infer(params)


def column_type(column: Any) -> Any:
    """The type of a column of a frame, as MLflow infers it. Raises MlflowException if it has none."""
    found = mlflow_module("mlflow.types.utils")
    if column.dtype.kind != "O":
        return found._infer_numpy_dtype(column.dtype)
    return mlflow_module("mlflow.types").DataType.string if _is_text(column) else found._infer_pandas_column(column)


def type_of_values(column: Any) -> Any:
    """The type of the values of a column as a list, in which whole numbers stay what they are beside missing ones."""
    return mlflow_module("mlflow.types.utils")._infer_colspec_type(column.to_list()).dtype


def advice_for_column(column: Any) -> str:
    """What would make a column fit for the format."""
    import pandas

    kind = "period" if isinstance(column.dtype, pandas.PeriodDtype) else ""
    kind = "interval" if isinstance(column.dtype, pandas.IntervalDtype) else kind
    if column.dtype.kind != "O":
        return _ADVICE.get(column.dtype.kind, "cast it to another type")
    kind = kind or pandas.api.types.infer_dtype(column, skipna=True)
    return _ADVICE_FOR_OBJECTS.get(kind, "give all values of a column one type")


def _of_frame(frame: Any, what: str) -> Any:
    import numpy

    types, schemas = mlflow_module("mlflow.types.utils"), mlflow_module("mlflow.types.schema")
    if not len(frame.columns):
        raise _refused(what, "the frame has no columns", "give at least one")
    if frame.columns.nlevels > 1:
        raise _refused(
            what,
            f"its columns have {frame.columns.nlevels} levels, and the format has names",
            "give each column one name: frame.columns = ['_'.join(map(str, each)) for each in frame.columns]",
        )
    if not frame.columns.is_unique:
        double = frame.columns[frame.columns.duplicated()][0]
        raise _refused(what, f"several columns have the name {text_of(double)[:200]!r}", "give each a name of its own")
    known: dict[Any, Any] = {}
    columns = []
    for at, (name, dtype, has_missing) in enumerate(
        zip(frame.columns, frame.dtypes, frame.isna().to_numpy().any(axis=0), strict=True)
    ):
        kind = known.get(dtype)
        if kind is None:
            try:
                if dtype.kind == "O":
                    kind = column_type(frame.iloc[:, at])
                else:
                    kind = known[dtype] = types._infer_numpy_dtype(dtype)
            except Exception as problem:
                signals.pass_on(problem)
                column = frame.iloc[:, at]
                reason = f"its type {dtype} has no counterpart in the format"
                if isinstance(dtype, numpy.dtype) and dtype.kind == "O":
                    reason = f"its values have no common type that the format knows, such as {_first(column)}"
                raise _refused(
                    f"the column {text_of(name)[:200]!r} of {what}", reason, advice_for_column(column)
                ) from problem
        columns.append(schemas.ColSpec(kind, name=name, required=not has_missing))
    return schemas.Schema(columns)


def _of_array(array: Any, name: Any, what: str) -> Any:
    if not array.ndim:
        raise _refused(what, "an array without dimensions has no rows", "give an array of at least one dimension")
    kind = mlflow_module("mlflow.types.utils").clean_tensor_type(array.dtype)
    return mlflow_module("mlflow.types.schema").TensorSpec(type=kind, shape=(-1, *array.shape[1:]), name=name)


def _is_text(column: Any) -> bool:
    """Whether a column of objects has texts, and at least one."""
    import pandas

    if isinstance(column.dtype, pandas.StringDtype):
        return bool(column.notna().any())
    return bool(column.dtype == object and pandas.api.types.infer_dtype(column, skipna=True) == "string")


def _is_tensor(value: Any) -> bool:
    """Whether it is a tensor of a framework: PyTorch, TensorFlow, JAX or CuPy."""
    top = type(value).__module__.partition(".")[0]
    return top in {"torch", "tensorflow", "jax", "jaxlib", "cupy"} and hasattr(value, "shape")


def _blame_key(data: dict[Any, Any], what: str) -> None:
    infer = mlflow_module("mlflow.types.utils")._infer_colspec_type
    if any(not isinstance(key, str) for key in data):
        raise _refused(what, "its keys are not all texts", "use texts as keys")
    for key, value in data.items():
        try:
            infer(value)
        except Exception as problem:
            signals.pass_on(problem)
            raise _refused(f"{key[:200]!r} of {what}", _reason(problem, value), _advice_for(value)) from problem


def _reason(problem: Exception, data: Any) -> str:
    odd = next(_odd(data), None)
    if odd is not None:
        return f"the format has no type for {text_of(odd)[:80]!r} of type {type(odd).__name__}"
    return f"its values have no common type ({type(data).__name__})"


def _advice_for(data: Any) -> str:
    import pandas

    odd = next(_odd(data), None)
    if odd is None:
        return "give all values of a list one type"
    if isinstance(odd, tuple | set | frozenset):
        return "give a list"
    if hasattr(odd, "to_pandas"):
        return "use .to_pandas()"
    try:
        return advice_for_column(pandas.Series([odd]))
    except Exception as problem:
        signals.pass_on(problem)
        return "give a frame, an array, or lists and dicts of numbers, texts, booleans, bytes and times"


def _odd(data: Any) -> Iterator[Any]:
    """The values in lists and dicts that have no type in the format."""
    if isinstance(data, list | dict):
        for each in data.values() if isinstance(data, dict) else data:
            yield from _odd(each)
        return
    try:
        mlflow_module("mlflow.types.utils")._infer_datatype(data)
    except Exception as problem:
        signals.pass_on(problem)
        yield data


def _first(column: Any) -> str:
    values = column.dropna()
    return repr(text_of(values.iloc[0])[:80]) if len(values) else "none"


def _refused(what: str, reason: str, advice: str) -> InvalidArgument:
    return InvalidArgument(
        f"no signature can be inferred from {what}: {reason}; {advice}", reason="SIGNATURE_NOT_INFERRED"
    )
