"""Params as texts that a server takes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from modelry._sdk.values.texts import text_of

_KEY_LENGTH, _VALUE_LENGTH = 250, 6000
"""The most characters that a server takes."""


def texts_of(params: Mapping[Any, Any]) -> tuple[dict[str, str], list[str]]:
    """Params as texts, and the keys of those that were too long and are cut."""
    texts: dict[str, str] = {}
    too_long: list[str] = []
    for key, value in params.items():
        name, text = text_of(key), text_of(_start_of(value))
        if len(name) > _KEY_LENGTH or len(text) > _VALUE_LENGTH:
            too_long.append(name)
        texts[_cut(name, _KEY_LENGTH)] = _cut(text, _VALUE_LENGTH)
    return texts, too_long


def text_of_value(value: object) -> str:
    """A value as the text of a param, cut if it is too long."""
    return _cut(text_of(_start_of(value)), _VALUE_LENGTH)


def _start_of(value: object) -> object:
    """As many items as a text that is cut can show, since a vocabulary of millions of words takes long to show."""
    if isinstance(value, list | tuple | dict) and len(value) > _VALUE_LENGTH:
        if isinstance(value, dict):
            return dict(itertools.islice(value.items(), _VALUE_LENGTH))
        return list(itertools.islice(value, _VALUE_LENGTH)) if isinstance(value, list) else value[:_VALUE_LENGTH]
    return value


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
