"""What of a model of Transformers leads to code, in the model or on a hub, and how a model is loaded without a hub."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from modelry._sdk.packaging import file_forms, hub_texts
from modelry._sdk.schemas import borrowed
from modelry._sdk.values.foreign import Unreadable, json_of, yaml_of
from modelry._sdk.values.texts import text_of

_COMPONENTS = ("tokenizer", "feature_extractor", "image_processor", "processor")
_TYPES = {"pipeline_model_type", *(f"{component}_type" for component in _COMPONENTS)}
_OF_A_HUB = {
    *("local_base_model_path", "peft_adaptor", "source_model_revision"),
    *(f"{component}_{what}" for component in _COMPONENTS for what in ("name", "revision")),
}
"""The options with which MLflow reads a model from a hub, or from a folder that is no part of the model."""

OPTIONS = {
    *("components", "framework", "inference_task", "instance_type", "model_binary", "prompt_template"),
    *("source_model_name", "task", "torch_dtype", "transformers_version"),
    *_TYPES,
    *_OF_A_HUB,
}
"""The options of the flavor."""

_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_LARGEST_BYTES = 64 * 2**20
"""The largest JSON file that is read. The vocabularies of large tokenizers have about 35 MiB."""
_LARGEST_YAML_BYTES = 4 * 2**20
_MOST_NODES, _DEEPEST = 20_000, 50
TEXTS = r"mlmodel|license|notice|.*\.(json|lock|md|toml|txt|yaml|yml)"
"""The names of the texts of a model, in lower case."""
_DATA = re.compile(rf"{TEXTS}|.*\.(codes|jinja|model|safetensors|spm|tiktoken|tokenizer)", re.IGNORECASE)
"""Texts, templates (which Transformers runs in a sandbox of Jinja), vocabularies, and weights without code."""
_READ = {".json", ".yaml", ".yml"}
_INDEX = re.compile(r".*\.index(\..*)?\.json", re.IGNORECASE)
_INDEX_OF_DATA = re.compile(r".*\.safetensors\.index(\.[^.]*)?\.json", re.IGNORECASE)
_ADAPTER = re.compile(r"adapter_config\.json", re.IGNORECASE)
"""The file that names a model on a hub to which an adapter belongs."""
_BASES = (
    *("FeatureExtractionMixin", "ImageProcessingMixin", "PreTrainedModel", "PreTrainedTokenizerBase"),
    *("ProcessorMixin", "TFPreTrainedModel"),
)
"""The classes of which the parts of a model are made. Others of Transformers may read pickles, as RagRetriever does."""


def found(options: Mapping[str, Any], model: Mapping[str, Any], folder: str) -> Iterator[str]:
    """Classes that are no part of Transformers, pickled weights, and what is read from elsewhere.

    `options` are those of a flavor, and `model` the content of the MLmodel file of the folder.
    """
    for key in sorted(_OF_A_HUB & set(options)):
        yield f"what a hub or another folder has: {key} is {text_of(options[key])[:200]!r}"
    for key in sorted(_TYPES & set(options)):
        if hub_texts.is_of_timm(named := text_of(options[key])):
            yield f"the class {named[:200]!r}, which makes a model of timm"
        elif not _is_known(named):
            yield f"the class {named[:200]!r}, which is no class of Transformers for a part of a model"
    yield from _missing(options, folder)
    if word := _word_in(model):
        yield f"{word} in 'MLmodel'"
    for name, path in files(folder):
        if not _DATA.fullmatch(name) or _ADAPTER.fullmatch(name):
            yield f"the file {path!r}, which is of no kind that is known to be data"
        elif _INDEX.fullmatch(name) and not _INDEX_OF_DATA.fullmatch(name):
            yield f"the file {path!r}, which names weights that are not of the format safetensors"
        elif _may_be_pickled(Path(folder, path)):
            yield f"the file {path!r}, which begins as pickles and archives do"
        elif word := _word_of(Path(folder, path)):
            yield f"{word} in {path!r}"


def files(folder: str) -> Iterator[tuple[str, str]]:
    """The name and the path of each file below a folder. Links lead to files in it, which come by themselves."""
    for above, _, names in os.walk(folder):
        for name in names:
            yield name, os.path.relpath(os.path.join(above, name), folder)


@contextmanager
def no_hub() -> Iterator[None]:
    """While it is entered, Transformers asks no hub, and PyTorch reads weights alone. For one thread at a time."""
    constants = importlib.import_module("huggingface_hub.constants")
    hub = importlib.import_module("transformers.utils.hub")
    with ExitStack() as entered:
        entered.enter_context(_weights_only())
        entered.enter_context(borrowed.replaced(constants, HF_HUB_OFFLINE=True))
        if hasattr(hub, "_is_offline_mode"):  # Transformers 4 keeps a copy
            entered.enter_context(borrowed.replaced(hub, _is_offline_mode=True))
        yield


@contextmanager
def _weights_only() -> Iterator[None]:
    """While it is entered, PyTorch runs no code of a checkpoint, also if a package asks it to."""
    before = os.environ.get(_WEIGHTS_ONLY)
    os.environ[_WEIGHTS_ONLY] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_WEIGHTS_ONLY, None)
        else:
            os.environ[_WEIGHTS_ONLY] = before


def _missing(options: Mapping[str, Any], folder: str) -> Iterator[str]:
    """Parts that are not in the model. Transformers takes the path of a folder that is missing for a name on a hub."""
    if "pipeline_model_type" not in options:
        return  # these are not the options of the flavor itself
    components = options.get("components") or []
    if not isinstance(components, list) or not all(component in _COMPONENTS for component in components):
        yield f"the components {text_of(components)[:200]!r}, not all of which are known"
        return
    parts = [text_of(options.get("model_binary", "pipeline")), *(f"components/{each}" for each in components)]
    if "processor_type" in options:
        parts.append("components/processor")
    for part in parts:
        if not os.path.isdir(os.path.join(folder, part)):
            yield f"what a hub has: the folder {part[:200]!r} is not in the model"


def _is_known(name: str) -> bool:
    """Whether Transformers has a class of that name for a part of a model, or is not there to load one.

    If the class needs a package that is missing, Transformers has one of the class DummyObject, which says so.
    """
    if importlib.util.find_spec("transformers") is None:
        return True
    transformers = importlib.import_module("transformers")
    found = getattr(transformers, name, None) if name.isidentifier() else None
    if not isinstance(found, type):
        return False
    bases = tuple(getattr(transformers, base) for base in _BASES if hasattr(transformers, base))
    return type(found).__name__ == "DummyObject" or issubclass(found, bases)


def _may_be_pickled(file: Path) -> bool:
    """Whether a file of another kind than those that are read here, and safetensors, has the form of a pickle."""
    return file.suffix.lower() not in {*_READ, ".safetensors"} and file_forms.may_be_pickled(file)


def _word_of(file: Path) -> str:
    """The key under which a text names code, or why it can't be read. Empty for other files."""
    kind = file.suffix.lower()
    if kind not in _READ:
        return ""
    try:
        if file.stat().st_size > (_LARGEST_BYTES if kind == ".json" else _LARGEST_YAML_BYTES):
            return "a text too long to read"
        if kind == ".json":
            return hub_texts.why_not(file.read_text("utf-8"), file.parent)
        return _word_in(yaml_of(file.read_bytes(), most=_MOST_NODES, deepest=_DEEPEST)[0])
    except (OSError, ValueError, Unreadable):
        return "a text that can't be read"


def _word_in(value: Any) -> str:
    """The first such word in what a YAML text says: as a key, as a text, or in the JSON of a signature."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += [*each, *each.values()]
        elif isinstance(each, list | tuple | set):
            waiting += each
        elif isinstance(each, str) and each in hub_texts.KEYS:
            return each
        elif isinstance(each, str) and each.lstrip().startswith(("[", "{")):
            try:
                waiting.append(json_of(each))
            except Unreadable:
                continue
    return ""
