"""Any value as text."""

from __future__ import annotations

import contextlib
from typing import Any


def text_of(given: object) -> str:
    """Any value as text that UTF-8 can hold. It never raises.

    A text stays what it is, also if it is an enum, and what is no Unicode in it becomes an escape such as `\\udc80`. An
    array or tensor without dimensions is its number. A value that can't be shown is named by its type.
    """
    if type(given) is str:
        text = given
    elif isinstance(given, str):
        text = str.__str__(given)
    else:
        text = _shown(given)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text


def _shown(given: Any) -> str:
    try:
        if getattr(given, "shape", None) == () and not hasattr(given, "as_integer_ratio"):
            with contextlib.suppress(Exception):  # It is the code of another library, which may raise anything.
                given = given.item()
        return str(given)
    except Exception as problem:
        return f"<{type(given).__name__} that can't be shown: {type(problem).__name__}>"
