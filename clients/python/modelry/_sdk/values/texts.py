"""Any value as text, also one of another library whose code fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelry._sdk.values import signals

_JOINERS = "\u200c\u200d"
"""Marks of scripts and emojis that print nothing themselves."""


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
    return _encodable(text)


def said_of(problem: BaseException) -> str:
    """What an error says, or its type if it says nothing. It never raises, whatever the error is."""
    return text_of(problem) or type(problem).__name__


def shown(given: object, show: Callable[[object], str] = repr) -> str:
    """A value as messages show it: its `repr`, or what `show` makes of it. It never raises, as `text_of`."""
    try:
        return _encodable(show(given))
    except Exception as problem:  # It is the code of another library, which may raise anything.
        signals.pass_on(problem)
        return _not_shown(given, problem)


def is_printable(letter: str) -> bool:
    """Whether a letter may be shown as it is: it moves no cursor, and hides nothing."""
    return letter.isprintable() or letter in _JOINERS


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text


def _shown(given: Any) -> str:
    try:
        if getattr(given, "shape", None) == () and not hasattr(given, "as_integer_ratio"):
            given = _one_of(given)
        return str(given)
    except Exception as problem:
        signals.pass_on(problem)
        return _not_shown(given, problem)


def _one_of(given: Any) -> Any:
    try:
        return given.item()
    except Exception as problem:
        signals.pass_on(problem)
        return given


def _not_shown(given: object, problem: Exception) -> str:
    return f"<{type(given).__name__} that can't be shown: {type(problem).__name__}>"
