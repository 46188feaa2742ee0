"""Masks the secrets in a text of TOML: its values are judged as TOML has them, and its form stays."""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from modelry._sdk.requiring import credentials
from modelry._sdk.values import secrets
from modelry._sdk.values.named_secrets import is_harmless, looks_random
from modelry._sdk.values.secret_names import Kind, kind

_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+"{3,5}'
    r"|'''(?:[^']|'(?!''))*+'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*+"'
    r"|'[^'\n]*+'"
    r"|#[^\n]*+"
    r"|(?<![\w.+-])[+-]?\d[\w.:+-]*+",
    re.DOTALL,
)
"""Texts, comments, and numbers and times, which may also be keys."""
_NAMES_OF_PACKAGES = {"extras", "sources", "scripts", "gui-scripts", "urls", "features", "tasks"}
"""Tables whose names are those of packages, of groups of them or of programs, beside those of dependencies."""
_VERSION = re.compile(r"(?:[\^~<>=! ]{0,3}\d+(?:\.[\w*+-]{1,32})*[, |]*)+")


@functools.lru_cache(maxsize=4)
def masked(text: str) -> str:
    """A text of TOML with `***` in the place of secrets.

    They are the values at any depth whose name says so, wherever else they occur, and what is masked in any text: URLs,
    assignments such as `DB_PASSWORD=…`, and tokens with a known form. Raises ValueError for a text that is no TOML or
    can't be masked with certainty.
    """
    found = set(_named(_read(text)))
    if not found and "\\" not in text and _hidden(text, []) == text:
        return text
    parts = sorted({each.strip() for each in found if isinstance(each, str) and looks_random(each.strip())}, key=len)
    shown = _TOKEN.sub(lambda token: _shown(token[0], found, parts[::-1]), text)
    left = [each for each in _plain(_read(shown)) if not isinstance(each, bool)]
    if found.intersection(left) or any(part in each for each in left if isinstance(each, str) for part in parts):
        raise ValueError("a secret in it can't be masked")
    return shown


def _read(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise ValueError(f"it can't be read as TOML, so its secrets can't be masked: {problem}") from problem
    except RecursionError:
        raise ValueError("it is nested too deeply, so its secrets can't be masked") from None


def _named(table: Mapping[str, Any], *, is_of_packages: bool = False) -> Iterator[Any]:
    """The values whose name says that they are secrets.

    Of a table with such a name, and where names are those of packages, only the values that look random.
    """
    for name, value in table.items():
        sure = kind(name, is_option=True)
        if sure and is_of_packages:
            if isinstance(value, str) and looks_random(value) and not _VERSION.fullmatch(value):
                yield value
        elif sure and isinstance(value, dict):
            yield from (each for each in _plain(value) if isinstance(each, str) and looks_random(each))
        elif sure:
            yield from (each for each in _plain(value) if _is_secret(each, name, sure))
        for each in _tables(value):
            is_next = name in _NAMES_OF_PACKAGES or name.endswith(("dependencies", "dependency-groups"))
            yield from _named(each, is_of_packages=is_next)


def _is_secret(value: Any, name: str, sure: Kind) -> bool:
    return not isinstance(value, bool) and not is_harmless(str(value), name, sure)


def _plain(value: Any) -> Iterator[Any]:
    """All values in arrays and tables that are neither."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _plain(each)
    else:
        yield value


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    """A table, or those in an array."""
    if isinstance(value, dict):
        yield value
    for each in value if isinstance(value, list) else ():
        yield from _tables(each)


def _shown(token: str, found: set[Any], parts: list[str]) -> str:
    """A text, comment or number of TOML without secrets. It stays as it is if it has none."""
    if token[0] == "#":
        return _hidden(token, parts)
    quote = token[:3] if token[:3] in ('"""', "'''") else token[0] if token[0] in "\"'" else ""
    if not quote:
        is_found = any(not isinstance(each, str) for each in found) and _value(token) in found
        return f'"{secrets.MASK}"' if is_found else token
    body = token[len(quote) : -len(quote)]
    is_plain = "\\" not in body or quote[0] == "'"
    value = body if is_plain and len(quote) == 1 else _value(token)
    if value in found:
        return f'"{secrets.MASK}"'
    shown = _hidden(value, parts)
    if shown == value:
        return token
    if is_plain and value in body:
        return f"{quote}{body.replace(value, shown)}{quote}"
    return json.dumps(shown, ensure_ascii=False)


def _value(token: str) -> Any:
    try:
        return tomllib.loads(f"value = {token}")["value"]
    except tomllib.TOMLDecodeError:  # a key that begins as a number does
        return token


def _hidden(text: str, parts: list[str]) -> str:
    for part in parts:
        text = text.replace(part, secrets.MASK)
    return secrets.masked_text(credentials.masked(text))
