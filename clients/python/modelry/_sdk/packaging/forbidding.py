"""Refuses models that would run code of their own, where the environment says that no pickles may be read.

MLflow's loaders refuse the pickles that they read themselves, some of them after they have imported a module that the
model names. Here a model is refused for what its MLmodel file and the names of its files say, before anything is run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from modelry._sdk.values.foreign import Unreadable, json_object_of
from modelry._sdk.values.texts import text_of
from modelry.errors import FailedPrecondition

SWITCH = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"

_LOADERS = {
    "mlflow.catboost",
    "mlflow.keras",
    "mlflow.lightgbm",
    "mlflow.onnx",
    "mlflow.pyfunc.model",
    "mlflow.pytorch",
    "mlflow.sklearn",
    "mlflow.statsmodels",
    "mlflow.tensorflow",
    "mlflow.transformers",
    "mlflow.xgboost",
}
"""The loaders that read data only, or heed the switch, for models that are not refused here."""

_OF_A_CLASS = {"lightgbm", "xgboost"}
"""The flavors that make an object of the class that `model_class` names: one of the framework, which reads data."""

_PLAIN_OPTIONS = {
    "arena_extend_strategy",
    "cudnn_conv_algo_search",
    "device_id",
    "device_type",
    "do_copy_in_default_stream",
    "gpu_mem_limit",
}
"""The options of onnxruntime's execution providers that name no file. Others may name a library that it loads."""

_KERAS_MODULES = {"keras", "tensorflow.keras", "tf_keras"}
_LARGEST_CONFIG_BYTES = 4 * 2**20
_PICKLES = re.compile(r".*\.(bin|ckpt|h5|hdf5|joblib|msgpack|pickle|pkl|pt|pth)", re.IGNORECASE)
_TENSORFLOW_CODE = re.compile(r".*\.(cloudpickle|h5|hdf5)|saved_model\.(pb|pbtxt)", re.IGNORECASE)


def is_on() -> bool:
    """Whether the environment forbids code of models."""
    return os.environ.get(SWITCH, "").lower() in {"false", "0"}


def refuse_code(flavors: Mapping[str, Any], folder: str) -> None:
    """Raises FailedPrecondition for what runs code of a model in a folder, other than the pickles that MLflow refuses.

    `flavors` are those of the MLmodel file of the folder.
    """
    for flavor, options in flavors.items():
        for key in ("code", "model_code_path"):
            if options.get(key):
                raise _has_code(f"{key} {text_of(options[key])[:200]!r} of {text_of(flavor)[:200]!r}")
        named = options.get("model_class")
        if flavor in _OF_A_CLASS and named is not None and text_of(named).partition(".")[0] != flavor:
            raise _has_code(f"the class {text_of(named)[:200]!r} of {flavor!r}")
        module = options.get("loader_module")
        if module is not None and text_of(module) not in _LOADERS:
            raise _has_code(f"the loader {text_of(module)[:200]!r} of {text_of(flavor)[:200]!r}")
        framework = flavor if module is None else text_of(module).removeprefix("mlflow.")
        for what in _FOUND.get(framework, _nothing)(options, folder):
            raise _has_code(what)


def _of_onnx(options: Mapping[str, Any], _: str) -> Iterator[str]:
    """Options with which onnxruntime may load libraries, or files outside of the model."""
    providers = options.get("providers")
    for provider in providers if isinstance(providers, list) else []:
        for part in provider if isinstance(provider, list) else []:
            for key in part if isinstance(part, dict) else ():
                if key not in _PLAIN_OPTIONS:
                    yield f"the option {text_of(key)[:200]!r} of onnxruntime, which may name a library"
    session = options.get("onnx_session_options")
    if isinstance(session, dict) and session.get("extra_session_config"):
        yield "the option 'extra_session_config' of onnxruntime, which may name files"


def _of_pytorch(_: Mapping[str, Any], folder: str) -> Iterator[str]:
    """A pickled module, and the pickler that MLflow imports to read it. MLflow itself checks graphs (`.pt2`)."""
    for name, path in _files(folder):
        if name.lower() == "pickle_module_info.txt":
            yield f"the module that {path!r} names"
        elif name.lower().endswith((".pth", ".pt")):
            yield f"the pickle {path!r}"


def _of_keras(options: Mapping[str, Any], folder: str) -> Iterator[str]:
    """Modules that MLflow imports, pickled classes, and graphs that can write files; `.keras` is read in safe mode."""
    if (named := options.get("keras_module")) is not None and text_of(named) not in _KERAS_MODULES:
        yield f"the module {text_of(named)[:200]!r}, in place of Keras"
    if options.get("save_exported_model") or options.get("saved_model_dir"):
        yield "the graph of a SavedModel, which can write files"
    for name, path in _files(folder):
        if name.lower() == "keras_module.txt" and _start_of(folder, path) not in _KERAS_MODULES:
            yield f"the module that {path!r} names, in place of Keras"
        elif _TENSORFLOW_CODE.fullmatch(name):
            yield f"the file {path!r}"


def _of_transformers(options: Mapping[str, Any], folder: str) -> Iterator[str]:
    """Classes that are no part of Transformers, pickled weights, and what is read from a hub without a check."""
    for key in ("source_model_revision", "peft_adaptor"):
        if options.get(key):
            yield f"what a hub has: {key} is {text_of(options[key])[:200]!r}"
    for name, path in _files(folder):
        if name.lower().endswith((".py", ".pyc", ".so")) or _PICKLES.fullmatch(name):
            yield f"the file {path!r}"
        elif name.lower().endswith("config.json") and (key := _class_of_its_own(Path(folder, path))):
            yield f"{key} in {path!r}"


def _class_of_its_own(file: Path) -> str:
    """The key under which a configuration of Transformers names code."""
    try:
        if file.stat().st_size > _LARGEST_CONFIG_BYTES:
            return "a text too long to read"
        config = json_object_of(file.read_text("utf-8"))
    except (OSError, ValueError, Unreadable):
        return "a text that can't be read"
    return next((key for key in ("auto_map", "custom_pipelines") if config.get(key)), "")


def _nothing(_: Mapping[str, Any], __: str) -> Iterator[str]:
    yield from ()


_FOUND: Mapping[str, Callable[[Mapping[str, Any], str], Iterator[str]]] = {
    "keras": _of_keras,
    "onnx": _of_onnx,
    "pytorch": _of_pytorch,
    "tensorflow": _of_keras,
    "transformers": _of_transformers,
}
"""What a model of a flavor, or of its loader, has that runs code."""


def _files(folder: str) -> Iterator[tuple[str, str]]:
    """The name and the path of each file below a folder. Links lead to files in it, which come by themselves."""
    for above, _, names in os.walk(folder):
        for name in names:
            yield name, os.path.relpath(os.path.join(above, name), folder)


def _start_of(folder: str, path: str) -> str:
    with Path(folder, path).open("rb") as file:
        return file.read(200).decode("utf-8", "replace")


def _has_code(what: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"the model would run code of its own: {what}; {SWITCH}=false forbids that",
        reason="MODEL_HAS_CODE",
    )
