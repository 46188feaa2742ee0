"""The model that `modelry.pyfunc.load_model` returns: MLflow's, with messages that name what does not fit."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from modelry._sdk.schemas import advice, enforcing
from modelry._sdk.schemas.borrowed import mlflow_module


def checked(model: Any) -> Any:
    """Lets a loaded `PyFuncModel` of MLflow check its input by `enforcing`. It stays a `PyFuncModel`."""
    model.__class__ = _class()
    return model


@functools.cache
def _class() -> Any:
    class PyFuncModel(mlflow_module("mlflow.pyfunc").PyFuncModel):  # type: ignore[misc]
        def _predict(self, data: Any, params: Any = None) -> Any:
            with advice.unsaid():
                return self._checked(data, params)

        def _checked(self, data: Any, params: Any) -> Any:
            schema = self.metadata.get_input_schema()
            by_hints = self.metadata._is_signature_from_type_hint() or self.metadata._is_type_hint_from_example()
            if schema is None or by_hints or _is_spark(data):
                return super()._predict(data, params)
            self.input_schema, self.params_schema = schema, self.metadata.get_params_schema()
            ready = enforcing.fitted(data, schema)
            further = enforcing.fitted_params(params, self.params_schema)
            takes = inspect.signature(self._predict_fn).parameters.get("params")
            if takes is not None and takes.kind is not inspect.Parameter.VAR_KEYWORD:
                return self._predict_fn(ready, params=further)
            return self._predict_fn(ready)

    PyFuncModel.__module__, PyFuncModel.__qualname__ = "mlflow.pyfunc", "PyFuncModel"
    return PyFuncModel


def _is_spark(data: Any) -> bool:
    return type(data).__module__.partition(".")[0] == "pyspark"
