"""What a model is given is compared with its signature: by MLflow's rules, but what is wrong is named.

MLflow refuses some data from which it inferred the signature itself: whole numbers with missing values, times with a
zone, categories. Here a column whose type would be inferred as the declared one is always taken, and given to the model
as it is, but for numbers of fewer bits, which MLflow converts. Everything else is accepted, converted or refused as
MLflow does it.
"""

from __future__ import annotations

import copy
import functools
import logging
import os
from collections.abc import Callable, Iterable
from typing import Any

from modelry._sdk.schemas import inferring
from modelry._sdk.schemas.borrowed import mlflow_module
from modelry._sdk.values import signals
from modelry._sdk.values.texts import text_of
from modelry.errors import InvalidArgument

_MOST_NAMED = 5
_NULLABLE = {"i": "Int64", "u": "Int64", "b": "boolean"}
_NUMPY_NAMES = {"string": "str", "binary": "bytes"}

log = logging.getLogger("modelry")


def fitted(data: Any, schema: Any) -> Any:
    """Data as the model gets it: a frame in the order of the schema, or arrays.

    Raises InvalidArgument that says which columns or tensors are wrong, what came and what was expected.
    """
    data = inferring.plain(data, "the input")
    if schema.is_tensor_spec():
        return _tensors(data, schema)
    return _columns(_frame(data, schema), schema)


def fitted_params(params: Any, schema: Any) -> Any:
    """The further arguments of `predict` by the schema of the model, with its defaults.

    Raises InvalidArgument that names the param.
    """
    try:
        return mlflow_module("mlflow.models.utils")._enforce_params_schema(params, schema)
    except Exception as problem:
        signals.pass_on(problem)
        if type(problem).__name__ != "MlflowException":
            raise
        raise _refused([f"the params: {_of_mlflow(problem)}"]) from problem


def _frame(data: Any, schema: Any) -> Any:
    """Data for a model of columns as a frame."""
    import numpy
    import pandas

    if isinstance(data, pandas.DataFrame):
        return data
    if isinstance(data, pandas.Series):
        return pandas.DataFrame(data)
    types = mlflow_module("mlflow.types.schema")
    if numpy.isscalar(data) or data is None:
        return pandas.DataFrame([data])
    if isinstance(data, list) and data and all(isinstance(row, dict) for row in data) and schema.has_input_names():
        # A frame of pandas would make floats of whole numbers where a key is missing.
        keys = dict.fromkeys(key for row in data for key in row)
        return pandas.DataFrame({key: _series([row.get(key) for row in data]) for key in keys})
    if isinstance(data, list) and not schema.has_input_names() and len(schema.inputs) == 1:
        return pandas.DataFrame({0: _series(data)}) if _is_complex(schema.inputs[0]) else pandas.DataFrame(data)
    if isinstance(data, dict):
        complex_types = (types.Array, types.Object, types.Map)
        is_row = any(isinstance(each.type, complex_types) for each in schema.inputs) or all(
            numpy.isscalar(value)
            or value is None
            or (isinstance(value, list) and all(isinstance(item, str) for item in value))
            for value in data.values()
        )
        if is_row:
            return pandas.DataFrame({key: _series([value]) for key, value in data.items()})
        data = {key: _listed(value) for key, value in data.items()}
    if not isinstance(data, dict | list | numpy.ndarray):
        advice = "; use .to_pandas()" if hasattr(data, "to_pandas") else ""
        raise _refused([f"expected a frame or array, got {type(data).__name__}{advice}"])
    try:
        return pandas.DataFrame(data)
    except ValueError as problem:
        raise _refused([f"no frame can be made of {type(data).__name__}: {problem}"]) from problem


def _listed(value: Any) -> Any:
    if getattr(value, "ndim", 1) > 1:
        return value.tolist()
    return [value.item()] if getattr(value, "shape", None) == () else value


def _series(values: list[Any]) -> Any:
    import pandas

    kept = pandas.Series(values, dtype=object)
    return kept if kept.isna().any() else kept.infer_objects()


def _is_complex(column: Any) -> bool:
    return not isinstance(column.type, mlflow_module("mlflow.types").DataType)


