"""The metadata that a caller gives with a model: what MLmodel, which is YAML, can hold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from modelry._sdk.nouns import arguments
from modelry._sdk.values.texts import shown
from modelry.errors import InvalidArgument

_PLAIN = (type(None), bool, int, float, str, bytes)
_HELD = "None, a boolean, a number, a text, a date, or a list or mapping of these"
_DEEPEST = 50


def plain(given: Any) -> dict[Any, Any] | None:
    """The metadata with NumPy's numbers and texts as Python's.

    Raises InvalidArgument for what is no mapping, and, with its key, for a value that YAML can't hold.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise arguments.refused("metadata", given, "a mapping of your own, such as {'team': 'pricing'}")
    return _mapping(given, "metadata", 0)


def _mapping(given: Mapping[Any, Any], where: str, depth: int) -> dict[Any, Any]:
    return {_key(key, where): _plain(value, f"{where}[{key!r}]", depth + 1) for key, value in given.items()}


def _plain(given: Any, where: str, depth: int) -> Any:
    if depth > _DEEPEST:
        raise InvalidArgument(
            f"metadata is nested more than {_DEEPEST} levels deep, or holds itself", fields={"metadata": "is too deep"}
        )
    value = _of_numpy(given)
    if type(value) in _PLAIN or isinstance(value, date):
        return value
    if isinstance(value, Mapping):
        return _mapping(value, where, depth)
    if type(value) in (list, tuple):
        return [_plain(each, f"{where}[{at}]", depth + 1) for at, each in enumerate(value)]
    if type(value) in (set, frozenset):
        return {_key(each, where) for each in value}
    raise _refused(where, given)


def _key(given: Any, where: str) -> Any:
    key = _of_numpy(given)
    if type(key) not in _PLAIN and not isinstance(key, date):
        raise _refused(f"a key of {where}", given)
    return key


def _of_numpy(given: Any) -> Any:
    """A scalar of NumPy as Python's; anything else as it is."""
    is_scalar = any(each.__module__ == "numpy" and each.__name__ == "generic" for each in type(given).__mro__)
    return given.item() if is_scalar else given


def _refused(where: str, given: Any) -> InvalidArgument:
    advice = "; give its tolist()" if hasattr(given, "tolist") else ""
    return InvalidArgument(
        f"{where} must be {_HELD}, not {shown(given)} of type {type(given).__name__}{advice}",
        reason="FIELD_INVALID",
        fields={"metadata": f"must hold {_HELD}"},
    )
