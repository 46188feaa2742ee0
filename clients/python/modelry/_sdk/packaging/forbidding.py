"""Refuses models that would run code of their own, where the environment says that no pickles may be read.

Nothing is left to MLflow: its older versions don't know the switch, and its newer ones ignore it on Databricks. A model
is refused for what its MLmodel file and the names of its files say, before anything is run. Only what is known to be
data is let through: flavors, their options, the loaders of these flavors, and kinds of files.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from modelry._sdk.packaging import hub_code
from modelry._sdk.transport import settings
from modelry._sdk.values.texts import text_of
from modelry.errors import FailedPrecondition

SWITCH = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
_WORDS = {"true": False, "1": False, "false": True, "0": True}
"""Whether a value of it forbids. These are the words that MLflow knows."""

_PYTHON_FUNCTION = "python_function"
_KNOWN: Mapping[str, set[str]] = {
    _PYTHON_FUNCTION: {
        *("config", "data", "env", "loader_module", "model_path", "pickle_module_name", "predict_fn"),
        *("python_version", "streamable"),
    },
    "catboost": {"catboost_version", "data", "model_type", "save_format"},
    "keras": {
        *("data", "keras_backend", "keras_module", "keras_version", "model_type", "save_exported_model"),
        "save_format",
    },
    "lightgbm": {"data", "lgb_version", "model_class", "serialization_format", "skops_trusted_types"},
    "onnx": {"data", "onnx_session_options", "onnx_version", "providers"},
    "tensorflow": {
        *("data", "keras_module", "keras_version", "meta_graph_tags", "model_type", "save_format"),
        *("saved_model_dir", "signature_def_key"),
    },
    "transformers": hub_code.OPTIONS,
    "xgboost": {"data", "model_class", "model_format", "xgb_version"},
}
"""The flavors that read data only, for models that are not refused here, and their options."""

_PICKLED = {
    "pytorch": "a module of PyTorch, which is a pickle, or a graph that PyTorch evaluates as Python; "
    "weights alone are data: log_state_dict(…, serialization_format='safetensors')",
    "sklearn": "a pickle of scikit-learn, or a file of skops, which itself says what of it is trusted",
    "statsmodels": "a pickle of statsmodels",
}
"""What the flavors read whose models all run code."""

_FUNCTION = "mlflow.pyfunc.model"
"""The loader of models that are functions or classes of Python."""

_OF_ALL = {"code", "extra_files", "model_code_path"}
_LOADERS = {f"mlflow.{flavor}": flavor for flavor in (*_KNOWN, *_PICKLED) if flavor != _PYTHON_FUNCTION}
_PREDICTS = re.compile(r"predict\w*")

_CLASSES = {
    "lightgbm": re.compile(r"lightgbm\.basic\.Booster"),
    "xgboost": re.compile(r"xgboost\.(core\.Booster|sklearn\.XGB\w+)"),
}
"""The classes that a flavor makes an object of, as `model_class` names them. They read data: others are pickles."""

_PLAIN_OPTIONS = {
    "arena_extend_strategy",
    "cudnn_conv_algo_search",
    "device_id",
    "device_type",
    "do_copy_in_default_stream",
    "gpu_mem_limit",
}
"""The options of onnxruntime's execution providers that name no file. Others may name a library that it loads."""
_SESSION_OPTIONS = {"execution_mode", "graph_optimization_level", "inter_op_num_threads", "intra_op_num_threads"}

SAFE_KERAS = (3, 14)
"""The first Keras whose safe mode holds. Before 3.11.3 a TorchModuleWrapper is unpickled in it (CVE-2025-49655), and
before 3.14 a TFSMLayer loads any graph (CVE-2026-1462)."""

_KERAS_MODULES = {"keras", "tensorflow.keras"}
_KERAS_DATA = re.compile(rf"{hub_code.TEXTS}|.*\.keras", re.IGNORECASE)
"""Others are pickled classes, graphs, or files of a format without a safe mode."""


def is_on() -> bool:
    """Whether the environment forbids code of models.

    Raises InvalidArgument for another word than those that MLflow knows: it would allow what should be forbidden.
    """
    value = os.environ.get(SWITCH, "true")
    if (word := value.lower()) not in _WORDS:
        wanted = "false or 0 to forbid pickles and code of models, true or 1 to allow them; no model is loaded"
        raise settings.unreadable(SWITCH, value, wanted)
    return _WORDS[word]


def refuse_code(model: Mapping[str, Any], folder: str) -> None:
    """Raises FailedPrecondition for what runs code of a model in a folder, and for all pickles.

    `model` is the content of the MLmodel file of the folder, whose flavors are mappings.
    """
    for flavor, options in (model.get("flavors") or {}).items():
        for what in _code_of(flavor, options, model, folder):
            raise _has_code(what)


def refuse_options(options: Mapping[str, Any]) -> None:
    """Raises FailedPrecondition for options of a call that take its safe mode from Keras."""
    for given in options.values():
        if isinstance(given, Mapping) and not given.get("safe_mode", True):
            raise _has_code("whatever safe_mode=False lets Keras run")