def _columns(frame: Any, schema: Any) -> Any:
    import pandas

    names = list(frame.columns)
    taken, wrong = _taken(names, schema)
    exact, dtypes = _exact(), list(frame.dtypes)
    converted = {}
    for at, column in taken:
        if exact.get(dtypes[at]) is column.type:
            continue
        given = frame.iloc[:, at]
        try:
            converted[at] = _column(given, column)
        except InvalidArgument as refused:
            wrong.append(refused.message)
    if wrong:
        raise _refused(wrong)
    if not converted:
        return frame.iloc[:, [at for at, _ in taken]]
    parts = {names[at]: converted[at] if at in converted else frame.iloc[:, at] for at, _ in taken}
    return pandas.DataFrame(parts)


def _taken(names: list[Any], schema: Any) -> tuple[list[tuple[int, Any]], list[str]]:
    """The columns that the model gets, as their places in the frame and in the schema, and what is wrong with them."""
    columns = schema.inputs
    if not schema.has_input_names():
        if len(names) < len(columns):
            raise _refused([f"expected {len(columns)} columns, which have no names in the signature, got {len(names)}"])
        return list(enumerate(columns)), []
    places = {name: at for at, name in enumerate(names)}
    if len(places) != len(names):
        raise _refused([f"several columns have the name {_listing(name for name in places if names.count(name) > 1)}"])
    declared = {column.name for column in columns}
    extra = [name for name in names if name not in declared]
    missing = [column.name for column in columns if column.required and column.name not in places]
    wrong = []
    if missing:
        instead = f"; the input has {_listing(extra)}, which the signature does not know" if extra else ""
        number = "column" if len(missing) == 1 else f"{len(missing)} columns"
        wrong.append(f"missing {number} {_listing(missing)}{instead}")
    elif extra:
        log.warning("the model does not get the columns %s, which its signature does not know", _listing(extra))
    return [(places[column.name], column) for column in columns if column.name in places], wrong


@functools.cache
def _exact() -> dict[Any, Any]:
    """The types of NumPy that need no conversion, with what they are in the format."""
    import numpy

    kinds = mlflow_module("mlflow.types").DataType
    return {
        numpy.dtype(kind.to_numpy()): kind
        for kind in (kinds.boolean, kinds.integer, kinds.long, kinds.float, kinds.double)
    }


def _column(given: Any, column: Any) -> Any:
    """A column as the model gets it. Raises InvalidArgument that begins with its name."""
    import pandas

    utils = mlflow_module("mlflow.models.utils")
    try:
        if not _is_complex(column):
            return utils._enforce_mlflow_datatype(given.name, given, column.type)
        # MLflow converts values of objects in place: the caller keeps its own.
        values = [utils._enforce_type(copy.deepcopy(each), column.type, column.required) for each in given]
        return pandas.Series(values, index=given.index, name=given.name)
    except Exception as problem:
        signals.pass_on(problem)
        if _is_inferred_so(given, column):
            return given
        raise InvalidArgument(_wrong_column(given, column)) from problem


def _is_inferred_so(given: Any, column: Any) -> bool:
    """Whether the declared type is the one that would be inferred from a column."""
    if column.required and given.isna().any():
        return False
    try:
        return bool(inferring.column_type(given) == column.type or inferring.type_of_values(given) == column.type)
    except Exception as problem:  # it has no type in the format
        signals.pass_on(problem)
        return False


def _wrong_column(given: Any, column: Any) -> str:
    """What is wrong with a column: its name, what was expected, what came with one value of it, and what helps."""
    where = f"the column {_shown(given.name)}"
    if _is_complex(column):
        return f"{where}: {_wrong_value(given, column)}"
    missing = int(given.isna().sum())
    wanted, kind = column.type.to_numpy(), given.dtype.kind
    expected = f"expected {_type_words(column.type)}, got {given.dtype}{_example(given)}"
    if missing and wanted.kind in "iub":
        rows = f"{missing} of {len(given)} rows have no value"
        if column.required:
            return (
                f"{where}: {expected}; {rows}, and the signature requires one: fill them, or infer the signature from "
                "data with missing values"
            )
        return f"{where}: {expected}; {rows}: give it as {_NULLABLE[wanted.kind]}, which can hold missing values"
    if wanted.kind in "iuf" and kind in "iuf":
        advice = f"cast it if that loses nothing: .astype({wanted.name!r})"
    elif wanted.kind in "iuf":
        advice = "give numbers: pandas.to_numeric(column)"
    elif wanted.kind == "M":
        advice = "give times: pandas.to_datetime(column)"
    elif wanted.kind == "b":
        advice = "give True and False"
    else:
        advice = "give texts: .astype(str)" if wanted.kind == "U" else "give bytes"
    return f"{where}: {expected}; {advice}"


