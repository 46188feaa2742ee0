"""Arguments of callers in the form of the contract: one text as a list of one, ids and tag values as text."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any

from modelry.errors import InvalidArgument


def listed(argument: str, given: str | Iterable[str] | None) -> list[str]:
    """The texts of a list. A single text is a list of one, None an empty list. Raises InvalidArgument."""
    each = [given] if isinstance(given, str) else _iterated(argument, given, "a text, or a list of texts")
    for text in each:
        if not isinstance(text, str):
            raise refused(argument, text, "a text, or a list of texts")
    return each


def ids(argument: str, given: str | int | Iterable[str | int] | None) -> list[str]:
    """The ids of a list as text. A single id is a list of one, None an empty list. Raises InvalidArgument."""
    if isinstance(given, str) or hasattr(given, "__index__"):
        return [id_text(argument, given)]
    return [id_text(argument, one) for one in _iterated(argument, given, "an id, or a list of ids")]


def id_text(argument: str, given: Any) -> str:
    """An id, given as a text or as a whole number, as text. Raises InvalidArgument."""
    number = given if isinstance(given, str) else _whole(given)
    if number is None:
        raise refused(argument, given, "an id, such as '12'")
    return str(number)


def texts(values: Mapping[str, object] | None) -> dict[str, str]:
    """Params or tags as they are stored: every value as text."""
    return {str(key): str(value) for key, value in (values or {}).items()}


def count(argument: str, given: int | None) -> int | None:
    """A limit: a whole number from 0, or None for no limit. Raises InvalidArgument."""
    if given is None:
        return None
    number = _whole(given)
    if number is None or number < 0:
        raise refused(argument, given, "a whole number, 0 or more")
    return number


def number_of(given: Any) -> Any:
    """The number of a numeric text, or of an array or tensor of one element; else what was given."""
    if isinstance(given, int | float):
        return given
    try:
        one = float(given) if isinstance(given, str) else given.item()
    except Exception:  # It is the code of another library, which may raise anything.
        return given
    return float(one) if isinstance(one, int | float) else given


def refused(argument: str, given: object, wanted: str) -> InvalidArgument:
    """The error for an argument that is not valid: its name, its value and what would be right."""
    return InvalidArgument(f"{argument} must be {wanted}, not {given!r}", fields={argument: f"must be {wanted}"})


def _whole(given: Any) -> int | None:
    return operator.index(given) if hasattr(given, "__index__") and not isinstance(given, bool) else None


def _iterated(argument: str, given: Any, wanted: str) -> list[Any]:
    if given is None:
        return []
    try:
        return list(given)
    except TypeError:
        raise refused(argument, given, wanted) from None
