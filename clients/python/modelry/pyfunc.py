"""Models as Python functions, in MLflow's format: any model with one `predict`, and models with logic of your own.

    class Doubled(modelry.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input * 2

`PythonModel` and `PythonModelContext` are MLflow's own classes, so that a model logged here can be loaded without
Modelry. Loading a model runs code that its author chose: load only what you trust.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelry._sdk.files import local_files
from modelry._sdk.nouns import arguments
from modelry._sdk.packaging import code_files, loading
from modelry._sdk.packaging.flavor import PYTHON_FUNCTION, FlavorShell
from modelry._sdk.packaging.takes import Takes
from modelry._sdk.schemas import borrowed
from modelry._sdk.values import signals, urls
from modelry.errors import NotFound

if TYPE_CHECKING:
    from typing import Unpack

    from mlflow.pyfunc import PyFuncModel as PyFuncModel
    from mlflow.pyfunc.model import PythonModel as PythonModel
    from mlflow.pyfunc.model import PythonModelContext as PythonModelContext

    from modelry._sdk.client import Client
    from modelry._sdk.packaging.logged import LoggedModel
    from modelry._sdk.packaging.options import LogOptions, SaveOptions

    class _Pyfunc(SaveOptions, total=False):
        loader_module: str | None
        data_path: str | os.PathLike[str] | None
        model_config: Any
        streamable: bool | None

    class _LoggedPyfunc(LogOptions, total=False):
        loader_module: str | None
        data_path: str | os.PathLike[str] | None
        model_config: Any
        streamable: bool | None


__all__ = ["PyFuncModel", "PythonModel", "PythonModelContext", "load_model", "log_model", "save_model"]

log = logging.getLogger("modelry")

_OF_MLFLOW = ("PyFuncModel", "PythonModel", "PythonModelContext")
_REFUSED_EXAMPLE = "Input example does not match the model signature"
_FLAVOR = FlavorShell("mlflow.pyfunc", PYTHON_FUNCTION)
_TAKES = Takes(
    "python_model",
    "a PythonModel, a function of the input, or the path of a code file",
    ("mlflow.PythonModel", "builtins.str", "pathlib.Path"),
    ("__call__",),
)


def __getattr__(name: str) -> Any:
    if name in _OF_MLFLOW:
        return getattr(borrowed.mlflow_module("mlflow.pyfunc"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def save_model(
    path: str | os.PathLike[str],
    *,
    python_model: Any = None,
    artifacts: Mapping[str, str] | None = None,
    client: Client | None = None,
    **options: Unpack[_Pyfunc],
) -> None:
    """Saves a model to a folder on this machine, which must not exist or must be empty.

    `python_model` is a PythonModel, a function of the input, or the path of a code file that calls `set_model`, which
    is stored as it is, without a pickle. `artifacts` are files that it finds by name in `context.artifacts`: local
    paths, `runs:/…` or `models:/…`. Instead of a `python_model`, `loader_module` can name a module whose
    `_load_pyfunc(path)` makes the model of the files at `data_path`. Where `predict` has type hints, such as
    `list[dict[str, float]]`, they are its signature. `model_config` is a mapping or a file of settings.

    Raises InvalidArgument that names the attribute for a model that can't be pickled, or the column if the input
    example does not fit the signature, and MlflowException for what else can't be saved.
    """
    _require(python_model, options)
    metadata = options.get("mlflow_model")
    if metadata is None:
        metadata = options["mlflow_model"] = borrowed.mlflow_module("mlflow.models").Model()
    with tempfile.TemporaryDirectory(prefix="modelry-artifacts-") as temporary:
        given = {"python_model": python_model, "artifacts": _fetched(artifacts, temporary, client), **options}
        inspected = _inspectable(python_model, options)
        with code_files.alone() if isinstance(python_model, str | Path) else contextlib.nullcontext():
            _save(path, given, inspected)
    if (signature := options.get("signature")) is not None and metadata.signature != signature:
        log.warning(
            "the model has the signature of the type hints of its predict, which is not the given one: %s; give no "
            "signature, or take the hints away",
            " ".join(str(metadata.signature).split()),
        )
    _hide_places(metadata, artifacts or {})
    metadata.save(os.path.join(path, "MLmodel"))


def log_model(
    artifact_path: str | None = None,
    *,
    python_model: Any = None,
    artifacts: Mapping[str, str] | None = None,
    **options: Unpack[_LoggedPyfunc],
) -> LoggedModel:
    """Logs a model to a run, and registers it under `registered_model_name`: see `save_model` and `LogOptions`."""
    _require(python_model, options)
    model = {"python_model": python_model, "artifacts": artifacts, "client": options.get("client")}
    return _FLAVOR.log_model(save_model, model, artifact_path, options)


def load_model(
    model_uri: str | os.PathLike[str],
    suppress_warnings: bool = False,
    dst_path: str | os.PathLike[str] | None = None,
    *,
    model_config: Any = None,
    client: Client | None = None,
) -> PyFuncModel:
    """Loads a model of any flavor as a Python function from `runs:/…`, `models:/…` or a folder on this machine.

    The result has `predict(input, params=None)`, which checks the input against the signature, and `metadata`. The
    files are downloaded to `dst_path`, or to a temporary folder that lives as long as the model. There is a warning if
    installed packages have other versions than the model asks for. Raises NotFound if there is no model,
    InvalidArgument for a URI that can't be parsed, and for files that are no model or no Python function.
    """
    model: PyFuncModel = _FLAVOR.load(
        model_uri, dst_path=dst_path, client=client, suppress_warnings=suppress_warnings, model_config=model_config
    )
    return model


def _save(path: str | os.PathLike[str], given: dict[str, Any], inspected: Any) -> None:
    """Saves a model, also with an example that MLflow refuses although it fits the signature: see `enforcing`."""
    try:
        _FLAVOR.save(path, given, inspected=inspected, packages=["cloudpickle"])
    except Exception as problem:
        signals.pass_on(problem)
        if _REFUSED_EXAMPLE not in str(problem):
            raise
        example = given.pop("input_example")
        _FLAVOR.save(path, given, inspected=inspected, packages=["cloudpickle"])
        borrowed.mlflow_module("mlflow.models.utils")._save_example(given["mlflow_model"], example, os.fspath(path))


def _require(python_model: Any, options: _Pyfunc) -> None:
    """Raises InvalidArgument without a model."""
    if python_model is not None or options.get("loader_module") is None:
        _TAKES.require(python_model)


def _inspectable(python_model: Any, options: _Pyfunc) -> Any:
    """What is searched for requirements: the model, or the code that makes it."""
    if isinstance(python_model, str | Path):
        local_files.require_no_url(python_model)
        if not Path(python_model).is_file():
            raise NotFound(
                f"there is no code file {os.fspath(python_model)!r}; python_model is a PythonModel, a function, or the "
                "path of a file that calls set_model",
                reason="LOCAL_FILE_NOT_FOUND",
            )
        return compile(Path(python_model).read_bytes(), os.fspath(python_model), "exec", dont_inherit=True)
    if python_model is None and (loader := options.get("loader_module")):
        return compile(f"import {loader}", "loader_module", "exec") if _is_name(loader) else None
    return python_model


def _is_name(module: str) -> bool:
    return all(part.isidentifier() for part in module.split("."))


def _hide_places(metadata: Any, artifacts: Mapping[str, str]) -> None:
    """Takes the places of the author's machine out of the MLmodel file. MLflow reads the last part of the path only."""
    flavor = metadata.flavors.get(PYTHON_FUNCTION, {})
    if code := flavor.get("model_code_path"):
        flavor["model_code_path"] = os.path.basename(code)
    for name, kept in (flavor.get("artifacts") or {}).items():
        uri = os.fspath(artifacts[name])
        kept["uri"] = uri if uri.startswith(("runs:", "models:")) else os.path.basename(uri)


