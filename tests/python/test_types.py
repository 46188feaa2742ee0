"""Everything that a public function or method returns is a type that can be imported from a public module."""

from __future__ import annotations

import inspect
import re
from functools import cached_property
from types import FunctionType
from typing import Any

import pytest

import modelry
from modelry import Client, types

BUILTIN = {
    *("None", "str", "int", "float", "bool", "bytes", "dict", "list", "tuple", "object", "datetime", "array", "Self"),
    *("Any", "Mapping", "Sequence", "Iterator", "Callable", "Path", "type", "BaseException", "Literal"),
    *("pd", "DataFrame", "Read"),  # pandas, and the type variable of `ActiveRun.data`
}
NOUNS = [name for name, value in vars(Client).items() if isinstance(value, cached_property)]
PUBLIC = {*types.__all__, *modelry.__all__}


def returned(function: Any) -> set[str]:
    """The names in the return annotation of a function."""
    return set(re.findall(r"[A-Za-z]\w*", str(inspect.signature(function).return_annotation)))


def methods(kind: type) -> dict[str, Any]:
    found = {name: getattr(value, "fget", value) for name, value in inspect.getmembers(kind)}
    return {name: each for name, each in found.items() if isinstance(each, FunctionType) and name[0] != "_"}


@pytest.mark.parametrize("noun", NOUNS)
def test_what_a_noun_returns_is_public(noun: str) -> None:
    unknown = {
        f"{name}: {word}"
        for name, method in methods(type(getattr(Client("127.0.0.1:1"), noun))).items()
        for word in returned(method) - BUILTIN - PUBLIC
    }

    assert unknown == set()


@pytest.mark.parametrize("name", types.__all__)
def test_what_a_public_type_gives_is_public(name: str) -> None:
    kind = getattr(types, name)
    words = {word for method in methods(kind).values() for word in returned(method)}
    fields = [getattr(each, "__forward_arg__", each) for each in inspect.get_annotations(kind).values()]
    words |= set(re.findall(r"[A-Za-z]\w*", " ".join(map(str, fields))))
    named = {word for word in words if word[0].isupper()}

    assert named - BUILTIN - PUBLIC - {noun.capitalize() for noun in NOUNS} == set()


@pytest.mark.parametrize("name", sorted(modelry.__all__))
def test_what_a_function_returns_is_public(name: str) -> None:
    function = getattr(modelry, name)
    if isinstance(function, FunctionType):
        assert returned(function) - BUILTIN - PUBLIC == set()


def test_the_types_of_the_functions_are_those_of_the_module() -> None:
    both = set(types.__all__) & set(modelry.__all__)

    assert {"Client", "Run", "Experiment", "RunStatus", "Lifecycle", "ActiveRun"} <= both
    assert all(getattr(types, name) is getattr(modelry, name) for name in both)