def _code_of(flavor: Any, options: Mapping[str, Any], model: Mapping[str, Any], folder: str) -> Iterator[str]:
    """What a flavor has that runs code. It is judged by its own name: no option of it says which one it is."""
    shown = repr(text_of(flavor)[:200])
    if flavor in _PICKLED:
        yield _PICKLED[flavor]
        return
    if flavor not in _KNOWN:
        yield f"the flavor {shown}, which is not known"
        return
    for key in ("code", "model_code_path"):
        if options.get(key):
            yield f"{key} {text_of(options[key])[:200]!r} of {shown}"
    if flavor == _PYTHON_FUNCTION and options.get("loader_module") == _FUNCTION:
        file = text_of(options.get("python_model", "python_model.pkl"))
        yield f"a function or class of Python, which is the pickle {file[:200]!r}"
    for key in options:
        if key not in _KNOWN[flavor] | _OF_ALL:
            yield f"the option {text_of(key)[:200]!r} of {shown}, which is not known"
    if flavor in _CLASSES and "model_class" in options:
        named = options["model_class"]
        if not isinstance(named, str) or not _CLASSES[flavor].fullmatch(named):
            yield f"the class {text_of(named)[:200]!r} of {shown}"
    if flavor == _PYTHON_FUNCTION:
        module = text_of(options.get("loader_module"))
        if module not in _LOADERS:
            yield f"the loader {module[:200]!r} of {shown}"
            return
        if not _PREDICTS.fullmatch(text_of(options.get("predict_fn", "predict"))):
            yield f"the method {text_of(options['predict_fn'])[:200]!r} of {shown}"
        flavor = _LOADERS[module]
    if flavor in _PICKLED:
        yield _PICKLED[flavor]
    if flavor == "transformers":
        yield from hub_code.found(options, model, folder)
    yield from _FOUND.get(flavor, _nothing)(options, folder)


def _of_onnx(options: Mapping[str, Any], _: str) -> Iterator[str]:
    """Options with which onnxruntime may load libraries, or files outside of the model."""
    providers = options.get("providers") or []
    for provider in providers if isinstance(providers, list) else [providers]:
        named, given = provider if isinstance(provider, list) and len(provider) == 2 else (provider, {})
        if not isinstance(named, str) or not isinstance(given, dict):
            yield f"the provider {text_of(provider)[:200]!r} of onnxruntime, which is no name, or name and options"
            return
        for key in given:
            if key not in _PLAIN_OPTIONS:
                yield f"the option {text_of(key)[:200]!r} of onnxruntime, which may name a library"
    session = options.get("onnx_session_options") or {}
    for key, value in session.items() if isinstance(session, dict) else [(text_of(session), session)]:
        if value and key not in _SESSION_OPTIONS:
            yield f"the option {text_of(key)[:200]!r} of onnxruntime, which may name files"


def _of_keras(options: Mapping[str, Any], folder: str) -> Iterator[str]:
    """Modules that MLflow imports, and files of other kinds than texts and `.keras`, which is read in safe mode."""
    if (named := options.get("keras_module")) is not None and text_of(named) not in _KERAS_MODULES:
        yield f"the module {text_of(named)[:200]!r}, in place of Keras"
    if unsafe := _unsafe_keras():
        yield unsafe
    if options.get("save_exported_model") or options.get("saved_model_dir"):
        yield "the graph of a SavedModel, which can write files"
    for name, path in hub_code.files(folder):
        if name.lower() == "keras_module.txt" and _start_of(folder, path) not in _KERAS_MODULES:
            yield f"the module that {path!r} names, in place of Keras"
        elif not _KERAS_DATA.fullmatch(name):
            yield f"the file {path!r}, which is of no kind that is known to be data"


def _unsafe_keras() -> str:
    """Why the safe mode of the Keras that is installed is none. Empty if it is one, or if there is no Keras."""
    try:
        version = importlib.metadata.version("keras")
    except importlib.metadata.PackageNotFoundError:
        return ""
    safe = ".".join(map(str, SAFE_KERAS))
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < SAFE_KERAS:
        return f"whatever it hides from the safe mode of Keras {version}, which needs Keras {safe} or newer"
    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in {"1", "true"}:
        return f"whatever it hides from Keras 2, which TF_USE_LEGACY_KERAS chooses in place of Keras {safe} or newer"
    return ""


def _nothing(_: Mapping[str, Any], __: str) -> Iterator[str]:
    yield from ()


_FOUND: Mapping[str, Callable[[Mapping[str, Any], str], Iterator[str]]] = {
    "keras": _of_keras,
    "onnx": _of_onnx,
    "tensorflow": _of_keras,
}
"""What a model of a flavor, or of its loader, has that runs code."""


def _start_of(folder: str, path: str) -> str:
    with Path(folder, path).open("rb") as file:
        return file.read(200).decode("utf-8", "replace")


def _has_code(what: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"the model would run code of its own: {what}; {SWITCH}=false forbids that",
        reason="MODEL_HAS_CODE",
    )