def _fetched(artifacts: Mapping[str, str] | None, folder: str, client: Client | None) -> dict[str, str] | None:
    """The artifacts as local paths. Raises InvalidArgument for what is neither a path nor a URI, and NotFound."""
    if artifacts is None:
        return None
    right = "a mapping of names to local paths, runs:/… or models:/…"
    if not isinstance(artifacts, Mapping):
        raise arguments.refused("artifacts", artifacts, right)
    local = {}
    for number, (name, given) in enumerate(artifacts.items()):
        if not isinstance(name, str) or not isinstance(given, str | os.PathLike):
            raise arguments.refused("artifacts", {name: given}, right)
        uri = os.fspath(given)
        if uri.startswith(("runs:", "models:")):
            uri = loading.local_path(uri, os.path.join(folder, str(number)), client)
        elif "://" in uri and not uri.startswith("file:"):
            raise arguments.refused(
                f"artifacts[{name!r}]", urls.masked(uri), "a file on this machine (download it), runs:/… or models:/…"
            )
        elif not os.path.exists(local_files.given(uri.removeprefix("file://"))):
            raise NotFound(
                f"there is no file {uri!r} for artifacts[{name!r}]",
                reason="LOCAL_FILE_NOT_FOUND",
                metadata={"path": uri},
            )
        local[name] = uri
    return local
