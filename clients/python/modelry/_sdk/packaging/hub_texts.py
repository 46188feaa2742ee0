"""What the JSON texts of a model of Transformers lead to: code, models of timm, and files in other folders."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from modelry._sdk.values.foreign import json_of
from modelry._sdk.values.texts import text_of

KEYS = {"auto_map", "custom_generate", "custom_pipelines", "trust_remote_code"}
"""The keys under which a text of Transformers names code, at any depth."""

_IMPLEMENTATION = re.compile(r"_?\w+_implementation")
"""Keys that name how a part of a model is computed. A value with a slash is a repository on a hub, with code."""
_SHARD = re.compile(r"[^/\\]+\.safetensors")

_OF_FILES = re.compile(r"vocab|merges|.*_(?:file|files|path|paths)")
"""Keys whose value Transformers opens. It takes a path, which may lead out of the model."""
_TOLD = {"name_or_path", "_name_or_path", "special_tokens_map_file"}
"""Such keys that only tell where a model came from."""
_BESIDE = re.compile(r"\w[\w.-]*")
"""The name of a file without a folder, a drive or a scheme."""

_OF_TIMM = {"architecture", "backbone"}
"""Keys that name a model of timm or on a hub."""
_TO_TIMM = {"backbone_kwargs", "model_args"}
"""Keys whose value becomes arguments of `timm.create_model`, which reads pickles that they name."""
_LAYERS = {"act_layer", "global_pool", "norm_layer"}
"""Those of them that name a layer by a word."""
_TIMM = re.compile(r"timm[_-]?(?:backbone|wrapper).*", re.IGNORECASE)


def is_of_timm(name: str) -> bool:
    """Whether a class, or the type of a model, hands arguments of a text to timm, which reads pickled checkpoints."""
    return _TIMM.fullmatch(name) is not None


def why_not(text: str, folder: Path) -> str:
    """What in a JSON text of a folder leads to code or to another folder. Empty if nothing does.

    In a vocabulary a number may stand under any word, so that numbers say nothing.
    """
    found: list[str] = []

    def seen(members: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        pairs = list(members)
        found.extend(why for key, value in pairs if (why := _why_not(key, value, folder)))
        return dict(pairs)

    json_of(text, members=seen)
    return found[0] if found else ""


def _why_not(key: str, value: Any, folder: Path) -> str:
    if not value or type(value) in (int, float):
        return ""
    if key == "weight_map":
        return "" if _are_shards(value, folder) else "a weight_map of other files than safetensors beside it"
    if _names_code(key, value):
        return key
    texts = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str) and each]
    if key.startswith("checkpoint") and (texts or isinstance(value, dict)):
        return f"a checkpoint that it names ({key[:50]})"
    if key == "use_timm_backbone" or (key in ("architectures", "model_type") and any(map(is_of_timm, texts))):
        return f"a model of timm ({key})"
    if key in _OF_TIMM and not all(_is_of_itself(key, text) for text in texts):
        return f"a model that is not in the folder ({key} is {texts[0][:200]!r})"
    if key in _TO_TIMM and not _are_plain(value):
        return f"arguments of timm that may name files ({key})"
    if _OF_FILES.fullmatch(key) and key not in _TOLD:
        is_list_of_words = key in ("vocab", "merges") and isinstance(value, list)
        if not is_list_of_words and not all(_is_beside(text, folder) for text in texts):
            return f"a path out of its folder ({key[:50]} is {texts[0][:200]!r})"
    return ""


def _are_shards(weight_map: Any, folder: Path) -> bool:
    """Whether an index names only files of weights without code, which are beside it."""
    if not isinstance(weight_map, dict):
        return False
    names = set(map(text_of, weight_map.values()))
    return all(_SHARD.fullmatch(name) and (folder / name).is_file() for name in names)


def _names_code(key: str, value: Any) -> bool:
    if _IMPLEMENTATION.fullmatch(key):
        return any("/" in text_of(each) for each in (value.values() if isinstance(value, dict) else [value]))
    return key in KEYS


def _is_of_itself(key: str, name: str) -> bool:
    """Whether timm makes a model of that name without weights. A backbone is read from a hub or a folder."""
    return key == "architecture" and _BESIDE.fullmatch(name) is not None


def _is_beside(name: str, folder: Path) -> bool:
    return _BESIDE.fullmatch(name) is not None and (folder / name).is_file()


def _are_plain(arguments: Any) -> bool:
    """Whether arguments are numbers and words that name layers."""
    if not isinstance(arguments, dict):
        return False
    for key, value in arguments.items():
        for each in value if isinstance(value, list) else [value]:
            is_word = key in _LAYERS and isinstance(each, str) and each.isidentifier()
            if not is_word and not isinstance(each, bool | int | float | None):
                return False
    return True