def _wrong_value(given: Any, column: Any) -> str:
    """The first value of a column of lists or objects that does not fit, and why."""
    enforce = mlflow_module("mlflow.models.utils")._enforce_type
    for row, value in enumerate(given):
        try:
            enforce(copy.deepcopy(value), column.type, column.required)
        except Exception as problem:
            signals.pass_on(problem)
            said = _of_mlflow(problem).replace(" for column .", "").rstrip(".")
            return f"expected {column.type}, got in row {row} {_shown(value)}: {said}"
    return f"expected {column.type}"


def _tensors(data: Any, schema: Any) -> Any:
    utils = mlflow_module("mlflow.models.utils")
    if not schema.has_input_names():
        return _checked(lambda: utils._enforce_tensor_schema(data, schema), "the input")
    if not isinstance(data, dict):
        found = list(data.columns) if hasattr(data, "columns") else None
        missing = [name for name in schema.input_names() if found is not None and name not in found]
        if missing:
            raise _refused([f"missing tensors {_listing(missing)}"])
        return _checked(lambda: utils._enforce_tensor_schema(data, schema), "the input")
    ready, wrong = {}, []
    for spec in schema.inputs:
        if spec.name not in data:
            wrong.append(f"missing tensor {_shown(spec.name)}; the input has {_listing(data)}")
        elif not hasattr(data[spec.name], "dtype"):
            kind = type(data[spec.name]).__name__
            wrong.append(
                f"the tensor {_shown(spec.name)}: expected an array of {spec.type}, got {kind}; use numpy.asarray"
            )
        else:
            try:
                ready[spec.name] = _checked(
                    lambda spec=spec: utils._enforce_tensor_spec(data[spec.name], spec),  # type: ignore[misc]
                    f"the tensor {_shown(spec.name)}",
                )
            except InvalidArgument as refused:
                wrong.append(refused.metadata["problem"])
    if wrong:
        raise _refused(wrong)
    return ready


def _checked(enforce: Callable[[], Any], what: str) -> Any:
    try:
        return enforce()
    except Exception as problem:
        signals.pass_on(problem)
        if type(problem).__name__ not in {"MlflowException", "ValueError", "TypeError", "KeyError"}:
            raise
        raise _refused([f"{what}: {_of_mlflow(problem)}"]) from problem


def _of_mlflow(problem: Exception) -> str:
    return str(getattr(problem, "message", problem)).strip()[:500]


def _type_words(kind: Any) -> str:
    return f"{kind.name} ({_NUMPY_NAMES.get(kind.name, kind.to_numpy().name)})"


def _example(given: Any) -> str:
    values = given.dropna()
    return f" such as {_shown(values.iloc[0])}" if len(values) and not _hides_data() else ""


def _shown(value: Any) -> str:
    return repr(text_of(value)[:80]) if not _hides_data() else "a value"


def _hides_data() -> bool:
    return os.environ.get("MLFLOW_DISABLE_SCHEMA_DETAILS", "").lower() in {"true", "1"}


def _listing(names: Iterable[Any]) -> str:
    found = list(names)
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return ", ".join(repr(text_of(name)[:80]) for name in found[:_MOST_NAMED]) + more


def _refused(problems: list[str]) -> InvalidArgument:
    more = len(problems) - _MOST_NAMED
    said = "; ".join(problems[:_MOST_NAMED]) + (f"; and {more} more columns do not fit" if more > 0 else "")
    return InvalidArgument(
        f"the input does not fit the signature of the model: {said}",
        reason="INPUT_REFUSED",
        metadata={"problem": said},
    )
