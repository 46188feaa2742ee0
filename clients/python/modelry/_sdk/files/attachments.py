"""Texts and dictionaries as the bytes of a file, in the format that its file name extension says."""

from __future__ import annotations

import json
import os
from numbers import Number
from pathlib import PurePosixPath

from modelry._sdk.values.plain import plain
from modelry._sdk.values.texts import shown, text_of
from modelry.errors import InvalidArgument


def is_path(given: object) -> bool:
    """Whether it can be meant as the path of a file of a run: a text, a path or a number."""
    return given is None or isinstance(given, str | os.PathLike | Number)


def require_path(given: object) -> None:
    """Raises InvalidArgument for what can't be meant as a path, such as an array where arguments are swapped."""
    if not is_path(given):
        raise InvalidArgument(
            f"artifact_file is of type {type(given).__name__}, not a path; give the content first and then the path of "
            "its file in the run, such as 'samples/first.png'"
        )


def of_text(text: object) -> bytes:
    """The text in UTF-8, or any value as text; bytes as they are. Raises InvalidArgument for None."""
    if isinstance(text, bytes | bytearray | memoryview):
        return bytes(text)
    if text is None:
        raise InvalidArgument("the text is None; give a text, which may be empty")
    return text_of(text).encode()


def of_dict(content: object, path: str) -> bytes:
    """JSON, or YAML if the extension is `.yaml` or `.yml`. What these don't have is converted, see `plain`.

    Raises InvalidArgument for what is no dictionary or list after that, for YAML if PyYAML isn't installed, and what
    `plain` raises.
    """
    given, content = content, plain(content)
    if not isinstance(content, dict | list):
        raise InvalidArgument(
            f"{shown(given)[:80]} of type {type(given).__name__} is no dictionary or list; write a text with log_text"
        )
    if PurePosixPath(path).suffix in {".yaml", ".yml"}:
        try:
            import yaml
        except ImportError:
            problem = f"writing {path!r} as YAML needs PyYAML; install it, or use the extension .json"
            raise InvalidArgument(problem) from None
        return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True)).encode()
    return json.dumps(content, indent=2, ensure_ascii=False).encode()
