"""Mappings, configuration objects, arrays and other values as what JSON and YAML have."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import date, time
from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import Any, NoReturn

from modelry._sdk.values import signals
from modelry._sdk.values.arrays import array_of, is_array
from modelry._sdk.values.texts import said_of, text_of
from modelry.errors import InvalidArgument

_DEEPEST = 100
_MEMBERS = ("model_dump", "_asdict", "to_dict", "dict")
"""The methods by which Pydantic, named tuples, configurations of Transformers and Pydantic 1 give their members."""


Unreadable = Callable[[Any, Exception], object]
"""Called with the key of a member that can't be read, and why, such as a missing value of a lazy configuration."""


def members_of(argument: str, given: Any, unreadable: Unreadable | None = None) -> list[tuple[Any, Any]]:
    """The keys and values of a mapping or of a configuration object; none of None.

    Configuration objects are dataclasses, `argparse.Namespace`, named tuples, and objects of Pydantic, attrs, OmegaConf
    and their like. Raises InvalidArgument, with advice, for anything else, and for a member that can't be read; with
    `unreadable` such a member is left out.
    """
    found = None if given is None else _members(given, unreadable or _raised)
    if given is not None and found is None:
        wanted = "a mapping from keys to values, or a configuration object such as a dataclass"
        raise InvalidArgument(
            f"{argument} must be {wanted}, not {text_of(given)[:200]!r} of type {type(given).__name__}; give the "
            "attributes of an object as vars(object)",
            fields={argument: f"must be {wanted}"},
        )
    return found or []


def plain(given: Any) -> Any:
    """A value of None, booleans, numbers, texts, lists, and dictionaries with texts as keys.

    Keys become texts. Arrays, tensors, tuples and sets become lists, configuration objects and tables dictionaries,
    numbers of NumPy numbers, an enum its number or text if it is one, dates ISO 8601; everything else becomes text.
    Raises InvalidArgument if two keys become the same text, and for what holds itself.
    """
    return _plain(given, 0)


def _plain(given: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise InvalidArgument(f"a value is nested more than {_DEEPEST} levels deep, or holds itself")
    if given is None or type(given) in (bool, int, float):
        return given
    if isinstance(given, str):
        return text_of(given)
    if isinstance(given, int | float):  # also an enum that is a number, and NumPy's float64
        return int(given) if isinstance(given, int) else float(given)
    if isinstance(given, enum.Enum | bytes | complex):
        return text_of(given)
    if isinstance(given, Decimal):
        return _number(given)
    if isinstance(given, date | time):
        return given.isoformat()
    if isinstance(given, Sequence) or type(given).__name__ in ("dict_keys", "dict_values", "dict_items", "deque"):
        return [_plain(each, depth + 1) for each in given]
    if isinstance(given, Set):
        return [_plain(each, depth + 1) for each in _sorted(given)]
    if is_array(given) and not hasattr(given, "items"):
        return _of_array(given, depth)
    found = _members(given, _raised)
    return text_of(given) if found is None else _dictionary(found, depth)


def _dictionary(members: Iterable[tuple[Any, Any]], depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in members:
        name = text_of(key)
        if name in found:
            raise InvalidArgument(f"two keys of a dictionary are {name!r} as text; give them different texts")
        found[name] = _plain(value, depth + 1)
    return found


def _members(given: Any, unreadable: Unreadable) -> list[tuple[Any, Any]] | None:
    if isinstance(given, type | str | bytes):
        return None
    if isinstance(given, Mapping) or (hasattr(given, "keys") and callable(getattr(given, "items", None))):
        return _items(given, unreadable)
    if dataclasses.is_dataclass(given):
        names = [field.name for field in dataclasses.fields(given)]
        return list(_each(names, partial(getattr, given), unreadable))
    if hasattr(given, "__attrs_attrs__"):
        names = [field.name for field in given.__attrs_attrs__]
        return list(_each(names, partial(getattr, given), unreadable))
    for name in _MEMBERS:
        if callable(method := getattr(given, name, None)) and isinstance(found := method(), Mapping):
            return _items(found, unreadable)
    if isinstance(given, SimpleNamespace) or hasattr(given, "_get_kwargs"):  # the latter is argparse.Namespace
        return list(vars(given).items())
    return None


def _items(given: Any, unreadable: Unreadable) -> list[tuple[Any, Any]]:
    try:
        return list(given.items())
    except Exception as problem:  # Another library may raise anything, as for one value that is missing.
        signals.pass_on(problem)
        return list(_each(list(given.keys()), given.__getitem__, unreadable))


def _each(keys: Iterable[Any], value_of: Callable[[Any], Any], unreadable: Unreadable) -> Iterator[tuple[Any, Any]]:
    for key in keys:
        try:
            value = value_of(key)
        except Exception as problem:
            signals.pass_on(problem)
            unreadable(key, problem)
        else:
            yield key, value


def _raised(key: Any, problem: Exception) -> NoReturn:
    raise InvalidArgument(f"the value of {text_of(key)!r} can't be read: {said_of(problem)}") from problem


def _of_array(given: Any, depth: int) -> Any:
    array = array_of(given)
    if array.dtype.kind in "mM":
        array = array.astype(str)
    if array.dtype.kind == "f":
        array = array.astype("float64")
    listed = array.tolist()
    return _plain(listed, depth + 1) if array.dtype.kind in "biufUO" else _texts(listed)


def _texts(listed: Any) -> Any:
    return [_texts(each) for each in listed] if isinstance(listed, list) else text_of(listed)


def _number(given: Decimal) -> Any:
    """The number that JSON can hold without changing it, or else the text."""
    if given.is_finite() and given == given.to_integral_value() and given.adjusted() < 300:
        return int(given)
    near = float(given) if given.is_finite() else math.nan
    return near if Decimal(repr(near)) == given else text_of(given)


def _sorted(given: Set[Any]) -> list[Any]:
    try:
        return sorted(given)
    except TypeError:
        return sorted(given, key=text_of)
